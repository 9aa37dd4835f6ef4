// Takes the README's pictures of the real page: a claim that Lab 1 split into two traces, and one after the fix.
//
//   node tests/browser/pictures.js        after `cargo build` and `npm ci` in tests/browser; writes docs/pictures
//
// It starts a lab as the tests do.

import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";

import { api, openBrowser, startLab, until } from "./lab.js";

const FOLDER = resolve(import.meta.dirname, "../../docs/pictures");
const VIEWPORT = { width: 860, height: 900 };
const LAB_1 = "lab-1-b3-vs-w3c";
const PICTURES = [
  { name: "split", scenario: LAB_1, traces: 2 },
  { name: "complete", scenario: "healthy", traces: 1 },
];

const lab = await startLab();
const browser = await openBrowser(lab);
try {
  await mkdir(FOLDER, { recursive: true });
  for (const { name, scenario, traces } of PICTURES) {
    const used = await api(lab, "api/settings/use", { id: scenario });
    if (used.status !== 200) throw new Error(`${scenario} cannot be switched on: ${used.text}`);
    await api(lab, "api/claims", { count: 1 });
    const page = await browser.open(VIEWPORT, { colorScheme: "light" });
    await page.goto(new URL("claims/last", lab.desk).href);
    // The last span of a claim is the worker's result, which the queue delays.
    await until(`the claim has ${traces} trace(s) with all of its spans`, async () => {
      const rows = await page.locator(".fragments .rows").allTextContents();
      return rows.length === traces && rows.join().includes("fraud-check");
    });
    await page.locator(".fragments").screenshot({ path: join(FOLDER, `${name}.png`), animations: "disabled" });
    await page.context().close();
  }
} finally {
  await browser.close();
  await lab.stop();
}
if (browser.complaints.length) throw new Error(browser.complaints.join("\n"));
