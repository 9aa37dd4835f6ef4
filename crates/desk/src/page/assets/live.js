// Asks for parts of the page again when the desk says that something changed.

/** Shorter than what lies between the answer to a claim and the first look at its spans. */
const PAUSE_MS = 150;
/** The desk says every three seconds that it is there. */
const SILENCE_MS = 8_000;
/** The pause after a request, in the time that it took: a large trace must not keep the desk busy. */
const PAUSE_SHARE = 4;

/** A lazy part is asked for once the `details` around it are opened. */
const LOADED = "[data-part]:not([data-lazy])";

/** What the desk sent last for a part: the part itself changes, as when rows are added to it. */
const sent = new WeakMap();

/** Whether somebody has changed a field since the desk rendered it. */
export function isEdited(field) {
  const rendered = field.options ? [...field.options].find((option) => option.defaultSelected)?.value ?? "" : field.defaultValue;
  return field.value !== rendered;
}

/** Puts HTML that the desk rendered, and so escaped, into an element; what is open or closed, what was typed, and focus stay. */
export function replace(target, html) {
  const details = [...target.querySelectorAll("details[id]")].map(({ id, open }) => [id, open]);
  const focused = target.contains(document.activeElement) ? document.activeElement.id : "";
  const typed = [...target.querySelectorAll("input[id]:not([type=hidden]), select[id]")].filter(isEdited).map((field) => [field.id, field.value]);
  // Parts that came later, when they were opened, stay as they are: they are refreshed by themselves.
  // So does what came of a button.
  const kept = [...target.querySelectorAll(`${LOADED}, [data-kept]`)];
  target.replaceChildren(fragment(html));
  sent.set(target, html);
  for (const part of kept) document.getElementById(part.id)?.replaceWith(part);
  for (const [id, open] of details) {
    document.getElementById(id)?.toggleAttribute("open", open);
  }
  for (const [id, value] of typed) {
    const field = document.getElementById(id);
    if (field) field.value = value;
  }
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  tick();
  target.dispatchEvent(new Event("replaced", { bubbles: true }));
}

/** Scripts in it never run. */
export function fragment(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content;
}

const under_way = new Set();
const again = new Set();

/** One request at a time for each part; what changes meanwhile is asked for afterwards. */
export async function refresh(part, isWanted = false) {
  if (!isWanted && "paused" in part.dataset) return;
  if (under_way.has(part)) {
    again.add(part);
    return;
  }
  under_way.add(part);
  const began = performance.now();
  await load(part);
  pauseAfter(part, began);
}

async function load(part) {
  try {
    const response = await fetch(part.dataset.part);
    const html = await response.text();
    if (response.ok && sent.get(part) !== html) replace(part, html);
  } catch {
    // The connection's status shows it.
  }
}

async function pauseAfter(part, began) {
  const pause = Math.max(PAUSE_MS, PAUSE_SHARE * (performance.now() - began));
  await new Promise((done) => setTimeout(done, pause));
  under_way.delete(part);
  if (again.delete(part)) refresh(part);
}

const parts = () => document.querySelectorAll(LOADED);

/** Ends when every part that was not being asked for already is there. */
export function refreshAll() {
  return Promise.all([...parts()].map((part) => refresh(part)));
}

let last = null;

function beat(pulse) {
  const changed = (key) => last === null || last[key] !== pulse[key];
  for (const part of parts()) {
    if (part.dataset.on.split(" ").some(changed)) refresh(part);
  }
  const traffic = document.getElementById("traffic");
  if (traffic) traffic.textContent = `${pulse.traffic.accepted} accepted, ${pulse.traffic.failed} failed`;
  last = pulse;
}

function tick() {
  for (const clock of document.querySelectorAll(".clock")) {
    const seconds = Math.max(0, Math.floor((Date.now() - Number(clock.dataset.since)) / 1000));
    clock.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  }
  for (const time of document.querySelectorAll("time[data-at]")) {
    const text = new Date(Number(time.dataset.at)).toLocaleTimeString();
    if (time.textContent !== text) time.textContent = text;
  }
}

export function listen() {
  for (const part of parts()) sent.set(part, part.innerHTML);
  document.addEventListener("toggle", ({ target }) => {
    const part = target.open && target.querySelector(":scope > [data-lazy]");
    if (!part) return;
    part.removeAttribute("data-lazy");
    refresh(part);
  }, true);
  const sign = document.getElementById("connection");
  const say = (text) => {
    if (sign.textContent !== text) sign.textContent = text;
  };
  tick();
  let heard = Date.now();
  const hear = () => {
    heard = Date.now();
    say("live");
  };
  const miss = () => say(`not answering since ${new Date(heard).toLocaleTimeString()}`);
  const events = new EventSource("/api/events");
  events.addEventListener("open", () => {
    // After a break anything may have changed.
    last = null;
    hear();
  });
  events.addEventListener("error", miss);
  events.addEventListener("beat", hear);
  events.addEventListener("pulse", (event) => {
    hear();
    beat(JSON.parse(event.data));
  });
  setInterval(() => {
    tick();
    if (Date.now() - heard > SILENCE_MS) miss();
  }, 1000);
}
