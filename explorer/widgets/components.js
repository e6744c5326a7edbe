// The reward's components as a table: name, state, weight, mean over the batch on screen, and history. A part of the reward.

function componentTable(board, model, choose) {
  const own = Math.random().toString(36).slice(2, 8);
  const head = make("div", { class: "ex-reward-line ex-reward-head" });
  const list = make("ul", { class: "ex-reward-list" });
  const node = make("div", { class: "ex-reward-table" }, head, list);
  let [laid, rows] = ["", []];

  const lineFor = ({ name, kind }, nth) => {
    const label = wholeResponseName(board, `component/${name}`);
    const pick = make("button", { class: "ex-reward-name", type: "button", text: label, "data-name": name, onclick: () => choose(name) });
    const weight = make("input", { class: "ex-number", type: "text", inputmode: "decimal", "aria-label": `${label}, ${say(board, "ui.reward.weight")}` });
    // What was typed stays, should it be refused; it is written anew when the weight in force changes.
    weight.addEventListener("change", () => numberOf(weight.value) !== weight.exValue && board.exSettings.edit(`weight_${name}`, numberOf(weight.value)));
    weight.addEventListener("keydown", (event) => event.key === "Enter" && weight.blur());
    const [mean, line, mark] = [make("span", { class: "ex-reward-mean" }), draw("svg", { class: "ex-reward-spark", role: "img", viewBox: "0 0 60 16" }), make("span", { class: "ex-reward-state" })];
    return { name, node: make("li", { class: "ex-reward-line" }, swatch(nth, `${own}${nth}`), pick, mark, weight, mean, line), pick, weight, mean, line, mark, label };
  };

  const paint = (components, chosen) => {
    const stamp = JSON.stringify(components.map(({ name, kind }) => [name, kind]));
    if (needsWords(list, board) || stamp !== laid) {
      laid = stamp;
      rows = components.map(lineFor);
      list.replaceChildren(...rows.map((row) => row.node));
      head.replaceChildren(...["", "name", "", "weight", "mean", "over_run"].map((key) => make("span", { text: key && say(board, `ui.reward.${key}`) })));
    }
    const batch = board.get("batch");
    rows.forEach((row, i) => {
      const { state, why } = components[i];
      const value = board.exSettings?.value(`weight_${row.name}`) ?? batch.weights?.[row.name] ?? 0;
      if (row.weight.exValue !== value) row.weight.value = String(Number(value.toFixed(4))).replace("-", MINUS);
      row.weight.exValue = value;
      row.node.classList.toggle("ex-aside", state === "aside");
      if (row.name === chosen && row.pick.getAttribute("aria-pressed") !== "true") row.node.scrollIntoView({ block: "nearest" });
      row.pick.setAttribute("aria-pressed", String(row.name === chosen));
      const known = state !== "next_update" && batch.components?.[row.name];
      write(row.mean, known ? signed(known.reduce((sum, c) => sum + c, 0) / known.length) : "–");
      write(row.mark, { aside: "⊘", what_if: "◇", next_update: "→" }[state] ?? "");
      row.mark.title = state === "recorded" ? "" : [say(board, `ui.reward.states.${state}`), why].filter(Boolean).join(": ");
      spark(board, row);
    });
  };
  return { node, paint };
}

// A component's mean over the run, on a scale from -1 to 1 that grows where it has to; the update on screen is marked.
function spark(board, { name, line, label }) {
  const { updates, values, at } = lineOf(board, `component/${name}`);
  const known = [...values.keys()].filter((i) => Number.isFinite(values[i]));
  const stamp = `${updates.length} ${updates[updates.length - 1]} ${at} ${label}`;
  if (line.exStamp === stamp) return;
  line.exStamp = stamp;
  line.replaceChildren();
  const ends = [known[0], known[known.length - 1]];
  line.setAttribute("aria-label", known.length ? say(board, "ui.reward.history", { name: label, first: signed(values[ends[0]]), from: updates[ends[0]], last: signed(values[ends[1]]), to: updates[ends[1]] }) : say(board, "ui.reward.no_history", { name: label }));
  if (!known.length) return;
  draw("title", { text: line.getAttribute("aria-label") }, line);
  const reach = Math.max(1, ...known.map((i) => Math.abs(values[i])));
  const first = updates[0];
  const span = Math.max(1, updates[updates.length - 1] - first);
  const x = (i) => 1 + (57 * (updates[i] - first)) / span;
  const y = (i) => 8 - (7 * values[i]) / reach;
  draw("line", { class: "ex-axis", x1: 0, x2: 60, y1: 8, y2: 8 }, line);
  let path = "";
  updates.forEach((_, i) => (path += Number.isFinite(values[i]) ? `${i && Number.isFinite(values[i - 1]) ? "L" : "M"}${x(i).toFixed(1)} ${y(i).toFixed(1)}` : ""));
  draw("path", { class: "ex-line", d: path }, line);
  if (at >= 0 && Number.isFinite(values[at])) draw("circle", { class: "ex-reward-now", cx: x(at), cy: y(at), r: 2 }, line);
}
