// KL, kept apart: to the reference (the leash; it shapes the reward) on the left, to the old policy (the size of the step)
// on the right. Two quantities never share an axis. Per token, per response or per update: one level at a time. The exact
// KL is a bar, and what each estimator made of the tokens that were written is a mark of its own shape.

export default {
  render(context) {
    return frame(context, "kl", ["batch", "pinned", "hovered", "series", "run", "kl_view"], build);
  },
};

// A mark's outline around 0, 0 for a half width of s.
const MARKS = {
  k1: (s) => `m${-s} 0a${s} ${s} 0 1 0 ${2 * s} 0a${s} ${s} 0 1 0 ${-2 * s} 0z`,
  k2: (s) => `m${-1.2 * s} 0h${2.4 * s}`,
  k3: (s) => `m0 ${-1.3 * s}l${1.3 * s} ${1.3 * s}l${-1.3 * s} ${1.3 * s}l${-1.3 * s} ${-1.3 * s}z`,
};
const LEFT = 30;
const STEP_HIGH = 0.4; // nats: where a token's KL to the old policy ends on its axis
const RESPONSE_HIGH = { reference: 4, old: 0.4 }; // nats a response: where those axes begin; they grow by doubling
const LEVELS = { token: ["tokens", "tokens_old"], response: ["responses", "responses_old"], update: ["reference", "old"] };
const charged = (batch, name) => batch.kl_estimator === name.replace("_kl", "");

function build(root, board, sized) {
  const tabs = viewTabs(board, "kl_view", Object.keys(LEVELS), (level) => say(board, `ui.kl.views.${level}`));
  const head = make("header", { class: "ex-head-line" });
  const legend = make("p", { class: "ex-kl-legend" });
  const charts = make("div", { class: "ex-kl-charts" });
  const pair = ["reference", "old"].map((whose) => {
    const title = make("h3");
    const note = make("p", { class: "ex-hint" });
    const picture = draw("svg", { class: "ex-picture", role: "img" });
    const node = make("div", {}, title, note);
    node.append(picture);
    charts.append(node);
    const chart = { whose, node, title, note, picture, size: sized(picture) };
    picture.addEventListener("mousemove", (event) => hover(board, placeAt(board, chart, event)));
    picture.addEventListener("mouseleave", () => hover(board, null));
    picture.addEventListener("click", (event) => pin(board, placeAt(board, chart, event)));
    return chart;
  });
  root.append(head, legend, charts);
  root.exTable = klTable;
  let [drawn, highs, of] = [null, { ...RESPONSE_HIGH }, null];
  return () => {
    const [batch, level] = [board.get("batch"), board.get("kl_view")];
    const { id, live, cursor } = board.get("run");
    if (of !== `${id} ${live}`) [of, highs] = [`${id} ${live}`, { ...RESPONSE_HIGH }]; // another run
    const stamp = [batch, level, board.get("series"), board.get("words"), cursor, String(focusOf(board)), String(pinnedOf(board)), ...pair.flatMap(({ size }) => [size.width, size.height])];
    if (drawn && stamp.every((part, i) => part === drawn[i])) return;
    drawn = stamp;
    const hint = say(board, `ui.kl.look_for.${level}`);
    if (!head.children.length) head.append(make("h2"), tabs.node, make("p", { class: "ex-hint" }));
    write(head.children[0], say(board, "ui.panels.kl.title"));
    write(head.children[2], hint);
    head.children[2].title = hint;
    tabs.paint();
    legend.hidden = level === "update";
    paintLegend(legend, board, batch, level);
    for (const [i, chart] of pair.entries()) {
      chart.node.className = `ex-chart ex-chart-${LEVELS[level][i]}`;
      entersLedger(chart.picture, level === "update" ? null : ledgerName(level, chart.whose === "old" ? "step" : "exact_kl"));
    }
    if (level === "update") {
      drawSeries(pair[0], board, "objective/ref_kl", "ref_kl", "kl.reference", "units.per_response", batch.kl_target);
      drawSeries(pair[1], board, "policy/approx_kl_final", "approx_kl", "kl.old", "units.per_token");
    } else for (const chart of pair) drawMarks(chart, board, batch, level, highs);
  };
}

// ---------------------------------------------------------------- places

