// Shared by every view: the board, the theme, number formats, colours, and the one selection {response, token}.
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
const statesOf = (batch) => numbers(batch.states, Uint8Array);
const hasBatch = (batch) => Boolean(batch && batch.tokens);

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
  return short.replace("-", MINUS);
}

const signed = (value, digits = 2) => (value > 0 ? "+" : "") + format(value, digits);

// ---------------------------------------------------------------- scales and colours

// Where a value lies on its quantity's fixed scale: -1 to 1 for diverging ones, 0 to 1 for sequential ones.
function position(scale, value) {
  if (scale.kind === "ratio") return value > 0 ? Math.log(value) / Math.log(scale.high) : -1;
  if (scale.kind === "diverging") return value / scale.high;
  return (value - scale.low) / (scale.high - scale.low);
}

const clamp = (x, low, high) => Math.min(high, Math.max(low, x));

// Blue for more, orange for less, paler towards the middle; the ink stays legible on all of them in both themes.
function tint(scale, value) {
  const at = clamp(position(scale, value), -1, 1);
  if (Math.abs(at) < 0.02) return "";
  return `rgb(var(${at > 0 ? "--ex-blue-rgb" : "--ex-orange-rgb"}) / ${(Math.abs(at) ** 0.8 * 0.62).toFixed(3)})`;
}

// ---------------------------------------------------------------- the selection

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
  "old_probability", "new_probability", "ref_probability", "entropy", "gradient_share",
];

const CLIP_WORDS = { [INSIDE]: "inside", [OUTSIDE_FLOWS]: "outside_flows", [OUTSIDE_ZERO]: "outside_zero" };

// Every number of a token as [label, text] pairs, in the order of the menu.
function detailsOf(board, [row, t]) {
  const batch = board.get("batch");
  const index = row * batch.length + t;
  const lines = [];
  for (const name of DETAILS) {
    const values = quantityOf(batch, name);
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

// ---------------------------------------------------------------- theme and frame

// Whether the host shows a dark page: what it says of itself, else the brightness of its background.
function hostIsDark() {
  const said = document.body.dataset.jpThemeLight;
  if (said) return said === "false";
  if (document.body.classList.contains("theme-dark")) return true;
  const rgb = getComputedStyle(document.body).backgroundColor.match(/[\d.]+/g)?.map(Number) ?? [];
  if (rgb.length < 3 || rgb[3] === 0) return false;
  return 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2] < 128;
}

// The frame of a view: its root with class and theme, kept up to date; `render` runs whenever a listened trait or a size
// changes, when its turn comes, and never while the view has no size. `build` gets `sized(node)`: the node's size, kept
// by the browser, since to ask a node for it while six views draw would have the page laid out six times a frame; and
// `leaving(fn)`: fn is called when the view goes.
async function frame({ model, el }, key, traits, build) {
  const board = await openBoard(model);
  const root = make("section", { class: `explorer-view explorer-${key}`, tabindex: "-1" });
  el.append(root);
  el.classList.add("explorer-slot", `explorer-slot-${key}`);

  const setTheme = () => {
    const chosen = board.get("theme");
    const theme = chosen === "auto" ? (hostIsDark() ? "dark" : "light") : chosen;
    if (root.dataset.theme !== theme) {
      root.dataset.theme = theme;
      soon();
    }
    const page = root.closest(".explorer");
    if (page) page.dataset.theme = theme;
  };
  const watcher = new MutationObserver(setTheme);
  watcher.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "class"] });

  const sizes = new Map();
  const ruler = new ResizeObserver((entries) => {
    for (const { target, contentRect } of entries) {
      Object.assign(sizes.get(target), { width: Math.round(contentRect.width), height: Math.round(contentRect.height) });
    }
    soon();
  });
  const sized = (node) => {
    if (!sizes.has(node)) {
      sizes.set(node, { width: 0, height: 0 });
      ruler.observe(node);
    }
    return sizes.get(node);
  };

  const turns = turnsOf(board);
  const soon = () => turns.ask(root, () => root.isConnected && own.width > 0 && render(), key);
  const own = sized(root);
  setTheme();
  const stops = [listen(board, ["theme"], setTheme), listen(board, [...traits, "words"], soon)];
  const render = build(root, board, sized, (stop) => stops.push(stop));
  requestAnimationFrame(setTheme);
  return () => {
    stops.forEach((stop) => stop());
    turns.drop(root);
    ruler.disconnect();
    watcher.disconnect();
  };
}

function heading(board, path, values) {
  return [
    make("h2", { text: say(board, `ui.panels.${path}.title`, values) }),
    make("p", { class: "ex-hint", text: say(board, `ui.panels.${path}.look_for`, values) }),
  ];
}

// The one tooltip of a view, placed beside the pointer or the focused token and kept on screen. As a popover it lies in
// the browser's top layer, so that a notebook that moves its cells about does not move it too.
function tooltip(root) {
  const box = make("div", { class: "ex-tip", role: "tooltip", hidden: true, popover: "manual" });
  root.append(box);
  return {
    show(nodes, anchor) {
      box.replaceChildren(...nodes);
      box.hidden = false;
      if (box.isConnected && box.showPopover && !box.matches(":popover-open")) box.showPopover();
      const at = anchor.getBoundingClientRect ? anchor.getBoundingClientRect() : anchor;
      const size = box.getBoundingClientRect();
      const below = at.bottom + 8 + size.height < innerHeight;
      box.style.left = `${clamp(at.left, 8, innerWidth - size.width - 8)}px`;
      box.style.top = `${below ? at.bottom + 8 : Math.max(8, at.top - size.height - 8)}px`;
    },
    hide() {
      if (box.hidePopover && box.matches(":popover-open")) box.hidePopover();
      box.hidden = true;
    },
  };
}

// The two panels that share the middle's lower half: a tab row in each, of which one panel shows at a time.
function lowerTabs(root, board, own) {
  const place = () => {
    if (root.parentElement) root.parentElement.hidden = board.get("lower") !== own;
  };
  listen(board, ["lower"], place);
  place();
  const node = make("div", { class: "ex-tabs", role: "tablist" });
  const buttons = ["advantages", "samples"].map((key) =>
    make("button", {
      class: `ex-tab explorer-tab-${key}`, role: "tab", type: "button",
      onclick: () => {
        board.set("lower", key);
        board.set("wants_samples", key === "samples");
        board.save_changes();
      },
    }),
  );
  node.append(...buttons);
  const paint = () =>
    ["advantages", "samples"].forEach((key, i) => {
      write(buttons[i], say(board, `ui.panels.${key}.title`));
      buttons[i].setAttribute("aria-selected", String(key === own));
    });
  return { node, paint };
}
