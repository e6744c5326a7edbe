// The run's curves: small charts with one scale each, and the update on screen marked. Plotly draws them. Its script
// weighs megabytes, so that the view asks the kernel for it once the rest of the page is on screen.

export default {
  render(context) {
    return frame(context, "curves", ["series", "run", "drawn"], build(context.model));
  },
};

const COLUMNS = 3;
const PLACE = { left: 32, right: 8, top: 19, bottom: 17 }; // pixels around each chart: its scale, its title
const REST = 30; // milliseconds after the other views have drawn, in which a slider may get its turn
const LINES = ["--ex-blue", "--ex-orange", "--ex-muted"];
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"];

const build = (model) => (root, board, sized) => {
  const tip = tooltip(root);
  const head = make("header", { class: "ex-head-line" });
  const plot = make("div", { class: "ex-plot" });
  const titles = make("div", { class: "ex-plot-titles" });
  root.prepend(head, make("div", { class: "ex-plots" }, plot, titles));
  const size = sized(plot);
  const charts = model.get("charts");
  const names = charts.map((chart, i) => {
    const title = make("h3", { class: "ex-plot-title", tabindex: "0" });
    const explain = () => tip.show(chartNodes(board, chart, model.get("expressions")), title);
    for (const event of ["mouseenter", "focus"]) title.addEventListener(event, explain);
    for (const event of ["mouseleave", "blur"]) title.addEventListener(event, tip.hide);
    titles.append(title);
    return title;
  });

  let [plotly, asked, drawn, waiting] = [globalThis.explorerPlotly ?? null, false, [], 0];
  model.on("msg:custom", async (message, buffers) => {
    if (message.kind !== "plotly" || plotly) return;
    plotly = globalThis.explorerPlotly ??= await load(buffers[0]);
    paint();
  });
  const paint = () => {
    if (needsWords(head, board)) head.replaceChildren(...heading(board, "curves"));
    const series = board.get("series");
    const at = nearest(series, board.get("run").cursor);
    charts.forEach((chart, i) => paintTitle(board, names[i], chart, series, at));
    if (!plotly && !asked && board.get("drawn")) {
      asked = true;
      model.send({ kind: "plotly" });
    }
    const stamp = [series, at, board.get("words"), root.dataset.theme, size.width, size.height];
    if (!plotly || !size.width || stamp.every((part, i) => part === drawn[i])) return;
    drawn = stamp;
    clearTimeout(waiting);
    waiting = setTimeout(drawCurves, REST);
  };
  const drawCurves = () => {
    const series = board.get("series");
    const colours = palette(root);
    const figure = [traces(board, charts, series, nearest(series, board.get("run").cursor), colours), layout(charts, series, size, colours)];
    plotly.react(plot, ...figure, { displayModeBar: false });
  };
  return paint;
};

// The script comes gzipped. It makes itself the page's Plotly, which may be another figure's: that one is put back.
async function load(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const parts = ["const module = { exports: {} };\n", await new Response(stream).text(), "\nexport default module.exports;"];
  const url = URL.createObjectURL(new Blob(parts, { type: "text/javascript" }));
  const others = window.Plotly;
  try {
    return (await import(url)).default;
  } finally {
    window.Plotly = others;
    URL.revokeObjectURL(url);
  }
}

const updatesOf = (series) => numbers(series.updates, Int32Array) ?? [];
const valuesOf = (series, metric) => numbers(series.values?.[metric], Float32Array) ?? [];

// The place in the series of the update on screen, or of the one nearest to it; -1 before there is any.
function nearest(series, cursor) {
  const updates = updatesOf(series);
  let best = updates.length - 1;
  for (let i = 0; i < updates.length; i += 1) if (Math.abs(updates[i] - cursor) < Math.abs(updates[best] - cursor)) best = i;
  return best;
}

function metricLabel(board, metric) {
  if (!metric.startsWith("component/")) return say(board, `metrics.${metric}.label`);
  const name = metric.slice("component/".length);
  return lookUp(board.get("words"), `components.${name}.label`) ?? name;
}

function paintTitle(board, node, chart, series, at) {
  const value = at < 0 ? null : valuesOf(series, chart.lines[0].metric)[at];
  const text = say(board, `ui.charts.${chart.key}`);
  const now = at < 0 ? "" : format(value);
  if (node.exShown === text + now) return;
  node.exShown = text + now;
  node.replaceChildren(text, " ", make("b", { text: now }));
}

