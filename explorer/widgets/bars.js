// What each response gets: weight × component, stacked to the right of zero where it is positive and to the left where it
// is negative. Colour says the sign; letter and texture say which component.

const ROW = 16; // pixels a response
const TEXTURES = ["", "M0 4L4 0", "M0 0L4 4", "M2 0V4", "M0 2H4", "M0 4L4 0M0 0L4 4"];

const letterOf = (nth) => (nth < 26 ? String.fromCharCode(65 + nth) : String(nth - 25));

// The stretches of a response's bar, from zero outwards: {nth, from, to}; `names` in the order of their letters.
function stretches(names, components, weights, row) {
  const ends = { more: 0, less: 0 };
  const found = [];
  names.forEach((name, nth) => {
    const part = (weights[name] ?? 0) * (components[name]?.[row] ?? 0);
    if (!part) return;
    const side = part > 0 ? "more" : "less";
    found.push({ nth, side, part, from: ends[side], to: ends[side] + part });
    ends[side] += part;
  });
  return found;
}

// How far a scale reaches that takes in all of these: 1, 1.5, 2, 3, 5 or 7 times a power of ten.
function reachOf(values) {
  const most = Math.max(0, ...values.filter(Number.isFinite).map(Math.abs));
  if (!most) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 1.5, 2, 3, 5, 7, 10].map((digit) => digit * power).find((step) => step >= most * (1 - 1e-9));
}

