// The sliders, grouped by when a change takes effect. Each is a native range input beside a number that can be typed;
// a dot marks what differs from the preset and sets it back; the tooltip says what raising and lowering do.

export default {
  render(context) {
    return frame(context, "controls", ["language", "batch"], build(context.model));
  },
};

const build = (model) => (root, board, sized, leaving) => {
  const tip = tooltip(root);
  let controls = [];
  let recipe = null;
  // Edits travel as the newest value of each field: ipywidgets keeps one message under way and merges the rest. `held` are
  // the values that a control passes while it is dragged.
  const edit = (name, value, held = false) => {
    if (board.get("run").mode !== "paused") turnsOf(board).hold();
    const edits = model.get("edits");
    const n = 1 + Math.max(0, ...Object.values(edits).map((earlier) => earlier.n));
    board.exEdits = n;
    model.set("edits", { ...edits, [name]: { value, n, held } });
    model.save_changes();
  };
  const value = (name) => standing(model, name);
  const grip = gripOf(edit);
  leaving(grip.leave);
  // What a page held that has gone, as by a reload, is let go.
  for (const [name, { value, held }] of Object.entries(model.get("edits"))) if (held) edit(name, value);

  // The clip picture has handles for some of the settings: what it edits goes the same way.
  board.exSettings = {
    edit,
    ...grip,
    value,
    field: (name) => model.get("groups").flatMap((group) => group.fields).find((field) => field.name === name),
  };
  const settle = (refused) => board.trigger("change:settings", refused);
  leaving(listen(model, ["values", "answered"], () => settle(false)));

  // Undoes a what-if: every setting that re-scores goes back to the one that the update on screen was trained with.
  const own = make("button", { class: "ex-button ex-small explorer-own", type: "button", hidden: true, onclick: () => model.send({ kind: "own", after: board.exEdits ?? 0 }) });
  const paintOwn = () => {
    const { rescored = {} } = board.get("batch");
    const changed = [...new Set([...Object.keys(rescored), ...Object.keys(board.get("run").later ?? {})])];
    own.hidden = !changed.length;
    write(own, "↩");
    own.title = say(board, "ui.ghost.back");
    own.setAttribute("aria-label", own.title);
  };
  leaving(listen(board, ["run"], paintOwn));

  const lay = () => {
    const groups = model.get("groups");
    const health = make("ul", { class: "ex-health explorer-health" });
    controls = [];
    const nodes = groups.map(({ key, fields, folded }) => {
      const title = say(board, `ui.groups.${key}`);
      const rows = fields.map((field) => {
        const control = makeControl(board, model, tip, edit, field);
        controls.push(control);
        return control.node;
      });
      const heading = make("h3", { text: title });
      if (folded) return make("details", { class: `ex-group ex-group-${key}` }, make("summary", { text: title }), ...byEffect(board, key, fields, rows));
      return make("div", { class: `ex-group ex-group-${key}` }, key === "what_if" ? make("div", { class: "ex-group-head-row" }, heading, own) : heading, key === "next_update" && isReplay(board) ? make("p", { class: "ex-hint", text: say(board, "ui.replay_idle") }) : null, ...rows);
    });
    recipe = make("details", { class: "ex-group explorer-recipe", open: true }, make("summary"), make("ul", { class: "ex-health" }));
    root.replaceChildren(recipe, ...nodes, make("div", { class: "ex-group ex-group-health" }, make("h3", { text: say(board, "ui.panels.health.title") }), health), root.querySelector(".ex-tip") ?? "");
    return health;
  };

  let laid = "";
  let health = null;
  let fitted = "";
  // The list of what a recipe changes is open where the panel then still shows all of itself, until the reader folds it.
  const fitRecipe = () => {
    const stamp = JSON.stringify([model.get("deltas"), sized(root)]);
    if (fitted === stamp) return;
    fitted = stamp;
    recipe.open = true;
    recipe.open = root.scrollHeight <= root.clientHeight + 1;
  };
  const refresh = () => {
    controls.forEach((control) => control.paint());
    if (!recipe) return;
    paintRecipe(board, model, recipe);
    fitRecipe();
  };
  leaving(listen(model, ["values", "answered", "preset_values", "deltas"], refresh));
  leaving(hear(model, "msg:custom", (message) => {
    if (message.kind !== "rejected") return;
    controls.forEach((control) => control.paint(true));
    settle(true);
  }));
  requestAnimationFrame(() => settle(false));

  // All weights times one factor: with whitening the ranking stays, and the balance against β moves.
  const scaled = make("p", { class: "ex-hint explorer-scaled", role: "status" });
  const paintScaled = () => {
    scaled.title = scaledWords(board);
    scaled.hidden = !scaled.title;
    write(scaled, scaled.title && say(board, `ui.reward.${board.get("batch").scaled.in_loss ? "scaled_loss_short" : "scaled_short"}`));
    const weights = root.querySelector(".ex-group-weights");
    if (weights && scaled.parentElement !== weights) weights.append(scaled);
  };

  const render = () => {
    const stamp = JSON.stringify(model.get("groups").map((g) => g.fields.map((f) => f.name)));
    if (needsWords(root, board) || laid !== stamp) {
      laid = stamp;
      fitted = "";
      health = lay();
    }
    paintHealth(board, health);
    paintScaled();
    paintOwn();
    refresh();
  };
  leaving(listen(model, ["groups"], render));
  return render;
};

