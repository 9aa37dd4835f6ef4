import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";

import { NARROW, WIDE, api, obstacles, picture, sendSpans, until, withLab } from "./lab.js";

const LAB_1 = "lab-1-b3-vs-w3c";
const HOP_1 = "python-api -> java-claims";
const GRAFANA = "http://127.0.0.1:3000";
const LAYOUTS = [WIDE, NARROW].flatMap((viewport) => ["light", "dark"].map((colorScheme) => ({ viewport, colorScheme, name: `${viewport.width}-${colorScheme}` })));

let lab;
let browser;

withLab({ INSUREWATCH_DRILLS: LAB_1, INSUREWATCH_GRAFANA_URL: GRAFANA }, (started) => ({ lab, browser } = started));

const id = (bytes) => randomBytes(bytes).toString("hex");
const button = (page, name) => page.getByRole("button", { name, exact: true });

async function desk(viewport, options) {
  const page = await browser.open(viewport, options);
  await page.goto(lab.desk);
  await page.getByText("live", { exact: true }).waitFor();
  return page;
}

async function check(page) {
  await button(page, "Check").click();
  await page.locator("#lab-result .outcome").waitFor();
  return page.locator("#lab-result .outcome").textContent();
}

/** Sends a claim and waits until the list tells all that there is to say of it. */
async function sendClaim(page) {
  const newest = async () => JSON.parse((await api(lab, "api/claims")).text)[0];
  const known = (await newest())?.claim_id;
  await button(page, "Send a claim").click();
  await page.locator("#claims-result").getByText("1 accepted, 0 failed", { exact: true }).waitFor();
  const { claim_id, seen } = await until("the claim is settled", async () => {
    const row = await newest();
    return row?.claim_id !== known && row?.seen?.settled && row;
  });
  return until("the list shows it", async () => {
    const row = page.locator("table.claims tbody tr").first();
    const href = await row.locator("th a").getAttribute("href");
    const cells = await row.locator("td").allTextContents();
    return href.endsWith(claim_id) && cells[1] === `${seen.traces}` && { href, cells };
  });
}

/** Commits to a hypothesis, or answers a drill. */
async function answer(page, place, kind) {
  await page.locator("#drill-place").selectOption(place);
  await page.locator("#drill-kind").selectOption(kind);
  await page.locator("#answer").click();
  await page.locator("#lab-result").getByText(/Correct|Incorrect/).waitFor();
  return page.locator("#lab-result").textContent();
}

test("Lab 1, through the page alone", async () => {
  const page = await desk();
  assert.equal((await sendClaim(page)).cells[1], "1", "a healthy claim is one trace");

  await page.locator(`#use-${LAB_1}`).click();
  await page.getByText("“Two traces for one claim” is active.").waitFor();
  await page.locator("#part-lab").getByText("Two traces for one claim").waitFor();
  const broken = await sendClaim(page);
  assert.equal(broken.cells[1], "2", "the broken claim was split into two traces");
  assert.equal(broken.cells[2], "covered", "whether it is complete is not said yet");
  await picture(page, "lab-1-covered");
  assert.equal(await check(page), "NO VERDICT", "nor by check");
  for (const hint of [1, 2, 3]) {
    await button(page, "Hint").click();
    await page.getByText(`Hint ${hint} of 3`).waitFor();
  }
  assert.match(await answer(page, HOP_1, "extract"), /Correct.*B3/, "the hypothesis is weighed");
  await page.locator("table.claims tbody tr").first().getByText("no", { exact: true }).waitFor();
  await picture(page, "lab-1-broken");
  assert.equal(await check(page), "BROKEN", "check says so by evidence");

  await page.locator(`a[href="${broken.href}"]`).first().click();
  await page.locator(".chain .hop.torn").first().waitFor();
  assert.equal(await page.locator(".fragment").count(), 2, "both fragments are shown");
  const first = page.locator("table.ledger tbody tr").first();
  assert.match(await first.locator("td").nth(0).textContent(), /^b3 /, "what was sent is B3");
  assert.match(await first.locator("td").nth(1).textContent(), /^b3 /, "what was received is the same");
  assert.match(await first.textContent(), /none \(it is a root\)/, "and it was not used");
  await page.locator(".rows .span").first().click();
  await page.locator("#span-panel").getByText("insurewatch.claim.id").waitFor();
  await page.keyboard.press("Escape");
  await page.locator("#compare").click();
  await page.locator(".compared .differs").first().waitFor();
  await picture(page, "lab-1-compare");
  await button(page, "Diagnose this claim").click();
  await page.locator("#diagnosis-result").getByText(/step 3 \(extract\)/).waitFor();
  await picture(page, "lab-1-diagnosis");

  await page.goto(lab.desk);
  await page.locator("#settings-python-api > summary").click();
  page.expectsRefusal = true;
  await page.locator("#set-python-api-OTEL_PROPAGATORS").fill("w3c");
  await page.locator("#apply-python-api").click();
  const refused = page.locator("#applied-python-api .bad");
  await refused.waitFor();
  const words = JSON.parse((await api(lab, "api/settings/set", { service: "python-api", key: "OTEL_PROPAGATORS", value: "w3c" })).text);
  assert.equal(await refused.textContent(), words.detail.replaceAll("`", ""), "refused with the API's words, which the CLI prints");
  page.expectsRefusal = false;
  await page.locator("#set-python-api-OTEL_PROPAGATORS").fill("tracecontext,baggage");
  await page.locator("#apply-python-api").click();
  await page.getByText("All services have applied it.").waitFor();
  assert.equal((await sendClaim(page)).cells[1], "1", "the fixed claim is one trace");
  assert.equal(await check(page), "HEALTHY", "check says so by evidence");
  await picture(page, "lab-1-fixed");
});

