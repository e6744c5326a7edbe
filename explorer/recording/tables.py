"""A Snapshot as four Arrow tables, and back: what the Parquet files of a recording hold.

Columns carry the names of the fields in ``explorer.ppo.records``, where shapes and units are told; ``update``,
``epoch``, ``response`` and ``position`` say where a row belongs (update and epoch count from 1, the others from 0).

    tokens     a row for each response and position
               text, top_texts (null past the response's end), Rollout's and Credit's [B, T] and [B, T, K] fields,
               ``exact_ref_kl``, ``ref_top_logprobs`` and, of the last epoch, ``final_top_logprobs`` where they were
               recorded
    epochs     a row for each epoch, response and position; the last epoch has ``final`` true
               Epoch's [rows, T] fields and ``ages``; responses past the fresh ones are replayed
    responses  a row for each response
               prompt and text as read, prompt_ids, prompt_mask, stopped, groups, scores, component/NAME, and
               greedy/NAME, that of the greedy answer to the prompt of the response's group, and judge, where there is
               one
    updates    one row
               epochs (a list of each epoch's scalars), checks, seconds, curve_ratios, curve_positive, curve_negative

Loading checks every shape, type and index; it trusts nothing that the files say.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from explorer.config import Config
from explorer.ppo.records import Credit, Curve, Epoch, Rollout
from explorer.recording.bounded import Bound
from explorer.recording.columns import column, lists, nested, reshaped, structs, texts
from explorer.recording.snapshot import Snapshot, Tokens

ROLLOUT_TOKENS = ("response_ids", "response_mask", "old_logprobs", "ref_logprobs", "old_values", "entropies")
CREDIT_TOKENS = ("ref_kl", "rewards", "deltas", "advantages", "whitened_advantages", "returns")
# The annotations of records.py are strings: it defers them.
EPOCH_SCALARS = tuple(f.name for f in dataclasses.fields(Epoch) if f.type == "float")
EPOCH_TOKENS = tuple(f.name for f in dataclasses.fields(Epoch) if f.type == "Array" and f.name != "ages")
CURVES = tuple(f.name for f in dataclasses.fields(Curve))
COMPONENT, GREEDY, JUDGE, EXACT = "component/", "greedy/", "judge", "exact_ref_kl"
REF_TOP, FINAL_TOP = "ref_top_logprobs", "final_top_logprobs"

#: What a row may take in memory, beside what any table may: a prompt has up to 1023 tokens, a position likely ones.
ROW_BYTES = {"tokens": 1024, "epochs": 512, "responses": 32_768, "updates": 0}
LEAST_BYTES = 32 * 2**20

_SCALARS = pa.struct([(name, pa.float64()) for name in EPOCH_SCALARS])
_CHECK = pa.struct([("name", pa.string()), ("holds", pa.bool_()), ("measured", pa.float64())])
_SECONDS = pa.struct([("name", pa.string()), ("seconds", pa.float64())])


class Tables(NamedTuple):
    """The four tables of one snapshot; the field names are the folders' names."""

    tokens: pa.Table
    epochs: pa.Table
    responses: pa.Table
    updates: pa.Table


def most_of(config: Config) -> dict[str, Bound]:
    """What each of the four may be at most for an update under this Config; what is more is not read."""
    tokens = config.batch_size * config.response_length
    epochs = tokens * config.replay_rollouts * (config.epochs + 1)
    rows = {"tokens": tokens, "epochs": epochs, "responses": config.batch_size, "updates": 1}
    return {name: Bound(count, LEAST_BYTES + count * ROW_BYTES[name]) for name, count in rows.items()}


def to_tables(snapshot: Snapshot) -> Tables:
    """The snapshot's tables. Raises ValueError where its tokens' texts do not fit its arrays."""
    rows, length = snapshot.rollout.response_ids.shape
    return Tables(
        tokens=_tokens_table(snapshot, rows, length),
        epochs=_epochs_table(snapshot),
        responses=_responses_table(snapshot, rows),
        updates=_updates_table(snapshot),
    )


def from_tables(tables: Tables, update: int, config: Config, metrics: Mapping[str, float]) -> Snapshot:
    """The snapshot that ``to_tables`` was given.

    Args:
        tables: as read, trusted in nothing.
        update: the number of the update that they must belong to.
        config: the Config that was in force.
        metrics: the update's metrics.

    Raises:
        ValueError, KeyError, TypeError: a column is missing or has the wrong type or shape.
    """
    rows = tables.responses.num_rows
    length = _parts(tables.tokens.num_rows, rows, "tokens")
    _check_index(tables.tokens, _grid(update, ("response", rows), ("position", length)))
    _check_index(tables.responses, _grid(update, ("response", rows)))
    _check_index(tables.updates, _grid(update))
    rollout = _rollout(tables, rows, length)
    first = _check_groups(rollout.groups)
    return Snapshot(
        update=update,
        config=config,
        rollout=rollout,
        credit=_credit(tables, rows, length, rollout.groups, first),
        epochs=_epochs(tables, update, rollout.top_ids.shape),
        curve=Curve(**{name: lists(tables.updates, f"curve_{name}")[0] for name in CURVES}),
        metrics=dict(metrics),
        checks={c["name"]: (bool(c["holds"]), float(c["measured"])) for c in structs(tables.updates, "checks")},
        tokens=_texts(tables, rollout),
        seconds={s["name"]: float(s["seconds"]) for s in structs(tables.updates, "seconds")},
    )


