// The exact toy. Left: one probability to drag, and what follows from it exactly. Right: a cloud of gradient estimates,
// one dot a batch, around the true gradient. The kernel computes both, and only while this panel is on screen.

export default {
  render(context) {
    return frame(context, "toy", ["lower", "run"], build(context.model));
  },
};

const build = (model) => (root, board, sized, leaving) => {
  const tabs = lowerTabs(root, board, "toy", leaving);
  const hint = make("p", { class: "ex-hint" });
  const choose = (changes) => {
    model.set("asked", { ...model.get("asked"), ...changes });
    model.save_changes();
  };
  const left = dragging(board, model, sized, choose);
  const right = cloudOf(board, model, sized, choose);
  const body = make("div", { class: "ex-toy" }, left.node, right.node);
  root.append(tabs.node, hint, body);
  root.exMore = wordTable;
  const refresh = () => {
    if (board.get("lower") !== "toy") return;
    tabs.paint();
    const ready = Boolean(model.get("dragged").words);
    write(hint, say(board, ready ? "ui.panels.toy.look_for" : "ui.loading"));
    body.hidden = !ready;
    if (!ready) return;
    left.paint();
    right.paint();
    if (!opened) return;
    opened = false;
    left.start();
  };
  leaving(listen(model, ["dragged", "cloud"], refresh));
  let opened = false; // by a button elsewhere: the keyboard goes on at the slider, once that is there
  leaving(listen(board, ["toy"], () => (opened = true)));
  leaving(hear(model, "msg:custom", (message) => message.kind === "rejected" && left.paint(true)));
  return refresh;
};

// ---------------------------------------------------------------- one probability, dragged

function dragging(board, model, sized, choose) {
  const title = make("h3");
  const name = make("label");
  const range = make("input", { class: "explorer-toy-drag", type: "range", min: 0.01, max: 0.99, step: 0.01 });
  const number = make("input", { class: "ex-number explorer-toy-typed", type: "text", inputmode: "decimal" });
  name.htmlFor = range.id = `ex-toy-${Math.random().toString(36).slice(2, 8)}`;
  const words = make("div", { class: "ex-toy-words" });
  const picture = draw("svg", { class: "ex-picture ex-toy-ratios", role: "img" });
  const reward = make("p", { class: "explorer-toy-reward" });
  const why = make("p", { class: "ex-muted" });
  const kl = make("p", { class: "explorer-toy-kl" });
  const node = make("div", { class: "ex-toy-side" }, title, make("div", { class: "ex-row" }, name, number), range, words);
  node.append(picture, reward, why, kl);
  const size = sized(picture);

  range.addEventListener("input", () => choose({ probability: Number(range.value) }));
  number.addEventListener("change", () => {
    const text = number.value.trim().replace(MINUS, "-").replace(",", ".");
    choose({ probability: text === "" || Number.isNaN(Number(text)) ? text : Number(text) });
  });
  number.addEventListener("keydown", (event) => event.key === "Enter" && number.blur());

  const paint = (force = false) => {
    const dragged = model.get("dragged");
    const [first, second] = dragged.words;
    write(title, say(board, "ui.toy.exact", { prefix: dragged.prefix }));
    write(name, say(board, "ui.toy.new_probability", { word: first.word }));
    number.setAttribute("aria-label", `${name.textContent}, ${say(board, "ui.typed")}`);
    const rounded = Number(first.new.toPrecision(6)); // 0.7 comes back as 0.7000000000000001
    const text = Number(rounded.toFixed(2)) === rounded ? rounded.toFixed(2) : String(rounded);
    if (document.activeElement !== range || force) range.value = String(rounded);
    if (document.activeElement !== number || force) number.value = text;
    range.setAttribute("aria-valuetext", `${text}, ρ ${format(first.ratio, 4)}`);
    words.replaceChildren(...dragged.words.flatMap(wordRow));
    drawRatios(picture, size, board, dragged);

    const [before, after] = dragged.expected_reward;
    reward.replaceChildren(`${say(board, "ui.toy.expected_reward")} ${format(before, 3)} → `, make("b", { text: format(after, 3) }), ` (${signed(after - before, 3)})`);
    const share = format(dragged.share, 2);
    const moved = `${share} × (${signed(first.new - first.old)}) × (${format(first.reward)} − (${format(second.reward)}))`;
    write(why, say(board, "ui.toy.why", { share, prefix: dragged.prefix, moved }));
    kl.replaceChildren(`${say(board, "ui.toy.kl")} `, make("b", { text: format(dragged.kl, 4) }), ` ${say(board, "ui.units.nats")}`);
  };
  const start = () => {
    node.scrollIntoView({ block: "nearest" });
    range.focus();
  };
  return { node, paint, start };
}

