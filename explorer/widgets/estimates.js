// The KL panel's numbers: what the exact KL and its estimators say of a token, and of a response, to the reference and to
// the old policy; and all of them as a table.

const ESTIMATES = ["exact_kl", "k1", "k2", "k3"];

// What the estimators say of every token of a response, by whose policy the old one is compared with; null where a
// number was not recorded. The exact KL to the policy that is trained never is: only the sampled word's change is known.
function klOfTokens(batch, row, whose) {
  const cut = (values) => values && Array.from(values.subarray(row * batch.length, row * batch.length + batch.tokens[row].length));
  if (whose === "reference") return Object.fromEntries(ESTIMATES.map((name) => [name, cut(quantityOf(batch, name))]));
  const moved = cut(quantityOf(batch, "log_ratio"));
  const each = (fn) => moved && moved.map(fn);
  return { exact_kl: null, k1: each((m) => -m), k2: each((m) => (m * m) / 2), k3: each((m) => Math.expm1(m) - m) };
}

// The same, summed over each response.
function klOfResponses(batch, whose) {
  const rows = batch.tokens.map((_, row) => klOfTokens(batch, row, whose));
  const total = (values) => values.reduce((sum, value) => sum + value, 0);
  return Object.fromEntries(ESTIMATES.map((name) => [name, rows.some((row) => !row[name]) ? null : rows.map((row) => total(row[name]))]));
}

const klOf = (batch, level, row, whose) => (level === "token" ? klOfTokens(batch, row, whose) : klOfResponses(batch, whose));

// The table of a level: a row a token, a response or an update; in nats, to the reference first and then to the old policy.
function klTable(board) {
  const [batch, level] = [board.get("batch"), board.get("kl_view")];
  if (level === "update") return klByUpdate(board);
  const pairs = ["reference", "old"].flatMap((whose) => ESTIMATES.filter((name) => klOfTokens(batch, 0, whose)[name]).map((name) => [whose, name]));
  const columns = pairs.map(([whose, name]) => `${name} to ${whose === "old" ? "old policy" : "reference"} [nats]`);
  const place = (row) => [batch.update, batch.epoch, row + 1];
  if (level === "response") {
    const known = { reference: klOfResponses(batch, "reference"), old: klOfResponses(batch, "old") };
    const rows = batch.tokens.map((tokens, row) => [...place(row), batch.prompts[row], tokens.join(""), tokens.length, ...pairs.map(([whose, name]) => known[whose][name][row])]);
    return { columns: ["update", "epoch", "response", "prompt", "text", "tokens", ...columns], rows };
  }
  const charge = quantityOf(batch, "ref_kl"); // what is charged, by whichever of them
  const rows = batch.tokens.flatMap((tokens, row) => {
    const known = { reference: klOfTokens(batch, row, "reference"), old: klOfTokens(batch, row, "old") };
    return tokens.map((text, t) => [...place(row), t + 1, batch.prompts[row], text, ...pairs.map(([whose, name]) => known[whose][name][t]), charge?.[row * batch.length + t]]);
  });
  return { columns: ["update", "epoch", "response", "token", "prompt", "text", ...columns, "ref_kl [nats]"], rows };
}

// The two lines over the run.
function klByUpdate(board) {
  const [reference, old] = ["objective/ref_kl", "policy/approx_kl_final"].map((metric) => lineOf(board, metric));
  const steps = new Map(Array.from(old.updates, (update, i) => [update, old.values[i]]));
  const rows = Array.from(reference.updates, (update, i) => [update, reference.values[i], steps.get(update)]);
  return rows.length ? { columns: ["update", "objective/ref_kl [nats a response]", "policy/approx_kl_final [nats a token]"], rows } : null;
}
