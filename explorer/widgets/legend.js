// The legend of the strip: the scale of the colours, which can be fitted to the batch on screen and back, and what the
// marks below a token say. The marks are told apart by shape: rising above the band, falling below it; filled where a
// gradient flows, hollow where none does; and inside a small triangle that points where the advantage pushes.

function stripLegend(board, cut) {
  const scale = make("span", { class: "ex-scale" });
  const fit = make("button", { class: "ex-button ex-small explorer-rescale", type: "button", onclick: () => refit(board) });
  const note = make("span");
  const shown = make("span", { class: "ex-shown", role: "status" });
  const turned = make("span", { class: "ex-key explorer-turned" });
  const badge = make("span", { class: "ex-badge" });
  const glyphs = make("div", { class: "ex-legend ex-legend-marks" });
  const node = make("div", { class: "ex-legends" }, make("div", { class: "ex-legend" }, scale, fit, note, cut, shown, turned, badge), glyphs);
  const paint = (batch, name) => {
    node.hidden = !hasBatch(batch);
    if (node.hidden) return;
    paintScale(board, scale, batch, name);
    const { count } = turnedTokens(batch, ghostOf(board)) ?? {};
    turned.hidden = count === undefined;
    write(turned, turned.hidden ? "" : say(board, "ui.ghost.turned", { count }));
    turned.title = say(board, "ui.ghost.turned_what");
    const fitted = isFitted(board, name);
    write(fit, say(board, "ui.tokens.rescale"));
    fit.title = say(board, fitted ? "ui.tokens.rescale_back" : "ui.tokens.rescale_what");
    fit.setAttribute("aria-pressed", String(fitted));
    note.replaceChildren(...(name === "gradient_part" ? [partsLine(board)] : name === "age" ? [make("span", { text: agesLine(board, batch) })] : []));
    if (needsWords(glyphs, board)) {
      const mark = (state, side) => make("i", { class: "ex-mark", "data-state": state, "data-side": side });
      const inside = ["up", "down"].flatMap((way) => [mark(INSIDE, way), say(board, `clip.inside_${way}.short`)]);
      const outside = [["low", "below"], ["high", "above"]].flatMap(([side, words]) => [mark(OUTSIDE_FLOWS, side), say(board, `clip.${words}.short`)]);
      glyphs.replaceChildren(
        make("span", { class: "ex-key", title: say(board, "clip.sides.long") }, ...inside),
        make("span", { class: "ex-key", title: say(board, "clip.outside_flows.long") }, ...outside),
        make("span", { class: "ex-key", title: say(board, "clip.outside_zero.long") }, mark(OUTSIDE_ZERO, "low"), mark(OUTSIDE_ZERO, "high"), say(board, "clip.no_gradient.short")),
        make("span", { class: "ex-key" }, make("span", { class: "ex-prompt", text: say(board, "ui.tokens.prompt") })),
        make("span", { class: "ex-key", title: say(board, "ui.tokens.padding_what") }, make("span", { class: "ex-padding", text: say(board, "ui.tokens.padding") })),
      );
    }
  };
  return { node, badge, shown, paint };
}

function paintScale(board, node, batch, name) {
  const scale = scaleOf(board, name);
  const words = quantityWords(board, name);
  const ramp = make("span", { class: `ex-ramp ${scale.kind === "sequential" ? "ex-sequential" : "ex-diverging"}` });
  if (name === "ratio") {
    for (const edge of batch.clip) {
      const left = ((position(scale, edge) + 1) / 2) * 100;
      if (left >= 0 && left <= 100) ramp.append(make("i", { style: `left:${left.toFixed(1)}%`, title: format(edge) }));
    }
  }
  const end = (text, value) => make("span", { text: `${text} ${format(value, Math.abs(value) < 0.1 ? 3 : value % 1 ? 2 : 0)}` });
  node.title = words.what;
  node.replaceChildren(end(words.low, scale.low), ramp, end(words.high, scale.high));
}

const isFitted = (board, name) => Boolean(board.get("fitted")[name]);

// Fit the scale of the quantity on screen to the batch on screen, and keep it; or back to the one that is fixed.
function refit(board) {
  const name = board.get("quantity");
  const { [name]: before, ...others } = board.get("fitted");
  const batch = board.get("batch");
  const ends = before || !hasBatch(batch) ? null : fittedEnds(scaleOf(board, name), batch, valuesOf(board, name));
  board.set("fitted", ends ? { ...others, [name]: ends } : others);
  board.save_changes();
}

// The ends [low, high] of a scale fitted to the batch's tokens: all but the outermost fiftieth lie within, and the middle
// of a scale that has one stays where it is. Null where there is nothing to fit to.
function fittedEnds(scale, batch, values) {
  if (!values) return null;
  const sizes = [];
  batch.tokens.forEach((tokens, row) => tokens.forEach((_, t) => {
    const value = values[row * batch.length + t];
    const size = scale.kind === "ratio" ? Math.abs(Math.log(value)) : scale.kind === "diverging" ? Math.abs(value) : value;
    if (Number.isFinite(size)) sizes.push(size);
  }));
  sizes.sort((a, b) => a - b);
  const most = sizes[Math.ceil(0.98 * sizes.length) - 1];
  if (!(most > 0)) return null;
  if (scale.kind === "ratio") return [Math.exp(-most), Math.exp(most)];
  return scale.kind === "diverging" ? [-most, most] : [scale.low, most];
}

// What the badge says: that the batch is re-scored, that what is being dragged is not trained with yet, and which settings
// the batch has to wait with until the next update.
function rescoredWords(board, batch) {
  const waiting = Object.entries(board.get("run").later ?? {}).map(([field, lack]) => {
    const name = field.startsWith("weight_") ? wholeResponseName(board, `component/${field.slice(7)}`) : say(board, `fields.${field}.label`);
    const when = lack === "critic" ? "what_if_reset" : isReplay(board) ? "replay_lacks" : "what_if_later";
    return say(board, `ui.${when}`, { name, why: say(board, `ui.lacks.${lack}`) });
  });
  const [scored, held] = [Object.keys(batch.rescored).length > 0, board.get("run").held?.length > 0];
  const told = held ? "held" : scored ? "what_if_badge" : "";
  return [...(told ? [say(board, `ui.${told}`)] : []), ...waiting].join(" · ");
}

// What the parts come to, or why they are not there.
function partsLine(board) {
  const { state, update, nearest, tokens, sum } = board.get("parts");
  const words = state ? say(board, `ui.parts.${state}`, { update, nearest, tokens, sum: format(sum, 3) }) : "";
  return make("span", { class: "explorer-parts", role: "status", "data-state": state ?? "", text: words });
}

// The strip shows the fresh responses; how many older ones were trained on beside them.
const agesLine = (board, { replayed }) => say(board, replayed?.rows ? "ui.tokens.replayed" : "ui.tokens.all_fresh", replayed ?? {});