// A row for each of the two words; whether it gets a gradient is said for either sign of its advantage.
function wordTable(board, model) {
  const { prefix, words, clip, objective, expected_reward: [before, after] = [], kl } = model.get("dragged");
  if (!words) return null;
  const columns = ["prefix", "word", "probability before", "probability now", "ratio", "advantage", "expected reward after it", "gradient if A > 0", "gradient if A < 0", "objective", "clip low", "clip high", "expected reward before", "expected reward now", "KL to old policy [nats]"];
  const rows = words.map(({ word, old, new: now, ratio, advantage, reward, held }) => [prefix, word, old, now, ratio, advantage, reward, !held[0], !held[1], objective, ...clip, before, after, kl]);
  return { columns, rows };
}

// A word: its probabilities, ratio and advantage, and under them the two bars that share the slider's axis.
function wordRow({ word, old, new: now, ratio, advantage }) {
  const kind = now >= old ? "ex-more" : "ex-less";
  const line = make("div", { class: "ex-toy-word", "data-word": word },
    make("b", { text: word }), make("span", { text: `${format(old)} → ${format(now)}` }),
    make("span", { class: "ex-toy-ratio" }, make("i", { class: "ex-ratio", text: "ρ" }), " ", make("b", { class: kind, text: format(ratio, 4) })),
    make("span", {}, make("i", { class: "ex-adv", text: "A" }), ` ${signed(advantage)}`));
  const bar = (share, name) => make("i", { class: `ex-toy-bar ${name}`, style: `width:${(100 * share).toFixed(1)}%` });
  return [line, make("div", { class: "ex-toy-bars", "aria-hidden": "true" }, bar(old, "ex-toy-old"), bar(now, kind))];
}

