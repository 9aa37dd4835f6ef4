// Are the dashboards what Grafana's published schema says? Its types are checked by the compiler, in memory.

import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { test } from "node:test";
import ts from "typescript";

const FOLDER = resolve(import.meta.dirname, "../../grafana/dashboards");
// JSON has the values of enums, not their names. What an annotation asks is a query of its data source, which the schema
// does not know.
const PLAIN = `type Plain<T> = T extends string ? \`\${T}\` : T extends object
  ? { [K in keyof T]: K extends "target" ? object : Plain<T[K]> } : T;`;
const OPTIONS = {
  noEmit: true, strict: true, skipLibCheck: true, target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext,
};

/** What the schema has against these dashboards, one line per finding. */
function complaints(dashboards) {
  const name = join(import.meta.dirname, "in-memory.ts");
  const lines = dashboards.map((text, at) => `export const d${at}: Plain<Dashboard> = ${text};`);
  const source = [`import type { Dashboard } from "@grafana/schema";`, PLAIN, ...lines].join("\n");
  const host = ts.createCompilerHost(OPTIONS);
  const { fileExists, readFile } = host;
  host.fileExists = (path) => path === name || fileExists(path);
  host.readFile = (path) => (path === name ? source : readFile(path));
  host.getSourceFile = (path, target) => {
    const text = host.readFile(path);
    return text === undefined ? undefined : ts.createSourceFile(path, text, target);
  };
  const program = ts.createProgram([name], OPTIONS, host);
  return ts.getPreEmitDiagnostics(program).map((found) => ts.flattenDiagnosticMessageText(found.messageText, "\n"));
}

test("every dashboard is valid against Grafana's schema", async () => {
  const names = (await readdir(FOLDER)).filter((name) => name.endsWith(".json"));
  assert.ok(names.includes("propagation-health.json"), "the dashboards were found");
  const texts = await Promise.all(names.map((name) => readFile(join(FOLDER, name), "utf8")));
  assert.deepEqual(complaints(texts), []);
  const spoilt = texts.map((text) => JSON.stringify({ ...JSON.parse(text), graphTooltip: "both" }));
  assert.equal(complaints(spoilt).length, spoilt.length, "one that is not valid is noticed");
});
