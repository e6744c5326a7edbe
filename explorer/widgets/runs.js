// The runs. Left: every run on the shelf, branches below their parents, and what can be done with the one chosen.
// Right: to where the run on screen can go back, where it parts from its parent, several seeds of its settings, and the
// notes on it.

export default {
  render(context) {
    return frame(context, "runs", ["lower", "run", "shelf", "pinned", "batch"], build(context.model));
  },
};

const build = (model) => (root, board, sized, leaving) => {
  const tabs = lowerTabs(root, board, "runs", leaving);
  const send = (kind, values = {}) => model.send({ kind, ...values });
  const hint = make("p", { class: "ex-hint" });
  const shelf = shelfOf(board, send);
  const back = goBack(board, send);
  const seeds = seedsOf(board, send);
  const notes = runNotes(board, send);
  const side = make("div", { class: "ex-runs-side" }, back.node, seeds.node, notes.node);
  const body = make("div", { class: "ex-runs" }, shelf.node, side);
  root.append(tabs.node, hint, body);
  return () => {
    tabs.paint();
    if (board.get("lower") !== "runs") return;
    const { runs, folder } = board.get("shelf");
    body.hidden = runs === undefined;
    const megabytes = format((runs ?? []).reduce((sum, row) => sum + (row.grid ? 0 : row.megabytes), 0), 0);
    const words = runs === undefined ? say(board, "ui.runs.off") : say(board, "ui.panels.runs.look_for", { megabytes, folder });
    write(hint, words);
    hint.title = words;
    if (runs === undefined) return;
    shelf.paint();
    back.paint();
    seeds.paint();
    notes.paint();
  };
};

// ---------------------------------------------------------------- the shelf

