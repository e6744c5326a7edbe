// What labels have taught, in four small pictures; and what so many labels can teach, as a table.

const TEACHING = ["accuracy", "calibration", "margins", "scores"];

function teachingPictures(board, sized) {
  const empty = make("p", { class: "ex-hint" });
  const parts = TEACHING.map((key) => {
    const [title, hint] = [make("h3"), make("p", { class: "ex-hint" })];
    const svg = draw("svg", { class: `ex-annotate-svg explorer-annotate-${key}`, role: "img" });
    return { key, title, hint, svg, node: make("figure", { class: "ex-annotate-figure" }, title, svg, hint) };
  });
  const node = make("div", { class: "ex-annotate-model", role: "group", tabindex: "0" }, empty, ...parts.map((part) => part.node));
  const size = sized(node);
  const paint = (fitted, curve) => {
    const known = fitted.train !== undefined;
    empty.hidden = known;
    write(empty, known ? "" : say(board, "ui.annotate.too_few", { fewest: fitted.fewest ?? 5 }));
    const across = size.width > 760 ? 4 : 2;
    node.dataset.across = across;
    const [width, height] = [Math.max(150, Math.floor(size.width / across) - 12), Math.max(74, Math.floor(size.height / (4 / across)) - 62)];
    for (const { key, title, hint, svg, node: figure } of parts) {
      figure.hidden = !known;
      if (!known) continue;
      write(title, say(board, `ui.annotate.pictures.${key}.title`));
      write(hint, say(board, `ui.annotate.pictures.${key}.look_for`, { members: fitted.members, seconds: format(fitted.seconds, 2), ties: fitted.said.tie, equal: format(fitted.equal_tie, 2) }));
      svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      svg.style.height = `${height}px`;
      svg.replaceChildren();
      const words = { accuracy: drawAccuracy, calibration: drawCalibration, margins: drawMargins, scores: drawScores }[key](board, svg, width, height, fitted, curve);
      svg.setAttribute("aria-label", `${title.textContent}. ${words}`);
    }
  };
  return { node, paint };
}

// The frame of a small picture: where its numbers lie, with ticks at the left and below.
function smallFrame(svg, width, height, [x0, x1], [y0, y1], ticksX, ticksY) {
  const [left, right, top, bottom] = [26, 6, 6, 15];
  const x = (value) => left + ((value - x0) / (x1 - x0)) * (width - left - right);
  const y = (value) => height - bottom - ((value - y0) / (y1 - y0)) * (height - top - bottom);
  for (const [value, text] of ticksY) {
    draw("line", { class: "ex-axis", x1: left, x2: width - right, y1: y(value), y2: y(value) }, svg);
    draw("text", { class: "ex-tick", x: left - 3, y: y(value) + 3, "text-anchor": "end", text }, svg);
  }
  for (const [value, text] of ticksX) draw("text", { class: "ex-tick", x: x(value), y: height - 3, "text-anchor": value === x1 ? "end" : value === x0 ? "start" : "middle", text }, svg);
  return { x, y, floor: height - bottom };
}

const percents = (...shares) => shares.map((share) => [share, String(Math.round(100 * share))]);
const percent = (share) => (Number.isFinite(share) ? `${Math.round(100 * share)} %` : "–");

// Right answers, in percent, against labels: those that were fitted (filled) and those held out (hollow).
function drawAccuracy(board, svg, width, height, fitted, curve) {
  const points = curve.length ? curve : [[fitted.decided, fitted.train.accuracy, fitted.held_out.accuracy]];
  const last = points[points.length - 1];
  const most = Math.max(10, ...points.map(([n]) => n));
  const { x, y } = smallFrame(svg, width, height, [0, most], [0, 1], [[0, "0"], [most, String(most)]], percents(0, 0.5, 1));
  draw("line", { class: "ex-line ex-dashed", x1: x(0), x2: x(most), y1: y(0.5), y2: y(0.5) }, svg);
  for (const [place, name] of [[1, "train"], [2, "held"]]) {
    const known = points.filter((point) => Number.isFinite(point[place]));
    draw("path", { class: `ex-annotate-line ex-annotate-${name}`, d: known.map((point, i) => `${i ? "L" : "M"}${x(point[0]).toFixed(1)} ${y(point[place]).toFixed(1)}`).join("") }, svg);
    for (const point of known) draw("circle", { class: `ex-annotate-dot ex-annotate-${name}`, cx: x(point[0]), cy: y(point[place]), r: 3 }, svg);
  }
  return say(board, "ui.annotate.pictures.accuracy.said", { count: last[0], train: percent(last[1]), held_out: percent(last[2]) });
}

