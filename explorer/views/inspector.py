"""The inspector's picture: what else could have stood at each position, and whether each token moved as it should.

A pure function of what is shown. The browser gets what the batch on screen does not hold already: the alternatives
under the policy that is trained and under the reference, and the log-probabilities whose difference is the movement.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from explorer.views.quantities import Array

#: Log-probabilities that differ by less have not moved: two forwards of the same weights may add up in another order.
STILL = 1e-5

#: Whether a token moved as its advantage asked, as the browser gets it; NEUTRAL has the advantage 0, or is masked.
NEUTRAL, AS_WANTED, AGAINST, UNMOVED = range(4)


def inspector_picture(shown: Any, epoch: int = -1) -> dict[str, Any]:
    """What the inspector draws beside the batch.

    Args:
        shown: a Snapshot, or an Unfinished update with as much as there is.
        epoch: which of its epochs; -1 is the policy after the last step.

    Returns:
        ``update`` and ``epoch`` as in ``batch_picture``; ``place``, ``int8 [B * T]``: which of the alternatives the
        token is, -1 where it is none. As ``float32``: ``old``, ``new`` and ``ref``, ``[B * T]`` log-probabilities of
        the token; ``new_top`` and ``ref_top``, ``[B * T * K]``, of the alternatives; ``new_entropy``. ``promise``, see
        ``promises``. None in place of what is not there yet, or was not recorded.
    """
    rollout = shown.rollout
    record = shown.epochs[epoch] if shown.epochs else None
    rows = len(rollout.stopped)
    return {
        "update": shown.update,
        "epoch": epoch % len(shown.epochs) + 1 if shown.epochs else 0,
        "place": _places(rollout).tobytes(),
        "old": _bytes(rollout.old_logprobs),
        "ref": _bytes(rollout.ref_logprobs),
        "new": None if record is None else _bytes(record.new_logprobs[:rows]),
        "ref_top": _bytes(rollout.ref_top_logprobs),
        "new_top": None if record is None else _bytes(record.top_logprobs),
        "new_entropy": None if record is None else _bytes(record.entropies[:rows]),
        "promise": None
        if record is None or shown.credit is None
        else promises(
            shown.credit.whitened_advantages,
            record.new_logprobs[:rows] - rollout.old_logprobs,
            rollout.response_mask,
        ),
    }


def promises(advantages: Array, moved: Array, mask: Array) -> dict[str, Any]:
    """Whether each token became likelier where its advantage is positive, and rarer where it is negative.

    Args:
        advantages: ``[B, T]`` as the objective sees them.
        moved: ``[B, T]`` change of the token's log-probability, in nats.
        mask: ``[B, T]`` bool.

    Returns:
        ``states``, ``uint8 [B * T]``: NEUTRAL, AS_WANTED, AGAINST or UNMOVED. ``as_wanted``, ``against``, ``unmoved``
        and ``neutral``: how many tokens are. ``furthest``: ``[response, token]`` of the one that moved furthest
        against its advantage; None where none did.
    """
    wanted = mask & (advantages != 0)
    states = np.where(np.sign(advantages) == np.sign(moved), AS_WANTED, AGAINST)
    states = np.where(np.abs(moved) < STILL, UNMOVED, states)
    states = np.where(wanted, states, NEUTRAL).astype(np.uint8)
    against = states == AGAINST
    furthest = np.unravel_index(int(np.where(against, np.abs(moved), -1.0).argmax()), mask.shape)
    return {
        "states": states.tobytes(),
        "as_wanted": int((states == AS_WANTED).sum()),
        "against": int(against.sum()),
        "unmoved": int((states == UNMOVED).sum()),
        "neutral": int((mask & (states == NEUTRAL)).sum()),
        "furthest": [int(place) for place in furthest] if against.any() else None,
    }


def _places(rollout: Any) -> Array:
    """``[B, T]`` int8: which of the alternatives each token is, -1 where it is none of them."""
    own = rollout.top_ids == rollout.response_ids[..., None]
    return np.where(own.any(axis=-1), own.argmax(axis=-1), -1).astype(np.int8)


def _bytes(array: Any) -> bytes | None:
    return None if array is None else np.ascontiguousarray(array, dtype=np.float32).tobytes()
