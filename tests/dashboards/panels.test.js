// What each panel draws of answers that a real Tempo gave in five states, cell by cell where it matters. $RECORDED names
// another folder of answers; `tests/interop/dashboards.py` records them.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { dashboards, drawAll, savedQueries } from "./panels.js";

const RECORDED = resolve(process.env.RECORDED ?? join(import.meta.dirname, "recorded"));
const HEALTHY = "healthy", LAB_1 = "lab-1-b3-vs-w3c", REWRITTEN = "gateway-rewrites-context", HOLE = "mesh-span-not-exported", LEAK = "baggage-leak";
const STATES = [HEALTHY, LAB_1, REWRITTEN, HOLE, LEAK];
const SERVICES = ["claims-worker", "java-claims", "node-policy-store", "python-api"];
const BEHIND = SERVICES.slice(0, 3);

const boards = await dashboards();
const runs = Object.fromEntries(await Promise.all(STATES.map(async (state) => [state, JSON.parse(await readFile(join(RECORDED, `${state}.json`), "utf8"))])));
const drawn = Object.fromEntries(await Promise.all(STATES.map(async (state) => [state, await drawAll(boards, runs[state], recorded(state))])));

function recorded(state) {
  return async (path) => {
    const answer = runs[state].answers[path];
    assert.ok(answer, `${state}: Tempo's answer to ${path} was not recorded; run tests/interop/dashboards.py record`);
    return answer;
  };
}

function panel(state, dashboard, title) {
  const found = drawn[state].filter((one) => one.dashboard === dashboard && one.title === title);
  assert.equal(found.length, 1, `one panel is called ${dashboard} / ${title}`);
  return found[0];
}

const HOME = "Fragmented or unified?", HEALTH = "Propagation health", CHAIN = "The chain", CLASS = "The class", ONE = "One claim";

/** Every column of a panel that is one table, by name, as texts. */
function columns(state, dashboard, title) {
  const { frames } = panel(state, dashboard, title);
  return Object.fromEntries(frames.flatMap(({ fields }) => fields.map((field) => [field.name, field.cells])));
}

/** The names of the series that a panel draws, and the colour of each. */
function series(state, dashboard, title) {
  const fields = panel(state, dashboard, title).frames.flatMap((frame) => frame.fields);
  return Object.fromEntries(fields.filter((field) => field.type === "number").map((field) => [field.name, field.colour]));
}

const texts = (cells) => cells.map(({ text }) => text);
const each = (cells, wanted, why) => {
  assert.ok(cells.length > 0, `${why}: there are rows`);
  assert.deepEqual([...new Set(texts(cells))], [wanted], why);
};
/** How a state differs from another where it is the same for all others. */
const per = (others, own) => Object.fromEntries(STATES.map((state) => [state, own[state] ?? others]));

const BLUE = drawn[HEALTHY].find(({ dashboard }) => dashboard === HOME).frames[0].fields.find(({ name }) => name.includes("python-api")).colour;

test("home: the bars say in whose trace the work of each service is", () => {
  const root = per(() => "in python-api's trace", {
    [LAB_1]: (service) => (BEHIND.includes(service) ? "in java-claims's trace" : "in python-api's trace"),
    [REWRITTEN]: (service) => (BEHIND.includes(service) ? "in a trace with no root" : "in python-api's trace"),
  });
  for (const state of STATES) {
    const bars = columns(state, HOME, "In whose trace is each service's work?");
    const services = texts(bars["resource.service.name\\rootServiceName"]);
    assert.deepEqual(services, SERVICES, `${state}: a bar for each service that has spans`);
    for (const [row, service] of services.entries()) {
      const filled = Object.keys(bars).slice(1).filter((name) => bars[name][row].value > 0);
      assert.deepEqual(filled, [root[state](service)], `${state}: the bar of ${service} has one colour`);
    }
  }
  assert.equal(new Set(["in python-api's trace", "in java-claims's trace"].map((name) => series(LAB_1, HOME, "In whose trace is each service's work?")[name])).size, 2, "they are told apart");
});

test("home: over time the colours are the same", () => {
  const wanted = per(["in python-api's trace"], {
    [LAB_1]: ["in java-claims's trace", "in python-api's trace"],
    [REWRITTEN]: ["in a trace with no root", "in python-api's trace"],
  });
  for (const state of STATES) {
    const now = series(state, HOME, "In whose trace is each service's work?"), time = series(state, HOME, "When it broke, and when it was fixed");
    assert.deepEqual(Object.keys(time).sort(), wanted[state], state);
    for (const name of Object.keys(time)) assert.equal(time[name], now[name], `${state}: ${name} has one colour`);
    assert.equal(time["in python-api's trace"], BLUE, `${state}: blue is unified`);
  }
});

