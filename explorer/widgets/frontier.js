// The frontier: what each update's score cost in KL to the reference, the update on screen marked. A picture of the run's
// panel beside the curves. The KL grows about with the square of the distance gone, so its root is the axis.

const FRONTIER = { left: 38, right: 12, top: 22, bottom: 30 }; // pixels around the picture: scale, titles
const AGES = 10; // from the oldest to the newest dots, so many strengths
const NEAR = 14; // pixels within which a pointer means a dot

// The run's dots: {updates, kl, score, total}, total being how many updates there were before thinning.
function frontierOf(dots) {
  if (!dots) return { updates: [], kl: [], score: [], total: 0 };
  const [updates, kl, score] = [numbers(dots.updates, Int32Array), numbers(dots.kl, Float32Array), numbers(dots.score, Float32Array)];
  return { updates, kl, score, total: dots.total };
}

const rooted = (kl) => Math.sqrt(Math.max(kl, 0)); // k1 of a batch may be below 0 where the policy has hardly moved

// Where a KL and a score lie in a picture of some size; `high` is the KL at its right end.
function frontierScale({ width, height }, high, [low, top]) {
  const { left, right, top: above, bottom } = FRONTIER;
  return {
    x: (kl) => left + (rooted(kl) / Math.sqrt(high)) * (width - left - right),
    y: (score) => height - bottom - ((score - low) / (top - low)) * (height - bottom - above),
  };
}

// The parts of a line from the oldest to the newest, each with its strength of 1 to AGES; neighbours share a point.
function agesOf(count) {
  const parts = [];
  for (let age = 1; age <= AGES; age += 1) {
    const [from, to] = [Math.floor(((age - 1) * count) / AGES), Math.floor((age * count) / AGES)];
    if (to > from) parts.push({ age, from, to });
  }
  return parts;
}

// Whole steps for an axis of √KL: about four of them.
function rootTicks(high) {
  const end = Math.sqrt(high);
  const step = [0.2, 0.5, 1, 2, 5, 10].find((size) => end / size <= 5) ?? 20;
  return Array.from({ length: Math.floor(end / step + 1e-9) + 1 }, (_, i) => i * step);
}

// The dot nearest to a place; -1 where none is near.
function nearestDot({ kl, score, updates }, { x, y }, [left, top]) {
  let [best, nearest] = [-1, NEAR];
  for (let i = 0; i < updates.length; i += 1) {
    const away = Math.hypot(x(kl[i]) - left, y(score[i]) - top);
    if (away < nearest) [best, nearest] = [i, away];
  }
  return best;
}

function frontierView(root, board, sized, tip, send) {
  const picture = draw("svg", { class: "ex-picture explorer-frontier", role: "img" });
  const size = sized(picture);
  let [dots, scale, drawn] = [frontierOf(), null, []];
  const dotAt = (event) => {
    const { x, y } = placeIn(picture, event);
    return scale ? nearestDot(dots, scale, [x, y]) : -1;
  };
  picture.addEventListener("mousemove", (event) => {
    const i = dotAt(event);
    picture.classList.toggle("ex-opens", i >= 0);
    if (i < 0) return tip.hide();
    const [box, zoom] = [picture.getBoundingClientRect(), zoomOf(picture)];
    const at = new DOMRect(box.left + scale.x(dots.kl[i]) * zoom, box.top + scale.y(dots.score[i]) * zoom, 0, 0);
    tip.show([make("p", { text: dotWords(board, dots, i) })], { getBoundingClientRect: () => at });
  });
  picture.addEventListener("mouseleave", tip.hide);
  picture.addEventListener("click", (event) => {
    const i = dotAt(event);
    if (i >= 0) send({ kind: "scrub", update: dots.updates[i] });
  });
  const paint = () => {
    const [series, behind, { cursor }] = [board.get("series"), board.get("behind"), board.get("run")];
    const stamp = [series, behind, cursor, board.get("words"), size.width, size.height];
    if (!size.width || !size.height || stamp.every((part, i) => part === drawn[i])) return;
    drawn = stamp;
    dots = frontierOf(series.frontier);
    scale = drawFrontier(picture, size, board, dots, behind, cursor);
  };
  return { picture, paint, hide: tip.hide };
}

const dotWords = (board, { updates, kl, score }, i) =>
  say(board, "ui.frontier.dot", { update: updates[i], score: format(score[i]), kl: format(kl[i]), root: format(rooted(kl[i])) });