function shelfOf(board, send) {
  let chosen = "";
  let asking = ""; // name, save or delete: what the line below the buttons is about
  const unfolded = new Set();
  const drafts = new Map(); // what was typed stays, should it be refused
  const head = make("div", { class: "ex-run-row ex-run-head" });
  const list = make("ul", { class: "ex-run-list" });
  const empty = make("p", { class: "ex-empty" });
  const button = (key, act) => make("button", { class: `ex-button explorer-run-${key}`, type: "button", onclick: act });
  const rowOf = (key) => board.get("shelf").runs?.find((row) => row.key === key);
  const ask = (what) => () => {
    asking = asking === what ? "" : what;
    const row = rowOf(chosen);
    input.value = drafts.get(what + chosen) ?? (what === "name" && row?.named ? row.name : "");
    input.maxLength = what === "name" ? 80 : 4000;
    paint();
    if (asking) (asking === "delete" ? sure : input).focus();
  };
  const done = () => {
    asking = "";
    paint();
    list.querySelector('[aria-pressed="true"]')?.focus();
  };
  const open = button("open", () => send("open", { run: chosen }));
  const behind = button("behind", () => {
    const row = rowOf(chosen);
    if (board.get("shelf").behind === chosen) send("behind", { run: "" });
    else if (row) send("behind", row.grid ? { grid: row.key } : { run: row.id });
  });
  const [name, save, remove] = ["name", "save", "delete"].map((key) => button(key, ask(key)));
  const folder = button("folder", ask("folder"));
  const bar = make("div", { class: "ex-run-bar" }, open, behind, name, save, remove, folder);
  const question = make("span");
  const input = make("input", { class: "ex-input explorer-run-input", type: "text", spellcheck: "false" });
  const sure = make("button", { class: "ex-button ex-go explorer-run-sure", type: "submit" });
  const cancel = make("button", { class: "ex-button explorer-run-cancel", type: "button", onclick: done });
  const form = make("form", { class: "ex-run-ask", hidden: true, onsubmit: (event) => {
    event.preventDefault();
    if (asking === "save" || asking === "folder") drafts.set(asking + chosen, input.value);
    if (asking === "folder") send("open_folder", { folder: input.value });
    if (asking === "name") send("rename", { run: chosen, name: input.value });
    if (asking === "save") send("save", { run: chosen, folder: input.value });
    if (asking === "delete") send("delete", { run: chosen });
    done();
  }, onkeydown: (event) => event.key === "Escape" && done() }, question, input, sure, cancel);
  const saved = make("p", { class: "ex-muted explorer-run-saved", role: "status" });
  const node = make("div", { class: "ex-shelf" }, head, list, empty, bar, form, saved);

  const choose = (row) => {
    if (row.grid && chosen === row.key) unfolded[unfolded.has(row.key) ? "delete" : "add"](row.key);
    else if (row.grid) unfolded.add(row.key);
    if (chosen !== row.key) asking = "";
    chosen = row.key;
    paint();
  };

  let painted = "";
  const paintRows = (rows, run) => {
    const shown = unhidden(rows, unfolded);
    const stamp = JSON.stringify([shown, run, chosen]);
    if (!needsWords(list, board) && stamp === painted) return;
    painted = stamp;
    const focused = list.contains(document.activeElement);
    head.replaceChildren(...["name", "updates", "score", "size"].map((key) => make("span", { text: say(board, `ui.runs.columns.${key}`) })));
    list.replaceChildren(...shown.map((row) => make("li", {}, make("button", {
      class: `ex-run-row${row.problem ? " ex-fails" : ""}`, type: "button", "data-run": row.key, style: `--depth: ${row.depth}`,
      "aria-pressed": String(row.key === chosen), title: row.grid ? cells(board, row, run, unfolded)[0].textContent : row.problem || about(board, row, run),
      onclick: () => choose(row), ondblclick: () => row.id && !row.problem && send("open", { run: row.id }),
    }, ...cells(board, row, run, unfolded)))));
    if (focused) list.querySelector('[aria-pressed="true"]')?.focus();
  };

  const paint = () => {
    const { runs, run, behind: lies, saved: where, opening } = board.get("shelf");
    if (!rowOf(chosen)) [chosen, asking] = [(rowOf(run) ?? runs[0])?.key ?? "", asking === "folder" ? asking : ""];
    paintRows(runs, run);
    write(empty, runs.length ? "" : say(board, "ui.runs.empty"));
    empty.hidden = runs.length > 0;
    const row = rowOf(chosen);
    const usable = Boolean(row?.id) && !row.problem;
    for (const [node, key] of [[open, "open"], [behind, "behind"], [name, "name"], [save, "save"], [remove, "delete"], [folder, "folder"]]) {
      write(node, say(board, `ui.runs.${key}`));
      node.title = say(board, `ui.runs.tips.${key}`);
    }
    const here = usable && row.id === run;
    open.disabled = !usable || here || opening;
    behind.disabled = !(usable || row?.grid) || here;
    name.disabled = save.disabled = !usable;
    remove.disabled = !row || here;
    behind.setAttribute("aria-pressed", String(lies !== "" && lies === chosen));
    form.hidden = asking === "";
    if (asking) {
      write(question, asking === "delete" ? say(board, row.outside ? "ui.runs.forget_sure" : "ui.runs.delete_sure", { name: row.grid ? row.name : nameOf(board, row) }) : "");
      input.hidden = asking === "delete";
      input.placeholder = asking === "delete" ? "" : say(board, `ui.runs.${asking}_what`);
      input.setAttribute("aria-label", input.placeholder);
      write(sure, say(board, `ui.runs.${asking}_do`));
      write(cancel, say(board, "ui.cancel"));
    }
    saved.hidden = !where;
    write(saved, where ? say(board, "ui.runs.saved", { folder: where }) : "");
  };
  return { node, paint };
}

// The rows that are not folded away: those below a grid whose seeds nobody has asked for.
function unhidden(rows, unfolded) {
  let folded = false;
  return rows.filter((row) => {
    if (row.depth === 0) folded = Boolean(row.grid) && !unfolded.has(row.key);
    return row.depth === 0 || !folded;
  });
}

function cells(board, row, run, unfolded) {
  if (row.grid) {
    const [mark, label] = [unfolded.has(row.key) ? "▾" : "▸", say(board, row.grid === 1 ? "ui.runs.grid_one" : "ui.runs.grid", { count: row.grid, name: row.name })];
    return [make("span", { class: "ex-run-grid", text: `${mark} ${label}` }), make("span", { text: size(row) })];
  }
  const mark = `${row.depth && !row.in_grid ? "└ " : ""}${row.id && row.id === run ? "● " : ""}`;
  return [`${mark}${nameOf(board, row)}`, row.problem ? "" : row.updates, row.score === null ? "" : signed(row.score), size(row)]
    .map((text) => make("span", { text }));
}