// What the chart's lines are, each with its stroke, its expression and what to look for.
function chartNodes(board, chart, expressions) {
  const nodes = [make("strong", { text: say(board, `ui.charts.${chart.key}`) })];
  const told = new Set();
  chart.lines.forEach(({ metric, key }, nth) => {
    nodes.push(make("p", {}, stroke(nth), make("b", { text: ` ${metricLabel(board, metric)}` })));
    if (told.has(key)) return;
    told.add(key);
    const look = lookUp(board.get("words"), `metrics.${key}.look_for`) ?? "";
    nodes.push(make("code", { text: expressions[key] ?? "" }), make("p", { class: "ex-hint", text: look.replaceAll("{name}", "…") }));
  });
  return nodes;
}

function stroke(nth) {
  const picture = draw("svg", { class: "ex-stroke", viewBox: "0 0 28 8" });
  const dash = { solid: "", dash: "6 4", dot: "2 3", dashdot: "7 3 2 3", longdash: "10 4", longdashdot: "10 3 2 3" }[DASHES[nth % DASHES.length]];
  draw("line", { x1: 0, x2: 28, y1: 4, y2: 4, "stroke-dasharray": dash, style: `stroke:var(${LINES[Math.min(nth, 2)]})` }, picture);
  return picture;
}

function palette(root) {
  const style = getComputedStyle(root);
  const colour = (name) => style.getPropertyValue(name).trim();
  return { ink: colour("--ex-ink"), muted: colour("--ex-muted"), grid: colour("--ex-line"), card: colour("--ex-card"), lines: LINES.map(colour), font: style.fontFamily };
}

const axisName = (letter, i) => (i ? `${letter}${i + 1}` : letter);

function traces(board, charts, series, at, colours) {
  const updates = updatesOf(series);
  return charts.flatMap((chart, i) => {
    const axes = { xaxis: axisName("x", i), yaxis: axisName("y", i), type: "scatter", showlegend: false };
    const lines = chart.lines.map(({ metric }, nth) => {
      const name = metricLabel(board, metric);
      const line = { color: colours.lines[Math.min(nth, 2)], width: nth ? 1.3 : 2, dash: DASHES[nth % DASHES.length] };
      return { ...axes, mode: "lines", name, line, x: updates, y: valuesOf(series, metric), hovertemplate: `%{y:.3f} ${escape(name)}<extra></extra>` };
    });
    const now = at < 0 ? [[], []] : [[updates[at]], [valuesOf(series, chart.lines[0].metric)[at]]];
    return [...lines, { ...axes, mode: "markers", marker: { size: 6, color: colours.ink }, hoverinfo: "skip", x: now[0], y: now[1] }];
  });
}

// Plotly reads markup and placeholders in what it writes: a component's name is neither.
const escape = (name) => name.replace(/[&<>%]/g, (sign) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", "%": "&#37;" })[sign]);

function layout(charts, series, { width, height }, colours) {
  const rows = Math.ceil(charts.length / COLUMNS);
  const made = {
    width, height, autosize: false, margin: { l: 0, r: 0, t: 0, b: 0 }, uirevision: "keep", hovermode: "x",
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { size: 10, family: colours.font, color: colours.muted },
    hoverlabel: { bgcolor: colours.card, bordercolor: colours.muted, font: { size: 11, color: colours.ink } },
  };
  charts.forEach((chart, i) => {
    const [column, row] = [i % COLUMNS, Math.floor(i / COLUMNS)];
    const [wide, tall] = [width / COLUMNS, height / rows];
    const shared = { zeroline: false, automargin: false, gridcolor: colours.grid, linecolor: colours.muted };
    made[axisName("xaxis", i)] = {
      ...shared, nticks: 3, anchor: axisName("y", i), domain: [(column * wide + PLACE.left) / width, ((column + 1) * wide - PLACE.right) / width],
    };
    made[axisName("yaxis", i)] = {
      ...shared, nticks: 4, anchor: axisName("x", i), range: series.ranges?.[i],
      domain: [1 - ((row + 1) * tall - PLACE.bottom) / height, 1 - (row * tall + PLACE.top) / height],
    };
  });
  return made;
}
