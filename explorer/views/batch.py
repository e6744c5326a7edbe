"""The batch on screen: one update as text and binary arrays, ready for the browser.

A pure function of what is shown. Every number comes out of the recorded arrays; what depends on the settings that
re-score is in ``scoring``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from explorer.config import Config
from explorer.recording.snapshot import Snapshot
from explorer.views.quantities import QUANTITIES, Array
from explorer.views.reward import scaled
from explorer.views.scoring import as_bytes, in_force, scoring_picture

#: Below so many nats a token the policy says the same whatever it is asked: it cannot learn its way back.
COLLAPSED_ENTROPY = 0.1

#: The responses that are on screen without scrolling.
FIRST_ROWS = 4


def batch_picture(shown: Any, epoch: int = -1, trained: Config | None = None) -> dict[str, Any]:
    """What every token view draws.

    Args:
        shown: a Snapshot, or an Unfinished update with as much as there is.
        epoch: which of its epochs; -1 is the policy after the last step.
        trained: the config that the update was trained under, where ``shown`` is re-scored under another.

    Returns:
        Plain values, and arrays as bytes: ``float32`` for quantities ``[B * T]`` and the curve, ``uint8`` for states
        ``[B * T]``, ``uint16`` for the alternatives ``[B * T * K]``.
    """
    rollout, credit = shown.rollout, shown.credit
    record = shown.epochs[epoch] if shown.epochs else None
    rows, length = rollout.response_ids.shape
    whole = isinstance(shown, Snapshot)
    arrays = {
        name: as_bytes(array, np.float32)
        for name, quantity in QUANTITIES.items()
        if (array := quantity.of(rollout, credit, record)) is not None
    }
    alternatives, spelled = _spelled(shown.tokens.top)
    config = in_force(shown)
    components = credit.reward_components if credit is not None else shown.components
    return {
        "update": shown.update,
        "epoch": epoch % len(shown.epochs) + 1 if shown.epochs else 0,
        "epochs": len(shown.epochs) - 1 if whole else config.epochs,
        "finished": whole,
        "rows": rows,
        "length": length,
        "prompts": list(shown.tokens.prompts),
        "tokens": [list(response) for response in shown.tokens.responses],
        "components": {name: values.tolist() for name, values in components.items()},
        "weights": dict(config.weights),
        "judge": config.judge,
        "judged": None if credit is None or credit.judge is None else credit.judge.tolist(),
        "replayed": replayed(rows, record),
        "arrays": arrays,
        "top": {
            "words": spelled,
            "count": int(rollout.top_ids.shape[2]),
            "index": as_bytes(alternatives_array(alternatives, rows, length, rollout.top_ids.shape[2]), np.uint16),
            "logprobs": as_bytes(rollout.top_logprobs, np.float32),
        },
        "clip_range": config.clip_range,
        "kl_target": config.kl_target,
        "adapts": adapting(config),
        "estimator": config.estimator,
        "whiten": config.whiten,
        "gamma": config.gamma,
        "gae_lambda": config.gae_lambda,
        "checks": {name: [holds, measured] for name, (holds, measured) in shown.checks.items()} if whole else {},
        "collapsed": whole and shown.metrics["policy/entropy"] < COLLAPSED_ENTROPY,
        "no_second_look": looked_at_once(config),
        "kl_in": config.kl_in,
        "rescored": rescored_fields(shown.config, trained),
        "scaled": scaled(config, trained),
        **scoring_picture(shown, epoch),
    }


def replayed(rows: int, record: Any) -> dict[str, int]:
    """How many older responses were trained on beside the ``rows`` fresh ones on screen, and the oldest's age."""
    ages = [] if record is None else record.ages[rows:].tolist()
    return {"rows": len(ages), "age": max(ages, default=0)}


def adapting(config: Config) -> list[str]:
    """What moves by itself from update to update, by the names of its charts: a coefficient, or the length."""
    follows = {
        "kl_coef": config.kl_target is not None,
        "penalty_coef": config.objective == "kl_penalty",
        "length": config.stop_sentences > 0,
    }
    return [name for name, does in follows.items() if does]


def looked_at_once(config: Config) -> bool:
    """Whether every sample is used for one step alone, and by the policy that has written it: at a ratio of 1."""
    once = config.epochs == 1 and config.minibatches == 1
    return once and config.replay_rollouts == 1 and not config.dropout_on


def telling_token(shown: Any) -> list[int]:
    """The token to begin with: among the first responses, the one held back by the clip whose ratio went furthest.

    ``[response, token]``; the first token where the clip holds nothing back.
    """
    held = shown.final.zero_gradient[: len(shown.rollout.stopped)][:FIRST_ROWS]
    if not held.any():
        return [0, 0]
    moved = shown.final.new_logprobs[: len(held)] - shown.rollout.old_logprobs[: len(held)]
    row, token = np.unravel_index(int(np.where(held, np.abs(moved), -1.0).argmax()), held.shape)
    return [int(row), int(token)]


def rescored_fields(config: Config, trained: Config | None) -> dict[str, list[Any]]:
    """``{field: [as trained, as shown]}`` where the screen is re-scored; empty where it shows what happened."""
    if trained is None:
        return {}
    return {name: [theirs, mine] for name, (mine, theirs) in config.differences(trained).items()}


def _spelled(top: tuple[tuple[tuple[str, ...], ...], ...]) -> tuple[list[list[list[int]]], list[str]]:
    """The alternatives as indices into a list of the distinct words."""
    index: dict[str, int] = {}
    rows = [[[index.setdefault(word, len(index)) for word in position] for position in row] for row in top]
    return rows, list(index)


def alternatives_array(rows: list[list[list[int]]], batch: int, length: int, count: int) -> Array:
    """``[B, T, K]`` uint16 from ragged rows, 0 past each response's end."""
    array = np.zeros((batch, length, count), dtype=np.uint16)
    for r, row in enumerate(rows):
        if row:
            array[r, : len(row)] = row
    return array
