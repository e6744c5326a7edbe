// The one selection of a page, {response, token}: hovering, pinning, walking by key, and a token's numbers in words.

const sameToken = (a, b) => Boolean(a && b && a[0] === b[0] && a[1] === b[1]);
const pinnedOf = (board) => (board.get("pinned")?.length === 2 ? board.get("pinned") : null);
const hoveredOf = (board) => board.exHover ?? null;

// The token whose numbers are shown: the hovered one, else the pinned one, where the batch has it.
function focusOf(board) {
  const batch = board.get("batch");
  for (const token of [hoveredOf(board), pinnedOf(board)]) {
    if (token && hasBatch(batch) && token[0] < batch.rows && token[1] < batch.tokens[token[0]].length) return token;
  }
  return null;
}

function hover(board, token) {
  if (sameToken(hoveredOf(board), token) || hoveredOf(board) === token) return;
  board.exHover = token;
  board.trigger("change:hovered");
}

function pin(board, token) {
  board.set("pinned", token ?? []);
  board.save_changes();
}

// Arrow keys walk from token to token, Esc lets go; returns whether the key was used.
function walk(board, event) {
  const batch = board.get("batch");
  if (!hasBatch(batch)) return false;
  const at = pinnedOf(board);
  if (event.key === "Escape") {
    pin(board, null);
    return true;
  }
  const moves = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
  if (!(event.key in moves) || event.altKey || event.ctrlKey || event.metaKey) return false;
  if (!at) {
    pin(board, [0, 0]);
    return true;
  }
  const row = clamp(at[0] + moves[event.key][0], 0, batch.rows - 1);
  pin(board, [row, clamp(at[1] + moves[event.key][1], 0, batch.tokens[row].length - 1)]);
  return true;
}

// What a token looks like in a line of its own: spaces and line breaks made visible.
const visible = (text) => text.replace(/\n/g, "↵").replace(/^ /, "").replace(/\t/g, "⇥") || "␣";

const DETAILS = [
  "ratio", "advantage", "raw_advantage", "reward", "ref_kl", "value", "return", "delta",
  "old_probability", "new_probability", "ref_probability", "entropy", "k1", "k2",
  "k3", "exact_kl", "gradient_share", "gradient_part",
];

const CLIP_WORDS = { [INSIDE]: "inside", [OUTSIDE_FLOWS]: "outside_flows", [OUTSIDE_ZERO]: "outside_zero" };

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
    const digits = name === "gradient_share" ? 4 : 3;
    const text = scale?.kind === "diverging" ? signed(values[index], digits) : format(values[index], digits);
    lines.push([say(board, `quantities.${name}.label`), text + unit, name]);
  }
  return lines;
}

function tokenLine(board, [row, t]) {
  const batch = board.get("batch");
  const state = statesOf(batch)[row * batch.length + t];
  const parts = detailsOf(board, [row, t]).slice(0, 6).map(([label, text]) => `${label} ${text}`);
  return `“${visible(batch.tokens[row][t])}”: ${parts.join(", ")}. ${say(board, `clip.${CLIP_WORDS[state]}.long`)}`;
}
