// The Goodhart gauge: the score and a judge that is never optimised, both in spreads of the untouched policy, against √KL to
// it. Best-of-n for the same score stands beside PPO; the update at which score and judge part is marked.

const GAUGE = { left: 34, right: 14, top: 22, bottom: 28 }; // pixels around the picture: scale, titles
const GAUGE_LINES = ["score", "judged"];

function gaugeView(root, board, sized, tip, send) {
  const legend = make("p", { class: "ex-gauge-legend" });
  const picture = draw("svg", { class: "ex-picture explorer-gauge-picture", role: "img" });
  const said = make("p", { class: "ex-gauge-said", role: "status" });
  const node = make("div", { class: "ex-gauge explorer-gauge", hidden: true }, legend, picture, said);
  const size = sized(picture);
  let [marks, drawn] = [[], []];
  const markAt = (event) => {
    const { x, y } = placeIn(picture, event);
    return marks.reduce(([best, near], mark) => {
      const away = Math.hypot(mark.x - x, mark.y - y);
      return away < near ? [mark, away] : [best, near];
    }, [null, NEAR])[0];
  };
  picture.addEventListener("mousemove", (event) => {
    const mark = markAt(event);
    picture.classList.toggle("ex-opens", Boolean(mark?.update));
    if (!mark) return tip.hide();
    const [box, zoom] = [picture.getBoundingClientRect(), zoomOf(picture)];
    const at = new DOMRect(box.left + mark.x * zoom, box.top + mark.y * zoom, 0, 0);
    tip.show([make("p", { text: mark.words })], { getBoundingClientRect: () => at });
  });
  picture.addEventListener("mouseleave", tip.hide);
  picture.addEventListener("click", (event) => {
    const mark = markAt(event);
    if (mark?.update) send({ kind: "scrub", update: mark.update });
  });
  const paint = () => {
    const [gauge, { cursor }] = [board.get("gauge"), board.get("run")];
    if (needsWords(legend, board)) paintGaugeLegend(board, legend);
    const due = claimedOf(board, ["parted", "together"]);
    const { unclaimed } = board.get("run");
    const stamp = [gauge, cursor, board.get("words"), JSON.stringify(due), unclaimed, size.width, size.height];
    if (stamp.every((part, i) => part === drawn[i])) return;
    drawn = stamp;
    const open = due && (due.of === "together" || !gauge.part); // what has come about is said already
    write(said, [gaugeWords(board, gauge), open && say(board, `ui.expected.${due.of}`, due), unclaimed && say(board, "ui.expected.elsewhere")].filter(Boolean).join(" "));
    said.title = gauge.why === "" ? say(board, "ui.gauge.rule", { unit: gauge.unit.answers }) : "";
    legend.hidden = gauge.why !== "";
    marks = gauge.why === "" && size.width && size.height ? drawGauge(picture, size, board, gauge, cursor) : (picture.replaceChildren(), []);
    picture.setAttribute("aria-label", `${say(board, "ui.gauge.title")}. ${said.textContent}`);
  };
  return { node, paint };
}

function gaugeWords(board, { judge, why, part, reunion, total }) {
  if (why !== "") return say(board, `ui.gauge.lacks.${why ?? "values"}`, { judge: judge ? judgeLabel(board, judge) : "" });
  const name = judgeLabel(board, judge);
  if (!part && reunion) return say(board, "ui.gauge.reunited", { judge: name, ...reunion });
  if (!part) return say(board, "ui.gauge.together", { judge: name, count: total });
  return say(board, "ui.gauge.parted", { judge: name, update: part.update, lost: part.lost.toFixed(1), gained: part.gained.toFixed(1) });
}

function paintGaugeLegend(board, legend) {
  const sample = (kind) => {
    const picture = draw("svg", { class: "ex-stroke", viewBox: "0 0 28 8" });
    if (kind !== "best") draw("line", { class: `ex-gauge-line ex-gauge-${kind}`, x1: 0, x2: 28, y1: 4, y2: 4 }, picture);
    else for (const [x, line] of [[8, "score"], [20, "judged"]]) draw("rect", { class: `ex-gauge-best ex-gauge-${line}`, x: x - 3, y: 1, width: 6, height: 6 }, picture);
    return picture;
  };
  legend.replaceChildren(...["score", "judged", "best"].map((kind) => make("span", {}, sample(kind), ` ${say(board, `ui.gauge.${kind}`)}`)));
}

// Where the judge's best mean is, and how low it is claimed to fall from there; null where nothing of the kind is claimed.
const expectedEdge = (board, { edge }) => (edge && claimedOf(board, ["parted"]) ? edge : null);

