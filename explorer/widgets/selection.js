// The one selection of a page: {response, token} here, {update, epoch} in the kernel's cursor. Hovering, pinning, walking
// by key, and a token's numbers in words.

const sameToken = (a, b) => Boolean(a && b && a[0] === b[0] && a[1] === b[1]);
const pinnedOf = (board) => (board.get("pinned")?.length === 2 ? board.get("pinned") : null);
const hoveredOf = (board) => board.exHover ?? null;

// The token whose numbers are shown: the hovered one, else the pinned one, where the batch has it.
const focusOf = (board) => [hoveredOf(board), pinnedOf(board)].find((token) => isThere(board.get("batch"), token)) ?? null;

// The pinned one alone, for a panel whose own parts are pointed at.
const heldOf = (board) => (isThere(board.get("batch"), pinnedOf(board)) ? pinnedOf(board) : null);

const isThere = (batch, token) => Boolean(token && hasBatch(batch) && token[0] < batch.rows && token[1] < batch.tokens[token[0]].length);

function hover(board, token) {
  if (sameToken(hoveredOf(board), token) || hoveredOf(board) === token) return;
  board.exHover = token;
  board.trigger("change:hovered");
}

function pin(board, token) {
  board.set("pinned", token ?? []);
  board.save_changes();
}

// Arrow keys walk from token to token, up and down in the order on screen; Esc lets go. Returns whether the key was used.
function walk(board, key) {
  const batch = board.get("batch");
  if (!hasBatch(batch)) return false;
  const at = pinnedOf(board);
  if (key === "Escape") {
    if (at) pin(board, null);
    return Boolean(at);
  }
  const order = board.exStrip?.order ?? [...batch.tokens.keys()];
  if (!order.length) return false;
  const place = at ? order.indexOf(at[0]) : -1;
  if (place < 0) {
    pin(board, [order[0], 0]);
    return true;
  }
  const [down, right] = ARROWS[key];
  const row = order[clamp(place + down, 0, order.length - 1)];
  pin(board, [row, clamp(at[1] + right, 0, batch.tokens[row].length - 1)]);
  return true;
}

const ARROWS = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };

// What a token looks like in a line of its own: spaces and line breaks made visible.
const visible = (text) => text.replace(/\n/g, "↵").replace(/^ /, "").replace(/\t/g, "⇥") || "␣";

const DETAILS = [
  "ratio", "advantage", "raw_advantage", "reward", "ref_kl", "value", "return", "delta",
  "old_probability", "new_probability", "ref_probability", "log_ratio", "entropy", "k1", "k2",
  "k3", "exact_kl", "gradient_share", "gradient_part", "age",
];

// Which of the six clip states a token is in, as words: inside, pushed up or down; below or above the band, with a gradient
// or without.
const CLIP_WORDS = { 1: "inside", up1: "inside_up", down1: "inside_down", low2: "below_flows", low3: "below_zero", high2: "above_flows", high3: "above_zero" };

// Whether the ratio that the objective looks at, GSPO's being the whole response's, is below 1 or above.
const sideOf = (batch, ratios, row, index) => ((batch.response_ratios?.[row] ?? ratios?.[index] ?? 1) < 1 ? "low" : "high");

// Where the advantage pushes a token; "" where it does not, or is not known yet.
const pushOf = (advantages, index) => (advantages?.[index] > 0 ? "up" : advantages?.[index] < 0 ? "down" : "");

function clipWord(batch, [row, t]) {
  const index = row * batch.length + t;
  const state = statesOf(batch)[index];
  const side = state < OUTSIDE_FLOWS ? pushOf(quantityOf(batch, "advantage"), index) : sideOf(batch, quantityOf(batch, "ratio"), row, index);
  return CLIP_WORDS[`${side}${Math.max(state, INSIDE)}`];
}

// Every number of a token as [label, text] pairs, in the order of the menu.
function detailsOf(board, [row, t]) {
  const batch = board.get("batch");
  const index = row * batch.length + t;
  const lines = [];
  for (const name of DETAILS) {
    const values = valuesOf(board, name);
    if (!values) continue;
    const scale = board.get("quantities")[name];
    const unit = scale?.unit ? ` ${say(board, `ui.units.${scale.unit}`)}` : "";
    const digits = { gradient_share: 4, age: 0 }[name] ?? 3;
    const text = scale?.kind === "diverging" ? signed(values[index], digits) : format(values[index], digits);
    lines.push([say(board, `quantities.${name}.label`), text + unit, name]);
  }
  return lines;
}

// A token in a sentence, for who listens.
function tokenLine(board, [row, t]) {
  const batch = board.get("batch");
  const parts = detailsOf(board, [row, t]).slice(0, 6).map(([label, text]) => `${label} ${text}`);
  const place = say(board, "ui.tokens.place", { response: row + 1, token: t + 1 });
  return `“${visible(batch.tokens[row][t])}”, ${place}: ${parts.join(", ")}. ${say(board, `clip.${clipWord(batch, [row, t])}.long`)}`;
}
