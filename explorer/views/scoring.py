"""How the batch on screen is scored: all that is drawn of it which a re-scoring setting can change.

A pure function of what is shown. Every number comes out of the recorded arrays; nothing is computed here but which of
the three clip states a token is in, which two recorded booleans say, a response's ratio where GSPO looks at that, and
a token's KL to the reference where the loss has it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from explorer.config import OWN_UPPER_CLIP, RATIO_GRAINS, SAPO_TEMPERATURES, Config
from explorer.ppo.metrics import KL_ESTIMATORS
from explorer.recording.snapshot import Snapshot
from explorer.recording.what_if import with_coefficients
from explorer.views.quantities import QUANTITIES, Array

#: A token's clip state, as the browser gets it.
MASKED, INSIDE, OUTSIDE_FLOWS, OUTSIDE_ZERO = range(4)

#: The quantities of which a ghost is drawn.
HAUNTING = ("advantage", "reward", "return")


def scoring_picture(shown: Any, epoch: int = -1) -> dict[str, Any]:
    """Scores, clip states, objective and KL price of what is shown; arguments and encoding as in ``batch_picture``."""
    rollout, credit = shown.rollout, shown.credit
    record = shown.epochs[epoch] if shown.epochs else None
    config = in_force(shown)
    states = clip_states(rollout.response_mask, record)
    scores = credit.scores if credit is not None else shown.scores
    kls = loss_kls(config, len(rollout.stopped), record)
    return {
        "scores": scores.tolist() if scores is not None else None,
        "states": as_bytes(states, np.uint8),
        "counts": counts(states),
        "kl_coef": config.kl_coef if config.kl_in == "reward" else 0.0,  # what each token's reward pays a nat
        "loss_kl_coef": config.kl_coef if config.kl_in == "loss" else 0.0,
        "loss_kl": None if kls is None else as_bytes(kls, np.float32),
        "kl_estimator": config.kl_estimator,
        "penalty_coef": config.penalty_coef,
        "temperatures": list(SAPO_TEMPERATURES),
        "response_ratios": response_ratios(rollout, record) if config.objective == "gspo" else None,
        **_plane(config, shown.curve),
    }


def plane_picture(config: Config) -> dict[str, Any]:
    """The objective's curve and its clip, for a page that has no tokens to lay on it yet. Imports PyTorch."""
    from explorer.ppo.objectives import curve

    return _plane(config, curve(config))


def _plane(config: Config, drawn: Any) -> dict[str, Any]:
    """What the clip picture is drawn from but for the tokens; ``drawn``: the curve as tensors or arrays, or None."""
    return {
        "objective": config.objective,
        "clip": list(config.clip_band),
        "clip_fields": clip_fields(config),
        "ratio_grain": RATIO_GRAINS.get(config.objective, 0.0),
        "pull_limit": {"dual_clip": config.dual_clip, "two_sided": config.delta}.get(config.objective),
        "curve": None
        if drawn is None
        else {name: as_bytes(getattr(drawn, name), np.float32) for name in ("ratios", "positive", "negative")},
    }


def ghost_picture(recorded: Snapshot, epoch: int = -1) -> dict[str, Any]:
    """The scoring that an update was trained under, to be drawn behind a re-scored one.

    It depends on no setting that is moved, so that it is made and sent once, however long a slider is dragged.
    """
    record = recorded.epochs[epoch]
    arrays = {name: QUANTITIES[name].of(recorded.rollout, recorded.credit, record) for name in HAUNTING}
    return {
        "update": recorded.update,
        "length": recorded.rollout.response_ids.shape[1],
        "arrays": {name: as_bytes(array, np.float32) for name, array in arrays.items()},
        **scoring_picture(recorded, epoch),
    }


def in_force(shown: Any) -> Config:
    """The settings of what is shown, with the coefficients that were in force where they adapt."""
    return with_coefficients(shown.config, shown) if isinstance(shown, Snapshot) else shown.config


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


def loss_kls(config: Config, rows: int, record: Any) -> Array | None:
    """``[B, T]`` in nats, each token's KL to the reference as the epoch's loss had it; None where the loss has none."""
    if record is None or config.kl_in != "loss" or config.kl_coef == 0:
        return None
    kls: Array = KL_ESTIMATORS[config.kl_estimator](record.ref_log_ratios[:rows])
    return kls


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


def as_bytes(array: Any, dtype: Any) -> bytes:
    """An array as the browser reads it: in one piece, of this type."""
    return np.ascontiguousarray(array, dtype=dtype).tobytes()
