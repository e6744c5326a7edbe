// The row of menus above the strip: what colours it, how it is sorted and grouped, which responses stay, and text to find.

function stripMenus(board) {
  const choose = (changes) => {
    board.set("strip", { ...AS_SAMPLED, ...board.get("strip"), ...changes });
    board.save_changes();
  };
  const quantity = make("select", { class: "ex-select explorer-quantity", onchange: () => {
    board.set("quantity", quantity.value);
    board.save_changes();
  } });
  const sort = make("select", { class: "ex-select explorer-sort", onchange: () => choose({ by: sort.value }) });
  const way = make("button", { class: "ex-button ex-way explorer-sort-way", type: "button", onclick: () => choose({ descending: !choiceOf(board).descending }) });
  const only = make("select", { class: "ex-select explorer-only", onchange: () => choose({ only: only.value, ...firstLimit(board, only.value) }) });
  const cut = stripCut(board, choose);
  const group = make("button", { class: "ex-button explorer-group", type: "button", onclick: () => choose({ grouped: !choiceOf(board).grouped }) });
  const find = make("input", { class: "ex-input explorer-find", type: "search", oninput: () => choose({ find: find.value }) });
  find.addEventListener("keydown", (event) => event.key === "Enter" && pinNextFound(board, event.shiftKey ? -1 : 1));
  const node = make("div", { class: "ex-strip" }, quantity, make("span", { class: "ex-joined" }, sort, way), only, group, find);

  const paint = (batch) => {
    const choice = choiceOf(board);
    paintQuantities(board, quantity, batch);
    paintSorts(board, sort, batch, choice);
    paintFilters(board, only, batch, choice);
    cut.paint(choice.cut);
    const down = choice.descending;
    write(way, down ? "↓" : "↑");
    way.disabled = choice.by === "sampled";
    way.title = say(board, down ? "ui.tokens.descending" : "ui.tokens.ascending");
    way.setAttribute("aria-label", way.title);
    if (needsWords(group, board)) {
      write(group, say(board, "ui.tokens.group"));
      group.title = say(board, "ui.tokens.group_what");
      find.placeholder = say(board, "ui.tokens.find");
      find.title = say(board, "ui.tokens.find_what");
      find.setAttribute("aria-label", find.title);
    }
    only.classList.toggle("ex-chosen", choice.only !== "all");
    sort.classList.toggle("ex-chosen", choice.by !== "sampled");
    group.setAttribute("aria-pressed", String(choice.grouped));
    if (document.activeElement !== find) find.value = choice.find;
  };
  return { node, cut, paint };
}

function choiceOf(board) {
  const choice = { ...AS_SAMPLED, ...board.get("strip") };
  return { ...choice, cut: cutOf(choice, board.get("quantity")) };
}

// ---------------------------------------------------------------- filtered by a number

// A number that is chosen for the first time begins at the batch's middle: half of the responses stay.
function firstLimit(board, only) {
  const [{ limits }, batch] = [choiceOf(board), board.get("batch")];
  const cut = cutOf({ only, limits }, board.get("quantity"));
  if (!cut || cut.limit !== null || !hasBatch(batch)) return {};
  const range = rangeOf(metricOf(batch, cut.by, valuesOf(board, board.get("quantity"))));
  return range ? { limits: { ...limits, [cut.key]: { least: cut.least, limit: range.middle } } } : {};
}

// The limit beside its sign, and what the batch's numbers reach from and to. `paintRange(range)`: they are others.
function stripCut(board, choose) {
  const change = (changes) => {
    const { limits, cut } = choiceOf(board);
    if (cut) choose({ limits: { ...limits, [cut.key]: { least: cut.least, limit: cut.limit, ...changes } } });
  };
  const sign = make("button", { class: "ex-button ex-small explorer-cut-sign", type: "button", onclick: () => change({ least: !choiceOf(board).cut?.least }) });
  const typed = () => change({ limit: Number.isFinite(limit.valueAsNumber) ? limit.valueAsNumber : null });
  const limit = make("input", { class: "ex-input ex-small explorer-cut-limit", type: "number", step: "any", oninput: typed });
  const reach = make("span", { class: "explorer-cut-range" });
  const node = make("span", { class: "ex-cut explorer-cut", role: "group", hidden: true }, sign, limit, reach);
  const paint = (cut) => {
    node.hidden = !cut;
    if (!cut) return;
    const name = sortWords(board, cut.by);
    node.setAttribute("aria-label", say(board, "ui.tokens.only_by", { name }));
    write(sign, cut.least ? "≥" : "≤");
    sign.title = say(board, cut.least ? "ui.tokens.least" : "ui.tokens.most");
    sign.setAttribute("aria-label", sign.title);
    limit.setAttribute("aria-label", say(board, "ui.tokens.limit", { name }));
    if (document.activeElement === limit && limit.dataset.key === cut.key) return; // what is being typed stays
    limit.dataset.key = cut.key;
    limit.value = cut.limit === null ? "" : String(cut.limit);
  };
  const paintRange = (range) => {
    write(reach, range ? say(board, "ui.tokens.range", rangeWords(range)) : say(board, "ui.tokens.no_range"));
    limit.step = range?.high > range?.low ? String(10 ** Math.floor(Math.log10((range.high - range.low) / 5))) : "any";
  };
  return { node, paint, paintRange };
}

