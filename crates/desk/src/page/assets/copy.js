// Copies a header's value.

const SAID_MS = 1500;

/** Where the page is not from this machine, and not over TLS, browsers have no clipboard for it. */
function copyBySelection(text) {
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "hidden";
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

export function keepCopying() {
  document.addEventListener("click", async ({ target }) => {
    const button = target.closest("[data-copy]");
    if (!button) return;
    const text = button.dataset.copy || button.previousElementSibling.textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      copyBySelection(text);
      button.focus({ preventScroll: true });
    }
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), SAID_MS);
  });
}
