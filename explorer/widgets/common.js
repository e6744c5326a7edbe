// Shared by every view: nodes, the board, words, number formats and colours.
// Text always goes in as text (textContent, attributes), never as markup.

const SVG_NS = "http://www.w3.org/2000/svg";
const [MASKED, INSIDE, OUTSIDE_FLOWS, OUTSIDE_ZERO] = [0, 1, 2, 3];

function make(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name === "class") node.className = value;
    else if (name === "text") node.textContent = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function draw(tag, attributes = {}, parent = null) {
  const node = document.createElementNS(SVG_NS, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") node.textContent = value;
    else node.setAttribute(name, value);
  }
  if (parent) parent.append(node);
  return node;
}

// Say something in a node; the same words again touch nothing, since new text has the browser lay out its panel anew.
function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Give a file to the browser, which keeps it or asks where.
function download(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = make("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}

// ---------------------------------------------------------------- the board

async function openBoard(model) {
  const reference = model.get("board");
  return model.widget_manager.get_model(reference.replace("IPY_MODEL_", ""));
}

// Hear a model's events, or listen to some of the board's traits; returns what stops it.
function hear(model, events, fn) {
  model.on(events, fn);
  return () => model.off(events, fn);
}
const listen = (board, names, fn) => hear(board, names.map((name) => `change:${name}`).join(" "), fn);

const typed = new WeakMap();

// A DataView of the batch as numbers; copied, since a message's buffers need not be aligned.
function numbers(view, Type) {
  if (!view) return null;
  if (!typed.has(view)) {
    const bytes = view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
    typed.set(view, new Type(bytes));
  }
  return typed.get(view);
}

const quantityOf = (batch, name) => numbers(batch.arrays?.[name], Float32Array);

// The exact parts of the gradient, which come after the batch and where they are asked for; null where there are none.
function partsOf(board) {
  const [parts, batch] = [board.get("parts"), board.get("batch")];
  const values = parts?.update === batch.update ? numbers(parts.values, Float32Array) : null;
  return values?.length === batch.rows * batch.length ? values : null;
}
const valuesOf = (board, name) => (name === "gradient_part" ? partsOf(board) : isWholeResponse(name) ? wholeResponseValues(board.get("batch"), name) : quantityOf(board.get("batch"), name));
const statesOf = (batch) => numbers(batch.states, Uint8Array);
const hasBatch = (batch) => Boolean(batch && batch.tokens);

// The quantities that are one number a response, the score and its components, which colour all of its tokens alike.
const isWholeResponse = (name) => name === "score" || name.startsWith("component/");
const wholeResponseNames = (batch) => ["score", ...Object.keys(batch.components ?? {}).map((name) => `component/${name}`)];

function wholeResponseValues(batch, name) {
  const each = name === "score" ? batch.scores : batch.components?.[name.slice("component/".length)];
  if (!each) return null;
  const values = new Float32Array(batch.rows * batch.length);
  each.forEach((number, row) => values.fill(number, row * batch.length, (row + 1) * batch.length));
  return values;
}

// A line of the run: its updates, its values, and the place of the update on screen among them (the last before it, where
// it is not finished yet; -1 where there is none). A long line is thinned, and keeps that update.
function lineOf(board, metric) {
  const line = board.get("series").lines?.[metric];
  const updates = numbers(line?.updates, Int32Array) ?? [];
  const cursor = board.get("run").cursor;
  return { updates, values: numbers(line?.values, Float32Array) ?? [], at: updates.findLastIndex((update) => update <= cursor) };
}

// Whether the page shows a recording and nothing can be trained; that never changes.
const isReplay = (board) => board.get("replay").name !== undefined;

// ---------------------------------------------------------------- words

const lookUp = (words, path) => path.split(".").reduce((node, key) => node?.[key], words);

// A label by its path, with {placeholders} filled in; the path itself shows where one is missing.
function say(board, path, values = {}) {
  const found = lookUp(board.get("words"), path);
  if (typeof found !== "string") return path;
  return found.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

const wholeResponseName = (board, name) => (name === "score" ? say(board, "metrics.objective/score.label") : lookUp(board.get("words"), `components.${name.slice(10)}.label`) ?? name.slice(10));

// What a judge is called: a ready one, a component, one learnt from so many choices, or a recipe that was typed.
const judgeLabel = (board, judge) => (judge.startsWith("{") ? recipeLabel(board, judge) : lookUp(board.get("words"), `judges.${judge}.label`) ?? wholeResponseName(board, `component/${judge}`));

function recipeLabel(board, recipe) {
  const { kind, decided } = JSON.parse(recipe);
  return kind === "learned" ? say(board, "ui.gauge.learned", { count: decided ?? "?" }) : say(board, "ui.gauge.recipe");
}

// What a quantity is called, what it is, and what its scale's ends mean.
function quantityWords(board, name) {
  const [label, description, lowest, highest] = ["label", "what", "low", "high"].map((part) => say(board, `quantities.${name}.${part}`));
  if (!isWholeResponse(name)) return { label, what: description, low: lowest, high: highest };
  const component = wholeResponseName(board, name);
  const what = lookUp(board.get("words"), `components.${name.slice(10)}.definition`) ?? say(board, "ui.tokens.whole_response_what", { name: component });
  return { label: say(board, "ui.tokens.whole_response", { name: component }), what, low: say(board, "ui.tokens.worse"), high: say(board, "ui.tokens.better") };
}

// What the page says where all weights are those of the update times one factor and advantages are whitened.
function scaledWords(board) {
  const { scaled } = board.get("batch");
  if (!scaled) return "";
  const plain = (value) => String(Number(value.toPrecision(3))).replace("-", MINUS);
  const told = scaled.beta ? (scaled.in_loss ? "scaled_loss" : "scaled") : "scaled_free";
  return say(board, `ui.reward.${told}`, { factor: plain(scaled.factor), beta: plain(scaled.beta) });
}

// Whether a node's labels are still those of other words; asks once a change. The words come after the language.
function needsWords(node, board) {
  if (node.exWords === board.get("words")) return false;
  node.exWords = board.get("words");
  return true;
}

// ---------------------------------------------------------------- numbers

const MINUS = "−";

function format(value, digits = 2) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : `${MINUS}∞`;
  const size = Math.abs(value);
  const short = size !== 0 && (size < 10 ** -digits / 2 || size >= 1e5) ? value.toExponential(1) : value.toFixed(digits);
  return short.replaceAll("-", MINUS); // a line would break at the hyphen of an exponent
}

const signed = (value, digits = 2) => (value > 0 ? "+" : "") + format(value, digits);

// An edge of the band of ratios: GSPO's lie so near to 1 that two digits would not tell them apart from it.
const edgeText = (edge) => format(edge, Math.abs(edge - 1) < 0.01 ? 4 : 2);

// A signed number for a place of fixed width, never in powers of ten; and a word for one.
const fixedSigned = (value, digits = 2) => `${value > 0 ? "+" : ""}${value.toFixed(digits).replace("-", MINUS)}`;
const shorten = (word, most) => (word.length > most ? `${word.slice(0, most - 1)}…` : word);

// ---------------------------------------------------------------- scales and colours

// Where a value lies on its quantity's fixed scale: -1 to 1 for diverging ones, 0 to 1 for sequential ones.
function position(scale, value) {
  if (scale.kind === "ratio") return value > 0 ? Math.log(value) / Math.log(scale.high) : -1;
  if (scale.kind === "diverging") return value / scale.high;
  return (value - scale.low) / (scale.high - scale.low);
}

// The scale on which a quantity colours the strip: the fixed one, or the one that was fitted to a batch. The score and its
// components, of the whole response, have that of rewards.
function scaleOf(board, name) {
  const fixed = board.get("quantities")[isWholeResponse(name) ? "reward" : name];
  const fitted = board.get("fitted")[name];
  return fitted ? { ...fixed, low: fitted[0], high: fitted[1] } : fixed;
}

const clamp = (x, low, high) => Math.min(high, Math.max(low, x));

const TINTS = 20; // steps of a colour: a class each, since to set 4,096 styles takes five times as long

// Blue for more, orange for less, paler towards the middle; the ink stays legible on all of them in both themes.
function tint(scale, value) {
  const at = clamp(position(scale, value), -1, 1);
  const step = Math.round(Math.abs(at) ** 0.8 * TINTS);
  return step > 0 ? `${at > 0 ? "ex-tint-more" : "ex-tint-less"} ex-tint-${step}` : "";
}
