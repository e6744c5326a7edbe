// One component: the form that adds or changes it, and what it finds in the pinned response.

// A form to add a component or to change one. What was typed stays until it has been taken.
function componentForm(board, model, done) {
  let was = "";
  let carried = null; // a recipe that nobody types, such as a learnt one: only its name and weight are edited
  const id = Math.random().toString(36).slice(2, 8);
  const labels = {};
  const field = (key, node, path) => {
    node.id = `ex-reward-${key}-${id}`;
    labels[key] = [make("label", { for: node.id }), path];
    return make("div", { class: `ex-reward-field ex-reward-field-${key}` }, labels[key][0], node);
  };
  const text = (key, options = {}) => make("input", { class: `ex-input explorer-reward-${key}`, type: "text", spellcheck: "false", autocomplete: "off", ...options });
  const kind = make("select", { class: "ex-select explorer-reward-kind", onchange: () => paint() });
  const [name, weight] = [text("name", { maxlength: "40" }), text("weight", { inputmode: "decimal", value: "1" })];
  const inputs = {
    expression: text("expression", { maxlength: "400" }), words: text("words"), enough: text("enough", { inputmode: "numeric", value: "2" }),
    pattern: text("pattern", { maxlength: "300" }), of: make("select", { class: "ex-select explorer-reward-of", onchange: () => paint() }), length_target: text("length_target", { inputmode: "numeric" }),
  };
  const fields = Object.fromEntries(Object.entries(inputs).map(([key, node]) => [key, field(key, node, `ui.reward.fields.${key}`)]));
  const kindField = field("kind", kind, "ui.reward.kind");
  const hint = make("p", { class: "ex-hint" });
  const pointed = make("pre", { class: "ex-pointed", hidden: true });
  const problem = make("p", { class: "ex-fails explorer-reward-problem", role: "alert", hidden: true });
  const [save, cancel] = [make("button", { class: "ex-button ex-go explorer-reward-save", type: "submit" }), make("button", { class: "ex-button explorer-reward-cancel", type: "button", onclick: () => close() })];
  const node = make("form", { class: "ex-reward-form", hidden: true, onsubmit: (event) => {
    event.preventDefault();
    model.send({ kind: "put", name: name.value, recipe: carried ?? recipeOf(model.get("kinds"), kind.value, (key) => inputs[key].value), weight: numberOf(weight.value), was });
  }, onkeydown: (event) => event.key === "Escape" && (event.stopPropagation(), close()) },
  make("div", { class: "ex-reward-fields" }, kindField, field("name", name, "ui.reward.called"), field("weight", weight, "ui.reward.weight"), ...Object.values(fields)),
  hint, pointed, problem, make("div", { class: "ex-row ex-reward-do" }, save, cancel));

  const tell = (message = "", place = "") => {
    write(problem, message);
    problem.hidden = !message;
    write(pointed, place);
    pointed.hidden = !place;
    inputs.expression.toggleAttribute("aria-invalid", Boolean(place));
  };
  const close = () => {
    node.hidden = true;
    done();
  };
  const paint = () => {
    if (needsWords(node, board)) {
      for (const [label, path] of Object.values(labels)) write(label, say(board, path));
      const [chosen, of] = [kind.value, inputs.of.value];
      kind.replaceChildren(...Object.keys(model.get("kinds")).map((key) => make("option", { value: key, text: say(board, `ui.reward.kinds.${key}.label`) })));
      inputs.of.replaceChildren(...builtIns(board).map((key) => make("option", { value: key, text: wholeResponseName(board, `component/${key}`) })));
      if (chosen) [kind.value, inputs.of.value] = [chosen, of];
      write(cancel, say(board, "ui.cancel"));
    }
    const asked = carried ? [] : model.get("kinds")[kind.value] ?? [];
    kindField.hidden = Boolean(carried);
    for (const [key, part] of Object.entries(fields)) part.hidden = !asked.includes(key) || (key === "length_target" && inputs.of.value !== "length");
    write(hint, carried ? meaningOfComponent(board, { name: "", kind: carried.kind, recipe: carried }).definition : lookUp(board.get("words"), `ui.reward.kinds.${kind.value}.hint`) ?? say(board, `ui.reward.kinds.${kind.value}.definition`, { enough: inputs.enough.value, of: wholeResponseName(board, `component/${inputs.of.value}`) }));
    write(save, say(board, was ? "ui.reward.save" : "ui.reward.add"));
  };
  // Open it, empty or with a component's recipe; `changed` is the one that it takes the place of.
  const open = (recipe = null, called = "", weighs = "1", changed = "") => {
    was = changed;
    carried = recipe && !(recipe.kind in model.get("kinds")) ? recipe : null;
    node.hidden = false;
    paint();
    if (recipe) {
      if (!carried) kind.value = recipe.kind;
      for (const key of Object.keys(inputs)) if (key in recipe) inputs[key].value = Array.isArray(recipe[key]) ? recipe[key].join(", ") : String(recipe[key]);
      [name.value, weight.value] = [called, weighs];
    }
    tell();
    paint();
    (recipe ? name : kind).focus();
  };
  const taken = () => {
    tell();
    [name.value, weight.value] = ["", "1"];
    for (const [key, value] of Object.entries({ expression: "", words: "", enough: "2", pattern: "", length_target: "" })) inputs[key].value = value;
    close();
  };
  return { node, paint, open, taken, tell };
}