// Both words at their ratios, once as if their advantage were positive and once as if it were negative: filled where the
// objective gives a gradient, hollow where it does not. The sign that the word really has is written in bold.
function drawRatios(picture, { width, height }, board, { words, clip }) {
  picture.replaceChildren();
  if (!width) return;
  picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const [left, right, foot] = [78, width - 34, height - 14]; // a word has room beside the outermost mark
  const [low, high] = [0.4, 2.5].map(Math.log);
  const x = (ratio) => left + ((clamp(Math.log(ratio), low, high) - low) / (high - low)) * (right - left);
  const [from, to] = clip;
  draw("rect", { class: "ex-region", x: x(from), y: 0, width: x(to) - x(from), height: foot, "data-low": from.toFixed(4), "data-high": to.toFixed(4) }, picture);
  draw("line", { class: "ex-axis", x1: left, x2: right, y1: foot, y2: foot }, picture);
  for (const tick of [0.5, from, to, 2]) {
    draw("text", { class: tick === from || tick === to ? "ex-edge" : "", x: x(tick), y: height - 3, "text-anchor": "middle", text: format(tick, tick % 1 ? 2 : 0) }, picture);
  }
  draw("text", { x: 0, y: height - 3, text: "ρ" }, picture);
  const spoken = [];
  [1, -1].forEach((sign, lane) => {
    const y = ((lane + 0.5) * foot) / 2;
    const group = draw("g", { class: sign > 0 ? "ex-positive" : "ex-negative" }, picture);
    draw("text", { class: "ex-panel-title", x: 0, y: y + 4, text: sign > 0 ? "A > 0" : "A < 0" }, group);
    const flipped = words[0].ratio < words[1].ratio ? 1 : -1; // each label on the outer side of its mark
    words.forEach(({ word, ratio, advantage, held }, i) => {
      const state = held[lane] ? "no_gradient" : "gradient_flows";
      const own = Math.sign(advantage) === sign;
      const marks = draw("g", { class: "ex-glyphs" }, group);
      const at = x(ratio);
      const off = Math.log(ratio) < low ? "◂" : Math.log(ratio) > high ? "▸" : ""; // further out than the axis
      draw("path", {
        class: held[lane] ? "ex-glyph-3" : "ex-glyph-2", "data-word": word, "data-sign": sign, "data-held": held[lane],
        d: `M${at - 5} ${y + 4 * sign}L${at + 5} ${y + 4 * sign}L${at} ${y - 5 * sign}Z`,
      }, marks);
      const side = (i === 0 ? -1 : 1) * flipped;
      draw("text", { class: own ? "ex-edge" : "", x: at + side * 9, y: y + 4, "text-anchor": side > 0 ? "start" : "end", text: off === "◂" ? off + word : word + off }, group);
      spoken.push(`${word}, A ${sign > 0 ? ">" : "<"} 0: ρ ${format(ratio, 4)}, ${say(board, `ui.formula.${state}`)}`);
    });
  });
  picture.setAttribute("aria-label", spoken.join("; "));
}

// ---------------------------------------------------------------- the cloud

function cloudOf(board, model, sized, choose) {
  const title = make("h3");
  const menu = (name) => make("select", { class: `ex-select explorer-toy-${name.replace("_", "-")}`, onchange: () => {
    const chosen = menus[name].value;
    choose({ [name]: name === "batch_size" ? Number(chosen) : chosen });
  } });
  const menus = Object.fromEntries(["estimator", "critic", "batch_size"].map((name) => [name, menu(name)]));
  const box = make("input", { type: "checkbox", class: "explorer-toy-whiten", onchange: () => choose({ whiten: box.checked }) });
  const whiten = make("label", { class: "ex-key" }, box, make("span"));
  const picture = draw("svg", { class: "ex-picture explorer-toy-cloud" });
  const table = make("div", { class: "ex-toy-numbers" });
  const node = make("div", { class: "ex-toy-side" }, title, make("div", { class: "ex-toy-menus" }, ...Object.values(menus), whiten));
  node.append(picture, table);
  const size = sized(picture);

  const paintMenus = () => {
    const asked = model.get("asked");
    if (needsWords(node, board)) {
      for (const [name, list] of Object.entries(menus)) {
        const word = (value) => say(board, name === "estimator" ? `fields.estimator.options.${value}.label` : `ui.toy.${name}.${name === "critic" ? value : "label"}`, { count: value });
        list.replaceChildren(...model.get("offered")[name].map((value) => make("option", { value, text: word(value) })));
        list.setAttribute("aria-label", say(board, `ui.toy.${name}.choose`));
      }
      write(whiten.lastChild, say(board, "fields.whiten.label"));
    }
    for (const [name, list] of Object.entries(menus)) list.value = asked[name];
    menus.estimator.title = say(board, `fields.estimator.options.${asked.estimator}.what`);
    box.checked = asked.whiten;
  };

  let drawn = [];
  const paint = () => {
    const cloud = model.get("cloud");
    paintMenus();
    const stamp = [cloud, board.get("words"), size.width, size.height];
    if (!cloud.points || stamp.every((part, i) => part === drawn[i])) return;
    drawn = stamp;
    write(title, say(board, "ui.toy.cloud", { batches: cloud.batches }));
    title.title = say(board, "ui.toy.cloud_what");
    const cell = ([value, error]) => {
      const digits = error < 0.001 ? 4 : 3;
      return make("span", { text: `${value.toFixed(digits)} ± ${error.toFixed(digits)}`.replace("-", MINUS) });
    };
    const row = (key, i) => [make("span", { text: say(board, `ui.toy.${key}`) }), cell(cloud.bias[i]), cell(cloud.deviation[i])];
    table.replaceChildren(make("span"), make("span", { text: say(board, "ui.toy.bias") }), make("span", { text: say(board, "ui.toy.deviation") }), ...row("along", 1), ...row("across", 0));
    drawCloud(picture, size, board, cloud);
  };
  return { node, paint };
}

