// The ledger of the pinned token, or of the one under the pointer elsewhere on the page: every step from the reward of its response to its share of the gradient, each with its
// formula, its numbers, and whether it is what the update has recorded.

export default {
  render(context) {
    return frame(context, "ledger", ["ledger", "lower", "pinned", "hovered"], build);
  },
};

const RESTS = 80; // milliseconds that the pointer rests on a token before its ledger is asked for

const MARKS = { true: "✓", false: "✗", null: "→" };

function build(root, board, sized, leaving) {
  const tabs = lowerTabs(root, board, "ledger", leaving);
  const whose = make("p", { class: "ex-hint ex-ledger-whose" });
  const verdict = make("p", { class: "ex-ledger-verdict", role: "status" });
  const list = make("ol", { class: "ex-ledger-lines", tabindex: "0" });
  root.append(tabs.node, make("div", { class: "ex-ledger-head" }, whose, verdict), list);
  const unfolded = new Set();
  list.addEventListener("click", (event) => {
    const [fold, term] = [event.target.closest("[data-fold]"), event.target.closest("[data-place]")];
    if (term) pin(board, term.dataset.place.split(",").map(Number));
    if (!fold) return;
    const key = fold.dataset.fold;
    if (!unfolded.delete(key)) unfolded.add(key);
    drawn = null;
    refresh();
  });

  // A term that is pointed at is shown everywhere else; the ledger that it is a term of stays.
  let inside = false;
  list.addEventListener("mouseover", (event) => {
    inside = true;
    const place = event.target.closest("tr")?.querySelector("[data-place]")?.dataset.place;
    hover(board, place ? place.split(",").map(Number) : null);
  });
  list.addEventListener("mouseleave", () => {
    inside = false;
    hover(board, null);
  });
  let rest = 0;
  const ask = () => {
    const token = board.get("lower") === "ledger" && !inside && !sameToken(hoveredOf(board), pinnedOf(board)) ? hoveredOf(board) ?? [] : [];
    clearTimeout(rest);
    if (token.join() === board.get("hovering").join()) return;
    rest = setTimeout(() => {
      board.set("hovering", token);
      board.save_changes();
    }, RESTS);
  };
  leaving(listen(board, ["hovered", "lower", "pinned"], ask));
  leaving(() => clearTimeout(rest));

  let drawn = null;
  const refresh = () => {
    if (board.get("lower") !== "ledger") return;
    tabs.paint();
    const [ledger, words] = [board.get("ledger"), board.get("words")];
    if (!drawn || drawn[0] !== ledger || drawn[1] !== words) {
      drawn = [ledger, words];
      const held = document.activeElement?.closest?.(".ex-ledger-lines [data-focus]")?.dataset.focus;
      paintHead(board, ledger, whose, verdict);
      root.dataset.token = (ledger.token ?? []).join(",");
      list.setAttribute("aria-label", say(board, "ui.panels.ledger.title"));
      list.replaceChildren(...lineNodes(board, ledger.lines ?? [], unfolded));
      reachable(list);
      if (held) list.querySelector(`[data-focus="${held}"]`)?.focus({ preventScroll: true });
    }
    if (!ledger.lines || !sameToken(ledger.token, pinnedOf(board))) return;
    const key = askedLine(board, ledger.lines);
    if (!key) return;
    if (!list.querySelector(`[data-line="${key}"]`)) { // it is folded
      unfolded.add(BESIDE);
      list.replaceChildren(...lineNodes(board, ledger.lines, unfolded));
      reachable(list);
    }
    goToLine(list, key);
  };
  return refresh;
}

// A formula that is longer than its line is scrolled, by key too.
function reachable(list) {
  for (const math of list.querySelectorAll(".ex-ledger-math")) {
    if (math.scrollWidth <= math.clientWidth) continue;
    const label = math.parentElement.querySelector(".ex-ledger-label").textContent;
    for (const [name, value] of [["tabindex", "0"], ["role", "group"], ["aria-label", label]]) math.setAttribute(name, value);
  }
}

function paintHead(board, { token, update, epoch, checked, wrong }, whose, verdict) {
  const batch = board.get("batch");
  verdict.hidden = !token;
  if (!token || !hasBatch(batch)) {
    write(whose, say(board, hasBatch(batch) ? "ui.ledger.pin" : "ui.no_update_yet"));
    return;
  }
  const word = visible(batch.tokens[token[0]]?.[token[1]] ?? "");
  const which = epoch < 0 ? say(board, "ui.ledger.final") : say(board, "ui.ledger.epoch", { epoch: epoch + 1 });
  const rescored = Object.keys(batch.rescored).length ? ` · ${say(board, "ui.what_if_badge")}` : "";
  write(whose, say(board, "ui.ledger.whose", { word, response: token[0] + 1, token: token[1] + 1, update, which }) + rescored);
  verdict.classList.toggle("ex-fails", wrong > 0);
  write(verdict, wrong ? `✗ ${say(board, "ui.ledger.wrong", { wrong, checked })}` : `✓ ${say(board, "ui.ledger.right", { checked })}`);
}

