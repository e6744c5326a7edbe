// The menu of a panel's ⤓: its picture as PNG or SVG, its numbers as CSV, and those of its other half where it has two. All
// of it is made here, in the browser.

const KINDS = ["png", "svg", "csv", "more"];

// Returns `save(root, key, model, button)`: opens the menu of a panel at its button. One menu serves the whole page.
function saver(board) {
  const menu = make("div", { class: "ex-menu", role: "menu", popover: "auto" });
  let target = null;
  const items = KINDS.map((kind) => make("button", { class: `ex-menu-item explorer-save-as-${kind}`, type: "button", role: "menuitem", onclick: () => {
    const { root, key, model, button } = target;
    menu.hidePopover();
    button.focus();
    saveAs(kind, board, root, key, model).catch((error) => reportError(error));
  } }));
  menu.append(...items);
  menu.addEventListener("keydown", (event) => {
    const enabled = items.filter((item) => !item.disabled);
    const at = enabled.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
    if (event.key === "Tab") menu.hidePopover();
    if (event.key === "Escape") target?.button.focus();
    if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    enabled.at(to % enabled.length).focus();
  });
  return (root, key, model, button) => {
    target = { root, key, model, button };
    const tables = { csv: tableOf(root, key, board, model), more: moreOf(root, key, board, model) };
    const empty = !hasBatch(board.get("batch")) && !tables.csv;
    KINDS.forEach((kind, i) => {
      write(items[i], say(board, `ui.save.${kind === "more" ? (MORE[key] ?? "csv") : kind}`));
      items[i].hidden = kind === "more" && !MORE[key];
      items[i].disabled = items[i].hidden || (kind in tables ? !tables[kind] : empty);
      items[i].title = items[i].disabled ? say(board, "ui.save.nothing") : "";
    });
    menu.setAttribute("aria-label", button.getAttribute("aria-label"));
    root.append(menu); // in the panel, so that it has the panel's colours
    menu.showPopover();
    const [at, size, zoom] = [button.getBoundingClientRect(), menu.getBoundingClientRect(), zoomOf(root)];
    menu.style.left = `${Math.max(8, at.right - size.width) / zoom}px`;
    menu.style.top = `${(at.bottom + 4 + size.height < innerHeight ? at.bottom + 4 : at.top - size.height - 4) / zoom}px`;
    items.find((item) => !item.disabled)?.focus();
  };
}

async function saveAs(kind, board, root, key, model) {
  const title = say(board, `ui.panels.${key}.title`);
  const name = `${fileName(board, key)}.${kind}`;
  const asText = (table, called) => download(new Blob([csvOf(table)], { type: "text/csv;charset=utf-8" }), called);
  if (kind === "csv") return asText(tableOf(root, key, board, model), name);
  if (kind === "more") return asText(moreOf(root, key, board, model), `${fileName(board, key)}-${MORE[key]}.csv`);
  const picture = pictureOf(root, key, title);
  if (kind === "svg") return download(new Blob([picture.text], { type: "image/svg+xml;charset=utf-8" }), name);
  return download(await pixelsOf(picture), name);
}

// Run, update and panel: "ppo-explorer-recorded-update-40-tokens".
function fileName(board, key) {
  const run = board.get("run");
  const which = isReplay(board) ? board.get("replay").name : run.id || (run.live ? "run" : "recorded");
  return `ppo-explorer-${which}-update-${run.cursor}-${key}`.replace(/[^\w.-]+/g, "-");
}