test("a drill, answered wrongly, then correctly", async () => {
  const page = await desk();
  await button(page, "Start a drill").click();
  await page.getByRole("heading", { name: "A drill is on" }).waitFor();
  for (const path of ["api/settings", "api/lab", "api/drill", "parts/lab", "parts/settings", "parts/scenarios"]) {
    const { text } = await api(lab, path);
    assert.doesNotMatch(text, /"scenario":"|=b3|is-set|aria-pressed="true"|>active</, `${path} hides the scenario`);
  }
  const status = JSON.parse((await api(lab, "api/settings")).text);
  assert.deepEqual([status.scenario, status.settings, status.masked], [null, {}, true], "settings read as masked");
  assert.equal((await api(lab, `api/scenarios/${LAB_1}/answer`)).status, 409, "answers are not read meanwhile");
  assert.equal(await check(page), "NO VERDICT", "check judges nothing");
  assert.match(await page.locator("#lab-result ul").textContent(), /is in 2 traces/, "and says what it observed");
  await picture(page, "drill-on");

  assert.match(await answer(page, HOP_1, "transit"), /Incorrect.*arrived unchanged/, "a wrong answer meets its evidence");
  await page.getByText("Wrong answers: 1").waitFor();
  await picture(page, "drill-wrong");
  await button(page, "Close").first().click();
  assert.match(await answer(page, HOP_1, "extract"), /Correct.*lab-1-b3-vs-w3c.*score 80/, "the score counts the wrong answer");
  await page.getByText("Solved 1, not solved 0, score 80, streak 0").waitFor();
  await picture(page, "drill-right");
});

test("a span with markup for a name is shown as text", async () => {
  const evil = '<img src=x onerror=alert(1)>';
  const [traceId, claim] = [id(16), id(8)];
  const attributes = { "insurewatch.claim.id": claim, [evil]: "<script>alert(2)</script>", "http.request.header.traceparent": evil };
  const { status } = await sendSpans(lab, `"><svg onload=alert(3)>`, [{ traceId, spanId: id(8), name: evil, attributes }]);
  assert.equal(status, 200, "the span was taken");
  const page = await browser.open();
  await until("the span can be found", async () => (await api(lab, `api/claims/${traceId}?wait_ms=0`)).status === 200);
  await page.goto(new URL(`claims/${traceId}`, lab.desk).href);
  assert.equal(await page.locator(".rows .name").textContent(), evil, "the name is text");
  await page.locator(".rows .span").click();
  await page.locator("#span-panel").getByText("<script>alert(2)</script>").waitFor();
  assert.equal(await page.locator("main img, main script").count(), 0, "nothing of it became an element");
  await picture(page, "foreign-span");
});

test("by keyboard alone", async () => {
  const page = await desk();
  const focused = () => page.evaluate(() => {
    const at = document.activeElement;
    return { tag: at.tagName, id: at.id, text: at.textContent.trim(), outline: getComputedStyle(at).outlineStyle };
  });
  const tabTo = async (what, is) => {
    for (let presses = 0; presses < 250; presses += 1) {
      await page.keyboard.press("Tab");
      const at = await focused();
      if (is(at)) return at;
    }
    throw new Error(`no Tab leads to ${what}`);
  };
  await page.keyboard.press("Tab");
  assert.equal((await focused()).text, "Skip to content", "the first stop skips the navigation");
  await page.keyboard.press("Enter");
  assert.equal((await focused()).id, "main", "and leads to the content");
  await tabTo("the button that sends", (at) => at.id === "send-claim");
  assert.notEqual((await focused()).outline, "none", "focus can be seen");
  await page.keyboard.press("Enter");
  await page.locator("#claims-result").getByText("1 accepted, 0 failed", { exact: true }).waitFor();
  await tabTo("the scenario", (at) => at.id === `use-${LAB_1}`);
  await page.keyboard.press("Enter");
  await page.getByText("“Two traces for one claim” is active.").waitFor();
  await until("focus is at the symptom of what was chosen", async () => (await focused()).id === "lesson-title");
  await page.goto(new URL("claims/last", lab.desk).href);
  await page.locator(".rows .span").first().waitFor();
  const span = await tabTo("a span", (at) => at.text.startsWith("python-api"));
  assert.equal(span.tag, "BUTTON", "a span is a button");
  await page.keyboard.press("Enter");
  await page.locator("#span-panel").getByText("insurewatch.claim.id").waitFor();
  await page.keyboard.press("Escape");
  await page.locator("#span-panel").waitFor({ state: "hidden" });
  assert.equal((await focused()).text, span.text, "focus returns to the span");
  await tabTo("the end of the page", (at) => at.tag === "BODY" || at.text === "Diagnose this claim");
});

for (const { name, viewport, colorScheme } of LAYOUTS) {
  test(`at ${name}`, async () => {
    await api(lab, "api/settings/use", { id: LAB_1 });
    await api(lab, "api/claims", { count: 2 });
    const page = await desk(viewport, { colorScheme });
    await until("the claim was looked at", async () => (await page.locator("table.claims tbody tr").first().textContent()).includes("java-claims"));
    for (const path of ["", "claims/last", "claims/last?with=healthy"]) {
      await page.goto(new URL(path, lab.desk).href);
      await page.locator("h2").first().waitFor();
      const excess = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.equal(excess, 0, `no horizontal scroll at ${path || "/"}`);
      await picture(page, `${name}-${path.replace(/\W/g, "_") || "desk"}`);
    }
    const words = await page.goto(lab.desk) && await page.locator(".hops li").first().isVisible();
    assert.equal(words, viewport === NARROW, "on a narrow screen the hops are told in words, open at once");
  });
}

test("no obstacle for a screen reader or weak eyes", async () => {
  for (const { name, viewport, colorScheme } of LAYOUTS) {
    await api(lab, "api/settings/reset", {});
    const page = await desk(viewport, { colorScheme });
    const look = async (where) => assert.deepEqual(await obstacles(page), [], `${where} at ${name}`);
    await sendClaim(page);
    await api(lab, "api/settings/use", { id: LAB_1 });
    const { href } = await sendClaim(page);
    await check(page);
    await page.locator("summary").evaluateAll((all) => all.forEach((summary) => summary.parentElement.setAttribute("open", "")));
    await look("the desk");
    await page.goto(new URL(href, lab.desk).href);
    await button(page, "Diagnose this claim").click();
    await page.locator("#ask[open]").waitFor();
    await look("a question");
    await button(page, "Go on").click();
    await page.locator("#diagnosis-result").getByText(/step 3/).waitFor();
    await look("a claim");
    await page.locator(".rows .span").first().click();
    await page.locator("#span-panel").getByText("insurewatch.claim.id").waitFor();
    await look("a span");
    await page.goto(new URL(`${href}?with=healthy`, lab.desk).href);
    await page.locator(".compared").waitFor();
    await look("two claims compared");
    await page.goto(lab.desk);
    await button(page, "Start a drill").click();
    await page.getByRole("heading", { name: "A drill is on" }).waitFor();
    await look("a drill");
    await page.evaluate(() => document.querySelector("main").append(document.createElement("input")));
    assert.match((await obstacles(page)).join(), /^label: /, "a field without a name would be noticed");
    await page.context().close();
  }
});

test("links are drawn from bar to bar, and drawn again when rows move", async () => {
  await api(lab, "api/settings/use", { id: "batch-links" });
  for (const { name, viewport, colorScheme } of LAYOUTS) {
    const page = await desk(viewport, { colorScheme });
    const { href } = await sendClaim(page);
    await page.goto(new URL(href, lab.desk).href);
    /** How far the first drawn line is from the bars that it should join, in CSS pixels. */
    const distance = () => page.evaluate(() => {
      const link = document.querySelector(".link a");
      const bar = (row) => row.querySelector(".bar rect").getBoundingClientRect();
      const middle = (box) => box.top + box.height / 2;
      const line = document.querySelector(".links .line");
      const origin = line.ownerSVGElement.getBoundingClientRect();
      const at = (length) => line.getPointAtLength(length);
      const [from, to] = [bar(link.closest("li")), bar(document.querySelector(link.hash))];
      const [begin, end] = [at(0), at(line.getTotalLength())];
      return Math.hypot(begin.x + origin.x - from.left, begin.y + origin.y - middle(from))
        + Math.hypot(end.x + origin.x - to.right, end.y + origin.y - middle(to));
    });
    await page.locator(".links .line").first().waitFor({ state: "attached" });
    assert.equal(await page.locator(".links .line").count(), await page.locator(".link a").count(), "each link that leads to a row is drawn");
    assert.ok(await distance() < 2, "from the span that links to the one it names");
    await page.setViewportSize({ width: viewport.width - 60, height: viewport.height });
    await until("the line follows when the window changes", async () => await distance() < 2);
    await page.setViewportSize(viewport);
    await until("and when it changes back", async () => await distance() < 2);
    await picture(page, `links-${name}`);
    await page.context().close();
  }
});

test("a trace id leads to Grafana", async () => {
  const page = await desk();
  const { href } = await sendClaim(page);
  await page.goto(new URL(href, lab.desk).href);
  const link = page.locator(".fragment h3 a").first();
  const url = new URL(await link.getAttribute("href"));
  assert.equal(url.origin + url.pathname, `${GRAFANA}/explore`, "to Explore");
  const [pane] = Object.values(JSON.parse(url.searchParams.get("panes")));
  const claim = JSON.parse((await api(lab, `api${new URL(href, lab.desk).pathname}`)).text);
  assert.equal(pane.queries[0].query, claim.evidence.fragments[0].trace_id, "with this trace");
});

test("10,000 spans in one trace, and 500 claims in the list", async () => {
  const [TOTAL, AT_ONCE] = [10_000, 2_000];
  const [traceId, root, claim] = [id(16), id(8), `large-${id(4)}`];
  const span = (number) => ({
    traceId, spanId: number ? id(8) : root, ...(number && { parentSpanId: root, kind: 1 }), name: `span ${number}`,
    start: number / 10, end: number ? number / 10 + 1 : TOTAL / 10, attributes: { "insurewatch.claim.id": claim },
  });
  for (let from = 0; from < TOTAL; from += AT_ONCE) {
    const sent = await sendSpans(lab, "python-api", Array.from({ length: AT_ONCE }, (_, at) => span(from + at)));
    assert.deepEqual([sent.status, JSON.parse(sent.text)], [200, {}], "no span is refused");
  }
  const page = await browser.open();
  await page.goto(new URL(`claims/${claim}`, lab.desk).href);
  assert.match(await page.locator(".fragment h3").textContent(), /10000 spans/, "all are known");
  const names = page.locator(".rows .name");
  assert.deepEqual([await names.count(), await names.first().textContent()], [200, "span 0"], "the first rows are shown");
  await picture(page, "large-trace");
  const more = page.locator(".rows .more button");
  let shown = 200;
  while (await more.count()) {
    await more.click();
    shown = Math.min(shown + Math.min(shown, 2_000), TOTAL);
    await until(`${shown} rows are shown`, async () => await names.count() === shown);
  }
  assert.equal(await names.last().textContent(), `span ${TOTAL - 1}`, "and the last can be reached");
  await page.locator(".rows .span").last().click();
  await page.locator("#span-panel").getByText(`span ${TOTAL - 1}`).first().waitFor();
  await page.context().close();

  await api(lab, "api/claims", { count: 500, per_second: 200 });
  const list = await desk();
  const rows = list.locator("table.claims tbody tr");
  assert.equal(await rows.count(), 20, "the newest claims are shown");
  await button(list, "Show all 500 (480 hidden)").click();
  await until("all claims are shown", async () => await rows.count() === 500);
  await rows.last().locator("th a").click();
  await list.getByRole("heading", { name: /^Claim / }).first().waitFor();
});
