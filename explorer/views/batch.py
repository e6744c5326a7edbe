"""The batch on screen: one update as text and binary arrays, ready for the browser.

A pure function of what is shown. Every number comes out of the recorded arrays; nothing is computed here but which of
the three clip states a token is in, which two recorded booleans say, a response's ratio where GSPO looks at that, and
a token's KL to the reference where the loss has it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from explorer.config import OWN_UPPER_CLIP, SAPO_TEMPERATURES, Config
from explorer.ppo.metrics import KL_ESTIMATORS
from explorer.recording.snapshot import Snapshot
from explorer.recording.what_if import with_coefficients
from explorer.views.quantities import QUANTITIES, Array
from explorer.views.reward import scaled

#: A token's clip state, as the browser gets it.
MASKED, INSIDE, OUTSIDE_FLOWS, OUTSIDE_ZERO = range(4)

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
        name: _bytes(array, np.float32)
        for name, quantity in QUANTITIES.items()
        if (array := quantity.of(rollout, credit, record)) is not None
    }
    alternatives, spelled = _spelled(shown.tokens.top)
    states = clip_states(rollout.response_mask, record)
    config = with_coefficients(shown.config, shown) if whole else shown.config
    scores = credit.scores if credit is not None else shown.scores
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
        "scores": scores.tolist() if scores is not None else None,
        "components": {name: values.tolist() for name, values in components.items()},
        "weights": dict(config.weights),
        "replayed": replayed(rows, record),
        "arrays": arrays,
        "states": _bytes(states, np.uint8),
        "counts": counts(states),
        "top": {
            "words": spelled,
            "count": int(rollout.top_ids.shape[2]),
            "index": _bytes(alternatives_array(alternatives, rows, length, rollout.top_ids.shape[2]), np.uint16),
            "logprobs": _bytes(rollout.top_logprobs, np.float32),
        },
        "clip": list(config.clip_band),
        "clip_fields": clip_fields(config),
        "clip_range": config.clip_range,
        "kl_coef": config.kl_coef if config.kl_in == "reward" else 0.0,  # what each token's reward pays a nat
        "loss_kl_coef": config.kl_coef if config.kl_in == "loss" else 0.0,
        "loss_kl": None if (kls := loss_kls(config, rows, record)) is None else _bytes(kls, np.float32),
        "kl_target": config.kl_target,
        "adapts": adapting(config),
        "kl_estimator": config.kl_estimator,
        "kl_in": config.kl_in,
        "estimator": config.estimator,
        "gamma": config.gamma,
        "gae_lambda": config.gae_lambda,
        "objective": config.objective,
        "pull_limit": {"dual_clip": config.dual_clip, "two_sided": config.delta}.get(config.objective),
        "penalty_coef": config.penalty_coef,
        "temperatures": list(SAPO_TEMPERATURES),
        "response_ratios": response_ratios(rollout, record) if config.objective == "gspo" else None,
        "curve": None
        if shown.curve is None
        else {name: _bytes(getattr(shown.curve, name), np.float32) for name in ("ratios", "positive", "negative")},
        "checks": {name: [holds, measured] for name, (holds, measured) in shown.checks.items()} if whole else {},
        "collapsed": whole and shown.metrics["policy/entropy"] < COLLAPSED_ENTROPY,
        "no_second_look": looked_at_once(config),
        "rescored": rescored_fields(shown.config, trained),
        "scaled": scaled(config, trained),
    }


def clip_fields(config: Config) -> list[str | None]:
    """The settings behind the edges of the clip picture: below 1, above 1, and where it ends for A < 0 (or None)."""
    high = "clip_range_high" if config.objective in OWN_UPPER_CLIP else "clip_range"
    return ["clip_range", high, {"dual_clip": "dual_clip", "two_sided": "delta"}.get(config.objective)]


def response_ratios(rollout: Any, record: Any) -> list[float] | None:
    """``[B]`` the ratio of each response as GSPO sees it; None before the first epoch."""
    if record is None:
        return None
    mask = rollout.response_mask
    moved = np.where(mask, record.new_logprobs[: len(mask)] - rollout.old_logprobs, 0.0)
    ratios: list[float] = np.exp(moved.sum(axis=1) / np.maximum(mask.sum(axis=1), 1)).tolist()
    return ratios


def replayed(rows: int, record: Any) -> dict[str, int]:
    """How many older responses were trained on beside the ``rows`` fresh ones on screen, and the oldest's age."""
    ages = [] if record is None else record.ages[rows:].tolist()
    return {"rows": len(ages), "age": max(ages, default=0)}


def loss_kls(config: Config, rows: int, record: Any) -> Array | None:
    """``[B, T]`` in nats, each token's KL to the reference as the epoch's loss had it; None where the loss has none."""
    if record is None or config.kl_in != "loss" or config.kl_coef == 0:
        return None
    kls: Array = KL_ESTIMATORS[config.kl_estimator](record.ref_log_ratios[:rows])
    return kls


def adapting(config: Config) -> list[str]:
    """The coefficients that follow a KL from update to update, by the names of their charts."""
    follows = {"kl_coef": config.kl_target is not None, "penalty_coef": config.objective == "kl_penalty"}
    return [name for name, does in follows.items() if does]


def looked_at_once(config: Config) -> bool:
    """Whether every sample is used for one step alone, and by the policy that has written it: at a ratio of 1."""
    once = config.epochs == 1 and config.minibatches == 1
    return once and config.replay_rollouts == 1 and not config.dropout_on


def clip_states(mask: Array, record: Any) -> Array:
    """``[B, T]`` uint8: MASKED, INSIDE, OUTSIDE_FLOWS or OUTSIDE_ZERO; INSIDE before the first epoch."""
    states = np.where(mask, INSIDE, MASKED).astype(np.uint8)
    if record is not None:
        rows = mask.shape[0]
        states[record.outside_range[:rows]] = OUTSIDE_FLOWS
        states[record.zero_gradient[:rows]] = OUTSIDE_ZERO
    return states


def counts(states: Array) -> dict[str, int]:
    """How many tokens count, how many are outside the clip band, and how many get no gradient."""
    return {
        "tokens": int((states != MASKED).sum()),
        "outside": int((states >= OUTSIDE_FLOWS).sum()),
        "zero": int((states == OUTSIDE_ZERO).sum()),
    }


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


def _bytes(array: Any, dtype: Any) -> bytes:
    return np.ascontiguousarray(array, dtype=dtype).tobytes()
