// Sends forms as JSON, and shows what comes back.

import { keepCopying } from "./copy.js";
import { keepDetailsLoaded } from "./details.js";
import { keepLinksDrawn } from "./links.js";
import { fragment, isEdited, listen, refresh, refreshAll, replace } from "./live.js";
import { keepWaterfall } from "./waterfall.js";

/** What ends a drill, and what shows the answer, on any page. */
const ENDS_DRILL = /^\/(parts\/(diagnosis|reveal)|api\/settings\/(use|reset))\b/;
const SHOWS_ANSWER = /^\/parts\/(diagnosis|reveal)\b/;

function body(form) {
  const values = {};
  const fields = [...form.elements].filter((field) => field.name);
  if (form.dataset.settings) {
    const changed = fields.filter(isEdited).map((field) => [field.name, field.value.trim() || null]);
    if (!changed.length) throw new Error("Nothing was changed.");
    return { service: form.dataset.settings, values: Object.fromEntries(changed) };
  }
  for (const field of fields) {
    if ("number" in field.dataset) {
      values[field.name] = Number(field.value);
    } else {
      values[field.name] = field.value === "" ? null : field.value;
    }
  }
  return values;
}

/** The desk's sentences mark code as Markdown does. */
function say(into, text, refused = false) {
  into.replaceChildren();
  const paragraph = document.createElement(into.tagName === "P" ? "span" : "p");
  text.split("`").forEach((part, at) => {
    const piece = document.createElement(at % 2 ? "code" : "span");
    piece.textContent = part;
    paragraph.append(piece);
  });
  paragraph.className = refused ? "bad" : "";
  into.append(paragraph);
}

/** The last line of an answer to claims counts them. */
function counted(lines) {
  const { done } = JSON.parse(lines.trim().split("\n").at(-1));
  return `${done.accepted} accepted, ${done.failed} failed`;
}

/** Whether to go on: what would end a drill, or show the answer of a lesson, is asked first. */
async function mayGoOn(form) {
  const lesson = document.querySelector(".lesson");
  const asked = [
    ["inDrill" in lesson.dataset && ENDS_DRILL, "A drill is on. This ends it, and it counts as not solved."],
    ["covered" in lesson.dataset && SHOWS_ANSWER, "You have not committed to a hypothesis yet. This shows the answer."],
  ];
  const [, question] = asked.find(([path]) => path && path.test(form.dataset.post)) ?? [];
  if (!question) return true;
  const dialog = document.getElementById("ask");
  document.getElementById("ask-text").textContent = question;
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
  return dialog.returnValue === "yes";
}

/** To the symptom of what was just chosen, at the top of the first page: any other page is about what was before. */
function goTo(id) {
  if (location.pathname !== "/") {
    location.assign(`/#${id}`);
    return;
  }
  document.getElementById("rail").scrollTop = 0;
  document.getElementById(id)?.focus({ preventScroll: true });
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  scrollTo({ top: 0, behavior: calm ? "instant" : "smooth" });
}

async function send(form, check) {
  if (!(await mayGoOn(form))) return;
  const into = document.getElementById(form.dataset.into);
  const buttons = form.querySelectorAll("button");
  let then = "";
  try {
    const json = JSON.stringify(body(form));
    say(into, `${form.dataset.wait ?? "Working"} …`);
    // Not `disabled`, which would lose the focus.
    buttons.forEach((button) => button.setAttribute("aria-disabled", "true"));
    const response = await fetch(form.dataset.post, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: json,
    });
    const type = response.headers.get("content-type") ?? "";
    const text = await response.text();
    if (!response.ok) throw new Error(type.includes("json") ? JSON.parse(text).detail : text);
    if (type.startsWith("text/html")) replace(into, text);
    else say(into, type.includes("ndjson") ? counted(text) : form.dataset.say);
    if (form.dataset.then) then = form.dataset.then;
    // What was typed is what the desk says from now on.
    if (form.dataset.settings) {
      form.reset();
      markEdited(form.querySelectorAll(".setting"));
    }
    if (check) document.getElementById("check").form.requestSubmit();
  } catch (error) {
    say(into, error.message, true);
  } finally {
    buttons.forEach((button) => button.removeAttribute("aria-disabled"));
    if (!into.closest(".actions")) into.scrollIntoView({ block: "nearest" });
    const refreshed = refreshAll();
    if (then) {
      document.getElementById("lab-result").replaceChildren();
      await refreshed;
      goTo(then);
    }
  }
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.dataset.post) return;
  event.preventDefault();
  if (!form.querySelector("button[aria-disabled]")) send(form, "check" in (event.submitter?.dataset ?? {}));
});

/** What was changed in a form of settings and not sent yet says so. */
function markEdited(settings) {
  for (const setting of settings) {
    const mark = setting.querySelector(".not-applied");
    if (mark) mark.hidden = !isEdited(setting.querySelector("input, select"));
  }
}

for (const kind of ["input", "change"]) {
  document.addEventListener(kind, ({ target }) => {
    const form = target.closest("form[data-settings]");
    if (!form) return;
    markEdited([target.closest(".setting")]);
    // It said what was applied before.
    document.getElementById(form.dataset.into)?.replaceChildren();
  });
}

document.addEventListener("replaced", ({ target }) => markEdited(target.querySelectorAll(".setting")));

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-load]");
  if (!button) return;
  const response = await fetch(button.dataset.load);
  const text = await response.text();
  const into = document.getElementById(button.dataset.into);
  if (into.dataset.part) into.dataset.part = button.dataset.load;
  if (response.ok) replace(into, text);
  else say(into, JSON.parse(text).detail, true);
  into.querySelector("button")?.focus({ preventScroll: true });
});

document.addEventListener("click", ({ target, clientX, clientY }) => {
  if (target.tagName === "DIALOG") {
    // A click on the backdrop is one on the dialog, beyond its box.
    const { left, right, top, bottom } = target.getBoundingClientRect();
    if (clientX < left || clientX > right || clientY < top || clientY > bottom) target.close();
  }
  if (target.id === "close-result") {
    document.getElementById("lab-result").replaceChildren();
    document.getElementById("check").focus();
  }
});

document.addEventListener("change", ({ target }) => {
  const part = document.getElementById(target.dataset.filters ?? "");
  if (!part) return;
  part.dataset.part = `/parts/claims?show=${target.value}`;
  refresh(part, true);
});

document.addEventListener("click", ({ target }) => {
  const part = document.getElementById(target.dataset?.pauses ?? "");
  if (!part) return;
  const paused = !("paused" in part.dataset);
  part.toggleAttribute("data-paused", paused);
  target.setAttribute("aria-pressed", String(paused));
  if (!paused) refresh(part);
});

/** What is beside or behind the bar ends above it, however much it shows. */
function keepAboveBar() {
  const bar = document.querySelector(".actions");
  new ResizeObserver(() => document.documentElement.style.setProperty("--bar", `${bar.offsetHeight}px`)).observe(bar);
}

// First, while the parts are as the desk sent them.
listen();
keepCopying();
keepDetailsLoaded();
keepWaterfall();
keepLinksDrawn();
keepAboveBar();
// What the browser filled in again.
markEdited(document.querySelectorAll(".setting"));
