// The inspector. Left: the words that could have stood at the pinned token's place, each under the old, the new and the
// reference policy. Right: how far the policies are apart there, and whether the update moved the token as it should.

export default {
  render(context) {
    return frame(context, "inspector", ["lower", "batch", "pinned", "hovered"], build(context.model));
  },
};

const POLICIES = ["old", "new", "ref"];
const PROMISES = ["neutral", "as_wanted", "against", "unmoved"];
const SIGNS = { neutral: "–", as_wanted: "✓", against: "✗", unmoved: "=" };

const build = (model) => (root, board, sized, leaving, again) => {
  const tabs = lowerTabs(root, board, "inspector", leaving);
  const hint = make("p", { class: "ex-hint" });
  const picture = draw("svg", { class: "ex-picture explorer-inspector-words", role: "group" });
  entersLedger(picture, "ratio");
  const facts = make("div", { class: "ex-inspect-facts" });
  // The token that the button leads to is shown everywhere else while it is pointed at: the words here stay.
  let inside = false;
  facts.addEventListener("mouseover", (event) => {
    inside = Boolean(event.target.closest(".explorer-inspector-furthest"));
    hover(board, inside ? model.get("picture").promise?.furthest ?? null : null);
  });
  facts.addEventListener("mouseleave", () => {
    inside = false;
    hover(board, null);
  });
  const spoken = make("div", { class: "ex-spoken", "aria-live": "polite" });
  const body = make("div", { class: "ex-inspect" }, picture, facts);
  const empty = make("p", { class: "ex-empty" });
  root.append(tabs.node, hint, body, empty, spoken);
  root.exTable = wordTable;
  const size = sized(picture);
  leaving(listen(model, ["picture"], again));

  const refresh = () => {
    if (board.get("lower") !== "inspector") return;
    tabs.paint();
    write(hint, say(board, "ui.panels.inspector.look_for"));
    const [batch, seen, token] = [board.get("batch"), model.get("picture"), inside ? heldOf(board) : focusOf(board)];
    const there = hasBatch(batch) && token && seen.place;
    body.hidden = !there;
    empty.hidden = there;
    write(empty, there ? "" : say(board, hasBatch(batch) ? "ui.pin_hint" : "ui.no_update_yet"));
    // Both come with one change, but in messages of their own: the picture before is not drawn over this batch.
    if (!there || seen.update !== batch.update || seen.epoch !== batch.epoch) return;
    if (size.width) root.dataset.token = token.join(","); // which says what is drawn
    const words = alternativesAt(batch, seen, token);
    picture.setAttribute("aria-label", drawWords(picture, size, board, words, notesOf(board, batch, seen), token));
    paintFacts(facts, board, batch, seen, token);
    if (board.exByKey && document.activeElement === picture) write(spoken, `${picture.getAttribute("aria-label")} ${facts.querySelector(".ex-verdict")?.textContent ?? ""}`);
  };
  return refresh;
};

// The words of the picture, each with its three probabilities; beside them, on each row, the facts of the place.
function wordTable(board, model) {
  const [batch, seen, token] = [board.get("batch"), model.get("picture"), focusOf(board)];
  if (!token || !seen.place || seen.update !== batch.update) return null;
  const { listed, rest } = alternativesAt(batch, seen, token);
  const at = token[0] * batch.length + token[1];
  const facts = [["exact_kl [nats]", "exact_kl"], ["k1 [nats]", "k1"], ["k2 [nats]", "k2"], ["k3 [nats]", "k3"], ["entropy old [nats]", "entropy"], ["advantage", "advantage"], ["log_ratio [nats]", "log_ratio"]].map(([column, name]) => [column, quantityOf(batch, name)?.[at]]);
  facts.push(["entropy new [nats]", real(seen.new_entropy)?.[at]], ["promise", seen.promise ? PROMISES[numbers(seen.promise.states, Uint8Array)[at]] : null]);
  const row = (word, sampled, chances) => [batch.update, token[0] + 1, token[1] + 1, word, sampled, ...POLICIES.map((policy) => chances[policy]), ...facts.map(([, value]) => value)];
  return { columns: ["update", "response", "token", "word", "written", ...POLICIES.map((policy) => `probability ${policy}`), ...facts.map(([column]) => column)], rows: [...listed.map((one) => row(one.word, one.sampled, one)), row("(all others)", false, rest)] };
}

// ---------------------------------------------------------------- what else could have stood there

const real = (view) => numbers(view, Float32Array);

