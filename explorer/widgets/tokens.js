// The responses as strips of tokens. Background: the chosen quantity. Wedge underneath: the clip state.

export default {
  render(context) {
    return frame(context, "tokens", ["batch", "pinned", "quantity", "hovered", "run", "parts", "strip", "fitted"], build);
  },
};

function build(root, board, sized, leaving) {
  const title = make("h2");
  const menus = stripMenus(board);
  const legend = stripLegend(board);
  const list = make("div", { class: "ex-responses", role: "listbox", tabindex: "0" });
  const spoken = make("div", { class: "ex-spoken", "aria-live": "polite" });
  const tip = tooltip(root);
  root.append(make("header", { class: "ex-head" }, title, menus.node), legend.node, list, spoken);
  joinPinned(root, board, leaving);

  let rows = []; // by response, whatever the order on screen
  let painted = null;
  let ordered = null;
  let placed = null;
  let marked = [];
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
    pin(board, token);
    openLedger(board, board.get("quantity"));
  });
  list.addEventListener("keydown", (event) => event.key === "Enter" && pinnedOf(board) && openLedger(board, board.get("quantity")));
  list.addEventListener("focus", () => (board.exByKey = list.matches(":focus-visible")));
  list.addEventListener("mousedown", () => (board.exByKey = false));
  list.addEventListener("blur", () => tip.hide());

  // One row a response, reused from batch to batch, so that training moves no node that need not move.
  const ensureRows = (batch) => {
    while (rows.length < batch.rows) rows.push(newRow());
    rows.length = batch.rows;
    for (const [r, row] of rows.entries()) {
      const count = batch.tokens[r].length;
      if (row.tokens.length < count) {
        const fresh = [];
        while (row.tokens.length < count) {
          const span = make("span", { class: "ex-token", role: "option", "data-row": r, "data-t": row.tokens.length });
          [span.gap, span.word] = [document.createTextNode(""), document.createTextNode("")];
          span.append(span.word);
          row.tokens.push(span);
          fresh.push(span.gap, span);
        }
        row.padding.before(...fresh);
      }
      while (row.tokens.length > count) dropToken(row.tokens.pop());
    }
  };

  const paintTokens = (batch, name) => {
    const values = valuesOf(board, name);
    const [states, ratios, scale] = [statesOf(batch), quantityOf(batch, "ratio"), scaleOf(board, name)];
    const turned = turnedTokens(batch, ghostOf(board))?.turned;
    for (const [r, row] of rows.entries()) {
      const score = batch.scores?.[r];
      write(row.score, score === undefined ? "" : signed(score));
      row.score.classList.toggle("ex-less", score < 0);
      const padded = batch.length - row.tokens.length;
      write(row.padding, padded ? `×${padded}` : "");
      for (let t = 0; t < row.tokens.length; t += 1) {
        const span = row.tokens[t];
        const index = r * batch.length + t;
        if (span.exWord !== batch.tokens[r][t]) {
          span.exWord = batch.tokens[r][t];
          // The space before a word stands outside its box, so that a box never hangs over the end of a line.
          const whole = span.exWord.replace(/\n/g, "↵");
          const gap = whole.length > 1 && whole.startsWith(" ") ? " " : "";
          if (span.gap.data !== gap) span.gap.data = gap;
          span.word.data = whole.slice(gap.length);
          if (span.exWord.trim()) span.removeAttribute("aria-label");
          else span.setAttribute("aria-label", visible(span.exWord)); // a space alone has no name
        }
        const colour = values ? tint(scale, values[index]) : "";
        if (span.exColour !== colour) span.className = (span.exColour = colour) ? `ex-token ${colour}` : "ex-token";
        if (span.exState !== states[index]) span.dataset.state = span.exState = states[index];
        const side = span.exState < OUTSIDE_FLOWS ? "" : sideOf(batch, ratios, r, index);
        if (span.exSide !== side) span.dataset.side = span.exSide = side;
        const other = Boolean(turned?.[index]);
        if (other !== Boolean(span.exTurned)) span.toggleAttribute("data-turned", (span.exTurned = other));
      }
    }
  };

  // Where each response stands; only what has moved is moved.
  const place = (batch) => {
    const { order, groups, found } = board.exStrip;
    for (const [r, row] of rows.entries()) {
      paintPrompt(row, batch.prompts[r], found[r].prompt);
      row.tokens.forEach((span, t) => {
        const is = found[r].tokens.has(t);
        if (is !== Boolean(span.exFound)) span.toggleAttribute("data-found", (span.exFound = is));
      });
    }
    const nodes = groups ? groups.flatMap((group) => [groupHead(board, batch, group, found), ...group.rows.map((r) => rows[r].line)]) : order.map((r) => rows[r].line);
    if (!nodes.length) nodes.push(make("p", { class: "ex-empty", text: say(board, "ui.tokens.none") }));
    if (nodes.length !== list.childElementCount || nodes.some((node, i) => node !== list.children[i])) list.replaceChildren(...nodes);
    list.classList.toggle("ex-grouped", Boolean(groups));
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
      const token = pinned && focusOf(board) && spanExists(batch, pinned) ? tokenLine(board, pinned) : "";
      write(spoken, [moved ? `${say(board, "ui.update", { update: batch.update })}, ${epochWords(board, batch)}.` : "", token].filter(Boolean).join(" "));
    }
    heard = now;
  };

  return () => {
    const batch = board.get("batch");
    const name = board.get("quantity");
    write(title, say(board, "ui.panels.tokens.title"));
    list.setAttribute("aria-label", `${say(board, "ui.panels.tokens.title")}. ${say(board, "ui.pin_hint")}`);
    menus.paint(batch);
    if (!hasBatch(batch)) {
      rows = [];
      painted = ordered = placed = null;
      list.replaceChildren(make("p", { class: "ex-empty", text: say(board, "ui.no_update_yet") }));
      legend.paint(batch, name);
      return;
    }
    const waiting = board.get("run").phase === "loading" && board.get("run").edited;
    write(legend.badge, waiting ? say(board, isReplay(board) ? "ui.replay_loading" : "ui.what_if_loading") : rescoredWords(board, batch));
    const stamp = [batch, name, board.get("words"), board.get("parts"), board.get("fitted")];
    if (!painted || stamp.some((part, i) => part !== painted[i])) {
      painted = stamp;
      legend.paint(batch, name);
      ensureRows(batch);
      paintTokens(batch, name);
    }
    const choice = choiceOf(board);
    const order = [samplesOf(batch), JSON.stringify(choice), choice.by === "shown" ? name : ""].join("\n");
    if (order !== ordered) board.exStrip = orderOf(batch, choice, valuesOf(board, name));
    if (order !== ordered || placed !== board.get("words")) {
      [ordered, placed] = [order, board.get("words")];
      place(batch);
      write(legend.shown, shownWords(board, batch, choice));
    }
    paintSelection(batch);
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

const SPOKEN_WITHIN = 3000; // milliseconds from a key to what it brings on screen

const spanExists = (batch, [row, t]) => row < batch.rows && t < batch.tokens[row].length;

function newRow() {
  const score = make("span", { class: "ex-score" });
  const prompt = make("span", { class: "ex-prompt" });
  const padding = make("span", { class: "ex-padding" });
  return { line: make("div", { class: "ex-response" }, score, prompt, padding), score, prompt, padding, tokens: [] };
}

function dropToken(span) {
  span.gap.remove();
  span.remove();
}

// A prompt with the stretches marked that were looked for.
function paintPrompt({ prompt: node }, text, stretches) {
  const stamp = `${text}\n${stretches.join(" ")}`;
  if (node.exStamp === stamp) return;
  node.exStamp = stamp;
  const parts = [];
  let from = 0;
  for (const [start, end] of stretches) {
    parts.push(text.slice(from, start), make("mark", { text: text.slice(start, end) }));
    from = end;
  }
  node.replaceChildren(...parts, text.slice(from));
}

// What the responses below have in common, and their mean score.
function groupHead(board, batch, { prompt, rows }, found) {
  const text = make("span", { class: "ex-prompt" });
  paintPrompt({ prompt: text }, prompt, found[rows[0]].prompt);
  const mean = batch.scores && rows.reduce((sum, row) => sum + batch.scores[row], 0) / rows.length;
  const numbers = batch.scores ? say(board, "ui.tokens.group_of", { count: rows.length, mean: signed(mean) }) : `× ${rows.length}`;
  return make("div", { class: "ex-group-head" }, text, " ", make("span", { class: "ex-muted", text: numbers }));
}

function shownWords(board, batch, { find, only }) {
  const { order, matches } = board.exStrip;
  const values = { shown: order.length, total: batch.rows, matches };
  return find ? say(board, "ui.tokens.found", values) : only === "all" ? "" : say(board, "ui.tokens.shown", values);
}

const epochWords = (board, { epoch, epochs }) => say(board, epoch > epochs ? "ui.after_update" : "ui.before_step", { epoch });