function rewardBars(board, sized) {
  const own = Math.random().toString(36).slice(2, 8);
  const title = make("h3");
  const scale = draw("svg", { class: "ex-reward-scale", "aria-hidden": "true" });
  const list = make("div", { class: "ex-reward-bars", role: "listbox" });
  entersLedger(list, "score");
  const picture = draw("svg", { class: "ex-reward-picture", role: "presentation" }, list);
  const node = make("div", { class: "ex-reward-side" }, title, scale, list);
  const size = sized(list);
  list.addEventListener("click", (event) => {
    const [row, now] = [rowAt(event), pinnedOf(board)];
    if (row !== null) pin(board, [row, now?.[0] === row ? now[1] : 0]);
  });

  let inside = false; // the pointer is over a bar
  const rowAt = (event) => {
    const row = event.target.closest?.("[data-row]")?.dataset.row;
    return row === undefined ? null : Number(row);
  };
  // A response that is pointed at is shown by its first token, or by the pinned one where that is its own.
  list.addEventListener("mouseover", (event) => {
    inside = true;
    const [row, now] = [rowAt(event), pinnedOf(board)];
    hover(board, row === null ? null : [row, now?.[0] === row ? now[1] : 0]);
  });
  list.addEventListener("mouseleave", () => {
    inside = false;
    hover(board, null);
  });

  let lit = -1;
  const light = () => {
    const row = hoveredOf(board)?.[0] ?? -1;
    if (row === lit && picture.querySelector(".ex-hovered-row")) return;
    lit = row;
    picture.querySelector(".ex-hovered-row")?.classList.remove("ex-hovered-row");
    picture.querySelector(`[data-row="${row}"]`)?.classList.add("ex-hovered-row");
  };

  let drawn = [];
  const paint = (names, label) => {
    paintBars(names, label);
    light();
  };
  const paintBars = (names, label) => {
    const batch = board.get("batch");
    const there = hasBatch(batch) && batch.scores !== null;
    write(title, say(board, there ? "ui.reward.bars" : "ui.reward.no_values"));
    list.setAttribute("aria-label", `${title.textContent}. ${say(board, "ui.ledger.enter")}`);
    const pinned = pinnedOf(board)?.[0] ?? -1;
    const order = there ? (board.exStrip?.order ?? [...batch.tokens.keys()]).filter((row) => row < batch.rows) : [];
    const stamp = [batch, pinned, order.join(), names.join("\n"), board.get("words"), size.width];
    if (stamp.every((part, i) => part === drawn[i])) return;
    const moved = pinned !== drawn[1];
    drawn = stamp;
    picture.replaceChildren();
    scale.replaceChildren();
    list.hidden = !order.length;
    if (!there || !size.width) return;
    const rows = order.map((row) => ({ row, parts: stretches(names, batch.components, batch.weights, row), score: batch.scores[row] }));
    const reach = reachOf(rows.flatMap(({ parts, score }) => [score, ...parts.map(({ to }) => to)]));
    const [left, right] = [22, size.width - 46];
    const x = (value) => left + ((clamp(value / reach, -1, 1) + 1) / 2) * (right - left);
    picture.setAttribute("width", size.width);
    picture.setAttribute("height", rows.length * ROW);
    picture.append(texturesOf(own));
    for (const value of [-reach, 0, reach]) {
      draw("text", { x: x(value), y: 10, "text-anchor": value < 0 ? "start" : value ? "end" : "middle", text: signed(value, reach < 1 ? 2 : reach < 10 ? 1 : 0) }, scale);
    }
    draw("line", { class: "ex-axis", x1: x(0), x2: x(0), y1: 0, y2: rows.length * ROW }, picture);
    rows.forEach(({ row, parts, score }, i) => {
      const group = draw("g", { role: "option", "data-row": row, "aria-selected": String(row === pinned), class: row === pinned ? "ex-reward-row ex-on" : "ex-reward-row" }, picture);
      const told = parts.map(({ nth, part }) => `${letterOf(nth)} ${label(names[nth])} ${signed(part)}`).join(", ");
      group.setAttribute("aria-label", say(board, "ui.reward.row", { response: row + 1, score: signed(score), parts: told || "0" }));
      draw("title", { text: group.getAttribute("aria-label") }, group);
      draw("rect", { class: "ex-reward-back", x: 0, y: i * ROW, width: size.width, height: ROW }, group);
      draw("text", { x: 16, y: i * ROW + 12, "text-anchor": "end", class: "ex-reward-number", text: row + 1 }, group);
      for (const { nth, side, from, to } of parts) {
        const [at, end] = [x(from), x(to)].sort((a, b) => a - b);
        const place = { x: at, y: i * ROW + 2, width: Math.max(0.5, end - at), height: ROW - 5 };
        draw("rect", { class: `ex-bar-${side} ex-reward-part`, "data-nth": nth, ...place }, group);
        if (nth % TEXTURES.length) draw("rect", { fill: `url(#ex-tex-${own}-${nth % TEXTURES.length})`, ...place }, group);
        if (end - at >= 10) draw("text", { class: "ex-reward-letter", x: (at + end) / 2, y: i * ROW + 11, "text-anchor": "middle", text: letterOf(nth) }, group);
      }
      const [cx, cy] = [x(score), i * ROW + 7.5];
      draw("path", { class: "ex-reward-score", d: `M${cx} ${cy - 5}L${cx + 4} ${cy}L${cx} ${cy + 5}L${cx - 4} ${cy}Z`, "data-score": score }, group);
      // An option holds no button: by key it is Enter in the list that opens the pinned response's.
      draw("text", { x: size.width - 2, y: i * ROW + 12, "text-anchor": "end", class: "ex-reward-number ex-opens", text: signed(score), "data-ledger": "score", "data-token": row }, group);
    });
    const place = order.indexOf(pinned) * ROW;
    if (moved && place >= 0 && (place < list.scrollTop || place + ROW > list.scrollTop + list.clientHeight)) list.scrollTop = place - ROW;
  };
  return {
    node,
    paint,
    get inside() {
      return inside;
    },
  };
}

function texturesOf(own) {
  const all = draw("defs");
  TEXTURES.forEach((d, nth) => {
    if (!nth) return;
    const pattern = draw("pattern", { id: `ex-tex-${own}-${nth}`, width: 4, height: 4, patternUnits: "userSpaceOnUse" }, all);
    draw("path", { d, class: "ex-texture" }, pattern);
  });
  return all;
}

// A component's place in the bars: its letter on its texture.
function swatch(nth, own) {
  const picture = draw("svg", { class: "ex-swatch", viewBox: "0 0 18 16", "aria-hidden": "true" });
  picture.append(texturesOf(own));
  draw("rect", { class: "ex-swatch-back", x: 0.5, y: 0.5, width: 17, height: 15, rx: 3 }, picture);
  if (nth % TEXTURES.length) draw("rect", { x: 1, y: 1, width: 16, height: 14, fill: `url(#ex-tex-${own}-${nth % TEXTURES.length})` }, picture);
  draw("text", { class: "ex-swatch-letter", x: 9, y: 12, "text-anchor": "middle", text: letterOf(nth) }, picture);
  return picture;
}