// The top of an axis that only grows, by doubling, until all fits.
function grown(high, values) {
  const most = Math.max(high, ...values.filter(Number.isFinite));
  while (high < most) high *= 2;
  return high;
}

// The token that is meant by a place in a picture of tokens or responses; a response's is the one that is pinned there.
function placeAt(board, { picture, size }, event) {
  const [batch, level] = [board.get("batch"), board.get("kl_view")];
  if (!hasBatch(batch) || level === "update") return null;
  const row = focusOf(board)?.[0] ?? 0;
  const count = level === "token" ? batch.tokens[row].length : batch.rows;
  const i = Math.floor((placeIn(picture, event).x - LEFT) / stepOf(size, count));
  if (i < 0 || i >= count) return null;
  return level === "token" ? [row, i] : [i, Math.min(pinnedOf(board)?.[1] ?? 0, batch.tokens[i].length - 1)];
}

// ---------------------------------------------------------------- the pictures

// What each shape is, the one that is charged in bold, and the numbers to the reference of the token, or response, in hand.
function paintLegend(legend, board, batch, level) {
  legend.replaceChildren();
  if (!hasBatch(batch) || level === "update") return;
  const token = focusOf(board);
  const known = klOf(batch, level, token?.[0] ?? 0, "reference");
  for (const name of ESTIMATES) {
    const value = token && known[name]?.[level === "token" ? token[1] : token[0]];
    const [key, number] = [draw("svg", { class: "ex-kl-key", viewBox: "-6 -6 12 12" }), make("b")];
    const at = name === "k1" ? "M-2 -2" : "M0 0"; // k1 has two signs, so its key has two dots
    draw("path", { class: `ex-kl-${name}`, d: name === "exact_kl" ? "M-4 -5h8v10h-8z" : `${at}${MARKS[name](2.8)}` }, key);
    if (name === "k1") draw("path", { class: "ex-kl-k1 ex-less", d: `M3 3${MARKS.k1(2.8)}` }, key);
    const entry = make("span", { class: "ex-key", title: say(board, `quantities.${name}.what`), "data-kl": name });
    entry.append(key, name === "exact_kl" ? say(board, "ui.kl.exact") : name, " ", number);
    if (!known[name]) number.textContent = say(board, "ui.kl.not_recorded");
    else if (token) number.textContent = (name === "k1" && value > 0 ? "+" : "") + brief(value, 2);
    entry.classList.toggle("ex-charged", charged(batch, name));
    if (charged(batch, name)) entry.append(" ", make("i", { text: say(board, `ui.kl.in_${batch.kl_in}`) }));
    if (token && known[name]) leadFrom(entry, board, batch, level, name, token);
    legend.append(entry);
  }
}

// A number of a token opens its ledger there; a response's, the sum over its tokens.
const ledgerName = (level, quantity) => (level === "response" ? `response_${quantity}` : quantity);

function leadFrom(node, board, batch, level, quantity, [row, t], stop = 0) {
  const whose = level === "response" ? say(board, "ui.ledger.response", { response: row + 1 }) : `“${visible(batch.tokens[row][t])}”`;
  toLedger(node, board, ledgerName(level, quantity), `${node.textContent}, ${whose}`, [row, t], { stop });
}

// A number that keeps its width: what is close to 0 reads 0.00, and a large one needs no decimals.
const brief = (value, digits) => (Number.isFinite(value) ? value.toFixed(Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : digits).replace("-", MINUS) : format(value));

const stepOf = ({ width }, count) => (width - LEFT) / Math.max(count, 1);

