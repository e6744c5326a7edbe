// The plane of the objective against the ratio, for A > 0 and for A < 0: axes, band, curve, and what is to be said of its
// parts. The x axis is logarithmic with 1 in the middle; scales never move while a run goes on. An objective whose clip is
// too narrow to be seen so has both axes finer near 1: its batch's `ratio_grain` says within which distance. A part of the
// clip picture.

// The part of the plane that each objective's picture shows: ratios, and heights for A > 0 and for A < 0.
const PLANES = {
  clip: { ratios: [0.4, 2.5], positive: [0.3, 1.75], negative: [-1.75, -0.3] },
  policy_gradient: { positive: [-1, 1], negative: [-1, 1] },
  clip_higher: { positive: [0.3, 2.1] },
  dual_clip: { ratios: [0.4, 6], negative: [-4.5, -0.3] },
  two_sided: { ratios: [0.4, 6], negative: [-4.5, -0.3] },
  kl_penalty: { positive: [-0.5, 2], negative: [-3.2, -0.5] },
  cispo: { positive: [-0.8, 1.9], negative: [-1.9, 0.8] },
  sapo: { positive: [1.2, 3.4], negative: [-3.3, -1.2] },
};
// Objectives that have no band of ratios: the shade then shows PPO's own, to compare with.
const NO_BAND = new Set(["unclipped", "policy_gradient", "kl_penalty", "sapo"]);
const planeOf = (batch) => ({ ...PLANES.clip, ...PLANES[batch.objective], grain: batch.ratio_grain ?? 0 });
const TICKS = [0.5, 1, 2, 4];
const FINE_TICKS = [1, 1.01, 0.99, 1.1, 0.9, 2, 0.5, 1.001, 0.999]; // in the order of their weight: not all have room

// What is to be said beside the flat parts: on which side of 1, outside the band, for each sign.
const CLIPPED = { positive: [["below", "clip.pulls_back.short"]], negative: [["above", "clip.not_protected.short"]] };
const ON_THE_WAY = { positive: [["above", "clip.not_protected.short"]], negative: [["above", "clip.not_protected.short"]] };
const HELD = [["above", "clip.weight_held.short"], ["below", "clip.weight_held.short"]];
const BESIDE = {
  clip: CLIPPED,
  clip_higher: CLIPPED,
  gspo: CLIPPED,
  dual_clip: { positive: CLIPPED.positive },
  two_sided: { positive: CLIPPED.positive },
  unclipped: ON_THE_WAY,
  kl_penalty: { positive: [["below", "clip.pulls_back.short"]], negative: CLIPPED.negative },
  cispo: { positive: HELD, negative: HELD },
  sapo: { positive: [["above", "clip.fades.short"]], negative: [["above", "clip.fades.short"]] },
};

// A distance along an axis, and back: as it is, or with a grain widened within that and drawn together further out.
const widened = (distance, grain) => (grain ? Math.asinh(distance / grain) : distance);
const narrowed = (place, grain) => (grain ? grain * Math.sinh(place) : place);

function panelScales({ ratios, positive, negative, grain }, left, width, height, sign) {
  const [top, bottom] = [20, Math.max(height - 30, 24)];
  const ends = ratios.map(Math.log);
  const [low, high] = ends.map((end) => widened(end, grain));
  const x = (ratio) => left + 6 + ((widened(clamp(Math.log(ratio), ...ends), grain) - low) / (high - low)) * (width - 12);
  const ratioAt = (px) => Math.exp(narrowed(low + clamp((px - left - 6) / (width - 12), 0, 1) * (high - low), grain));
  const [floor, ceiling] = sign > 0 ? positive : negative;
  const [lowest, highest] = [floor, ceiling].map((term) => widened(term - sign, grain)); // a term is about A: 1 or -1
  const y = (term) => bottom - ((widened(clamp(term, floor, ceiling) - sign, grain) - lowest) / (highest - lowest)) * (bottom - top);
  return { x, y, ratioAt, left, width, top, bottom, floor, ceiling, ends: ratios, grain };
}

// Both panels' scales by sign.
function planeScales(batch, width, height) {
  const [gap, plane] = [18, planeOf(batch)];
  const panel = (width - gap) / 2;
  return { 1: panelScales(plane, 0, panel, height, 1), "-1": panelScales(plane, panel + gap, panel, height, -1) };
}

