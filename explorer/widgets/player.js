// The head of the page: presets, language and theme; train, step, stage, slow, reset; the five-step loop with the
// running stage lit; the scrubber; the status line, the question before a reset, and errors.

export default {
  render(context) {
    return frame(context, "player", ["run", "language", "theme"], build(context.model));
  },
};

// The five steps of the article, and to which of them each stage of an update belongs.
const LOOP = ["initialise", "collect", "advantage", "epoch", "repeat"];
const LIT = { sample: "collect", score: "collect", shape: "collect", advantage: "advantage", epoch: "epoch", done: "repeat", repeat: "repeat" };

const build = (model) => (root, board, sized, leaving) => {
  const send = (kind, values = {}) => model.send({ kind, ...values });
  const button = (key, kind, extra = "") => make("button", { class: `ex-button explorer-${key} ${extra}`, type: "button", onclick: () => act(kind) });

  const title = make("h1");
  const preset = make("select", { class: "ex-select explorer-preset", onchange: () => {
    send("preset", { name: preset.value, after: board.exEdits ?? 0 });
    preset.blur(); // one that is not confirmed goes back
  } });
  const policy = make("span", { class: "ex-muted explorer-policy" });
  const status = make("span", { class: "ex-status explorer-status", role: "status" });
  const language = make("button", { class: "ex-button explorer-language", type: "button", onclick: () => send("language") });
  const theme = make("button", { class: "ex-button explorer-theme", type: "button", onclick: () => {
    board.set("theme", root.dataset.theme === "dark" ? "light" : "dark");
    board.save_changes();
  } });
  const big = make("button", { class: "ex-button explorer-big", type: "button", onclick: () => layoutOf(board).setBig(!layoutOf(board).big) });
  const train = button("train", "train", "ex-go");
  const step = button("step", "step");
  const stage = button("stage", "stage");
  const slow = button("slow", "slow");
  const reset = button("reset", "reset");
  const count = make("select", { class: "ex-select explorer-train-for", onchange: () => (number.hidden = count.value !== "n") });
  const number = make("input", { class: "ex-input explorer-train-number", type: "number", min: "1", step: "1", value: "40", hidden: true });
  const pills = make("ol", { class: "ex-pills" });
  const bar = make("progress", { class: "ex-progress", max: "1", value: "0" });
  const scrub = make("input", { class: "explorer-scrubber", type: "range", min: "1", step: "1", oninput: () => send("scrub", { update: Number(scrub.value) }) });
  const place = make("span", { class: "ex-place" });
  const epoch = make("select", { class: "ex-select explorer-epoch", onchange: () => send("epoch", { epoch: Number(epoch.value) }) });
  const follow = make("button", { class: "ex-button explorer-follow", type: "button", onclick: () => send("follow") });
  const only = make("span", { class: "ex-muted explorer-replay-only" });
  const trainers = isReplay(board) ? [only] : [train, count, number, step, stage, slow, reset];
  const loop = isReplay(board) ? null : make("span", { class: "ex-loop" }, pills, bar);
  const second = make("div", { class: "ex-bar-row" }, ...trainers, make("span", { class: "ex-space" }), policy, loop);
  const time = make("span", { class: "ex-time" }, place, scrub, epoch, follow);
  const top = make("div", { class: "ex-bar-row ex-top-row" }, title, isReplay(board) ? null : preset, make("span", { class: "ex-space" }), status, time, big, language, theme);

  const [told, next] = [make("span", { "aria-live": "polite" }), make("span", { class: "ex-muted" })];
  const caption = make("p", { class: "ex-caption" }, told, " ", next);
  const question = make("div", { class: "ex-question explorer-confirm", role: "alertdialog", hidden: true });
  const error = make("div", { class: "ex-error explorer-error", role: "alert", hidden: true });
  const gone = make("div", { class: "ex-error explorer-gone", role: "alert", hidden: true });
  // While this page is live, the still that the notebook keeps of it is not shown: see views/kept.py.
  const still = `explorer-still-${model.get("board").replace("IPY_MODEL_", "")}`;
  const noStill = make("style", { text: `.${still}, .jp-OutputArea-child:has(.${still}) { display: none !important; }` });
  root.append(noStill, top, second, caption, question, error, gone);

  let slowOn = false;
  const act = (kind) => {
    const run = board.get("run");
    if (kind === "train") {
      if (run.mode === "running") send("pause");
      else send("train", { updates: count.value === "n" ? Number(number.value) : null, until_flat: count.value === "flat" });
    } else if (kind === "slow") {
      slowOn = !slowOn;
      send("slow", { on: slowOn });
      slow.setAttribute("aria-pressed", String(slowOn));
    } else send(kind);
  };
  leaving(hear(model, "msg:custom", (message) => {
    if (message.kind === "confirm") ask(message);
    if (message.kind === "withdrawn") question.hidden = true;
  }));

  const ask = ({ text }) => {
    const answer = (yes) => {
      question.hidden = true;
      preset.value = board.get("run").preset;
      send("confirm", { yes });
    };
    question.replaceChildren(
      make("span", { text }),
      make("button", { class: "ex-button ex-go explorer-confirm-yes", type: "button", text: say(board, "ui.yes"), onclick: () => answer(true) }),
      make("button", { class: "ex-button explorer-confirm-no", type: "button", text: say(board, "ui.cancel"), onclick: () => answer(false) }),
    );
    question.hidden = false;
    question.querySelector("button").focus();
  };

  watchWidth(root, board, send);
  board.exSave = saver(board);
  leaving(watchKernel(board, model, gone));
  leaving(hearKeys(root, board, send));
  return () => {
    const run = board.get("run");
    const ready = run.phase === "ready";
    write(title, say(board, "ui.title"));
    paintMenus(board, preset, count, { lessons: model.get("lessons"), recipes: model.get("recipes") }, run);
    const trained = model.get("policy");
    const recorded = board.get("replay").policy;
    write(policy, trained.name ? say(board, "ui.about_policy", trained) : recorded ? say(board, "ui.replay_by", { policy: recorded }) : "");
    policy.title = policy.textContent;
    write(only, say(board, "ui.replay_only"));
    write(language, board.get("language") === "en" ? "中文" : "English");
    language.setAttribute("aria-label", say(board, "ui.language"));
    theme.setAttribute("aria-label", say(board, "ui.theme"));
    write(big, say(board, "ui.big"));
    big.title = say(board, "ui.tips.big");
    big.setAttribute("aria-pressed", String(layoutOf(board).big));
    const running = run.mode === "running";
    write(train, running ? `❚❚ ${say(board, "ui.pause")}` : `▶ ${say(board, "ui.train")}`);
    train.classList.toggle("ex-running", running);
    for (const [node, key] of [[step, "step"], [stage, "stage"], [slow, "slow"], [reset, "reset"]]) {
      write(node, say(board, `ui.${key}`));
      node.title = say(board, `ui.tips.${key}`);
    }
    for (const node of [train, step, stage, reset]) node.disabled = !ready || Boolean(run.opening);
    train.title = ready ? say(board, running ? "ui.tips.pause" : "ui.tips.train") : say(board, run.phase === "failed" ? "ui.failed" : "ui.loading");
    number.setAttribute("aria-label", say(board, "ui.for_updates"));
    count.title = say(board, count.value === "flat" ? "ui.tips.until_flat" : "ui.tips.train_for");
    theme.title = say(board, "ui.tips.theme");
    language.title = say(board, "ui.tips.language");
    slow.setAttribute("aria-pressed", String(slowOn));
    write(status, statusLine(board, run));
    status.dataset.update = run.cursor; // the same in every language
    root.dataset.phase = run.phase;
    keepLink(root, run);
    root.dataset.mode = run.mode;
    root.dataset.stages = String(run.stages);
    paintPills(board, pills, run);
    bar.value = run.fraction ?? 0;
    bar.setAttribute("aria-label", say(board, "ui.panels.stages.title"));
    paintScrubber(board, { scrub, place, epoch, follow }, run);
    caption.hidden = !(slowOn || (run.stages && run.stage)); // it comes and goes with a press, never by itself: what is below stays in its place
    write(told, toldOf(board, run, trained));
    write(next, nextOf(board, run));
    paintError(board, error, run.error, () => send("dismiss"));
  };
};

