// The frame of a view: its theme, its turn to draw, its heading, its tooltip, and the tabs of the middle's lower half.

// Whether the host shows a dark page: what it says of itself, else the brightness of its background.
function hostIsDark() {
  const said = document.body.dataset.jpThemeLight;
  if (said) return said === "false";
  if (document.body.classList.contains("theme-dark")) return true;
  const rgb = getComputedStyle(document.body).backgroundColor.match(/[\d.]+/g)?.map(Number) ?? [];
  if (rgb.length < 3 || rgb[3] === 0) return false;
  return 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2] < 128;
}

// The frame of a view: its root with class and theme, kept up to date; `render` runs whenever a listened trait or a size
// changes, when its turn comes, and never while the view has no size. `build` gets `sized(node)`: the node's size, kept
// by the browser, since to ask a node for it while six views draw would have the page laid out six times a frame; and
// `leaving(fn)`: fn is called when the view goes; and `again()`: paint once more, in a later frame.
async function frame({ model, el }, key, traits, build) {
  const board = await openBoard(model);
  const root = make("section", { class: `explorer-view explorer-${key}`, tabindex: "-1" });
  el.append(root);
  el.classList.add("explorer-slot", `explorer-slot-${key}`);

  const setTheme = () => {
    const chosen = board.get("theme");
    const theme = chosen === "auto" ? (hostIsDark() ? "dark" : "light") : chosen;
    if (root.dataset.theme !== theme) {
      root.dataset.theme = theme;
      soon();
    }
    const page = root.closest(".explorer");
    if (page) page.dataset.theme = theme;
  };
  const tools = toolsOf(root, board, key, model);
  const watcher = new MutationObserver(setTheme);
  watcher.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "class"] });

  const sizes = new Map();
  const ruler = new ResizeObserver((entries) => {
    for (const { target, contentRect } of entries) {
      Object.assign(sizes.get(target), { width: Math.round(contentRect.width), height: Math.round(contentRect.height) });
    }
    soon();
  });
  const sized = (node) => {
    if (!sizes.has(node)) {
      sizes.set(node, { width: 0, height: 0 });
      ruler.observe(node);
    }
    return sizes.get(node);
  };

  // What has been folded away had no size: it is measured before it draws.
  const unfolded = () => {
    tools.place();
    if (tools.folded) return;
    for (const [node, size] of sizes) {
      if (size.width) continue;
      const [{ width, height }, zoom] = [node.getBoundingClientRect(), zoomOf(root)];
      Object.assign(size, { width: Math.round(width / zoom), height: Math.round(height / zoom) });
    }
  };
  const turns = turnsOf(board);
  const paint = () => {
    if (!root.isConnected || own.width === 0) return;
    tools.paint();
    if (tools.folded) return;
    const started = performance.now();
    const held = heldNumber(root);
    render();
    held();
    root.exMilliseconds = performance.now() - started; // what the benchmarks read
    board.exJoins?.forEach((join) => join());
  };
  const soon = () => turns.ask(root, paint, key);
  const own = sized(root);
  setTheme();
  hearOpening(root, board);
  const stops = [listen(board, ["theme"], setTheme), listen(board, [...traits, "words", "layout"], soon), listen(board, ["layout"], unfolded)];
  const render = build(root, board, sized, (stop) => stops.push(stop), soon);
  root.append(...tools.nodes);
  requestAnimationFrame(setTheme);
  return () => {
    stops.forEach((stop) => stop());
    turns.drop(root);
    ruler.disconnect();
    watcher.disconnect();
  };
}

// What every panel has in its upper right corner: it is saved there, and folded away. Folded, it shows its name alone, and
// the lower half its tabs.
function toolsOf(root, board, key, model) {
  if (["player", "controls"].includes(key)) return namedOnly(root, board, key);
  const fold = LOWER.includes(key) ? "lower" : FOLDS.includes(key) ? key : null;
  const save = make("button", { class: `ex-tool explorer-save-${key}`, type: "button", text: "⤓", "aria-haspopup": "menu", onclick: () => board.exSave(root, key, model, save) });
  const chevron = make("button", { class: `ex-tool explorer-fold-${key}`, type: "button", onclick: () => layoutOf(board).fold(fold, !layoutOf(board).isFolded(fold)) });
  const name = make("h2", { class: "ex-folded-name" });
  const corner = make("div", { class: "ex-tools" }, save, fold ? chevron : null);
  root.classList.toggle("ex-foldable", fold !== null);
  const isFolded = () => fold !== null && layoutOf(board).isFolded(fold);
  const place = () => {
    for (const node of [root, root.parentElement]) {
      if (node && node.dataset.folded !== String(isFolded())) node.dataset.folded = isFolded();
    }
  };
  place();
  return {
    nodes: fold && fold !== "lower" ? [name, corner] : [corner],
    place,
    get folded() {
      return isFolded();
    },
    paint() {
      const [title, folded] = [say(board, `ui.panels.${key}.title`), isFolded()];
      root.setAttribute("aria-label", title);
      write(name, title);
      write(chevron, folded ? "▸" : "▾");
      chevron.setAttribute("aria-expanded", String(!folded));
      const what = say(board, fold === "lower" ? "ui.panels.lower.title" : `ui.panels.${key}.title`);
      for (const [node, words] of [[save, say(board, "ui.save.menu", { panel: title })], [chevron, say(board, folded ? "ui.unfold" : "ui.fold", { panel: what })]]) {
        if (node.title !== words) node.title = words;
        node.setAttribute("aria-label", words);
      }
    },
  };
}

