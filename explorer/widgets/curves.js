// The run's curves: small charts with one scale each, and the update on screen marked, which a click or an arrow key moves;
// and, in their place, the frontier.
// Plotly draws the curves. Its script weighs megabytes, so that the view asks the kernel for it once the rest of the page
// is on screen.

export default {
  render(context) {
    return frame(context, "curves", ["series", "behind", "run", "drawn", "batch", "run_view", "gauge"], build(context.model));
  },
};

const COLUMNS = 3;
const PLACE = { left: 32, right: 13, top: 19, bottom: 17 }; // pixels around each chart: its scale, its title
const AT_ONCE = { transition: { duration: 0 }, frame: { duration: 0, redraw: false }, mode: "immediate" };
const COLOURS = ["--ex-blue", "--ex-orange", "--ex-muted", "--ex-ink"];
const DASHES = ["none", "6,4", "2,3", "7,3,2,3", "10,4", "10,3,2,3", "14,3", "1,6", "7,3,2,3,2,3", "4,2", "12,3,4,3", "2,2,2,6"];

// How a chart's nth line is drawn, no two alike: the first stands out, and the dashes tell them apart without colour.
const strokeOf = (nth) => ({ colour: COLOURS[nth < 2 ? nth : nth < DASHES.length ? 2 : 3], dash: DASHES[nth % DASHES.length], width: nth ? 1.3 : 2 });

const build = (model) => (root, board, sized, leaving) => {
  const tip = tooltip(root);
  const head = make("header", { class: "ex-head-line" });
  const others = make("p", { class: "ex-hint ex-others", hidden: true });
  const plot = make("div", { class: "ex-plot" });
  const titles = make("div", { class: "ex-plot-titles" });
  const tabs = viewTabs(board, "run_view", ["curves", "frontier", "gauge"], (view) => say(board, `ui.run_views.${view}`));
  const frontier = frontierView(root, board, sized, tip, (message) => model.send(message));
  const gauge = gaugeView(root, board, sized, tip, (message) => model.send(message));
  const plots = make("div", { class: "ex-plots" }, plot, titles);
  root.prepend(head, plots, frontier.picture, gauge.node);
  const size = sized(plot);
  const visits = visiting(plot, board, size, () => charts, (message) => model.send(message));
  // A coefficient that adapts in the update on screen takes the place of one of the charts. That of the KL stays while no
  // panel but this one would draw it: β is then a number beside it.
  const chartsNow = () => {
    const adapts = board.get("batch").adapts ?? [];
    const places = model.get("adapting");
    const judged = lineOf(board, "objective/judge").values.some(Number.isFinite) || claimsOf(board, "objective/judge").length > 0;
    const drawn = ({ lines, ...chart }) => ({ ...chart, lines: lines.filter(({ metric }) => judged || metric !== "objective/judge") });
    return model.get("charts").map((chart) => {
      const instead = places[chart.key];
      if (!adapts.includes(instead?.key)) return drawn(chart);
      return chart.key === "ref_kl" && layoutOf(board).isFolded("kl") ? { ...chart, coefficient: instead } : instead;
    });
  };
  let charts = chartsNow();
  const names = charts.map((_, i) => {
    const title = make("h3", { class: "ex-plot-title", tabindex: "0" });
    const explain = () => tip.show(chartNodes(board, charts[i], model.get("expressions")), title);
    for (const event of ["mouseenter", "focus"]) title.addEventListener(event, explain);
    for (const event of ["mouseleave", "blur"]) title.addEventListener(event, tip.hide);
    titles.append(title);
    return title;
  });

  const turns = turnsOf(board);
  let [plotly, asked, drawn, frameOf, below, told] = [null, false, [], "", { of: null, count: 0 }, []];
  const take = async (loading) => {
    try {
      plotly = await loading;
      paint();
    } catch (error) {
      plot.replaceChildren(make("p", { class: "ex-empty", text: `${say(board, "ui.error_title")}: ${error.message}` }));
    }
  };
  // One script for all views of the page: the first that comes is it, and who is later asks for none.
  leaving(hear(model, "msg:custom", (message, buffers) => {
    if (message.kind === "plotly" && !plotly) take((globalThis.explorerPlotly ??= load(buffers[0])));
  }));
  leaving(() => turns.drop(plot));
  const ask = () => {
    asked = true;
    if (globalThis.explorerPlotly) take(globalThis.explorerPlotly);
    else model.send({ kind: "plotly" });
  };
  const paint = () => {
    const view = board.get("run_view");
    if (needsWords(head, board)) head.replaceChildren(make("h2", { text: say(board, "ui.panels.curves.title") }), tabs.node, make("p", { class: "ex-hint" }), others);
    const hint = head.children[2];
    const { unclaimed } = board.get("run");
    write(hint, say(board, view !== "curves" ? `ui.${view}.look_for` : unclaimed ? "ui.expected.elsewhere" : "ui.panels.curves.look_for"));
    hint.title = view === "curves" ? hint.textContent : say(board, `ui.${view}.title`);
    tabs.paint();
    plots.hidden = view !== "curves";
    frontier.picture.toggleAttribute("hidden", view !== "frontier");
    gauge.node.hidden = view !== "gauge";
    const behind = [board.get("behind"), board.get("words")];
    if (behind.some((part, i) => part !== told[i])) paintBehind(board, others);
    told = behind;
    charts = chartsNow();
    charts.forEach((chart, i) => paintTitle(board, names[i], chart));
    visits.paint();
    if (!asked && board.get("drawn")) ask();
    if (view !== "curves") return view === "gauge" ? gauge.paint() : frontier.paint();
    frontier.hide();
    const stamp = [board.get("series"), board.get("behind"), board.get("run").cursor, charts.map(({ key }) => key).join(), JSON.stringify(board.get("run").claims), board.get("words"), root.dataset.theme, size.width, size.height];
    if (!plotly || stamp.every((part, i) => part === drawn[i])) return;
    drawn = stamp;
    return turns.ask(plot, drawCurves, "curves");
  };
  // Axes, words, colours and other runs are drawn anew where they have changed; else the run's own lines alone move, at a
  // third of the cost.
  const drawCurves = () => {
    if (!size.width || !size.height) return (drawn = []); // hidden meanwhile: drawn when it is seen again
    const { span, ranges } = board.get("series");
    const colours = palette(root);
    const lines = traces(board, charts, colours);
    const claims = board.get("run").claims ?? [];
    const frame = JSON.stringify([span, ranges, charts, claims, board.get("language"), root.dataset.theme, size.width, size.height]);
    const behind = board.get("behind");
    if (frame === frameOf && behind === below.of) {
      const data = lines.map(({ x, y }) => ({ x, y }));
      return plotly.animate(plot, { data, traces: data.map((_, i) => below.count + i) }, AT_ONCE);
    }
    const under = [...tracesBehind(board, charts, colours), ...tracesExpected(board, charts, colours)];
    [frameOf, below] = [frame, { of: behind, count: under.length }];
    return plotly.react(plot, [...under, ...lines], layout(board, charts, size, colours), { displayModeBar: false });
  };
  leaving(listen(model, ["charts"], paint));
  return paint;
};

