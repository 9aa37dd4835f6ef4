// Asks a running Tempo what every panel asks.
//
//     node ask.js TEMPO_URL '{"lab": …, "claim": …, "left": …, "right": …}' [SECONDS] [FILE]
//
// Prints what each panel draws; with FILE, Tempo's answers are kept there instead, as `recorded/` has them.

import { writeFile } from "node:fs/promises";
import { asking, dashboards, drawAll, savedQueries } from "./panels.js";

const [tempo, variables, seconds = "60", file] = process.argv.slice(2);
if (variables === undefined) {
  console.error("node ask.js TEMPO_URL VARIABLES [SECONDS] [FILE]");
  process.exit(2);
}
const end = Math.floor(Date.now() / 1000);
const run = { range: { start: end - Number(seconds), end }, variables: JSON.parse(variables) };
const answers = {};
const ask = asking(tempo, answers);
const boards = await dashboards();
// What is printed is of these seconds alone, not of what a panel's own range would add from before.
if (!file) boards.forEach(({ panels }) => panels.forEach((panel) => { delete panel.timeFrom; }));
const drawn = await drawAll(boards, run, ask);
for (const { query } of savedQueries(boards)) {
  const metrics = /\| *(rate|count_over_time)\(/.test(query);
  await ask(`/api/${metrics ? "metrics/query" : "search"}?${new URLSearchParams({ q: query, ...run.range })}`);
}
if (file) {
  // The data source reads none of these; `spanSet` is the first of `spanSets`.
  const unread = new Set(["spanSet", "serviceStats", "metrics", "exemplars", "inspectedBytes"]);
  await writeFile(file, `${JSON.stringify({ ...run, answers }, (key, value) => (unread.has(key) ? undefined : value))}\n`);
} else {
  const told = drawn.map(({ dashboard, panel, frames }) => ({
    dashboard, panel: panel.title, unit: panel.fieldConfig.defaults.unit,
    fields: frames.flatMap(({ fields }) => fields).filter((field) => !field.hidden && field.type !== "nestedFrames")
      .map(({ name, type, cells }) => ({ name, type, cells: cells.map(({ value, text }) => ({ value, text })) })),
  }));
  console.log(JSON.stringify(told));
}
