// The clip picture. One view: the objective against the ratio, for A > 0 and for A < 0, with this batch's own tokens on
// it, and ε as handles on the axis. The other: the tokens by their two probabilities. The epochs of the update can be
// played in both. Below, the formula of the token in focus, filled in.

export default {
  render(context) {
    return frame(context, "objective", ["batch", "plane", "pinned", "hovered", "clip_view", "run", "settings"], build(context.model));
  },
};

const VIEWS = ["objective", "probabilities"];
const NOTHING = { spots: [], places: emptyPlaces(0), glyphs: () => {} }; // where not even the curve is known yet

// What is drawn: the batch, or the plane alone while there is no update.
const drawnBatch = (board) => (hasBatch(board.get("batch")) ? board.get("batch") : board.get("plane"));

const build = (model) => (root, board, sized, leaving) => {
  const head = clipHead(board, () => (player.playing ? player.stop() : player.start(board.get("batch"))));
  const picture = draw("svg", { class: "ex-picture", role: "img", "data-twice": "term" });
  const handles = make("div", { class: "ex-handles" });
  const formula = make("div", { class: "ex-formula" });
  const truth = make("p", { class: "ex-hint ex-truth" });
  const toy = make("button", { class: "ex-button ex-small explorer-open-toy", type: "button", onclick: () => openToy(board) });
  // Of one height, so that a longer formula moves nothing: the words below give way to it.
  const foot = make("div", { class: "ex-clip-foot" }, formula, make("div", { class: "ex-truth-row" }, truth, toy));
  root.append(head.node, make("div", { class: "ex-stage" }, picture, handles), foot);
  const size = sized(picture);
  const placeHandles = handlesOn(handles, board, leaving);

  const under = (event) => {
    const { x, y } = placeIn(picture, event);
    return nearestToken(cloud.shown, board.get("batch"), x, y);
  };
  picture.addEventListener("mousemove", (event) => hover(board, under(event)));
  picture.addEventListener("mouseleave", () => hover(board, null));
  picture.addEventListener("click", (event) => pin(board, under(event)));

  let drawGlyphs = () => {};
  let drawn = null; // what the picture was last drawn from
  let spots = []; // where it has handles
  const cloud = cloudMotion((moving) => {
    const since = performance.now();
    drawGlyphs(cloud.shown);
    markFocus(picture, board, cloud.shown);
    picture.dataset.moving = String(moving);
    timed("explorer-clip-frame", since);
  });
  const player = epochPlayer((epoch) => model.send({ kind: "epoch", epoch }), () => head.paint(player.playing));
  leaving(() => {
    cloud.stop();
    player.stop();
  });

  return () => {
    const [batch, view, { width, height }] = [drawnBatch(board), board.get("clip_view"), size];
    player.heard(batch);
    head.paint(player.playing);
    if (!width) return;
    const stamp = [batch, view, width, height, board.get("words")];
    if (!drawn || stamp.some((part, i) => part !== drawn[i])) {
      const since = performance.now();
      const how = drawn ? wayOf(drawn, stamp) : "jump";
      drawn = stamp;
      write(truth, batch.clip || view === "objective" ? truthOf(board, batch, view) : "");
      truth.title = truth.textContent;
      write(toy, say(board, "ui.toy.open"));
      toy.title = say(board, "ui.toy.open_what");
      picture.replaceChildren();
      picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
      const undrawn = hasBatch(batch) ? undrawnTokens(batch) : 0;
      const told = [say(board, `ui.panels.objective.${view}`), head.said, undrawn ? say(board, "clip.undrawn.short", { count: undrawn }) : ""];
      picture.setAttribute("aria-label", told.filter(Boolean).join(". "));
      Object.assign(picture.dataset, { view, epoch: batch.epoch ?? "" });
      const parts = batch.clip ? drawView[view](picture, board, batch, width, height) : NOTHING;
      [spots, drawGlyphs] = [parts.spots, parts.glyphs];
      draw("g", { class: "ex-focus" }, picture);
      cloud.go(parts.places, how);
      timed("explorer-clip", since);
    } else markFocus(picture, board, cloud.shown);
    placeHandles(spots);
    paintFormula(formula, board, batch);
  };
};

// Only the newest is kept: the browser's list of measures would grow for as long as a run goes on.
function timed(name, since) {
  performance.clearMeasures(name);
  performance.measure(name, { start: since });
}

// How the tokens come to their new places: another epoch of the update is moved to; under a new scoring they stay on
// their way; another update, view or size has nothing to do with what was there.
function wayOf([was, ...before], [batch, ...now]) {
  const same = before.slice(0, 3).every((part, i) => part === now[i]);
  if (!same || !hasBatch(was) || !hasBatch(batch) || was.update !== batch.update) return "jump";
  return was.epoch === batch.epoch ? "keep" : "move";
}

// ---------------------------------------------------------------- the head

