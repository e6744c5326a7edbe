// One response of the strip: its score, its prompt, its tokens and its padding, in nodes that are kept from batch to batch.

// Paints a row: its score and its padding, and every token's text, colour and mark. Only what has changed is written.
function rowPainter(board, batch, name) {
  const [values, states, ratios, advantages] = [valuesOf(board, name), statesOf(batch), quantityOf(batch, "ratio"), quantityOf(batch, "advantage")];
  const [scale, turned] = [scaleOf(board, name), turnedTokens(batch, ghostOf(board))?.turned];
  return (row, r) => {
    const texts = batch.tokens[r];
    growRow(row, r, texts.length);
    paintScore(board, row.score, r, batch.scores?.[r]);
    const padded = batch.length - texts.length;
    write(row.padding, padded ? `×${padded}` : "");
    for (let t = 0; t < texts.length; t += 1) {
      const span = row.tokens[t];
      const index = r * batch.length + t;
      if (span.exWord !== texts[t]) paintWord(span, texts[t]);
      const state = states[index];
      const side = state < OUTSIDE_FLOWS ? pushOf(advantages, index) : sideOf(batch, ratios, r, index);
      const colour = values ? tint(scale, values[index]) : "";
      if (span.exColour !== colour) span.className = (span.exColour = colour) ? `ex-token ${colour}` : "ex-token";
      if (span.exState !== state) span.setAttribute("data-state", (span.exState = state));
      if (span.exSide !== side) span.setAttribute("data-side", (span.exSide = side));
      const other = Boolean(turned?.[index]);
      if (other !== Boolean(span.exTurned)) span.toggleAttribute("data-turned", (span.exTurned = other));
    }
  };
}

// A response's score, which opens the ledger where it was made. Inside the list it is one of the list's options.
function paintScore(board, node, r, score) {
  const text = score === undefined ? "" : signed(score);
  const otherWords = needsWords(node, board);
  if (node.textContent === text && !otherWords) return;
  write(node, text);
  node.classList.toggle("ex-less", score < 0);
  if (text) toLedger(node, board, "score", say(board, "ui.tokens.score_of", { response: r + 1, score: text }), r, { stop: node.tabIndex });
  else ["data-ledger", "aria-label"].forEach((name) => node.removeAttribute(name));
  node.setAttribute("role", "option");
}

// A row of so many tokens.
function growRow(row, r, count) {
  const fresh = [];
  while (row.tokens.length < count) {
    const span = make("span", { class: "ex-token", role: "option", "data-row": r, "data-t": row.tokens.length });
    [span.gap, span.word] = [document.createTextNode(""), document.createTextNode("")];
    span.append(span.word);
    row.tokens.push(span);
    fresh.push(span.gap, span);
  }
  if (fresh.length) row.padding.before(...fresh);
  while (row.tokens.length > count) dropToken(row.tokens.pop());
}

// How a token's text is written: the space before a word stands outside its box, so that a box never hangs over the end of
// a line; and a space alone has no name for who listens.
const WRITTEN = new Map();
function writtenOf(text) {
  let found = WRITTEN.get(text);
  if (!found) {
    const whole = text.replace(/\n/g, "↵");
    const gap = whole.length > 1 && whole.startsWith(" ") ? " " : "";
    WRITTEN.set(text, (found = { gap, word: whole.slice(gap.length), name: text.trim() ? null : visible(text) }));
  }
  return found;
}

function paintWord(span, text) {
  const { gap, word, name } = writtenOf(text);
  span.exWord = text;
  if (span.gap.data !== gap) span.gap.data = gap;
  if (span.word.data !== word) span.word.data = word;
  if (name === (span.exName ?? null)) return;
  span.exName = name;
  if (name === null) span.removeAttribute("aria-label");
  else span.setAttribute("aria-label", name);
}

function newRow() {
  const score = make("span", { class: "ex-score", role: "option", tabindex: "-1" });
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
