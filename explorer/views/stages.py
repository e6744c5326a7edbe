"""What the stage that has just ended did, in this batch's own numbers: the sentence of slow motion.

A pure function of the session; every number comes out of the records so far.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from explorer.session.progress import Progress


def stage_picture(session: Any) -> dict[str, Any]:
    """The finished stage with its numbers, while an update is shown stage by stage.

    Returns:
        ``stage``, a key of ``stages`` in the labels; ``told``, which of its sentences; and the numbers of that
        sentence: counts as int, all others as float, ``outside`` in percent, KL in nats. Empty at full speed.
    """
    progress = session.progress
    if not session.stages_shown:
        return {}
    if progress is None or progress.finished == "":
        first = progress is None or progress.update == 1
        told = {"stage": "initialise"} if first else {"stage": "repeat", "update": progress.update - 1}
        return told | {"told": "did"}
    if progress.finished == "done":
        return {"stage": "done", "told": "did", **_whole(session, progress.update)}
    if progress.unfinished is None:
        return {}
    return {"stage": progress.finished, **TOLD[progress.finished](progress.unfinished, progress)}


def _sampled(shown: Any, progress: Progress) -> dict[str, Any]:
    mask = shown.rollout.response_mask
    entropy = float(shown.rollout.entropies[mask].mean())
    return {"told": "did", "responses": len(mask), "tokens": int(mask.sum()), "entropy": entropy}


def _scored(shown: Any, progress: Progress) -> dict[str, Any]:
    scores = shown.scores
    return {"told": "did", "score": float(scores.mean()), "low": float(scores.min()), "high": float(scores.max())}


def _shaped(shown: Any, progress: Progress) -> dict[str, Any]:
    mask, config = shown.rollout.response_mask, shown.config
    kl = float(np.where(mask, shown.credit.ref_kl, 0.0).sum(1).mean())
    told = "did" if config.kl_in == "reward" else "did_in_loss"
    return {"told": told, "score": float(shown.credit.scores.mean()), "kl": kl, "penalty": -config.kl_coef * kl}


def _credited(shown: Any, progress: Progress) -> dict[str, Any]:
    advantages = shown.credit.whitened_advantages[shown.rollout.response_mask]
    spread = float(advantages.std(ddof=1)) if advantages.size > 1 else 0.0  # as whitening has it
    numbers = {"mean": float(advantages.mean()), "sd": spread, "above": int((advantages > 0).sum())}
    return {"told": "did" if shown.config.whiten else "did_plain", "tokens": advantages.size, **numbers}


def _optimised(shown: Any, progress: Progress) -> dict[str, Any]:
    epoch, limit = shown.epochs[-1], shown.config.max_grad_norm
    counted = epoch.ratios > 0  # exactly 0 outside the mask
    told = "did_free" if limit is None else "did_cut" if epoch.grad_norm > limit else "did"
    return {
        "told": told,
        "epoch": len(shown.epochs),
        "epochs": progress.epochs,
        "outside": 100 * float(epoch.outside_range[counted].mean()),
        "norm": float(epoch.grad_norm),
        "limit": limit,
    }


def _whole(session: Any, update: int) -> dict[str, Any]:
    snapshot = session.history.last
    if snapshot is None or snapshot.update != update:
        return {"update": update, "score": None, "kl": None, "outside": None}
    metrics = snapshot.metrics
    outside = 100 * metrics["policy/outside_range_final"]
    return {
        "update": update,
        "score": metrics["objective/score"],
        "kl": metrics["objective/ref_kl"],
        "outside": outside,
    }


#: What is told of each stage that can have ended.
TOLD = {"sample": _sampled, "score": _scored, "shape": _shaped, "advantage": _credited, "epoch": _optimised}
