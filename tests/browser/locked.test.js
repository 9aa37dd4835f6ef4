// The page while an instructor has locked the answers.

import assert from "node:assert/strict";
import { test } from "node:test";

import { LARGE, api, obstacles, picture, until, withLab } from "./lab.js";

const LAB_1 = "lab-1-b3-vs-w3c";

let lab;
let browser;

withLab({ INSUREWATCH_LOCK_REVEAL: "true" }, (started) => ({ lab, browser } = started));

test("nothing is offered that is refused", async () => {
  await api(lab, "api/settings/use", { id: LAB_1 });
  await api(lab, "api/claims", { count: 1 });
  const page = await browser.open(LARGE);
  await page.goto(lab.desk);
  const rail = page.locator("#rail");
  await rail.getByText("An instructor has locked the answers").waitFor();
  const offered = rail.locator("form[data-post]");
  const refusable = async () => (await offered.evaluateAll((forms) => forms.map((form) => form.dataset.post))).filter((path) => /hypothesis|diagnosis|reveal/.test(path));
  assert.deepEqual(await refusable(), [], "no hypothesis, no diagnosis, no answer");
  assert.equal((await api(lab, "parts/reveal", {})).status, 403, "which would be refused");
  await picture(page, "locked");
  await page.locator("#uncover").click();
  await page.locator("#lab-result").getByText("its settings are locked").waitFor();
  await until("the colours are shown", async () => (await page.locator(".lesson[data-covered]").count()) === 0);
  assert.deepEqual(await refusable(), [], "nor afterwards");
  assert.match(await rail.textContent(), /None was judged: the answers are locked/, "and why");

  await page.goto(new URL("claims/last", lab.desk).href);
  await page.locator("#part-claim").getByText("Ledger").first().waitFor();
  assert.deepEqual(await page.locator("form[data-post*=diagnosis]").count(), 0, "nor a diagnosis of a claim");
  await page.goto(lab.desk);

  await api(lab, "api/drill", { scenarios: [LAB_1] });
  await page.locator(".lesson[data-in-drill]").waitFor();
  assert.deepEqual(await refusable(), [], "nor in a drill");
  assert.equal(await page.locator("#answer").count(), 1, "which can be answered");
  await rail.getByText("An instructor has locked Diagnose and Reveal.").waitFor();
  assert.deepEqual(await obstacles(page), [], "for people who hear or see it otherwise");
});
