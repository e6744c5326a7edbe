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
// `leaving(fn)`: fn is called when the view goes.
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

  const turns = turnsOf(board);
  const soon = () => turns.ask(root, () => root.isConnected && own.width > 0 && render(), key);
  const own = sized(root);
  setTheme();
  const stops = [listen(board, ["theme"], setTheme), listen(board, [...traits, "words"], soon)];
  const render = build(root, board, sized, (stop) => stops.push(stop));
  requestAnimationFrame(setTheme);
  return () => {
    stops.forEach((stop) => stop());
    turns.drop(root);
    ruler.disconnect();
    watcher.disconnect();
  };
}

function heading(board, path, values) {
  return [
    make("h2", { text: say(board, `ui.panels.${path}.title`, values) }),
    make("p", { class: "ex-hint", text: say(board, `ui.panels.${path}.look_for`, values) }),
  ];
}

// The one tooltip of a view, placed beside the pointer or the focused token and kept on screen. As a popover it lies in
// the browser's top layer, so that a notebook that moves its cells about does not move it too.
function tooltip(root) {
  const box = make("div", { class: "ex-tip", role: "tooltip", hidden: true, popover: "manual" });
  root.append(box);
  return {
    show(nodes, anchor) {
      box.replaceChildren(...nodes);
      box.hidden = false;
      if (box.isConnected && box.showPopover && !box.matches(":popover-open")) box.showPopover();
      const at = anchor.getBoundingClientRect ? anchor.getBoundingClientRect() : anchor;
      const size = box.getBoundingClientRect();
      const below = at.bottom + 8 + size.height < innerHeight;
      // Over its own panel where it can, so that what the other panels say of the same token stays in sight.
      const edge = Math.min(innerWidth - 8, root.getBoundingClientRect().right);
      box.style.left = `${Math.max(8, Math.min(at.left, edge - size.width))}px`;
      box.style.top = `${below ? at.bottom + 8 : Math.max(8, at.top - size.height - 8)}px`;
    },
    hide() {
      if (box.hidePopover && box.matches(":popover-open")) box.hidePopover();
      box.hidden = true;
    },
  };
}

// The panels that share the middle's lower half: a tab row in each, of which one panel shows at a time.
const LOWER = ["advantages", "inspector", "ladder", "samples", "toy", "runs"];

function lowerTabs(root, board, own, leaving) {
  const place = () => {
    if (root.parentElement) root.parentElement.hidden = board.get("lower") !== own;
  };
  leaving(listen(board, ["lower"], place));
  place();
  const node = make("div", { class: "ex-tabs", role: "tablist" });
  const there = LOWER.filter((key) => key !== "runs" || !isReplay(board));
  const buttons = there.map((key) =>
    make("button", {
      class: `ex-tab explorer-tab-${key}`, role: "tab", type: "button",
      onclick: () => {
        board.set("lower", key);
        board.set("wants_samples", key === "samples");
        board.save_changes();
      },
    }),
  );
  node.append(...buttons);
  const paint = () =>
    there.forEach((key, i) => {
      write(buttons[i], say(board, `ui.panels.${key}.tab`));
      buttons[i].title = say(board, `ui.panels.${key}.title`);
      buttons[i].setAttribute("aria-selected", String(key === own));
    });
  return { node, paint };
}
