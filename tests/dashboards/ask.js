// Asks a running Tempo what every panel asks.
//
//     node ask.js TEMPO_URL '{"lab": …, "claim": …, "left": …, "right": …}' [SECONDS] [FILE] [END]
//
// Prints what each panel draws; with FILE, Tempo's answers are kept there instead, as `recorded/` has them.

import { writeFile } from "node:fs/promises";
import { asking, dashboards, drawAll, savedQueries, told } from "./panels.js";

const [tempo, variables, seconds = "60", file, end = Math.floor(Date.now() / 1000)] = process.argv.slice(2);
if (variables === undefined) {
  console.error("node ask.js TEMPO_URL VARIABLES [SECONDS] [FILE] [END]");
  process.exit(2);
}
const run = { range: { start: end - seconds, end: Number(end) }, variables: JSON.parse(variables) };
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
  console.log(JSON.stringify(told(drawn)));
}
