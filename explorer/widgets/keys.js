// The keys of a page: arrows walk from token to token, Esc lets go, [ and ] step epochs, comma and full stop updates. They
// act in the explorer that has the focus, and in the one under the pointer where nothing has it; elsewhere, and in form
// fields, every key keeps its meaning. Heard before the notebook hears them, since it would move to another cell.

const STEPS = { ",": { updates: -1 }, ".": { updates: 1 }, "[": { epochs: -1 }, "]": { epochs: 1 } };
const FIELDS = "input, select, textarea, [contenteditable]";
const OWN_ARROWS = "[role=slider], [role=tab], [role=radio], [role=menu], [role=grid], [role=tree], [role=separator]";
const OWN_KEYS = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown"];
const ABOUT_IT = ".explorer-ledger, .explorer-inspector, .explorer-ladder, .ex-formula";
const PRESSED = "button, summary, [data-ledger], [data-enter]";
const SCROLLED = ".ex-ledger-lines"; // up and down move in what is longer than its panel

// Returns what stops it. `send` tells the kernel.
function hearKeys(root, board, send) {
  const heard = (event) => {
    if (root.closest(".explorer")?.contains(event.target)) keepFromNotebook(event);
    if (event.isComposing || ((event.ctrlKey || event.altKey || event.metaKey) && !event.getModifierState("AltGraph"))) return;
    const page = root.closest(".explorer");
    const nowhere = [null, document.body, document.documentElement].includes(document.activeElement);
    if (!page || !(nowhere ? page.matches(":hover") : page.contains(event.target)) || event.target.closest?.(FIELDS)) return;
    if (!take(board, event, page, send)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  };
  window.addEventListener("keydown", heard, true);
  return () => window.removeEventListener("keydown", heard, true);
}

// JupyterLab and Notebook 7 take the arrows of a slider or a tab for their own, to go to another cell or to unfold a heading,
// unless the element says that they are not: for these keys alone, as Ctrl+S is theirs wherever the focus is. Likewise Enter,
// with which they would edit the cell, where it opens something.
function keepFromNotebook({ target, key, ctrlKey, altKey, metaKey, shiftKey }) {
  const plain = !ctrlKey && !altKey && !metaKey;
  const moves = OWN_KEYS.includes(key) && target.closest?.(`${OWN_ARROWS}, ${FIELDS}`);
  const presses = ["Enter", " "].includes(key) && !shiftKey && target.matches?.(PRESSED);
  target.toggleAttribute?.("data-lm-suppress-shortcuts", Boolean(plain && (moves || presses)));
}

// Do what a key asks for; whether it asks for anything.
function take(board, { key, target, repeat }, page, send) {
  if (board.exLabel?.(key, repeat)) return true;
  if ((key === "ArrowUp" || key === "ArrowDown") && target.closest?.(SCROLLED)) return false;
  if (key in ARROWS ? target.closest?.(OWN_ARROWS) : key === "Escape" && page.querySelector(".ex-question:not([hidden]), .ex-menu:popover-open")) return false;
  if (key === "Escape") hideTips(page);
  // What is about the pinned token goes with it, and the focus in there would be nowhere.
  if (key === "Escape" && pinnedOf(board) && target.closest?.(ABOUT_IT)) page.querySelector(".ex-responses")?.focus({ preventScroll: true });
  if (key in STEPS) send("walk", STEPS[key]);
  else if (!(key in ARROWS || key === "Escape") || !walk(board, key)) return false;
  board.exKeyed = performance.now();
  board.exByKey = board.exWalked = key in ARROWS;
  return true;
}

// A key that is taken here is heard by nobody else, by no tooltip either.
function hideTips(page) {
  for (const tip of page.querySelectorAll(".ex-tip:not([hidden])")) {
    if (tip.hidePopover && tip.matches(":popover-open")) tip.hidePopover();
    tip.hidden = true;
  }
}
