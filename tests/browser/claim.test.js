// The page of one claim: where its traces break, its waterfall, its headers taken apart, and the comparison.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";

import { NARROW, WIDE, api, obstacles, openBrowser, picture, startLab, until } from "./lab.js";

const LAB_1 = "lab-1-b3-vs-w3c";
const MEDIUM = { width: 768, height: 1024 };
const LARGE = { width: 1440, height: 900 };
const LAYOUTS = [LARGE, MEDIUM, NARROW].flatMap((viewport) =>
  ["light", "dark"].map((colorScheme) => ({ viewport, colorScheme, name: `${viewport.width}-${colorScheme}` })));

let lab;
let browser;

before(async () => {
  lab = await startLab({ INSUREWATCH_DRILLS: LAB_1 });
  browser = await openBrowser(lab);
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

const json = async (path, body) => JSON.parse((await api(lab, path, body)).text);

/** Sends claims, one after the other, and waits until all is said of the last; its row in the list. */
async function sendClaims(count = 1) {
  const sent = (await api(lab, "api/claims", { count })).text.trim().split("\n").map((line) => JSON.parse(line));
  const last = sent.findLast(({ claim }) => claim?.claim_id).claim.claim_id;
  return until("all is said of the claim", async () => {
    const row = (await json("api/claims")).find(({ claim_id }) => claim_id === last);
    return row?.seen?.settled && row;
  });
}

/** The page of a claim of this scenario. */
async function claimOf(scenario, { viewport = WIDE, colorScheme = "light", reducedMotion = "no-preference" } = {}) {
  await api(lab, "api/settings/use", { id: scenario });
  // What one claim leaves behind may only harm the next.
  const { claim_id } = await sendClaims(2);
  const page = await browser.open(viewport, { colorScheme, reducedMotion });
  await page.goto(new URL(`claims/${claim_id}`, lab.desk).href);
  await page.locator(".rows .span").first().waitFor();
  return page;
}

/** How far each drawn arc is from the bars that it should join, at most, in CSS pixels. */
const arcsMiss = (page) => page.evaluate(() => {
  const arcs = [...document.querySelectorAll(".links path.torn:not(.head)")];
  const notes = [...document.querySelectorAll(".break a")];
  const bar = (row) => row.querySelector(".bar rect").getBoundingClientRect();
  const misses = notes.map((note, at) => {
    const origin = arcs[at].ownerSVGElement.getBoundingClientRect();
    const end = (length, box) => {
      const point = arcs[at].getPointAtLength(length);
      return Math.hypot(point.x + origin.x - box.left, point.y + origin.y - box.top - box.height / 2);
    };
    return Math.max(end(0, bar(document.querySelector(note.hash))), end(arcs[at].getTotalLength(), bar(note.closest("li"))));
  });
  return { drawn: arcs.length, noted: notes.length, miss: Math.max(0, ...misses) };
});

/** Of each scenario in which a trace splits: the words and both spans of each break. */
const NEW = "new trace starts here";
const ELSEWHERE = "goes on in another trace here";
const CALL = "python-api POST";
const FRONT = "python-api POST /claims";
const CLAIMS = "java-claims POST /api/claims";
const BREAKS = {
  [LAB_1]: [[NEW, `sent by ${CALL}`, CLAIMS]],
  "proxy-strips-headers": [[NEW, `sent by ${CALL}`, CLAIMS]],
  "gateway-rewrites-context": [[ELSEWHERE, `sent by ${CALL}`, CLAIMS]],
  "custom-client": [[NEW, `begun during ${CLAIMS}`, "node-policy-store GET /policies/:id"]],
  "queue-without-attributes": [[NEW, "sent by java-claims create claims", "claims-worker process claims"]],
  "fire-and-forget": [[NEW, `begun during ${FRONT}`, "python-api write_audit"]],
  callback: [[NEW, `begun during ${CLAIMS}`, "java-claims notify_claimant"]],
  "mesh-span-not-exported": [],
  "batch-links": [],
  healthy: [],
};

test("a broken arc leads from the sender to where a trace starts, and none where none does", async () => {
  for (const [scenario, expected] of Object.entries(BREAKS)) {
    const page = await claimOf(scenario);
    const found = await page.locator(".break").evaluateAll((notes) => notes.map((note) => {
      const [what, who] = note.textContent.split(": ");
      const row = note.closest("li");
      return [what, who, `${row.querySelector(".service").textContent} ${row.querySelector(".name").textContent}`];
    }));
    assert.deepEqual(found, expected, scenario);
    const { drawn, noted, miss } = await arcsMiss(page);
    assert.deepEqual([drawn, noted], [expected.length, expected.length], `${scenario}: each is drawn`);
    assert.ok(miss < 2, `${scenario}: from bar to bar, not ${miss} px beside them`);
    await picture(page, `break-${scenario}`);
    await page.context().close();
  }
});

test("arcs follow their rows", async () => {
  for (const { name, viewport, colorScheme } of LAYOUTS) {
    const page = await claimOf(LAB_1, { viewport, colorScheme });
    await page.setViewportSize({ width: viewport.width - 60, height: viewport.height });
    await until(`${name}: the arc follows when the window changes`, async () => (await arcsMiss(page)).miss < 2);
    await page.setViewportSize(viewport);
    await until(`${name}: and when it changes back`, async () => (await arcsMiss(page)).miss < 2);
    assert.deepEqual(await obstacles(page), [], name);
    await picture(page, `break-${name}`);
    await page.context().close();
  }
});
