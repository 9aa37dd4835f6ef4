// The page of one claim: where its traces break, its waterfall, its headers taken apart, and the comparison.

import assert from "node:assert/strict";
import { test } from "node:test";

import { NARROW, WIDE, api, obstacles, openBrowser, picture, sendSpans, startLab, until, withLab } from "./lab.js";

const LAB_1 = "lab-1-b3-vs-w3c";
const MEDIUM = { width: 768, height: 1024 };
const LARGE = { width: 1440, height: 900 };
const LAYOUTS = [LARGE, MEDIUM, NARROW].flatMap((viewport) =>
  ["light", "dark"].map((colorScheme) => ({ viewport, colorScheme, name: `${viewport.width}-${colorScheme}` })));

let lab;
let browser;

withLab({ INSUREWATCH_DRILLS: `${LAB_1},malformed-traceparent` }, (started) => ({ lab, browser } = started));

const json = async (path, body) => JSON.parse((await api(lab, path, body)).text);

/** Sends claims, one after the other, and waits until all is said of the last; its row in the list. */
async function sendClaims(count = 1) {
  const sent = (await api(lab, "api/claims", { count })).text.trim().split("\n").map((line) => JSON.parse(line));
  const last = sent.findLast(({ claim }) => claim?.claim_id).claim.claim_id;
  return until("all is said of the claim", async () => {
    const row = (await json("api/claims")).find(({ claim_id }) => claim_id === last);
    // A drill does not say what is settled.
    return (row?.seen?.settled || row?.seen?.spans >= 19) && row;
  });
}

