// The ladder. Left: the pinned token's advantage as a stack of the later tokens' deltas, and under it four estimators at
// the same tokens. Right: how good the critic is. The stack is made here, of the deltas that were recorded.

export default {
  render(context) {
    return frame(context, "ladder", ["lower", "batch", "pinned", "hovered"], build(context.model));
  },
};

const LADDER_LEFT = 108;
const LADDER_RIGHT = 48;

const build = (model) => (root, board, sized, leaving, again) => {
  const tabs = lowerTabs(root, board, "ladder", leaving);
  const hint = make("p", { class: "ex-hint" });
  const sum = make("span");
  const check = make("p", { class: "ex-ladder-check explorer-ladder-check", role: "status" }, sum);
  const picture = draw("svg", { class: "ex-picture explorer-ladder-stack", role: "group" });
  entersLedger(picture, "raw_advantage");
  const title = make("h3");
  const scatter = draw("svg", { class: "ex-picture explorer-ladder-critic", role: "img" });
  const explained = make("p", { class: "ex-muted explorer-ladder-explained" });
  const body = make("div", { class: "ex-ladder" }, make("div", { class: "ex-ladder-side" }, check, picture), make("div", { class: "ex-ladder-side" }, title, explained, scatter));
  const empty = make("p", { class: "ex-empty" });
  root.append(tabs.node, hint, body, empty);
  root.exTable = rungTable;
  const tip = tooltip(root);
  const [size, square] = [sized(picture), sized(scatter)];
  let columns = null;
  let inside = false; // the pointer is over the stack: it asks about rungs, and the pinned token stays
  let points = [];

  const tokenAt = (event) => {
    if (!columns) return null;
    const t = Math.floor((placeIn(picture, event).x - LADDER_LEFT) / columns.step);
    return t >= 0 && t < columns.count ? [columns.row, t] : null;
  };
  picture.addEventListener("mousemove", (event) => {
    inside = true;
    hover(board, tokenAt(event));
  });
  picture.addEventListener("mouseleave", () => {
    inside = false;
    hover(board, null);
  });
  picture.addEventListener("click", (event) => {
    if (tokenAt(event)) pin(board, tokenAt(event));
  });
  leaving(listen(model, ["picture"], again));

  const refresh = () => {
    if (board.get("lower") !== "ladder") return tip.hide();
    tabs.paint();
    write(hint, say(board, "ui.panels.ladder.look_for"));
    const batch = board.get("batch");
    const token = inside ? pinnedOf(board) ?? focusOf(board) : focusOf(board);
    const there = hasBatch(batch) && Boolean(token && quantityOf(batch, "delta") && token[1] < (batch.tokens[token[0]]?.length ?? 0));
    body.hidden = !there;
    empty.hidden = there;
    write(empty, there ? "" : say(board, hasBatch(batch) ? "ui.pin_hint" : "ui.no_update_yet"));
    if (!there) return tip.hide();
    if (size.width) root.dataset.token = token.join(","); // which says what is drawn
    const seen = model.get("picture").update === batch.update ? model.get("picture") : {};
    const stack = stackAt(batch, token);
    const said = checkWords(board, batch, stack, token);
    write(sum, said.text);
    toLedger(sum, board, "raw_advantage", said.text, token);
    check.dataset.holds = said.holds;
    columns = drawStack(picture, size, board, batch, seen, stack, token);
    picture.setAttribute("aria-label", `${[said.text, ...rungWords(board, batch, stack, token).slice(0, 12)].join("; ")}. ${say(board, "ui.ledger.enter")}`);
    const rung = inside && hoveredOf(board)?.[0] === token[0] ? stack.rungs[hoveredOf(board)[1] - token[1]] : null;
    if (rung && columns) {
      const box = picture.getBoundingClientRect();
      const column = new DOMRect(box.left + (LADDER_LEFT + (token[1] + rung.l) * columns.step) * zoomOf(picture), box.top, columns.step * zoomOf(picture), box.height);
      tip.show([make("p", { text: rungWords(board, batch, { rungs: [rung] }, token)[0] })], { getBoundingClientRect: () => column });
    } else tip.hide();
    const stamp = [batch, seen, board.get("words"), square.width, square.height];
    if (stamp.some((part, i) => part !== points[i])) {
      points = stamp;
      write(title, say(board, "ui.ladder.critic"));
      write(explained, seen.rows ? say(board, "ui.ladder.explained", { share: format(seen.explained_variance, 3) }) : say(board, "ui.ladder.waits"));
      explained.title = say(board, "ui.ladder.explained_what");
      drawCritic(scatter, square, board, batch);
    }
    markPoint(scatter, square, board, batch, token);
  };
  return refresh;
};

