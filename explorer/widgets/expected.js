// What a preset claims, drawn under the curve: from one update to another a mean has to lie beyond an edge, and the side on
// which it has to lie is pale. Where score and judge are to part by an update, or to be together after it, that one is pale
// from top to bottom: the gauge has the place. Shown in a run that has had the settings of the preset from its start.

const claimsOf = (board, metric) => (board.get("run").claims ?? []).filter((claim) => claim.metric === metric);

// One trace for each chart of which something is claimed.
function tracesExpected(board, charts, colours) {
  const { ranges } = board.get("series");
  const [red, green, blue] = colours.of("--ex-orange-rgb").split(" ");
  return charts.flatMap((chart, i) => {
    const [x, y] = [[], []];
    const [low, high] = ranges[chart.key] ?? [0, 1];
    for (const { metric } of chart.lines) {
      for (const { first, last, least, most } of claimsOf(board, metric)) {
        const [from, to] = [Math.max(least ?? low, low), Math.min(most ?? high, high)];
        x.push(first, last, last, first, first, null);
        y.push(from, from, to, to, from, null);
      }
    }
    return !x.length ? [] : { xaxis: axisName("x", i), yaxis: axisName("y", i), type: "scatter", mode: "lines", showlegend: false, x, y, fill: "toself",
      fillcolor: `rgba(${red},${green},${blue},0.16)`, line: { color: colours.of("--ex-orange"), width: 0.8, dash: "2,2" }, hoverinfo: "skip" };
  });
}

// The claims of a chart in words.
function claimWords(board, metric, name) {
  return claimsOf(board, metric).map(({ first, last, least, most, of }) => {
    if (of) return say(board, `ui.expected.${of}`, { last });
    const [below, above] = [format(most, 2), format(least, 2)];
    const key = least === null ? "below" : most === null ? "above" : "between";
    return say(board, `ui.expected.${key}`, { name, least: above, most: below, first, last });
  });
}

// The claim of a preset that score and judge part by an update, or are together after it; null where it has none.
const claimedOf = (board, kinds) => (board.get("run").claims ?? []).find(({ of }) => kinds.includes(of)) ?? null;