// What a row is called: its own name; else a seed by its seed, a branch by its change, a run by its preset and its time.
function nameOf(board, row) {
  if (row.named) return row.name;
  if (row.in_grid && row.seed !== null) return say(board, "ui.behind.seed_name", { seed: row.seed });
  if (row.from) {
    const changes = row.from.changed.map(([field, , after]) => `${settingName(board, field)} ${told(board, after)}`);
    return [say(board, "ui.runs.from", { update: row.from.update }), ...changes].join(", ");
  }
  const preset = lookUp(board.get("words"), `presets.${row.preset}.label`);
  return typeof preset === "string" ? say(board, "ui.runs.of_preset", { preset, name: row.name }) : row.name;
}

function about(board, row, run) {
  const names = [...new Set([nameOf(board, row), row.name])].join(" · "); // on the list it may be cut off
  const begun = `${names} · ${say(board, "ui.runs.begun", { seed: row.seed ?? "–", id: row.id })}`;
  return row.id === run ? `${begun} · ${say(board, "ui.runs.on_screen")}` : begun;
}

const size = (row) => `${format(row.megabytes, row.megabytes < 10 ? 1 : 0)} MB`;

// ---------------------------------------------------------------- the past of the run on screen

function goBack(board, send) {
  const title = make("h3");
  let touched = "";
  const menu = make("select", { class: "ex-select explorer-rewind-to", onchange: () => (touched = menu.value) });
  const go = make("button", { class: "ex-button explorer-rewind", type: "button", onclick: () => send("rewind", { update: Number(menu.value) }) });
  const what = make("p", { class: "ex-muted" });
  const branch = make("p", { class: "explorer-branch" });
  const parting = make("p", { class: "explorer-parting", role: "status" });
  const show = make("button", { class: "ex-button explorer-parting-show", type: "button", onclick: () => {
    const { update, stage, response, token } = board.get("shelf").parting;
    const epoch = /^epoch (\d+)$/.exec(stage);
    send("show", { update, epoch: epoch ? Number(epoch[1]) - 1 : -1, token: token === null ? null : [response, token] });
  } });
  const node = make("div", { class: "ex-run-part" }, title, make("div", { class: "ex-row" }, menu, go), what, branch, parting, show);

  const paint = () => {
    const { states, branch: from, parting: found, opening } = board.get("shelf");
    write(title, say(board, "ui.runs.back_title"));
    menu.setAttribute("aria-label", say(board, "ui.runs.back_to"));
    const stamp = states.join();
    if (needsWords(menu, board) || menu.dataset.stamp !== stamp) {
      menu.dataset.stamp = stamp;
      menu.replaceChildren(...[...states].reverse().map((n) =>
        make("option", { value: n, text: n === 0 ? say(board, "ui.untouched") : say(board, "ui.runs.after_update", { update: n }) })));
      // Back to the newest state is back to where the run is: the one before is offered first.
      const newest = board.get("run").newest;
      const earlier = Math.max(...states.filter((n) => n < newest), states[0]);
      menu.value = touched !== "" && Number(touched) < newest && states.includes(Number(touched)) ? touched : earlier;
    }
    menu.disabled = go.disabled = states.length === 0 || opening || board.get("run").phase !== "ready";
    write(go, say(board, "ui.runs.back"));
    go.title = say(board, "ui.runs.tips.back");
    what.hidden = Boolean(from);
    write(what, say(board, states.length ? "ui.runs.back_what" : "ui.runs.back_none"));
    branch.hidden = !from;
    write(branch, from ? branchWords(board, from) : "");
    parting.hidden = !from || !from.known || board.get("run").newest <= from.update;
    write(parting, parting.hidden ? "" : found ? partingWords(board, found) : say(board, "ui.runs.same"));
    show.hidden = parting.hidden || !found || found.stage === "metrics";
    write(show, say(board, "ui.runs.show"));
    show.title = say(board, "ui.runs.tips.show");
  };
  return { node, paint };
}

function branchWords(board, { name, update, changed }) {
  const said = changed.map(([field, before, after]) => `${settingName(board, field)} ${told(board, before)} → ${told(board, after)}`);
  const from = name ? say(board, "ui.runs.branch", { name, update }) : say(board, "ui.runs.branch_lost", { update });
  return said.length ? `${from} ${say(board, "ui.runs.changed", { changes: said.join("; ") })}` : from;
}

