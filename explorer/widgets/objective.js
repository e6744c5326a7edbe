// The objective against the ratio, for A > 0 and for A < 0, with this batch's own tokens on it; below it the formula of
// the token in focus, filled in. The x axis is logarithmic with 1 in the middle; scales never move while a run goes on.

export default {
  render(context) {
    return frame(context, "objective", ["batch", "pinned", "hovered"], build);
  },
};

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
const planeOf = (batch) => ({ ...PLANES.clip, ...PLANES[batch.objective] });
const TICKS = [0.5, 1, 2];

function build(root, board, sized) {
  const head = make("header", { class: "ex-head-stack" });
  const picture = draw("svg", { class: "ex-picture", role: "img" });
  const formula = make("div", { class: "ex-formula" });
  const truth = make("p", { class: "ex-hint ex-truth" });
  root.append(head, picture, formula, truth);
  const size = sized(picture);
  let placed = [];

  const nearest = (event) => {
    const box = picture.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let [best, distance] = [null, 14 ** 2];
    for (const point of placed) {
      const d = (point.x - x) ** 2 + (point.y - y) ** 2;
      if (d < distance) [best, distance] = [point, d];
    }
    return best ? best.token : null;
  };
  formula.addEventListener("click", (event) => event.target.dataset.ledger && openLedger(board, event.target.dataset.ledger));
  picture.addEventListener("mousemove", (event) => hover(board, nearest(event)));
  picture.addEventListener("mouseleave", () => hover(board, null));
  picture.addEventListener("click", (event) => pin(board, nearest(event)));

  let drawn = null;
  return () => {
    const batch = board.get("batch");
    const { width, height } = size;
    if (!width) return;
    const stamp = [batch, width, height, board.get("words")];
    if (!drawn || stamp.some((part, i) => part !== drawn[i])) {
      drawn = stamp;
      head.replaceChildren(...heading(board, "objective"));
      if (hasBatch(batch)) head.lastChild.textContent = sentence(board, batch);
      write(truth, truthOf(board, batch));
      picture.replaceChildren();
      picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
      picture.setAttribute("aria-label", head.textContent);
      placed = hasBatch(batch) ? drawPanels(picture, board, batch, width, height) : [];
    }
    markFocus(picture, board, placed);
    paintFormula(formula, board, batch);
  };
}

function sentence(board, batch) {
  const unbanded = NO_BAND.has(batch.objective);
  if (batch.no_second_look && !unbanded) return say(board, "ui.no_clip_yet_hint");
  const { tokens, outside, zero } = batch.counts;
  const [low, high] = batch.clip.map((edge) => format(edge));
  const whose = unbanded ? "no_band" : batch.objective === "gspo" ? "response" : "ratio";
  return say(board, `ui.tokens_outside.${whose}`, { outside, total: tokens, low, high, zero });
}

// What the objective does to a ratio that has moved; and that the picture leaves the KL out, where the loss has one.
function truthOf(board, batch) {
  const truth = say(board, `clip.truth.${batch.objective ?? "clip"}`);
  return batch.loss_kl ? `${truth} ${say(board, "clip.curve_alone.long")}` : truth;
}

function drawPanels(picture, board, batch, width, height) {
  const gap = 18;
  const panel = (width - gap) / 2;
  const placed = [];
  for (const sign of [1, -1]) {
    const group = draw("g", { class: sign > 0 ? "ex-positive" : "ex-negative" }, picture);
    const scales = panelScales(planeOf(batch), sign > 0 ? 0 : panel + gap, panel, height, sign);
    drawFrame(group, board, batch, scales, sign);
    placed.push(...drawTokens(group, batch, scales, sign));
  }
  draw("g", { class: "ex-focus" }, picture);
  return placed;
}

function panelScales({ ratios, positive, negative }, left, width, height, sign) {
  const [top, bottom] = [20, height - 30];
  const [low, high] = ratios.map(Math.log);
  const x = (ratio) => left + 6 + ((clamp(Math.log(ratio), low, high) - low) / (high - low)) * (width - 12);
  const [floor, ceiling] = sign > 0 ? positive : negative;
  const y = (term) => bottom - ((clamp(term, floor, ceiling) - floor) / (ceiling - floor)) * (bottom - top);
  return { x, y, left, width, top, bottom, floor, ceiling, ends: ratios };
}