// The curve of a sign, as far as the plane goes: [[ratio, term], …].
function curveOf(batch, { ends, floor, ceiling }, sign) {
  const [ratios, terms] = [numbers(batch.curve?.ratios, Float32Array), numbers(batch.curve?.[sign > 0 ? "positive" : "negative"], Float32Array)];
  if (!ratios) return [];
  return Array.from(ratios, (ratio, i) => [ratio, terms[i]])
    .filter(([ratio, term]) => ratio >= ends[0] && ratio <= ends[1] && term >= floor && term <= ceiling);
}

// Where the line is flat: there, and only there, a token's pull is exactly 0.
function flatStretches(ratios, terms) {
  const found = [];
  for (let i = 1; i < ratios.length; i += 1) {
    if (terms[i] !== terms[i - 1]) continue;
    const last = found.at(-1);
    if (last && last.to === ratios[i - 1]) last.to = ratios[i];
    else found.push({ from: ratios[i - 1], to: ratios[i], term: terms[i] });
  }
  return found;
}

// What is to be said of which ratios: [{words, from, to}], in the order of their weight.
function notesOf(batch, sign) {
  const name = sign > 0 ? "positive" : "negative";
  const [ratios, terms] = [numbers(batch.curve.ratios, Float32Array), numbers(batch.curve[name], Float32Array)];
  const flat = flatStretches(ratios, terms).map(({ from, to }) => ({ words: "clip.no_gradient.short", from, to }));
  const beside = (BESIDE[batch.objective]?.[name] ?? []).map(([side, words]) =>
    side === "below" ? { words, from: ratios[0], to: batch.clip[0] } : { words, from: batch.clip[1], to: ratios.at(-1) });
  return [...flat, ...beside];
}

// ---------------------------------------------------------------- drawing

function drawTick(group, x, y, text, kind, anchor = "middle") {
  draw("line", { class: "ex-axis", x1: x, x2: x, y1: y, y2: y + 3 }, group);
  const lean = { end: -LEAN, start: LEAN }[anchor] ?? 0; // two labels that lean away from each other do not touch
  draw("text", { class: kind, x: x + lean, y: y + 13, "text-anchor": anchor, text }, group);
}

// The handles of a panel, one for each of its edges: which setting it edits, and where the batch on screen has it.
function handleSpots(batch, scales, sign) {
  const [below, above, beyond] = batch.clip_fields ?? [];
  const spots = [["low", below, batch.clip[0]], ["high", above, batch.clip[1]], ["limit", sign < 0 ? beyond : null, batch.pull_limit]];
  return spots.filter(([, field]) => field).map(([part, field, edge]) => ({ part, field, edge, sign, scales }));
}

