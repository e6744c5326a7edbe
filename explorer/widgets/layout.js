// How the page is laid out: which panels are folded away, and whether it is big, for a room to read. Three panels stand
// open at first: the tokens, the clip and the run, or in the big page the lower half in the run's place. The browser
// remembers what its reader has changed, for the big page apart.

const LAYOUT_KEPT = "ppo-explorer-layout";
const FOLDS = ["objective", "lower", "kl", "curves"]; // the tokens are always there
const FOLDED_AT_FIRST = { usual: ["lower", "kl"], big: ["kl", "curves"] };

// The one layout of a page's views. `fold(name, yes)` and `setBig(yes)` change it; the board then says "change:layout".
function layoutOf(board) {
  board.exLayout ??= makeLayout(board);
  return board.exLayout;
}

function makeLayout(board) {
  const kept = keptLayout();
  const folded = { ...FOLDED_AT_FIRST, ...kept.folded };
  let big = new URLSearchParams(location.search).has("big") || Boolean(kept.big);
  const now = () => folded[big ? "big" : "usual"];
  const changed = () => {
    try {
      localStorage.setItem(LAYOUT_KEPT, JSON.stringify({ big, folded }));
    } catch {
      // a browser that keeps nothing: the layout is this page's own
    }
    board.trigger("change:layout");
  };
  return {
    get big() {
      return big;
    },
    isFolded: (name) => now().includes(name),
    fold(name, yes) {
      if (!FOLDS.includes(name) || now().includes(name) === yes) return;
      folded[big ? "big" : "usual"] = FOLDS.filter((one) => (one === name ? yes : now().includes(one)));
      changed();
    },
    setBig(yes) {
      big = yes;
      changed();
    },
  };
}

// What the browser remembers; nothing where it cannot be read.
function keptLayout() {
  try {
    const { big, folded = {} } = JSON.parse(localStorage.getItem(LAYOUT_KEPT)) ?? {};
    const known = Object.entries(folded).filter(([, names]) => Array.isArray(names)).map(([page, names]) => [page, names.filter((name) => FOLDS.includes(name))]);
    return { big, folded: Object.fromEntries(known) };
  } catch {
    return {};
  }
}

// ---------------------------------------------------------------- the big page

const BIG = { across: 1120, least: 1.15, most: 2.2 }; // a big page is as if so many pixels wide, and enlarged within these

// How many columns fit, how much larger a big page is, and whether it is ours alone: CSS lays out by these.
function fitPage(page, board) {
  if (!page.parentElement) return; // taken away before its frame came
  const { width } = page.parentElement.getBoundingClientRect();
  const { big } = layoutOf(board);
  const zoom = big ? clamp(Math.round((width / BIG.across) * 20) / 20, BIG.least, BIG.most) : 1;
  const columns = width / zoom >= (big ? 1000 : 1160) ? "3" : width / zoom >= 700 ? "2" : "1";
  for (const [name, value] of Object.entries({ big: String(big), zoom: String(zoom), columns })) {
    if (page.dataset[name] !== value) page.dataset[name] = value;
  }
  page.style.setProperty("--ex-zoom", zoom);
}

// By how much a page is enlarged: what the browser measures on the screen, divided by it, is in the page's own pixels.
const zoomOf = (node) => Number(node.closest(".explorer")?.dataset.zoom ?? 1);

// Where an event is in a node, in the page's own pixels.
function placeIn(node, { clientX, clientY }) {
  const [{ left, top }, zoom] = [node.getBoundingClientRect(), zoomOf(node)];
  return { x: (clientX - left) / zoom, y: (clientY - top) / zoom };
}
