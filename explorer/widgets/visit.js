// To go to another update from the curves: by a click on one, or by key. To the keyboard and to a screen reader all charts
// together are one slider, since they have the updates in common. A part of the run's panel.

// `chartsNow()`: the charts that are drawn. Returns what paints: where the slider stands.
function visiting(plot, board, size, chartsNow, send) {
  const lineAt = (i) => lineOf(board, chartsNow()[i].lines[0].metric);
  plot.setAttribute("role", "slider");
  plot.tabIndex = 0;
  plot.addEventListener("click", (event) => {
    const { span } = board.get("series");
    const box = plot.getBoundingClientRect(); // enlarged where the page is, as what Plotly draws in is not
    const [across, down] = [event.clientX + 0.5 - box.left, event.clientY + 0.5 - box.top]; // an event has whole pixels: its middle
    const place = { x: (across / box.width) * size.width, y: (down / box.height) * size.height };
    const update = span ? updateAt(place, size, chartsNow().length, span, (i) => lineAt(i).updates) : null;
    if (update !== null) send({ kind: "scrub", update });
  });
  plot.addEventListener("keydown", (event) => {
    const { updates } = lineAt(0);
    const asked = updates.length ? goTo(event.key, updates) : null;
    if (!asked || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    send(asked);
  });
  const paint = () => {
    const { updates, at } = lineAt(0);
    const now = updates[at] ?? 0;
    const told = {
      "aria-label": say(board, "ui.charts.go"), "aria-valuetext": say(board, "ui.update", { update: now }),
      "aria-valuemin": Math.min(updates[0] ?? 0, now), "aria-valuemax": Math.max(updates.at(-1) ?? 0, now), "aria-valuenow": now,
    };
    for (const [name, value] of Object.entries(told)) plot.setAttribute(name, value);
    plot.title = told["aria-label"];
  };
  return { paint };
}

// Where a chart's axes lie among the others, in pixels.
function plotBox(i, count, { width, height }) {
  const [column, row] = [i % COLUMNS, Math.floor(i / COLUMNS)];
  const [wide, tall] = [width / COLUMNS, height / Math.ceil(count / COLUMNS)];
  return { left: column * wide + PLACE.left, right: (column + 1) * wide - PLACE.right, top: row * tall + PLACE.top, bottom: (row + 1) * tall - PLACE.bottom };
}

// The update over which a place in one of the charts lies: the nearest that its line has, as `updatesOf(i)` gives them; null
// between the charts, or where there is none.
function updateAt({ x, y }, size, count, [first, last], updatesOf) {
  const near = 4; // pixels beside an axis' end, where its first and its last update are
  for (let i = 0; i < count; i += 1) {
    const { left, right, top, bottom } = plotBox(i, count, size);
    if (x < left - near || x > right + near || y < top || y > bottom) continue;
    const wanted = first + ((x - left) / (right - left)) * (last - first);
    const updates = updatesOf(i);
    return updates.length ? updates.reduce((best, update) => (Math.abs(update - wanted) < Math.abs(best - wanted) ? update : best)) : null;
  }
  return null;
}

// What a key asks of the kernel, as of any slider; null where it is none of a slider's keys.
function goTo(key, updates) {
  const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[key];
  if (by) return { kind: "walk", updates: by };
  return key === "Home" || key === "End" ? { kind: "scrub", update: updates.at(key === "Home" ? 0 : -1) } : null;
}
