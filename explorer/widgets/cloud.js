// The cloud of a batch's tokens: where each lies on the objective's curve, or by its two probabilities; what is drawn of
// it; which is nearest to the pointer; and how it moves from one epoch to the next. A part of the clip picture.
// Places are plain arrays by token, row * length + t: thousands of tokens are six paths, and cost no node each.

// Half the width of a token's triangle, in pixels, by its state: small inside the band, so that what has left it stands out
// by more than its filling.
const GLYPH = { [INSIDE]: 2.5, [OUTSIDE_FLOWS]: 3.4, [OUTSIDE_ZERO]: 3.4 };
const PILE = 14; // how far tokens of one place are piled up about the curve, at most
const UNPLACED = MASKED; // the state of a token that is not drawn, as one without advantage

const emptyPlaces = (count) => ({
  x: new Float32Array(count), y: new Float32Array(count), state: new Uint8Array(count), sign: new Int8Array(count),
});

function eachToken(batch, visit) {
  const states = statesOf(batch);
  for (let row = 0; row < batch.rows; row += 1) {
    for (let t = 0; t < batch.tokens[row].length; t += 1) {
      const index = row * batch.length + t;
      if (states[index] !== MASKED) visit(index, row, states[index]);
    }
  }
}

// Reads a curve, given by its terms at some rising ratios, in between: straight from point to point in the logarithm.
function readerOf(ratios) {
  const logs = Float64Array.from(ratios, Math.log);
  const last = logs.length - 1;
  return (terms, ratio) => {
    const at = clamp(Math.log(ratio), logs[0], logs[last]);
    let [before, after] = [0, last];
    while (after - before > 1) {
      const middle = (before + after) >> 1;
      if (logs[middle] <= at) before = middle;
      else after = middle;
    }
    return terms[before] + ((at - logs[before]) / (logs[after] - logs[before])) * (terms[after] - terms[before]);
  };
}

// Every token at its ratio on the curve of its sign; tokens of one place are piled up about it, so that their number can
// be seen. `scales` are those of the two panels by sign. A token without advantage has no place.
function placesOnCurve(batch, scales) {
  const places = emptyPlaces(batch.rows * batch.length);
  places.beyond = { 1: [0, 0], "-1": [0, 0] };
  const [ratios, advantages] = [quantityOf(batch, "ratio"), quantityOf(batch, "advantage")];
  if (!ratios || !advantages || !batch.curve) return places;
  const termAt = readerOf(numbers(batch.curve.ratios, Float32Array));
  for (const sign of [1, -1]) {
    const { x, y, ends } = scales[sign];
    const terms = numbers(batch.curve[sign > 0 ? "positive" : "negative"], Float32Array);
    const columns = new Map();
    const seen = new Float32Array(places.x.length);
    eachToken(batch, (index, row, state) => {
      if (advantages[index] * sign <= 0) return;
      const ratio = batch.response_ratios?.[row] ?? ratios[index]; // GSPO's is the whole response's
      seen[index] = ratio;
      places.x[index] = x(ratio);
      places.state[index] = state;
      places.sign[index] = sign;
      const column = Math.round(places.x[index] / 5);
      if (columns.has(column)) columns.get(column).push(index);
      else columns.set(column, [index]);
      if (ratio < ends[0]) places.beyond[sign][0] += 1;
      if (ratio > ends[1]) places.beyond[sign][1] += 1;
    });
    const most = Math.max(1, ...[...columns.values()].map((column) => column.length));
    const lift = Math.min(4, (2 * PILE) / most);
    for (const column of columns.values()) {
      column.sort((a, b) => seen[a] - seen[b]);
      column.forEach((index, i) => {
        places.y[index] = y(termAt(terms, seen[index])) + (i % 2 ? 1 : -1) * Math.ceil(i / 2) * lift;
      });
    }
  }
  return places;
}

// Every token by its probability under the old policy, to the right, and under the new one, upwards, in the panel of its
// sign.
function placesByProbability(batch, scales) {
  const places = emptyPlaces(batch.rows * batch.length);
  const [old, now, advantages] = ["old_probability", "new_probability", "advantage"].map((name) => quantityOf(batch, name));
  if (!old || !now || !advantages) return places;
  eachToken(batch, (index, row, state) => {
    const sign = Math.sign(advantages[index]);
    if (!sign) return;
    places.x[index] = scales[sign].x(old[index]);
    places.y[index] = scales[sign].y(now[index]);
    places.state[index] = state;
    places.sign[index] = sign;
  });
  return places;
}

// How many tokens have no side, and so no place in either panel.
function undrawnTokens(batch) {
  const advantages = quantityOf(batch, "advantage");
  let count = 0;
  if (advantages) eachToken(batch, (index) => (count += advantages[index] === 0 ? 1 : 0));
  return count;
}