// What has no corner has its name for who listens; the settings a heading too, since their groups have one each.
function namedOnly(root, board, key) {
  const name = make("h2", { class: "ex-spoken" });
  const paint = () => {
    write(name, say(board, `ui.panels.${key}.title`));
    root.setAttribute("aria-label", name.textContent);
  };
  if (key === "controls") root.append(name);
  return { nodes: [], folded: false, place() {}, paint };
}

function heading(board, path, values) {
  return [
    make("h2", { text: say(board, `ui.panels.${path}.title`, values) }),
    make("p", { class: "ex-hint", text: say(board, `ui.panels.${path}.look_for`, values) }),
  ];
}

// Tabs that choose which of its pictures a panel shows; the choice is a trait of the board, and so outlives the
// page.
function viewTabs(board, trait, views, nameOf) {
  const tabs = tabRow(views, (view) => `ex-tab explorer-view-${view}`, (view) => {
    board.set(trait, view);
    board.save_changes();
  });
  const paint = () => {
    views.forEach((view) => write(tabs.buttons[view], nameOf(view)));
    tabs.select(board.get(trait));
  };
  return { node: tabs.node, paint };
}

// The one tooltip of a view, placed beside the pointer or the focused token and kept on screen. As a popover it lies in
// the browser's top layer, so that a notebook that moves its cells about does not move it too.
function tooltip(root) {
  const box = make("div", { class: "ex-tip", role: "tooltip", hidden: true, popover: "manual" });
  root.append(box);
  const onEscape = (event) => event.key === "Escape" && hide();
  const hide = () => {
    document.removeEventListener("keydown", onEscape, true);
    if (box.hidePopover && box.matches(":popover-open")) box.hidePopover();
    box.hidden = true;
  };
  return {
    hide,
    show(nodes, anchor, aside = false) {
      box.replaceChildren(...nodes);
      box.hidden = false;
      if (box.isConnected && box.showPopover && !box.matches(":popover-open")) box.showPopover();
      const at = anchor.getBoundingClientRect();
      const size = box.getBoundingClientRect();
      // Aside, where there is room, it hides none of the controls below; else over its own panel where it can, so that
      // what the other panels say of the same token stays in sight.
      const beside = aside && at.right + 22 + size.width < innerWidth;
      const zoom = zoomOf(root); // which an enlarged page has its tooltips' places in
      const edge = Math.min(innerWidth - 8, root.getBoundingClientRect().right);
      const [down, up] = beside ? [at.top, at.bottom - size.height] : [at.bottom + 8, at.top - size.height - 8];
      box.style.left = `${(beside ? at.right + 14 : Math.max(8, Math.min(at.left, edge - size.width))) / zoom}px`;
      box.style.top = `${(down + size.height < innerHeight ? down : Math.max(8, up)) / zoom}px`;
      document.addEventListener("keydown", onEscape, true); // wherever the focus is: a tooltip may be in the way
    },
  };
}

// A row of tabs as everyone knows it: one of them is reached by Tab, and the arrows, Home and End go on to the others.
function tabRow(keys, className, show) {
  const buttons = Object.fromEntries(keys.map((key) => [key, make("button", { class: className(key), role: "tab", type: "button", onclick: () => show(key) })]));
  const node = make("div", { class: "ex-tabs", role: "tablist" }, ...Object.values(buttons));
  node.addEventListener("keydown", (event) => {
    const at = keys.findIndex((key) => buttons[key] === event.target);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: keys.length - 1 }[event.key];
    if (at < 0 || to === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    const key = keys[(to + keys.length) % keys.length];
    buttons[key].focus();
    show(key);
  });
  const select = (chosen) => {
    for (const key of keys) {
      buttons[key].setAttribute("aria-selected", String(key === chosen));
      buttons[key].tabIndex = key === chosen ? 0 : -1;
    }
  };
  return { node, buttons, select };
}

// The panels that share the middle's lower half: a tab row in each, of which one panel shows at a time.
const LOWER = ["advantages", "reward", "annotate", "ledger", "ladder", "inspector", "time", "samples", "toy", "runs"];

function lowerTabs(root, board, own, leaving) {
  const place = () => {
    if (root.parentElement) root.parentElement.hidden = board.get("lower") !== own;
  };
  leaving(listen(board, ["lower"], place));
  place();
  const there = LOWER.filter((key) => !["runs", "annotate"].includes(key) || !isReplay(board));
  const show = (key) => {
    layoutOf(board).fold("lower", false);
    board.set("lower", key);
    board.set("wants_samples", key === "samples");
    board.save_changes();
    // Another panel's row of tabs is in this one's place now: the focus goes on there.
    root.closest(".explorer")?.querySelector(`.explorer-${key} .explorer-tab-${key}`)?.focus();
  };
  const tabs = tabRow(there, (key) => `ex-tab explorer-tab-${key}`, show);
  const paint = () => {
    tabs.node.setAttribute("aria-label", say(board, "ui.panels.lower.title"));
    there.forEach((key) => {
      write(tabs.buttons[key], say(board, `ui.panels.${key}.tab`));
      tabs.buttons[key].title = say(board, `ui.panels.${key}.title`);
    });
    tabs.select(own);
  };
  leaving(listen(board, ["words"], paint)); // folded away, a panel draws nothing but these
  paint();
  return { node: tabs.node, paint };
}
