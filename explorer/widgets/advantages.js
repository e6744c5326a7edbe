// The pinned response (or the first), token by token, in aligned rows that share their x axis: reward and KL penalty,
// value and return, advantage, ratio. Small multiples, never two scales on one axis.

export default {
  render(context) {
    return frame(context, "advantages", ["batch", "pinned", "hovered"], build);
  },
};

// Each row: its title, what is drawn in it, and the quantity whose fixed scale it uses.
const ROWS = [
  { title: "rows.reward", note: "rows.penalty", scale: "reward", bars: "reward", second: "penalty" },
  { title: "rows.value", note: "rows.return", scale: "return", line: "value", dashed: "return" },
  { title: "rows.advantage", note: "rows.whitened", scale: "advantage", bars: "advantage" },
  { title: "rows.ratio", note: "rows.band", scale: "ratio", bars: "ratio" },
];
const LEFT = 122;
const SYMBOLS = { ratio: "ex-of-ratio", advantage: "ex-of-advantage" };

function build(root, board, sized, leaving) {
  const tabs = lowerTabs(root, board, "advantages", leaving);
  const hint = make("p", { class: "ex-hint" });
  const picture = draw("svg", { class: "ex-picture", role: "group" });
  entersLedger(picture, "advantage");
  root.append(tabs.node, hint, picture);
  const size = sized(picture);
  let columns = null;

  const tokenAt = (event) => {
    if (!columns) return null;
    const x = placeIn(picture, event).x - LEFT;
    const t = Math.floor(x / columns.step);
    return t >= 0 && t < columns.count ? [columns.row, t] : null;
  };
  picture.addEventListener("mousemove", (event) => hover(board, tokenAt(event)));
  picture.addEventListener("mouseleave", () => hover(board, null));
  picture.addEventListener("click", (event) => pin(board, tokenAt(event)));

  let drawn = null;
  return () => {
    tabs.paint();
    const batch = board.get("batch");
    if (!hasBatch(batch)) {
      hint.textContent = say(board, "ui.no_update_yet");
      picture.replaceChildren();
      return;
    }
    const row = Math.min(focusOf(board)?.[0] ?? 0, batch.rows - 1);
    if (!size.width) return;
    const stamp = [batch, row, size.width, size.height, board.get("words")];
    if (!drawn || stamp.some((part, i) => part !== drawn[i])) {
      drawn = stamp;
      write(hint, say(board, ghostOf(board) ? "ui.ghost.lanes" : "ui.panels.advantages.look_for"));
      columns = drawRows(picture, size, board, batch, row);
      picture.setAttribute("aria-label", `${say(board, "ui.panels.advantages.title")}: ${batch.prompts[row]}. ${say(board, "ui.ledger.enter")}`);
    }
    markColumns(picture, board, columns);
  };
}

function drawRows(picture, { width, height }, board, batch, row) {
  picture.replaceChildren();
  picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const count = batch.tokens[row].length;
  const step = (width - LEFT - 8) / Math.max(count, 1);
  const foot = 40;
  const tall = (height - foot) / ROWS.length;
  ROWS.forEach((spec, i) => drawRow(picture, board, batch, row, spec, { top: i * tall + 6, tall: tall - 12, step, count, width }));
  const words = draw("g", { class: "ex-words" }, picture);
  draw("text", { class: "ex-axis-name", x: 0, y: height - 6, text: say(board, "ui.rows.across") }, picture);
  const every = Math.ceil(11 / step); // words stand no closer than they can be read
  for (let t = 0; t < count; t += every) {
    const x = LEFT + (t + 0.5) * step;
    draw("text", { x: x + 3, y: height - foot + 12, "text-anchor": "end", transform: `rotate(-38 ${x + 3} ${height - foot + 12})`, text: visible(batch.tokens[row][t]) }, words);
  }
  const marks = draw("g", { class: "ex-focus" }, picture);
  return { row, count, step, height: height - foot, marks };
}

