// The responses as strips of tokens. Background: the chosen quantity. Wedge underneath: the clip state.

export default {
  render(context) {
    return frame(context, "tokens", ["batch", "pinned", "quantity", "hovered", "run", "parts", "strip", "fitted"], build);
  },
};

function build(root, board, sized, leaving, again) {
  const title = make("h2");
  const menus = stripMenus(board);
  const legend = stripLegend(board, menus.cut.node);
  const list = make("div", { class: "ex-responses", role: "listbox", tabindex: "0" });
  const spoken = make("div", { class: "ex-spoken", "aria-live": "polite" });
  const tip = tooltip(root);
  root.append(make("header", { class: "ex-head" }, title, menus.node), legend.node, list, spoken);
  joinPinned(root, board, leaving);

  let rows = []; // by response, whatever the order on screen
  let painted = null;
  let ordered = null;
  let placed = null;
  let waiting = []; // the responses that are still to be painted; null while that is not known
  let marked = [];
  let stopped = null; // the one score that Tab stops at: that of the pinned response, else the first
  const tokenAt = (event) => {
    const span = event.target.closest?.(".ex-token");
    return span ? [Number(span.dataset.row), Number(span.dataset.t)] : null;
  };
  list.addEventListener("mouseover", (event) => hover(board, tokenAt(event)));
  list.addEventListener("mouseleave", () => hover(board, null));
  list.addEventListener("click", (event) => {
    const token = tokenAt(event);
    if (token) pin(board, sameToken(token, pinnedOf(board)) ? null : token);
  });
  list.addEventListener("dblclick", (event) => {
    const token = tokenAt(event);
    if (!token) return;
    openLedger(board, board.get("quantity"), token);
  });
  list.addEventListener("focus", () => (board.exByKey = list.matches(":focus-visible")));
  list.addEventListener("mousedown", () => (board.exByKey = false));
  list.addEventListener("blur", () => tip.hide());

  // One row a response, reused from batch to batch, so that training moves no node that need not move.
  const ensureRows = (batch) => {
    while (rows.length < batch.rows) rows.push(newRow());
    rows.length = batch.rows;
  };

  // Paint the rows that wait, those on top first, as many as a frame has time for; whether all are painted.
  const paintWaiting = (batch, name) => {
    const paint = rowPainter(board, batch, name);
    let tokens = 0;
    while (waiting.length && tokens < AT_A_TIME) {
      const r = waiting.shift();
      paint(rows[r], r);
      markFound(rows[r], r);
      tokens += rows[r].tokens.length;
    }
    return !waiting.length;
  };

  const markFound = (row, r) => {
    const { tokens } = board.exStrip.found[r];
    if (!tokens.size && !row.hasFound) return;
    row.hasFound = tokens.size > 0;
    row.tokens.forEach((span, t) => {
      const is = tokens.has(t);
      if (is !== Boolean(span.exFound)) span.toggleAttribute("data-found", (span.exFound = is));
    });
  };

  // Where each response stands; only what has moved is moved.
  const place = (batch) => {
    const { order, groups, found } = board.exStrip;
    for (const [r, row] of rows.entries()) {
      paintPrompt(row, batch.prompts[r], found[r].prompt);
      markFound(row, r);
    }
    const nodes = groups ? groups.flatMap((group) => [groupHead(board, batch, group, found), ...group.rows.map((r) => rows[r].line)]) : order.map((r) => rows[r].line);
    if (!nodes.length) nodes.push(make("p", { class: "ex-empty", text: noneWords(board) }));
    if (nodes.length !== list.childElementCount || nodes.some((node, i) => node !== list.children[i])) list.replaceChildren(...nodes);
    list.classList.toggle("ex-grouped", Boolean(groups));
  };

  // Every response, those in sight first. How far down that is, is noted as the list is scrolled: to ask for it while
  // painting would have the page laid out.
  let down = 0;
  list.addEventListener("scroll", () => (down = list.scrollTop / Math.max(list.scrollHeight, 1)), { passive: true });
  const seenFirst = () => {
    const { order } = board.exStrip;
    const top = Math.max(0, Math.floor(down * order.length) - 1);
    return [...new Set([...order.slice(top), ...order, ...rows.keys()])];
  };

  const paintSelection = (batch) => {
    for (const span of marked) {
      span.classList.remove("ex-pinned", "ex-hovered");
      span.removeAttribute("aria-selected");
    }
    const spanOf = (token) => (token ? rows[token[0]]?.tokens[token[1]] : null);
    const [hovered, pinned] = [spanOf(hoveredOf(board)), spanOf(pinnedOf(board))];
    marked = [hovered, pinned].filter(Boolean);
    hovered?.classList.add("ex-hovered");
    pinned?.classList.add("ex-pinned");
    pinned?.setAttribute("aria-selected", "true");
    if (pinned && board.exWalked) pinned.scrollIntoView({ block: "nearest" });
    board.exWalked = false;
    const there = (row) => rows[row]?.score.dataset.ledger && rows[row].line.isConnected;
    const stop = rows[[pinnedOf(board)?.[0], board.exStrip.order[0]].find(there)]?.score ?? null;
    if (stop !== stopped) {
      const held = document.activeElement === stopped;
      if (stopped) stopped.tabIndex = -1;
      if (stop) stop.tabIndex = 0;
      stopped = stop;
      if (held) stop?.focus({ preventScroll: true });
    }
    const shown = list.matches(":hover") ? hovered : board.exByKey && document.activeElement === list ? pinned : null;
    if (shown?.isConnected) tip.show(tipContent(board, [Number(shown.dataset.row), Number(shown.dataset.t)]), shown);
    else tip.hide();
  };

  let heard = {};
  // A step by key is said aloud: the token, and the update and epoch where they have changed; training alone says nothing.
  const speak = (batch) => {
    const pinned = pinnedOf(board);
    const now = { time: `${batch.update} ${batch.epoch}`, token: String(pinned) };
    const moved = now.time !== heard.time;
    if ((moved || now.token !== heard.token) && performance.now() - (board.exKeyed ?? -Infinity) < SPOKEN_WITHIN) {
      const token = heldOf(board) ? tokenLine(board, pinned) : "";
      write(spoken, [moved ? `${say(board, "ui.update", { update: batch.update })}, ${epochWords(board, batch)}.` : "", token].filter(Boolean).join(" "));
    }
    heard = now;
  };

  return () => {
    const batch = board.get("batch");
    const name = board.get("quantity");
    list.dataset.enter = name;
    write(title, say(board, "ui.panels.tokens.title"));
    list.setAttribute("aria-label", `${say(board, "ui.panels.tokens.title")}. ${say(board, "ui.pin_hint")}`);
    menus.paint(batch);
    if (!hasBatch(batch)) {
      rows = [];
      painted = ordered = placed = null;
      waiting = [];
      list.replaceChildren(make("p", { class: "ex-empty", text: say(board, "ui.no_update_yet") }));
      legend.paint(batch, name);
      return;
    }
    const loading = board.get("run").phase === "loading" && board.get("run").edited;
    write(legend.badge, loading ? say(board, isReplay(board) ? "ui.replay_loading" : "ui.what_if_loading") : rescoredWords(board, batch));
    const stamp = [batch, name, board.get("words"), board.get("parts"), board.get("fitted")];
    if (!painted || stamp.some((part, i) => part !== painted[i])) {
      painted = stamp;
      legend.paint(batch, name);
      ensureRows(batch);
      waiting = null;
    }
    const choice = choiceOf(board);
    const order = [samplesOf(batch), JSON.stringify(choice), [choice.by, choice.cut?.by].includes("shown") ? name : ""].join("\n");
    if (order !== ordered) board.exStrip = orderOf(batch, choice, valuesOf(board, name));
    if (order !== ordered || placed !== board.get("words")) {
      [ordered, placed] = [order, board.get("words")];
      place(batch);
      write(legend.shown, shownWords(board, batch, choice));
      menus.cut.paintRange(board.exStrip.range);
    }
    waiting ??= seenFirst();
    const done = paintWaiting(batch, name);
    paintSelection(batch);
    if (!done) return again();
    speak(batch);
    root.dataset.update = batch.update;
    if (board.exDrawn !== batch) {
      board.exDrawn = batch;
      if (!board.get("drawn")) {
        board.set("drawn", 1);
        board.save_changes();
      }
    }
  };
}

const AT_A_TIME = 1024; // tokens that are painted in one frame: in more, its script would take longer than a frame
const SPOKEN_WITHIN = 3000; // milliseconds from a key to what it brings on screen

// Why no response is left, where a number alone has filtered them all out.
function noneWords(board) {
  const [{ find, cut }, { range }] = [choiceOf(board), board.exStrip];
  if (find || !cut || !range) return say(board, "ui.tokens.none");
  const sign = cut.least ? "≥" : "≤";
  return say(board, "ui.tokens.none_by", { name: sortWords(board, cut.by), sign, limit: String(cut.limit).replace("-", MINUS), ...rangeWords(range) });
}

function shownWords(board, batch, { find, only, cut }) {
  const { order, matches } = board.exStrip;
  const values = { shown: order.length, total: batch.rows, matches };
  return find ? say(board, "ui.tokens.found", values) : only === "all" ? "" : say(board, cut ? "ui.tokens.shown_by" : "ui.tokens.shown", values);
}

const epochWords = (board, { epoch, epochs }) => say(board, epoch > epochs ? "ui.after_update" : "ui.before_step", { epoch });
