// Loads what is behind a closed summary when it is opened.

import { fragment } from "./live.js";

/** What was loaded last, by address: it is shown at once when the part around it is drawn again. */
const loaded = new Map();

async function load(details) {
  const address = details.dataset.load;
  const into = details.querySelector(":scope > div");
  const show = () => into.replaceChildren(fragment(loaded.get(address)));
  const before = loaded.get(address);
  if (before) show();
  const response = await fetch(address);
  const text = await response.text();
  if (!response.ok) into.textContent = JSON.parse(text).detail;
  else if (text !== before) {
    loaded.set(address, text);
    show();
  }
}

export function keepDetailsLoaded() {
  // It does not bubble.
  document.addEventListener("toggle", ({ target }) => {
    if (target.open && target.dataset.load) load(target);
  }, true);
}
