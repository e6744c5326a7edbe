// The ghost of a what-if: the scoring that the update on screen was trained under, drawn pale behind the new one. It comes
// once a drag, beside the batch; every view draws it on the scales that it has anyway.

// The scoring as trained, while the batch on screen is re-scored; null otherwise.
function ghostOf(board) {
  const [ghost, batch] = [board.get("ghost"), board.get("batch")];
  const haunted = ghost?.update !== undefined && ghost.update === batch.update && Object.keys(batch.rescored ?? {}).length > 0;
  return haunted ? ghost : null;
}

const sameNumbers = (a, b) => a?.length === b?.length && (a ?? []).every((value, i) => value === b[i]);

// Whether the objective's curve of a sign was another one.
function otherCurve(batch, ghost, name) {
  const read = (own) => numbers(own.curve?.[name], Float32Array);
  return Boolean(ghost.curve) && !sameNumbers(read(batch), read(ghost));
}

// The edges of the band, and the end of the pull for A < 0, that were elsewhere.
function otherEdges(batch, ghost, sign) {
  const edges = (own) => [...own.clip, sign < 0 ? own.pull_limit : null];
  return edges(ghost).filter((edge, i) => edge && edge !== edges(batch)[i]);
}

// Which tokens are in another clip state than they were, by row * length + t, and how many; null without a ghost.
function turnedTokens(batch, ghost) {
  if (!ghost) return null;
  const [now, then] = [statesOf(batch), statesOf(ghost)];
  const turned = now.map((state, i) => (state === then[i] ? 0 : 1));
  return { turned, count: turned.reduce((sum, one) => sum + one, 0) };
}

// The old number before the new one, where they are written differently.
const wasAndIs = (then, now) => (then === undefined || then === null || String(then) === String(now) ? String(now) : `${then} → ${now}`);

// The outlines of old bars, for those that were elsewhere: `boxes` are [x, y, width, height].
const outlines = (boxes) => boxes.map(([x, y, wide, high]) => `M${x.toFixed(1)} ${y.toFixed(1)}h${wide.toFixed(1)}v${high.toFixed(1)}h${(-wide).toFixed(1)}z`).join("");