// A row for each token of the response in focus: its delta; from the token in focus on, its weight and what it adds to that
// one's advantage; its own advantage by every estimator; and the critic's value beside its target.
function rungTable(board, model) {
  const [batch, token, seen] = [board.get("batch"), focusOf(board), model.get("picture")];
  if (!token || !quantityOf(batch, "delta")) return null;
  const [row, from] = token;
  const { rungs } = stackAt(batch, token);
  const lanes = (seen.update === batch.update ? seen.rows ?? [] : []).flatMap(({ name, advantages }) => (advantages ? [[name, numbers(advantages, Float32Array)]] : []));
  const rows = batch.tokens[row].map((text, t) => {
    const [at, rung] = [row * batch.length + t, rungs[t - from]];
    const own = ["delta", "value", "return"].map((name) => quantityOf(batch, name)?.[at]);
    return [batch.update, row + 1, t + 1, text, own[0], rung?.weight, rung?.part, ...lanes.map(([, values]) => values[at]), own[1], own[2]];
  });
  return { columns: ["update", "response", "token", "text", "delta", "weight", `part of the advantage of token ${from + 1}`, ...lanes.map(([name]) => `advantage by ${name}`), "value", "return"], rows };
}

// ---------------------------------------------------------------- the stack

// The lambda whose stack the advantage is; estimators that are none are shown beside GAE's, with the lambda that is set.
const LAMBDA_OF = { monte_carlo_value: 1, one_step_td: 0 };
const isStack = (batch) => batch.estimator === "gae" || batch.estimator in LAMBDA_OF;

// A token's advantage out of the deltas from it on, in double precision: rung l adds (gamma lambda)^l delta_{t+l}.
function stackOf(deltas, factor) {
  let [sum, weight] = [0, 1];
  const rungs = deltas.map((delta, l) => {
    const from = sum;
    const part = weight * delta;
    sum += part;
    const rung = { l, weight, delta, part, from, to: sum };
    weight *= factor;
    return rung;
  });
  return { rungs, sum, factor };
}

function stackAt(batch, [row, t]) {
  const first = row * batch.length;
  const deltas = Array.from(quantityOf(batch, "delta").subarray(first + t, first + batch.tokens[row].length));
  return stackOf(deltas, batch.gamma * (LAMBDA_OF[batch.estimator] ?? batch.gae_lambda));
}

const agrees = (sum, stored) => Math.abs(sum - stored) <= 1e-5 * Math.max(1, Math.abs(stored));

function checkWords(board, batch, { sum }, [row, t]) {
  const stored = quantityOf(batch, "raw_advantage")[row * batch.length + t];
  const numbersOf = { sum: signed(sum, 4), stored: signed(stored, 4) };
  const head = say(board, "ui.ladder.stack", { word: visible(batch.tokens[row][t]) });
  if (!isStack(batch)) {
    const estimator = nameOf(board, batch.estimator);
    return { holds: "none", text: `${head}: ${say(board, "ui.ladder.no_stack", { ...numbersOf, estimator })}` };
  }
  const holds = agrees(sum, stored);
  return { holds: String(holds), text: `${head}: ${say(board, holds ? "ui.ladder.sums" : "ui.ladder.differs", numbersOf)}` };
}

// Short, to stand beside a lane; an estimator without a lane of its own goes by its long name.
function nameOf(board, name) {
  const short = lookUp(board.get("words"), `ui.ladder.names.${name}`);
  return typeof short === "string" ? short : say(board, `fields.estimator.options.${name}.label`);
}

const rungWords = (board, batch, { rungs }, [row, t]) =>
  rungs.map(({ l, weight, delta, part }) =>
    say(board, "ui.ladder.rung", { word: visible(batch.tokens[row][t + l]), l, weight: format(weight, 3), delta: signed(delta, 3), part: signed(part, 3) }));

// The outline of a rung from one height to another, with a point at its end: up for what adds, down for what takes away.
function rungShape(x, wide, from, to) {
  const tip = clamp(to - from, -4, 4);
  const neck = to - tip;
  return `M${x} ${from}H${x + wide}V${neck}L${x + wide / 2} ${to}L${x} ${neck}Z`;
}

