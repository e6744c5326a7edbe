// The formula of the token in focus, filled in: the ratio, the branches with a tick on the winner, and whether a gradient
// flows. A part of the clip panel.

// A probability with four significant digits, so that the ratio of two can be checked by hand.
const precise = (value) => (value > 0 ? Number(value.toPrecision(4)).toString() : "0");

// ρ from both probabilities, the objective filled in with a tick on the branch that wins, and whether a gradient flows.
function paintFormula(formula, board, batch) {
  const token = focusOf(board);
  formula.classList.toggle("ex-idle", !token);
  if (!token) {
    formula.replaceChildren(make("span", { class: "ex-hint", text: say(board, hasBatch(batch) ? "ui.pin_hint" : "ui.no_update_yet") }));
    return;
  }
  const [row, t] = token;
  const index = row * batch.length + t;
  // Before the first epoch nothing has moved: the new policy is the old one, and every ratio exactly 1.
  const unmoved = !quantityOf(batch, "ratio");
  const read = (name) => quantityOf(batch, unmoved && name === "new_probability" ? "old_probability" : name)?.[index];
  const [ratio, advantage] = [unmoved ? 1 : read("ratio"), read("advantage")];
  const ghost = ghostOf(board);
  const advantageThen = ghost ? quantityOf(ghost, "advantage")?.[index] : undefined;
  const word = make("span", { class: "ex-word", text: `“${visible(batch.tokens[row][t])}”` });
  const symbol = (kind, text) => make("i", { class: kind, text });
  const leads = (node, line) => toLedger(node, board, line, node.textContent, token);
  const number = (kind, text, line, words = text) => toLedger(make("b", { class: kind, text }), board, line, words, token);
  const chance = (name) => toLedger(make("span", { text: precise(read(name)) }), board, name, `${say(board, `quantities.${name}.label`)} ${precise(read(name))}`, token);
  const response = batch.response_ratios?.[row];
  const quotient = response === undefined ? [chance("new_probability"), " / ", chance("old_probability"), " = "] : [];
  const first = make("div", {}, unit(word, " ", symbol("ex-ratio", "ρ"), " = ", ...quotient, number("ex-ratio", format(ratio, 3), "ratio", `ρ ${format(ratio, 3)}`)));
  if (response !== undefined) first.append(", ", unit(say(board, "ui.formula.response"), " ", symbol("ex-ratio", "s"), " = ", number("ex-ratio", format(response, 4), "response_ratio", `s ${format(response, 4)}`)));
  if (advantage === undefined) {
    formula.replaceChildren(first, make("div", {}, make("span", { class: "ex-hint", text: say(board, "ui.formula.no_advantage_yet") })));
    return;
  }
  const old = advantageThen !== undefined && signed(advantageThen) !== signed(advantage) ? [was(`${signed(advantageThen)} → `)] : [];
  first.append(", ", unit(symbol("ex-adv", "A"), " = ", ...old, number("ex-adv", signed(advantage), "advantage", `A ${signed(advantage)}`)));

  const { parts, total, verdict, kl } = outcome(batch, index, row, ratio, advantage, read("gradient_share") ?? 0);
  const branch = ({ name, value, wins }) => leads(make("span", { class: `ex-branch${wins ? " ex-wins" : ""}` }, ...coloured(name), ` = ${format(value)}${wins ? " ✓" : ""}`), "term");
  const pieces = parts.map((piece) => (piece.name ? [branch(piece)] : coloured(piece)));
  // Of two branches each keeps to its bracket, where the line breaks between them.
  const whole = pieces.length === 5 ? [unit(...pieces[0], ...pieces[1], ","), " ", unit(...pieces[3], ...pieces[4])] : pieces.flat();
  const lines = [first, make("div", {}, ...whole)];
  if (kl) {
    const written = `${MINUS} β·${batch.kl_estimator} = ${MINUS}${format(batch.loss_kl_coef, 3)}·${format(kl.nats, 4)}`;
    lines.push(make("div", {}, unit(leads(make("span", {}, ...coloured(written)), "loss_kl")), ", ", unit(`${say(board, "ui.formula.sum")} ${format(total, 3)}`)));
  }
  const end = leads(make("em", { text: say(board, `ui.formula.${verdict}`) }), "pull");
  lines.at(-1).append(" ", unit("→ ", end));
  if (advantageThen !== undefined) {
    const then = outcome(ghost, index, row, ratio, advantageThen, 0);
    const turned = then.verdict !== verdict;
    if (turned || format(then.total) !== format(total)) {
      const told = { term: format(then.total), verdict: turned ? `, ${say(board, `ui.formula.${then.verdict}`)}` : "" };
      lines.at(-1).append(" ", unit(was(say(board, "ui.formula.was", told))));
    }
  }
  formula.classList.toggle("ex-haunted", Boolean(ghost));
  formula.replaceChildren(...lines);
}