function drawRow(picture, board, batch, row, spec, { top, tall, step, count, width }) {
  const scale = board.get("quantities")[spec.scale];
  const group = draw("g", { class: "ex-lane" }, picture);
  const middle = top + tall / 2;
  const y = (value) => middle - clamp(position(scale, value), -1, 1) * (tall / 2);
  const title = draw("text", { class: `ex-lane-title ${SYMBOLS[spec.scale] ?? ""}`, x: 0, y: middle - 1, text: say(board, `ui.${spec.title}`) }, group);
  toLedger(title, board, spec.scale === "return" ? "value" : spec.scale, title.textContent, row);
  draw("text", { class: "ex-lane-note", x: 0, y: middle + 12, text: say(board, `ui.${spec.scale === "advantage" && !batch.whiten ? "rows.unwhitened" : spec.note}`, { low: edgeText(batch.clip[0]), high: edgeText(batch.clip[1]) }) }, group);
  for (const [edge, at] of [[scale.high, top + 5], [scale.low, top + tall + 3]]) {
    draw("text", { class: "ex-tick", x: LEFT - 4, y: at, "text-anchor": "end", text: format(edge, edge % 1 ? 1 : 0) }, group);
  }
  draw("line", { class: "ex-axis", x1: LEFT, x2: width - 8, y1: middle, y2: middle }, group);
  const at = (name, t) => quantityOf(batch, name)?.[row * batch.length + t];
  const x = (t) => LEFT + (t + 0.5) * step;
  if (spec.scale === "ratio") {
    const [low, high] = batch.clip;
    const region = draw("rect", { class: "ex-region", x: LEFT, y: y(high), width: width - 8 - LEFT, height: Math.max(0, y(low) - y(high)) }, group);
    group.prepend(region);
  }
  const ghost = ghostOf(board);
  if (ghost) drawLaneGhost(group, board, { batch, ghost, row, spec, count, x, y, step, middle, right: width - 8 });
  for (let t = 0; t < count; t += 1) {
    if (spec.bars && at(spec.bars, t) !== undefined) bar(group, x(t), step, middle, y(at(spec.bars, t)), Math.abs(position(scale, at(spec.bars, t))) > 1);
    if (spec.second === "penalty" && at("ref_kl", t) !== undefined) {
      const penalty = y(-batch.kl_coef * at("ref_kl", t));
      draw("line", { class: "ex-penalty", x1: x(t) - step * 0.4, x2: x(t) + step * 0.4, y1: penalty, y2: penalty }, group);
    }
  }
  for (const [name, kind] of [[spec.line, "ex-line"], [spec.dashed, "ex-line ex-dashed"]]) {
    if (!name || at(name, 0) === undefined) continue;
    const d = Array.from({ length: count }, (_, t) => `${t ? "L" : "M"}${x(t).toFixed(1)} ${y(at(name, t)).toFixed(1)}`).join("");
    draw("path", { class: kind, d }, group);
  }
}

// What a row showed as the update was trained, where it was something else: old bars as outlines a little wider than the
// new ones, the old return as a thin line, old edges of the band.
function drawLaneGhost(group, board, { batch, ghost, row, spec, count, x, y, step, middle, right }) {
  const layer = draw("g", { class: "ex-ghost" });
  const at = (own, name, t) => quantityOf(own, name)?.[row * batch.length + t];
  const moved = (name) => Array.from({ length: count }, (_, t) => t).filter((t) => Math.abs(at(ghost, name, t) - at(batch, name, t)) > 1e-6);
  if (spec.scale === "ratio") {
    for (const edge of otherEdges(batch, ghost, 1)) draw("line", { class: "ex-ghost-edge", x1: LEFT, x2: right, y1: y(edge), y2: y(edge), "data-edge": edge.toFixed(4) }, layer);
  } else if (spec.bars) {
    const places = moved(spec.bars);
    const boxes = places.map((t) => [x(t) - step * 0.48, Math.min(middle, y(at(ghost, spec.bars, t))), step * 0.96, Math.abs(y(at(ghost, spec.bars, t)) - middle)]);
    if (places.length) draw("path", { class: "ex-ghost-bars", d: outlines(boxes), "data-count": places.length }, layer);
  } else if (moved("return").length) {
    const points = Array.from({ length: count }, (_, t) => `${x(t).toFixed(1)} ${y(at(ghost, "return", t)).toFixed(1)}`);
    draw("path", { class: "ex-ghost-curve", d: `M${points.join("L")}` }, layer);
  }
  if (layer.childElementCount) group.append(layer);
}

function bar(group, x, step, middle, end, beyond) {
  const up = end <= middle;
  draw("rect", {
    class: up ? "ex-bar-more" : "ex-bar-less", x: x - step * 0.4, width: step * 0.8,
    y: Math.min(middle, end), height: Math.max(0.5, Math.abs(end - middle)),
  }, group);
  if (beyond) draw("text", { class: "ex-beyond", x, y: up ? end + 7 : end - 1, "text-anchor": "middle", text: up ? "▲" : "▼" }, group);
}

function markColumns(picture, board, columns) {
  if (!columns) return;
  columns.marks.replaceChildren();
  for (const [token, kind] of [[hoveredOf(board), "ex-column ex-column-hovered"], [pinnedOf(board), "ex-column"]]) {
    if (!token || token[0] !== columns.row || token[1] >= columns.count) continue;
    draw("rect", { class: kind, x: LEFT + token[1] * columns.step, y: 1, width: columns.step, height: columns.height - 2, rx: 3 }, columns.marks);
  }
}