const stageValues = (run) => ({ epoch: run.stage_epoch, epochs: run.epochs, update: run.stage_update });

const WITH_SIGN = new Set(["score", "low", "high", "penalty", "mean"]);
const IN_PERCENT = new Set(["outside"]);
const AS_IS = new Set(["responses", "tokens", "above", "epoch", "epochs", "update", "limit"]);

// A number of a stage's sentence; what rounds to 0 has no sign and no power of ten.
function stageNumber(name, value) {
  if (typeof value !== "number" || AS_IS.has(name)) return value ?? "–";
  const digits = IN_PERCENT.has(name) ? 1 : 2;
  const rounded = Number(value.toFixed(digits));
  return WITH_SIGN.has(name) ? signed(rounded, digits) : format(rounded, digits);
}

// What the stage that has just ended did, in this batch's numbers.
function toldOf(board, { did }, policy) {
  if (!did?.stage) return "";
  const values = Object.fromEntries(Object.entries(did).map(([name, value]) => [name, stageNumber(name, value)]));
  const [stage, words] = ["label", did.told].map((part) => say(board, `stages.${did.stage}.${part}`, { ...values, ...policy }));
  return say(board, "ui.panels.stages.told", { stage, words });
}

// What comes next, or is at work already.
function nextOf(board, run) {
  if (!run.stage || run.stage === "repeat") return "";
  const key = run.waiting || run.mode === "paused" ? "next" : "running";
  return say(board, `ui.panels.stages.${key}`, { stage: say(board, `stages.${run.stage}.label`, stageValues(run)) });
}

