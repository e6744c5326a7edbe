// The numbers behind each panel as a table, for a CSV file: {columns, rows}, every row one token, update or whatever the
// panel draws; null where there is nothing yet. Numbers are those of the board, whole. A panel that reckons its own gives
// them itself: `root.exTable()`.

const TABLES = {
  tokens: (board) => tokenTable(board, [...Object.keys(board.get("batch").arrays), "gradient_part"]),
  objective: (board) => tokenTable(board, ["ratio", "advantage", "old_probability", "new_probability", "log_ratio"]),
  advantages: (board) => tokenTable(board, ["reward", "ref_kl", "value", "return", "delta", "raw_advantage", "advantage", "ratio"], focusOf(board)?.[0] ?? 0),
  curves: (board) => ({ gauge: gaugeTable, frontier: frontierTable })[board.get("run_view")]?.(board) ?? seriesTable(board),
  ledger: (board) => ledgerTable(board),
  samples: (board) => sampleTable(board),
  toy: (board, model) => dotTable(model.get("cloud")),
  reward: (board) => responseTable(board),
  runs: (board) => plainTable(board.get("shelf").runs ?? [], ["id", "name", "preset", "seed", "updates", "score", "megabytes", "depth"]),
};

const STATES = { [MASKED]: "masked", [INSIDE]: "inside", [OUTSIDE_FLOWS]: "outside", [OUTSIDE_ZERO]: "no gradient" };

// Panels of two halves, and what the other half is: its table is `root.exMore()`.
const MORE = { time: "answers", toy: "probabilities" };
const moreOf = (root, key, board, model) => (MORE[key] ? (root.exMore?.(board, model) ?? null) : null);

const BATCHLESS = ["annotate", "curves", "runs", "samples", "toy"];

function tableOf(root, key, board, model) {
  const table = root.exTable ?? TABLES[key];
  return table && (BATCHLESS.includes(key) || hasBatch(board.get("batch"))) ? table(board, model) : null;
}

// A row for each token that the policy wrote, of every response or of one; behind a quantity's name its unit.
function tokenTable(board, names, only = null) {
  const batch = board.get("batch");
  const known = names.map((name) => [name, valuesOf(board, name)]).filter(([, values]) => values);
  const [states, components] = [statesOf(batch), Object.entries(batch.components ?? {})];
  const measured = (name) => (board.get("quantities")[name]?.unit ? `${name} [${board.get("quantities")[name].unit.replace("_", " ")}]` : name);
  const columns = ["update", "epoch", "response", "token", "prompt", "text", "score", ...components.map(([name]) => `component ${name}`), ...known.map(([name]) => measured(name)), "clip state"];
  const rows = [];
  batch.tokens.forEach((tokens, row) => tokens.forEach((text, t) => {
    if (only !== null && row !== only) return;
    const index = row * batch.length + t;
    const whole = [batch.scores?.[row], ...components.map(([, values]) => values[row])];
    rows.push([batch.update, batch.epoch, row + 1, t + 1, batch.prompts[row], text, ...whole, ...known.map(([, values]) => values[index]), STATES[states[index]]]);
  }));
  return { columns, rows };
}

// A row for each response: its score, every component before its weight and times its weight, and what the judge says.
function responseTable(board) {
  const batch = board.get("batch");
  const components = Object.entries(batch.components ?? {});
  const judged = batch.judged ? [`judge ${batch.judge}`] : [];
  const columns = ["update", "response", "prompt", "text", "score", ...components.flatMap(([name]) => [`component ${name}`, `weight × ${name}`]), ...judged];
  const parts = (row) => components.flatMap(([name, values]) => [values[row], (batch.weights[name] ?? 0) * values[row]]);
  const rows = batch.tokens.map((tokens, row) => [batch.update, row + 1, batch.prompts[row], tokens.join(""), batch.scores?.[row], ...parts(row), ...judged.map(() => batch.judged[row])]);
  return { columns, rows };
}

