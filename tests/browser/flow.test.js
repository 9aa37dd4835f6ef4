// The lesson: the picture of the chain, the rail from symptom to proof, settings, the list of claims, and what is in reach.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";

import { NARROW, WIDE, api, obstacles, openBrowser, picture, startLab, until } from "./lab.js";

const LAB_1 = "lab-1-b3-vs-w3c";
const HOP_1 = "python-api -> java-claims";
const MIDDLE = { width: 768, height: 1024 };
const LARGE = { width: 1440, height: 900 };

let lab;
let browser;

before(async () => {
  lab = await startLab();
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

const button = (page, name) => page.getByRole("button", { name, exact: true });
const json = async (path) => JSON.parse((await api(lab, path)).text);

async function desk(viewport, options) {
  const page = await browser.open(viewport, options);
  await page.goto(lab.desk);
  await page.getByText("live", { exact: true }).waitFor();
  return page;
}

/** Sends a claim by the API and waits until its evidence is settled. */
async function settledClaim() {
  const sent = await api(lab, "api/claims", { count: 1 });
  const { claim } = JSON.parse(sent.text.split("\n")[0]);
  await until("the claim is settled", async () => (await json("api/claims")).find((row) => row.claim_id === claim.claim_id)?.seen?.settled);
  return claim.claim_id;
}

/** Scenarios, and what the picture of a claim shows of them: services by trace, marks inside, baggage by hop. */
const DRAWN = [
  { id: "healthy", boxes: { "python-api": "trace A", "java-claims": "trace A", "claims-worker": "trace A" }, lost: [], baggage: ["carried", "carried", "carried", null, "carried"] },
  { id: LAB_1, boxes: { "python-api": "trace A", "java-claims": "trace B", "claims-worker": "trace B" }, lost: [], baggage: ["dropped", null, null, null, null] },
  { id: "thread-pool", boxes: { "java-claims": "traces A, B", "node-policy-store": "trace B" }, lost: ["java-claims"], baggage: ["carried", null, "carried", null, "carried"] },
  { id: "baggage-leak", boxes: { "python-api": "trace A" }, lost: [], baggage: ["carried", "carried", "carried", "leaks", "carried"] },
  { id: "baggage-bloat", boxes: { "claims-worker": "trace A" }, lost: [], baggage: ["carried", "dropped", "dropped", null, null] },
];

test("the picture shows traces, a loss inside a service, and the baggage", async () => {
  for (const { id, boxes, lost, baggage } of DRAWN) {
    await api(lab, "api/settings/use", { id });
    await api(lab, "parts/uncover", {});
    const claim = await settledClaim();
    const page = await browser.open(LARGE);
    await page.goto(new URL(`claims/${claim}`, lab.desk).href);
    for (const [service, words] of Object.entries(boxes)) {
      const box = page.locator(`.chain .service.s-${service}`);
      assert.equal(await box.locator(".small").textContent(), words, `${id}: ${service}`);
      const tints = await box.locator('rect[class^="trace-"]').evaluateAll((all) => all.map((rect) => [rect.getAttribute("class"), getComputedStyle(rect).fill]));
      assert.equal(tints.length, words.split(", ").length, `${id}: a tint for each trace of ${service}`);
      assert.equal(new Set(tints.map(([, fill]) => fill)).size, tints.length, `${id}: two traces differ by their tints: ${tints}`);
    }
    const broken = await page.locator(".chain .service.lost .crack").count();
    assert.equal(broken, lost.length, `${id}: context is lost inside ${lost}`);
    const lines = await page.locator(".chain .hop").evaluateAll((hops) => hops.map((hop) => hop.querySelector(".baggage")?.getAttribute("class").split(" ")[1] ?? null));
    assert.deepEqual(lines, baggage, `${id}: the baggage on each hop`);
    await picture(page, `drawn-${id}`);
    await page.context().close();
  }
});

test("a service that does not answer is shown so, and that it answers again", async () => {
  const page = await desk();
  const { processes } = await json("api/lab").then(() => lab);
  const { pid } = processes.find(({ service }) => service === "node-policy-store");
  const box = page.locator(".chain .service.s-node-policy-store");
  process.kill(pid, "SIGSTOP");
  try {
    await until("it is shown", async () => /does not answer/.test(await box.textContent()));
    await picture(page, "silent-service");
  } finally {
    process.kill(pid, "SIGCONT");
  }
  await until("and no longer", async () => !/does not answer/.test(await box.textContent()));
});