// A panel without its tokens; returns its handles, its curve on the screen, and what is taken by words and handles.
function drawPlane(group, board, batch, scales, sign) {
  const { x, y, ratioAt, left, width, top, bottom, ends } = scales;
  const [low, high] = batch.clip;
  draw("rect", {
    class: "ex-region explorer-region", x: x(low), y: top, width: Math.max(0, x(high) - x(low)), height: bottom - top,
    "data-low": low.toFixed(4), "data-high": high.toFixed(4),
  }, group);
  draw("text", {
    class: "ex-panel-title", x: left + 6, y: 12,
    text: `${sign > 0 ? "▲" : "▼"} ${say(board, sign > 0 ? "clip.positive.long" : "clip.negative.long")}`,
  }, group);
  draw("line", { class: "ex-axis", x1: left + 6, x2: left + width - 6, y1: bottom, y2: bottom }, group);
  const limit = sign < 0 ? batch.pull_limit : null;
  const edges = [low, high, limit].filter((edge) => edge && edge > ends[0] && edge < ends[1]);
  const ticks = edgeTicks(scales, edges, batch.clip);
  for (const tick of ticksOf(scales, ticks)) drawTick(group, x(tick), bottom, tickText(tick), "ex-tick");
  for (const [edge, anchor] of ticks) drawTick(group, x(edge), bottom, edgeText(edge), "ex-tick ex-edge", anchor);
  draw("text", { class: "ex-axis-label ex-of-ratio", x: left + width - 6, y: bottom + 26, "text-anchor": "end", text: say(board, batch.objective === "gspo" ? "ui.response_ratio_axis" : "ui.ratio_axis") }, group);
  draw("text", { class: "ex-axis-label", x: left + 6, y: bottom + 26, text: say(board, "ui.objective_axis") }, group);
  const spots = handleSpots(batch, scales, sign);
  if (!batch.curve) return { spots, points: [], taken: [] };

  const points = curveOf(batch, scales, sign).map(([ratio, term]) => [x(ratio), y(term)]);
  draw("path", { class: "ex-curve", d: points.map(([px, py], i) => `${i ? "L" : "M"}${px.toFixed(1)} ${py.toFixed(1)}`).join("") }, group);
  const taken = [ // the numbers of the tokens beyond the ends, of those that are not drawn, and the handles
    { left, right: left + 40, top: bottom - 34, bottom: bottom - 18 },
    { left: left + width - 40, right: left + width, top: bottom - 34, bottom: bottom - 18 },
    ...(sign < 0 ? [{ left: left + 6, right: left + 6 + widthOf(say(board, "clip.undrawn.short", { count: "0000" })), top, bottom: top + LINE }] : []),
    ...spots.map(({ part, edge }) => handleBox(part, x(edge), bottom)),
  ];
  for (const note of notesOf(batch, sign)) {
    const place = placeNote({ ...note, text: say(board, note.words) }, scales, points, taken);
    if (!place) continue;
    const { box, lines, centre, leader } = place;
    taken.push(box);
    if (leader) draw("line", { class: "ex-leader", x1: centre, y1: leader[1] > box.bottom ? box.bottom : box.top, x2: leader[0], y2: leader[1] }, group);
    const kind = note.words === "clip.no_gradient.short" ? "ex-note ex-flat" : "ex-note";
    const text = draw("text", { class: kind, "text-anchor": "middle", "data-from": note.from.toFixed(3), "data-to": note.to.toFixed(3) }, group);
    lines.forEach((line, i) => draw("tspan", { x: centre, y: box.top + 10 + i * LINE, text: line }, text));
  }
  return { spots, points, taken };
}

// The curve and the edges that the update was trained with, where they were others: pale and dashed, on today's scales.
function drawGhost(group, board, batch, ghost, scales, sign, { points: curve, taken }) {
  const { x, y, top, bottom, ends } = scales;
  const layer = draw("g", { class: "ex-ghost" });
  for (const edge of otherEdges(batch, ghost, sign)) {
    if (edge > ends[0] && edge < ends[1]) draw("line", { class: "ex-ghost-edge", x1: x(edge), x2: x(edge), y1: top, y2: bottom, "data-edge": edge.toFixed(4) }, layer);
  }
  if (otherCurve(batch, ghost, sign > 0 ? "positive" : "negative")) {
    const points = curveOf(ghost, scales, sign).map(([ratio, term]) => `${x(ratio).toFixed(1)} ${y(term).toFixed(1)}`);
    if (points.length) draw("path", { class: "ex-ghost-curve", d: `M${points.join("L")}` }, layer);
  }
  if (!layer.childElementCount) return;
  if (sign > 0) {
    const box = placeGhostName(ghostName(board), scales, curve, taken);
    nameGhost(layer, board, box.right, box.top + 9);
  }
  group.append(layer);
}

const ghostName = (board) => `┄ ${say(board, "ui.ghost.as_trained")}`;

// What the dashes are.
function nameGhost(layer, board, right, y) {
  draw("text", { class: "ex-ghost-name", x: right, y, "text-anchor": "end", text: ghostName(board) }, layer);
}

// How many tokens lie beyond the ends of the axis.
function drawBeyond(group, { x, bottom, ends }, [below, above]) {
  for (const [count, at, anchor, text] of [[below, ends[0], "start", `‹ ${below}`], [above, ends[1], "end", `${above} ›`]]) {
    if (count) draw("text", { class: "ex-note ex-beyond-axis", x: x(at), y: bottom - 22, "text-anchor": anchor, text }, group);
  }
}
