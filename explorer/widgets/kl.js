// KL, kept apart: to the reference (the leash; it shapes the reward) per token and per update, and to the old policy
// (the size of the step) per update. Two quantities never share an axis. Per token the exact KL is a bar, and what each
// estimator made of the one token that was written is a mark of its own shape.

export default {
  render(context) {
    return frame(context, "kl", ["batch", "pinned", "hovered", "series", "run"], build);
  },
};

// A mark's outline around 0, 0 for a half width of s.
const MARKS = {
  k1: (s) => `m${-s} 0a${s} ${s} 0 1 0 ${2 * s} 0a${s} ${s} 0 1 0 ${-2 * s} 0z`,
  k2: (s) => `m${-1.2 * s} 0h${2.4 * s}`,
  k3: (s) => `m0 ${-1.3 * s}l${1.3 * s} ${1.3 * s}l${-1.3 * s} ${1.3 * s}l${-1.3 * s} ${-1.3 * s}z`,
};
const LEFT = 30;
const charged = (batch, name) => batch.kl_estimator === name.replace("_kl", "");

function build(root, board, sized) {
  const head = make("header", { class: "ex-head-stack" });
  const legend = make("p", { class: "ex-kl-legend" });
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
  root.append(head, legend, charts);
  const tokenAt = (event) => {
    const batch = board.get("batch");
    if (!hasBatch(batch)) return null;
    const row = focusOf(board)?.[0] ?? 0;
    const count = batch.tokens[row].length;
    const t = Math.floor((event.clientX - tokens.picture.getBoundingClientRect().left - LEFT) / stepOf(tokens.size, count));
    return t >= 0 && t < count ? [row, t] : null;
  };
  tokens.picture.addEventListener("mousemove", (event) => hover(board, tokenAt(event)));
  tokens.picture.addEventListener("mouseleave", () => hover(board, null));
  tokens.picture.addEventListener("click", (event) => pin(board, tokenAt(event)));
  let drawn = null;
  return () => {
    const batch = board.get("batch");
    const stamp = [batch, board.get("series"), board.get("words"), board.get("run").cursor, String(focusOf(board)), String(pinnedOf(board)), ...[tokens, reference, old].flatMap(({ size }) => [size.width, size.height])];
    if (drawn && stamp.every((part, i) => part === drawn[i])) return;
    drawn = stamp;
    head.replaceChildren(...heading(board, "kl"));
    paintLegend(legend, board, batch);
    drawTokens(tokens, board, batch);
    drawSeries(reference, board, "objective/ref_kl", "ref_kl", "kl.reference", "units.per_response", batch.kl_target);
    drawSeries(old, board, "policy/approx_kl_final", "approx_kl", "kl.old", "units.per_token");
  };
}

// What each shape is, the one that is charged in bold, and the numbers of the token in hand.
function paintLegend(legend, board, batch) {
  legend.replaceChildren();
  if (!hasBatch(batch)) return;
  const [row, t] = focusOf(board) ?? [0, -1];
  const scales = board.get("quantities");
  for (const name of ["exact_kl", "k1", "k2", "k3"]) {
    const values = quantityOf(batch, name);
    const [key, number] = [draw("svg", { class: "ex-kl-key", viewBox: "-6 -6 12 12" }), make("b")];
    const at = name === "k1" ? "M-2 -2" : "M0 0"; // k1 has two signs, so its key has two dots
    draw("path", { class: `ex-kl-${name}`, d: name === "exact_kl" ? "M-4 -5h8v10h-8z" : `${at}${MARKS[name](2.8)}` }, key);
    if (name === "k1") draw("path", { class: "ex-kl-k1 ex-less", d: `M3 3${MARKS.k1(2.8)}` }, key);
    const entry = make("span", { class: "ex-key", title: say(board, `quantities.${name}.what`), "data-kl": name });
    entry.append(key, name === "exact_kl" ? say(board, "ui.kl.exact") : name, " ", number);
    if (!values) number.textContent = say(board, "ui.kl.not_recorded");
    else if (t >= 0) number.textContent = (values[row * batch.length + t] > 0 && scales[name].kind === "diverging" ? "+" : "") + brief(values[row * batch.length + t], 2);
    entry.classList.toggle("ex-charged", charged(batch, name));
    if (charged(batch, name)) entry.append(" ", make("i", { text: say(board, `ui.kl.in_${batch.kl_in}`) }));
    legend.append(entry);
  }
}

// A number that keeps its width: what is close to 0 reads 0.00, and a large one needs no decimals.
const brief = (value, digits) => (Number.isFinite(value) ? value.toFixed(Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : digits).replace("-", MINUS) : format(value));

const stepOf = ({ width }, count) => (width - LEFT) / Math.max(count, 1);