// The two ends of a range in digits that tell them apart.
function rangeWords({ low, high }) {
  const apart = high - low || Math.abs(high) || 1;
  const digits = Number.isInteger(low) && Number.isInteger(high) ? 0 : clamp(Math.ceil(1.5 - Math.log10(apart)), 0, 4);
  return { low: format(low, digits), high: format(high, digits) };
}

// Enter in the find box pins the next response's first token that holds the text, after the one pinned now.
function pinNextFound(board, by) {
  const { order, found } = board.exStrip ?? {};
  const places = (order ?? []).filter((row) => found[row].first !== null);
  if (!places.length) return;
  const at = places.indexOf(pinnedOf(board)?.[0]);
  const row = places[at < 0 ? (by > 0 ? 0 : places.length - 1) : (at + by + places.length) % places.length];
  board.exKeyed = performance.now();
  pin(board, [row, found[row].first]);
}

function paintQuantities(board, menu, batch) {
  const names = [...Object.keys(board.get("quantities")), ...wholeResponseNames(batch)];
  const chosen = board.get("quantity");
  if (!names.includes(chosen)) names.push(chosen); // what another run has; this one shows it without colour
  const stamp = names.join();
  if (needsWords(menu, board) || menu.dataset.stamp !== stamp) {
    menu.dataset.stamp = stamp;
    menu.setAttribute("aria-label", say(board, "ui.colour_by"));
    menu.replaceChildren(...names.map((name) => make("option", { value: name, text: quantityWords(board, name).label })));
  }
  menu.value = chosen;
  menu.title = quantityWords(board, chosen).what;
}

function paintSorts(board, menu, batch, choice) {
  const names = hasBatch(batch) ? sortsOf(batch) : ["sampled"];
  if (!names.includes(choice.by)) names.push(choice.by);
  const stamp = names.join();
  if (needsWords(menu, board) || menu.dataset.stamp !== stamp) {
    menu.dataset.stamp = stamp;
    menu.setAttribute("aria-label", say(board, "ui.tokens.sort"));
    menu.replaceChildren(...names.map((name) => make("option", { value: name, text: sortWords(board, name) })));
  }
  menu.value = choice.by;
  menu.title = `${say(board, "ui.tokens.sort")}: ${sortWords(board, choice.by)}`;
}

function paintFilters(board, menu, batch, choice) {
  const names = filtersOf(batch);
  if (!names.includes(choice.only)) names.push(choice.only);
  const stamp = names.join();
  if (needsWords(menu, board) || menu.dataset.stamp !== stamp) {
    menu.dataset.stamp = stamp;
    menu.setAttribute("aria-label", say(board, "ui.tokens.filter"));
    const option = (name) => make("option", { value: name, text: name.startsWith("by/") ? sortWords(board, name.slice(3)) : say(board, `ui.tokens.only.${name}`) });
    const numbered = names.filter((name) => name.startsWith("by/"));
    menu.replaceChildren(...names.filter((name) => !numbered.includes(name)).map(option));
    if (numbered.length) menu.append(make("optgroup", { label: say(board, "ui.tokens.by_number") }, ...numbered.map(option)));
  }
  menu.value = choice.only;
  menu.title = choice.cut ? say(board, "ui.tokens.only_by", { name: sortWords(board, choice.cut.by) }) : say(board, `ui.tokens.only_what.${choice.only}`);
}

const sortWords = (board, name) => (isWholeResponse(name) ? wholeResponseName(board, name) : say(board, `ui.tokens.by.${name}`));