// The words at a place, the likeliest under the old policy first and the token itself always among them; `rest` is what
// is left over for all others. A probability that was not recorded is null.
function alternativesAt(batch, seen, [row, t]) {
  const { count, words, index } = batch.top;
  const at = row * batch.length + t;
  const names = numbers(index, Uint16Array);
  const own = numbers(seen.place, Int8Array)[at];
  const tops = { old: real(batch.top.logprobs), new: real(seen.new_top), ref: real(seen.ref_top) };
  const chance = (logprobs, place) => (logprobs ? Math.exp(logprobs[place]) : null);
  const listed = Array.from({ length: count }, (_, k) => ({
    word: words[names[at * count + k]], sampled: k === own,
    ...Object.fromEntries(POLICIES.map((policy) => [policy, chance(tops[policy], at * count + k)])),
  }));
  const itself = Object.fromEntries(POLICIES.map((policy) => [policy, chance(real(seen[policy]), at)]));
  if (own >= 0) Object.assign(listed[own], itself);
  else listed.push({ word: batch.tokens[row][t], sampled: true, ...itself });
  const left = (policy) => (tops[policy] ? Math.max(0, 1 - listed.reduce((sum, word) => sum + word[policy], 0)) : null);
  return { listed, rest: Object.fromEntries(POLICIES.map((policy) => [policy, left(policy)])) };
}

// Where a row's word and its three bars lie; every bar is on the same fixed scale, from 0 to 1.
function wordRows(width, height, count) {
  const [top, gutter, figure] = [30, Math.min(112, width * 0.19), width > 560 ? 44 : 34];
  const column = (width - gutter) / POLICIES.length;
  const tall = Math.min(36, (height - top - 3) / count);
  return {
    top, tall, gutter, column,
    length: Math.max(8, column - figure - 8),
    y: (i) => top + i * tall,
    x: (policy) => gutter + POLICIES.indexOf(policy) * column,
  };
}

// Why a column has gaps.
function notesOf(board, batch, seen) {
  const last = batch.epoch === batch.epochs + 1;
  return {
    old: "",
    new: seen.new ? (seen.new_top ? "" : say(board, last || !batch.finished ? "ui.inspector.not_recorded" : "ui.inspector.last_step_only")) : say(board, "ui.inspector.not_yet"),
    ref: seen.ref_top ? "" : say(board, "ui.inspector.not_recorded"),
  };
}

// Three columns on one scale. A filled bar is the old policy; the new one's is blue where the word became likelier and
// orange where it became rarer, with a sign beside it and a tick where it was; the reference's is hollow.
function drawWords(picture, { width, height }, board, { listed, rest }, notes, token) {
  picture.replaceChildren();
  const rows = [...listed, { word: say(board, "ui.inspector.others"), others: true, ...rest }];
  const spoken = rows.map((row) => `${row.others ? row.word : visible(row.word)}: ${POLICIES.filter((policy) => row[policy] !== null).map((policy) => `${say(board, `ui.inspector.${policy}`)} ${format(row[policy], 3)}`).join(", ")}`);
  if (!width) return spoken.join("; ");
  picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const at = wordRows(width, height, rows.length);
  for (const policy of POLICIES) {
    draw("text", { class: "ex-lane-title", x: at.x(policy), y: 13, text: say(board, `ui.inspector.${policy}`) }, picture);
    draw("text", { class: "ex-lane-note", x: at.x(policy), y: 25, "data-policy": policy, text: notes[policy] || say(board, "ui.inspector.scale") }, picture);
    for (const share of [0, 1]) {
      const x = at.x(policy) + share * at.length;
      draw("line", { class: "ex-axis", x1: x, x2: x, y1: at.top, y2: at.y(rows.length) }, picture);
    }
  }
  rows.forEach((row, i) => {
    const [y, middle] = [at.y(i), at.y(i) + at.tall / 2];
    const group = draw("g", { class: `ex-inspect-row${row.sampled ? " ex-inspect-own" : ""}`, "data-word": row.others ? "" : row.word }, picture);
    if (row.sampled) draw("rect", { class: "ex-region", x: 0, y, width, height: at.tall }, group);
    if (row.others) draw("line", { class: "ex-axis", x1: 0, x2: width, y1: y, y2: y }, group);
    const name = draw("text", { class: row.others ? "" : "ex-edge", x: 2, y: middle + 4, text: row.others ? row.word : `${row.sampled ? "▸ " : ""}${shorten(visible(row.word), Math.max(6, Math.floor(at.gutter / 6.6) - 1))}` }, group);
    if (!row.others) draw("title", { text: visible(row.word) }, name);
    for (const policy of POLICIES) {
      const value = row[policy];
      const [x, thick] = [at.x(policy), Math.min(14, at.tall - 5, at.tall * 0.5)];
      const change = policy === "new" && value !== null && row.old !== null ? value - row.old : 0;
      const kind = policy !== "new" ? `ex-inspect-${policy}` : change >= 0 ? "ex-bar-more" : "ex-bar-less";
      if (value !== null) draw("rect", { class: kind, x, y: middle - thick / 2, width: Math.max(0.5, clamp(value, 0, 1) * at.length), height: thick, "data-policy": policy, "data-value": value }, group);
      if (policy === "new" && value !== null) draw("path", { class: "ex-inspect-was", d: `M${x + row.old * at.length} ${middle - thick / 2 - 1.5}v${thick + 3}` }, group);
      const sign = Math.abs(change) < 0.0005 ? "" : change > 0 ? "▴" : "▾";
      const number = draw("text", { class: row.sampled ? "ex-edge" : "", x: x + at.length + 4, y: middle + 4, text: value === null ? "–" : `${chanceText(value)}${sign}` }, group);
      if (row.sampled && value !== null) toLedger(number, board, `${policy}_probability`, `${say(board, `quantities.${policy}_probability.label`)} ${number.textContent}`, token);
    }
  });
  return spoken.join("; ");
}