test("home: the last claims are unified or in pieces, one click from their traces", () => {
  const traces = per("● unified", { [LAB_1]: "◐ in 2 traces", [REWRITTEN]: "◐ in 2 traces" });
  for (const state of STATES) {
    const rows = columns(state, HOME, "The last claims");
    // The newest may be incomplete.
    const settled = (name) => rows[name].slice(1);
    each(settled("Traces"), traces[state], `${state}: in how many traces a claim is`);
    for (const cell of settled("Hanging")) {
      assert.match(cell.text, [REWRITTEN, HOLE].includes(state) ? /^[1-9]\d* spans$/ : /^nothing$/, `${state}: what hangs on a missing parent`);
    }
    for (const cell of settled("Claim")) {
      const link = new URL(cell.links[0].href, "http://grafana");
      const [left, right] = ["var-left", "var-right"].map((name) => link.searchParams.get(name));
      assert.equal(link.pathname, "/d/iw-one-claim", state);
      assert.equal(link.searchParams.get("var-claim"), cell.value, `${state}: the claim is chosen`);
      for (const id of [left, right]) assert.match(id, /^[0-9a-f]{16,32}$/, `${state}: both sides are set`);
      assert.equal(left === right, traces[state] === "● unified", `${state}: two sides of one trace if it is unified`);
      assert.equal(link.searchParams.get("from"), "now-15m", `${state}: the time range moves on`);
    }
  }
  const colours = [HEALTHY, LAB_1].map((state) => columns(state, HOME, "The last claims").Traces[1].color);
  assert.notEqual(colours[0], colours[1], "colour says it as well as the words");
});

test("one claim: both sides show a trace as a picture and as spans", () => {
  const sides = per([SERVICES, SERVICES], { [LAB_1]: [["python-api"], BEHIND], [REWRITTEN]: [["python-api"], BEHIND] });
  for (const state of STATES) {
    for (const [at, side] of ["Left", "Right"].entries()) {
      const graph = panel(state, ONE, `${side}: who called whom`), spans = panel(state, ONE, `${side}: spans`);
      assert.deepEqual([graph.errors, spans.errors], [[], []], `${state}: ${side} has a trace id`);
      const [trace, nodes, edges] = graph.frames;
      const column = (frame, name) => texts(frame.fields.find((field) => field.name.endsWith(name)).cells);
      assert.deepEqual([...new Set(column(nodes, "title"))].sort(), sides[state][at], `${state}, ${side}: the services of the picture`);
      // A tree has an edge less than nodes; a hole takes one more.
      const trees = state === HOLE ? 2 : 1;
      assert.equal(column(nodes, "id").length - column(edges, "id").length, trees, `${state}, ${side}: the picture hangs together`);
      assert.equal(column(trace, "spanID").length, column(spans.frames[0], "spanID").length, `${state}, ${side}: the same trace below`);
    }
    const listed = columns(state, ONE, "The traces of this claim");
    assert.equal(listed["Trace ID"].length, sides[state][0] === SERVICES ? 1 : 2, `${state}: its traces`);
    for (const { links } of listed["Trace ID"]) {
      assert.deepEqual(links.slice(0, 2).map(({ title }) => title), ["Show on the left", "Show on the right"], state);
      for (const { href } of links.slice(0, 2)) assert.match(href, /var-left=[0-9a-f]+&var-right=[0-9a-f]+&from=now/, `${state}: both sides stay set`);
    }
  }
  const roots = columns(REWRITTEN, ONE, "The traces of this claim").Service;
  assert.ok(texts(roots).includes("no root"), "a trace without a root is called so");
});