// Where a few words beside a dot lie over the fewest of the others: to its right or left, above or below; {x, y, side}.
function clearest(places, [x, y], [left, top, right, bottom]) {
  const [long, tall] = [66, 13]; // pixels of “update 1234”
  const spots = [[1, -6], [1, 15], [-1, -6], [-1, 15]].map(([side, down]) => {
    const [from, base] = [side > 0 ? x + 9 : x - 9 - long, y + down];
    const inside = from >= left && from + long <= right && base - tall >= top - 12 && base <= bottom;
    const covered = places.filter(([px, py]) => px >= from - 3 && px <= from + long + 3 && py >= base - tall && py <= base + 3).length;
    return { x: x + 9 * side, y: Math.max(base, 12), side, cost: covered + (inside ? 0 : 1e6) };
  });
  return spots.reduce((best, spot) => (spot.cost < best.cost ? spot : best));
}

function drawFrontier(picture, size, board, dots, behind, cursor) {
  const { width, height } = size;
  const { ranges } = board.get("series");
  picture.replaceChildren();
  picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
  if (!ranges) return null;
  const high = ranges.ref_kl[1];
  const [low, top] = ranges.frontier;
  const scale = frontierScale(size, high, [low, top]);
  const { left, right, bottom } = FRONTIER;
  const floor = height - bottom;
  draw("path", { class: "ex-frame", d: `M${left} ${scale.y(top)}V${floor}H${width - right}` }, picture);
  for (const root of rootTicks(high)) {
    draw("text", { class: "ex-tick", x: scale.x(root ** 2), y: floor + 12, "text-anchor": "middle", text: format(root, root % 1 ? 1 : 0) }, picture);
  }
  for (const score of [low, (low + top) / 2, top]) {
    draw("line", { class: "ex-axis", x1: left, x2: width - right, y1: scale.y(score), y2: scale.y(score) }, picture);
    draw("text", { class: "ex-tick", x: left - 4, y: scale.y(score) + 4, "text-anchor": "end", text: format(score, score % 1 ? (score % 0.5 ? 2 : 1) : 0) }, picture);
  }
  draw("text", { class: "ex-note", x: 2, y: 10, text: say(board, "metrics.objective/score.label") }, picture);
  draw("text", { class: "ex-note", x: width - right, y: height - 4, "text-anchor": "end", text: say(board, "ui.frontier.across") }, picture);
  const place = (kl, score) => `${scale.x(kl).toFixed(1)} ${scale.y(score).toFixed(1)}`;
  const line = ({ kl, score }, from, to) => `M${Array.from({ length: to - from }, (_, i) => place(kl[from + i], score[from + i])).join("L")}`;
  (behind.frontiers ?? []).forEach((other, nth) => {
    const theirs = frontierOf(other);
    if (!theirs.updates.length) return;
    const path = draw("path", { class: "ex-frontier-other", d: line(theirs, 0, theirs.updates.length), "data-run": nth }, picture);
    draw("title", { text: saidOf(board, behind.names[nth]) }, path);
    draw("circle", { class: "ex-frontier-end", cx: scale.x(theirs.kl.at(-1)), cy: scale.y(theirs.score.at(-1)), r: 2.5 }, picture);
  });
  const count = dots.updates.length;
  const dot = (i) => `M${place(dots.kl[i], dots.score[i])}h0`;
  for (const { age, from, to } of agesOf(count)) {
    const strength = (0.15 + (0.85 * age) / AGES).toFixed(2);
    draw("path", { class: "ex-frontier-line", opacity: strength, d: line(dots, Math.max(from - 1, 0), to) }, picture);
    draw("path", { class: "ex-frontier-dots", opacity: strength, "data-count": to - from, d: Array.from({ length: to - from }, (_, i) => dot(from + i)).join("") }, picture);
  }
  const at = dots.updates.findLastIndex((update) => update <= cursor);
  if (at >= 0) {
    const [x, y] = [scale.x(dots.kl[at]), scale.y(dots.score[at])];
    draw("circle", { class: "ex-ring ex-frontier-now", cx: x, cy: y, r: 5.5, "data-update": dots.updates[at] }, picture);
    const places = Array.from(dots.updates, (_, i) => [scale.x(dots.kl[i]), scale.y(dots.score[i])]);
    const spot = clearest(places, [x, y], [left, 12, width - right, floor - 4]);
    draw("text", { class: "ex-edge ex-over", x: spot.x, y: spot.y, "text-anchor": spot.side < 0 ? "end" : "start", text: say(board, "ui.update", { update: dots.updates[at] }) }, picture);
  }
  const all = say(board, count < dots.total ? "ui.frontier.some" : "ui.frontier.all", { count, total: dots.total });
  draw("text", { class: "ex-tick", x: width - right, y: 10, "text-anchor": "end", text: all }, picture);
  picture.setAttribute("aria-label", [say(board, "ui.frontier.title"), all, at < 0 ? "" : dotWords(board, dots, at)].filter(Boolean).join(". "));
  return scale;
}