// The script comes gzipped. It makes itself the page's Plotly, which may be another figure's: that one is put back.
async function load(bytes) {
  const others = window.Plotly;
  let url = "";
  try {
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const parts = ["const module = { exports: {} };\n", await new Response(stream).text(), "\nexport default module.exports;"];
    url = URL.createObjectURL(new Blob(parts, { type: "text/javascript" }));
    return (await import(url)).default;
  } finally {
    if (others) window.Plotly = others;
    else delete window.Plotly;
    URL.revokeObjectURL(url);
  }
}

function metricLabel(board, metric) {
  if (!metric.startsWith("component/")) return say(board, `metrics.${metric}.label`);
  const name = metric.slice("component/".length);
  return lookUp(board.get("words"), `components.${name}.label`) ?? name;
}

function paintTitle(board, node, chart) {
  const text = say(board, `ui.charts.${chart.key}`);
  const now = valueAt(board, chart.lines[0].metric, chart.digits);
  const explained = chart.beside ? ` ${say(board, "ui.charts.explained", { value: besideText(lineOf(board, chart.beside)) })}` : "";
  const beside = chart.coefficient ? ` β ${valueAt(board, chart.coefficient.lines[0].metric, chart.coefficient.digits)}` : explained;
  const claimed = chart.lines.some(({ metric }) => claimsOf(board, metric).length) ? say(board, "ui.expected.key") : "";
  const stamp = [text, now, beside, claimed].join();
  if (node.exShown === stamp) return;
  node.exShown = stamp;
  node.replaceChildren(text, " ", make("b", { text: now }), make("span", { class: "ex-beside ex-muted", text: beside }), claimed && make("span", { class: "ex-expected-key" }, make("i"), claimed));
}

// A metric's number at the update on screen; a large one with fewer digits, since a title has room for no more.
function valueAt(board, metric, digits = 2) {
  const { values, at } = lineOf(board, metric);
  if (at < 0) return "";
  const size = Math.abs(values[at]);
  return format(values[at], Math.max(0, digits - (size >= 100 ? 2 : size >= 10 ? 1 : 0)));
}

// The explained variance beside a title is at most 1, and below 0 has no lower end: no more than five characters.
function besideText({ values, at }) {
  if (at < 0) return "";
  const value = values[at];
  if (value < -99) return `< ${MINUS}99`;
  const digits = value <= -9.995 ? 0 : 2;
  return format(Number(value.toFixed(digits)), digits);
}

