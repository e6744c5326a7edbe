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
  const paint = () => {
    if (!root.isConnected || own.width === 0) return;
    const started = performance.now();
    render();
    root.exMilliseconds = performance.now() - started; // what the benchmarks read
    board.exJoins?.forEach((join) => join());
  };
  const soon = () => turns.ask(root, paint, key);
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
      const edge = Math.min(innerWidth - 8, root.getBoundingClientRect().right);
      const [down, up] = beside ? [at.top, at.bottom - size.height] : [at.bottom + 8, at.top - size.height - 8];
      box.style.left = `${beside ? at.right + 14 : Math.max(8, Math.min(at.left, edge - size.width))}px`;
      box.style.top = `${down + size.height < innerHeight ? down : Math.max(8, up)}px`;
      document.addEventListener("keydown", onEscape, true); // wherever the focus is: a tooltip may be in the way
    },
  };
}

// The panels that share the middle's lower half: a tab row in each, of which one panel shows at a time.
const LOWER = ["advantages", "reward", "ledger", "ladder", "inspector", "samples", "toy", "runs"];

// The lines of the ledger that say where a quantity comes from; of several, the first that the settings have.
const LEDGER_LINES = {
  ratio: ["ratio"], old_probability: ["ratio"], new_probability: ["ratio"], advantage: ["whitened"], raw_advantage: ["advantage"],
  reward: ["reward", "reward_whitened"], ref_kl: ["ref_kl"], ref_probability: ["ref_kl"], delta: ["delta", "advantage"],
  log_ratio: ["ratio"], gradient_part: ["share"], value: ["delta", "advantage"], return: ["to_go", "total", "advantage"],
  term: ["term"], pull: ["pull"], gradient_share: ["share"],
};

// Open the ledger of the pinned token where a quantity comes from.
function openLedger(board, quantity) {
  board.exLedgerLine = LEDGER_LINES[quantity] ?? ["score"];
  board.set("lower", "ledger");
  board.set("wants_samples", false);
  board.save_changes();
  board.trigger("change:ledger");
}

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
