// A lab and a browser for the tests: the binary with free ports and its own folder, and Debian's Chromium.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, afterEach, before, beforeEach } from "node:test";
import axe from "axe-core";
import { chromium } from "playwright-core";

const BINARY = process.env.INSUREWATCH ?? resolve(import.meta.dirname, "../../target/debug/insurewatch");
/** What only a failing test reaches, on a slow machine too. */
export const DEADLINE_MS = 30_000;
const START_MS = 2 * DEADLINE_MS;

export const WIDE = { width: 1280, height: 900 };
export const LARGE = { width: 1440, height: 900 };
export const NARROW = { width: 390, height: 844 };

/** Waits until `look` gives something, or says what was waited for. */
export async function until(what, look, deadlineMs = DEADLINE_MS) {
  const end = Date.now() + deadlineMs;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`after ${deadlineMs} ms: ${what}`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

/** `INSUREWATCH_LAB_DIR` names the folder of a lab that runs already. */
export async function startLab(variables = {}) {
  if (process.env.INSUREWATCH_LAB_DIR) {
    return { ...(await readLab(process.env.INSUREWATCH_LAB_DIR)), stop: async () => {} };
  }
  const folder = await mkdtemp(join(tmpdir(), "insurewatch-browser-"));
  const child = spawn(BINARY, ["--data-dir", folder, "up", "--port-base", "0"], {
    env: { ...process.env, ...variables },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let said = "";
  child.stdout.on("data", (text) => (said += text));
  await until("the lab says that it is ready", () => {
    if (child.exitCode !== null) throw new Error(`the lab ended: ${said}`);
    return /\bready\b/.test(said);
  }, START_MS);
  const stop = async () => {
    const ended = new Promise((done) => child.once("exit", done));
    child.kill("SIGINT");
    await ended;
    await rm(folder, { recursive: true, force: true });
  };
  return { ...(await readLab(folder)), folder, stop };
}

async function readLab(folder) {
  return JSON.parse(await readFile(join(folder, "lab.json"), "utf8"));
}

/** A browser that notes every console error and every request to anywhere else. */
export async function openBrowser(lab) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync",
    ],
  });
  const complaints = [];
  const open = async (viewport = WIDE, options = {}) => {
    const context = await browser.newContext({ viewport, ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(DEADLINE_MS);
    page.on("console", (message) => {
      if (message.type() === "error" && !page.expectsRefusal) complaints.push(`console: ${message.text()}`);
    });
    page.on("pageerror", (error) => complaints.push(`page: ${error}`));
    page.on("dialog", (dialog) => complaints.push(`dialog: ${dialog.message()}`));
    page.on("request", (request) => {
      const url = request.url();
      if (!url.startsWith(lab.desk) && !url.startsWith("data:")) complaints.push(`request elsewhere: ${url}`);
    });
    return page;
  };
  return { open, complaints, close: () => browser.close() };
}

/** A lab and a browser for the tests of a file, given to `take`: healthy before each test, and without a complaint after it. */
export function withLab(variables, take) {
  let lab;
  let browser;
  before(async () => {
    lab = await startLab(variables);
    browser = await openBrowser(lab);
    take({ lab, browser });
  });
  after(async () => {
    await browser?.close();
    await lab?.stop();
  });
  beforeEach(async () => {
    await api(lab, "api/settings/reset", {});
  });
  afterEach(() => {
    assert.deepEqual(browser.complaints.splice(0), [], "no console error, no request to anywhere else");
  });
}

/** JSON from the desk's API. */
export async function api(lab, path, body) {
  const options = body === undefined ? {} : { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  const response = await fetch(new URL(path, lab.desk), options);
  return { status: response.status, text: await response.text() };
}

/** What axe-core holds against the page, for people who hear or see it otherwise. */
export async function obstacles(page) {
  // The page's policy keeps scripts out; the debugger's own are let in.
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => window.axe.run());
  return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html} ${node.failureSummary}`));
}

/** Sends spans to the lab by OTLP; times are in milliseconds from now. */
export async function sendSpans(lab, service, spans) {
  const now = BigInt(Date.now()) * 1_000_000n;
  const nanos = (millis) => `${now + BigInt(Math.round(millis * 1e6))}`;
  const attribute = ([key, value]) => ({ key, value: { stringValue: value } });
  const otlp = ({ start = 0, end = 5, attributes = {}, ...span }) => ({
    kind: 2, ...span, startTimeUnixNano: nanos(start), endTimeUnixNano: nanos(end), attributes: Object.entries(attributes).map(attribute),
  });
  const resource = { attributes: [attribute(["service.name", service])] };
  const body = { resourceSpans: [{ resource, scopeSpans: [{ scope: { name: service }, spans: spans.map(otlp) }] }] };
  const sent = await fetch(new URL("v1/traces", lab.otlp_http), { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  return { status: sent.status, text: await sent.text() };
}

/** Screenshots go to a folder that `SCREENSHOTS` names, if it does. */
export async function picture(page, name) {
  if (process.env.SCREENSHOTS) await page.screenshot({ path: join(process.env.SCREENSHOTS, `${name}.png`), fullPage: true });
}
