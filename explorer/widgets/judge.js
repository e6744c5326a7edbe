// The held-out judge: a menu, and its mean. A part of the reward.

// What the responses are measured by and never trained on; beside it its mean over the batch on screen.
function judgeChoice(board) {
  const id = `ex-judge-${Math.random().toString(36).slice(2, 8)}`;
  const label = make("label", { for: id });
  const menu = make("select", { id, class: "ex-select explorer-judge", onchange: () => board.exSettings.edit("judge", menu.value) });
  const mean = make("span", { class: "ex-reward-mean explorer-judged" });
  const node = make("div", { class: "ex-judge" }, label, menu, mean);
  let laid = "";
  const paint = (names) => {
    const now = board.exSettings?.value("judge") ?? "";
    const ready = Object.keys(lookUp(board.get("words"), "judges") ?? {});
    const weighted = (name) => Boolean(board.exSettings?.value(`weight_${name}`));
    const free = names.filter((name) => !weighted(name));
    const stamp = JSON.stringify([now, free, board.get("language")]);
    if (stamp !== laid) {
      laid = stamp;
      const option = (value, text) => make("option", { value, text, selected: value === now });
      const group = (key, options) => (options.length ? make("optgroup", { label: say(board, `ui.judge.${key}`) }, ...options) : null);
      const typed = now.startsWith("{") ? [option(now, judgeLabel(board, now))] : [];
      menu.replaceChildren(...[option("", say(board, "ui.judge.none")), ...typed, group("ready", ready.map((key) => option(key, say(board, `judges.${key}.label`)))), group("components", free.map((name) => option(name, wholeResponseName(board, `component/${name}`))))].filter(Boolean));
      menu.value = now;
    }
    menu.disabled = isReplay(board);
    write(label, say(board, "ui.judge.label"));
    const definition = lookUp(board.get("words"), `judges.${now}.definition`) ?? "";
    menu.title = label.title = [say(board, "ui.judge.what"), definition].filter(Boolean).join(" ");
    const { judge, judged } = board.get("batch");
    const told = now && now === judge && judged?.length;
    write(mean, told ? signed(judged.reduce((sum, value) => sum + value, 0) / judged.length) : "–");
  };
  return { node, paint };
}