// That they are not drawn is said where they would be missed.
function noteUndrawn(group, board, batch, x, y) {
  const count = undrawnTokens(batch);
  if (!count) return;
  const text = draw("text", { class: "ex-note ex-over explorer-undrawn", x, y, text: say(board, "clip.undrawn.short", { count }) }, group);
  draw("title", { text: say(board, "clip.undrawn.long") }, text);
}

// ---------------------------------------------------------------- glyphs

// A triangle points where the advantage pushes.
function glyph(x, y, size, sign) {
  const tip = size * 1.15 * sign;
  return `M${Math.round(x * 10) / 10} ${Math.round((y - tip) * 10) / 10}l${size} ${tip * 1.75}h${-2 * size}z`;
}

const SIGNS = { 1: "ex-positive", "-1": "ex-negative" };

// One path for each sign and state, in a group for each sign; returns what draws places in them.
function glyphLayer(parent) {
  const paths = [1, -1].map((sign) => {
    const group = draw("g", { class: SIGNS[sign] }, parent);
    return [sign, [INSIDE, OUTSIDE_FLOWS, OUTSIDE_ZERO].map((state) => draw("path", { class: `ex-glyphs ex-glyph-${state}` }, group))];
  });
  return ({ x, y, state, sign }) => {
    const [drawn, counted] = [Array(12).fill(""), Array(12).fill(0)];
    for (let i = 0; i < x.length; i += 1) {
      if (state[i] === UNPLACED) continue;
      const slot = (sign[i] + 1) * 4 + state[i];
      drawn[slot] += glyph(x[i], y[i], GLYPH[state[i]], sign[i]);
      counted[slot] += 1;
    }
    for (const [own, ofStates] of paths) {
      ofStates.forEach((path, i) => {
        const slot = (own + 1) * 4 + i + 1;
        path.setAttribute("d", drawn[slot]);
        path.setAttribute("data-count", counted[slot]);
      });
    }
  };
}

// The token drawn nearest to a point, as [row, t]; null where none is near.
function nearestToken(places, batch, x, y) {
  let [best, distance] = [-1, 14 ** 2];
  for (let i = 0; i < places.x.length; i += 1) {
    if (places.state[i] === UNPLACED) continue;
    const d = (places.x[i] - x) ** 2 + (places.y[i] - y) ** 2;
    if (d < distance) [best, distance] = [i, d];
  }
  return best < 0 ? null : [Math.floor(best / batch.length), best % batch.length];
}

// ---------------------------------------------------------------- motion

const MOTION = 650; // milliseconds from one epoch's places to the next's

// Places on the way from some to others, `share` of it gone: slow at both ends. A token that is only in one of them is
// where it is there; half way it takes its new state.
function placesBetween(from, to, share, into) {
  const eased = share * share * (3 - 2 * share);
  for (let i = 0; i < to.x.length; i += 1) {
    const moves = from.state[i] !== UNPLACED && from.sign[i] === to.sign[i];
    into.x[i] = moves ? from.x[i] + eased * (to.x[i] - from.x[i]) : to.x[i];
    into.y[i] = moves ? from.y[i] + eased * (to.y[i] - from.y[i]) : to.y[i];
    into.state[i] = moves && share < 0.5 ? from.state[i] : to.state[i];
    into.sign[i] = to.sign[i];
  }
  return into;
}

// The places on screen. `go(places, how)`: "move" there for a while, "jump" there at once, or "keep" to the way that one
// is on, of which only the end has changed. `paint(moving)` runs for each frame. Readers who want no motion get none.
function cloudMotion(paint) {
  const quiet = matchMedia("(prefers-reduced-motion: reduce)");
  let [from, to, shown] = [null, null, emptyPlaces(0)];
  let [since, next] = [0, 0];
  const step = (now) => {
    const share = clamp((now - since) / MOTION, 0, 1);
    next = share < 1 ? requestAnimationFrame(step) : 0;
    shown = next ? placesBetween(from, to, share, shown) : to;
    paint(next !== 0);
  };
  return {
    get shown() {
      return shown;
    },
    go(places, how) {
      const moving = next !== 0;
      cancelAnimationFrame(next);
      next = 0;
      to = places;
      const comparable = shown.x.length === places.x.length && !quiet.matches;
      if (how === "move" && comparable) {
        [from, shown, since] = [shown, emptyPlaces(places.x.length), performance.now()];
        step(since);
      } else if (how === "keep" && comparable && moving) step(performance.now());
      else {
        shown = to;
        paint(false);
      }
    },
    stop: () => cancelAnimationFrame(next),
  };
}
