// Time. Above: how the ratios of the batch spread from epoch to epoch, on one fixed axis. In the middle: how far each epoch
// of the updates around went, and where each update's new samples begin. Below: one prompt's answers across the run.

export default {
  render(context) {
    return frame(context, "time", ["lower", "batch", "pinned", "run", "series"], build(context.model));
  },
};

const STEPS_LEFT = 42; // pixels for the scale
const STEPS_TOP = 14; // and for the updates' numbers

const build = (model) => (root, board, sized, leaving) => {
  const send = (kind, values) => model.send({ kind, ...values });
  const tabs = lowerTabs(root, board, "time", leaving);
  const hint = make("p", { class: "ex-hint" });
  const [spread, rows, steps, story, kept] = [make("h3"), make("span", { class: "ex-muted explorer-time-rows" }), make("h3"), make("h3"), make("span", { class: "ex-muted explorer-time-kept" })];
  const epochs = make("div", { class: "ex-epochs", role: "group" });
  const picture = draw("svg", { class: "ex-picture explorer-time-steps", role: "img" });
  const list = make("ol", { class: "ex-answers" });
  const head = (...nodes) => make("div", { class: "ex-time-head" }, ...nodes);
  const body = make("div", { class: "ex-time-body" }, head(spread, rows), epochs, steps, picture, head(story, kept), list);
  const empty = make("p", { class: "ex-empty" });
  root.append(tabs.node, hint, body, empty);
  [root.exTable, root.exMore] = [epochTable, answerTable];
  const [size, wide] = [sized(picture), sized(epochs)];
  let [drawn, drawnSteps, places] = [[], [], null];

  picture.addEventListener("click", (event) => {
    const at = places && nearestStep(places, placeIn(picture, event).x);
    if (at) send("show", { update: at.update, epoch: at.last ? -1 : at.epoch - 1, token: null });
  });
  leaving(listen(model, ["picture", "past"], () => refresh()));

  const refresh = () => {
    if (board.get("lower") !== "time") return;
    tabs.paint();
    write(hint, say(board, "ui.panels.time.look_for"));
    const [batch, seen, past] = [board.get("batch"), model.get("picture"), model.get("past")];
    const there = hasBatch(batch) && seen.epochs?.length > 0;
    body.hidden = !there;
    empty.hidden = there;
    write(empty, there ? "" : say(board, hasBatch(batch) ? "ui.time.no_epoch_yet" : "ui.no_update_yet"));
    if (!there || seen.update !== batch.update) return; // its own message is still to come
    root.dataset.update = seen.update;
    write(spread, say(board, "ui.time.spread", { low: format(seen.low, 1), high: format(seen.high, 1) }));
    write(rows, rowsWords(board, seen.rows));
    rows.title = rows.textContent;
    write(steps, say(board, "ui.time.steps"));
    const stamp = [seen, board.get("words"), batch.epochs, wide.width, wide.height];
    if (stamp.some((part, i) => part !== drawn[i])) {
      drawn = stamp;
      paintEpochs(epochs, wide, board, seen, (epoch) => send("epoch", { epoch }));
    }
    const around = [past, seen, board.get("words"), board.get("series"), size.width, size.height];
    if (around.some((part, i) => part !== drawnSteps[i])) {
      drawnSteps = around;
      places = drawSteps(picture, size, board, past, seen);
    }
    paintAnswers({ list, story, kept }, board, past, seen, (update) => send("scrub", { update }));
  };
  return refresh;
};

