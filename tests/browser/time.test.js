// What the page says as time passes: spans that come late, settings that are changed, and claims that were sent before.

import assert from "node:assert/strict";
import { test } from "node:test";

import { LARGE, api, picture, until, withLab } from "./lab.js";

let lab;
let browser;

withLab({}, (started) => ({ lab, browser } = started));

const json = async (path) => JSON.parse((await api(lab, path)).text);
const set = (service, key, value) => api(lab, "api/settings/set", { service, key, value });

async function open(path = "") {
  const page = await browser.open(LARGE);
  await page.goto(new URL(path, lab.desk).href);
  await page.getByText("live", { exact: true }).waitFor();
  return page;
}

/** Sends a claim and waits until the desk has judged it. */
async function judgedClaim() {
  const sent = await api(lab, "api/claims", { count: 1 });
  const { claim } = JSON.parse(sent.text.split("\n")[0]);
  await until("the claim is judged", async () => (await json("api/claims")).find((row) => row.claim_id === claim.claim_id)?.seen?.settled);
  return claim.claim_id;
}

test("a root that comes late is shown, listed and counted without a touch", async () => {
  await set("python-api", "OTEL_BSP_SCHEDULE_DELAY", "20000");
  const claim = await judgedClaim();
  const [page, list] = [await open(`claims/${claim}`), await open()];
  const box = page.locator("#part-claim .chain .service.s-python-api .small");
  const row = list.locator("#part-claims tr", { has: list.locator(`#claim-${claim}`) });
  assert.equal(await box.first().textContent(), "no span received", "its root is late");
  assert.equal(await row.locator("td").nth(2).textContent(), "no", "so it was judged not healthy");
  const counts = await list.locator("#part-scoreboard").textContent();
  await until("the open page shows the root", async () => (await box.first().textContent()) === "trace A");
  await until("the list says that it is healthy", async () => (await row.locator("td").nth(2).textContent()) === "yes");
  await until("the counts follow", async () => (await list.locator("#part-scoreboard").textContent()) !== counts);
  for (const it of [page, list]) await it.context().close();
});

test("where nothing is broken, the page asks for no fix", async () => {
  await api(lab, "api/settings/use", { id: "late-root" });
  await judgedClaim();
  const page = await open();
  await page.locator("#drill-place").selectOption("python-api");
  await page.locator("#drill-kind").selectOption("late");
  await page.locator("#answer").click();
  const result = page.locator("#lab-result");
  await result.getByText("Correct", { exact: true }).waitFor();
  const words = await result.textContent();
  assert.match(words, /there is nothing to fix/, "said at once");
  assert.doesNotMatch(words, /Now fix it/, "and not the opposite");
  const rail = page.locator("#rail");
  await until("the rail says how to see it", async () => /wait for longer than the slowest exporter/.test(await rail.textContent()));
  assert.doesNotMatch(await rail.textContent(), /says why/, "no promise that Check does not keep");
  assert.equal(await page.locator(".before-after").count(), 0, "nothing was changed, so there is no before and no after");
  await picture(page, "nothing-to-fix");
  await page.locator("#check").click();
  await result.getByText(/look alike until a claim is \d+ s old/).waitFor();
  await page.context().close();
});

test("a form of settings shows what is in force, what is not applied yet, and what was", async () => {
  const page = await open();
  await page.locator("#settings-java-claims > summary").click();
  await page.locator("#export-java-claims > summary").click();
  const delay = page.locator("#set-java-claims-OTEL_BSP_SCHEDULE_DELAY");
  assert.equal(await delay.getAttribute("placeholder"), "in force: 200 (from the environment)", "not the default of the SDK");
  const mark = page.locator(".setting", { has: delay }).getByText("not applied yet");
  assert.equal(await mark.isVisible(), false, "nothing was edited");
  await delay.fill("300");
  await mark.waitFor();
  await picture(page, "not-applied-yet");
  await page.locator("#apply-java-claims").click();
  const said = page.locator("#applied-java-claims");
  await said.getByText("All services have applied it.").waitFor();
  await mark.waitFor({ state: "hidden" });
  await until("the form is as the desk has it", async () => (await delay.inputValue()) === "300" && page.locator("#settings-java-claims summary").first().textContent().then((text) => /1 set/.test(text)));
  assert.equal(await said.textContent(), "All services have applied it.", "a refreshed form keeps it");
  const [button, text] = [await page.locator("#apply-java-claims").boundingBox(), await said.boundingBox()];
  assert.ok(Math.abs(button.y - text.y) < 60, `it is said beside the button: ${button.y}, ${text.y}`);
  await picture(page, "applied");
  await delay.fill("400");
  await mark.waitFor();
  assert.equal(await said.textContent(), "", "what was applied before is not this");
  await page.context().close();
});

test("after a reset the claim from before is called so", async () => {
  await api(lab, "api/settings/use", { id: "lab-1-b3-vs-w3c" });
  await judgedClaim();
  await api(lab, "api/settings/reset", {});
  const page = await open();
  const chain = page.locator("#part-chain");
  assert.match(await chain.textContent(), /It was sent before the lab was reset to healthy/, "nothing is wrong now");
  await judgedClaim();
  await until("a claim from after the reset is not", async () => !/sent before/.test(await chain.textContent()));
  await page.context().close();
});

test("before and after say what differed where only baggage was lost", async () => {
  await api(lab, "api/settings/use", { id: "baggage-not-propagated" });
  await api(lab, "parts/uncover", {});
  await judgedClaim();
  await judgedClaim();
  const page = await open();
  assert.equal(await page.locator(".before-after").count(), 0, "two claims under the same settings");
  await set("python-api", "OTEL_PROPAGATORS", "tracecontext,baggage");
  await judgedClaim();
  const card = page.locator(".before-after");
  await card.waitFor();
  assert.match(await card.textContent(), /Before.*1 trace, not healthy.*baggage.*After.*1 trace, healthy/i, "which trace counts do not tell");
  const wide = await card.locator("div").evaluateAll((sides) => sides.filter((side) => side.scrollWidth > side.clientWidth).length);
  assert.equal(wide, 0, "no long word leaves its side");
  await picture(page, "before-after-baggage");
  await page.context().close();
});