// A formula's text with its symbols in their colours.
const SYMBOLS = { ρ: "ex-ratio", s: "ex-ratio", A: "ex-adv", β: "ex-price" };
const coloured = (text) => text.split(/(ρ|s(?=[A,])|A|β)/).filter(Boolean).map((part) => (part in SYMBOLS ? make("i", { class: SYMBOLS[part], text: part }) : part));

// What a line keeps together when it breaks; and an old number beside the new one.
const unit = (...parts) => make("span", { class: "ex-unit" }, ...parts);
const was = (text) => make("span", { class: "ex-was", text });

// What the objective comes to for a token under a scoring, the batch's own or its ghost's, and whether a gradient flows.
function outcome(scoring, index, row, ratio, advantage, share) {
  const { parts, term, flat } = filledIn(scoring, scoring.response_ratios?.[row] ?? ratio, advantage);
  const kl = lossKl(scoring, index);
  const pulled = advantage !== 0 || share > 0 || Boolean(kl?.price); // a price is paid without an advantage too
  const held = statesOf(scoring)[index] === OUTSIDE_ZERO;
  const verdict = pulled ? (held ? "no_gradient" : whence(scoring, flat || advantage === 0, kl)) : "zero_advantage";
  return { parts, total: term - (kl?.price ?? 0), verdict, kl };
}

// Where a gradient comes from that flows: from elsewhere than the objective's own term, where that is flat.
function whence(batch, flat, kl) {
  if (!flat || batch.objective === "kl_penalty") return "gradient_flows";
  if (batch.objective === "gspo") return kl ? "gradient_flows" : "through_response";
  return kl ? "kl_alone" : "gradient_flows";
}

// What a token pays in the loss for its distance from the reference, in nats and in all; null where the loss has no KL.
function lossKl(batch, index) {
  const nats = numbers(batch.loss_kl, Float32Array)?.[index];
  return nats === undefined ? null : { nats, price: batch.loss_kl_coef * nats };
}

// The objective at one ratio and advantage: its formula as texts and as branches of which one wins, its term, and
// whether the branch that wins is a constant. The bounds of a ratio stand there as numbers.
function filledIn(batch, ratio, advantage) {
  const letter = batch.response_ratios ? "s" : "ρ";
  const [plain, clipped] = [ratio * advantage, clamp(ratio, ...batch.clip) * advantage];
  const within = `clip(${[letter, ...batch.clip.map(edgeText)].join(", ")})`;
  const smaller = (name, value) => {
    const other = { name: `${within}A`, value: clipped, wins: clipped < value };
    return { parts: ["min(", { name, value, wins: !other.wins }, ", ", other, ")"], term: Math.min(value, clipped), flat: other.wins };
  };
  const product = (formula, ...factors) => {
    const term = factors.reduce((a, b) => a * b);
    return { parts: [`${formula} = ${factors.map((factor) => format(factor)).join("·")} = ${format(term)}`], term };
  };
  const log = Math.log(ratio);
  if (batch.objective === "unclipped") return { parts: [{ name: "ρA", value: plain, wins: true }], term: plain };
  if (batch.objective === "policy_gradient") return product("A log ρ", advantage, log);
  if (batch.objective === "cispo") return product(`${within}A log ρ`, clamp(ratio, ...batch.clip), advantage, log);
  if (batch.objective === "kl_penalty") {
    const [price, kl] = [batch.penalty_coef, ratio - 1 - log];
    const term = plain - price * kl;
    return { parts: [`ρA − b·KL = ${format(plain)} − ${format(price)}·${format(kl, 3)} = ${format(term)}`], term };
  }
  if (batch.objective === "sapo") {
    const tau = batch.temperatures[advantage > 0 ? 0 : 1];
    return product("4/τ·σ(τ(ρ−1))·A", 4 / tau / (1 + Math.exp(-tau * (ratio - 1))), advantage);
  }
  const limit = edgeText(batch.pull_limit);
  if (batch.objective === "two_sided") {
    const found = smaller(`min(ρ, ${limit})A`, Math.min(ratio, batch.pull_limit) * advantage);
    return ratio > batch.pull_limit ? { ...found, flat: true } : found;
  }
  const inner = smaller(`${letter}A`, plain);
  const floor = batch.pull_limit * advantage;
  if (batch.objective !== "dual_clip" || advantage >= 0 || floor <= inner.term) return inner;
  return { parts: ["max(", { name: "ρA", value: inner.term }, ", ", { name: `${limit}·A`, value: floor, wins: true }, ")"], term: floor, flat: true };
}