// How sure it was of held-out labels, and how often it was right: on the diagonal it knows how sure to be.
function drawCalibration(board, svg, width, height, fitted) {
  const bins = fitted.held_out.calibration.filter(([, , pairs]) => pairs > 0);
  const { x, y } = smallFrame(svg, width, height, [0.5, 1], [0, 1], percents(0.5, 0.75, 1), percents(0, 0.5, 1));
  draw("line", { class: "ex-line ex-dashed", x1: x(0.5), x2: x(1), y1: y(0.5), y2: y(1) }, svg);
  for (const [, , pairs, sure, right] of bins) {
    const dot = draw("circle", { class: `ex-annotate-bin ${right < sure ? "ex-annotate-over" : "ex-annotate-under"}`, cx: x(sure), cy: y(right), r: Math.min(9, 2 + Math.sqrt(pairs)), "data-pairs": pairs }, svg);
    draw("title", { text: say(board, "ui.annotate.pictures.calibration.bin", { pairs, sure: percent(sure), right: percent(right) }) }, dot);
  }
  return bins.map(([, , pairs, sure, right]) => say(board, "ui.annotate.pictures.calibration.bin", { pairs, sure: percent(sure), right: percent(right) })).join("; ");
}

// By how much the chosen one was ahead among held-out labels: right of 0 the model agrees.
function drawMargins(board, svg, width, height, fitted) {
  const margins = fitted.held_out.margins;
  const reach = Math.max(1, ...margins.map(Math.abs));
  const half = 6;
  const bins = new Array(2 * half).fill(0);
  for (const margin of margins) bins[Math.min(2 * half - 1, Math.max(0, Math.floor(((margin + reach) / (2 * reach)) * 2 * half)))] += 1;
  const most = Math.max(1, ...bins);
  const { x, y, floor } = smallFrame(svg, width, height, [-reach, reach], [0, most], [[-reach, format(-reach, 1)], [0, "0"], [reach, format(reach, 1)]], [[0, "0"], [most, String(most)]]);
  bins.forEach((pairs, i) => {
    if (!pairs) return;
    const [from, to] = [x(-reach + (i * reach) / half), x(-reach + ((i + 1) * reach) / half)];
    draw("rect", { class: `ex-annotate-bar ${i < half ? "ex-annotate-over" : "ex-annotate-under"}`, x: from + 0.5, width: Math.max(1, to - from - 1), y: y(pairs), height: floor - y(pairs) }, svg);
  });
  draw("line", { class: "ex-line ex-dashed", x1: x(0), x2: x(0), y1: y(0), y2: y(most) }, svg);
  const right = margins.filter((margin) => margin > 0).length;
  return say(board, "ui.annotate.pictures.margins.said", { right, count: margins.length });
}

// Scores of fresh responses, lowest first, each with the ensemble's spread.
function drawScores(board, svg, width, height, fitted) {
  const scores = fitted.scores;
  const reach = Math.max(1, ...scores.map(([score, spread]) => Math.abs(score) + spread));
  const { x, y } = smallFrame(svg, width, height, [0, Math.max(1, scores.length - 1)], [-reach, reach], [], [[-1, `${MINUS}1`], [0, "0"], [1, "1"]]);
  scores.forEach(([score, spread], i) => {
    draw("line", { class: "ex-annotate-spread", x1: x(i), x2: x(i), y1: y(score - spread), y2: y(score + spread) }, svg);
    draw("circle", { class: `ex-annotate-score ${score < 0 ? "ex-annotate-over" : "ex-annotate-under"}`, cx: x(i), cy: y(score), r: 2.4 }, svg);
  });
  const mean = scores.reduce((sum, [, spread]) => sum + spread, 0) / Math.max(1, scores.length);
  return say(board, "ui.annotate.pictures.scores.said", { count: scores.length, spread: format(mean, 2) });
}

