// The pinned token joined by a thin line to its mark in the clip picture and to its columns in the rows below and in the
// KL: one layer over the page, which takes no room and no pointer. Lines run between the lines of text and in the gutters
// between the panels. In one column there are none: they would cross every panel between.

const GUTTER = 5; // half of the gap between two panels, in pixels
const [RING, COLUMN, KL] = [".explorer-objective .ex-ring-pinned", ".explorer-advantages .ex-column:not(.ex-column-hovered)", ".explorer-kl .ex-kl-pinned"];

// Draw the lines anew after a view has drawn or something has scrolled, when the page is laid out anyway: a frame later.
function joinPinned(root, board, leaving) {
  const layer = draw("svg", { class: "ex-joins", "aria-hidden": "true" });
  const line = draw("path", {}, layer);
  const channel = new MessageChannel();
  let queued = false;
  channel.port1.onmessage = () => {
    queued = false;
    const page = root.closest(".explorer");
    if (!page) return;
    if (layer.parentElement !== page) page.append(layer);
    const d = pinnedOf(board) && page.dataset.columns !== "1" ? joints(page, root) : "";
    if (line.getAttribute("d") !== d) line.setAttribute("d", d);
  };
  const soon = () => {
    if (queued) return;
    queued = true;
    requestAnimationFrame(() => channel.port2.postMessage(null));
  };
  const scrolled = () => pinnedOf(board) && soon();
  board.exJoins ??= new Set();
  board.exJoins.add(soon);
  document.addEventListener("scroll", scrolled, { capture: true, passive: true });
  leaving(() => {
    board.exJoins.delete(soon);
    document.removeEventListener("scroll", scrolled, { capture: true });
    channel.port1.close();
    layer.remove();
  });
}

// The lines from the pinned token to each of its ends that is in sight, as one path in the page's own coordinates.
function joints(page, root) {
  const token = root.querySelector(".ex-token.ex-pinned")?.getClientRects()[0];
  if (!token || !inSight(root, token.left + token.width / 2, token.top + token.height / 2)) return "";
  const [origin, panel] = [page.getBoundingClientRect(), root.getBoundingClientRect()];
  const start = [token.left + token.width / 2, token.bottom + 1];
  const zoom = zoomOf(page);
  const trunk = panel.right + GUTTER * zoom;
  const routes = [];
  for (const selector of [RING, COLUMN, KL]) {
    const node = page.querySelector(selector);
    const [end, view] = [node?.getBoundingClientRect(), node?.closest(".explorer-view")];
    if (!end?.height || !inSight(view, end.left + end.width / 2, end.top + end.height / 2)) continue;
    const [x, y, around] = [end.left + end.width / 2, end.top + end.height / 2, view.getBoundingClientRect()];
    // To the mark from the side, whichever is nearer; else from the gutter from which no words are in the way.
    if (selector === RING) {
      const below = around.left < panel.right;
      const beside = below && x < (around.left + around.right) / 2 ? panel.left - GUTTER * zoom : trunk;
      const words = [...view.querySelectorAll(WORDS)].map((word) => word.getBoundingClientRect()).filter(({ height }) => height);
      routes.push([start, [beside, start[1]], ...wayIn(beside, end, around, words)]);
    } else {
      const [gutter, edge] = selector === KL ? [around.bottom + GUTTER * zoom, end.bottom] : [around.top - GUTTER * zoom, end.top];
      routes.push([start, [trunk, start[1]], [trunk, gutter], [x, gutter], [x, edge]]);
    }
  }
  return routes.map((points) => rounded(points.map(([x, y]) => [(x - origin.left) / zoom, (y - origin.top) / zoom]))).join("");
}

// What is to be read in the clip panel, and taken hold of.
const WORDS = "h2, .ex-tab, .ex-hint, .ex-play, .explorer-clip-epoch, .ex-handle, .ex-formula, svg text";
const CLEARLY = 2; // pixels between the line and a word at the least

// From the trunk to a mark: straight, or where that would run through words at the nearest height at which it does not, and
// from there up or down to the mark. Boxes as the browser gives them: the mark's, the panel's and those of the words.
function wayIn(trunk, mark, panel, words) {
  const [x, y] = [(mark.left + mark.right) / 2, (mark.top + mark.bottom) / 2];
  const side = trunk < mark.left ? mark.left - 1 : mark.right + 1;
  const free = (x1, y1, x2, y2) => !words.some(({ left, right, top, bottom }) =>
    Math.min(x1, x2) - CLEARLY < right && left < Math.max(x1, x2) + CLEARLY && Math.min(y1, y2) - CLEARLY < bottom && top < Math.max(y1, y2) + CLEARLY);
  const straight = [[trunk, y], [side, y]];
  if (free(trunk, y, side, y)) return straight;
  const reach = (mark.bottom - mark.top) / 2;
  for (let off = reach + 4; off < panel.bottom - panel.top; off += 3) {
    for (const [at, edge] of [[y - off, mark.top - 1], [y + off, mark.bottom + 1]]) {
      if (at > panel.top + 2 && at < panel.bottom - 2 && free(trunk, at, x, at) && free(x, at, x, edge)) return [[trunk, at], [x, at], [x, edge]];
    }
  }
  return straight;
}

// Whether a place of a view can be seen: not scrolled away, and nothing lies over it.
function inSight(view, x, y) {
  const seen = document.elementFromPoint(x, y);
  return Boolean(seen && view.contains(seen));
}

// A path of straight stretches with round corners.
function rounded(points) {
  const at = ([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`;
  const towards = ([x, y], [tx, ty]) => {
    const length = Math.hypot(tx - x, ty - y);
    const by = length ? Math.min(5, length / 2) / length : 0;
    return [x + (tx - x) * by, y + (ty - y) * by];
  };
  const corners = points.slice(1, -1).map((point, i) => `L${at(towards(point, points[i]))}Q${at(point)} ${at(towards(point, points[i + 2]))}`);
  return `M${at(points[0])}${corners.join("")}L${at(points.at(-1))}`;
}
