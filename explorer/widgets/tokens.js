// The responses as strips of tokens. Background: the chosen quantity. Bar underneath: the clip state.

export default {
  render(context) {
    return frame(context, "tokens", ["batch", "pinned", "quantity", "hovered", "run", "parts"], build);
  },
};

function build(root, board) {
  const title = make("h2");
  const menu = make("select", { class: "ex-select explorer-quantity", onchange: () => choose(menu.value) });
  const badge = make("span", { class: "ex-badge" });
  const legend = make("div", { class: "ex-legend" });
  const list = make("div", { class: "ex-responses", role: "listbox", tabindex: "0" });
  const spoken = make("div", { class: "ex-spoken", "aria-live": "polite" });
  const tip = tooltip(root);
  root.append(make("header", { class: "ex-head" }, title, menu, badge), legend, list, spoken);

  let rows = [];
  let painted = null;
  const choose = (name) => {
    board.set("quantity", name);
    board.save_changes();
  };

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
  list.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && pinnedOf(board)) openLedger(board, board.get("quantity"));
    if (!walk(board, event)) return;
    event.preventDefault();
    byKey = true;
  });
  list.addEventListener("focus", () => (byKey = list.matches(":focus-visible")));
  list.addEventListener("mousedown", () => (byKey = false));
  list.addEventListener("blur", () => {
    byKey = false;
    tip.hide();
  });
  let byKey = false;

  // One row a response, reused from batch to batch, so that training moves no node that need not move.
  const ensureRows = (batch) => {
    while (rows.length < batch.rows) {
      const score = make("span", { class: "ex-score" });
      const prompt = make("span", { class: "ex-prompt" });
      const line = make("div", { class: "ex-response" }, score, prompt);
      rows.push({ line, score, prompt, tokens: [] });
    }
    rows.length = batch.rows;
    for (const [r, row] of rows.entries()) {
      while (row.tokens.length < batch.tokens[r].length) {
        const span = make("span", { class: "ex-token", role: "option", "data-row": r, "data-t": row.tokens.length });
        span.gap = document.createTextNode("");
        row.tokens.push(span);
        row.line.append(span.gap, span);
      }
      while (row.tokens.length > batch.tokens[r].length) dropToken(row.tokens.pop());
    }
    if (list.childElementCount !== rows.length) list.replaceChildren(...rows.map((row) => row.line));
  };

  const paintTokens = (batch, name, scale) => {
    const values = valuesOf(board, name);
    const states = statesOf(batch);
    for (const [r, row] of rows.entries()) {
      const score = batch.scores?.[r];
      write(row.score, score === undefined ? "" : signed(score));
      row.score.classList.toggle("ex-less", score < 0);
      write(row.prompt, batch.prompts[r]);
      for (const [t, span] of row.tokens.entries()) {
        const index = r * batch.length + t;
        // The space before a word stands outside its box, so that a box never hangs over the end of a line.
        const whole = batch.tokens[r][t].replace(/\n/g, "↵");
        const gap = whole.length > 1 && whole.startsWith(" ") ? " " : "";
        const text = whole.slice(gap.length);
        if (span.gap.data !== gap) span.gap.data = gap;
        write(span, text);
        const [colour, state] = [values ? tint(scale, values[index]) : "", String(states[index])];
        if (span.exColour !== colour) span.style.background = span.exColour = colour;
        if (span.dataset.state !== state) span.dataset.state = state;
      }
    }
  };

  const paintSelection = (batch) => {
    list.querySelectorAll(".ex-pinned, .ex-hovered").forEach((span) => {
      span.classList.remove("ex-pinned", "ex-hovered");
      span.removeAttribute("aria-selected");
    });
    const spanOf = (token) => (token ? rows[token[0]]?.tokens[token[1]] : null);
    const [hovered, pinned] = [spanOf(hoveredOf(board)), spanOf(pinnedOf(board))];
    hovered?.classList.add("ex-hovered");
    pinned?.classList.add("ex-pinned");
    pinned?.setAttribute("aria-selected", "true");
    if (pinned && byKey) {
      pinned.scrollIntoView({ block: "nearest" });
      write(spoken, tokenLine(board, pinnedOf(board)));
    }
    const shown = list.matches(":hover") ? hovered : byKey ? pinned : null;
    if (shown && hasBatch(batch)) tip.show(tipContent(board, [Number(shown.dataset.row), Number(shown.dataset.t)]), shown);
    else tip.hide();
  };

  return () => {
    const batch = board.get("batch");
    const name = board.get("quantity");
    const scale = board.get("quantities")[name];
    write(title, say(board, "ui.panels.tokens.title"));
    list.setAttribute("aria-label", `${say(board, "ui.panels.tokens.title")}. ${say(board, "ui.pin_hint")}`);
    paintMenu(board, menu, name);
    if (!hasBatch(batch)) {
      rows = [];
      painted = null;
      list.replaceChildren(make("p", { class: "ex-empty", text: say(board, "ui.no_update_yet") }));
      legend.replaceChildren();
      write(badge, "");
      return;
    }
    const waiting = board.get("run").phase === "loading" && board.get("run").edited;
    write(badge, waiting ? say(board, isReplay(board) ? "ui.replay_loading" : "ui.what_if_loading") : rescoredWords(board, batch));
    const stamp = [batch, name, board.get("words"), board.get("parts")];
    if (!painted || stamp.some((part, i) => part !== painted[i])) {
      painted = stamp;
      paintLegend(board, legend, batch, name, scale);
      ensureRows(batch);
      paintTokens(batch, name, scale);
    }
    paintSelection(batch);
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

// What the badge says: that the batch is re-scored, and which settings it has to wait with until the next update.
function rescoredWords(board, batch) {
  const later = board.get("run").later ?? [];
  const names = later.map((name) => say(board, `fields.${name}.label`)).join(", ");
  const parts = [Object.keys(batch.rescored).length ? say(board, "ui.what_if_badge") : "", later.length ? say(board, isReplay(board) ? "ui.replay_lacks" : "ui.what_if_later", { names }) : ""];
  return parts.filter(Boolean).join(" · ");
}

function dropToken(span) {
  span.gap.remove();
  span.remove();
}

function paintMenu(board, menu, chosen) {
  if (needsWords(menu, board)) {
    menu.setAttribute("aria-label", say(board, "ui.colour_by"));
    menu.replaceChildren(
      ...Object.keys(board.get("quantities")).map((name) =>
        make("option", { value: name, text: say(board, `quantities.${name}.label`) }),
      ),
    );
  }
  menu.value = chosen;
  menu.title = say(board, `quantities.${chosen}.what`);
}

function paintLegend(board, legend, batch, name, scale) {
  const diverging = scale.kind !== "sequential";
  const ramp = make("span", { class: `ex-ramp ${diverging ? "ex-diverging" : "ex-sequential"}` });
  if (name === "ratio") {
    for (const edge of batch.clip) {
      const left = clamp((position(scale, edge) + 1) / 2, 0, 1) * 100;
      ramp.append(make("i", { style: `left:${left.toFixed(1)}%`, title: format(edge) }));
    }
  }
  const end = (side, value) =>
    make("span", { text: `${say(board, `quantities.${name}.${side}`)} ${format(value, Math.abs(value) < 0.1 ? 3 : value % 1 ? 2 : 0)}` });
  const bar = (state, path) =>
    make("span", { class: "ex-key" }, make("i", { class: "ex-bar", "data-state": state }), say(board, `clip.${path}.short`));
  legend.replaceChildren(
    make("span", { class: "ex-scale", title: say(board, `quantities.${name}.what`) }, end("low", scale.low), ramp, end("high", scale.high)),
    bar(OUTSIDE_FLOWS, "outside_flows"),
    bar(OUTSIDE_ZERO, "outside_zero"),
    ...(name === "gradient_part" ? [partsLine(board)] : []),
  );
}

// What the parts come to, or why they are not there.
function partsLine(board) {
  const { state, update, nearest, tokens, sum } = board.get("parts");
  const words = state ? say(board, `ui.parts.${state}`, { update, nearest, tokens, sum: format(sum, 3) }) : "";
  return make("span", { class: "explorer-parts", role: "status", "data-state": state ?? "", text: words });
}

// All numbers of a token, and what else could have stood there.
function tipContent(board, [row, t]) {
  const batch = board.get("batch");
  const index = row * batch.length + t;
  const state = statesOf(batch)[index];
  const table = make("div", { class: "ex-numbers" });
  for (const [label, text] of detailsOf(board, [row, t])) table.append(make("span", { text: label }), make("b", { text }));
  const nodes = [
    make("strong", { text: visible(batch.tokens[row][t]) }),
    make("p", { text: say(board, `clip.${CLIP_WORDS[state] ?? "inside"}.long`) }),
    table,
  ];
  const words = alternatives(batch, index);
  if (words.length) {
    nodes.push(
      make("p", { class: "ex-hint", text: `${say(board, "ui.alternatives")} ` }),
      make("p", { class: "ex-alternatives", text: words.slice(0, 6).map(([w, p]) => `${visible(w)} ${format(p)}`).join("   ") }),
    );
  }
  return nodes;
}

function alternatives(batch, index) {
  const { words, count } = batch.top;
  const [ids, logprobs] = [numbers(batch.top.index, Uint16Array), numbers(batch.top.logprobs, Float32Array)];
  return Array.from({ length: count }, (_, k) => [words[ids[index * count + k]], Math.exp(logprobs[index * count + k])]);
}