// One scale for both axes and for every estimator; the true gradient in the middle. What lies further out than the
// window is drawn at its edge, and counted.
function drawCloud(picture, { width, height }, board, { points, truth, mean, reach, batches, wrong }) {
  picture.replaceChildren();
  if (!width) return;
  picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const unit = Math.min(width / 2 / reach[0], height / 2 / reach[1]);
  const [middle, centre] = [width / 2, height / 2];
  const x = (across) => middle + (across - truth[0]) * unit;
  const y = (along) => centre - (along - truth[1]) * unit;
  draw("line", { class: "ex-axis", x1: x(0), x2: x(0), y1: 0, y2: height }, picture);
  draw("line", { class: "ex-line ex-dashed", x1: 0, x2: width, y1: y(0), y2: y(0) }, picture);
  const values = numbers(points, Float32Array);
  const [right, astray] = [[], []];
  let beyond = 0;
  for (let i = 0; i < batches; i += 1) {
    const [px, py] = [x(values[2 * i]), y(values[2 * i + 1])];
    const [cx, cy] = [clamp(px, 2, width - 2), clamp(py, 2, height - 2)];
    if (cx !== px || cy !== py) beyond += 1;
    (values[2 * i + 1] < 0 ? astray : right).push(`M${cx.toFixed(1)} ${cy.toFixed(1)}h0`);
  }
  draw("path", { class: "ex-toy-dots", d: right.join("") }, picture);
  draw("path", { class: "ex-toy-dots ex-toy-astray", d: astray.join("") }, picture);
  const [tx, ty] = [x(truth[0]), y(truth[1])];
  draw("path", { class: "ex-toy-truth", d: `M${tx - 7} ${ty}H${tx + 7}M${tx} ${ty - 7}V${ty + 7}` }, picture);
  draw("circle", { class: "ex-ring", cx: x(mean[0]), cy: y(mean[1]), r: 5 }, picture);
  draw("text", { x: 2, y: 10, text: `↑ ${say(board, "ui.toy.along_axis")}` }, picture);
  draw("text", { x: 2, y: y(0) + 12, text: say(board, "ui.toy.lowers", { share: format(100 * wrong, 1) }) }, picture);
  draw("text", { x: width - 2, y: 10, "text-anchor": "end", text: say(board, "ui.toy.legend") }, picture);
  const bar = 0.5; // the length of the scale's bar, the same in both directions
  draw("path", { class: "ex-toy-scale", d: `M${width - 4 - bar * unit} ${height - 5}h${bar * unit}` }, picture);
  draw("text", { x: width - 4, y: height - 9, "text-anchor": "end", text: say(board, "ui.toy.scale", { length: format(bar, 1) }) }, picture);
  if (beyond) draw("text", { x: 2, y: height - 3, text: say(board, "ui.toy.beyond", { count: beyond }) }, picture);
  picture.dataset.beyond = beyond;
  picture.setAttribute("role", "img"); // before it is drawn it has nothing to be called
  picture.setAttribute("aria-label", `${say(board, "ui.toy.cloud", { batches })}. ${say(board, "ui.toy.cloud_what")}`);
}