def _tokens_table(snapshot: Snapshot, rows: int, length: int) -> pa.Table:
    rollout, credit, tokens = snapshot.rollout, snapshot.credit, snapshot.tokens
    lengths = rollout.response_mask.sum(axis=1).tolist()
    if [len(r) for r in tokens.responses] != lengths or [len(r) for r in tokens.top] != lengths:
        raise ValueError("the tokens' texts are not as many as the response mask counts.")
    tops = {REF_TOP: rollout.ref_top_logprobs, FINAL_TOP: snapshot.final.top_logprobs}
    return pa.table(
        _grid(snapshot.update, ("response", rows), ("position", length))
        | {
            "text": pa.array([t for r in tokens.responses for t in _padded(r, length)], pa.string()),
            "top_texts": pa.array([t for r in tokens.top for t in _padded(r, length)], pa.list_(pa.string())),
            "top_ids": nested(rollout.top_ids),
            "top_logprobs": nested(rollout.top_logprobs),
        }
        | {name: getattr(rollout, name).ravel() for name in ROLLOUT_TOKENS}
        | {name: getattr(credit, name).ravel() for name in CREDIT_TOKENS}
        | ({} if rollout.exact_ref_kl is None else {EXACT: rollout.exact_ref_kl.ravel()})
        | {name: nested(values) for name, values in tops.items() if values is not None}
    )


def _epochs_table(snapshot: Snapshot) -> pa.Table:
    rows, length = snapshot.final.ratios.shape
    count = len(snapshot.epochs)
    columns = _epochs_grid(snapshot.update, count, rows, length)
    columns["ages"] = np.concatenate([np.repeat(epoch.ages, length) for epoch in snapshot.epochs])
    for name in EPOCH_TOKENS:
        columns[name] = np.concatenate([getattr(epoch, name).ravel() for epoch in snapshot.epochs])
    return pa.table(columns)


def _responses_table(snapshot: Snapshot, rows: int) -> pa.Table:
    rollout, credit = snapshot.rollout, snapshot.credit
    components = {f"{COMPONENT}{name}": values for name, values in credit.reward_components.items()}
    greedy = {f"{GREEDY}{name}": values[rollout.groups] for name, values in credit.greedy_components.items()}
    return pa.table(
        _grid(snapshot.update, ("response", rows))
        | {
            "prompt": pa.array(snapshot.tokens.prompts, pa.string()),
            "text": pa.array(["".join(r) for r in snapshot.tokens.responses], pa.string()),
            "prompt_ids": nested(rollout.prompt_ids),
            "prompt_mask": nested(rollout.prompt_mask),
            "stopped": rollout.stopped,
            "groups": rollout.groups,
            "scores": credit.scores,
        }
        | components
        | greedy
        | ({} if credit.judge is None else {JUDGE: credit.judge})
    )


def _updates_table(snapshot: Snapshot) -> pa.Table:
    scalars = [{name: getattr(epoch, name) for name in EPOCH_SCALARS} for epoch in snapshot.epochs]
    checks = [{"name": n, "holds": holds, "measured": measured} for n, (holds, measured) in snapshot.checks.items()]
    seconds = [{"name": name, "seconds": value} for name, value in snapshot.seconds.items()]
    return pa.table(
        _grid(snapshot.update)
        | {
            "epochs": pa.array([scalars], pa.list_(_SCALARS)),
            "checks": pa.array([checks], pa.list_(_CHECK)),
            "seconds": pa.array([seconds], pa.list_(_SECONDS)),
        }
        | {f"curve_{name}": nested(getattr(snapshot.curve, name)[None]) for name in CURVES}
    )


def _rollout(tables: Tables, rows: int, length: int) -> Rollout:
    return Rollout(
        prompt_ids=lists(tables.responses, "prompt_ids"),
        prompt_mask=lists(tables.responses, "prompt_mask"),
        stopped=column(tables.responses, "stopped", (rows,)),
        groups=column(tables.responses, "groups", (rows,)),
        top_ids=reshaped(lists(tables.tokens, "top_ids"), (rows, length, -1)),
        top_logprobs=reshaped(lists(tables.tokens, "top_logprobs"), (rows, length, -1)),
        ref_top_logprobs=_alternatives(tables, REF_TOP, rows, length),
        exact_ref_kl=column(tables.tokens, EXACT, (rows, length)) if EXACT in tables.tokens.column_names else None,
        **{name: column(tables.tokens, name, (rows, length)) for name in ROLLOUT_TOKENS},
    )


