// What opens the ledger: every number of a token or of a response, by click, Enter or Space; and a picture of tokens by
// Enter or a double click, at what it is about.

// The lines of the ledger that say where a quantity comes from; of several, the first that the settings have. A quantity
// that is not here has a line of its own name.
const LEDGER_LINES = {
  response_ratio: ["response_ratio", "ratio"], advantage: ["whitened"], raw_advantage: ["advantage"],
  reward: ["reward", "reward_whitened"], return: ["to_go", "return"], gradient_share: ["share"],
  exact_kl: ["exact_kl", "k1"], response_exact_kl: ["response_exact_kl", "response_k1"], // which old recordings lack
};
const ledgerLines = (quantity) => (isWholeResponse(quantity) ? ["score"] : (LEDGER_LINES[quantity] ?? [quantity]));

// Open the ledger where a quantity comes from: of the pinned token, or of another, which is pinned.
function openLedger(board, quantity, token = null) {
  if (token && !sameToken(token, pinnedOf(board))) pin(board, token);
  board.exLedgerLine = ledgerLines(quantity);
  layoutOf(board).fold("lower", false);
  board.set("lower", "ledger");
  board.set("wants_samples", false);
  board.save_changes();
  board.trigger("change:ledger");
}

// Make a node lead there. `words`: what is read there and of what; `token`: [response, token], or a response alone, of
// which it is then the token in hand. `stop`: -1 where Tab is to pass it by.
function toLedger(node, board, quantity, words, token, { stop = 0 } = {}) {
  const name = say(board, "ui.ledger.opens", { what: words });
  const told = { role: "button", tabindex: stop, "data-ledger": quantity, "data-token": String(token), "aria-label": name };
  for (const [key, value] of Object.entries(told)) node.setAttribute(key, value);
  node.classList.add("ex-opens");
  return node;
}

// The token of a response that is in hand: the pinned one, where it is of that response, else the first.
const inHand = (board, row) => [row, pinnedOf(board)?.[0] === row ? pinnedOf(board)[1] : 0];

// Make a picture of tokens answer Enter, where it has the focus, and a double click, or stop it.
function entersLedger(node, quantity) {
  if (quantity === null) ["tabindex", "data-enter", "data-twice", "aria-keyshortcuts"].forEach((name) => node.removeAttribute(name));
  else for (const [name, value] of [["tabindex", 0], ["data-enter", quantity], ["data-twice", quantity], ["aria-keyshortcuts", "Enter"]]) node.setAttribute(name, value);
}

// Heard before a panel's own listeners, for which a click on a number is a click on what lies under it.
function hearOpening(root, board) {
  const open = (event) => {
    const asked = event.target.closest?.("[data-ledger]");
    if (!asked) return;
    event.preventDefault();
    event.stopPropagation();
    const token = asked.dataset.token.split(",").map(Number);
    openLedger(board, asked.dataset.ledger, token.length === 2 ? token : inHand(board, token[0]));
  };
  root.addEventListener("click", open, true);
  root.addEventListener("keydown", (event) => {
    const { key, target, repeat, ctrlKey, altKey, metaKey, shiftKey } = event;
    if (!(key === "Enter" || key === " ") || repeat || ctrlKey || altKey || metaKey || shiftKey) return;
    if (target.dataset?.ledger) open(event);
    else if (key === "Enter" && target.dataset?.enter && heldOf(board)) openLedger(board, target.dataset.enter);
  }, true);
  root.addEventListener("dblclick", ({ target }) => {
    const asked = target.closest?.("[data-twice]");
    if (asked && !target.closest("[data-ledger]") && heldOf(board)) openLedger(board, asked.dataset.twice);
  });
}

// What is drawn anew takes the focus from a number in it. Call this before, and what it returns afterwards: the number
// that is in its place has it then.
function heldNumber(root) {
  const node = document.activeElement;
  if (!node?.dataset?.ledger || !root.contains(node)) return () => {};
  const same = () => [...root.querySelectorAll(`[data-ledger="${node.dataset.ledger}"]`)];
  const nth = same().indexOf(node);
  return () => node.isConnected || same()[nth]?.focus({ preventScroll: true });
}

// Open the article's example, one probability to drag, at its slider.
function openToy(board) {
  layoutOf(board).fold("lower", false);
  board.set("lower", "toy");
  board.set("wants_samples", false);
  board.save_changes();
  board.trigger("change:toy");
}
