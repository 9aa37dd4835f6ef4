// The lesson: the picture of the chain, the rail from symptom to proof, settings, the list of claims, and what is in reach.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";

import { DEADLINE_MS, LARGE, NARROW, WIDE, api, obstacles, picture, until, withLab } from "./lab.js";

const LAB_1 = "lab-1-b3-vs-w3c";
const HOP_1 = "python-api -> java-claims";
const MIDDLE = { width: 768, height: 1024 };

let lab;
let browser;

withLab({}, (started) => ({ lab, browser } = started));

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
  await until("the claim is settled", async () => {
    const { seen } = (await json("api/claims")).find((row) => row.claim_id === claim.claim_id) ?? {};
    // In a drill nobody says so.
    return seen?.settled || (seen && (await json("api/drill")).current);
  });
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
    const claim = await settledClaim();
    const before = (await api(lab, `parts/claims/${claim}`)).text;
    if (id !== "healthy") assert.doesNotMatch(before, /✕|url\(#lost|class="baggage (?!on-record)/, `${id}: neither picture nor legend says before a hypothesis what was lost`);
    await api(lab, "parts/uncover", {});
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
  const { pid } = lab.processes.find(({ service }) => service === "node-policy-store");
  const box = page.locator(".chain .service.s-node-policy-store");
  process.kill(pid, "SIGSTOP");
  try {
    await until("it is shown", async () => /does not answer/.test(await box.textContent()));
    await picture(page, "silent-service");
  } finally {
    process.kill(pid, "SIGCONT");
  }
  await until("and no longer", async () => !/does not answer/.test(await box.textContent()));
  await page.context().close();
});

/** Commits to a hypothesis, or answers a drill. */
async function answer(page, place, kind) {
  await page.locator("#drill-place").selectOption(place);
  await page.locator("#drill-kind").selectOption(kind);
  await page.locator("#answer").click();
  await page.locator("#lab-result").getByText(/Correct|Incorrect|Not judged/).waitFor();
  return page.locator("#lab-result").textContent();
}

const stage = (page) => page.locator(".stages [aria-current=step] > details > summary").textContent();
/** The steps with a tick. */
const ticked = (page) => page.locator(".stages > li.done > details > summary").evaluateAll((all) => all.map((summary) => summary.firstChild.textContent));
const set = (service, key, value) => api(lab, "api/settings/set", { service, key, value });
const JUDGED = ".chain .joined, .chain .torn, .chain .leaking, .chain .lost, .chain .unsure, .good, .bad";

test("evidence first, the verdict after a hypothesis", async () => {
  const page = await desk(LARGE);
  await page.locator(`#use-${LAB_1}`).click();
  await until("the symptom has the focus", () => page.evaluate(() => document.activeElement.id === "lesson-title"));
  await until("choosing leads to the symptom", async () => (await page.locator("#lesson-title").textContent()) === "Two traces for one claim");
  assert.match(await page.locator("#rail").textContent(), /only its beginning/, "which is told");
  assert.equal(await stage(page), "Look", "then it is looked at");
  const claim = await settledClaim();
  await page.locator("#newest-claim").waitFor();
  assert.deepEqual([await stage(page), await ticked(page)], ["Look", ["Symptom"]], "a claim that was sent was not looked at yet");
  await page.locator("#newest-claim").click();
  await until("a claim that was opened was", async () => (await stage(page)) === "Hypothesis");
  assert.deepEqual(await ticked(page), ["Symptom", "Look"], "so it has its tick");
  await page.locator("#drill-place").waitFor();
  for (const path of ["", `claims/${claim}`]) {
    await page.goto(new URL(path, lab.desk).href);
    await page.locator(".chain .hop.seen").first().waitFor();
    assert.equal(await page.locator(`main :is(${JUDGED}):not(#claims *, #settings *)`).count(), 0, `no colour judges on /${path}`);
    const legend = await page.locator(".legend").first().textContent();
    assert.doesNotMatch(legend, /✕/, `the legend of /${path} says only what is drawn before a hypothesis`);
    assert.doesNotMatch(await page.locator("body").innerText(), /b3-vs-w3c|PROPAGATORS\s*=\s*b3|=b3\b/, `nothing names the answer on /${path}`);
    await picture(page, `covered-${path ? "claim" : "desk"}`);
  }
  await page.goto(lab.desk);
  assert.equal(await page.locator("#drill-place").inputValue() + await page.locator("#drill-kind").inputValue(), "", "nothing is preselected");
  const before = (await json("api/claims")).length;
  assert.match(await answer(page, HOP_1, "transit"), /Incorrect.*arrived unchanged/, "a wrong hypothesis meets its evidence");
  assert.equal((await json("api/claims")).length, before, "an answer sends no claim");
  await page.locator(".chain .hop.torn").first().waitFor();
  assert.equal(await stage(page), "Fix", "now it can be fixed");
  assert.match(await page.locator("#rail").textContent(), /Yours: python-api -> java-claims, step 2 \(transit\)\. Incorrect/, "what was said stays there");
  await page.locator("#settings-python-api > summary").click();
  const formats = page.locator("#set-python-api-OTEL_PROPAGATORS");
  assert.equal(await formats.inputValue(), "b3", "settings are shown");
  assert.deepEqual(await ticked(page), ["Symptom", "Look"], "an incorrect hypothesis has no tick");
  await picture(page, "uncovered-desk");
  await page.context().close();
});