// The vertical scale is that of the square root, so that a twentieth of a nat can be seen beside two.
function drawTokens({ title, note, picture, size }, board, batch) {
  const { width, height } = size;
  const [row, t] = focusOf(board) ?? [0, -1];
  write(title, say(board, "ui.kl.tokens"));
  note.hidden = true;
  picture.replaceChildren();
  picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
  if (!hasBatch(batch)) return;
  const count = batch.tokens[row].length;
  const step = stepOf(size, count);
  const { high } = board.get("quantities").exact_kl;
  const low = -high / 2;
  const reach = (height - 8) / (1 + Math.sqrt(-low / high));
  const y = (value) => 4 + reach - Math.sign(value) * Math.sqrt(Math.abs(clamp(value, low, high)) / high) * reach;
  const x = (i) => LEFT + (i + 0.5) * step;
  for (const edge of [high, high / 4, 0, -high / 4]) {
    draw("text", { class: "ex-tick", x: LEFT - 4, y: Math.max(9, y(edge) + 4), "text-anchor": "end", text: format(edge, edge % 1 ? 1 : 0) }, picture);
  }
  if (t >= 0) draw("path", { class: "ex-region", d: `M${LEFT + t * step} 0h${step}v${height}h${-step}z` }, picture);
  const pinned = pinnedOf(board);
  if (pinned?.[0] === row && pinned[1] < count) draw("path", { class: "ex-column ex-kl-pinned", d: `M${LEFT + pinned[1] * step} 1h${step}v${height - 2}h${-step}z` }, picture);
  draw("line", { class: "ex-axis", x1: LEFT, x2: width, y1: y(0), y2: y(0) }, picture);
  const exact = quantityOf(batch, "exact_kl");
  for (let i = 0; exact && i < count; i += 1) {
    const end = y(exact[row * batch.length + i]);
    draw("rect", { class: `ex-kl-exact_kl${i === t ? " ex-strong" : ""}`, x: x(i) - step * 0.4, width: step * 0.8, y: end, height: Math.max(0.5, y(0) - end) }, picture);
  }
  const half = clamp(step * 0.3, 1, 3);
  const beyond = new Map();
  for (const name of ["k2", "k3", "k1"]) {
    const values = quantityOf(batch, name);
    if (!values) continue;
    const shown = Array.from({ length: count }, (_, i) => values[row * batch.length + i]);
    for (const less of name === "k1" ? [false, true] : [false]) {
      const mark = (value, i) => (name !== "k1" || value < 0 === less ? `M${x(i).toFixed(1)} ${y(value).toFixed(1)}${MARKS[name](half)}` : "");
      const look = `ex-kl-${name}${less ? " ex-less" : ""}${charged(batch, name) ? " ex-charged" : ""}`;
      draw("path", { class: look, d: shown.map(mark).join("") }, picture);
    }
    shown.forEach((value, i) => (value > high || value < low) && beyond.set(`${i} ${value > 0}`, [i, value > 0]));
  }
  for (const [i, up] of beyond.values()) {
    draw("text", { class: "ex-beyond", x: x(i), y: up ? 7 : height - 1, "text-anchor": "middle", text: up ? "▲" : "▼" }, picture);
  }
  picture.setAttribute("aria-label", `${title.textContent}: ${batch.prompts[row]}`);
}

// A series over the run on axes that the kernel lets only grow, with the update on screen marked.
function drawSeries({ title, note, picture, size: { width, height } }, board, metric, key, label, unit, target = null) {
  const { updates, values, at } = lineOf(board, metric);
  write(title, say(board, `ui.${label}`));
  title.title = say(board, `metrics.${metric}.definition`);
  write(note, say(board, `ui.${unit}`));
  picture.replaceChildren();
  picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
  if (!updates.length) return;
  const { span, ranges } = board.get("series");
  let [low, high] = ranges[key];
  while (target > high) high *= 2; // in the axis's own steps
  const [left, right] = [40, 4];
  const x = (u) => left + (u / span[1]) * (width - left - right);
  const y = (v) => height - 4 - ((v - low) / (high - low)) * (height - 12);
  const digits = high < 0.1 ? 3 : Number.isInteger(low) && Number.isInteger(high) ? 0 : 2;
  draw("line", { class: "ex-axis", x1: left, x2: width, y1: y(0), y2: y(0) }, picture);
  draw("text", { class: "ex-tick", x: left - 4, y: 10, "text-anchor": "end", text: format(high, digits) }, picture);
  draw("text", { class: "ex-tick", x: left - 4, y: height - 2, "text-anchor": "end", text: low ? format(low, digits) : "0" }, picture);
  if (target) {
    draw("line", { class: "ex-target", x1: left, x2: width - right, y1: y(target), y2: y(target) }, picture);
    const words = say(board, "ui.kl.target", { target: format(target, 1) });
    draw("text", { class: "ex-tick", x: width - right, y: y(target) + (y(target) < 16 ? 11 : -3), "text-anchor": "end", text: words }, picture);
  }
  const known = (i) => Number.isFinite(values[i]);
  const step = (u, i) => (known(i) ? `${known(i - 1) ? "L" : "M"}${x(u).toFixed(1)} ${y(values[i]).toFixed(1)}` : "");
  draw("path", { class: "ex-line", d: Array.from(updates, step).join("") }, picture);
  if (known(at)) draw("circle", { class: "ex-dot", cx: x(updates[at]), cy: y(values[at]), r: 3 }, picture);
  title.append(" ", make("b", { text: brief(values[at], 3) }));
  picture.setAttribute("aria-label", title.textContent);
}
