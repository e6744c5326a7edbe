// The same prompts answered by the reference and by the policy, side by side, drawn with the same random numbers; a
// prompt to try on any update that still has its weights; and the training prompts to edit.

export default {
  render(context) {
    return frame(context, "samples", ["samples", "trial", "run"], build(context.model));
  },
};

const build = (model) => (root, board, sized, leaving) => {
  const tabs = lowerTabs(root, board, "samples", leaving);
  const hint = make("p", { class: "ex-hint" });
  const table = make("div", { class: "ex-pairs" });
  const prompt = make("input", { class: "ex-input explorer-try-prompt", type: "text" });
  const update = make("select", { class: "ex-select explorer-try-update" });
  const tryIt = make("button", { class: "ex-button explorer-try", type: "submit" });
  const answer = make("div", { class: "ex-pairs explorer-trial", "aria-live": "polite" });
  const form = make("form", { class: "ex-try", onsubmit: (event) => {
    event.preventDefault();
    model.send({ kind: "try", prompt: prompt.value, update: Number(update.value) });
  } }, prompt, update, tryIt);
  const prompts = make("textarea", { class: "ex-input explorer-prompts", rows: "6", spellcheck: "false", oninput: () => {
    edited = true;
    tellSet();
  } });
  const sets = model.get("sets");
  const set = make("select", { class: "ex-select explorer-prompt-set", onchange: () => {
    edited = true;
    prompts.value = sets[set.value].join("\n");
  } });
  // The menu names the set that is in the box, and "your own" where none is.
  const tellSet = () => (set.value = Object.keys(sets).find((name) => sets[name].join("\n") === prompts.value) ?? "");
  const summary = make("summary");
  const apply = make("button", { class: "ex-button explorer-apply-prompts", type: "button", onclick: () => {
    edited = false;
    model.send({ kind: "prompts", prompts: prompts.value.split("\n").filter((line) => line.trim() !== "") });
  } });
  const editor = make("details", { class: "ex-prompts" }, summary, set, prompts, apply);
  const compare = make("button", { class: "ex-button explorer-compare", type: "button", onclick: () => model.send({ kind: "compare" }) });
  const turn = (key, step) => make("button", { class: `ex-button ex-turn explorer-${key}`, type: "button", onclick: () => {
    const { first, at_once } = board.get("samples");
    model.send({ kind: "compare", first: Math.max(0, first + step * at_once) });
  } });
  const [back, on] = [turn("prompts-back", -1), turn("prompts-on", 1)];
  const place = make("span", { class: "ex-muted", role: "status" });
  const pages = make("span", { class: "ex-pages explorer-pages", hidden: true }, back, place, on);
  const body = make("div", { class: "ex-scroll" }, form, answer, table, editor);
  if (isReplay(board)) {
    for (const node of [form, answer, table, compare, set, apply]) node.hidden = true;
    Object.assign(editor, { open: true });
    prompts.readOnly = true;
  }
  root.append(tabs.node, make("div", { class: "ex-row" }, hint, pages, compare), body);
  let edited = false;
  let painted = [];

  return () => {
    tabs.paint();
    const [run, samples, trial, words] = [board.get("run"), board.get("samples"), board.get("trial"), board.get("words")];
    write(hint, say(board, isReplay(board) ? "ui.replay_samples" : "ui.panels.samples.look_for"));
    write(compare, say(board, "ui.compare"));
    compare.disabled = run.phase !== "ready";
    write(tryIt, say(board, "ui.try_it"));
    tryIt.disabled = run.phase !== "ready";
    prompt.placeholder = say(board, "ui.try_prompt");
    prompt.setAttribute("aria-label", say(board, "ui.try_prompt"));
    update.setAttribute("aria-label", say(board, "ui.try_update"));
    write(summary, say(board, "ui.training_prompts"));
    prompts.setAttribute("aria-label", say(board, "ui.training_prompts"));
    write(apply, say(board, "ui.apply"));
    if (!edited && document.activeElement !== prompts) prompts.value = (run.prompts ?? []).join("\n");
    paintSets(board, set, sets);
    tellSet();
    paintUpdates(board, update, run);
    const { first = 0, total = 0, prompts: shown = [] } = samples;
    pages.hidden = shown.length >= total;
    write(place, say(board, "ui.prompts_shown", { from: first + 1, to: first + shown.length, total }));
    for (const [node, key, sign, end] of [[back, "prompts_back", "‹", first === 0], [on, "prompts_on", "›", first + shown.length >= total]]) {
      write(node, sign);
      node.title = say(board, `ui.${key}`);
      node.setAttribute("aria-label", node.title);
      node.disabled = run.phase !== "ready" || end;
    }
    if (painted[0] !== samples || painted[2] !== words) paintPairs(board, table, samples.prompts ?? [], samples);
    if (painted[1] !== trial || painted[2] !== words) paintPairs(board, answer, trial.prompt === undefined ? [] : trial.reference.map(() => trial.prompt), trial);
    painted = [samples, trial, words];
    write(tryIt, say(board, trial.prompt !== undefined && trial.prompt === prompt.value ? "ui.again" : "ui.try_it"));
  };
};

function paintSets(board, menu, sets) {
  if (!needsWords(menu, board)) return;
  menu.setAttribute("aria-label", say(board, "ui.prompt_set"));
  menu.replaceChildren(
    make("option", { value: "", text: say(board, "ui.own_prompts"), hidden: true }),
    ...Object.entries(sets).map(([name, texts]) => make("option", { value: name, text: `${say(board, `ui.prompt_sets.${name}`)} (${texts.length})` })),
  );
}

function paintUpdates(board, menu, run) {
  const kept = run.weights_kept ?? [];
  const stamp = kept.join();
  if (!needsWords(menu, board) && menu.dataset.stamp === stamp) return;
  const newest = menu.value === "" || menu.selectedIndex === 0;
  const chosen = menu.value;
  menu.dataset.stamp = stamp;
  menu.replaceChildren(...[...kept].reverse().map((n) =>
    make("option", { value: n, text: n === 0 ? say(board, "ui.untouched") : say(board, "ui.update", { update: n }) })));
  if (!newest && kept.includes(Number(chosen))) menu.value = chosen;
}

function paintPairs(board, table, prompts, { reference = [], policy = [], update = 0 }) {
  if (!prompts.length) {
    table.replaceChildren();
    return;
  }
  const head = [
    make("b", { text: say(board, "ui.reference") }),
    make("b", { text: say(board, "ui.policy_as_of", { update }) }),
  ];
  const cells = prompts.flatMap((prompt, i) => [
    make("p", {}, make("span", { class: "ex-prompt", text: prompt }), reference[i]),
    make("p", {}, make("span", { class: "ex-prompt", text: prompt }), ...divergence(reference[i], policy[i])),
  ]);
  table.replaceChildren(...head, ...cells);
}

// The policy's answer with the part marked from where it leaves the reference's.
function divergence(before, now) {
  const [a, b] = [before.split(/(?<=\s)/), now.split(/(?<=\s)/)];
  let same = 0;
  while (same < b.length && a[same] === b[same]) same += 1;
  return [b.slice(0, same).join(""), make("mark", { text: b.slice(same).join("") })];
}