/** The page of a claim of this scenario. */
async function claimOf(scenario, { viewport = WIDE, colorScheme = "light", reducedMotion = "no-preference" } = {}) {
  await api(lab, "api/settings/use", { id: scenario });
  // What one claim leaves behind may only harm the next.
  const { claim_id } = await sendClaims(2);
  const page = await browser.open(viewport, { colorScheme, reducedMotion });
  await page.goto(new URL(`claims/${claim_id}`, lab.desk).href);
  await page.getByText("live", { exact: true }).waitFor();
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
const ELSEWHERE = "goes on here, from another trace";
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
      // A task may begin before or after the answer is sent.
      const [what, who] = note.textContent.replace("begun after", "begun during").split(": ");
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

test("keys lead to the rows from wherever the focus is, but for fields", async () => {
  const page = await claimOf(LAB_1, { reducedMotion: "reduce" });
  for (const from of ["#check", "#fold-all", "#main"]) {
    await page.locator(from).focus();
    await page.keyboard.press("j");
    assert.match(await focusedRow(page), /^python-api POST \/claims/, `from ${from} to the row that keys start from, at first the top one`);
  }
  await page.locator("#check").focus();
  await page.keyboard.press("/");
  await until("the search has the focus", () => page.evaluate(() => document.activeElement.id === "find-span"));
  await page.keyboard.type("jk/");
  assert.equal(await page.locator("#find-span").inputValue(), "jk/", "in a field keys are letters");
  await page.context().close();
});

for (const viewport of [LARGE, NARROW]) {
  test(`a comparison is gone to, and what is shown is in view, at ${viewport.width} px`, async () => {
    const page = await claimOf(LAB_1, { viewport, reducedMotion: "reduce" });
    await page.locator("#compare").click();
    const heading = page.locator("#compared");
    await until("its heading has the focus", () => page.evaluate(() => document.activeElement.id === "compared"));
    const { y } = await heading.boundingBox();
    assert.ok(y >= 0 && y < viewport.height / 2, `it is at the top of the screen: ${y}`);
    await page.screenshot(process.env.SCREENSHOTS ? { path: `${process.env.SCREENSHOTS}/gone-to-${viewport.width}.png` } : {});
    await api(lab, "parts/uncover", {});
    await page.locator("#uncover").waitFor({ state: "detached" });
    await page.getByRole("button", { name: "Diagnose this claim" }).click();
    const said = page.locator("#diagnosis-result .outcome");
    await said.waitFor();
    const bar = () => page.locator(".actions").boundingBox();
    await until("the diagnosis begins above the bar", async () => {
      const box = await said.boundingBox();
      return box.y >= 0 && box.y + box.height <= (await bar()).y;
    });
    await page.context().close();
  });
}

const focusedRow = (page) => page.evaluate(() => document.activeElement.closest(".rows > li")?.querySelector(".span").textContent ?? "");
const panel = (page) => page.locator("#span-panel");

test("keys alone: rows, collapsing, the span's panel and find", async () => {
  const page = await claimOf(LAB_1, { reducedMotion: "reduce" });
  await page.keyboard.press("j");
  assert.match(await focusedRow(page), /^python-api POST \/claims/, "j begins at the first row");
  await page.keyboard.press("j");
  assert.match(await focusedRow(page), /^python-api validate_input/, "and goes on to the next");
  for (let presses = 0; presses < 4; presses += 1) await page.keyboard.press("j");
  assert.match(await focusedRow(page), /^java-claims POST \/api\/claims/, "also into the next trace");
  await page.keyboard.press("k");
  assert.match(await focusedRow(page), /^python-api write_audit/, "k goes back");
  await page.keyboard.press("ArrowDown");

  const shown = () => page.locator(".rows > li[id]:visible").count();
  const all = await shown();
  await page.keyboard.press("ArrowLeft");
  assert.ok(await shown() < all, "what is below the row is hidden");
  assert.equal(await page.locator(".fold[aria-expanded=false]").count(), 1, "and its button says so");
  await page.keyboard.press("ArrowRight");
  assert.equal(await shown(), all, "and shown again");
  const arcs = page.locator(".links .torn:not(.head)");
  await page.locator(".fold").first().press("Enter");
  assert.equal(await arcs.count(), 0, "no arc leads from a row that is collapsed");
  await page.locator(".fold").first().press("Enter");
  assert.equal(await arcs.count(), 1, "and it is drawn again");
  await page.locator(".rows .span", { hasText: "java-claims POST /api/claims" }).focus();

  await page.keyboard.press("Enter");
  await panel(page).getByText("none: it is a root").waitFor();
  assert.match(await panel(page).textContent(), /start\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6} UTC, .* after the claim's first span/, "when it started");
  assert.match(await focusedRow(page), /^java-claims POST \/api\/claims/, "focus stays in the rows");
  await page.keyboard.press("j");
  await panel(page).locator("dt:text-is('parent') + dd a").waitFor();
  const child = await focusedRow(page);
  await page.keyboard.press("Tab");
  await panel(page).locator("dt:text-is('parent') + dd a").focus();
  await page.keyboard.press("Enter");
  await until("the link to the parent leads to its row", async () => /^java-claims POST \/api\/claims/.test(await focusedRow(page)));
  assert.notEqual(child, await focusedRow(page));
  await page.keyboard.press("Escape");
  await panel(page).waitFor({ state: "hidden" });
  assert.match(await focusedRow(page), /^java-claims POST \/api\/claims/, "Escape leads back");

  await page.keyboard.press("/");
  await page.keyboard.type("policies");
  await page.locator("#found").getByText(/^Found in \d of \d+ spans\./).waitFor();
  const hits = await page.locator("#found li").count();
  assert.ok(hits >= 2, "the call and the request are found by an attribute and by name");
  assert.equal(await page.locator(".rows .hit").count(), hits, "their rows are marked");
  const where = await page.locator("#found li").allTextContents();
  assert.ok(where.some((text) => /java-claims GET after .*, by attribute url\.full=http:.*\/policies\/POL-/.test(text)), `each says where: ${where}`);
  assert.ok(where.some((text) => /, by name GET \/policies\/:id$/.test(text)), `also by name: ${where}`);
  assert.deepEqual([...new Set(await page.locator("#found mark").allTextContents())], ["policies"], "and marks it");
  await page.keyboard.press("Enter");
  await page.locator(".rows [aria-current=true].hit").waitFor();
  await page.keyboard.type("x");
  await page.locator("#found").getByText(/^Found in 0 of \d+ spans\./).waitFor();
  const before = await page.locator(".rows [aria-current=true] .span").textContent();
  await page.keyboard.press("Escape");
  assert.deepEqual(
    [await page.locator("#find-span").inputValue(), await page.locator("#found *").count(), await page.locator(".rows .hit").count()], ["", 0, 0],
    "Escape ends the search",
  );
  assert.equal(await focusedRow(page), before, "and leads back to the row");
  await page.keyboard.press("j");
  assert.notEqual(await focusedRow(page), before, "where keys work again");
  await page.context().close();
});

test("by mouse: anywhere on a row, and a part of the clock", async () => {
  const page = await claimOf(LAB_1);
  const row = page.locator(".rows > li[id]").nth(3);
  await row.scrollIntoViewIfNeeded();
  const box = await row.boundingBox();
  await page.mouse.click(box.x + box.width - 4, box.y + box.height / 2);
  await panel(page).getByRole("heading", { name: "python-api: POST" }).waitFor();
  assert.equal(await row.getAttribute("aria-current"), "true", "its row is marked");
  assert.ok((await page.locator(".fragments").boundingBox()).width < 1000, "the panel is beside the rows");
  await page.getByRole("button", { name: "Close", exact: true }).click();
  await panel(page).waitFor({ state: "hidden" });

  const ticks = () => page.locator(".axis .tick").allTextContents();
  const whole = await ticks();
  assert.match(whole[0], /^0 ns$/, "the clock begins at 0");
  await page.locator(".overview svg").scrollIntoViewIfNeeded();
  const brush = await page.locator(".overview svg").boundingBox();
  await page.mouse.move(brush.x + brush.width / 2, brush.y + 10);
  await page.mouse.down();
  await page.mouse.move(brush.x + brush.width * 0.75, brush.y + 20, { steps: 4 });
  await page.mouse.up();
  assert.deepEqual([(await ticks())[0], (await ticks())[4]], [whole[2], whole[3]], "what was dragged over is all of the clock");
  const beside = await page.evaluate(() => {
    const arc = document.querySelector(".links .torn:not(.head)");
    const bar = document.querySelector(".rows .bar").getBoundingClientRect();
    return arc.getPointAtLength(0).x + arc.ownerSVGElement.getBoundingClientRect().left - bar.left;
  });
  assert.ok(Math.abs(beside) < 2, `an arc from what is before that begins at the edge, not ${beside} px beside it`);
  await page.locator("#zoom-from").focus();
  await page.keyboard.press("Home");
  assert.equal((await ticks())[0], whole[0], "the sliders do the same by keys");
  await page.getByRole("button", { name: "Zoom out" }).click();
  assert.deepEqual(await ticks(), whole, "and back");
  await page.context().close();
});

test("what was chosen stays when more spans arrive", async () => {
  const page = await claimOf(LAB_1);
  await page.locator(".rows .span").nth(1).click();
  await panel(page).getByText("children").waitFor();
  await page.locator(".fold").nth(1).click();
  await page.locator("#find-span").fill("policies");
  await page.locator(".rows .hit").first().waitFor();
  await page.locator("#zoom-until").focus();
  await page.keyboard.press("ArrowLeft");
  const chosen = () => page.evaluate(() => ({
    folded: document.querySelectorAll(".fold[aria-expanded=false]").length,
    hits: document.querySelectorAll(".rows .hit").length,
    marked: document.querySelector(".rows [aria-current]").id,
    bar: document.querySelector(".rows .bar").getAttribute("viewBox").split(" ")[2] / document.querySelector(".waterfall").dataset.units,
    text: document.getElementById("find-span").value,
    panel: !document.getElementById("span-panel").hidden,
    stops: document.querySelectorAll(".rows .span[tabindex='0']").length,
  }));
  const before = await chosen();
  assert.deepEqual([before.folded, before.bar, before.stops], [1, 0.999, 1], "there is something to lose");
  const { evidence } = await json(`api${new URL(page.url()).pathname}?wait_ms=0`);
  const [{ trace_id: traceId, nodes }] = evidence.fragments;
  await sendSpans(lab, "python-api", [{ traceId, spanId: "00000000000000aa", parentSpanId: nodes[0].span_id, name: "late addition", kind: 1 }]);
  await until("the new row is there", async () => {
    await page.evaluate(async () => (await import("/assets/live.js")).refreshAll());
    return page.locator(".rows .name", { hasText: "late addition" }).count();
  });
  assert.deepEqual(await chosen(), before, "all of it is as it was");
  await page.locator(".rows .span").first().focus();
  await page.locator(".rows > li[id]").first().evaluate((row) => (row.isSame = true));
  const asked = page.waitForResponse(/\/parts\/claims\//);
  await page.evaluate(async () => (await import("/assets/live.js")).refreshAll());
  await (await asked).finished();
  await page.evaluate(() => new Promise((done) => setTimeout(done, 0)));
  assert.ok(await page.locator(".rows > li[id]").first().evaluate((row) => row.isSame), "nothing changed, so nothing is drawn again");
  await page.context().close();
});

/** What the parts of a header say at one hop: the header's table as rows of text. Who opens them loads them. */
const parts = async (page, hop, header) => {
  const row = page.locator(".ledger > tbody > tr:not(.apart)", { has: page.locator("th", { hasText: hop }) });
  const apart = row.first().locator("xpath=following-sibling::tr[1]");
  await apart.locator("details").evaluate((details) => (details.open = true));
  await apart.locator("table.parts, p").first().waitFor();
  return apart.evaluate((apart, header) => {
    const table = [...apart.querySelectorAll("table.parts")].find((table) => table.caption.textContent === header);
    return table && [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell) => cell.textContent.trim().replace(/\b[0-9a-f]{16,32}\b/g, "ID")));
  }, header);
};

