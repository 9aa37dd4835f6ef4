// The waterfall of a claim: one row at a time by keys, spans below a row hidden, zoom, find, and the panel of one span.
//
// The desk renders rows and hits; what is chosen here is applied again whenever it has rendered them again.

import { drawLinks } from "./links.js";
import { fragment, replace } from "./live.js";

const SVG = "http://www.w3.org/2000/svg";
/** A drag that covers less of the clock was a click. */
const LEAST_SHARE = 0.005;
const FIND_AFTER_MS = 250;
/** The steps of the two sliders. */
const STEPS = 1000;

/** The rows whose spans below are hidden, by id. */
const folded = new Set();
/** The row that keys start from, by id. */
let current = "";
/** The row that has the focus, by id: its button is another one when the desk has rendered it again. */
let focused = "";
/** The part of the clock that is shown. */
let shown = { from: 0, until: 1 };
const NO_HITS = { html: "", ids: [], at: -1 };
let hits = NO_HITS;
/** The row whose span the panel was asked for last, by id. */
let wanted = "";

const one = (selector) => document.querySelector(selector);
const rows = () => document.querySelectorAll(".waterfall .rows > li[id]");
const panel = () => document.getElementById("span-panel");
const claim = () => encodeURIComponent(one(".waterfall").dataset.claim);
/** The claim beside it, in a comparison. */
const beside = () => one(".waterfall").dataset.with;
const buttonOf = (row) => row.querySelector(".span");

/** As the desk writes it: rounded half up, and so to the next unit from what would round to 1000 of one. */
function duration(nanos) {
  const units = [[999.95e6, 1e9, "s"], [999.95e3, 1e6, "ms"], [999.5, 1e3, "µs"]];
  const [, size, unit] = units.find(([from]) => nanos >= from) ?? [0, 0, ""];
  return size ? `${(Math.round(nanos / (size / 10)) / 10).toFixed(1)} ${unit}` : `${Math.round(nanos)} ns`;
}

// Rows below a row.

function applyFolds() {
  for (const list of document.querySelectorAll(".waterfall .rows")) {
    let above = Infinity;
    for (const row of list.children) {
      const depth = Number(row.dataset.depth ?? 0);
      if (depth <= above) above = Infinity;
      const hide = above !== Infinity;
      if (row.hidden !== hide) row.hidden = hide;
      const fold = row.querySelector(".fold");
      if (!fold) continue;
      const open = !folded.has(row.id);
      fold.setAttribute("aria-expanded", open);
      if (!open && !hide) above = depth;
    }
  }
  drawLinks();
}

function fold(row, close) {
  if (!row.querySelector(".fold")) return;
  if (close) folded.add(row.id);
  else folded.delete(row.id);
  applyFolds();
}

function parentOf(row) {
  const depth = Number(row.dataset.depth);
  let above = row.previousElementSibling;
  while (above && Number(above.dataset.depth ?? depth) >= depth) above = above.previousElementSibling;
  return above?.id ? above : null;
}

// The row that keys start from: the only one that Tab stops at.

function setCurrent(row) {
  const before = document.getElementById(current);
  if (before) buttonOf(before).tabIndex = -1;
  current = row.id;
  buttonOf(row).tabIndex = 0;
}

function next(row, step) {
  const lists = [...document.querySelectorAll(".waterfall .rows")];
  const beside = (at) => (step > 0 ? at.nextElementSibling : at.previousElementSibling);
  const isRow = (at) => at.id && !at.hidden;
  let at = beside(row);
  for (let list = lists.indexOf(row.parentElement); list >= 0 && list < lists.length;) {
    while (at && !isRow(at)) at = beside(at);
    if (at) return at;
    list += step;
    at = step > 0 ? lists[list]?.firstElementChild : lists[list]?.lastElementChild;
  }
  return null;
}

function move(step) {
  const at = document.activeElement.closest(".rows > li[id]");
  const known = document.getElementById(current);
  // From anywhere else the first press leads back to the row that was left: at first that is the top one.
  const from = at ?? (panel().hidden ? null : known);
  const to = from ? next(from, step) : known && !known.hidden ? known : [...rows()].find((row) => !row.hidden);
  if (!to) return;
  setCurrent(to);
  buttonOf(to).focus();
  if (!panel().hidden) show(to);
}

// The panel.

function mark(id) {
  document.querySelector('.rows [aria-current="true"]')?.removeAttribute("aria-current");
  document.getElementById(id)?.setAttribute("aria-current", "true");
}