const chanceText = (value) => (value > 0 && value < 0.0005 ? "<.001" : value.toFixed(3).replace(/^0\./, "."));

// ---------------------------------------------------------------- how far apart, and the promise

function paintFacts(facts, board, batch, seen, [row, t]) {
  const at = row * batch.length + t;
  const line = (label, value, key) => {
    const number = make("b", { text: value, "data-fact": key });
    return [make("span", { text: `${label} ` }), toLedger(number, board, key, `${label} ${value}`, [row, t])];
  };
  const known = (name) => quantityOf(batch, name)?.[at];
  const after = real(seen.new_entropy)?.[at];
  facts.replaceChildren(
    make("h3", { text: say(board, "ui.inspector.apart", { word: visible(batch.tokens[row][t]) }) }),
    make("div", { class: "ex-inspect-numbers" },
      ...line(say(board, "quantities.exact_kl.label"), format(known("exact_kl"), 3), "exact_kl"),
      make("div", {}, ...["k1", "k2", "k3"].map((name) => make("span", {}, ...line(name, name === "k1" ? signed(known(name), 3) : format(known(name), 3), name)))),
      ...line(say(board, "ui.inspector.entropy"), `${format(known("entropy"), 3)} → ${format(after, 3)}`, "entropy")),
    make("h3", { text: say(board, "ui.inspector.promise") }),
    ...promiseNodes(board, batch, seen, [row, t]),
  );
}

// What the advantage asked for, what happened, and whether that is the same; then how many tokens went the other way.
function promiseNodes(board, batch, seen, token) {
  const at = token[0] * batch.length + token[1];
  if (!seen.promise) return [make("p", { class: "ex-muted", text: say(board, "ui.inspector.not_yet") })];
  const state = PROMISES[numbers(seen.promise.states, Uint8Array)[at]];
  const advantage = quantityOf(batch, "advantage")[at];
  const moved = real(seen.new)[at] - real(seen.old)[at];
  const way = (value) => (value > 0 ? "up" : value < 0 ? "down" : "neither");
  const opens = { wanted: "advantage", happened: "log_ratio" };
  const line = (key, value, text) =>
    make("div", { class: `ex-inspect-way ${value > 0 ? "ex-more" : value < 0 ? "ex-less" : ""}`, "data-way": key },
      make("span", { text: say(board, `ui.inspector.${key}`) }),
      make("b", { text: say(board, `ui.inspector.${way(value)}`) }), toLedger(make("span", { text }), board, opens[key], `${say(board, `ui.inspector.${key}`)} ${text}`, token));
  const { against, as_wanted: kept, unmoved, neutral, furthest } = seen.promise;
  const counted = say(board, "ui.inspector.against_count", { against, total: against + kept + unmoved + neutral });
  const still = state === "unmoved" ? 0 : moved;
  return [
    line("wanted", advantage, `A ${signed(advantage)}`),
    line("happened", still, `Δlog π ${fixedSigned(moved, 3)}`),
    make("p", { class: "ex-verdict", "data-promise": state, title: state === "against" ? say(board, "ui.inspector.against_why") : null }, make("b", { text: SIGNS[state], "aria-hidden": "true" }), make("span", { text: say(board, `ui.inspector.${state}`) })),
    make("p", { class: "explorer-inspector-against", text: counted }),
    furthest ? make("button", { class: "ex-button explorer-inspector-furthest", type: "button", text: say(board, "ui.inspector.furthest"), onclick: () => pin(board, furthest) }) : "",
  ];
}