def _credit(tables: Tables, rows: int, length: int, groups: Any, first: Any) -> Credit:
    names = tables.responses.column_names
    greedy = {}
    for name in (n for n in names if n.startswith(GREEDY)):
        values = column(tables.responses, name, (rows,))
        greedy[name.removeprefix(GREEDY)] = reshaped(values[first], (-1,))
        if not np.array_equal(values[first][groups], values, equal_nan=True):
            raise ValueError(f"the column {name} differs within a group")
    return Credit(
        reward_components={
            n.removeprefix(COMPONENT): column(tables.responses, n, (rows,)) for n in names if n.startswith(COMPONENT)
        },
        greedy_components=greedy,
        judge=column(tables.responses, JUDGE, (rows,)) if JUDGE in names else None,
        scores=column(tables.responses, "scores", (rows,)),
        **{name: column(tables.tokens, name, (rows, length)) for name in CREDIT_TOKENS},
    )


def _alternatives(tables: Tables, name: str, rows: int, length: int) -> Any:
    """A ``[B, T, K]`` column that an older recording lacks; None there."""
    if name not in tables.tokens.column_names:
        return None
    return reshaped(lists(tables.tokens, name), (rows, length, -1))


def _epochs(tables: Tables, update: int, top_shape: tuple[int, ...]) -> tuple[Epoch, ...]:
    fresh, length, _ = top_shape
    scalars = structs(tables.updates, "epochs")
    count = len(scalars)
    rows = _parts(_parts(tables.epochs.num_rows, count, "epochs"), length, "epochs")
    if rows < fresh:
        raise ValueError(f"an epoch has {rows} responses, fewer than the {fresh} of the rollout")
    _check_index(tables.epochs, _epochs_grid(update, count, rows, length))
    stacked = {name: column(tables.epochs, name, (count, rows, length)) for name in EPOCH_TOKENS}
    ages = column(tables.epochs, "ages", (count, rows, length))
    if (ages != ages[:, :, :1]).any():
        raise ValueError("the ages differ within a response")
    first = reshaped(np.ascontiguousarray(ages[:, :, 0]), (count, rows))
    final_top = _alternatives(tables, FINAL_TOP, fresh, length)
    if final_top is not None and final_top.shape != top_shape:
        raise ValueError(f"the column {FINAL_TOP} does not fit top_ids")
    return tuple(
        Epoch(
            ages=first[k],
            top_logprobs=final_top if k == count - 1 else None,
            **{name: values[k] for name, values in stacked.items()},
            **{name: float(scalars[k][name]) for name in EPOCH_SCALARS},
        )
        for k in range(count)
    )


def _check_groups(groups: Any) -> Any:
    """The first row of each group ``[groups]``; raises ValueError where they are not numbered from 0 without a gap."""
    numbers, first = np.unique(groups, return_index=True)
    if not np.array_equal(numbers, np.arange(len(numbers))):
        raise ValueError("the column groups does not number them from 0 without a gap")
    return first


def _texts(tables: Tables, rollout: Rollout) -> Tokens:
    """The batch as text, with as many tokens as the mask counts."""
    written = texts(tables.tokens, "text", pa.string())
    top = texts(tables.tokens, "top_texts", pa.list_(pa.string()))
    prompts = texts(tables.responses, "prompt", pa.string())
    _, length, alternatives = rollout.top_ids.shape
    lengths = rollout.response_mask.sum(axis=1).tolist()
    spans = [slice(i * length, i * length + n) for i, n in enumerate(lengths)]
    if None in prompts or any(None in written[span] or None in top[span] for span in spans):
        raise ValueError("a prompt or a token has no text")
    if any(len(position) != alternatives or None in position for span in spans for position in top[span]):
        raise ValueError(f"a position has not the text of {alternatives} alternatives")
    return Tokens(
        prompts=tuple(prompts),
        responses=tuple(tuple(written[span]) for span in spans),
        top=tuple(tuple(tuple(position) for position in top[span]) for span in spans),
    )


def _grid(update: int, *axes: tuple[str, int]) -> dict[str, Any]:
    """The index columns: ``update``, and every combination of the axes, the last of them running fastest."""
    sizes = tuple(size for _, size in axes)
    columns: dict[str, Any] = {"update": np.full(sizes or 1, update, dtype=np.int32).ravel()}
    for (name, _), indices in zip(axes, np.indices(sizes, dtype=np.int32), strict=True):
        columns[name] = indices.ravel()
    return columns


def _epochs_grid(update: int, count: int, rows: int, length: int) -> dict[str, Any]:
    columns = _grid(update, ("epoch", count), ("response", rows), ("position", length))
    columns["epoch"] = columns["epoch"] + np.int32(1)
    return columns | {"final": columns["epoch"] == count}


def _check_index(table: pa.Table, expected: Mapping[str, Any]) -> None:
    for name, values in expected.items():
        if not np.array_equal(column(table, name), values):
            raise ValueError(f"the column {name} does not count through the rows in order")


def _parts(total: int, parts: int, what: str) -> int:
    if parts < 1 or total < parts or total % parts:
        raise ValueError(f"{total} rows of {what} do not divide into {parts} equal parts")
    return total // parts


def _padded(values: tuple[Any, ...], length: int) -> list[Any]:
    return [*values, *[None] * (length - len(values))]
