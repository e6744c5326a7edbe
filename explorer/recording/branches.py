"""Where a fork parts from its parent: the first number that is not the same, bit by bit.

Two runs that share their past and their seed draw the same random numbers, so that they are equal until the one
change acts. The arrays are compared in the order in which an update computes them, and within an array response by
response and token by token; so what is found first is also what happened first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from explorer.recording.columns import column
from explorer.recording.metrics import metrics_of
from explorer.recording.snapshot import Snapshot
from explorer.recording.storage import Recording

# In the order in which they come about; fields that are not named here follow.
_SAMPLE = (
    *("prompt_ids", "prompt_mask", "groups", "response_ids", "response_mask", "stopped"),
    *("old_logprobs", "old_values", "entropies", "top_ids", "top_logprobs", "ref_logprobs"),
)
_CREDIT = {
    "score": ("scores",),
    "shape": ("ref_kl", "rewards"),
    "advantage": ("deltas", "advantages", "returns", "whitened_advantages"),
}
_EPOCH = (
    *("new_logprobs", "values", "ref_log_ratios", "ratios", "entropies", "advantages"),
    *("outside_range", "zero_gradient", "policy_terms", "gradient_shares"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parting:
    """The first number in which two runs differ.

    Attributes:
        update: in which update.
        stage: ``sample``, ``score``, ``shape``, ``advantage``, ``epoch 1`` .., or ``final``, the policy after the last
            step; ``metrics`` where an update is not kept by both, and the metrics alone tell.
        quantity: the field of Rollout, Credit or Epoch, ``component/NAME`` or ``greedy/NAME``, or the metric.
        response: the row in the batch, None for a metric; for ``greedy/NAME`` the group.
        token: the position in the response, or in the prompt for its fields; None where a response has one number.
        parent: the parent's number, None where it has none in this place.
        child: the fork's.
        words: where the tokens differ, how both are spelled: ``(parent's, fork's)``; None otherwise.
    """

    update: int
    stage: str
    quantity: str
    response: int | None
    token: int | None
    parent: float | int | bool | None
    child: float | int | bool | None
    words: tuple[str, str] | None = None


def parting(parent: Recording, child: Recording) -> Parting | None:
    """Where a fork parts from its parent; None where they are equal in every update that both have.

    Updates whose snapshot only one of them keeps are compared by their metrics, without wall times.

    Raises:
        RecordingError: a snapshot's files are missing or damaged.
    """
    others = set(child.metrics.column("update").to_pylist())
    for update in parent.metrics.column("update").to_pylist():
        if update not in others:
            continue
        found = parting_in(parent, child, update)
        if found is not None:
            return found
    return None


def parting_in(parent: Recording, child: Recording, update: int) -> Parting | None:
    """Where two runs part in an update that both have; None where they do not. Raises as ``parting``."""
    if update in parent.updates and update in child.updates:
        one, other = (run[run.updates.index(update)] for run in (parent, child))
        return parting_of(one, other)
    return _in_metrics(update, *(metrics_of(run.metrics, update) for run in (parent, child)))


def parting_at(parent: Recording, child: Snapshot) -> Parting | None:
    """Where a fork's update parts from its parent's; None where it does not, or the parent has no such update.

    Where the parent has thinned its tokens out the metrics are compared, without wall times.

    Raises:
        RecordingError: the parent's files are missing or damaged.
    """
    if child.update in parent.updates:
        return parting_of(parent.at(child.update), child)
    if child.update not in column(parent.metrics, "update"):
        return None
    return _in_metrics(child.update, metrics_of(parent.metrics, child.update), child.metrics)


def _in_metrics(update: int, ours: Mapping[str, float], theirs: Mapping[str, float]) -> Parting | None:
    """The first of an update's metrics in which two runs differ, without wall times; None where none does."""
    for name in dict.fromkeys([*ours, *theirs]):
        if not name.startswith("throughput/") and _differs(ours.get(name), theirs.get(name)):
            return Parting(
                update=update,
                stage="metrics",
                quantity=name,
                response=None,
                token=None,
                parent=ours.get(name),
                child=theirs.get(name),
            )
    return None


