// The dashboards' panels, and what each draws of Tempo's answers.

import { readFile, readdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { draw } from "./grafana.js";
import { frames, requests } from "./tempo.js";

const FOLDER = resolve(import.meta.dirname, "../../grafana/dashboards");

export async function dashboards() {
  const names = (await readdir(FOLDER)).filter((name) => name.endsWith(".json")).sort();
  return Promise.all(names.map(async (name) => JSON.parse(await readFile(join(FOLDER, name), "utf8"))));
}

/** What every panel draws: `ask` gives Tempo's answer to a path. */
export async function drawAll(boards, { range, variables }, ask) {
  const panels = boards.flatMap((board) => board.panels.map((panel) => ({ dashboard: board.title, panel })));
  return Promise.all(panels.map(async ({ dashboard, panel }) => {
    const asked = requests(panel, range, variables);
    const made = await Promise.all(asked.filter(({ error }) => !error).map(async (one) => frames(one, await ask(one.path))));
    return { dashboard, panel, title: panel.title, errors: asked.filter(({ error }) => error), frames: await draw(panel, made.flat(), variables) };
  }));
}

/** Asks a Tempo, and keeps every answer. */
export function asking(tempo, kept = {}) {
  return async (path) => {
    kept[path] ??= await (async () => {
      const once = () => fetch(tempo + path, { headers: { accept: "application/json" } });
      // A connection that Tempo closes while it is idle fails the request that was about to use it.
      const answer = await once().catch(once);
      const body = await answer.text();
      if (!answer.ok) throw new Error(`Tempo answers ${answer.status} to ${path}: ${body}`);
      return JSON.parse(body);
    })();
    return kept[path];
  };
}

/** The queries that pages keep for Explore, as the links of a dashboard say them. */
export function savedQueries(boards) {
  const texts = boards.flatMap(({ panels }) => panels.map(({ options }) => options?.content ?? ""));
  return texts.flatMap((text) => [...text.matchAll(/\]\((\/explore\?[^)]+)\)/g)]).map(([, link]) => {
    const [pane] = Object.values(JSON.parse(new URL(link, "http://grafana").searchParams.get("panes")));
    return pane.queries[0];
  });
}
