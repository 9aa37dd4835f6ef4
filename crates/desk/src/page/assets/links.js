// Draws links between spans: from the bar of the span that links to the bar of the one it names.

const SVG = "http://www.w3.org/2000/svg";
const LEAST_BEND = 24;
const HEAD = 6;

function path(overlay, d, name) {
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", d);
  path.setAttribute("class", name);
  overlay.append(path);
}

/** Where a row's bar begins and ends, seen from the overlay. */
function bar(row, origin) {
  const box = row.querySelector(".bar rect").getBoundingClientRect();
  return { start: box.left - origin.left, end: box.right - origin.left, y: box.top + box.height / 2 - origin.top };
}

function drawIn(overlay) {
  overlay.replaceChildren();
  const fragments = overlay.parentElement;
  const origin = fragments.getBoundingClientRect();
  for (const link of fragments.querySelectorAll(".link a")) {
    const named = fragments.querySelector(`[id="${link.hash.slice(1)}"]`);
    // Its row may not have been asked for yet.
    if (!named) continue;
    const from = bar(link.closest("li"), origin);
    const to = bar(named, origin);
    const bend = Math.max(LEAST_BEND, Math.abs(from.start - to.end) / 2);
    const inside = (x) => Math.min(Math.max(x, 0), origin.width);
    path(overlay, `M${from.start} ${from.y} C${inside(from.start - bend)} ${from.y} ${inside(to.end + bend)} ${to.y} ${to.end} ${to.y}`, "line");
    path(overlay, `M${to.end + HEAD} ${to.y - HEAD} L${to.end} ${to.y} L${to.end + HEAD} ${to.y + HEAD}`, "head");
  }
}

export function drawLinks() {
  document.querySelectorAll("svg.links").forEach(drawIn);
}

/** Rows move when the window does, and when rows are added. */
export function keepLinksDrawn() {
  new ResizeObserver(drawLinks).observe(document.getElementById("main"));
}