async function show(row) {
  setCurrent(row);
  const [, trace, span] = row.id.split("-");
  wanted = row.id;
  const other = beside() ? `&with=${encodeURIComponent(beside())}` : "";
  const response = await fetch(`/parts/spans/${trace}/${span}?of=${claim()}${other}`);
  const text = await response.text();
  // Keys are quicker than answers.
  if (wanted !== row.id) return;
  const into = document.getElementById("span-detail");
  if (response.ok) replace(into, text);
  else into.textContent = JSON.parse(text).detail;
  panel().hidden = false;
  panel().scrollTop = 0;
  mark(wanted);
  // It may be below the panel now.
  row.scrollIntoView({ block: "nearest" });
}

function close() {
  panel().hidden = true;
  wanted = "";
  mark(wanted);
  const row = document.getElementById(current);
  if (row) buttonOf(row).focus({ preventScroll: true });
}

// Rows that were not asked for yet.

async function append(button) {
  const list = button.closest("ol");
  const response = await fetch(button.dataset.append);
  const html = fragment(await response.text());
  const first = html.querySelector(".span");
  const had = button === document.activeElement;
  button.closest("li").replaceWith(html);
  restore();
  if (had) first?.focus();
  return list;
}

/** Brings a span's row into view, whatever hides it. */
async function reveal(id, focus = true) {
  const list = one(`.waterfall .rows[data-trace="${id.split("-")[1]}"]`);
  let row = document.getElementById(id) ?? one(`.rows > [data-other="${id}"]`);
  for (let more; !row && (more = list?.querySelector(".more button"));) {
    await append(more);
    row = document.getElementById(id);
  }
  if (!row) return;
  for (let above = parentOf(row); above; above = parentOf(above)) folded.delete(above.id);
  applyFolds();
  row.scrollIntoView({ block: "center" });
  await show(row);
  if (focus) buttonOf(row).focus({ preventScroll: true });
}

// Find.

function showHits() {
  const into = document.getElementById("found");
  if (!into) return;
  into.replaceChildren(fragment(hits.html));
  const ids = new Set(hits.ids);
  for (const row of rows()) row.classList.toggle("hit", ids.has(row.id));
}

let timer = 0;

async function find(field) {
  const text = field.value.trim();
  const html = text ? await (await fetch(`/parts/find/${claim()}?text=${encodeURIComponent(text)}`)).text() : "";
  if (field.value.trim() !== text) return;
  const ids = [...fragment(html).querySelectorAll("a")].map((link) => link.hash.slice(1));
  hits = { html, ids, at: -1 };
  showHits();
}

/** Back to the rows, without a search. */
function leaveFind(field) {
  clearTimeout(timer);
  field.value = "";
  hits = NO_HITS;
  showHits();
  const row = document.getElementById(current);
  if (row) buttonOf(row).focus({ preventScroll: true });
}

async function nextHit(field, step) {
  clearTimeout(timer);
  if (!hits.ids.length) await find(field);
  if (!hits.ids.length) return;
  hits.at = (hits.at + step + hits.ids.length) % hits.ids.length;
  await reveal(hits.ids[hits.at], false);
}

// Zoom.

function showZoom() {
  const waterfall = one(".waterfall:has(.overview)");
  if (!waterfall) return;
  const units = Number(waterfall.dataset.units);
  const nanos = Number(waterfall.dataset.nanos);
  const { from, until } = shown;
  const part = `${from * units} 0 ${(until - from) * units} 10`;
  for (const bar of waterfall.querySelectorAll(".rows .bar")) bar.setAttribute("viewBox", part);
  const ticks = waterfall.querySelectorAll(".axis .tick");
  ticks.forEach((tick, at) => {
    tick.textContent = duration((from + (until - from) * at / (ticks.length - 1)) * nanos);
  });
  select(from, until);
  const sliders = { "zoom-from": from, "zoom-until": until };
  for (const [id, share] of Object.entries(sliders)) {
    const slider = document.getElementById(id);
    slider.value = Math.round(share * STEPS);
    slider.setAttribute("aria-valuetext", duration(share * nanos));
  }
  document.getElementById("zoom-whole").hidden = from === 0 && until === 1;
  drawLinks();
}

/** Shows in the overview which part of the clock is, or would be, shown. */
function select(from, until) {
  const brush = one(".overview svg");
  let box = brush.querySelector(".shown");
  if (!box) {
    box = document.createElementNS(SVG, "rect");
    box.setAttribute("class", "shown");
    box.setAttribute("height", "100%");
    brush.append(box);
  }
  const { width } = brush.viewBox.baseVal;
  box.setAttribute("x", from * width);
  box.setAttribute("width", (until - from) * width);
  box.toggleAttribute("hidden", from === 0 && until === 1);
}

function zoom(from, until) {
  shown = until - from < LEAST_SHARE ? shown : { from: Math.max(0, from), until: Math.min(1, until) };
  showZoom();
}

let drag = null;

function shareAt(event) {
  const box = one(".overview svg").getBoundingClientRect();
  return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
}