function clipHead(board, toggle) {
  const title = make("h2");
  const tabs = tabRow(VIEWS, (view) => `ex-tab explorer-view-${view}`, (view) => {
    board.set("clip_view", view);
    board.save_changes();
  });
  const play = make("button", { class: "ex-play explorer-play-epochs", type: "button", onclick: toggle });
  const epoch = make("span", { class: "ex-muted explorer-clip-epoch", role: "status" });
  const hint = make("p", { class: "ex-hint" });
  const row = make("div", { class: "ex-clip-head" }, title, tabs.node, make("span", { class: "ex-space" }), play, epoch);
  const node = make("header", { class: "ex-head-stack" }, row, hint);
  const paint = (playing) => {
    const batch = board.get("batch");
    write(title, say(board, "ui.panels.objective.title"));
    tabs.node.setAttribute("aria-label", title.textContent);
    for (const view of VIEWS) {
      write(tabs.buttons[view], say(board, `clip.views.${view}`));
      tabs.buttons[view].title = say(board, `ui.panels.objective.${view}`);
    }
    tabs.select(board.get("clip_view"));
    const name = say(board, playing ? "clip.play.pause" : "clip.play.start");
    write(play, playing ? "❚❚" : "▶");
    play.title = name;
    play.setAttribute("aria-label", name);
    play.setAttribute("aria-pressed", String(playing));
    play.disabled = !playing && !canPlay(batch);
    write(epoch, epochName(board, batch));
    epoch.title = epoch.textContent;
    write(hint, hasBatch(batch) ? sentence(board, batch) : say(board, "ui.panels.objective.look_for"));
  };
  return { node, paint, get said() { return hint.textContent; } };
}

function sentence(board, batch) {
  const unbanded = NO_BAND.has(batch.objective);
  if (batch.no_second_look && !unbanded) return say(board, "ui.no_clip_yet_hint");
  const { tokens, outside, zero } = batch.counts;
  const [low, high] = batch.clip.map(edgeText);
  const whose = unbanded ? "no_band" : batch.objective === "gspo" ? "response" : "ratio";
  const then = ghostOf(board)?.counts;
  const moved = then && (then.outside !== outside || then.zero !== zero);
  const counted = { outside: wasAndIs(then?.outside, outside), zero: wasAndIs(then?.zero, zero) };
  return say(board, `ui.tokens_outside.${moved ? `was_${whose}` : whose}`, { ...counted, total: tokens, low, high });
}

// What the objective does to a ratio that has moved, or how the wedge is to be read; and that the picture leaves the KL
// out, where the loss has one.
function truthOf(board, batch, view) {
  if (view !== "objective") {
    const wedge = say(board, `clip.wedge.truth.${wedgeKind(batch.objective)}`, { edge: edgeText(1 / batch.clip[1]) });
    return batch.clip[1] - batch.clip[0] < 0.01 ? `${wedge} ${say(board, "clip.wedge.thin")}` : wedge;
  }
  const truth = say(board, `clip.truth.${batch.objective ?? "clip"}`);
  return batch.loss_kl ? `${truth} ${say(board, "clip.curve_alone.long")}` : truth;
}

// ---------------------------------------------------------------- the picture

// Each draws its view without the tokens, and says where they go, what draws them there, and which handles there are.
const drawView = {
  objective(picture, board, batch, width, height) {
    const scales = planeScales(batch, width, height);
    const places = placesOnCurve(batch, scales);
    const spots = [];
    const ghost = ghostOf(board);
    for (const sign of [1, -1]) {
      const group = draw("g", { class: SIGNS[sign] }, picture);
      const drawn = drawPlane(group, board, batch, scales[sign], sign);
      spots.push(...drawn.spots);
      if (ghost) drawGhost(group, board, batch, ghost, scales[sign], sign, drawn);
      drawBeyond(group, scales[sign], places.beyond[sign]);
    }
    noteUndrawn(picture, board, batch, scales[-1].left + 6, scales[-1].top + 9);
    return { spots, places, glyphs: glyphLayer(picture) };
  },
  probabilities(picture, board, batch, width, height) {
    const scales = squareScales(width, height);
    const panels = [1, -1].map((sign) => [draw("g", { class: SIGNS[sign] }, picture), scales[sign], sign]);
    const ghost = ghostOf(board);
    for (const [group, ...own] of panels) {
      drawSquare(group, board, batch, ...own);
      if (ghost) drawWedgeGhost(group, board, batch, ghost, ...own);
    }
    const glyphs = glyphLayer(picture);
    for (const [, ...own] of panels) drawSquareNotes(picture, board, batch, ...own);
    noteUndrawn(picture, board, batch, scales[-1].start + 6, scales[-1].bottom + 26);
    return { spots: [], places: placesByProbability(batch, scales), glyphs };
  },
};

function markFocus(picture, board, places) {
  const layer = picture.querySelector(".ex-focus");
  const batch = board.get("batch");
  if (!layer) return;
  layer.replaceChildren();
  for (const [token, kind] of [[pinnedOf(board), "ex-ring-pinned"], [hoveredOf(board), "ex-ring-hovered"]]) {
    if (!token || !hasBatch(batch) || token[0] >= batch.rows || token[1] >= batch.length) continue;
    const index = token[0] * batch.length + token[1];
    const state = places.state[index] ?? UNPLACED;
    if (state === UNPLACED) continue;
    const [x, y, sign] = [places.x[index], places.y[index], places.sign[index]];
    draw("circle", { class: `ex-ring ${kind}`, cx: x, cy: y, r: 8 }, layer);
    draw("path", { class: `ex-glyphs ex-glyph-${state} ${SIGNS[sign]}`, d: glyph(x, y, GLYPH[state] + 0.9, sign) }, layer);
  }
}