const builtIns = (board) => Object.keys(board.get("words").components ?? {});

const numberOf = (text) => {
  const plain = text.trim().replace(MINUS, "-").replace(",", ".");
  return plain === "" || Number.isNaN(Number(plain)) ? text : Number(plain);
};

// A recipe from what was typed: what its kind asks for, without what was left empty.
function recipeOf(kinds, kind, typed) {
  const recipe = { kind };
  for (const key of kinds[kind]) {
    const value = typed(key);
    if (key === "words") recipe.words = value.split(/[,，、\n]/).map((word) => word.trim()).filter(Boolean);
    else if (["enough", "length_target"].includes(key)) {
      if (value.trim() && (key !== "length_target" || recipe.of === "length")) recipe[key] = numberOf(value);
    } else recipe[key] = value;
  }
  return recipe;
}

// A name that no other component has: the same with a number behind it.
function freeName(name, taken) {
  let n = 2;
  while (taken.includes(`${name} ${n}`)) n += 1;
  return `${name} ${n}`;
}

// In one sentence, and as a formula or what was typed.
function meaningOfComponent(board, { name, kind, recipe }) {
  const words = board.get("words");
  const built = kind === "built_in" ? words.components[name] : kind === "copy" ? words.components[recipe.of] : null;
  const definition = kind === "built_in" ? built?.definition ?? "" : say(board, `ui.reward.kinds.${kind}.definition`, { enough: recipe.enough ?? 2, of: built?.label ?? recipe.of, decided: recipe.decided ?? "?", held_out: Number.isFinite(recipe.held_out) ? `${Math.round(100 * recipe.held_out)} %` : "–" });
  const written = { expression: recipe.expression, keywords: (recipe.words ?? []).join(", "), format: recipe.pattern }[kind];
  return { definition, expression: written ?? built?.expression ?? lookUp(words, `ui.reward.kinds.${kind}.expression`) ?? "" };
}

// ---------------------------------------------------------------- what it finds in the pinned response