// A row for each epoch of the updates around: how far it went; of the update on screen also how many tokens are where, in
// all and by the histogram's bars.
function epochTable(board, model) {
  const [{ update, epochs = [], band, low, high }, past] = [model.get("picture"), model.get("past")];
  if (!epochs.length) return null;
  const bars = epochs.map(({ fresh, replayed }) => [numbers(fresh, Uint32Array), numbers(replayed, Uint32Array)]).map(([own, older]) => Array.from(own, (count, i) => count + older[i]));
  const edge = (i) => (low * (high / low) ** (i / bars[0].length)).toPrecision(4);
  const counted = ({ tokens, outside, below, above }, i) => [tokens, outside, below, above, ...band, ...bars[i]];
  const steps = past.update === update ? past.steps ?? [] : [];
  const known = steps.some((step) => step.update === update) ? steps : [...steps, { update, kls: epochs.map(() => null) }];
  const rows = known.flatMap((step) => step.kls.map((kl, i) => [step.update, i + 1, kl, ...(step.update === update && epochs[i] ? counted(epochs[i], i) : [])]));
  const columns = ["tokens", "outside the clip range", "below the axis", "above the axis", "clip low", "clip high", ...bars[0].map((_, i) => `ρ ${edge(i)} to ${edge(i + 1)}`)];
  const full = 3 + columns.length;
  return { columns: ["update", "epoch", "KL to old policy [nats a token]", ...columns], rows: rows.map((row) => [...row, ...Array(full - row.length).fill(null)]) };
}

// A row for each answer below: one prompt's, across the run.
function answerTable(board, model) {
  const { prompt, answers = [] } = model.get("past");
  if (!prompt || !answers.length) return null;
  const rows = answers.map(({ update, score, text, mean, count }) => [update, prompt, text, score, mean, count]);
  return { columns: ["update", "prompt", "text", "score", "mean score of the prompt's answers", "answers"], rows };
}

// Where the rows of the batch were sampled, in words.
function rowsWords(board, rows) {
  const [[update, count], ...older] = rows;
  const own = say(board, "ui.time.fresh", { rows: count, update });
  if (!older.length) return own;
  return `${own} ${say(board, "ui.time.replayed", { rows: older.map(([from, many]) => say(board, "ui.time.of", { rows: many, update: from })).join(", ") })}`;
}

// ---------------------------------------------------------------- the ratios by epoch

const epochTitle = (board, seen, nth) => (nth === seen.epochs.length ? say(board, "ui.time.after") : say(board, "ui.time.before", { epoch: nth }));

// A histogram's bars from left to right: how high each is, of a height of 1, the replayed tokens on top of the fresh ones;
// and whether it stands inside the clip range. The height is the root of the share, so that a few tokens can be seen.
function barsOf(epoch, { low, high, band }) {
  const [fresh, replayed] = [numbers(epoch.fresh, Uint32Array), numbers(epoch.replayed, Uint32Array)];
  const width = Math.log(high / low) / fresh.length;
  return Array.from(fresh, (count, i) => {
    const middle = low * Math.exp((i + 0.5) * width);
    const side = middle < band[0] ? "low" : middle > band[1] ? "high" : "inside";
    const height = (tokens) => Math.sqrt(tokens / Math.max(epoch.tokens, 1));
    return { side, fresh: height(count), all: height(count + replayed[i]) };
  });
}

// Where a ratio lies on the axis, from 0 to 1.
const acrossOf = ({ low, high }, ratio) => clamp(Math.log(ratio / low) / Math.log(high / low), 0, 1);

function paintEpochs(node, { width, height }, board, seen, choose) {
  if (!width || !height) return;
  const count = seen.epochs.length;
  node.setAttribute("aria-label", say(board, "ui.time.spread", { low: format(seen.low, 1), high: format(seen.high, 1) }));
  const hadFocus = [...node.children].indexOf(document.activeElement);
  const size = { width: Math.floor((width - (count - 1) * 4) / count) - 2, height: height - (height > 100 ? 40 : 32) };
  node.replaceChildren(...seen.epochs.map((epoch, i) => {
    const share = `${format((100 * epoch.outside) / Math.max(epoch.tokens, 1), 1)} %`;
    const long = say(board, "ui.time.outside", { epoch: epochName(board, { ...board.get("batch"), epoch: i + 1 }), outside: epoch.outside, tokens: epoch.tokens, low: format(seen.band[0]), high: format(seen.band[1]), beyond: epoch.below + epoch.above });
    const picture = draw("svg", { class: "ex-spread", viewBox: `0 0 ${size.width} ${Math.max(size.height, 1)}`, width: size.width, height: Math.max(size.height, 1), "aria-hidden": "true" });
    drawBars(picture, size, epoch, seen);
    return make("button", {
      class: "ex-epoch", type: "button", title: long, "aria-label": long, "aria-pressed": String(i + 1 === seen.epoch), "data-epoch": i + 1, "data-outside": epoch.outside,
      onclick: () => choose(i + 1 === count ? -1 : i),
    }, make("span", { text: epochTitle(board, seen, i + 1) }), picture, make("b", { text: share }));
  }));
  if (hadFocus >= 0) node.children[hadFocus]?.focus();
}