const HOP_1 = "python-api -> java-claims";
const LOOKUP = "java-claims -> node-policy-store";
const IDENTITIES = {
  healthy: ["traceparent", [["version", "00"], ["trace id", "ID trace A"], ["parent id", "ID python-api POST A"], ["flags", "03 sampled"]]],
  [LAB_1]: ["b3", [["trace id", "ID trace A"], ["parent id", "ID python-api POST A"], ["sampling decision", "1 sampled"]]],
  "jaeger-vs-w3c": ["uber-trace-id", [["trace id", "ID trace A"], ["parent id", "ID python-api POST A"], ["the parent's parent id", "0"], ["flags", "1 sampled"]]],
};

test("headers are taken apart, and their ids lead to spans", async () => {
  for (const [scenario, [header, expected]] of Object.entries(IDENTITIES)) {
    const page = await claimOf(scenario);
    const both = expected.map(([part, text]) => [part, text, text]);
    assert.deepEqual(await parts(page, HOP_1, header), both, scenario);
    await page.context().close();
  }
  const whole = await claimOf("healthy");
  const members = [["tenant.id", "acme-corp 9 bytes"], ["feature.flags", "new-pricing-model 17 bytes"], ["all of it", "51 bytes on the wire; the limit is 8192 bytes"]];
  const sorted = (rows) => rows.map((row) => row.join(" | ")).sort();
  assert.deepEqual(sorted(await parts(whole, HOP_1, "baggage")), sorted(members.map(([part, text]) => [part, text, text])), "baggage by its members");
  await whole.context().close();
  const page = await claimOf("b3-multi-vs-w3c");
  for (const [header, part, text] of [["x-b3-traceid", "trace id", "ID trace A"], ["x-b3-spanid", "parent id", "ID python-api POST A"], ["x-b3-sampled", "sampling decision", "1 sampled"]]) {
    assert.deepEqual(await parts(page, HOP_1, header), [[part, text, text]], header);
  }
  await page.locator("tr.apart a").first().click();
  await panel(page).getByRole("heading", { name: "python-api: POST" }).waitFor();
  assert.deepEqual(await obstacles(page), [], "headers taken apart");
  await picture(page, "headers-b3multi");
  await page.context().close();
});

