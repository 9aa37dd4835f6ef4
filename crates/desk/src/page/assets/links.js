// Draws what ties spans that are not parent and child: from a span's bar to the bar of the one that its row leads to.

const SVG = "http://www.w3.org/2000/svg";
const LEAST_BEND = 24;
const HEAD = 6;
/** How long the two strokes are that mark where an arc is broken, and how far they are apart, in pixels. */
const STROKE = 7;
const GAP = 5;

function path(overlay, d, name) {
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", d);
  path.setAttribute("class", name);
  overlay.append(path);
  return path;
}

/** Where a row's bar begins and ends, seen from the overlay; of one beyond the part of the clock that is shown, the edge. */
function bar(row, origin) {
  const box = row.querySelector(".bar rect").getBoundingClientRect();
  const { left, right } = row.querySelector(".bar").getBoundingClientRect();
  const inside = (x) => Math.min(Math.max(x, left), right) - origin.left;
  return { start: inside(box.left), end: inside(box.right), y: box.top + box.height / 2 - origin.top };
}

/** The bars of the row that says something of another, and of that one; nothing if one is collapsed or not asked for yet. */
function ends(note, overlay, origin) {
  const row = note.closest("li");
  const named = overlay.parentElement.querySelector(`[id="${note.hash.slice(1)}"]`);
  return named && !named.hidden && !row.hidden && [bar(row, origin), bar(named, origin)];
}

function drawIn(overlay) {
  overlay.replaceChildren();
  const fragments = overlay.parentElement;
  const origin = fragments.getBoundingClientRect();
  const inside = (x) => Math.min(Math.max(x, 0), origin.width);
  for (const note of fragments.querySelectorAll(".link a")) {
    const found = ends(note, overlay, origin);
    if (!found) continue;
    const [from, to] = found;
    const bend = Math.max(LEAST_BEND, Math.abs(from.start - to.end) / 2);
    path(overlay, `M${from.start} ${from.y} C${inside(from.start - bend)} ${from.y} ${inside(to.end + bend)} ${to.y} ${to.end} ${to.y}`, "line");
    path(overlay, `M${to.end + HEAD} ${to.y - HEAD} L${to.end} ${to.y} L${to.end + HEAD} ${to.y + HEAD}`, "head");
  }
  for (const note of fragments.querySelectorAll(".break a")) {
    const found = ends(note, overlay, origin);
    if (!found) continue;
    // The row is the one after the break: the arc leads to it.
    const [to, from] = found;
    const bend = inside(Math.min(from.start, to.start) - LEAST_BEND);
    const arc = path(overlay, `M${from.start} ${from.y} C${bend} ${from.y} ${bend} ${to.y} ${to.start} ${to.y}`, "torn");
    path(overlay, `M${to.start - HEAD} ${to.y - HEAD} L${to.start} ${to.y} L${to.start - HEAD} ${to.y + HEAD}`, "torn head");
    const length = arc.getTotalLength();
    // Whole in two parts, and nothing where the strokes are.
    arc.setAttribute("stroke-dasharray", `${length / 2 - GAP} ${2 * GAP}`);
    const { x, y } = arc.getPointAtLength(length / 2);
    for (const beside of [-GAP, GAP]) {
      path(overlay, `M${x - STROKE} ${y + beside + STROKE / 2} L${x + STROKE} ${y + beside - STROKE / 2}`, "torn head");
    }
  }
}

export function drawLinks() {
  document.querySelectorAll("svg.links").forEach(drawIn);
}

/** Rows move when the window does, and when rows are added. */
export function keepLinksDrawn() {
  new ResizeObserver(drawLinks).observe(document.getElementById("main"));
}
