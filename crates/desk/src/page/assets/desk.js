// Sends forms as JSON, and shows what comes back.

import { keepCopying } from "./copy.js";
import { keepLinksDrawn } from "./links.js";
import { listen, refreshAll, replace } from "./live.js";
import { keepWaterfall } from "./waterfall.js";

function body(form) {
  const values = {};
  for (const field of form.elements) {
    if (!field.name) continue;
    if (field.name === "assignment") {
      const at = field.value.indexOf("=");
      if (at < 1) throw new Error("must be KEY=VALUE");
      values.key = field.value.slice(0, at).trim();
      values.value = field.value.slice(at + 1).trim();
    } else if ("number" in field.dataset) {
      values[field.name] = Number(field.value);
    } else {
      values[field.name] = field.value === "" ? null : field.value;
    }
  }
  return values;
}

function say(into, text, refused = false) {
  into.replaceChildren();
  const paragraph = document.createElement(into.tagName === "P" ? "span" : "p");
  paragraph.textContent = text;
  paragraph.className = refused ? "bad" : "";
  into.append(paragraph);
}

/** The last line of an answer to claims counts them. */
function counted(lines) {
  const { done } = JSON.parse(lines.trim().split("\n").at(-1));
  return `${done.accepted} accepted, ${done.failed} failed`;
}

async function send(form) {
  const into = document.getElementById(form.dataset.into);
  const buttons = form.querySelectorAll("button");
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
  } catch (error) {
    say(into, error.message, true);
  } finally {
    buttons.forEach((button) => button.removeAttribute("aria-disabled"));
    refreshAll();
  }
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.dataset.post) return;
  event.preventDefault();
  if (!form.querySelector("button[aria-disabled]")) send(form);
});

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

// First, while the parts are as the desk sent them.
listen();
keepCopying();
keepWaterfall();
keepLinksDrawn();