test("what breaks a rule and what differs is marked, and a drill keeps the rule to itself", async () => {
  const marked = (page, kind) => page.locator(`.ledger td mark.${kind}`).evaluateAll((marks) => marks.map((mark) => mark.textContent).join(""));
  const malformed = await claimOf("malformed-traceparent");
  assert.equal(await marked(malformed, "odd"), "", "a lesson keeps the rule to itself, too, until there is a hypothesis");
  await api(lab, "parts/uncover", {});
  await malformed.reload();
  await malformed.locator("tr.apart summary").nth(1).click();
  assert.match(await marked(malformed, "odd"), /^[A-F]+$/, "the characters that may not be there");
  await malformed.getByText("traceparent must", { exact: false }).or(malformed.getByText("the trace id must be 32 lower-case hex digits", { exact: false })).first().waitFor();
  await picture(malformed, "headers-malformed");
  assert.deepEqual(await obstacles(malformed), [], "a malformed header");
  await malformed.context().close();

  const rewritten = await claimOf("gateway-rewrites-context");
  const row = await parts(rewritten, HOP_1, "traceparent");
  assert.deepEqual(row[1].slice(1), ["ID trace A", "ID trace B"], "what arrived names another trace");
  assert.match(row[2][2], /no span that was received/, "and a span that nobody exported");
  assert.ok((await marked(rewritten, "differs")).length > 20, "the ids that differ are marked");
  assert.equal(await marked(rewritten, "odd"), "", "no rule is broken");
  await picture(rewritten, "headers-rewritten");
  await rewritten.context().close();

  await api(lab, "api/drill", { scenarios: ["malformed-traceparent"] });
  const { claim_id } = await sendClaims(1);
  const page = await browser.open();
  await page.goto(new URL(`claims/${claim_id}`, lab.desk).href);
  await page.locator("tr.apart summary").first().click();
  assert.equal(await page.locator(".break").count(), 1, "that a new trace starts may be seen in a drill");
  assert.equal(await page.locator("mark.odd, .problem").count(), 0, "that a header breaks a rule would name the cause");
  await page.context().close();
});