test("one claim: the headers at each hop, in the order of the hops", () => {
  const hops = [
    ["python-api", "POST /claims", "server"], ["python-api", "POST", "client"], ["java-claims", "POST /api/claims", "server"],
    ["java-claims", "GET", "client"], ["node-policy-store", "GET /policies/:id", "server"], ["java-claims", "create claims", "producer"],
    ["claims-worker", "process claims", "consumer"], ["claims-worker", "POST", "client"], ["claims-worker", "PUT", "client"],
    ["java-claims", "PUT /api/claims/{id}/fraud-check", "server"],
  ];
  for (const state of STATES) {
    const rows = columns(state, ONE, "Headers at each hop");
    const told = rows.Service.map((_, row) => ["Service", "Span", "Kind"].map((name) => rows[name][row].text));
    assert.deepEqual(told, hops, `${state}: ten rows, no database and no work inside a service`);
    const sent = (name, row) => rows[name]?.[row].text;
    const given = state === LAB_1 ? "b3" : "traceparent";
    assert.notEqual(sent(given, 1), "–", `${state}: python-api sends ${given}`);
    assert.equal(sent(given, 1) === sent(given, 2), state !== REWRITTEN && state !== HOLE, `${state}: java-claims receives what was sent`);
    assert.equal(sent("traceparent", 3), sent("traceparent", 4), `${state}: the call of the policy store arrives as it was sent`);
    const trace = texts(rows["In trace"]);
    assert.match(trace[0], /^[0-9a-f]{8}…$/, `${state}: the trace, in short`);
    assert.equal(trace[1] === trace[2], ![LAB_1, REWRITTEN].includes(state), `${state}: whether java-claims is in the caller's trace`);
  }
});

test("propagation health: each panel is empty in a healthy chain, and tells one kind of break from the others", () => {
  const named = (title, wanted) => {
    for (const state of STATES) assert.deepEqual(Object.keys(series(state, HEALTH, title)).sort(), wanted[state], `${state}: ${title}`);
  };
  named("Root spans by service", per(["python-api"], { [LAB_1]: ["java-claims", "python-api"] }));
  named("Fragments by service and span", per([], { [LAB_1]: ["java-claims, POST /api/claims"] }));
  const servers = ["java-claims, POST /api/claims", "java-claims, PUT /api/claims/{id}/fraud-check", "node-policy-store, GET /policies/:id"];
  named("Servers whose parent was not received", per([], { [REWRITTEN]: servers, [HOLE]: servers }));
  named("Work without a tenant", per([], { [LAB_1]: BEHIND }));
  named("Claims and complete claims", per(["claims"], { [HEALTHY]: ["claims", "complete claims"], [LEAK]: ["claims", "complete claims"] }));
  for (const state of STATES) {
    const share = columns(state, HEALTH, "Complete claims, last minute").share[0];
    const whole = [HEALTHY, LEAK].includes(state);
    assert.ok(whole ? share.value > 0.9 : share.value === 0, `${state}: the share of complete claims is ${share.text}`);
    const broken = columns(state, HEALTH, "Newest broken claims").Claim ?? [];
    assert.equal(broken.length > 0, !whole, `${state}: newest broken claims`);
    for (const { links } of broken) assert.match(links[0].href, /var-left=[0-9a-f]+&var-right=[0-9a-f]+&from=now/, `${state}: one click from the traces`);
    const rootless = columns(state, HEALTH, "Traces whose root was not received").Service;
    assert.equal(rootless.length > 1, state === REWRITTEN, `${state}: traces without a root`);
    if (state === REWRITTEN) each(rootless, "no root", "it is said in words");
    const baggage = columns(state, HEALTH, "Baggage that leaves the company").baggage ?? [];
    assert.equal(baggage.length > 0, state === LEAK, `${state}: baggage that leaves the company`);
    for (const { text } of baggage) assert.match(text, /user\.session_token=/, "it can be read");
  }
});

test("the chain: nothing of it changes, which is why a broken trace is hard to notice", () => {
  const calls = ["claims-worker, POST", "claims-worker, PUT", "java-claims, GET", "python-api, POST"];
  for (const state of STATES) {
    const named = (title) => Object.keys(series(state, CHAIN, title)).sort();
    assert.deepEqual(named("Rate by service"), SERVICES, state);
    assert.deepEqual(named("Errors by service"), [], `${state}: no span has an error`);
    assert.deepEqual(named("Duration by service, 95th percentile"), SERVICES, state);
    assert.deepEqual(named("Calls and messages by sender"), [...calls, "java-claims, message to claims"].sort(), state);
    assert.deepEqual(named("Duration by call, 95th percentile"), calls, state);
  }
});