function settingName(board, field) {
  if (field === "prompts") return say(board, "ui.training_prompts");
  const component = field.startsWith("weight_") ? field.slice(7) : "";
  const found = lookUp(board.get("words"), component ? `components.${component}.label` : `fields.${field}.label`);
  return typeof found === "string" ? found : component || field;
}

function partingWords(board, { update, stage, quantity, response, token, parent, child, words }) {
  const epoch = /^epoch (\d+)$/.exec(stage);
  const when = epoch ? say(board, "ui.runs.stages.epoch", { epoch: epoch[1] }) : say(board, `ui.runs.stages.${stage}`);
  const [kind, own] = quantity.split("/");
  const known = lookUp(board.get("words"), `ui.runs.numbers.${own === undefined ? quantity : kind}`);
  const name = words ? say(board, "ui.runs.numbers.response_words") : typeof known === "string" ? known.replace("{name}", own) : quantity;
  const place = response === null ? "whole" : token === null ? "response" : "token";
  return say(board, `ui.runs.parting.${place}`, {
    update, stage: when, quantity: name, response: (response ?? 0) + 1, token: (token ?? 0) + 1, parent: words ? `“${visible(words[0])}”` : told(board, parent), child: words ? `“${visible(words[1])}”` : told(board, child),
  });
}

const told = (board, value) => (typeof value === "boolean" ? say(board, `ui.runs.${value}`) : plainly(value));

// A number with as many digits as tell two of single precision apart.
function plainly(value) {
  if (typeof value !== "number") return value === null ? "–" : String(value);
  return (Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(9)))).replace("-", MINUS);
}

// ---------------------------------------------------------------- several seeds

function seedsOf(board, send) {
  const title = make("h3");
  const whole = (key, value) => make("input", { class: `ex-number explorer-${key}`, type: "number", min: "1", step: "1", value });
  const [count, updates] = [whole("seeds-count", "5"), whole("seeds-updates", "40")];
  const [countWord, updatesWord] = [make("label"), make("label")];
  for (const [input, label] of [[count, countWord], [updates, updatesWord]]) label.htmlFor = input.id = `ex-seeds-${Math.random().toString(36).slice(2, 8)}`;
  const go = make("button", { class: "ex-button explorer-seeds", type: "submit" });
  const form = make("form", { class: "ex-run-part", onsubmit: (event) => {
    event.preventDefault();
    if (running()) send("stop_seeds");
    else send("seeds", { seeds: Number(count.value), updates: Number(updates.value) });
  } }, make("div", { class: "ex-row" }, title, go), make("div", { class: "ex-row ex-seeds" }, count, countWord, updates, updatesWord));
  const bar = make("progress", { class: "ex-progress", max: "1", value: "0" });
  const where = make("p", { class: "ex-muted explorer-seeds-progress", role: "status" });
  const node = make("div", { class: "ex-run-part" }, form, bar, where);
  const running = () => ["running", "stopping"].includes(board.get("shelf").grid?.state);

  const paint = () => {
    const grid = board.get("shelf").grid;
    write(title, say(board, "ui.runs.seeds_title"));
    write(countWord, say(board, "ui.runs.seeds"));
    write(updatesWord, say(board, "ui.updates"));
    const on = running();
    count.disabled = updates.disabled = on;
    write(go, say(board, on ? "ui.runs.seeds_stop" : "ui.runs.seeds_run"));
    go.title = say(board, on ? "ui.runs.tips.seeds_stop" : "ui.runs.tips.seeds_run");
    go.disabled = board.get("run").phase !== "ready" || grid.state === "stopping";
    bar.hidden = !on;
    bar.value = grid.updates ? (grid.nth - 1 + grid.update / grid.updates) / grid.seeds : 0;
    bar.setAttribute("aria-label", say(board, "ui.runs.seeds_title"));
    write(where, grid.state ? say(board, `ui.runs.seeds_${grid.state}${grid.state === "done" && grid.seeds === 1 ? "_one" : ""}`, grid) : say(board, "ui.runs.seeds_what"));
  };
  return { node, paint };
}