test("a header is copied as it was", async () => {
  const page = await claimOf("baggage-bloat");
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  // Of the hop to the policy store; java-claims adds the bulk of it.
  const copy = page.locator(".ledger > tbody > tr:not(.apart)").nth(1).getByRole("button", { name: "Copy baggage" }).first();
  const value = await copy.getAttribute("data-copy");
  assert.ok(value.length > 8192, "all of it, and not only what is shown");
  await copy.click();
  await page.getByText("Copied", { exact: true }).waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), value);
  await page.evaluate(() => Object.defineProperty(navigator, "clipboard", { value: undefined }));
  const other = page.getByRole("button", { name: "Copy traceparent" }).first();
  await other.click();
  await until("it is copied by a selection too", async () => (await other.textContent()) === "Copied");
  const baggage = await parts(page, LOOKUP, "baggage");
  assert.match(baggage.at(-1).join(" "), /^all of it (\d{4,} bytes on the wire; the limit is 8192 bytes) \1$/, "and measured");
  const sizes = baggage.map(([key, sent]) => [key, Number(sent.match(/(\d+) bytes/)[1])]);
  const [members, [, all]] = [sizes.slice(0, -1), sizes.at(-1)];
  const written = members.reduce((sum, [key, bytes]) => sum + key.length + "=".length + bytes + ",".length, -",".length);
  assert.equal(written, all, "one measure: the members, their keys and what is between them are all of it");
  const line = page.locator(".ledger > tbody > tr:not(.apart)").nth(1).locator(".header", { hasText: "baggage" }).first();
  assert.match(await line.textContent(), new RegExp(`${all} bytes on the wire; the limit is 8192 bytes$`), "the limit is beside the size, also in the row");
  await page.context().close();
});

/** The rows of a comparison that differ: the span, and what differs. */
const differing = (page) => page.locator(".compared li.differs").evaluateAll((rows) => rows.map((row) => [
  row.querySelector(".name").textContent,
  [...row.querySelectorAll(".differences li")].map((line) => line.textContent),
]));

