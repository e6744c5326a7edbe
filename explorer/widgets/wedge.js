// The tokens by their two probabilities: under the old policy to the right, under the new one upwards. Both axes are
// linear, so that a band of ratios is a wedge: as thin as a rare token's room, and cut off where a probability cannot
// grow any further. (In logarithms it would be a stripe, and where nothing can clip too small to see.) A part of the
// clip picture.

const SHARES = [0, 0.25, 0.5, 0.75, 1];

function squareScales(width, height) {
  const [left, right, top, bottom] = [34, width - 40, 18, height - 30];
  return { x: (p) => left + p * (right - left), y: (p) => bottom - p * (bottom - top), left, right, top, bottom };
}

// The band as corners [p old, p new]: the wedge, and the part of it in which a token can never be above the band, since
// not even a new probability of 1 is so far from the old one. It begins at 1 / high.
function wedgeOf([low, high]) {
  const edge = 1 / high;
  return {
    edge,
    wedge: [[0, 0], [edge, 1], [1, 1], [1, Math.max(0, low)]],
    never: [[edge, Math.max(0, low) * edge], [edge, 1], [1, 1], [1, Math.max(0, low)]],
  };
}

const wedgeKind = (objective) => (NO_BAND.has(objective) ? "no_band" : objective === "gspo" ? "response" : objective === "cispo" ? "weight" : "band");

function drawWedge(picture, board, batch, scales) {
  const { x, y, left, right, top, bottom } = scales;
  const group = draw("g", {}, picture);
  const [low, high] = batch.clip;
  const { wedge, never, edge } = wedgeOf(batch.clip);
  const corners = (points) => points.map(([p, q]) => `${x(p).toFixed(1)},${y(q).toFixed(1)}`).join(" ");
  draw("polygon", { class: "ex-region explorer-region", points: corners(wedge), "data-low": low.toFixed(4), "data-high": high.toFixed(4) }, group);
  draw("polygon", { class: "ex-never explorer-never", points: corners(never), "data-edge": edge.toFixed(4) }, group);
  draw("rect", { class: "ex-frame", x: left, y: top, width: right - left, height: bottom - top }, group);
  draw("line", { class: "ex-unmoved", x1: x(0), y1: y(0), x2: x(1), y2: y(1) }, group);
  draw("line", { class: "ex-never-edge", x1: x(edge), x2: x(edge), y1: top, y2: bottom }, group);

  for (const share of SHARES.filter((share) => Math.abs(x(share) - x(edge)) > 30)) drawTick(group, x(share), bottom, format(share, share % 1 ? 2 : 0), "ex-tick ex-tick-old");
  drawTick(group, x(edge), bottom, format(edge), "ex-tick ex-edge");
  for (const share of bottom - top < 90 ? [0, 1] : [0, 0.5, 1]) {
    draw("text", { class: "ex-tick ex-tick-new", x: left - 5, y: y(share) + 4, "text-anchor": "end", text: format(share, share % 1 ? 1 : 0) }, group);
  }
  draw("text", { class: "ex-axis-label", x: right, y: bottom + 26, "text-anchor": "end", text: say(board, "clip.wedge.old_axis") }, group);
  draw("text", { class: "ex-axis-label", x: 0, y: 10, text: say(board, "clip.wedge.new_axis") }, group);

  // The ratios of the wedge's edges stand where these leave the frame: no token lies there.
  draw("text", { class: "ex-edge", x: x(edge), y: top - 5, "text-anchor": "middle", text: `ρ ${format(high)}` }, group);
  draw("text", { class: "ex-edge", x: right + 4, y: y(Math.max(0, low)) + 4, text: `ρ ${format(low)}` }, group);
  if (batch.pull_limit) {
    const at = 1 / batch.pull_limit;
    draw("line", { class: "ex-limit-edge", x1: x(0), y1: y(0), x2: x(at), y2: y(1) }, group);
    draw("text", { class: "ex-edge", x: x(at), y: top - 5, "text-anchor": "middle", text: `ρ ${format(batch.pull_limit, 1)}` }, group);
  }
  const note = draw("text", { class: "ex-note ex-never-note", x: right - 6, y: bottom - 8, "text-anchor": "end" }, group);
  note.textContent = say(board, `clip.wedge.never.${wedgeKind(batch.objective)}`, { edge: format(edge) });
}