// What the chart's lines are, each with its stroke, its expression and what to look for.
function chartNodes(board, chart, expressions) {
  const nodes = [make("strong", { text: say(board, `ui.charts.${chart.key}`) })];
  const told = new Set();
  chart.lines.forEach(({ metric, key }, nth) => {
    nodes.push(make("p", {}, stroke(nth), make("b", { text: ` ${metricLabel(board, metric)}` })));
    nodes.push(...claimWords(board, metric, metricLabel(board, metric)).map((text) => make("p", { class: "explorer-expected", text })));
    if (told.has(key)) return;
    told.add(key);
    nodes.push(...meaningOf(board, key, expressions));
  });
  const beside = chart.beside ?? chart.coefficient?.lines[0].metric;
  const { values, at } = beside ? lineOf(board, beside) : {};
  if (beside) nodes.push(make("p", {}, make("b", { text: `${metricLabel(board, beside)} ` }), at < 0 ? "" : format(values[at], 3)), ...meaningOf(board, beside, expressions));
  return nodes;
}

// How a metric is computed, and what to look for.
function meaningOf(board, key, expressions) {
  const look = lookUp(board.get("words"), `metrics.${key}.look_for`) ?? "";
  return [make("code", { text: expressions[key] ?? "" }), make("p", { class: "ex-hint", text: look.replaceAll("{name}", "…") })];
}

function stroke(nth) {
  const { colour, dash } = strokeOf(nth);
  const picture = draw("svg", { class: "ex-stroke", viewBox: "0 0 28 8" });
  draw("line", { x1: 0, x2: 28, y1: 4, y2: 4, "stroke-dasharray": dash, style: `stroke:var(${colour})` }, picture);
  return picture;
}

function palette(root) {
  const style = getComputedStyle(root);
  return { of: (name) => style.getPropertyValue(name).trim(), font: style.fontFamily };
}

const axisName = (letter, i) => (i ? `${letter}${i + 1}` : letter);

function traces(board, charts, colours) {
  return charts.flatMap((chart, i) => {
    const axes = { xaxis: axisName("x", i), yaxis: axisName("y", i), type: "scatter", showlegend: false };
    const lines = chart.lines.map(({ metric }, nth) => {
      const { updates, values } = lineOf(board, metric);
      const { colour, dash, width } = strokeOf(nth);
      const told = `${say(board, "ui.update", { update: "%{x:d}" })}<br>%{y:.3f} ${escape(metricLabel(board, metric))}<extra></extra>`;
      return { ...axes, mode: "lines", line: { color: colours.of(colour), width, dash }, x: updates, y: values, hovertemplate: told };
    });
    const { updates, values, at } = lineOf(board, chart.lines[0].metric);
    const now = at < 0 ? [[], []] : [[updates[at]], [values[at]]];
    const marker = { size: 6, color: colours.of("--ex-ink") };
    return [...lines, { ...axes, mode: "markers", marker, cliponaxis: false, hoverinfo: "skip", x: now[0], y: now[1] }];
  });
}

// Plotly reads markup and placeholders in what it writes: a component's name is neither.
const escape = (name) => name.replace(/[&<>%]/g, (sign) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", "%": "&#37;" })[sign]);

// Every axis is fixed: the kernel says how far it reaches, and nothing in the page zooms it.
function layout(board, charts, { width, height }, colours) {
  const { span, ranges } = board.get("series");
  const [ink, muted, grid, card] = ["--ex-ink", "--ex-muted", "--ex-line", "--ex-card"].map(colours.of);
  const made = {
    width, height, autosize: false, margin: { l: 0, r: 0, t: 0, b: 0 }, dragmode: false, hovermode: "closest",
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { size: 10, family: colours.font, color: muted },
    hoverlabel: { bgcolor: card, bordercolor: muted, font: { size: 11, color: ink } },
  };
  charts.forEach((chart, i) => {
    const { left, right, top, bottom } = plotBox(i, charts.length, { width, height });
    const shared = { zeroline: false, automargin: false, fixedrange: true, gridcolor: grid, linecolor: muted };
    made[axisName("xaxis", i)] = {
      ...shared, nticks: 3, tickprefix: `${say(board, "ui.charts.across")} `, showtickprefix: "first", anchor: axisName("y", i), range: [...span],
      domain: [left / width, right / width],
    };
    made[axisName("yaxis", i)] = {
      ...shared, nticks: 4, anchor: axisName("x", i), range: ranges[chart.key].map(chart.log ? Math.log10 : Number),
      ...(chart.log ? { type: "log", dtick: 1, exponentformat: "none" } : { type: "linear" }),
      domain: [1 - bottom / height, 1 - top / height],
    };
  });
  return made;
}