document.addEventListener("pointerdown", (event) => {
  const brush = event.target.closest?.(".overview svg");
  if (!brush || event.button !== 0) return;
  event.preventDefault();
  brush.setPointerCapture(event.pointerId);
  drag = { start: shareAt(event), end: shareAt(event) };
});

document.addEventListener("pointermove", (event) => {
  if (!drag) return;
  drag.end = shareAt(event);
  select(Math.min(drag.start, drag.end), Math.max(drag.start, drag.end));
});

document.addEventListener("pointerup", () => {
  if (!drag) return;
  const { start, end } = drag;
  drag = null;
  zoom(Math.min(start, end), Math.max(start, end));
});

document.addEventListener("pointercancel", () => {
  drag = null;
  showZoom();
});

// What is chosen, applied to what the desk has rendered.

function restore() {
  if (!one(".waterfall")) return;
  // Arrow keys do what these do, so Tab need not stop at each.
  for (const button of document.querySelectorAll(".waterfall .fold, .waterfall .span")) button.tabIndex = -1;
  const row = document.getElementById(current) ?? one(".waterfall .rows > li[id]");
  if (row) setCurrent(row);
  const lost = document.activeElement === document.body && document.getElementById(focused);
  if (lost) buttonOf(lost).focus({ preventScroll: true });
  mark(wanted);
  applyFolds();
  showHits();
  showZoom();
}

document.addEventListener("focusin", ({ target }) => {
  focused = target.closest(".waterfall .rows > li[id]")?.id ?? "";
});

document.addEventListener("input", ({ target }) => {
  if (target.id === "find-span") {
    clearTimeout(timer);
    timer = setTimeout(() => find(target), FIND_AFTER_MS);
  }
  if (target.id === "zoom-from") zoom(Math.min(target.value / STEPS, shown.until - LEAST_SHARE), shown.until);
  if (target.id === "zoom-until") zoom(shown.from, Math.max(target.value / STEPS, shown.from + LEAST_SHARE));
});

document.addEventListener("click", (event) => {
  const { target } = event;
  const link = target.closest("a[href*='#s-']");
  const row = target.closest(".waterfall .rows > li[id]");
  if (link && one(".waterfall") && link.pathname === location.pathname) {
    event.preventDefault();
    reveal(link.hash.slice(1));
  } else if (target.closest("a, summary")) {
    return;
  } else if (target.closest(".fold")) {
    setCurrent(row);
    fold(row, target.closest(".fold").getAttribute("aria-expanded") === "true");
  } else if (target.closest("[data-append]")) {
    append(target.closest("[data-append]"));
  } else if (target.closest("#fold-all")) {
    for (const row of rows()) if (row.querySelector(".fold")) folded.add(row.id);
    applyFolds();
  } else if (target.closest("#unfold-all")) {
    folded.clear();
    applyFolds();
  } else if (target.closest("#zoom-whole")) {
    zoom(0, 1);
    document.getElementById("zoom-from").focus();
  } else if (target.closest("#close-span")) {
    close();
  } else if (row && getSelection().isCollapsed) {
    show(row);
    buttonOf(row).focus({ preventScroll: true });
  }
});

document.addEventListener("keydown", (event) => {
  if (!one(".waterfall") || event.ctrlKey || event.metaKey || event.altKey) return;
  const at = document.activeElement;
  const inRows = at.closest(".waterfall .rows");
  const field = document.getElementById("find-span");
  if (at === field) {
    if (event.key === "Enter") nextHit(field, event.shiftKey ? -1 : 1);
    else if (event.key === "Escape") {
      event.preventDefault();
      leaveFind(field);
    }
    return;
  }
  // Only where nothing else takes them.
  if (at.matches("input, select, textarea") || at.closest("dialog")) return;
  const row = inRows && at.closest("li[id]");
  const arrows = {
    ArrowDown: () => move(1),
    ArrowUp: () => move(-1),
    ArrowLeft: () => (row.querySelector('.fold[aria-expanded="true"]') ? fold(row, true) : parentOf(row) && focusOn(parentOf(row))),
    ArrowRight: () => fold(row, false),
  };
  const keys = {
    j: () => move(1),
    k: () => move(-1),
    ...(field && { "/": () => field.focus() }),
    ...(!panel().hidden && { Escape: close }),
  };
  const act = keys[event.key] ?? (row && arrows[event.key]);
  if (!act) return;
  event.preventDefault();
  act();
});

function focusOn(row) {
  setCurrent(row);
  buttonOf(row).focus();
}

export function keepWaterfall() {
  document.addEventListener("replaced", ({ target }) => {
    if (target.querySelector(".waterfall")) restore();
  });
  restore();
  // A link from another page may lead to a span.
  if (one(".waterfall") && location.hash.startsWith("#s-")) reveal(location.hash.slice(1));
}
