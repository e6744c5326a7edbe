// Who draws when. The views of a page share one thread with its sliders: drawn all in one go, a finished update would
// keep a slider waiting for six views. So they take turns, the clip picture first since it answers a slider, and after
// a few milliseconds the rest waits for the next frame. Asked again meanwhile, a view draws once, what is newest.

const SLICE = 8; // milliseconds of a frame: the browser has as long for layout and painting
const HOLD = 120; // milliseconds that a slider which is moved while training has to itself, to be answered in,
const LONGEST = 300; // and for which a view waits for that at most
const ANSWERING = ["player", "controls", "objective", "ledger"];
const ORDER = ["player", "controls", "objective", "tokens", "kl", "advantages", "reward", "annotate", "ledger", "ladder", "inspector", "time", "samples", "toy", "runs", "curves"];

// The turns of a page, one for all views of a board.
function turnsOf(board) {
  board.exTurns ??= takeTurns();
  return board.exTurns;
}

// `ask(key, paint, view)`: paint soon, as the view's turn comes; `key` stands for what is painted. `drop(key)`: not any more.
// `hold()`: a slider has been moved; what does not answer it waits a little.
function takeTurns() {
  const waiting = new Map();
  let queued = false;
  let heldUntil = 0;
  const go = () => {
    queued = false;
    const now = performance.now();
    const end = now + SLICE;
    const held = ({ view, since }) => now < Math.min(heldUntil, since + LONGEST) && !ANSWERING.includes(view);
    const order = [...waiting].filter(([, turn]) => !held(turn)).sort(([, a], [, b]) => ORDER.indexOf(a.view) - ORDER.indexOf(b.view));
    for (const [key, { paint }] of order) {
      waiting.delete(key);
      try {
        paint();
      } catch (error) {
        reportError(error); // one view's fault is no other's
      }
      if (performance.now() > end) break;
    }
    if ([...waiting.values()].some((turn) => !held(turn))) soon();
    else if (waiting.size) setTimeout(soon, 20);
  };
  const soon = () => {
    if (queued) return;
    queued = true;
    requestAnimationFrame(go);
  };
  return {
    ask(key, paint, view) {
      waiting.set(key, { paint, view, since: waiting.get(key)?.since ?? performance.now() });
      soon();
    },
    hold: () => (heldUntil = performance.now() + HOLD),
    drop: (key) => waiting.delete(key),
  };
}