function drawBars(picture, { width, height }, epoch, seen) {
  const [from, to] = seen.band.map((edge) => acrossOf(seen, edge) * width);
  draw("rect", { class: "ex-region", x: from, width: to - from, y: 0, height }, picture);
  const bars = barsOf(epoch, seen);
  const wide = width / bars.length;
  const bar = (i, bottom, top) => (top > bottom ? `M${(i * wide).toFixed(2)} ${(height * (1 - bottom)).toFixed(2)}V${(height * (1 - top)).toFixed(2)}h${wide.toFixed(2)}V${(height * (1 - bottom)).toFixed(2)}z` : "");
  for (const side of ["inside", "low", "high"]) {
    draw("path", { class: `ex-spread-${side}`, d: bars.map((own, i) => (own.side === side ? bar(i, 0, own.fresh) : "")).join("") }, picture);
  }
  draw("path", { class: "ex-spread-replayed", d: bars.map((own, i) => bar(i, own.fresh, own.all)).join("") }, picture);
  draw("line", { class: "ex-unmoved", x1: width / 2, x2: width / 2, y1: 0, y2: height }, picture);
  if (epoch.below) draw("text", { class: "ex-beyond", x: 1, y: 8, text: "◀" }, picture);
  if (epoch.above) draw("text", { class: "ex-beyond", x: width - 1, y: 8, "text-anchor": "end", text: "▶" }, picture);
}

// ---------------------------------------------------------------- the epochs of the updates around

// Every step of the updates around as a place: {update, epoch, last, x, y}; and where each update's new samples begin. The
// scale is that of the square root, as the KL grows with the square of the distance gone.
function stepPlaces(steps, { width, height }, high) {
  const block = (width - STEPS_LEFT) / Math.max(steps.length, 1);
  const y = (kl) => height - 3 - Math.sqrt(kl / high) * (height - 3 - STEPS_TOP);
  const dots = steps.flatMap(({ update, kls }, nth) => kls.map((kl, i) => ({
    update, epoch: i + 1, last: i + 1 === kls.length, kl, y: y(kl),
    x: STEPS_LEFT + nth * block + ((i + 0.5) * block) / kls.length,
  })));
  const boundaries = steps.map(({ update }, nth) => ({ update, x: STEPS_LEFT + nth * block, skipped: nth ? update - steps[nth - 1].update - 1 : 0 }));
  return { dots, boundaries, block, y };
}

const nearestStep = ({ dots }, x) => dots.reduce((best, dot) => (!best || Math.abs(dot.x - x) < Math.abs(best.x - x) ? dot : best), null);

