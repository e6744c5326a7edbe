// What the tooltip of a token says: all its numbers, its clip state, and what else could have stood there.

// All numbers of a token, and what else could have stood there.
function tipContent(board, [row, t]) {
  const batch = board.get("batch");
  const index = row * batch.length + t;
  const table = make("div", { class: "ex-numbers" });
  for (const [label, text] of detailsOf(board, [row, t])) table.append(make("span", { text: label }), make("b", { text }));
  const nodes = [
    make("strong", { text: visible(batch.tokens[row][t]) }),
    make("p", { text: say(board, `clip.${clipWord(batch, [row, t])}.long`) }),
    table,
  ];
  nodes.push(make("p", { class: "ex-hint", text: say(board, "ui.tokens.to_ledger") }));
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
