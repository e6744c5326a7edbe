// Which responses stand in the strip, and in which order: sorted by a number of the whole response, filtered, grouped by
// prompt, searched for text. Pure functions of a batch and a choice {by, descending, only, limits, find, grouped}; a
// response is named by its index in the batch, whatever its place on screen.

const AS_SAMPLED = { by: "sampled", descending: true, only: "all", limits: {}, find: "", grouped: false };

const FILTERS = ["all", "outside", "zero"]; // besides these, "by/" and whatever responses can be sorted by

// What responses can be sorted by, besides the order in which they were sampled.
const sortsOf = (batch) => ["sampled", "score", ...Object.keys(batch.components ?? {}).map((name) => `component/${name}`), "length", "ref_kl", "outside", "zero", "moved", "shown"];

// What responses can be filtered by.
const filtersOf = (batch) => [...FILTERS, ...(hasBatch(batch) ? sortsOf(batch).slice(1) : []).map((by) => `by/${by}`)];

// The number that filters: {by, key, least, limit}, the responses at or above `limit`, or at or below it where `least` is
// false; all of them while there is no limit. Null where none filters. Each number's limit is kept for when it is chosen
// again; the mean of the colour has one for each quantity.
function cutOf({ only, limits }, quantity) {
  if (!only.startsWith("by/")) return null;
  const by = only.slice("by/".length);
  const key = by === "shown" ? `shown/${quantity}` : by;
  return { by, key, least: true, limit: null, ...limits[key] };
}

// The lowest and the highest of the numbers, null where there are none; and the one in the middle, in few digits.
function rangeOf(metric) {
  const known = (metric ?? []).filter(Number.isFinite).sort((a, b) => a - b);
  return known.length ? { low: known[0], high: known.at(-1), middle: Number(known[known.length >> 1].toPrecision(3)) } : null;
}

// One number a response; null where the batch has none yet. `values` are those of the quantity on screen.
function metricOf(batch, by, values = null) {
  const tokenwise = (read) => batch.tokens.map((tokens, row) => {
    const first = row * batch.length;
    return tokens.reduce((sum, _, t) => sum + read(first + t), 0) / Math.max(tokens.length, 1);
  });
  if (by === "score") return batch.scores;
  if (by.startsWith("component/")) return batch.components[by.slice("component/".length)] ?? null;
  if (by === "length") return batch.tokens.map((tokens) => tokens.length);
  if (by === "shown") return values && tokenwise((i) => values[i]);
  const states = statesOf(batch);
  if (by === "outside") return tokenwise((i) => states[i] >= OUTSIDE_FLOWS);
  if (by === "zero") return tokenwise((i) => states[i] === OUTSIDE_ZERO);
  const array = quantityOf(batch, by === "moved" ? "log_ratio" : by);
  if (!array) return null;
  if (by === "moved") return tokenwise((i) => Math.abs(array[i]));
  return tokenwise((i) => array[i]).map((mean, row) => mean * batch.tokens[row].length); // the KL of a response is a sum
}

// Where a text stands in a response: the stretches of its prompt, the tokens, and how often; upper and lower case alike.
function foundIn(prompt, tokens, text) {
  const found = { count: 0, prompt: [], tokens: new Set(), first: null };
  if (!text) return found;
  const pattern = new RegExp(text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&"), "giu");
  const starts = [];
  let whole = prompt;
  for (const token of tokens) {
    starts.push(whole.length);
    whole += token;
  }
  for (const match of whole.matchAll(pattern)) {
    const [start, end] = [match.index, match.index + match[0].length];
    found.count += 1;
    if (start < prompt.length) found.prompt.push([start, Math.min(end, prompt.length)]);
    starts.forEach((at, t) => at < end && at + tokens[t].length > start && found.tokens.add(t));
  }
  if (found.tokens.size) found.first = Math.min(...found.tokens);
  return found;
}

// The strip's order: `order`, the responses from top to bottom; `groups`, the same by prompt as {prompt, members} where
// they are grouped, else null; `found`, each response's stretches of the text looked for; `matches` in all; and `range`,
// that of the number that filters.
function orderOf(batch, choice, values = null) {
  const { by, descending, only, find, grouped, cut } = { ...AS_SAMPLED, ...choice };
  const states = statesOf(batch);
  const found = batch.tokens.map((tokens, row) => foundIn(batch.prompts[row], tokens, find));
  const least = { outside: OUTSIDE_FLOWS, zero: OUTSIDE_ZERO }[only];
  const has = (row) => batch.tokens[row].some((_, t) => states[row * batch.length + t] >= least);
  const number = cut ? metricOf(batch, cut.by, values) : null;
  const range = rangeOf(number);
  const within = (row) => Number.isFinite(number[row]) && (cut.least ? number[row] >= cut.limit : number[row] <= cut.limit);
  const cuts = range !== null && cut.limit !== null; // what the batch has not got yet hides nothing
  const keeps = (row) => (least === undefined || has(row)) && (!cuts || within(row));
  const order = [...batch.tokens.keys()].filter((row) => (!find || found[row].count > 0) && keeps(row));
  const metric = by === "sampled" ? null : metricOf(batch, by, values);
  if (metric) {
    const known = (row) => Number.isFinite(metric[row]);
    order.sort((a, b) => known(b) - known(a) || (known(a) ? (metric[a] - metric[b]) * (descending ? -1 : 1) : 0) || a - b);
  }
  const matches = order.reduce((sum, row) => sum + found[row].count, 0);
  if (!grouped) return { order, groups: null, found, matches, range };
  const members = new Map();
  for (const row of order) members.set(batch.prompts[row], [...(members.get(batch.prompts[row]) ?? []), row]);
  const groups = [...members].map(([prompt, rows]) => ({ prompt, rows })); // the group of the first response comes first
  return { order: groups.flatMap(({ rows }) => rows), groups, found, matches, range };
}

// What an order belongs to: while this stays the same nothing moves under the reader, whatever is scored anew.
const samplesOf = (batch) => `${batch.update} ${batch.finished} ${batch.scores !== null} ${batch.prompts.join("\n")} ${batch.tokens.map((tokens) => tokens.join("")).join("\n")}`;
