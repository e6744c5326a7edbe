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
    // Beside the tokens straight to the mark; else from the gutter from which no words are in the way.
    if (selector === RING && around.left >= panel.right) routes.push([start, [trunk, start[1]], [trunk, y], [end.left - 1, y]]);
    else {
      const [gutter, edge] = selector === KL ? [around.bottom + GUTTER * zoom, end.bottom] : [around.top - GUTTER * zoom, end.top];
      routes.push([start, [trunk, start[1]], [trunk, gutter], [x, gutter], [x, edge]]);
    }
  }
  return routes.map((points) => rounded(points.map(([x, y]) => [(x - origin.left) / zoom, (y - origin.top) / zoom]))).join("");
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
