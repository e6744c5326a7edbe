// Other runs behind the run's own curves: in each chart a band, and all of their lines as one trace with gaps.

const BEHIND = { band: 0.2, among: 0.6, alone: 0.85, width: 1 }; // opacities: of the band, of a line of several, of the only one

const saidOf = (board, { text, key, values }) => text ?? say(board, key, values);

// What is drawn behind: for each chart as many traces, so that those above keep their places.
function tracesBehind(board, charts, colours) {
  const { metrics, names } = board.get("behind");
  if (!metrics) return [];
  const said = names.map((name) => escape(saidOf(board, name)));
  return charts.flatMap((chart, i) => {
    const axes = { xaxis: axisName("x", i), yaxis: axisName("y", i), type: "scatter", mode: "lines", showlegend: false };
    const { lines, band } = metrics[chart.lines[0].metric];
    const [around, all] = [outline(band), { x: [], y: [], text: [] }];
    lines.forEach((line, nth) => {
      const updates = numbers(line.updates, Int32Array);
      all.x.push(...updates, null);
      all.y.push(...numbers(line.values, Float32Array), null);
      all.text.push(...Array(updates.length + 1).fill(said[nth]));
    });
    const told = `${say(board, "ui.update", { update: "%{x:d}" })}<br>%{y:.3f} %{text}<extra></extra>`;
    const stroke = { color: colours.of("--ex-muted"), width: BEHIND.width };
    const [red, green, blue] = colours.of("--ex-blue-rgb").split(" ");
    return [
      { ...axes, ...around, fill: "toself", fillcolor: `rgba(${red},${green},${blue},${BEHIND.band})`, line: { width: 0 }, hoverinfo: "skip" },
      { ...axes, ...all, line: stroke, opacity: lines.length > 1 ? BEHIND.among : BEHIND.alone, connectgaps: false, hovertemplate: told },
    ];
  });
}

// A band's outline: along the highest and back along the lowest; where fewer than two runs have an update it is parted.
function outline(band) {
  const [x, y] = [[], []];
  if (!band) return { x, y };
  const [updates, low, high] = [numbers(band.updates, Int32Array), numbers(band.low, Float32Array), numbers(band.high, Float32Array)];
  let from = 0;
  for (let to = 0; to <= updates.length; to++) {
    if (to < updates.length && !Number.isNaN(low[to])) continue;
    if (to > from) {
      x.push(...updates.slice(from, to), ...updates.slice(from, to).reverse(), null);
      y.push(...high.slice(from, to), ...low.slice(from, to).reverse(), null);
    }
    from = to + 1;
  }
  return { x, y };
}

// The words for what is drawn behind, with a sample of it.
function paintBehind(board, node) {
  const { label, metrics } = board.get("behind");
  node.hidden = !label;
  if (!label) return;
  const sample = draw("svg", { class: "ex-stroke", viewBox: "0 0 28 8" });
  if (Object.values(metrics).some(({ band }) => band)) draw("rect", { x: 0, y: 0, width: 28, height: 8 }, sample);
  draw("line", { x1: 0, x2: 28, y1: 4, y2: 4 }, sample);
  const text = saidOf(board, label);
  node.title = text;
  node.replaceChildren(sample, ` ${text}`);
}