function statusLine(board, run) {
  const at = say(board, "ui.update", { update: run.cursor });
  if (run.phase === "failed") return `${at} · ${say(board, "ui.failed")}`;
  if (isReplay(board)) return `${at} · ${say(board, "ui.replay", { name: board.get("replay").name, updates: run.updates })}`;
  const parts = [at];
  if (!run.live && run.mode !== "paused") parts.push(say(board, run.updates ? "ui.recorded_begins" : "ui.training"));
  else if (!run.live && run.updates) parts.push(say(board, run.phase === "ready" ? `ui.${run.note || "recorded_ready"}` : "ui.recorded", { updates: run.updates }));
  else if (run.phase !== "ready") parts.push(say(board, "ui.loading"));
  else if (run.opening) parts.push(say(board, "ui.opening"));
  else if (!run.live) parts.push(say(board, "ui.ready"));
  else {
    parts.push(say(board, run.mode !== "paused" ? "ui.training" : run.note ? `ui.${run.note}` : run.cursor ? "ui.paused" : "ui.ready"));
    if (run.rate && run.mode === "running") parts.push(say(board, "ui.updates_per_second", { rate: format(run.rate, 1) }));
  }
  if (run.broken) parts.push(say(board, "ui.not_recorded"));
  return parts.join(" · ");
}

function paintMenus(board, preset, count, presets, run) {
  if (needsWords(preset, board)) {
    preset.setAttribute("aria-label", say(board, "ui.preset"));
    preset.replaceChildren(...Object.entries(presets).map(([kind, names]) => make("optgroup", { label: say(board, `ui.${kind}`) },
      ...names.map((name) => make("option", { value: name, text: say(board, `presets.${name}.label`) })))));
    const chosen = count.value;
    count.setAttribute("aria-label", say(board, "ui.train_for"));
    count.replaceChildren(
      make("option", { value: "0", text: say(board, "ui.until_paused") }),
      make("option", { value: "n", text: say(board, "ui.for_updates") }),
      make("option", { value: "flat", text: say(board, "ui.until_flat") }),
    );
    if (chosen) count.value = chosen;
  }
  if (document.activeElement !== preset) preset.value = run.preset;
  preset.title = say(board, `presets.${run.preset}.story`);
}

function paintPills(board, pills, run) {
  if (needsWords(pills, board)) {
    pills.replaceChildren(...LOOP.map((key) => make("li", { class: "ex-pill", "data-stage": key })));
  }
  // While a finished stage is being shown it is the one that is lit; otherwise the one at work.
  const shown = run.stages && run.waiting ? run.finished : run.stage;
  const lit = run.phase === "loading" && !run.stage ? "initialise" : LIT[shown] ?? "";
  const over = run.finished === "done" && run.mode === "paused" && !(run.stages && run.waiting);
  for (const [i, pill] of [...pills.children].entries()) {
    const key = LOOP[i];
    const on = key === lit && !over;
    const words = say(board, `stages.${key === "epoch" ? "optimise" : key}.label`);
    const epoch = run.stages && run.waiting ? run.did?.epoch : run.stage_epoch;
    const part = { collect: say(board, `stages.${shown}.label`), epoch: epoch ? `${epoch}/${run.epochs}` : "" }[key];
    write(pill, `${i + 1} ${words}`);
    pill.dataset.part = on && part ? part : "";
    pill.classList.toggle("ex-on", on);
    pill.classList.toggle("ex-past", key === "initialise" ? !on && run.phase === "ready" : Boolean(run.stage) && i < LOOP.indexOf(lit) && !over);
    if (on) pill.setAttribute("aria-current", "step");
    else pill.removeAttribute("aria-current");
    pill.title = [say(board, `stages.${key === "epoch" ? "optimise" : key}.now`, stageValues(run)), timesOf(board, run, key)].filter(Boolean).join("\n");
  }
}