test("the class: a row per lab, with its share of complete claims and who begins traces", () => {
  for (const state of STATES) {
    const rows = columns(state, CLASS, "Every lab, last minute");
    assert.deepEqual(texts(rows.Lab), [...STATES].sort(), "the labs share one Tempo");
    for (const [row, lab] of texts(rows.Lab).entries()) {
      assert.ok(rows["Claims per minute (python-api begins traces)"][row].value > 30, `${lab}: claims per minute`);
      assert.equal(rows.Complete[row].value > 0.9, [HEALTHY, LEAK].includes(lab), `${lab}: ${rows.Complete[row].text} are complete`);
      assert.equal(rows["java-claims begins traces"][row].value > 0, lab === LAB_1, `${lab}: who begins traces`);
    }
    assert.deepEqual(Object.keys(series(state, CLASS, "Since when")).sort(), [REWRITTEN, LAB_1, HOLE].sort(), "the labs that are broken");
  }
});

test("every service has one colour, wherever it is drawn", () => {
  const colours = new Map();
  for (const state of STATES) {
    for (const { dashboard, title, frames } of drawn[state].filter(({ dashboard }) => [HEALTH, CHAIN].includes(dashboard))) {
      for (const { name, colour } of frames.flatMap(({ fields }) => fields)) {
        const service = SERVICES.find((known) => name === known || name.startsWith(`${known}, `));
        if (!service) continue;
        assert.ok(colour, `${dashboard} / ${title}: ${name} has a fixed colour`);
        assert.equal(colours.get(service) ?? colour, colour, `${dashboard} / ${title}: ${name}`);
        colours.set(service, colour);
      }
    }
  }
  assert.deepEqual([...colours.keys()].sort(), SERVICES, "every service was seen");
  assert.equal(new Set(colours.values()).size, SERVICES.length, "no two share one");
});

/** What must not be in a dashboard, one line per finding. */
function refusals(board, frames) {
  const found = [];
  for (const { title, targets = [] } of board.panels) {
    if (targets.filter(({ tableType }) => tableType).length > 1) found.push(`${title}: only the first of several searches is run`);
  }
  if (/\$\{?__(from|to)\b/.test(JSON.stringify(board))) found.push("a link to a fixed time: it freezes the page");
  for (const [title, name] of frames) {
    if (/[{}"]|=|^Value|^Field|^undefined/.test(name.replace("/api/claims/{id}", ""))) found.push(`${title}: the legend reads ${name}`);
  }
  return found;
}

test("two searches in a panel, links to a fixed time and raw legends are refused", async () => {
  const legends = (title) => STATES.flatMap((state) => drawn[state].filter(({ dashboard }) => dashboard === title))
    .flatMap((one) => one.frames.flatMap(({ fields }) => fields).filter(({ hidden, type }) => !hidden && type === "number").map(({ name }) => [one.title, name]));
  for (const board of boards) assert.deepEqual(refusals(board, legends(board.title)), [], board.title);

  const spoil = (title, change) => {
    const board = structuredClone(boards.find((one) => one.title === title));
    change(board);
    return board;
  };
  const twice = spoil(HEALTH, ({ panels }) => panels.filter(({ targets }) => targets?.[0].tableType).forEach(({ targets }) => targets.push({ ...targets[0], refId: "B" })));
  assert.equal(refusals(twice, []).length, 3, "a second search is noticed");
  const frozen = spoil(HOME, (board) => board.links.push({ url: "/d/x?from=${__from}&to=${__to}" }));
  assert.equal(refusals(frozen, []).length, 1, "a fixed time is noticed");
  const raw = spoil(HEALTH, ({ panels }) => panels.forEach((one) => { one.transformations = []; }));
  const names = (await drawAll([raw], runs[LAB_1], recorded(LAB_1))).flatMap((one) => one.frames.flatMap(({ fields }) => fields)
    .filter(({ hidden, type }) => !hidden && type === "number").map(({ name }) => [one.title, name]));
  assert.ok(refusals(raw, names).some((line) => line.includes("legend")), "a raw legend is noticed");
});

test("the saved queries are answered", () => {
  const saved = savedQueries(boards);
  assert.ok(saved.length >= 5, "they are found");
  for (const { query } of saved) {
    const answers = Object.entries(runs[LAB_1].answers).filter(([path]) => new URL(path, "http://tempo").searchParams.get("q") === query);
    assert.equal(answers.length, 1, `${query} was asked`);
    const [{ series: found, traces }] = answers.map(([, answer]) => answer);
    assert.ok((found ?? traces).length > 0, `${query} finds something in Lab 1`);
  }
});
