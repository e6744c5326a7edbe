// The tokens by their two probabilities, for A > 0 and for A < 0: under the old policy to the right, under the new one
// upwards. Both axes are linear, so that a band of ratios is a wedge: as thin as a rare token's room, and cut off where a
// probability cannot grow any further. In logarithms it would be a stripe, and where nothing can clip too narrow to be
// seen; the policy's tokens, moreover, have all probabilities from 0 to 1. A part of the clip picture.

function squareScales(width, height) {
  const [gap, top, bottom] = [14, 20, height - 30];
  const panel = (width - gap) / 2;
  const y = (p) => bottom - p * (bottom - top);
  const one = (start) => {
    const [left, right] = [start + 36, start + panel - 5];
    return { x: (p) => left + p * (right - left), y, start, left, right, top, bottom };
  };
  return { 1: one(0), "-1": one(panel + gap) };
}

// The band as corners [p old, p new]: the wedge, and the part of it from which a token can never get above the band, since
// not even a new probability of 1 is so far from the old one. It begins at 1 / high.
function wedgeOf([lower, high]) {
  const [low, edge] = [Math.max(0, lower), 1 / high];
  return {
    edge,
    wedge: [[0, 0], [edge, 1], [1, 1], [1, low]],
    never: [[edge, low * edge], [edge, 1], [1, 1], [1, low]],
  };
}

const wedgeKind = (objective) => (NO_BAND.has(objective) ? "no_band" : { gspo: "response", cispo: "weight" }[objective] ?? "band");

// What is to be said of the tokens above the wedge and of those below it, on two lines: [{lines, above}]. A side of
// which the wedge leaves too little is left out.
function wedgeNotes(board, batch, sign) {
  const [low, high] = batch.clip;
  if (batch.response_ratios) return []; // which tokens get a gradient is not their own ρ's to say
  return notesOf(batch, sign).flatMap(({ words, from, to }) => {
    const above = from > 1;
    if (above ? high > 1.9 : low < 0.3) return [];
    const bound = above ? `ρ > ${format(batch.pull_limit && from > high + 0.1 ? batch.pull_limit : high)}` : `ρ < ${format(low)}`;
    return [{ lines: [bound, say(board, words)], above }];
  });
}

function drawSquare(group, board, batch, { x, y, start, left, right, top, bottom }, sign) {
  const [low, high] = batch.clip;
  const { wedge, never, edge } = wedgeOf(batch.clip);
  const corners = (points) => points.map(([p, q]) => `${x(p).toFixed(1)},${y(q).toFixed(1)}`).join(" ");
  draw("polygon", { class: "ex-region explorer-region", points: corners(wedge), "data-low": low.toFixed(4), "data-high": high.toFixed(4) }, group);
  draw("text", { class: "ex-panel-title", x: start + 6, y: 12, text: `${sign > 0 ? "▲" : "▼"} ${say(board, sign > 0 ? "clip.positive.long" : "clip.negative.long")}` }, group);
  if (sign > 0) { // only a token that is pushed up is clipped there
    draw("polygon", { class: "ex-never explorer-never", points: corners(never), "data-edge": edge.toFixed(4) }, group);
    draw("line", { class: "ex-never-edge", x1: x(edge), x2: x(edge), y1: top, y2: bottom }, group);
    drawTick(group, x(edge), bottom, edgeText(edge), "ex-tick ex-edge");
    const text = say(board, `clip.wedge.never.${wedgeKind(batch.objective)}`, { edge: edgeText(edge) });
    draw("text", { class: "ex-edge ex-never-note", x: right, y: bottom + 26, "text-anchor": "end", text }, group);
  }
  draw("line", { class: "ex-unmoved", x1: x(0), y1: y(0), x2: x(1), y2: y(1) }, group);
  if (sign < 0 && batch.pull_limit) draw("line", { class: "ex-limit-edge", x1: x(0), y1: y(0), x2: x(1 / batch.pull_limit), y2: y(1) }, group);
  draw("rect", { class: "ex-frame", x: left, y: top, width: right - left, height: bottom - top }, group);

  for (const share of [0, 0.5, 1]) {
    if (sign < 0 || Math.abs(x(share) - x(edge)) > 21) drawTick(group, x(share), bottom, format(share, share % 1 ? 1 : 0), "ex-tick ex-tick-old");
    draw("text", { class: "ex-tick ex-tick-new", x: left - 4, y: y(share) + 4, "text-anchor": "end", text: format(share, share % 1 ? 1 : 0) }, group);
  }
  draw("text", { class: "ex-axis-label", x: x(0.25), y: bottom + 13, "text-anchor": "middle", text: say(board, "clip.wedge.old_axis") }, group);
  const middle = `${(start + 9).toFixed(1)} ${y(0.5).toFixed(1)}`;
  draw("text", { class: "ex-axis-label", transform: `translate(${middle}) rotate(-90)`, "text-anchor": "middle", text: say(board, "clip.wedge.new_axis") }, group);
}

// The edges of the wedge that the update was trained with, where they were others.
function drawWedgeGhost(group, board, batch, ghost, { x, y, right, bottom }, sign) {
  const layer = draw("g", { class: "ex-ghost" });
  for (const edge of otherEdges(batch, ghost, sign)) {
    const end = Math.min(1, 1 / edge); // where p new, or p old, is 1
    draw("line", { class: "ex-ghost-edge", x1: x(0), y1: y(0), x2: x(end), y2: y(edge * end), "data-edge": edge.toFixed(4) }, layer);
  }
  if (!layer.childElementCount) return;
  if (sign < 0) nameGhost(layer, board, right, bottom + 26);
  group.append(layer);
}

// Over the tokens, so that they can be read among them.
function drawSquareNotes(group, board, batch, { x, left, right, top, bottom }, sign) {
  const edge = x(wedgeOf(batch.clip).edge); // the line that stands there for A > 0 would cross the words
  const beside = sign > 0 && edge - left > 110 ? edge - 6 : right - 6;
  for (const { lines, above } of wedgeNotes(board, batch, sign)) {
    const [at, first] = above ? [left + 6, top + 13] : [beside, bottom - 18];
    const text = draw("text", { class: "ex-note ex-over", "text-anchor": above ? "start" : "end" }, group);
    lines.forEach((line, i) => draw("tspan", { x: at, y: first + i * LINE, text: line }, text));
  }
}
