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
  const only = make("select", { class: "ex-select explorer-only", onchange: () => choose({ only: only.value }) });
  const group = make("button", { class: "ex-button explorer-group", type: "button", onclick: () => choose({ grouped: !choiceOf(board).grouped }) });
  const find = make("input", { class: "ex-input explorer-find", type: "search", oninput: () => choose({ find: find.value }) });
  find.addEventListener("keydown", (event) => event.key === "Enter" && pinNextFound(board, event.shiftKey ? -1 : 1));
  const node = make("div", { class: "ex-strip" }, quantity, make("span", { class: "ex-joined" }, sort, way), only, group, find);

  const paint = (batch) => {
    const choice = choiceOf(board);
    paintQuantities(board, quantity, batch);
    paintSorts(board, sort, batch, choice);
    const down = choice.descending;
    write(way, down ? "↓" : "↑");
    way.disabled = choice.by === "sampled";
    way.title = say(board, down ? "ui.tokens.descending" : "ui.tokens.ascending");
    way.setAttribute("aria-label", way.title);
    if (needsWords(only, board)) {
      only.setAttribute("aria-label", say(board, "ui.tokens.filter"));
      only.replaceChildren(...FILTERS.map((name) => make("option", { value: name, text: say(board, `ui.tokens.only.${name}`) })));
      write(group, say(board, "ui.tokens.group"));
      group.title = say(board, "ui.tokens.group_what");
      find.placeholder = say(board, "ui.tokens.find");
      find.title = say(board, "ui.tokens.find_what");
      find.setAttribute("aria-label", find.title);
    }
    only.value = choice.only;
    only.title = say(board, `ui.tokens.only_what.${choice.only}`);
    only.classList.toggle("ex-chosen", choice.only !== "all");
    sort.classList.toggle("ex-chosen", choice.by !== "sampled");
    group.setAttribute("aria-pressed", String(choice.grouped));
    if (document.activeElement !== find) find.value = choice.find;
  };
  return { node, paint };
}

const choiceOf = (board) => ({ ...AS_SAMPLED, ...board.get("strip") });

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

const sortWords = (board, name) => (isWholeResponse(name) ? wholeResponseName(board, name) : say(board, `ui.tokens.by.${name}`));