// A setting as its control shows it: what it was last moved to, for as long as the kernel has not answered; what the kernel
// told meanwhile is older. A text is shown by nobody until the kernel has read it as a number.
function standing(model, name) {
  const { value, n } = model.get("edits")[name] ?? {};
  const told = model.get("values")[name];
  return n > model.get("answered") && (typeof value !== "string" || typeof told === "string") ? value : told;
}

// The rows of a drawer, under a heading each time that says when a change takes effect, where they differ in that.
function byEffect(board, key, fields, rows) {
  const effects = [...new Set(fields.map(({ effect }) => effect))];
  if (effects.length < 2) return rows;
  return effects.flatMap((effect) => [make("h4", { text: say(board, `ui.groups.${effect}`) }), ...rows.filter((_, i) => fields[i].effect === effect)]);
}

const fieldWords = (board, field, part) =>
  field.component
    ? say(board, part === "label" ? `components.${field.component}.label` : `fields.weight.${part}`, { name: componentName(board, field.component) })
    : say(board, `fields.${field.name}.${part}`);

function componentName(board, name) {
  const known = lookUp(board.get("words"), `components.${name}.label`);
  return typeof known === "string" ? known : name;
}

function makeControl(board, model, tip, edit, field) {
  const label = field.component ? componentName(board, field.component) : fieldWords(board, field, "label");
  const id = `ex-${field.css}-${Math.random().toString(36).slice(2, 8)}`;
  const name = make("label", { for: id, text: label });
  const back = make("button", { class: "ex-back", type: "button", hidden: true, onclick: () => edit(field.name, model.get("preset_values")[field.name]) });
  const node = make("div", { class: `ex-control explorer-${field.css}`, "data-effect": field.effect }, name, back);
  const value = () => standing(model, field.name);
  const explain = () => tip.show(tipNodes(board, field, label), node, true);
  name.addEventListener("mouseenter", explain);
  name.addEventListener("mouseleave", tip.hide);
  // On the keyboard's focus: every slider, number, menu and box explains itself. A click that types needs no telling.
  let pointed = false;
  node.addEventListener("pointerdown", () => (pointed = true));
  node.addEventListener("focusin", (event) => !pointed && event.target.matches(":is(input, select):focus-visible") && explain());
  node.addEventListener("focusout", tip.hide);
  for (const over of ["pointerup", "pointercancel", "focusout"]) node.addEventListener(over, () => (pointed = false));
  const inputs = { slider: sliderInputs, choice: choiceInputs, toggle: toggleInputs }[field.kind](board, field, id, label, edit, value);
  node.append(...inputs.nodes);
  if (isReplay(board) && field.effect !== "what_if") {
    node.title = say(board, "ui.replay_idle");
    node.classList.add("ex-idle");
    for (const input of inputs.nodes) input.disabled = true;
  }
  const paint = (force = false) => {
    inputs.paint(force);
    const [own, preset] = [value(), model.get("preset_values")[field.name]];
    back.hidden = own === preset;
    back.title = say(board, "ui.back_to_preset", { value: show(preset, field) });
    back.setAttribute("aria-label", `${label}: ${back.title}`);
  };
  return { node, paint };
}

// A number as its control writes it: the digits of the slider's step, and more only where the value has more.
function show(value, field) {
  if (value === null) return "–";
  if (typeof value !== "number") return String(value);
  if (field.log) return value === 0 ? "0" : value.toExponential(Number(value.toExponential(1)) === value ? 1 : 2);
  const digits = field.step >= 1 ? 0 : field.step >= 0.01 ? 2 : 3;
  return Number(value.toFixed(digits)) === value ? value.toFixed(digits) : String(Number(value.toPrecision(4)));
}

function sliderInputs(board, field, id, label, edit, value) {
  const toSlider = (v) => (field.log ? Math.log10(Math.max(v, field.low_shown)) : v);
  const fromSlider = (v) => (field.log ? Number((10 ** v).toPrecision(2)) : Number(v.toFixed(6)));
  const [low, high] = [toSlider(field.low_shown), toSlider(field.high_shown)];
  const range = make("input", { id, type: "range", min: low, max: high, step: field.log ? 0.02 : field.step, "aria-label": label });
  const number = make("input", { class: "ex-number", type: "text", inputmode: "decimal", "aria-label": `${label}, ${say(board, "ui.typed")}` });
  range.title = `${show(field.low_shown, field)} – ${show(field.high_shown, field)}`;
  range.addEventListener("pointerdown", (event) => board.exSettings.take(field.name, event));
  range.addEventListener("input", () => {
    number.value = show(fromSlider(Number(range.value)), field);
    board.exSettings.move(field.name, fromSlider(Number(range.value)));
  });
  range.addEventListener("change", () => board.exSettings.drop(field.name));
  const commit = () => {
    const text = number.value.trim().replace(MINUS, "-").replace(",", ".");
    if (text === show(value(), field)) return;
    if ((text === "" || text === "–") && field.optional) edit(field.name, null);
    else edit(field.name, text === "" || Number.isNaN(Number(text)) ? text : Number(text));
  };
  number.addEventListener("change", commit);
  number.addEventListener("keydown", (event) => event.key === "Enter" && number.blur());
  const paint = (force) => {
    const now = value();
    const fraction = now === null ? 1 : clamp((toSlider(now) - low) / (high - low), 0, 1);
    if (document.activeElement !== range || force) range.value = String(now === null ? high : toSlider(now));
    range.style.setProperty("--ex-fill", `${(fraction * 100).toFixed(1)}%`);
    if (document.activeElement !== number || force) number.value = show(now, field);
    range.setAttribute("aria-valuetext", show(now, field));
  };
  return { nodes: [range, number], paint };
}

