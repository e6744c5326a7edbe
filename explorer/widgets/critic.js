// How good the critic is: every token of the batch at what it said and what it should have said. A part of the ladder.

// A square on one fixed scale for both axes; what lies further out is drawn at the edge and counted.
function squareOf({ width, height }, scale) {
  const side = Math.max(40, Math.min(width, height - 14));
  const left = (width - side) / 2;
  const place = (value) => (clamp(value / scale.high, -1, 1) + 1) / 2;
  return { side, left, x: (value) => left + place(value) * side, y: (value) => (1 - place(value)) * side };
}

function drawCritic(picture, size, board, batch) {
  picture.replaceChildren();
  if (!size.width) return;
  picture.setAttribute("viewBox", `0 0 ${size.width} ${size.height}`);
  const scale = board.get("quantities").return;
  const { side, left, x, y } = squareOf(size, scale);
  draw("rect", { class: "ex-ladder-frame", x: left, y: 0, width: side, height: side }, picture);
  draw("line", { class: "ex-line ex-dashed", x1: x(scale.low), y1: y(scale.low), x2: x(scale.high), y2: y(scale.high) }, picture);
  const [values, targets, states] = [quantityOf(batch, "value"), quantityOf(batch, "return"), statesOf(batch)];
  const marks = [];
  let beyond = 0;
  for (let i = 0; i < states.length; i += 1) {
    if (states[i] === MASKED) continue;
    if (Math.max(Math.abs(values[i]), Math.abs(targets[i])) > scale.high) beyond += 1;
    marks.push(`M${x(values[i]).toFixed(1)} ${y(targets[i]).toFixed(1)}h0`);
  }
  draw("path", { class: "ex-ladder-dots", d: marks.join(""), "data-count": marks.length, "data-beyond": beyond }, picture);
  draw("text", { x: left + 3, y: 11, text: say(board, "ui.ladder.target_axis") }, picture);
  draw("text", { x: left + side - 3, y: side - 4, "text-anchor": "end", text: say(board, "ui.ladder.value_axis") }, picture);
  draw("text", { x: left, y: side + 11, text: `${format(scale.low, 1)} … ${format(scale.high, 1)}` }, picture);
  if (beyond) draw("text", { x: left + side, y: side + 11, "text-anchor": "end", text: say(board, "ui.ladder.beyond", { count: beyond }) }, picture);
  picture.setAttribute("aria-label", `${say(board, "ui.ladder.critic")}. ${say(board, "ui.ladder.explained_what")}`);
}

function markPoint(picture, size, board, batch, [row, t]) {
  picture.querySelector(".ex-ring")?.remove();
  if (!size.width) return;
  const { x, y } = squareOf(size, board.get("quantities").return);
  const at = row * batch.length + t;
  draw("circle", { class: "ex-ring", cx: x(quantityOf(batch, "value")[at]), cy: y(quantityOf(batch, "return")[at]), r: 5 }, picture);
}
