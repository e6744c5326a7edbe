// The reward. Left: its components with weight, mean and history. Right: each response's score as a stack of them. Below:
// the chosen component, what it finds in the pinned response, and the form to add or to change one.

export default {
  render(context) {
    return frame(context, "reward", ["lower", "batch", "pinned", "hovered", "reward", "series", "strip", "run"], build(context.model));
  },
};

const build = (model) => (root, board, sized, leaving) => {
  const tabs = lowerTabs(root, board, "reward", leaving);
  const note = make("p", { class: "ex-hint explorer-reward-note" });
  const said = make("span", { role: "status" });
  const undo = make("button", { class: "ex-button explorer-reward-undo", type: "button", hidden: true });
  const status = make("div", { class: "ex-reward-status", hidden: true }, said, undo);
  const bars = rewardBars(board, sized);
  const choose = (name) => {
    model.set("chosen", name);
    model.save_changes();
    refresh();
  };
  const table = componentTable(board, model, choose);
  const detail = make("div", { class: "ex-reward-detail", role: "group", tabindex: "0" });
  // A token of the text below is a token like any other: pointed at it is shown everywhere, clicked it is pinned.
  const tokenAt = (event) => {
    const t = event.target.closest?.("[data-t]")?.dataset.t;
    return t === undefined ? null : [Number(detail.dataset.row), Number(t)];
  };
  detail.addEventListener("mouseover", (event) => hover(board, tokenAt(event)));
  detail.addEventListener("mouseleave", () => hover(board, null));
  detail.addEventListener("click", (event) => tokenAt(event) && pin(board, tokenAt(event)));
  const actions = make("div", { class: "ex-reward-do ex-row" });
  const form = componentForm(board, model, () => {
    refresh();
    add.focus();
  });
  const judge = judgeChoice(board);
  table.node.append(judge.node);
  const body = make("div", { class: "ex-reward" }, table.node, bars.node);
  root.append(tabs.node, note, status, body, detail, actions, form.node);

  const all = () => board.get("reward").components ?? [];
  const chosenOne = () => all().find(({ name }) => name === model.get("chosen")) ?? all().find(({ name }) => board.exSettings?.value(`weight_${name}`)) ?? all()[0];
  const button = (key, act) => make("button", { class: `ex-button explorer-reward-${key}`, type: "button", onclick: () => act(chosenOne()) });
  const weightOf = (name) => board.exSettings.value(`weight_${name}`);
  const add = button("add", () => form.open());
  const change = button("change", ({ name, recipe }) => form.open(recipe, name, String(weightOf(name)), name));
  const duplicate = button("duplicate", ({ name, kind, recipe }) => form.open(kind === "built_in" ? { kind: "copy", of: name } : recipe, freeName(name, all().map((one) => one.name)), String(weightOf(name))));
  const remove = button("remove", ({ name, kind, recipe }) => {
    removed = { name, kind, recipe, weight: weightOf(name) };
    model.send({ kind: "remove", name });
  });
  const back = button("take_back", ({ name }) => model.send({ kind: "take_back", name }));
  const again = make("select", { class: "ex-select explorer-reward-again", onchange: () => again.value && model.send({ kind: "take_back", name: again.value }) });
  actions.append(add, change, duplicate, remove, back, again);

  let removed = null;
  // One that is built in, or a function, has its weight back with its place; another is made anew.
  undo.addEventListener("click", () => {
    if (!isFixed(removed)) return model.send({ kind: "put", name: removed.name, recipe: removed.recipe, weight: removed.weight });
    model.send({ kind: "take_back", name: removed.name });
    board.exSettings.edit(`weight_${removed.name}`, removed.weight);
  });
  let toldAt = 0;
  const tell = (words, canUndo = false) => {
    toldAt = board.get("run").newest;
    write(said, words);
    status.hidden = !words;
    undo.hidden = !canUndo;
  };
  leaving(hear(model, "msg:custom", ({ kind, of, name, message, pointed }) => {
    if (kind === "refused") {
      if (of === "put" && !form.node.hidden) form.tell(message, pointed);
      else tell(message);
      return refresh();
    }
    if (of === "put") {
      if (!form.node.hidden) form.taken();
      choose(name.trim());
    }
    const off = of === "remove" && isFixed(removed); // measured as ever
    tell(say(board, `ui.reward.${off ? "off_list" : { put: "added", remove: "removed", take_back: "taken_back" }[of]}`, { name }), of === "remove");
    refresh();
  }));
  leaving(listen(board, ["settings"], () => refresh()));

  let painted = "";
  const refresh = () => {
    if (board.get("lower") !== "reward") return;
    tabs.paint();
    if (!status.hidden && undo.hidden && board.get("run").newest !== toldAt) tell(""); // that update is there
    const { leaving: gone = [] } = board.get("reward");
    const words = [scaledWords(board), gone.length ? say(board, "ui.reward.states.leaving", { names: gone.join(", ") }) : ""].filter(Boolean).join(" ");
    write(note, words || say(board, "ui.panels.reward.look_for"));
    note.title = note.textContent;
    note.classList.toggle("ex-reward-said", Boolean(words));
    table.paint(all(), chosenOne()?.name);
    judge.paint([...all().map(({ name }) => name), ...(board.get("reward").removed ?? [])]);
    bars.paint(all().map(({ name }) => name), (name) => wholeResponseName(board, `component/${name}`));
    const one = chosenOne();
    if (one && model.get("chosen") !== one.name) {
      model.set("chosen", one.name);
      model.save_changes();
    }
    const editing = !form.node.hidden;
    if (editing) form.paint();
    detail.hidden = editing || !one;
    actions.hidden = editing || isReplay(board) || !one;
    root.classList.toggle("ex-editing", editing);
    if (one) paintActions(one);
    // While a bar is pointed at, what stands below it stays: it would push the bars about.
    const [pinnedRow, row] = [pinnedOf(board)?.[0] ?? null, (bars.inside ? heldOf(board) : focusOf(board))?.[0] ?? null];
    const stamp = JSON.stringify([one, row, row === pinnedRow, board.get("batch").update, board.get("batch").rescored, board.get("reward").closely, board.get("language"), one && weightOf(one.name)]);
    if (!one || editing || (stamp === painted && detail.exOf === board.get("batch"))) return rove(detail, board);
    [painted, detail.exOf] = [stamp, board.get("batch")];
    detail.setAttribute("aria-label", wholeResponseName(board, `component/${one.name}`));
    detail.dataset.row = row ?? "";
    detail.replaceChildren(...detailNodes(board, one, row, letterOf(all().indexOf(one))));
    rove(detail, board);
  };
  const paintActions = ({ kind, state }) => {
    for (const [node, key] of [[add, "add"], [change, "change"], [duplicate, "duplicate"], [remove, "remove"], [back, "take_back"], [undo, "undo"]]) write(node, say(board, `ui.reward.${key}`));
    const fixed = isFixed({ kind });
    change.disabled = fixed;
    change.title = fixed ? say(board, `ui.reward.fixed_${kind}`) : "";
    remove.disabled = all().length < 2;
    paintAgain();
    duplicate.disabled = kind === "function";
    add.disabled = board.get("run").phase !== "ready";
    back.hidden = state !== "aside";
  };
  // What is off the list, to be taken back.
  const paintAgain = () => {
    const gone = board.get("reward").removed ?? [];
    again.hidden = !gone.length;
    const stamp = JSON.stringify([gone, board.get("language")]);
    if (again.exShown === stamp) return;
    again.exShown = stamp;
    const options = gone.map((name) => make("option", { value: name, text: wholeResponseName(board, `component/${name}`) }));
    again.replaceChildren(make("option", { value: "", text: say(board, "ui.reward.again") }), ...options);
    again.setAttribute("aria-label", say(board, "ui.reward.again"));
  };
  return refresh;
};