// One x axis for all: the tokens of the response. On top the stack, then a lane an estimator, then the words.
function drawStack(picture, { width, height }, board, batch, seen, stack, [row, t]) {
  picture.replaceChildren();
  if (!width) return null;
  picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const count = batch.tokens[row].length;
  const step = (width - LADDER_LEFT - LADDER_RIGHT) / Math.max(count, 1);
  const foot = width > 560 ? 50 : 40; // room for the words, which are larger in a wide window
  const tall = Math.max(60, (height - foot) * 0.54);
  const scale = board.get("quantities").delta;
  const y = (value) => tall / 2 - clamp(position(scale, value), -1, 1) * (tall / 2 - 8);
  const x = (place) => LADDER_LEFT + place * step;
  draw("rect", { class: "ex-column", x: x(t), y: 1, width: step, height: height - foot - 2, rx: 3 }, picture);
  const group = draw("g", { class: "ex-lane" }, picture);
  const symbols = draw("text", { class: "ex-lane-title ex-of-advantage", x: 0, y: tall / 2 - 1, text: "A = Σ (γλ)ˡ δ" }, group);
  toLedger(symbols, board, "raw_advantage", symbols.textContent, [row, t]);
  draw("text", { class: "ex-lane-note", x: 0, y: tall / 2 + 12, text: say(board, "ui.ladder.factor", { factor: format(stack.factor, 3) }) }, group);
  for (const edge of [scale.high, scale.low]) draw("text", { class: "ex-tick", x: LADDER_LEFT - 4, y: y(edge) + 4, "text-anchor": "end", text: format(edge, 1) }, group);
  draw("line", { class: "ex-axis", x1: LADDER_LEFT, x2: x(count), y1: y(0), y2: y(0) }, group);
  for (const { l, part, from, to, delta, weight } of stack.rungs) {
    const [low, high] = [y(from), y(to)];
    const left = x(t + l) + step * 0.1;
    draw("path", { class: part >= 0 ? "ex-bar-more" : "ex-bar-less", d: rungShape(left, step * 0.8, low, high), "data-l": l, "data-part": part, "data-weight": weight, "data-delta": delta }, group);
    if (Math.abs(position(scale, to)) > 1) draw("text", { class: "ex-beyond", x: x(t + l + 0.5), y: to > 0 ? 6 : tall - 1, "text-anchor": "middle", text: to > 0 ? "▲" : "▼" }, group);
    if (l) draw("line", { class: "ex-axis", x1: x(t + l) - step * 0.1, x2: left, y1: low, y2: low }, group);
  }
  const end = y(stack.sum);
  draw("path", { class: "ex-ladder-sum", d: `M${x(t)} ${end}H${x(count)}`, "data-sum": stack.sum }, group);
  const total = draw("text", { class: "ex-edge", x: x(count) + 3, y: end + 4, text: fixedSigned(stack.sum) }, group);
  toLedger(total, board, "raw_advantage", `A ${total.textContent}`, [row, t]);
  drawLanes(picture, board, batch, seen, { row, t, x, step, count, top: tall, height: height - foot - tall, scale });
  const words = draw("g", { class: "ex-words" }, picture);
  const every = Math.ceil(11 / step);
  for (let place = 0; place < count; place += every) {
    const [at, low] = [x(place + 0.5) + 3, height - foot + 11];
    draw("text", { class: place === t ? "ex-edge" : "", x: at, y: low, "text-anchor": "end", transform: `rotate(-38 ${at} ${low})`, text: shorten(visible(batch.tokens[row][place]), 9) }, words);
  }
  const rung = hoveredOf(board);
  if (rung?.[0] === row && rung[1] !== t) draw("rect", { class: "ex-column ex-column-hovered", x: x(rung[1]), y: 1, width: step, height: height - foot - 2, rx: 3 }, picture);
  return { row, count, step };
}

function drawLanes(picture, board, batch, seen, { row, t, x, step, count, top, height, scale }) {
  if (!seen.rows) {
    draw("text", { x: LADDER_LEFT, y: top + height / 2, text: say(board, "ui.ladder.waits") }, picture);
    return;
  }
  const tall = height / seen.rows.length;
  seen.rows.forEach(({ name, advantages }, i) => {
    const own = name === "grpo" ? board.get("quantities").advantage : scale; // in standard deviations
    const middle = top + (i + 0.5) * tall;
    const group = draw("g", { class: "ex-lane", "data-estimator": name }, picture);
    const label = nameOf(board, name);
    const title = draw("text", { class: name === seen.estimator ? "ex-lane-title" : "", x: 0, y: middle + 4, text: name === seen.estimator ? say(board, "ui.ladder.in_force", { name: label }) : label }, group);
    draw("title", { text: say(board, `fields.estimator.options.${name}.what`) }, title);
    draw("line", { class: "ex-axis", x1: LADDER_LEFT, x2: x(count), y1: middle, y2: middle }, group);
    const values = numbers(advantages, Float32Array);
    if (!values) {
      draw("text", { x: LADDER_LEFT + 4, y: middle + 4, text: say(board, "ui.ladder.alone") }, group);
      return;
    }
    for (let place = 0; place < count; place += 1) {
      const value = values[row * batch.length + place];
      const tip = middle - clamp(position(own, value), -1, 1) * (tall / 2 - 2);
      bar(group, x(place + 0.5), step, middle, tip, Math.abs(position(own, value)) > 1);
    }
    const value = values[row * batch.length + t];
    const number = draw("text", { class: "ex-edge", x: x(count) + 3, y: middle + 4, "data-value": value, text: fixedSigned(value) }, group);
    // The others are not what the update was scored by: no ledger has them.
    if (name === seen.estimator) toLedger(number, board, "raw_advantage", `${label} ${number.textContent}`, [row, t]);
  });
}

function bar(group, x, step, middle, end, beyond) {
  const up = end <= middle;
  draw("rect", { class: up ? "ex-bar-more" : "ex-bar-less", x: x - step * 0.4, width: step * 0.8, y: Math.min(middle, end), height: Math.max(0.5, Math.abs(end - middle)) }, group);
  if (beyond) draw("text", { class: "ex-beyond", x, y: up ? end + 7 : end - 1, "text-anchor": "middle", text: up ? "▲" : "▼" }, group);
}