function drawSteps(picture, size, board, past, seen) {
  const { width, height } = size;
  picture.replaceChildren();
  picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const steps = past.update === seen.update ? past.steps ?? [] : [];
  if (!steps.length || !width) return null;
  let [, high] = board.get("series").ranges?.approx_kl ?? [0, 0.02];
  const most = Math.max(...steps.flatMap(({ kls }) => kls));
  while (high < most) high *= 2;
  const places = stepPlaces(steps, size, high);
  const inBatch = new Set(seen.rows.map(([update]) => update));
  draw("text", { class: "ex-tick", x: STEPS_LEFT - 4, y: STEPS_TOP + 7, "text-anchor": "end", text: format(high, 3) }, picture);
  draw("text", { class: "ex-tick", x: STEPS_LEFT - 4, y: places.y(high / 4) + 4, "text-anchor": "end", text: format(high / 4, 3) }, picture);
  draw("text", { class: "ex-tick", x: STEPS_LEFT - 4, y: height - 3, "text-anchor": "end", text: "0" }, picture);
  draw("line", { class: "ex-axis", x1: STEPS_LEFT, x2: width, y1: height - 3, y2: height - 3 }, picture);
  for (const { update, x, skipped } of places.boundaries) {
    if (update === seen.update) draw("rect", { class: "ex-region", x, width: places.block, y: 0, height }, picture);
    draw("line", { class: `ex-boundary${skipped ? " ex-skips" : ""}`, "data-update": update, x1: x, x2: x, y1: 0, y2: height }, picture);
    if (inBatch.has(update)) draw("line", { class: "ex-in-batch", "data-update": update, x1: x + 2, x2: x + places.block - 2, y1: height - 1.5, y2: height - 1.5 }, picture);
    draw("text", { class: update === seen.update ? "ex-edge" : "ex-tick", x: x + 4, y: 11, text: say(board, "ui.update", { update }) }, picture);
  }
  for (const { update } of places.boundaries) {
    const own = places.dots.filter((dot) => dot.update === update);
    draw("path", { class: "ex-line", d: `M${own.map(({ x, y }) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}` }, picture);
    for (const { x, y, epoch } of own) draw("circle", { class: "ex-step", cx: x, cy: y, r: 2.2, "data-update": update, "data-epoch": epoch }, picture);
  }
  const now = places.dots.find(({ update, epoch }) => update === seen.update && epoch === seen.epoch);
  if (now) draw("circle", { class: "ex-ring", cx: now.x, cy: now.y, r: 5 }, picture);
  const told = steps.map(({ update, kls }) => `${say(board, "ui.update", { update })}: ${kls.map((kl) => format(kl, 4)).join(", ")}`);
  picture.setAttribute("aria-label", `${say(board, "ui.time.steps")}. ${told.join("; ")}`);
  return places;
}

// ---------------------------------------------------------------- the same prompt across updates

function paintAnswers({ list, story, kept }, board, past, seen, go) {
  const { prompt, answers = [], update } = past;
  write(story, prompt ? say(board, "ui.time.answers", { prompt }) : say(board, "ui.pin_hint"));
  story.title = story.textContent;
  write(kept, prompt ? say(board, past.kept === past.updates ? "ui.time.all_kept" : "ui.time.some_kept", { kept: past.kept, updates: past.updates, first: past.first }) : "");
  kept.title = say(board, "ui.time.kept_what");
  const stamp = JSON.stringify([answers, update, board.get("language")]);
  if (update !== seen.update || (list.dataset.stamp === stamp && !needsWords(list, board))) return;
  list.dataset.stamp = stamp;
  needsWords(list, board);
  const hadFocus = [...list.querySelectorAll("button")].indexOf(document.activeElement);
  list.replaceChildren(...answers.map((answer) => {
    const score = fixedSigned(answer.score);
    const mean = answer.count > 1 ? say(board, "ui.time.mean", { mean: fixedSigned(answer.mean), count: answer.count }) : "";
    return make("li", {}, make("button", {
      class: "ex-answer", type: "button", title: `${mean}\n${answer.text}`.trim(), "data-update": answer.update, "aria-current": answer.update === update ? "true" : null,
      onclick: () => go(answer.update),
    }, make("span", { class: "ex-muted", text: say(board, "ui.update", { update: answer.update }) }), make("b", { class: answer.score < 0 ? "ex-score ex-less" : "ex-score", text: score }), make("span", { class: "ex-answer-text", text: answer.text.trim() })));
  }));
  if (hadFocus >= 0) list.querySelectorAll("button")[hadFocus]?.focus();
}
