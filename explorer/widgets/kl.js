// KL, kept apart: to the reference (the leash; it shapes the reward) per token and per update, and to the old policy
// (the size of the step) per update. Two quantities never share an axis.

export default {
  render(context) {
    return frame(context, "kl", ["batch", "pinned", "hovered", "series", "run"], build);
  },
};

function build(root, board, sized) {
  const head = make("header", { class: "ex-head-stack" });
  const charts = make("div", { class: "ex-kl-charts" });
  const [tokens, reference, old] = ["tokens", "reference", "old"].map((key) => {
    const title = make("h3");
    const note = make("p", { class: "ex-hint" });
    const picture = draw("svg", { class: "ex-picture", role: "img" });
    const node = make("div", { class: `ex-chart ex-chart-${key}` }, title, note);
    node.append(picture);
    charts.append(node);
    return { title, note, picture, size: sized(picture) };
  });
  root.append(head, charts);
  let drawn = null;
  return () => {
    const batch = board.get("batch");
    const stamp = [batch, board.get("series"), board.get("words"), board.get("run").cursor, String(focusOf(board)), ...[tokens, reference, old].flatMap(({ size }) => [size.width, size.height])];
    if (drawn && stamp.every((part, i) => part === drawn[i])) return;
    drawn = stamp;
    head.replaceChildren(...heading(board, "kl"));
    drawTokens(tokens, board, batch);
    drawSeries(reference, board, "objective/ref_kl", "ref_kl", "kl.reference", "units.per_response");
    drawSeries(old, board, "policy/approx_kl_final", "approx_kl", "kl.old", "units.per_token");
  };
}

function drawTokens({ title, note, picture, size: { width, height } }, board, batch) {
  const [row, t] = focusOf(board) ?? [0, -1];
  const values = hasBatch(batch) ? quantityOf(batch, "ref_kl") : null;
  const scale = board.get("quantities").ref_kl;
  write(title, say(board, "ui.kl.reference"));
  write(note, say(board, "ui.units.per_token"));
  picture.replaceChildren();
  picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
  if (!values) return;
  const count = batch.tokens[row].length;
  const step = (width - 24) / Math.max(count, 1);
  const middle = height / 2;
  const ends = [[scale.high, 8], [scale.low, height - 2]];
  for (const [edge, y] of ends) draw("text", { class: "ex-tick", x: 18, y, "text-anchor": "end", text: format(edge, 0) }, picture);
  draw("line", { class: "ex-axis", x1: 22, x2: width, y1: middle, y2: middle }, picture);
  for (let i = 0; i < count; i += 1) {
    const value = values[row * batch.length + i];
    const end = middle - clamp(value / scale.high, -1, 1) * (middle - 2);
    draw("rect", {
      class: `${value >= 0 ? "ex-bar-more" : "ex-bar-less"}${i === t ? " ex-strong" : ""}`, x: 22 + i * step, width: Math.max(1, step * 0.8),
      y: Math.min(middle, end), height: Math.max(0.5, Math.abs(middle - end)),
    }, picture);
  }
  picture.setAttribute("aria-label", `${title.textContent}: ${batch.prompts[row]}`);
}

// A series over the run on axes that the kernel lets only grow, with the update on screen marked.
function drawSeries({ title, note, picture, size: { width, height } }, board, metric, key, label, unit) {
  const { updates, values, at } = lineOf(board, metric);
  write(title, say(board, `ui.${label}`));
  title.title = say(board, `metrics.${metric}.definition`);
  write(note, say(board, `ui.${unit}`));
  picture.replaceChildren();
  picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
  if (!updates.length) return;
  const { span, ranges } = board.get("series");
  const [low, high] = ranges[key];
  const [left, right] = [40, 4];
  const x = (u) => left + (u / span[1]) * (width - left - right);
  const y = (v) => height - 4 - ((v - low) / (high - low)) * (height - 12);
  const digits = high < 0.1 ? 3 : Number.isInteger(low) && Number.isInteger(high) ? 0 : 2;
  draw("line", { class: "ex-axis", x1: left, x2: width, y1: y(0), y2: y(0) }, picture);
  draw("text", { class: "ex-tick", x: left - 4, y: 10, "text-anchor": "end", text: format(high, digits) }, picture);
  draw("text", { class: "ex-tick", x: left - 4, y: height - 2, "text-anchor": "end", text: low ? format(low, digits) : "0" }, picture);
  const known = (i) => Number.isFinite(values[i]);
  const step = (u, i) => (known(i) ? `${known(i - 1) ? "L" : "M"}${x(u).toFixed(1)} ${y(values[i]).toFixed(1)}` : "");
  draw("path", { class: "ex-line", d: Array.from(updates, step).join("") }, picture);
  if (known(at)) draw("circle", { class: "ex-dot", cx: x(updates[at]), cy: y(values[at]), r: 3 }, picture);
  title.append(" ", make("b", { text: format(values[at], 3) }));
  picture.setAttribute("aria-label", title.textContent);
}