// How long a step's stages took in the update on screen; empty where none were timed.
function timesOf(board, run, key) {
  const times = Object.entries(run.seconds?.[key] ?? {}).map(([stage, seconds]) => {
    const ms = 1000 * seconds;
    return say(board, `ui.seconds.${stage}`, { ms: format(ms, ms < 10 ? 1 : 0) });
  });
  return times.length ? say(board, "ui.seconds.update", { update: run.cursor, times: times.join(", ") }) : "";
}

function paintScrubber(board, { scrub, place, epoch, follow }, run) {
  scrub.max = String(Math.max(run.newest, 1));
  scrub.disabled = run.newest < 2;
  if (document.activeElement !== scrub || run.follow) scrub.value = String(run.cursor);
  scrub.setAttribute("aria-label", say(board, "ui.scrubber"));
  scrub.title = say(board, "ui.tips.scrubber");
  write(place, `${run.cursor} / ${Math.max(run.cursor, run.newest)}`); // the update in the making is looked at as it grows
  place.dataset.newest = run.newest;
  write(follow, say(board, isReplay(board) ? "ui.replay_newest" : "ui.follow_live"));
  follow.title = isReplay(board) ? "" : say(board, "ui.tips.follow_live");
  follow.setAttribute("aria-pressed", String(run.follow));
  const batch = board.get("batch");
  const epochs = batch.epochs ?? run.epochs;
  const stamp = String(epochs);
  if (needsWords(epoch, board) || epoch.dataset.stamp !== stamp) {
    epoch.dataset.stamp = stamp;
    epoch.setAttribute("aria-label", say(board, "ui.epoch"));
    epoch.replaceChildren(
      make("option", { value: -1, text: say(board, "ui.after_update") }),
      ...Array.from({ length: epochs }, (_, k) => make("option", { value: k, text: say(board, "ui.before_step", { epoch: k + 1 }) })),
    );
  }
  epoch.value = String(run.epoch);
}

function paintError(board, box, error, dismiss) {
  box.hidden = !error?.message;
  if (box.hidden || (!needsWords(box, board) && box.dataset.count === String(error.count))) return;
  box.dataset.count = String(error.count);
  box.replaceChildren(
    make("strong", { text: say(board, "ui.error_title") }),
    make("span", { text: error.message }),
    make("button", { class: "ex-button explorer-dismiss", type: "button", text: say(board, "ui.dismiss"), onclick: dismiss }),
  );
}

// How the page fits its place, and whether it is ours alone (Voila) or a cell among others: CSS lays out by both.
function watchWidth(root, board, send) {
  const alone = /\btheme-(light|dark)\b/.test(document.body.className);
  const wait = () => {
    const page = root.closest(".explorer");
    if (!page) return requestAnimationFrame(wait);
    page.dataset.host = alone ? "page" : "cell";
    if (alone) beat(board, root);
    if (alone && !isReplay(board)) openLinked(send);
    const fit = () => fitPage(page, board);
    new ResizeObserver(fit).observe(page.parentElement);
    listen(board, ["layout"], fit);
    fit();
    return null;
  };
  requestAnimationFrame(wait);
}

// A page of ours carries the run that it shows in its address: reloaded, or opened from a link, it goes on with it.
function openLinked(send) {
  const asked = new URLSearchParams(location.search).get("run");
  if (asked) send("open", { run: asked });
}

function keepLink(root, { id }) {
  if (root.closest(".explorer")?.dataset.host !== "page" || id === undefined || id === (root.dataset.run ?? "")) return;
  root.dataset.run = id;
  const address = new URL(location.href);
  if (id) address.searchParams.set("run", id);
  else address.searchParams.delete("run");
  history.replaceState(history.state, "", address);
}

// Tell the kernel that somebody is there, at once and again and again: a browser that crashed, or was closed at once,
// says no goodbye, and training would go on for ever.
function beat(board, root) {
  const tell = () => {
    board.set("heartbeat", (board.get("heartbeat") ?? 0) + 1);
    board.save_changes();
  };
  tell();
  const timer = setInterval(() => (root.isConnected ? tell() : clearInterval(timer)), 15000);
}