// Every token of the response in hand, or every response. The vertical scale is that of the square root, so that a
// twentieth of a nat can be seen beside two.
function drawMarks({ whose, title, note, picture, size }, board, batch, level, highs) {
  const { width, height } = size;
  note.hidden = true;
  const key = LEVELS[level][whose === "old" ? 1 : 0];
  title.replaceChildren(say(board, `ui.kl.${key}`));
  picture.replaceChildren();
  picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
  if (!hasBatch(batch)) return;
  const [row, t] = focusOf(board) ?? [0, -1];
  const known = klOf(batch, level, row, whose);
  const [count, own] = level === "token" ? [batch.tokens[row].length, t] : [batch.rows, t < 0 ? -1 : row];
  if (level === "response") highs[whose] = grown(highs[whose], ESTIMATES.flatMap((name) => known[name] ?? []));
  const high = level === "response" ? highs[whose] : whose === "old" ? STEP_HIGH : board.get("quantities").exact_kl.high;
  if (whose === "old" && known.k2) {
    const value = own < 0 ? known.k2.reduce((sum, each) => sum + each, 0) / count : known.k2[own];
    const number = make("b", { text: `${own < 0 ? say(board, "ui.kl.mean_token") : "k2"} ${brief(value, 3)}` });
    title.append(" ", number);
    if (own >= 0) leadFrom(number, board, batch, level, "step", [row, t], -1); // by key it is Enter in the picture below
  } else if (level === "response" && known.k1) {
    const mean = known.k1.reduce((sum, each) => sum + each, 0) / count;
    title.append(" ", make("b", { text: brief(mean, 3), title: say(board, "ui.kl.mean") }));
  }
  const step = stepOf(size, count);
  const low = -high / 2;
  const reach = (height - 8) / (1 + Math.sqrt(-low / high));
  const y = (value) => 4 + reach - Math.sign(value) * Math.sqrt(Math.abs(clamp(value, low, high)) / high) * reach;
  const x = (i) => LEFT + (i + 0.5) * step;
  for (const edge of [high, high / 4, 0, -high / 4]) {
    const digits = edge % 1 === 0 ? 0 : Math.abs(edge) < 0.2 ? 2 : 1;
    draw("text", { class: "ex-tick", x: LEFT - 4, y: Math.max(9, y(edge) + 4), "text-anchor": "end", text: format(edge, digits) }, picture);
  }
  if (own >= 0) draw("path", { class: "ex-region", d: `M${LEFT + own * step} 0h${step}v${height}h${-step}z` }, picture);
  const pinned = pinnedOf(board);
  const at = !pinned ? -1 : level === "response" ? pinned[0] : pinned[0] === row ? pinned[1] : -1;
  // Only the one to the reference is joined to the token by a line.
  const look = whose === "reference" ? "ex-column ex-kl-pinned" : "ex-column ex-kl-too";
  if (at >= 0 && at < count) draw("path", { class: look, d: `M${LEFT + at * step} 1h${step}v${height - 2}h${-step}z` }, picture);
  draw("line", { class: "ex-axis", x1: LEFT, x2: width, y1: y(0), y2: y(0) }, picture);
  for (let i = 0; known.exact_kl && i < count; i += 1) {
    const end = y(known.exact_kl[i]);
    draw("rect", { class: `ex-kl-exact_kl${i === own ? " ex-strong" : ""}`, x: x(i) - step * 0.4, width: step * 0.8, y: end, height: Math.max(0.5, y(0) - end) }, picture);
  }
  const half = clamp(step * 0.3, 1, 3);
  const beyond = new Map();
  for (const name of ["k2", "k3", "k1"]) {
    const shown = known[name];
    if (!shown) continue;
    const paid = whose === "reference" && charged(batch, name) ? " ex-charged" : "";
    for (const less of name === "k1" ? [false, true] : [false]) {
      const mark = (value, i) => (name !== "k1" || value < 0 === less ? `M${x(i).toFixed(1)} ${y(value).toFixed(1)}${MARKS[name](half)}` : "");
      draw("path", { class: `ex-kl-${name}${less ? " ex-less" : ""}${paid}`, d: shown.map(mark).join("") }, picture);
    }
    shown.forEach((value, i) => (value > high || value < low) && beyond.set(`${i} ${value > 0}`, [i, value > 0]));
  }
  for (const [i, up] of beyond.values()) {
    draw("text", { class: "ex-beyond", x: x(i), y: up ? 7 : height - 1, "text-anchor": "middle", text: up ? "▲" : "▼" }, picture);
  }
  picture.setAttribute("aria-label", `${title.textContent}${level === "token" ? `: ${batch.prompts[row]}` : ""}. ${say(board, "ui.ledger.enter")}`);
}

// A series over the run on axes that the kernel lets only grow, with the update on screen marked.
function drawSeries({ title, note, picture, size: { width, height } }, board, metric, key, label, unit, target = null) {
  const { updates, values, at } = lineOf(board, metric);
  title.replaceChildren(say(board, `ui.${label}`));
  note.hidden = false;
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