test("a claim of a lab that never saw a healthy one is compared all the same", async () => {
  const fresh = await startLab();
  const guest = await openBrowser(fresh);
  try {
    const switched = performance.now();
    assert.equal((await api(fresh, "api/settings/use", { id: LAB_1 })).status, 200);
    const tookMs = performance.now() - switched;
    assert.ok(tookMs < 5000, `the first switch keeps a healthy claim, and takes ${tookMs} ms`);
    assert.ok(JSON.parse((await api(fresh, "api/claims")).text).length <= 1, "the list shows the lab's own first claim at the most");
    await api(fresh, "api/claims", { count: 1 });
    const page = await guest.open();
    await page.goto(new URL("claims/last?with=healthy", fresh.desk).href);
    await until("the comparison has all spans", async () => {
      await page.evaluate(async () => (await import("/assets/live.js")).refreshAll());
      return (await page.locator(".compared li .this").count()) === 20;
    });
    const rows = Object.fromEntries(await differing(page));
    assert.deepEqual(rows["python-api POST"], ["header only in this claim: b3", "header only in the healthy claim: baggage, traceparent"], "other headers");
    const receiver = rows["java-claims POST /api/claims"];
    assert.equal(receiver[0], "parent: none (it is a root), healthy: python-api POST", "another parent");
    assert.equal(receiver.at(-1), "trace B, healthy: A", "in another trace");
    assert.equal(rows["python-api POST /claims"], undefined, "what is alike is not marked");
    assert.equal(await page.locator("svg.chain").count(), 2, "both pictures");
    assert.deepEqual(await obstacles(page), [], "a comparison");
    const address = page.url();
    await page.locator(".compared .span").nth(3).click();
    const both = page.locator("#span-panel");
    await both.getByRole("heading", { name: "python-api POST", exact: true }).waitFor();
    // A dotted name may break after its dots.
    const value = (name) => both.locator("dt", { hasText: new RegExp(`^${name.replaceAll(".", "\\.")}$`) }).locator("xpath=following-sibling::dd[1]");
    const sent = value("http.request.header.b3");
    assert.match(await sent.textContent(), /^this: \["[0-9a-f].*healthy: not there$/, "both spans, beside each other");
    assert.equal(await value("http.request.method").textContent(), "POST", "what is alike stands once");
    assert.equal(await both.locator("dt:text-is('trace') + dd .odd").count(), 0, "ids always differ, so they are not marked");
    assert.deepEqual(await obstacles(page), [], "both spans");
    await page.keyboard.press("j");
    await both.getByRole("heading", { name: "java-claims POST /api/claims", exact: true }).waitFor();
    await page.keyboard.press("Escape");
    await both.waitFor({ state: "hidden" });
    assert.match(await focusedRow(page), /^java-claims POST \/api\/claims/, "Escape leads back to the row");
    assert.equal(page.url(), address, "in the comparison, which nothing has left");
    await page.locator("#details-other-ledger > summary").click();
    await page.locator("#details-other-ledger .ledger tr.apart summary").first().click();
    await page.locator("#details-other-ledger table.parts a").first().click();
    await both.getByRole("heading", { name: "python-api POST", exact: true }).waitFor();
    assert.deepEqual(guest.complaints, [], "no console error, no request to anywhere else");
  } finally {
    await guest.close();
    await fresh.stop();
  }
});

test("missing spans, other parents and other headers are marked, span by span", async () => {
  const of = async (scenario) => {
    const page = await claimOf(scenario);
    await page.locator("#compare").click();
    await page.locator(".compared li").first().waitFor();
    const rows = Object.fromEntries(await differing(page));
    await picture(page, `compare-${scenario}`);
    await page.context().close();
    return rows;
  };
  assert.deepEqual(await of("healthy"), {}, "a healthy claim differs in nothing from another");
  const custom = await of("custom-client");
  assert.deepEqual(custom["java-claims GET"], ["only in the healthy claim"], "the call has no span");
  assert.ok(custom["node-policy-store GET /policies/:id"].includes("parent: none (it is a root), healthy: java-claims GET"));
  const tenant = await of("baggage-not-propagated");
  const missing = ["attribute only in the healthy claim: feature.flags = new-pricing-model", "attribute only in the healthy claim: tenant.id = acme-corp"];
  assert.deepEqual(tenant[CLAIMS], ["header only in the healthy claim: baggage", ...missing], "attributes that the receiver lacks");
  assert.equal(tenant[FRONT], undefined, "and none where it was read");
  const fire = await of("fire-and-forget");
  assert.deepEqual(Object.keys(fire), ["python-api write_audit"], "only the audit span differs");
  const batch = await of("batch-links");
  assert.ok(Object.values(batch).flat().includes("only in this claim"), "the batch's own span");
});

test("comparisons fit every screen", async () => {
  await api(lab, "api/settings/use", { id: LAB_1 });
  const { claim_id } = await sendClaims(1);
  for (const { name, viewport, colorScheme } of LAYOUTS) {
    const page = await browser.open(viewport, { colorScheme });
    for (const path of [`claims/${claim_id}`, `claims/${claim_id}?with=healthy`]) {
      await page.goto(new URL(path, lab.desk).href);
      await page.locator(".rows li").first().waitFor();
      const details = page.locator("tr.apart details").first();
      await details.evaluate((details) => details.setAttribute("open", ""));
      if (!path.includes("with")) {
        await page.locator(".rows .span").nth(3).click();
        await panel(page).getByRole("heading", { name: "python-api: POST" }).waitFor();
      }
      const excess = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.equal(excess, 0, `no horizontal scroll at ${path}, ${name}`);
      assert.deepEqual(await obstacles(page), [], `${path} at ${name}`);
      await picture(page, `${path.includes("with") ? "compare" : "panel"}-${name}`);
    }
    await page.context().close();
  }
});

test("of 10,000 spans each is found, also where rows are not shown yet", async () => {
  const [TOTAL, AT_ONCE, FEW] = [10_000, 2_000, 1_000];
  const hex = (digits) => [...crypto.getRandomValues(new Uint8Array(digits / 2))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const send = async (total) => {
    const [traceId, root, claim] = [hex(32), hex(16), `large-${hex(8)}`];
    const span = (number) => ({
      traceId, spanId: number ? hex(16) : root, ...(number && { parentSpanId: root, kind: 1 }), name: `work ${number}`,
      start: number / 10, end: number ? number / 10 + 1 : total / 10, attributes: { "insurewatch.claim.id": claim },
    });
    for (let from = 0; from < total; from += AT_ONCE) {
      await sendSpans(lab, "python-api", Array.from({ length: Math.min(AT_ONCE, total) }, (_, at) => span(from + at)));
    }
    return claim;
  };
  const [few, claim] = [await send(FEW), await send(TOTAL)];
  /** The shortest of some: others share this machine. */
  const millis = async (path) => {
    const all = [];
    for (let times = 0; times < 5; times += 1) {
      const began = performance.now();
      await (await fetch(new URL(path, lab.desk))).text();
      all.push(performance.now() - began);
    }
    return Math.min(...all);
  };
  for (const path of [(claim) => `claims/${claim}`, (claim) => `parts/find/${claim}?text=work%20123`]) {
    const ratio = await millis(path(claim)) / await millis(path(few));
    assert.ok(ratio < 3 * TOTAL / FEW, `${path("ID")}: ten times the spans take ${ratio.toFixed(1)} times as long`);
  }
  const page = await browser.open();
  const { length } = await (await page.goto(new URL(`claims/${claim}`, lab.desk).href)).body();
  assert.ok(length < 200_000, `the page shows the first rows and says how many are hidden, in ${length} bytes`);
  await page.getByRole("button", { name: "Show 200 more (9800 hidden)" }).waitFor();
  await page.getByText("live", { exact: true }).waitFor();
  await page.keyboard.press("/");
  await page.keyboard.type("work 123");
  await page.locator("#found").getByText("Found in 11 of 10000 spans.").waitFor();
  await page.keyboard.press("Enter");
  await panel(page).getByRole("heading", { name: "python-api: work 123", exact: true }).waitFor();
  await page.locator("#found a", { hasText: /work 1239$/ }).click();
  await panel(page).getByRole("heading", { name: "python-api: work 1239" }).waitFor();
  assert.match(await focusedRow(page), /^python-api work 1239/, "its row was asked for and has the focus");
  assert.equal(await page.locator(".rows .name").count(), 1600, "and no more rows than that needs");
  await page.locator(".fold").first().press("Enter");
  assert.equal(await page.locator(".rows > li[id]:visible").count(), 1, "all below the root are collapsed at once");
  await page.context().close();
});

test("without scripts the rows, the breaks and the headers can be read", async () => {
  await api(lab, "api/settings/use", { id: LAB_1 });
  const { claim_id } = await sendClaims(1);
  const page = await browser.open(WIDE, { javaScriptEnabled: false });
  await page.goto(new URL(`claims/${claim_id}`, lab.desk).href);
  assert.equal(await page.locator(".rows .span").count(), 20, "every span has a row");
  assert.equal(await page.locator(".tools:visible, .fold:visible, .copy:visible").count(), 0, "what only a script does is not offered");
  await page.locator("tr.apart summary").first().click();
  await page.locator("tr.apart a").first().click();
  await page.locator("tr.apart summary").first().click();
  await page.locator("table.parts").first().getByText("trace id", { exact: true }).waitFor();
  await page.locator(".break a").click();
  assert.match(page.url(), /#s-[0-9a-f]{32}-[0-9a-f]{16}$/, "the break leads to the sender's row");
  await page.context().close();
});

test("names of hops stay in one piece", async () => {
  for (const { name, viewport, colorScheme } of LAYOUTS) {
    const page = await claimOf("healthy", { viewport, colorScheme });
    const lines = await page.locator(".ledger th .nowrap").evaluateAll((pieces) => pieces.map((piece) => piece.getClientRects().length));
    assert.deepEqual(lines, Array(10).fill(1), `${name}: each of the 5 breaks before the second service at the most`);
    assert.equal(await page.locator(".ledger > tbody > tr:not(.apart) > th").first().textContent(), HOP_1, name);
    await page.context().close();
  }
});

test("a claim that was not sampled has its picture and the decision, and what is not known is called so", async () => {
  await api(lab, "api/settings/use", { id: "sampled-out" });
  const [sent] = (await api(lab, "api/claims", { count: 1 })).text.trim().split("\n").map((line) => JSON.parse(line));
  const page = await browser.open();
  await page.goto(new URL(`claims/${sent.claim.claim_id}`, lab.desk).href);
  await page.getByText("Spans of this claim: not received (sampled bit clear).", { exact: true }).waitFor();
  await page.getByText(`The front door answered traceresponse: ${sent.claim.traceresponse}: the sampled bit is clear`, { exact: false }).waitFor();
  assert.match(sent.claim.traceresponse, /-0[02]$/, "what the lab answered");
  const boxes = await page.locator("svg.chain .service .small").allTextContents();
  assert.equal(boxes.filter((text) => text === "no span received").length, 4, `no service is said to have done anything: ${boxes}`);
  await until("what the third party recorded is there", async () => {
    await page.evaluate(async () => (await import("/assets/live.js")).refreshAll());
    const outside = await parts(page, "claims-worker -> fraud-partner", "traceparent");
    return outside?.at(-1).join(" ") === "flags no span received 02 not sampled";
  });
  assert.deepEqual(await obstacles(page), [], "a claim without spans");
  await picture(page, "sampled-out");
  await page.locator("#compare").click();
  await page.locator(".compared li").first().waitFor();
  assert.ok((await differing(page)).every(([, lines]) => lines[0] === "only in the healthy claim"), "it can be compared, too");
  await page.context().close();
});

test("a claim's page carries no headers twice, and nothing that few open", async () => {
  await api(lab, "api/settings/use", { id: "healthy" });
  const { claim_id } = await sendClaims(1);
  const text = await (await fetch(new URL(`claims/${claim_id}`, lab.desk))).text();
  const main = text.slice(text.indexOf("<main"), text.indexOf("</main>"));
  assert.ok(main.length < 34_000, `20 spans and 5 hops in ${main.length} bytes`);
  assert.ok(!main.includes("table class=\"parts\""), "headers are taken apart when somebody opens them");
  const [traceparent] = main.match(/(?<=data-copy=")[^"]+/) ?? [];
  assert.equal(traceparent, undefined, "what stands beside its button is copied from there");
});