test("after the fix the complete claim is beside the split one", async () => {
  await api(lab, "api/settings/use", { id: LAB_1 });
  const page = await desk(LARGE);
  const split = await settledClaim();
  assert.match(await answer(page, HOP_1, "extract"), /Correct/, "the cause");
  await api(lab, "api/settings/set", { service: "python-api", key: "OTEL_PROPAGATORS", value: "tracecontext,baggage" });
  const whole = await settledClaim();
  const card = page.locator(".before-after");
  await card.waitFor();
  assert.equal(await stage(page), "Proof", "it is still to be proved");
  const text = await card.textContent();
  assert.match(text, /Before.*2 traces, not healthy.*After.*1 trace, healthy/, "both claims in one card");
  assert.ok(text.includes(split.slice(0, 12)) && text.includes(whole.slice(0, 12)), `the two claims: ${text}`);
  assert.equal(await page.locator("#compare-proof").getAttribute("href"), `/claims/${split}?with=${whole}#compared`, "and the way to compare them");
  await picture(page, "before-after");
  await page.locator("#compare-proof").click();
  await page.locator("#rail .before-after").waitFor();
  await page.context().close();
});

test("a proved lesson has its tick, and leads to the next and back to healthy", async () => {
  await api(lab, "api/settings/use", { id: LAB_1 });
  const page = await desk(LARGE);
  const claim = await settledClaim();
  await page.goto(new URL(`claims/${claim}`, lab.desk).href);
  assert.match(await answer(page, HOP_1, "extract"), /Correct/, "the cause");
  assert.equal(await page.locator("#next-lesson").count(), 0, "there is no next lesson before the proof");
  await set("python-api", "OTEL_PROPAGATORS", "tracecontext,baggage");
  await button(page, "Check").click();
  await page.locator("#lab-result").getByText("This proves the fix.").waitFor();
  await until("every step has its tick", async () => (await ticked(page)).join() === "Symptom,Look,Hypothesis,Fix,Proof");
  assert.equal(await page.locator(".stages [aria-current]").count(), 0, "no step is left to take");
  const reply = page.locator("#details-reply");
  assert.match(await reply.textContent(), /^Why.*looks only for the W3C headers/, "the reply to the hypothesis stays in its step");
  assert.equal(await page.locator("#reveal").count(), 1, "the answer is offered once");
  assert.equal(await page.locator(".stages > li:last-child #reveal").isVisible(), true, "after the proof, too");
  assert.match((await api(lab, "parts/scenarios")).text, /use-lab-1-b3-vs-w3c"(?:(?!<\/button>).)*>proved</, "and the list of scenarios says that it is proved");
  await page.locator("#rail").evaluate((rail) => (rail.scrollTop = rail.scrollHeight));
  for (const id of ["next-lesson", "back-to-healthy", "start-drill"]) {
    const control = await page.locator(`#${id}`).boundingBox();
    const bar = await page.locator(".actions").boundingBox();
    assert.ok(control.y >= 0 && control.y + control.height <= bar.y, `${id} can be scrolled to above the bar, with a result in it`);
  }
  const order = (await json("api/scenarios")).map(({ id, title }) => ({ id, title }));
  const next = order[order.findIndex(({ id }) => id === LAB_1) + 1];
  assert.equal(await page.locator("#next-lesson").textContent(), `Next lesson: ${next.title}`, "the next in the list, by the title that the list shows");
  await picture(page, "proved");
  await page.locator("#next-lesson").click();
  await page.waitForURL(new URL("#lesson-title", lab.desk).href);
  await until("it begins at its symptom", async () => (await page.locator("#lesson-title").textContent()) === next.title);
  await until("which has the focus", () => page.evaluate(() => document.activeElement.id === "lesson-title"));
  assert.deepEqual(await ticked(page), ["Symptom"], "with nothing done in it");

  await api(lab, "api/settings/use", { id: order.at(-1).id });
  await api(lab, "parts/uncover", {});
  await until("the last lesson is on", async () => (await page.locator("#lesson-title").textContent()) === order.at(-1).title);
  await button(page, "Check").click();
  await page.locator("#lab-result").getByText("This proves that nothing is to be fixed.").waitFor();
  const first = order.find(({ id }) => id !== "healthy" && id !== LAB_1);
  await until("after the last comes the first that was not proved", async () => (await page.locator("#next-lesson").textContent()) === `Next lesson: ${first.title}`);
  assert.deepEqual(await ticked(page), ["Symptom", "Proof"], "what was left out, and a fix of what is no break, have no tick");
  await page.locator("#back-to-healthy").click();
  await page.getByRole("heading", { name: "No lesson is on" }).waitFor();
  assert.equal((await json("api/settings")).scenario, "healthy", "and healthy it is");
  await page.context().close();
});

test("choosing a scenario leads to its symptom", async () => {
  for (const [viewport, reducedMotion] of [[LARGE, "no-preference"], [WIDE, "reduce"], [NARROW, "reduce"]]) {
    await api(lab, "api/settings/reset", {});
    const page = await desk(viewport, { reducedMotion });
    await page.locator(`#use-${LAB_1}`).click();
    await until("it has the focus", () => page.evaluate(() => document.activeElement.id === "lesson-title"));
    const glides = await page.evaluate(() => scrollY !== 0);
    assert.ok(reducedMotion !== "reduce" || !glides, "nothing glides for those who do not want it");
    await until("the page is at its top", () => page.evaluate(() => scrollY === 0));
    const symptom = page.locator(".stages").getByText(/only its beginning/);
    await until("the symptom is on the screen", async () => {
      const box = await symptom.boundingBox();
      return box && box.y >= 0 && box.y + box.height <= viewport.height;
    });
    await picture(page, `chosen-${viewport.width}`);
    await page.context().close();
  }
});

test("what only hides a break is not called a success", async () => {
  await api(lab, "api/settings/use", { id: "queue-without-attributes" });
  await api(lab, "parts/uncover", {});
  const page = await desk(LARGE);
  await settledClaim();
  await set("java-claims", "OUTBOX_ATTRIBUTES", "stored");
  await set("claims-worker", "MESSAGE_CONTEXT", "link-batch");
  await button(page, "Check").click();
  const outcome = page.locator("#lab-result .outcome");
  await outcome.getByText("NOT A PROPAGATION BREAK").waitFor();
  assert.match(await outcome.getAttribute("class"), /\bunsure\b/, "it has no colour of success");
  const result = await page.locator("#lab-result").textContent();
  assert.match(result, /The lesson is not fixed/, "it says so");
  assert.match(await page.locator("#lab-result ul").first().textContent(), /java-claims -> claims-worker/, "and what differs from a healthy chain");
  assert.ok(!(await ticked(page)).includes("Proof"), "nothing is proved");
  await picture(page, "not-fixed");
  await page.context().close();
});

test("what looks broken and is not is proved by a check", async () => {
  await api(lab, "api/settings/use", { id: "batch-links" });
  const page = await desk(LARGE);
  await settledClaim();
  assert.match(await answer(page, "claims-worker", "links"), /Correct/, "the cause");
  assert.match(await page.locator("#rail").textContent(), /there is nothing to fix/, "a control has no fix");
  assert.equal(await stage(page), "Proof", "the check is next");
  await button(page, "Check").click();
  await page.locator("#lab-result").getByText("This proves that nothing is to be fixed.").waitFor();
  await until("it has its tick", async () => (await ticked(page)).includes("Proof"));
  await page.context().close();
});

test("an answer says that each of several ways is enough", async () => {
  const { fault } = await json(`api/scenarios/${LAB_1}/answer`);
  assert.ok(fault.fixes.length > 1, "Lab 1 has several ways to fix it");
  await api(lab, "api/settings/use", { id: LAB_1 });
  await api(lab, "parts/uncover", {});
  const page = await desk(LARGE);
  const fix = page.locator(".stages > li", { has: page.locator("summary", { hasText: "Fix" }) });
  assert.match(await fix.textContent(), /Reveal lists the ways to fix it/, "the step describes Reveal");
  await fix.locator("#reveal").click();
  await page.locator("#lab-result").getByText("How to fix it here:").waitFor();
  const said = await page.locator("#lab-result p").allTextContents();
  fault.fixes.forEach(({ text }, at) => {
    assert.ok(said.includes(`${at ? "Or: " : ""}${text.replaceAll("`", "")}`), `fix ${at + 1} of ${fault.fixes.length}: ${said}`);
  });
  const sources = await page.locator("#lab-result a").allTextContents();
  assert.ok(sources.length > 1 && sources.every((name) => /^[\w.-]+\.\w+(: .+)?$/.test(name)), `each source by its name: ${sources}`);
  await picture(page, "revealed");
  await page.context().close();
});

test("a claim of before a drill is said to be one", async () => {
  const before = await settledClaim();
  await api(lab, "api/drill", { scenarios: [LAB_1] });
  const page = await desk(LARGE);
  await page.locator("#part-chain").getByText("It was sent before this drill began").waitFor();
  const row = (claim) => page.locator(`tr:has(#claim-${claim})`);
  assert.match(await row(before).textContent(), /before the drill/, "in the list too");
  assert.equal(await page.locator("#newest-claim").count(), 0, "and it is not offered to be looked at");
  assert.deepEqual(await ticked(page), ["Symptom"], "nothing of this drill was looked at");
  await page.goto(new URL(`claims/${before}`, lab.desk).href);
  assert.deepEqual(await ticked(page), ["Symptom"], "nor by opening a claim of before");
  const since = await settledClaim();
  await page.locator("#newest-claim").click();
  await until("a claim of this drill was looked at", async () => (await ticked(page)).join() === "Symptom,Look");
  await page.goto(lab.desk);
  assert.doesNotMatch(await row(since).textContent(), /before the drill/, "and is one of it");
  assert.equal(await page.getByText("It was sent before this drill began").count(), 0, "the newest is of this drill");
  await page.context().close();
});

test("a form of settings comes when it is opened, and stays through updates", async () => {
  const page = await desk(LARGE);
  assert.equal(await page.locator(".setting").count(), 0, "no form is there at first");
  const { text } = await api(lab, "parts/settings");
  assert.ok(Buffer.byteLength(text) < 5_000, `that part of the page is light: ${Buffer.byteLength(text)} bytes`);
  await page.locator("#settings-java-claims > summary").click();
  const client = page.locator("#set-java-claims-POLICY_CLIENT");
  await client.selectOption("plain");
  await set("java-claims", "LOOKUP_POOL", "bare");
  await until("the summary follows", async () => /1 set/.test(await page.locator("#settings-java-claims > summary").textContent()));
  await until("and so does the open form", async () => (await page.locator("#set-java-claims-LOOKUP_POOL").inputValue()) === "bare");
  assert.equal(await client.inputValue(), "plain", "what somebody has chosen meanwhile stays");
  await page.locator("#settings-java-claims > summary").click();
  await page.locator("#settings-java-claims > summary").click();
  assert.equal(await client.inputValue(), "plain", "also when it is closed and opened");
  await page.context().close();
  const plain = await browser.open(LARGE, { javaScriptEnabled: false });
  await plain.goto(lab.desk);
  await plain.locator("#settings-java-claims > summary").click();
  await plain.getByRole("link", { name: "Settings of java-claims" }).click();
  assert.equal(await plain.locator("#set-java-claims-LOOKUP_POOL").inputValue(), "bare", "without a script there is a page of it");
  // Chromium does not draw what is for browsers without scripts when only a debugger keeps scripts out.
  assert.match((await api(lab, "settings/java-claims")).text, /<noscript>.*scenario set java-claims KEY=VALUE/, "and the way to change them");
  await picture(plain, "settings-page");
  await plain.context().close();
});

/** The controls of a page whose middle is covered by something else once they are scrolled to. */
const covered = (page) => page.locator("button, a[href], select, input:not([type=hidden]), summary").evaluateAll((all) => all.flatMap((it) => {
  it.scrollIntoView({ block: "nearest", inline: "nearest", behavior: "instant" });
  // A link may be broken over lines: its first is looked at. What is wider than the screen has its middle on the screen.
  const [box] = it.getClientRects();
  if (!box || !box.width || !it.checkVisibility({ visibilityProperty: true }) || it.matches(".skip")) return [];
  const middle = (Math.max(box.left, 0) + Math.min(box.right, innerWidth)) / 2;
  const found = document.elementFromPoint(middle, box.top + box.height / 2);
  return found && (it.contains(found) || found.contains(it)) ? [] : [`${it.outerHTML.slice(0, 80)} under ${found?.outerHTML.slice(0, 80)}`];
}));

for (const viewport of [NARROW, MIDDLE, WIDE, LARGE]) {
  test(`nothing covers a control at ${viewport.width} px`, async () => {
    await api(lab, "api/settings/use", { id: LAB_1 });
    const claim = await settledClaim();
    const page = await desk(viewport, { reducedMotion: "reduce" });
    assert.deepEqual(await covered(page), [], "of the first page");
    await button(page, "Check").click();
    await page.locator("#lab-result .outcome").waitFor();
    await picture(page, `bar-${viewport.width}`);
    assert.deepEqual(await covered(page), [], "while there is a result");
    await page.locator("#answer").scrollIntoViewIfNeeded();
    await page.locator("#answer").click({ trial: true });
    await page.goto(new URL(`claims/${claim}`, lab.desk).href);
    await page.getByText("live", { exact: true }).waitFor();
    await page.locator(".rows .span").first().click();
    await page.locator("#span-panel").getByText("insurewatch.claim.id").waitFor();
    assert.deepEqual(await covered(page), [], "of a claim, with a span in the panel");
    await button(page, "Check").click();
    await page.locator("#lab-result .outcome").waitFor();
    if (process.env.SCREENSHOTS) await page.screenshot({ path: join(process.env.SCREENSHOTS, `panel-${viewport.width}.png`) });
    assert.deepEqual(await covered(page), [], "with the panel and a result");
    await page.context().close();
  });
}

test("what would end a drill asks first, everywhere", async () => {
  const start = async () => {
    const { current } = await json("api/drill");
    if (!current) await api(lab, "api/drill", { scenarios: [LAB_1] });
  };
  await start();
  const claim = await settledClaim();
  const asked = [
    ["", (page) => page.locator("#diagnose")],
    ["", (page) => page.locator("#reveal")],
    ["", (page) => page.locator("#reset")],
    ["", (page) => page.locator("#use-thread-pool")],
    [`claims/${claim}`, (page) => button(page, "Diagnose this claim")],
  ];
  for (const [path, find] of asked) {
    await start();
    const page = await browser.open();
    await page.goto(new URL(path, lab.desk).href);
    await page.locator(".lesson[data-in-drill]").waitFor();
    const name = await find(page).textContent();
    await find(page).click();
    await page.locator("#ask[open]").getByText("A drill is on.", { exact: false }).waitFor();
    await button(page, "Cancel").click();
    assert.ok((await json("api/drill")).current, `${name}: the drill goes on`);
    await find(page).click();
    await button(page, "Go on").click();
    await until(`${name}: it ends when that is wanted`, async () => !(await json("api/drill")).current);
    await page.context().close();
  }
  await api(lab, "api/settings/use", { id: LAB_1 });
  const page = await desk();
  await settledClaim();
  await page.locator("#reveal").click();
  await page.locator("#ask[open]").getByText("This shows the answer", { exact: false }).waitFor();
  await button(page, "Cancel").click();
  assert.ok(await page.locator(".lesson[data-covered]").count(), "a lesson stays covered");
  await page.context().close();
});

for (const viewport of [LARGE, MIDDLE, NARROW]) {
  test(`Send and Check are in reach at ${viewport.width} px, and the picture can be read`, async () => {
    await settledClaim();
    for (const colorScheme of ["light", "dark"]) {
      const page = await desk(viewport, { colorScheme, reducedMotion: "reduce" });
      const claim = (await json("api/claims"))[0].claim_id;
      for (const path of ["", `claims/${claim}`, "glossary", "nosuch"]) {
        page.expectsRefusal = path === "nosuch";
        await page.goto(new URL(path, lab.desk).href);
        for (const name of ["Send a claim", "Check"]) {
          const { y, height } = await button(page, name).boundingBox();
          assert.ok(y >= 0 && y + height <= viewport.height, `${name} is on the screen of /${path}: ${y}`);
        }
        const excess = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.equal(excess, 0, `no horizontal scroll at /${path}`);
        assert.doesNotMatch(await page.locator("body").innerText(), /`/, `no backtick at /${path}`);
      }
      page.expectsRefusal = false;
      await page.goto(lab.desk);
      const sizes = await page.locator(".chain text").evaluateAll((all) => all.map((text) => {
        const scale = text.ownerSVGElement.getBoundingClientRect().width / text.ownerSVGElement.viewBox.baseVal.width;
        return getComputedStyle(text).display === "none" || !scale ? null : scale * parseFloat(getComputedStyle(text).fontSize);
      }).filter(Boolean));
      assert.ok(sizes.every((size) => size >= 10), `text of the picture is at least 10 px: ${Math.min(...sizes)}`);
      assert.deepEqual(await obstacles(page), [], `at ${viewport.width} ${colorScheme}`);
      await picture(page, `flow-${viewport.width}-${colorScheme}`);
      await page.context().close();
    }
  });
}

test("a question is at its top, and a click beside it means no", async () => {
  await api(lab, "api/drill", { scenarios: [LAB_1] });
  for (const viewport of [LARGE, NARROW]) {
    const page = await browser.open(viewport);
    await page.goto(lab.desk);
    await page.locator(".lesson[data-in-drill]").waitFor();
    await page.locator("#reset").click();
    const dialog = page.locator("#ask[open]");
    await dialog.waitFor();
    assert.equal(await dialog.evaluate((it) => it.scrollTop), 0, "at its top");
    await page.mouse.click(3, 3);
    await dialog.waitFor({ state: "detached" });
    assert.ok((await json("api/drill")).current, "the drill goes on");
    await page.context().close();
  }
  await api(lab, "api/settings/reset", {});
});

test("settings are chosen from menus, with their defaults, and checked in one", async () => {
  const page = await desk(LARGE);
  const keys = async (service) => {
    await page.locator(`#settings-${service} > summary`).click();
    const labels = page.locator(`#settings-${service} .setting label code`);
    await until("the form is there", async () => service === "fraud-partner" || (await labels.count()) > 0);
    return labels.allTextContents();
  };
  assert.deepEqual(await keys("gateway"), ["FORWARD_HEADERS", "TRACE_CONTEXT"], "the gateway is offered what it knows");
  assert.deepEqual(await keys("fraud-partner"), [], "and the third party nothing");
  assert.ok((await keys("java-claims")).includes("POLICY_CLIENT"), "java-claims has its own");
  const policy = page.locator("#set-java-claims-POLICY_CLIENT");
  assert.deepEqual(await policy.locator("option").allTextContents(), ["traced (default)", "hand-built", "plain"], "a menu that names the default once");
  const explained = await page.locator(".setting").evaluateAll((all) => all.map((it) => {
    const field = it.querySelector("select, input");
    return [field.name, document.getElementById(field.getAttribute("aria-describedby")).textContent, field.placeholder ?? ""];
  }));
  assert.ok(explained.length > 20, `the settings of all services: ${explained.length}`);
  for (const [key, about, placeholder] of explained) {
    assert.match(about, /^(Which|Whether|How|What|Where|Who|The|Headers) [^.]{10,}\./, `${key} is explained in a sentence`);
    assert.ok((about + placeholder).split(/default:/i).length <= 2, `${key} names its default once: ${about} ${placeholder}`);
  }
  await policy.selectOption("plain");
  await page.locator("#apply-check-java-claims").click();
  await page.locator("#lab-result .outcome").getByText("BROKEN").waitFor();
  assert.equal(JSON.parse((await api(lab, "api/settings")).text).settings["java-claims"].POLICY_CLIENT, "plain", "it is set");
  await until("the page shows that it is set", async () => (await policy.inputValue()) === "plain" && page.locator("#settings-java-claims summary").first().textContent().then((text) => /1 set/.test(text)));
  await picture(page, "settings");
  assert.deepEqual(await obstacles(page), [], "for people who hear or see it otherwise");
  await policy.selectOption("");
  await page.locator("#apply-java-claims").click();
  await page.locator("#applied-java-claims").getByText("All services have applied it.").waitFor();
  assert.deepEqual(JSON.parse((await api(lab, "api/settings")).text).settings, {}, "and left to its default again");
  await page.locator("#apply-java-claims").click();
  await page.locator("#applied-java-claims").getByText("Nothing was changed.").waitFor();
  await page.context().close();
});

test("a whole lesson by keyboard alone", async () => {
  const page = await desk(LARGE, { reducedMotion: "reduce" });
  const at = () => page.evaluate(() => document.activeElement.id);
  const tabTo = async (id) => {
    for (let presses = 0; presses < 300; presses += 1) {
      if (await at() === id) return;
      await page.keyboard.press("Tab");
    }
    throw new Error(`no Tab leads to ${id}`);
  };
  const press = async (id, key = "Enter") => {
    await tabTo(id);
    await page.keyboard.press(key);
  };
  const choose = async (id, down) => {
    await tabTo(id);
    for (let presses = 0; presses < down; presses += 1) await page.keyboard.press("ArrowDown");
  };
  await press(`use-${LAB_1}`);
  await until("the focus is at the symptom", async () => (await at()) === "lesson-title");
  await press("send-claim");
  await until("the claim is settled", async () => (await json("api/claims"))[0]?.seen?.settled);
  await press("newest-claim");
  await page.getByRole("heading", { name: /^Claim / }).first().waitFor();
  await page.getByText("live", { exact: true }).waitFor();
  assert.equal(await stage(page), "Hypothesis", "the hypothesis is asked for");
  await choose("drill-place", 1);
  await choose("drill-kind", 3);
  await press("answer");
  await page.locator("#lab-result").getByText("Correct", { exact: true }).waitFor();
  await page.goto(lab.desk);
  await page.getByText("live", { exact: true }).waitFor();
  const summary = page.locator("#settings-python-api > summary");
  await tabTo("reset");
  for (let presses = 0; presses < 300 && !(await summary.evaluate((it) => it === document.activeElement)); presses += 1) await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Enter");
  await page.locator("#set-python-api-OTEL_PROPAGATORS").waitFor();
  await tabTo("set-python-api-OTEL_PROPAGATORS");
  assert.equal(await page.locator("#set-python-api-OTEL_PROPAGATORS").inputValue(), "b3", "what is set is there");
  await page.keyboard.press("Control+A");
  await page.keyboard.type("tracecontext,baggage");
  await press("apply-check-python-api");
  await page.locator("#lab-result .outcome").getByText("HEALTHY").waitFor();
  await page.locator(".before-after").waitFor();
  await until("the lesson is proved", async () => (await ticked(page)).length === 5);
  await tabTo("next-lesson");
  await press("compare-proof");
  await page.getByRole("heading", { name: /^Claim / }).first().waitFor();
  await page.context().close();
});

test("the list of claims: time, duration, glyphs, filter, pause, counts, bounded height", async () => {
  const healthy = await settledClaim();
  await api(lab, "api/settings/use", { id: LAB_1 });
  await api(lab, "parts/uncover", {});
  const split = await settledClaim();
  const page = await desk(LARGE);
  const row = (claim) => page.locator(`tr:has(#claim-${claim})`);
  assert.match(await row(split).locator("td").nth(4).textContent(), /\d{1,2}[:.]\d{2}[:.]\d{2}/, "when it was sent");
  assert.match(await row(split).locator("td").nth(5).textContent(), /^\d+ ms$/, "how long its answer took");
  const glyphs = await row(split).locator(".glyph").allTextContents();
  assert.deepEqual(glyphs.map((text) => text.trim().split(/\s+/)), [["A", "python-api"], ["B", "java-claims", "node-policy-store", "claims-worker"]], "each trace with its services");
  const counts = await page.locator("table.per-scenario tbody tr").allTextContents();
  assert.ok(counts.some((text) => text.startsWith("Two traces for one claim")), `counts by scenario: ${counts}`);
  assert.doesNotMatch(counts.join(), /b3/, "by title");

  await page.locator("#show").selectOption("several-traces");
  await until("only those in several traces are listed", async () => (await row(healthy).count()) === 0 && (await row(split).count()) === 1);
  await page.locator("#show").selectOption("all");
  await until("all of them again", async () => (await row(healthy).count()) === 1);
  await page.locator("#pause").click();
  const late = await settledClaim();
  await page.locator("#part-chain").getByText(late.slice(0, 12)).first().waitFor();
  assert.equal(await row(late).count(), 0, "a paused list stays as it is");
  await page.locator("#pause").click();
  await row(late).waitFor();

  await api(lab, "api/claims", { count: 40, per_second: 100 });
  await button(page, "Show only the newest 20").waitFor({ state: "detached" });
  await until("as many rows as are listed", async () => (await page.locator("table.claims tbody tr").count()) === 20);
  const { height } = await until("the list is there", () => page.locator(".bounded").boundingBox());
  assert.ok(height <= 430, `the list has a bounded height: ${height}`);
  assert.deepEqual(await obstacles(page), [], "for people who hear or see it otherwise");
  await picture(page, "claims-list");
  await page.context().close();
});

test("the newest claim is the newest, also while its spans are awaited", async () => {
  await api(lab, "api/settings/use", { id: "sampled-out" });
  const page = await desk();
  // Claims that follow each other closely are traffic: then the newest that is complete is shown.
  await until("it is quiet", async () => Date.now() - (await json("api/claims"))[0].sent_unix_ms > 2_000);
  const sent = await api(lab, "api/claims", { count: 1 });
  const { claim } = JSON.parse(sent.text.split("\n")[0]);
  const words = page.locator("#part-chain > p").first();
  await until("it is named at once", async () => (await words.textContent()) === `The newest claim, ${claim.claim_id.slice(0, 12)}…: its spans are awaited.`);
  await page.context().close();
});

test("captions say what they cover", async () => {
  const page = await desk();
  await settledClaim();
  await page.locator("table.per-scenario caption").getByText("Settled claims of the last 5 minutes.").waitFor();
  await api(lab, "api/claims", { count: 520, per_second: 300 });
  const caption = page.locator("table.per-scenario caption").getByText("the desk remembers 500 claims");
  await caption.waitFor();
  assert.match(await caption.textContent(), /of the last \d+ s:/, "less than five minutes");
  await page.context().close();
});

test("a desk that hangs is said to hang, and one that restarts knows all that it knew", async () => {
  const { pid } = lab.processes.find(({ service }) => service === "desk");
  const page = await desk();
  const sign = page.locator("#connection");
  page.expectsRefusal = true;
  process.kill(pid, "SIGSTOP");
  try {
    await until("it is noticed", async () => /^not answering since \d/.test(await sign.textContent()));
  } finally {
    process.kill(pid, "SIGCONT");
  }
  await page.getByText("live", { exact: true }).waitFor();

  const healthy = await settledClaim();
  const known = async () => ({ claims: (await json("api/claims")).map((row) => row.claim_id), accepted: (await json("api/traffic")).accepted });
  const before = await known();
  await until("it is kept", async () => (await readFile(join(lab.folder, "desk-claims.json"), "utf8")).includes(healthy));
  process.kill(pid, "SIGKILL");
  await until("the desk answers again", () => api(lab, "healthz").then(({ status }) => status === 200, () => false), 2 * DEADLINE_MS);
  assert.deepEqual(await known(), before, "claims and counts");
  const compared = await api(lab, "claims/last?with=healthy");
  assert.match(compared.text, /Each row is one span: of both claims, or of only one/, "and the healthy claim to compare with");
  await page.getByText("live", { exact: true }).waitFor();
  await page.context().close();
});