function choiceInputs(board, field, id, label, edit, value) {
  const word = (choice) => {
    const known = lookUp(board.get("words"), `fields.${field.name}.options.${choice}.label`);
    return typeof known === "string" ? known : choice;
  };
  const menu = make("select", { id, class: "ex-select", "aria-label": label, onchange: () => edit(field.name, menu.value) },
    ...field.choices.map((choice) => make("option", { value: choice, text: word(choice) })));
  return { nodes: [menu], paint: () => (menu.value = value()) };
}

function toggleInputs(board, field, id, label, edit, value) {
  const box = make("input", { id, type: "checkbox", "aria-label": label, onchange: () => edit(field.name, box.checked) });
  return { nodes: [box], paint: () => (box.checked = value()) };
}

function tipNodes(board, field, label) {
  const nodes = [make("strong", { text: label })];
  if (field.component) {
    const definition = lookUp(board.get("words"), `components.${field.component}.definition`);
    if (definition) nodes.push(make("p", { text: definition }));
    const expression = lookUp(board.get("words"), `components.${field.component}.expression`);
    if (expression) nodes.push(make("code", { text: expression }));
  }
  nodes.push(make("p", { text: fieldWords(board, field, "what") }));
  if (field.kind === "choice") nodes.push(...field.choices.map((choice) => make("p", {}, make("b", { text: `${say(board, `fields.${field.name}.options.${choice}.label`)}: ` }), say(board, `fields.${field.name}.options.${choice}.what`))));
  else nodes.push(make("p", {}, "▲ ", fieldWords(board, field, "up")), make("p", {}, "▼ ", fieldWords(board, field, "down")));
  nodes.push(make("p", { class: "ex-hint", text: say(board, `effects.${field.effect}.label`) }));
  if (field.optional) nodes.push(make("p", { class: "ex-hint", text: `– : ${lookUp(board.get("words"), `fields.${field.name}.none`) ?? say(board, "ui.no_limit")}` }));
  if (field.kind === "slider") nodes.push(make("p", { class: "ex-hint", text: say(board, "ui.range", { low: show(field.low, field), high: show(field.high, field) }) }));
  return nodes;
}

// What makes a recipe: every setting in which it differs from PPO as the first preset has it.
function paintRecipe(board, model, recipe) {
  const deltas = model.get("deltas");
  const fields = Object.fromEntries(model.get("groups").flatMap((group) => group.fields.map((field) => [field.name, field])));
  const word = (field, value) => {
    const chosen = field.kind === "choice" ? lookUp(board.get("words"), `fields.${field.name}.options.${value}.label`) : null;
    return typeof chosen === "string" ? chosen : typeof value === "boolean" ? (value ? "✓" : "✗") : show(value, field);
  };
  recipe.hidden = !deltas.length;
  recipe.firstChild.textContent = say(board, deltas.length === 1 ? "ui.differs_from_ppo.one" : "ui.differs_from_ppo.many", { count: deltas.length });
  recipe.lastChild.replaceChildren(
    ...deltas.filter(([name]) => name in fields).map(([name, ppo, own]) => {
      const field = fields[name];
      const label = field.component ? componentName(board, field.component) : fieldWords(board, field, "label");
      return make("li", {}, `${label} `, make("span", { class: "ex-muted", text: `${word(field, ppo)} → ` }), make("b", { text: word(field, own) }));
    }),
  );
}

function paintHealth(board, list) {
  const checks = board.get("batch").checks ?? {};
  list.replaceChildren(...Object.entries(checks).map(([name, [holds, measured]]) =>
    make("li", { class: holds ? "ex-holds" : "ex-fails", title: say(board, `checks.${name}.means`) },
      make("b", { text: holds ? "✓ " : "✗ " }), say(board, `checks.${name}.label`), make("span", { class: "ex-muted", text: ` ${format(measured, 2)}` }))));
  if (board.get("batch").collapsed) list.append(make("li", { class: "ex-fails explorer-collapsed" }, make("b", { text: "✗ " }), say(board, "ui.collapsed")));
  const counts = board.get("batch").counts;
  if (counts?.tokens) {
    const share = Math.round((100 * counts.zero) / counts.tokens);
    list.append(make("li", {}, make("b", { text: "● " }), say(board, "ui.health_clip", { share })));
  }
}
