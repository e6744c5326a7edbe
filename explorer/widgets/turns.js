// Who draws when. The views of a page share one thread with its sliders: drawn all in one go, a finished update would
// keep a slider waiting for six views. So they take turns, the clip picture first since it answers a slider, and after
// a few milliseconds the rest waits for the next frame. Asked again meanwhile, a view draws once, what is newest.

const SLICE = 8; // milliseconds of a frame: the browser has as long for layout and painting
const ORDER = ["player", "controls", "objective", "tokens", "kl", "advantages", "samples", "toy", "curves"];

// The turns of a page, one for all views of a board.
function turnsOf(board) {
  board.exTurns ??= takeTurns();
  return board.exTurns;
}

// `ask(key, paint, view)`: paint soon, as the view's turn comes; `key` stands for what is painted. `drop(key)`: not any more.
function takeTurns() {
  const waiting = new Map();
  let queued = false;
  const go = () => {
    queued = false;
    const end = performance.now() + SLICE;
    const order = [...waiting].sort(([, a], [, b]) => ORDER.indexOf(a.view) - ORDER.indexOf(b.view));
    for (const [key, { paint }] of order) {
      waiting.delete(key);
      try {
        paint();
      } catch (error) {
        reportError(error); // one view's fault is no other's
      }
      if (performance.now() > end) break;
    }
    if (waiting.size) soon();
  };
  const soon = () => {
    if (queued) return;
    queued = true;
    requestAnimationFrame(go);
  };
  return {
    ask(key, paint, view) {
      waiting.set(key, { paint, view });
      soon();
    },
    drop: (key) => waiting.delete(key),
  };
}