def parting_of(parent: Snapshot, child: Snapshot) -> Parting | None:
    """Where two snapshots of the same update part; None where they are equal, bit for bit."""
    ours, theirs = dict(_in_order(parent)), dict(_in_order(child))
    # Epochs that only one of them has come after those that both have: then what the policy has become tells.
    for key in (key for key in ours if key in theirs):
        found = first_difference(ours[key], theirs[key])
        if found is not None:
            place, one, other = found
            return Parting(
                update=parent.update,
                stage=key[0],
                quantity=key[1],
                response=place[0],
                token=place[1] if len(place) > 1 else None,
                parent=one,
                child=other,
                words=_spelled(parent, child, key[1], place),
            )
    return None


def _spelled(parent: Snapshot, child: Snapshot, quantity: str, place: tuple[int, ...]) -> tuple[str, str] | None:
    """The two tokens at a place as text; None where it is no token of both responses."""
    if quantity != "response_ids":
        return None
    row, token = place
    responses = [snapshot.tokens.responses for snapshot in (parent, child)]
    if any(row >= len(texts) or token >= len(texts[row]) for texts in responses):
        return None
    return responses[0][row][token], responses[1][row][token]


def first_difference(one: Any, other: Any) -> tuple[tuple[int, ...], Any, Any] | None:
    """Where two arrays first differ in their bits, in the order of their indices, and the two values.

    A value that only one of them has differs, and is None in the other. None where nothing differs.
    """
    shape = tuple(max(a, b) for a, b in zip(one.shape, other.shape, strict=True))
    common = tuple(slice(0, min(a, b)) for a, b in zip(one.shape, other.shape, strict=True))
    differs = np.ones(shape, dtype=bool)
    differs[common] = _bits(one[common]) != _bits(other[common])
    # A place that neither has lies beyond the one in its rows and beyond the other in its columns.
    for axis in range(1, len(shape)):
        if one.shape[0] != other.shape[0] and one.shape[axis] != other.shape[axis]:
            shorter, longer = sorted((one, other), key=lambda array: array.shape[0])
            differs[shorter.shape[0] :][(slice(None),) * axis + (slice(longer.shape[axis], None),)] = False
    if not differs.any():
        return None
    place = tuple(int(i) for i in np.unravel_index(int(np.argmax(differs)), shape))
    return place, _at(one, place), _at(other, place)


def _in_order(snapshot: Snapshot) -> Iterator[tuple[tuple[str, str], Any]]:
    """``((stage, quantity), array)`` of everything that an update computes, in its order."""
    rollout, credit = snapshot.rollout, snapshot.credit
    yield from ((("sample", name), getattr(rollout, name)) for name in _arrays(rollout, _SAMPLE))
    yield from ((("score", f"component/{name}"), values) for name, values in credit.reward_components.items())
    yield from ((("score", f"greedy/{name}"), values) for name, values in credit.greedy_components.items())
    if credit.judge is not None:
        yield ("score", "judge"), credit.judge
    for stage, names in _CREDIT.items():
        yield from (((stage, name), getattr(credit, name)) for name in names)
    for k, epoch in enumerate(snapshot.trained, start=1):
        yield from (((f"epoch {k}", name), getattr(epoch, name)) for name in _arrays(epoch, _EPOCH))
    yield from ((("final", name), getattr(snapshot.final, name)) for name in _arrays(snapshot.final, _EPOCH))


def _arrays(record: Any, first: tuple[str, ...]) -> list[str]:
    """The names of a record's arrays, some of them first."""
    names = [field.name for field in dataclasses.fields(record) if hasattr(getattr(record, field.name), "shape")]
    return list(dict.fromkeys([*first, *names]))


def _bits(array: Any) -> Any:
    """The array's values as whole numbers of the same bits: NaN equals itself, and 0 is not -0."""
    plain = np.ascontiguousarray(array)
    return plain.view(f"u{plain.dtype.itemsize}") if plain.dtype.kind == "f" else plain


def _at(array: Any, place: tuple[int, ...]) -> Any:
    inside = all(i < size for i, size in zip(place, array.shape, strict=True))
    return array[place].item() if inside else None


def _differs(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is not other
    return bool(_bits(np.float64(one)) != _bits(np.float64(other)))