// Held-out accuracy by rule and number of labels, as measured; where the trunk was tuned too, its own below.
function learningTable(board, { rows, seeds, fresh, samples }) {
  const counts = [...new Set(rows.map(([, pairs]) => pairs))].sort((one, other) => one - other);
  const rules = [...new Set(rows.map(([rule]) => rule))];
  const head = make("tr", {}, make("th", { scope: "col", text: say(board, "ui.annotate.table.rule") }), ...counts.map((pairs) => make("th", { scope: "col", text: say(board, "ui.annotate.table.labels", { pairs }) })));
  const body = rules.map((rule) => make("tr", {}, make("th", { scope: "row", text: say(board, `ui.annotate.who.${rule}`) }), ...counts.map((pairs) => {
    const [, , mean, low, high, ...own] = rows.find(([r, n]) => r === rule && n === pairs) ?? [rule, pairs, NaN, NaN, NaN];
    const [tuned, ...ends] = own.map((number) => format(number, 2));
    return make("td", { class: tint({ kind: "diverging", high: 0.5 }, mean - 0.5), "data-value": mean },
      make("b", { text: format(mean, 2) }), make("small", { text: ` ${format(low, 2)}–${format(high, 2)}` }),
      ...(own.length ? [make("br"), make("small", { class: "ex-annotate-tuned", text: say(board, "ui.annotate.table.tuned", { tuned, ends: ends.join("–") }) })] : []));
  })));
  return [
    make("h3", { text: say(board, "ui.annotate.table.title") }),
    make("table", {}, make("thead", {}, head), make("tbody", {}, ...body)),
    make("p", { class: "ex-hint", text: say(board, "ui.annotate.table.look_for", { seeds, fresh }) + (rows.some((row) => row.length > 5) ? ` ${say(board, "ui.annotate.table.below")}` : "") }),
  ];
}

// ---------------------------------------------------------------- as tables

// The pairs that wait for a label; labels themselves are exported by a button of their own.
function pairTable({ queue = [] }) {
  const rows = queue.map(({ update, source, way, prompt, a, b }) => [update, source, way, prompt, a, b]);
  return rows.length ? { columns: ["update", "from", "chosen by", "prompt", "A", "B"], rows } : null;
}

// The four pictures' points, a row each; what a picture has not is empty.
function teachingTable({ fitted = {}, curve = [] }) {
  if (fitted.train === undefined) return null;
  const points = curve.length ? curve : [[fitted.decided, fitted.train.accuracy, fitted.held_out.accuracy]];
  const rows = [
    ...points.map(([labels, train, held]) => ({ picture: "accuracy", labels, "right in training": train, "right held out": held })),
    ...fitted.held_out.calibration.map(([from, to, pairs, sure, right]) => ({ picture: "calibration", labels: pairs, "sure from": from, "sure to": to, "mean sure": sure, "right held out": right })),
    ...fitted.held_out.margins.map((margin, i) => ({ picture: "margins", place: i + 1, "margin [logits]": margin })),
    ...fitted.scores.map(([score, spread], i) => ({ picture: "scores", place: i + 1, score, spread })),
  ];
  const columns = ["picture", "place", "labels", "right in training", "right held out", "sure from", "sure to", "mean sure", "margin [logits]", "score", "spread"];
  return { columns, rows: rows.map((row) => columns.map((name) => row[name])) };
}

// What so many labels can teach, as measured; empty where the trunk was not tuned.
function learntTable({ rows }) {
  const columns = ["rule", "labels", "mean held-out accuracy", "lowest", "highest", "mean, trunk tuned", "lowest, tuned", "highest, tuned"].slice(0, Math.max(...rows.map((row) => row.length)));
  return { columns, rows: rows.map((row) => columns.map((_, i) => row[i])) };
}
