// A contact sheet of every scenario, to be looked at: the desk, a claim and its waterfall before the learner's hypothesis, and the
// desk after it.
//
//   node tests/browser/contact.js FOLDER [SCENARIO…]      after `cargo build` and `npm ci` in tests/browser
//
// It starts a lab as the tests do. What a sheet must show: picture, waterfall and list agree, and nothing names the answer
// before the hypothesis.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";

import { api, openBrowser, startLab, until } from "./lab.js";

const SCREEN = { width: 1360, height: 980 };
// Higher than any page of a claim.
const ALL = 4_000;
// A screen is scaled to this width on its sheet.
const SHOWN = 900;
const CLAIMS = 3;
const WAIT_MS = 3_000;

const [folder, ...wanted] = process.argv.slice(2);
if (!folder) throw new Error("name the folder for the sheets");
await mkdir(folder, { recursive: true });
const lab = await startLab();
const browser = await openBrowser(lab);
const json = async (path) => JSON.parse((await api(lab, path)).text);
try {
  const page = await browser.open(SCREEN, { colorScheme: "light" });
  const sheet = await browser.open({ width: SHOWN, height: 100 });
  for (const { id } of await json("api/scenarios")) {
    if (id === "healthy" || (wanted.length && !wanted.includes(id))) continue;
    await api(lab, "api/settings/use", { id });
    await api(lab, "api/claims", { count: CLAIMS });
    // Some spans never come.
    const all = async () => (await json("api/claims")).slice(0, CLAIMS).every(({ seen }) => seen?.settled);
    await until("all spans came", all, WAIT_MS).catch(() => {});
    const screens = [];
    const take = async (path) => {
      await page.goto(new URL(path, lab.desk).href);
      await until("the page is drawn", () => page.locator("main h1").isVisible());
      screens.push((await page.screenshot({ animations: "disabled" })).toString("base64"));
    };
    await take("");
    await take("claims/last");
    // A claim that was not sampled has none.
    const waterfall = page.locator(".fragments");
    if (await waterfall.count()) {
      // What sticks to an edge of the window must not cover rows.
      await page.setViewportSize({ ...SCREEN, height: ALL });
      screens.push((await waterfall.screenshot({ animations: "disabled" })).toString("base64"));
      await page.setViewportSize(SCREEN);
    }
    const answer = { place: "gateway", kind: "late" };
    await api(lab, "parts/hypothesis", answer);
    await take("");
    await sheet.setContent(`<h1>${id}</h1>` + screens.map((screen) => `<img width=${SHOWN - 16} src="data:image/png;base64,${screen}">`).join("<hr>"));
    await sheet.screenshot({ path: join(folder, `${id}.png`), fullPage: true });
  }
} finally {
  await browser.close();
  await lab.stop();
}