// Those that are not made here: they can be removed from the list, and taken back, but not changed.
const isFixed = ({ kind }) => ["built_in", "function"].includes(kind);

// ---------------------------------------------------------------- the chosen one

function detailNodes(board, component, row, letter) {
  const batch = board.get("batch");
  const { name, kind, state, why } = component;
  const { definition, expression } = meaningOfComponent(board, component);
  const built = kind === "built_in" ? "" : ` · ${say(board, `ui.reward.kinds.${kind}.label`)}`;
  const nodes = [
    make("p", {}, make("b", { text: `${letter} ${wholeResponseName(board, `component/${name}`)}` }), make("span", { class: "ex-muted", text: built }), ` ${definition} `, expression ? make("code", { text: expression }) : ""),
  ];
  if (state !== "recorded") nodes.push(make("p", { class: state === "aside" ? "ex-fails explorer-reward-aside" : "explorer-reward-state", text: `${{ aside: "⊘", what_if: "◇", next_update: "→" }[state]} ${say(board, `ui.reward.states.${state}`)}${why ? `. ${why}` : ""}` }));
  const value = row === null ? undefined : batch.components?.[name]?.[row];
  if (value !== undefined && state !== "next_update") {
    const weight = state === "aside" ? 0 : batch.weights[name] ?? 0;
    const words = say(board, "ui.reward.this_response", { response: row + 1, value: signed(value), weight: format(weight), part: signed(weight * value) });
    nodes.push(make("p", { class: "explorer-reward-value" }, toLedger(make("span", { text: words }), board, "score", words, row)), ...evidenceNodes(board, component, row));
  }
  return nodes;
}

// Of the numbers of the tokens below Tab stops at one, that of the pinned token, else the first; the arrows go on from it
// as they do everywhere, and take the focus along.
function rove(detail, board) {
  const all = [...detail.querySelectorAll("[data-t] [data-ledger]")];
  if (!all.length) return;
  const [row, t] = pinnedOf(board) ?? [];
  const own = all.find((number) => number.dataset.token === `${row},${t}`) ?? all[0];
  if (own.tabIndex === 0) return;
  const held = all.includes(document.activeElement);
  all.forEach((number) => (number.tabIndex = number === own ? 0 : -1));
  if (held) own.focus();
}
