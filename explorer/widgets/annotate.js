// The annotator: two responses to one prompt side by side, to label by click or key; what the labels have taught; and what
// so many labels can teach. The next pair is there before it is asked for, so it shows at once.

export default {
  render(context) {
    return frame(context, "annotate", ["lower", "annotate", "run"], build(context.model));
  },
};

const SAID = { a: "a", b: "b", t: "tie", s: "skip" }; // keys and what they say; u takes back
const GOALS = [20, 50, 100, 200, 500, 1000];

const build = (model) => (root, board, sized, leaving) => {
  const tabs = lowerTabs(root, board, "annotate", leaving);
  const send = (kind, more = {}) => model.send({ kind, ...more });
  const state = () => board.get("annotate");
  let view = "pairs";
  const inner = tabRow(["pairs", "model", "table"], (key) => `ex-tab explorer-annotate-${key}`, (key) => {
    view = key;
    refresh();
  });
  const progress = make("progress", { class: "ex-annotate-progress", max: "20", value: "0" });
  const count = make("span", { class: "ex-annotate-count explorer-annotate-count", role: "status" });
  const head = make("div", { class: "ex-row ex-annotate-head" }, inner.node, progress, count);
  const told = make("p", { class: "ex-annotate-told explorer-annotate-told", role: "status", hidden: true });
  const tell = (words) => {
    write(told, words);
    told.hidden = !words;
  };

  // ---------------------------------------------------------------- the pairs

  const answered = new Set(); // labelled here; the kernel has not taken them off the queue yet
  const current = () => (state().queue ?? []).find(({ id }) => !answered.has(id)) ?? null;
  const label = (choice) => {
    const pair = current();
    if (!pair) return;
    answered.add(pair.id);
    tell("");
    send("label", { id: pair.id, choice });
    refresh();
  };
  const undoable = () => state().undo || answered.size > 0; // the kernel takes them one after the other
  const undo = () => undoable() && send("undo");
  board.exLabel = (key, repeat) => {
    const asked = key.length === 1 ? key.toLowerCase() : "";
    const shown = board.get("lower") === "annotate" && root.isConnected && !layoutOf(board).isFolded("lower") && view === "pairs";
    if (!shown || !(asked in SAID || asked === "u")) return false;
    if (!repeat) asked === "u" ? undo() : label(SAID[asked]);
    return true;
  };
  leaving(() => delete board.exLabel);

  const menu = (key) => {
    const select = make("select", { class: `ex-select explorer-annotate-${key}`, id: `ex-annotate-${key}-${Math.random().toString(36).slice(2, 8)}`, onchange: () => {
      tell("");
      send("follow", { [key]: select.value });
      cards.focus(); // so that the keys label again
    } });
    const name = make("label", { for: select.id });
    return { key, select, name, node: make("span", { class: "ex-annotate-menu" }, name, select) };
  };
  const menus = ["who", "way", "source"].map(menu);
  const prompt = make("p", { class: "ex-annotate-prompt" });
  const card = (key) => {
    const [title, text] = [make("b"), make("p", { class: `ex-annotate-text explorer-annotate-text-${key}` })];
    return { title, text, node: make("div", { class: "ex-annotate-card", onclick: () => !getSelection()?.toString() && label(key) }, title, text) };
  };
  const [a, b] = ["a", "b"].map(card);
  const cards = make("div", { class: "ex-annotate-cards", tabindex: "-1" }, a.node, b.node);
  const press = (key, act) => make("button", { class: `ex-button explorer-annotate-say-${key}`, type: "button", onclick: act });
  const buttons = Object.fromEntries([...Object.values(SAID).map((said) => [said, press(said, () => label(said))]), ["undo", press("undo", undo)]]);
  const why = make("p", { class: "ex-hint explorer-annotate-why" });
  const number = (key, value) => make("input", { class: `ex-number explorer-annotate-${key}`, type: "text", inputmode: "decimal", value });
  const [many, noise] = [number("many", "20"), number("noise", "0")];
  const simulate = make("button", { class: "ex-button explorer-annotate-simulate", type: "button", onclick: () => send("simulate", { count: Number(many.value), noise: Number(noise.value.replace(",", ".")) }) });
  const words = { many: make("span"), noise: make("span") };
  const simulated = make("div", { class: "ex-row ex-annotate-simulate" }, simulate, make("label", {}, words.many, many), make("label", {}, words.noise, noise));
  const pairs = make("div", { class: "ex-annotate-pairs" }, make("div", { class: "ex-row ex-annotate-menus" }, ...menus.map(({ node }) => node)), simulated, prompt, cards, make("div", { class: "ex-row ex-annotate-say" }, ...Object.values(buttons)), why);

  // ---------------------------------------------------------------- what they teach, and where they go

  const pictures = teachingPictures(board, sized);
  const tune = make("button", { class: "ex-button explorer-annotate-tune", type: "button", onclick: () => send("tune") });
  const tuned = make("span", { class: "ex-hint explorer-annotate-tuned", role: "status" });
  const tuning = make("div", { class: "ex-row ex-annotate-tune" }, tune, tuned);
  const table = make("div", { class: "ex-annotate-table", role: "group", tabindex: "0" });
  const train = make("button", { class: "ex-button ex-go explorer-annotate-train", type: "button", onclick: () => send("train_on_it") });
  const hold = make("button", { class: "ex-button explorer-annotate-hold", type: "button", onclick: () => send("hold_out") });
  const weighed = () => `weight_${state().component.name}`;
  const weight = make("input", { class: "explorer-annotate-weight", type: "range", min: "-2", max: "2", step: "0.05", oninput: () => board.exSettings?.move(weighed(), Number(weight.value)), onpointerdown: (event) => board.exSettings?.take(weighed(), event), onchange: () => board.exSettings?.drop(weighed()) });
  const weighs = make("span", { class: "ex-annotate-weighs" });
  const weightLabel = make("label", { class: "ex-annotate-weight" }, make("span"), weight, weighs);
  const inUse = make("p", { class: "ex-hint explorer-annotate-in-use" });
  const file = make("input", { class: "explorer-annotate-file", type: "file", accept: ".jsonl,.json,.txt", hidden: true, onchange: async () => {
    const chosen = file.files[0];
    file.value = "";
    if (chosen) send("import", { content: await chosen.text() });
  } });
  const take = make("button", { class: "ex-button explorer-annotate-import", type: "button", onclick: () => file.click() });
  const give = make("button", { class: "ex-button explorer-annotate-export", type: "button", onclick: () => send("export") });
  const foot = make("div", { class: "ex-row ex-annotate-foot" }, train, hold, weightLabel, file, take, give);
  const hint = make("p", { class: "ex-hint" });
  root.append(tabs.node, hint, head, told, pairs, tuning, pictures.node, table, foot, inUse);
  root.exTable = () => ({ pairs: () => pairTable(state()), model: () => teachingTable(state()), table: () => learntTable(model.get("table")) })[view]();

  leaving(hear(model, "msg:custom", ({ kind, of, message, added, bad, content }) => {
    if (kind === "refused") {
      answered.clear();
      tell(message);
    } else if (of === "import") tell([say(board, "ui.annotate.imported", { added }), bad.length ? say(board, "ui.annotate.bad_lines", { count: bad.length, lines: bad.slice(0, 5).join("; ") }) : ""].filter(Boolean).join(" "));
    else if (of === "export") download(new Blob([content], { type: "application/jsonl;charset=utf-8" }), `preferences-${state().who}.jsonl`);
    else if (of === "train_on_it") tell(say(board, "ui.annotate.training", { name: state().component.name }));
    else if (of === "hold_out") tell(say(board, "ui.annotate.holding"));
    refresh();
  }));
  leaving(listen(board, ["settings"], () => refresh()));

  const paintPair = () => {
    const { who, queue = [], way, source, measured, component } = state();
    for (const { key, select, name } of menus) {
      if (needsWords(select, board)) {
        select.replaceChildren(...model.get("offered")[key].map((one) => make("option", { value: one, text: say(board, `ui.annotate.${key}.${one}`) })));
        write(name, say(board, `ui.annotate.${key}.label`));
      }
      select.value = { who, way, source }[key];
    }
    simulated.hidden = who === "you";
    write(simulate, say(board, "ui.annotate.simulate"));
    for (const key of ["many", "noise"]) write(words[key], say(board, `ui.annotate.${key}`));
    const pair = current();
    const open = Boolean(pair);
    cards.dataset.id = pair?.id ?? "";
    write(prompt, open ? say(board, "ui.annotate.prompt", { prompt: pair.prompt }) : say(board, measured ? "ui.annotate.no_pairs" : "ui.annotate.preparing"));
    write(a.title, "A");
    write(b.title, "B");
    write(a.text, pair?.a ?? "");
    write(b.text, pair?.b ?? "");
    for (const key of Object.values(SAID)) buttons[key].disabled = !open;
    buttons.undo.disabled = !undoable();
    for (const [key, node] of Object.entries(buttons)) write(node, say(board, `ui.annotate.say.${key}`));
    write(why, !open ? "" : pair.way ? say(board, `ui.annotate.chosen.${pair.way}`, { from: say(board, `ui.annotate.from.${pair.source}`, { update: pair.update }) }) : say(board, "ui.annotate.chosen.again"));
    return component;
  };

  const paintTuning = () => {
    const { fitted = {}, tuning: busy } = state();
    const { tuned: found, decided = 0 } = fitted;
    tune.disabled = busy || Boolean(found) || fitted.train === undefined;
    write(tune, say(board, busy ? "ui.annotate.tuning" : "ui.annotate.tune"));
    const shares = found ? { pairs: found.pairs, tuned: percent(found.held_out), frozen: percent(found.frozen) } : {};
    write(tuned, say(board, `ui.annotate.${!found ? "tune_what" : found.epochs ? "tuned" : "not_tuned"}`, { count: decided, ...shares }));
  };

  const paintFoot = () => {
    const { fitted = {}, component, judge, labels = 0 } = state();
    const { decided = 0, apart = 0 } = fitted;
    const ready = fitted.train !== undefined;
    train.disabled = !ready || component?.current;
    const trunk = fitted.tuned?.epochs ? say(board, "ui.annotate.trunk") : "";
    write(train, [say(board, component?.there ? "ui.annotate.replace" : "ui.annotate.train", { count: decided }), trunk].filter(Boolean).join(" "));
    train.title = ready ? "" : say(board, "ui.annotate.too_few", { fewest: fitted.fewest ?? 5 });
    weightLabel.hidden = !component?.there;
    write(weightLabel.firstChild, say(board, "ui.reward.weight"));
    const value = component?.there ? board.exSettings?.value(`weight_${component.name}`) ?? component.weight : 0;
    if (document.activeElement !== weight) weight.value = value;
    write(weighs, format(value, 2));
    hold.disabled = decided + apart < (fitted.fewest ?? 5);
    write(hold, say(board, "ui.annotate.hold"));
    hold.title = say(board, "ui.annotate.hold_what");
    const fit = component?.current ? (apart ? "apart" : "in_use") : "outdated";
    const used = component?.there ? say(board, `ui.annotate.${fit}`, { name: component.name, count: component.decided, now: decided, apart }) : ready ? "" : say(board, "ui.annotate.too_few", { fewest: fitted.fewest ?? 5 });
    write(inUse, [used, judge ? judgeWords(board, judge) : ""].filter(Boolean).join(" "));
    inUse.title = inUse.textContent;
    write(take, say(board, "ui.annotate.import"));
    write(give, say(board, "ui.annotate.export"));
    give.disabled = !labels;
  };

  const refresh = () => {
    if (board.get("lower") !== "annotate") return;
    tabs.paint();
    write(hint, say(board, "ui.panels.annotate.look_for"));
    const { labels = 0, fitted = {}, saved, bad = [], queue = [] } = state();
    for (const id of answered) if (!queue.some((pair) => pair.id === id)) answered.delete(id);
    for (const key of ["pairs", "model", "table"]) write(inner.buttons[key], say(board, `ui.annotate.views.${key}`));
    inner.select(view);
    inner.node.setAttribute("aria-label", say(board, "ui.panels.annotate.tab"));
    for (const [key, node] of [["model", pictures.node], ["table", table]]) node.setAttribute("aria-label", say(board, `ui.annotate.views.${key}`));
    const done = labels + answered.size;
    const goal = GOALS.find((one) => one >= done) ?? done;
    [progress.max, progress.value] = [goal, done];
    progress.setAttribute("aria-label", say(board, "ui.annotate.progress", { done, goal }));
    const wrong = fitted.contradictions ? ` · ${say(board, "ui.annotate.contradictions", { count: fitted.contradictions })}` : "";
    const spoilt = bad.length ? ` · ${say(board, "ui.annotate.bad_lines", { count: bad.length, lines: bad.slice(0, 3).join("; ") })}` : "";
    write(count, `${say(board, "ui.annotate.progress", { done, goal })}${wrong}${spoilt}`);
    count.dataset.saved = labels; // on disk; the count beside it runs ahead
    count.title = saved ? say(board, "ui.annotate.saved", { file: saved }) : say(board, "ui.annotate.unsaved");
    pairs.hidden = view !== "pairs";
    pictures.node.hidden = tuning.hidden = view !== "model";
    table.hidden = view !== "table";
    if (view === "pairs") paintPair();
    if (view === "model") {
      paintTuning();
      pictures.paint(fitted, state().curve ?? []);
    }
    if (view === "table" && (needsWords(table, board) || !table.firstChild)) table.replaceChildren(...learningTable(board, model.get("table")));
    paintFoot();
  };
  return refresh;
};

// What the judge was fitted to, and whether it shares pairs with what is trained on: then it is no judge of that.
function judgeWords(board, { decided, held_out, pairs, shared }) {
  const key = shared === null ? "unknown" : shared ? "shared" : "other";
  return say(board, `ui.annotate.judge.${key}`, { count: decided ?? "?", right: percent(held_out ?? NaN), pairs, shared });
}