// The lines on the way from the reward to the gradient; then, folded, those beside it, of which one that is not as recorded
// stands there all the same.
const BESIDE = "beside";
function lineNodes(board, lines, unfolded) {
  const [open, beside] = [unfolded.has(BESIDE), lines.filter((line) => line.beside)];
  const node = (line) => lineNode(board, line, unfolded.has(line.key));
  const fold = make("button", {
    class: "ex-ledger-fold", type: "button", "data-fold": BESIDE, "data-focus": `fold-${BESIDE}`, "aria-expanded": String(open),
    text: `${open ? "▾" : "▸"} ${say(board, "ui.ledger.beside", { count: beside.length })}`,
  });
  const head = beside.length ? [make("li", { class: "ex-ledger-line ex-ledger-beside" }, fold)] : [];
  return [...lines.filter((line) => !line.beside).map(node), ...head, ...beside.filter((line) => open || line.holds === false).map(node)];
}

// What an index says: a component by its own name, the others as they are.
const indexWords = (board) => (name, index) => (name === "c" ? (lookUp(board.get("words"), `components.${index}.label`) ?? index) : index);

function lineNode(board, line, open) {
  const { key, formula, value, stored, holds, notes, terms, wins, beside } = line;
  const words = indexWords(board);
  const label = say(board, `ui.ledger.lines.${key}`);
  const node = make("li", { class: `ex-ledger-line${holds === false ? " ex-fails" : ""}`, "data-line": key, "data-beside": beside, "data-focus": `line-${key}`, tabindex: "-1" });
  if (formula) {
    const unchecked = !beside ? "unrecorded" : stored === null ? "reckoned" : "measured";
    const why = holds === null ? unchecked : holds ? "matches" : "differs";
    const mark = make("b", { class: "ex-ledger-mark", role: "img", text: MARKS[holds], "data-holds": String(holds), "aria-label": say(board, `ui.ledger.${why}`), title: say(board, `ui.ledger.${why}`) });
    const number = make("b", { class: "ex-ledger-value", text: figure(value), "data-value": value });
    node.append(mark, make("span", { class: "ex-ledger-label" }, label, wins ? make("span", { class: "ex-wins", text: `✓ ${say(board, "ui.ledger.wins")}` }) : null));
    const math = make("div", { class: "ex-ledger-math" }, ...equations(line, words));
    node.append(math, number);
    if (holds === false && stored !== null) math.append(make("em", { text: say(board, "ui.ledger.recorded", { stored: figure(stored) }) }));
  } else node.append(make("span"), make("span", { class: "ex-ledger-label", text: label }));
  if (notes.length) node.append(make("p", { class: "ex-ledger-note", text: notes.map(([note, values]) => say(board, `ui.ledger.notes.${note}`, shown(values))).join(" ") }));
  if (terms?.places.length > 1) node.append(...termNodes(board, key, terms, open));
  return node;
}

const shown = (values) => Object.fromEntries(Object.entries(values).map(([name, value]) => [name, figure(value)]));

// All terms of a long sum in a table that folds; those that are not as recorded stand there all the same.
function termNodes(board, key, { places, columns, holds }, open) {
  const batch = board.get("batch");
  const visibleRows = places.map((_, i) => i).filter((i) => open || holds[i] === false);
  const fold = make("button", {
    class: "ex-ledger-fold", type: "button", "data-fold": key, "data-focus": `fold-${key}`, "aria-expanded": String(open),
    text: `${open ? "▾" : "▸"} ${say(board, open ? "ui.ledger.fold" : "ui.ledger.unfold", { count: places.length })}`,
  });
  if (!visibleRows.length) return [fold];
  const names = Object.keys(columns);
  const head = make("tr", {}, make("td"), make("td"), ...names.map((name) => make("th", { scope: "col", text: say(board, `ui.ledger.columns.${name}`) })));
  const rows = visibleRows.map((i) => {
    const [row, t] = places[i];
    const text = names[0] === "total" ? say(board, "ui.ledger.response", { response: row + 1 }) : visible(batch.tokens?.[row]?.[t] ?? "");
    const to = make("button", { class: "ex-ledger-token", type: "button", text, title: say(board, "ui.ledger.pin_this"), "data-place": `${row},${t}`, "data-focus": `${key}-${i}` });
    const cells = names.map((name) => make("td", { text: figure(columns[name][i]), "data-value": columns[name][i] }));
    const mark = holds[i] === null ? "" : make("b", { class: "ex-ledger-mark", role: "img", text: MARKS[holds[i]], "aria-label": say(board, `ui.ledger.${holds[i] ? "matches" : "differs"}`) });
    return make("tr", { class: holds[i] === false ? "ex-fails" : "" }, make("td", {}, mark), make("td", {}, to), ...cells);
  });
  return [fold, make("table", { class: "ex-ledger-terms" }, head, ...rows)];
}

// The line that another panel has asked for; the first of several names that this ledger has. It is asked for once.
function askedLine(board, lines) {
  const asked = board.exLedgerLine ?? [];
  board.exLedgerLine = null;
  return asked.find((key) => lines.some((line) => line.key === key)) ?? null;
}

function goToLine(list, key) {
  const node = list.querySelector(`[data-line="${key}"]`);
  list.querySelectorAll(".ex-asked").forEach((other) => other.classList.remove("ex-asked"));
  node.classList.add("ex-asked");
  node.scrollIntoView({ block: "nearest" });
  node.focus({ preventScroll: true });
}