// What to look at beside the line, and on which side of its panel.
const BESIDE = {
  clip: { positive: ["left", "clip.pulls_back.short"], negative: ["right", "clip.not_protected.short"] },
  clip_higher: { positive: ["left", "clip.pulls_back.short"], negative: ["right", "clip.not_protected.short"] },
  dual_clip: { positive: ["left", "clip.pulls_back.short"] },
  two_sided: { positive: ["left", "clip.pulls_back.short"] },
  gspo: { positive: ["left", "clip.pulls_back.short"], negative: ["right", "clip.not_protected.short"] },
  cispo: { positive: ["right", "clip.weight_held.short"], negative: ["right", "clip.weight_held.short"] },
  sapo: { positive: ["right", "clip.fades.short"], negative: ["right", "clip.fades.short"] },
};

function drawFrame(group, board, batch, { x, y, left, width, top, bottom, floor, ceiling, ends }, sign) {
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
  const close = edges.includes(low) && edges.includes(high) && x(high) - x(low) < 34; // then their labels lean outwards
  const apart = (tick) => edges.every((edge) => Math.abs(x(edge) - x(tick)) > (tick === 1 ? 19 : close && edge !== limit ? 38 : 26));
  const ticks = [...TICKS, 4].filter((tick) => tick < ends[1] && apart(tick));
  for (const tick of ticks) drawTick(group, x(tick), bottom, format(tick, tick % 1 ? 1 : 0), "ex-tick");
  for (const edge of edges) {
    drawTick(group, x(edge), bottom, format(edge, Math.abs(edge - 1) < 0.01 ? 4 : 2), "ex-tick ex-edge", close && edge !== limit ? (edge < 1 ? "end" : "start") : "middle");
  }
  draw("text", { class: "ex-axis-label", x: left + width - 6, y: bottom + 26, "text-anchor": "end", text: say(board, batch.objective === "gspo" ? "ui.response_ratio_axis" : "ui.ratio_axis") }, group);
  draw("text", { class: "ex-axis-label", x: left + 6, y: bottom + 26, text: say(board, "ui.objective_axis") }, group);

  const [ratios, terms] = [numbers(batch.curve?.ratios, Float32Array), numbers(batch.curve?.[sign > 0 ? "positive" : "negative"], Float32Array)];
  if (!ratios) return;
  let path = "";
  for (let i = 0; i < ratios.length; i += 1) {
    if (ratios[i] < ends[0] || ratios[i] > ends[1] || terms[i] < floor || terms[i] > ceiling) continue;
    path += `${path ? "L" : "M"}${x(ratios[i]).toFixed(1)} ${y(terms[i]).toFixed(1)}`;
  }
  draw("path", { class: "ex-curve", d: path }, group);
  for (const { from, to, term } of flatStretches(ratios, terms)) {
    const [start, end] = [x(from), x(to)];
    if (end - start < 64 || term < floor || term > ceiling) continue;
    const above = Math.max(top + 10, y(term) + (sign > 0 ? -30 : -14));
    draw("text", { class: "ex-note ex-flat", x: (start + end) / 2, y: above, "text-anchor": "middle", text: say(board, "clip.no_gradient.short") }, group);
  }
  const [side, words] = BESIDE[batch.objective]?.[sign > 0 ? "positive" : "negative"] ?? [];
  if (!words) return;
  const [at, anchor] = side === "left" ? [left + 10, "start"] : [left + width - 10, "end"];
  draw("text", { class: "ex-note", x: at, y: bottom - 8, "text-anchor": anchor, text: say(board, words) }, group);
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

function drawTick(group, x, y, text, kind, anchor = "middle") {
  draw("line", { class: "ex-axis", x1: x, x2: x, y1: y, y2: y + 3 }, group);
  const lean = { end: -3, start: 3 }[anchor] ?? 0; // two labels that lean away from each other do not touch
  draw("text", { class: kind, x: x + lean, y: y + 13, "text-anchor": anchor, text }, group);
}

// Every token of the panel's sign at its ratio, on the curve; tokens of one place are stacked about it, so that their
// number can be seen. Triangles point where the advantage pushes; hollow ones get no gradient.
function drawTokens(group, batch, { x, y, bottom, ends }, sign) {
  const [ratios, advantages, states] = [quantityOf(batch, "ratio"), quantityOf(batch, "advantage"), statesOf(batch)];
  if (!ratios || !advantages || !batch.curve) return [];
  const curveRatios = numbers(batch.curve.ratios, Float32Array);
  const terms = numbers(batch.curve[sign > 0 ? "positive" : "negative"], Float32Array);
  const span = Math.log(curveRatios.at(-1) / curveRatios[0]);
  const termAt = (ratio) => {
    const at = clamp((Math.log(ratio / curveRatios[0]) / span) * (terms.length - 1), 0, terms.length - 1);
    const i = Math.min(Math.floor(at), terms.length - 2);
    return terms[i] + (at - i) * (terms[i + 1] - terms[i]);
  };
  const columns = new Map();
  for (let row = 0; row < batch.rows; row += 1) {
    for (let t = 0; t < batch.tokens[row].length; t += 1) {
      const index = row * batch.length + t;
      if (states[index] === MASKED || advantages[index] * sign <= 0) continue;
      const ratio = batch.response_ratios?.[row] ?? ratios[index]; // GSPO's is the whole response's
      const column = Math.round(x(ratio) / 5);
      if (!columns.has(column)) columns.set(column, []);
      columns.get(column).push({ token: [row, t], ratio, state: states[index] });
    }
  }
  const most = Math.max(1, ...[...columns.values()].map((points) => points.length));
  const lift = Math.min(4, 28 / most);
  const placed = [];
  const paths = { [INSIDE]: "", [OUTSIDE_FLOWS]: "", [OUTSIDE_ZERO]: "" };
  for (const points of columns.values()) {
    points.sort((a, b) => a.ratio - b.ratio);
    points.forEach((point, i) => {
      const offset = (i % 2 ? 1 : -1) * Math.ceil(i / 2) * lift;
      const [px, py] = [x(point.ratio), y(termAt(point.ratio)) + offset];
      placed.push({ x: px, y: py, token: point.token, state: point.state, sign });
      paths[point.state] += triangle(px, py, 3.1, sign);
    });
  }
  for (const [side, at, anchor] of [[-1, x(ends[0]), "start"], [1, x(ends[1]), "end"]]) {
    const beyond = [...columns.values()].flat().filter((p) => (side < 0 ? p.ratio < ends[0] : p.ratio > ends[1])).length;
    if (beyond) draw("text", { class: "ex-note ex-beyond-axis", x: at, y: bottom - 22, "text-anchor": anchor, text: side < 0 ? `‹ ${beyond}` : `${beyond} ›` }, group);
  }
  for (const state of [INSIDE, OUTSIDE_FLOWS, OUTSIDE_ZERO]) {
    draw("path", { class: `ex-glyphs ex-glyph-${state}`, d: paths[state], "data-count": placed.filter((p) => p.state === state).length }, group);
  }
  return placed;
}

function triangle(x, y, size, sign) {
  const tip = size * 1.15 * sign;
  return `M${x.toFixed(1)} ${(y - tip).toFixed(1)}L${(x + size).toFixed(1)} ${(y + tip * 0.75).toFixed(1)}L${(x - size).toFixed(1)} ${(y + tip * 0.75).toFixed(1)}Z`;
}

function markFocus(picture, board, placed) {
  const layer = picture.querySelector(".ex-focus");
  if (!layer) return;
  layer.replaceChildren();
  for (const [token, kind] of [[pinnedOf(board), "ex-ring-pinned"], [hoveredOf(board), "ex-ring-hovered"]]) {
    const point = token && placed.find((p) => sameToken(p.token, token));
    if (!point) continue;
    draw("circle", { class: `ex-ring ${kind}`, cx: point.x, cy: point.y, r: 8 }, layer);
    draw("path", { class: `ex-glyphs ex-glyph-${point.state} ${point.sign > 0 ? "ex-positive" : "ex-negative"}`, d: triangle(point.x, point.y, 4, point.sign) }, layer);
  }
}