function evidenceNodes(board, component, row) {
  const batch = board.get("batch");
  const which = component.kind === "built_in" ? component.name : component.kind === "copy" ? component.recipe.of : component.kind;
  if (which === "coherence") return perToken(board, batch, row);
  const marks = which === "expression" && /\b(count|contains)\s*\(/.test(component.recipe.expression);
  if (!marks && !["unbiasedness", "keywords", "format", "learned"].includes(which)) return [make("p", { class: "ex-muted", text: say(board, "ui.reward.whole") })];
  const { closely } = board.get("reward");
  const found = closely.component === component.name && closely.response === row && closely.update === batch.update ? closely : null;
  const hole = which === "unbiasedness" ? [make("p", { class: "explorer-reward-hole" }, make("b", { text: `${say(board, "ui.reward.hole")}: ` }), say(board, "ui.reward.hole_unbiasedness"))] : [];
  const looked = pinnedOf(board)?.[0] === row; // the kernel looks closely at the pinned response alone
  if (!found) return [make("p", { class: "ex-muted", text: say(board, isReplay(board) ? "ui.reward.away" : looked ? "ui.reward.looking" : "ui.reward.pin_to_look") }), ...hole];
  if (which === "unbiasedness") return [...(found.twin ? twinNodes(board, found.twin, row) : [make("p", { class: "ex-muted", text: say(board, "ui.reward.away") })]), ...hole];
  if (which === "learned") return found.parts ? sharesOfTokens(board, batch, row, found) : [make("p", { class: "ex-muted", text: say(board, "ui.reward.away") })];
  if (!found.tokens) return [make("p", { class: "ex-muted", text: say(board, "ui.reward.away") })];
  const hit = new Set(found.tokens);
  const line = make("p", { class: "ex-reward-text" }, ...batch.tokens[row].map((token, t) => (hit.has(t) ? make("mark", { text: token, "data-t": t }) : token)));
  return [line, make("p", { class: "ex-muted", text: say(board, hit.size ? "ui.reward.found" : "ui.reward.found_none") })];
}

// Coherence: the reference's log-probability under every token.
function perToken(board, batch, row) {
  const chances = quantityOf(batch, "ref_probability");
  const line = make("p", { class: "ex-reward-tokens" }, ...batch.tokens[row].map((token, t) => {
    const nats = Math.log(chances[row * batch.length + t]);
    const number = make("small", { text: `${nats.toFixed(1).replace("-", MINUS)}${nats < -2.5 ? "▾" : ""}`, "data-value": nats });
    toLedger(number, board, "ref_probability", `“${visible(token)}” ${number.textContent}`, [row, t], { stop: -1 });
    return make("span", { "data-t": t, class: `ex-reward-token ${tint({ kind: "diverging", high: 4 }, nats + 2.5)}` }, make("span", { text: visible(token) }), number);
  }));
  return [line, make("p", { class: "ex-muted", text: say(board, "ui.reward.per_token") })];
}

// A learnt component: what each token adds to the value, and what is no token's.
function sharesOfTokens(board, batch, row, { parts, rest }) {
  const high = Math.max(0.05, ...parts.map(Math.abs));
  const line = make("p", { class: "ex-reward-tokens" }, ...batch.tokens[row].map((token, t) => {
    const number = make("small", { text: fixedSigned(parts[t] ?? 0), "data-value": parts[t] ?? 0 });
    toLedger(number, board, "score", `“${visible(token)}” ${number.textContent}`, [row, t], { stop: -1 });
    return make("span", { "data-t": t, class: `ex-reward-token ${tint({ kind: "diverging", high }, parts[t] ?? 0)}` }, make("span", { text: visible(token) }), number);
  }));
  return [line, make("p", { class: "ex-muted", text: say(board, "ui.reward.shares", { rest: signed(rest) }) })];
}

function twinNodes(board, { pieces, logprob, twin_logprob: other, count, scale }, row) {
  if (pieces.every(([, swapped]) => swapped === null)) return [make("p", { class: "ex-muted", text: say(board, "ui.reward.no_twin") })];
  const line = (key, side) => make("p", { class: "ex-reward-text", "data-side": key }, make("b", { text: `${say(board, `ui.reward.${key}`)}: ` }), ...pieces.map((piece) => (piece[1] === null ? piece[0] : make("mark", { text: piece[side] }))));
  const gap = Math.abs(logprob - other) / count;
  const numbers = say(board, "ui.reward.twin_numbers", { logprob: format(logprob, 2), twin_logprob: format(other, 2), gap: format(gap, 3), scale: format(scale, 0) });
  const words = `${numbers} → ${signed(-Math.min(1, scale * gap))}`;
  return [line("story", 0), line("twin", 1), make("p", { class: "explorer-reward-twin" }, toLedger(make("span", { text: words }), board, "score", words, row))];
}