// Draws all of it; gives what can be pointed at: [{x, y, words, update}].
function drawGauge(picture, size, board, gauge, cursor) {
  const { width, height } = size;
  const [low, top] = gauge.range;
  const { left, right, top: above, bottom } = GAUGE;
  const x = (kl) => left + (rooted(kl) / Math.sqrt(gauge.reach)) * (width - left - right);
  const y = (value) => height - bottom - ((value - low) / (top - low)) * (height - bottom - above);
  const floor = height - bottom;
  const marks = [];
  picture.replaceChildren();
  picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
  draw("path", { class: "ex-frame", d: `M${left} ${above}V${floor}H${width - right}` }, picture);
  for (const root of rootTicks(gauge.reach)) draw("text", { class: "ex-tick", x: x(root ** 2), y: floor + 11, "text-anchor": "middle", text: format(root, root % 1 ? 1 : 0) }, picture);
  for (const value of [low, 0, top]) {
    draw("line", { class: value ? "ex-axis" : "ex-axis ex-gauge-zero", x1: left, x2: width - right, y1: y(value), y2: y(value) }, picture);
    draw("text", { class: "ex-tick", x: left - 4, y: y(value) + 4, "text-anchor": "end", text: fixedSigned(value, 0) }, picture);
  }
  draw("text", { class: "ex-note", x: 2, y: 10, text: say(board, "ui.gauge.up") }, picture);
  draw("text", { class: "ex-note", x: width - right, y: height - 3, "text-anchor": "end", text: say(board, "ui.frontier.across") }, picture);

  const edge = expectedEdge(board, gauge);
  if (edge) {
    const [from, fallen] = [x(edge[0]), y(Math.max(low, edge[1]))];
    draw("rect", { class: "ex-gauge-expected", x: from, y: fallen, width: width - right - from, height: floor - fallen }, picture);
    draw("text", { class: "ex-note", x: width - right - 3, y: fallen + 11, "text-anchor": "end", text: say(board, "ui.expected.key") }, picture);
  }
  const updates = numbers(gauge.updates, Int32Array);
  const kl = numbers(gauge.kl, Float32Array);
  const means = gauge.means.map((values) => numbers(values, Float32Array));
  if (gauge.part) {
    const at = updates.indexOf(gauge.part.update);
    const place = x(kl[at]);
    draw("line", { class: "ex-gauge-part", x1: place, x2: place, y1: above, y2: floor, "data-update": gauge.part.update }, picture);
    const turned = place > width - 110;
    draw("text", { class: "ex-edge ex-over", x: place + (turned ? -5 : 5), y: floor - 5, "text-anchor": turned ? "end" : "start", text: say(board, "ui.gauge.mark", { update: gauge.part.update }) }, picture);
  }
  GAUGE_LINES.forEach((line, nth) => {
    const values = numbers(gauge[line], Float32Array);
    const name = nth ? judgeLabel(board, gauge.judge) : say(board, "metrics.objective/score.label");
    draw("path", { class: `ex-gauge-dots ex-gauge-${line}`, "data-count": values.length, d: Array.from(values, (value, i) => `M${x(kl[i]).toFixed(1)} ${y(value).toFixed(1)}h0`).join("") }, picture);
    draw("path", { class: `ex-gauge-line ex-gauge-${line}`, d: `M${Array.from(means[nth], (value, i) => `${x(kl[i]).toFixed(1)} ${y(value).toFixed(1)}`).join("L")}` }, picture);
    values.forEach((value, i) => marks.push({ x: x(kl[i]), y: y(value), update: updates[i], words: say(board, "ui.gauge.dot", { update: updates[i], name, value: fixedSigned(value), kl: format(kl[i]) }) }));
    if (gauge.best.length) {
      const places = gauge.best.map(([, cost, ...both]) => `${x(cost).toFixed(1)} ${y(both[nth]).toFixed(1)}`);
      draw("path", { class: `ex-gauge-through ex-gauge-${line}`, d: `M${places.join("L")}` }, picture);
    }
    gauge.best.forEach(([n, cost, ...both]) => {
      const [across, up] = [x(cost), y(both[nth])];
      draw("rect", { class: `ex-gauge-best ex-gauge-${line}`, x: across - 3, y: up - 3, width: 6, height: 6, "data-n": n }, picture);
      marks.push({ x: across, y: up, words: say(board, "ui.gauge.best_dot", { n, name, value: fixedSigned(both[nth]), kl: format(cost) }) });
    });
  });
  const at = updates.findLastIndex((update) => update <= cursor);
  if (at >= 0) GAUGE_LINES.forEach((line) => draw("circle", { class: "ex-ring ex-frontier-now", cx: x(kl[at]), cy: y(numbers(gauge[line], Float32Array)[at]), r: 5, "data-update": updates[at] }, picture));
  return marks;
}