// A row for each update that any of the lines has.
function seriesTable(board) {
  const lines = Object.entries(board.get("series").lines ?? {}).map(([name, line]) => {
    const values = numbers(line.values, Float32Array);
    return [name, new Map(Array.from(numbers(line.updates, Int32Array), (update, i) => [update, values[i]]))];
  });
  const updates = [...new Set(lines.flatMap(([, line]) => [...line.keys()]))].sort((a, b) => a - b);
  const units = board.get("series").units ?? {};
  const columns = ["update", ...lines.map(([name]) => (units[name] ? `${name} [${units[name]}]` : name))];
  return { columns, rows: updates.map((update) => [update, ...lines.map(([, line]) => line.get(update))]) };
}

// The frontier's dots, of the run on screen and of those behind it.
function frontierTable(board) {
  const [{ frontier }, { frontiers = [], names = [] }] = [board.get("series"), board.get("behind")];
  const said = ({ text, key, values }) => text ?? say(board, key, values);
  const runs = [[board.get("run").id || "on screen", frontier], ...frontiers.map((dots, nth) => [said(names[nth]), dots])];
  const rows = runs.flatMap(([name, dots]) => {
    const [kl, score] = [numbers(dots?.kl, Float32Array), numbers(dots?.score, Float32Array)];
    return Array.from(numbers(dots?.updates, Int32Array) ?? [], (update, i) => [name, update, kl[i], Math.sqrt(Math.max(kl[i], 0)), score[i]]);
  });
  return rows.length ? { columns: ["run", "update", "KL to reference [nats a response]", "√KL [√nats]", "score"], rows } : null;
}

// The gauge's two lines in spreads of the untouched policy, and best-of-n beside them.
function gaugeTable(board) {
  const { updates, kl, score, judged, best } = board.get("gauge");
  if (!updates) return null;
  const [cost, earned, held] = [kl, score, judged].map((values) => numbers(values, Float32Array));
  const rows = Array.from(numbers(updates, Int32Array), (update, i) => ["PPO", update, cost[i], earned[i], held[i]]);
  return { columns: ["policy", "update or n", "KL to reference [nats a response]", "score [spreads]", "judge [spreads]"], rows: [...rows, ...best.map((row) => ["best-of-n", ...row])] };
}

function ledgerTable(board) {
  const { lines } = board.get("ledger");
  if (!lines) return null;
  return { columns: ["line", "what", "value", "recorded", "holds"], rows: lines.map(({ key, value, stored, holds }) => [key, say(board, `ui.ledger.lines.${key}`), value, stored, holds]) };
}

// A row for each prompt's two answers, and for those of the prompt that was tried.
function sampleTable(board) {
  const [{ prompts = [], ...samples }, trial] = [board.get("samples"), board.get("trial")];
  const pairs = (texts, { reference = [], policy = [], update }) => texts.map((prompt, i) => [update, prompt, reference[i], policy[i]]);
  const tried = trial.prompt === undefined ? [] : pairs(trial.reference.map(() => trial.prompt), trial);
  const rows = [...pairs(prompts, samples), ...tried];
  return rows.length ? { columns: ["update", "prompt", "reference", "policy"], rows } : null;
}

// A row for each batch's estimate of the gradient.
function dotTable(cloud) {
  const points = numbers(cloud.points, Float32Array);
  return points ? { columns: ["batch", "across the true gradient", "along the true gradient"], rows: Array.from({ length: points.length / 2 }, (_, i) => [i + 1, points[2 * i], points[2 * i + 1]]) } : null;
}

const plainTable = (entries, columns) => (entries.length ? { columns, rows: entries.map((entry) => columns.map((name) => entry[name])) } : null);

// RFC 4180, with a header. A float32 is written in as few digits as tell it from its neighbours; nothing known is nothing.
function csvOf({ columns, rows }) {
  const cell = (value) => {
    if (value === null || value === undefined || Number.isNaN(value)) return "";
    const text = typeof value === "number" ? figureOf(value) : String(value);
    return /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [columns, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

function figureOf(value) {
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (Math.fround(value) !== value) return String(value);
  for (let digits = 6; digits < 9; digits += 1) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return String(short);
  }
  return String(Number(value.toPrecision(9)));
}
