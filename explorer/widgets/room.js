// Where the words of the clip picture have room: the notes beside the curve, the name of the ghost, and the numbers below the
// axis. All of it is reckoned from settings and size alone. A part of the clip picture.

const CLEAR = PILE + 6; // from the curve, about which the tokens are piled up
const LINE = 13;
const widthOf = (text) => [...text].reduce((sum, letter) => sum + (letter > "⺀" ? 12 : 6.3), 0);

// A text in two lines of about one length; one without spaces may break anywhere.
function inTwo(text) {
  const words = text.includes(" ") ? text.split(" ") : [...text];
  const glue = text.includes(" ") ? " " : "";
  const half = Math.ceil(words.length / 2);
  return [words.slice(0, half).join(glue), words.slice(half).join(glue)].filter(Boolean);
}

const overlap = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

// How far a box is from the curve, in pixels up or down; negative where the curve runs through it.
function clearance(box, points) {
  let least = Infinity;
  points.forEach(([px, py], i) => {
    if (px < box.left - 4 || px > box.right + 4) return;
    // The line from the point before may pass through the box between two points.
    const before = i && points[i - 1][0] >= box.left - 4 ? points[i - 1][1] : py;
    for (const at of [py, (py + before) / 2]) least = Math.min(least, at < box.top ? box.top - at : at > box.bottom ? at - box.bottom : -1);
  });
  return least;
}

// Where a note goes: over its own stretch of ratios, in two lines where that is narrow, clear of the curve with its tokens
// and of what is `taken`, and as near to the curve as that allows. Beside a stretch too narrow for it, a line leads there.
// It depends on settings and size alone, never on the tokens: labels do not jump about while a cloud moves.
function placeNote({ from, to, text }, scales, points, taken) {
  const { x, left, width, top, bottom } = scales;
  const [start, end] = [x(from), x(to)];
  if (end - start < 6) return null; // off the picture
  const middle = (start + end) / 2;
  if (!points.length) return null;
  // The curve over the middle of the stretch, or where it has left the panel.
  const [, aim] = points.reduce((best, point) => (Math.abs(point[0] - middle) < Math.abs(best[0] - middle) ? point : best));
  const wide = (lines) => Math.max(...lines.map(widthOf));
  const lines = [[text], inTwo(text)].find((some) => wide(some) <= end - start - 4) ?? inTwo(text);
  const [w, h] = [wide(lines), lines.length * LINE];
  const inwards = middle > x(1) ? -1 : 1;
  let best = null;
  for (const shift of [0, 0.3, 0.6, 0.9]) { // aside, where over its stretch it would lie on the curve
    if (best && best.clear > 8) break;
    const centre = clamp(middle + inwards * shift * w, left + 6 + w / 2, left + width - 6 - w / 2);
    for (let y = top + 2; y + h <= bottom - 3; y += 3) {
      const box = { left: centre - w / 2, right: centre + w / 2, top: y, bottom: y + h };
      if (taken.some((other) => overlap(box, other))) continue;
      const clear = clearance(box, points);
      const far = Math.abs(y + h / 2 - aim);
      const better = !best || (clear >= CLEAR ? best.clear < CLEAR || far < best.far : clear > best.clear);
      if (better) best = { box, lines, centre, clear, far };
    }
  }
  if (best && (best.box.left < start - 1 || best.box.right > end + 1)) best.leader = [middle, aim];
  return best;
}

// Where a handle stands: on the outer side of its edge, so that two of a narrow clip do not lie over each other.
function handleBox(part, x, bottom) {
  const left = { low: x - 24, high: x, limit: x - 12 }[part];
  return { left, right: left + 24, top: bottom - 21, bottom: bottom + 3 };
}

// Where the name of the ghost goes: the labels stay where they are without one, so that it takes what room they leave. To
// the right and high up, else lower, else to the left; clear of the curve where it can be.
function placeGhostName(text, { left, width, top, bottom }, curve, taken) {
  const [w, found] = [widthOf(text), []];
  for (const start of [left + width - 6 - w, left + 6, left + (width - w) / 2]) {
    for (let y = top; y + LINE <= bottom - 2; y += 3) found.push({ left: start, right: start + w, top: y, bottom: y + LINE });
  }
  const free = found.filter((box) => !taken.some((other) => overlap(box, other)));
  return free.find((box) => clearance(box, curve) > 1) ?? free[0] ?? found[0];
}

// ---------------------------------------------------------------- below the axis

const [LEAN, APART] = [3, 4]; // pixels from an edge to its label where that leans away, and between two labels at the least

const tickText = (tick) => format(tick, tick % 1 ? Math.max(1, Math.round(-Math.log10(Math.abs(tick - 1)))) : 0);

// From where to where a number below the axis reaches, in the larger letters of a wide window.
const DIGIT = 7.2;
function tickBox(x, text, anchor = "middle") {
  const wide = DIGIT * text.length;
  const left = { middle: x - wide / 2, end: x - LEAN - wide, start: x + LEAN }[anchor];
  return { left, right: left + wide };
}

// The edges' numbers below the axis: [edge, anchor]. Where those of the band would touch they lean away from each other, and
// that of the limit leans away from the band's.
function edgeTicks({ x }, edges, [low, high]) {
  const wide = [low, high].map((edge) => DIGIT * edgeText(edge).length);
  const close = edges.includes(low) && edges.includes(high) && x(high) - x(low) < Math.max(34, (wide[0] + wide[1]) / 2 + 6);
  const anchorOf = (edge) => (close && edge === low ? "end" : close && edge === high ? "start" : "middle");
  const right = edges.includes(high) ? tickBox(x(high), edgeText(high), anchorOf(high)).right : -Infinity;
  const touches = (edge) => edge > high && tickBox(x(edge), edgeText(edge)).left < right + APART;
  return edges.map((edge) => [edge, touches(edge) ? "start" : anchorOf(edge)]);
}

// The ticks of a panel that have room beside its edges' numbers and beside each other.
function ticksOf({ x, ends, grain }, edges) {
  const taken = edges.map(([edge, anchor]) => tickBox(x(edge), edgeText(edge), anchor));
  const drawn = [];
  for (const tick of grain ? FINE_TICKS : TICKS) {
    const own = tickBox(x(tick), tickText(tick));
    if (tick <= ends[0] || tick >= ends[1] || taken.some((other) => own.left < other.right + APART && other.left < own.right + APART)) continue;
    taken.push(own);
    drawn.push(tick);
  }
  return drawn;
}
