"""The token quantities: what each is, and the fixed scale on which it is coloured and drawn.

Scales are fixed while a run goes on: a redraw must never recolour the past.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from explorer.ppo.metrics import KL_ESTIMATORS
from explorer.ppo.records import Credit, Epoch, Rollout

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Quantity:
    """One number a token.

    Attributes:
        kind: ``ratio`` diverges from 1 in the logarithm, ``diverging`` from 0, ``sequential`` rises from ``low``.
        low, high: the ends of the scale; numbers beyond are drawn at the end and marked.
        unit: what it is measured in, a key of ``ui.units``, or "" for none.
        of: its ``[B, T]`` array out of the records; None where an unfinished update or an older recording lacks them.
    """

    kind: Literal["ratio", "diverging", "sequential"]
    low: float
    high: float
    unit: str
    of: Callable[[Rollout, Credit | None, Epoch | None], Array | None]


def _rollout(read: Callable[[Rollout], Array]) -> Callable[[Rollout, Credit | None, Epoch | None], Array | None]:
    return lambda rollout, credit, epoch: read(rollout)


def _credit(read: Callable[[Credit], Array]) -> Callable[[Rollout, Credit | None, Epoch | None], Array | None]:
    return lambda rollout, credit, epoch: None if credit is None else read(credit)


def _epoch(read: Callable[[Epoch], Array]) -> Callable[[Rollout, Credit | None, Epoch | None], Array | None]:
    """An epoch's array, its fresh rows only: replayed rows are not on screen."""
    return lambda rollout, credit, epoch: None if epoch is None else read(epoch)[: len(rollout.stopped)]


def _probability(logprobs: Array, mask: Array) -> Array:
    return np.where(mask, np.exp(logprobs), 0.0)


def _log_ratio(rollout: Rollout, credit: Credit | None, epoch: Epoch | None) -> Array | None:
    """How much the token's log-probability has changed since it was sampled, in nats."""
    if epoch is None:
        return None
    moved: Array = epoch.new_logprobs[: len(rollout.stopped)] - rollout.old_logprobs
    return np.where(rollout.response_mask, moved, 0.0)


def _age(rollout: Rollout, credit: Credit | None, epoch: Epoch | None) -> Array | None:
    """How many updates ago the token was sampled."""
    if epoch is None:
        return None
    ages: Array = epoch.ages[: len(rollout.stopped), None]
    return np.where(rollout.response_mask, ages, 0)


def _estimated(name: str) -> Callable[[Rollout, Credit | None, Epoch | None], Array | None]:
    """An estimator of the KL to the reference, whichever of them the reward uses."""
    return _rollout(lambda r: KL_ESTIMATORS[name](r.old_logprobs - r.ref_logprobs))


#: Every token quantity by name, in the order of the menu.
QUANTITIES: dict[str, Quantity] = {
    "ratio": Quantity("ratio", 0.5, 2.0, "", _epoch(lambda e: e.ratios)),
    "advantage": Quantity("diverging", -3.0, 3.0, "", _credit(lambda c: c.whitened_advantages)),
    "raw_advantage": Quantity("diverging", -1.5, 1.5, "", _credit(lambda c: c.advantages)),
    "ref_kl": Quantity("diverging", -2.0, 2.0, "nats", _credit(lambda c: c.ref_kl)),
    "reward": Quantity("diverging", -1.0, 1.0, "", _credit(lambda c: c.rewards)),
    "value": Quantity("diverging", -1.5, 1.5, "", _rollout(lambda r: r.old_values)),
    "return": Quantity("diverging", -1.5, 1.5, "", _credit(lambda c: c.returns)),
    "delta": Quantity("diverging", -1.0, 1.0, "", _credit(lambda c: c.deltas)),
    "entropy": Quantity("sequential", 0.0, 5.0, "nats", _rollout(lambda r: r.entropies)),
    "old_probability": Quantity(
        "sequential", 0.0, 1.0, "", _rollout(lambda r: _probability(r.old_logprobs, r.response_mask))
    ),
    "new_probability": Quantity(
        "sequential",
        0.0,
        1.0,
        "",
        lambda r, c, e: None if e is None else _probability(e.new_logprobs[: len(r.stopped)], r.response_mask),
    ),
    "ref_probability": Quantity(
        "sequential", 0.0, 1.0, "", _rollout(lambda r: _probability(r.ref_logprobs, r.response_mask))
    ),
    "log_ratio": Quantity("diverging", -1.0, 1.0, "nats", _log_ratio),
    "k1": Quantity("diverging", -2.0, 2.0, "nats", _estimated("k1")),
    "k2": Quantity("sequential", 0.0, 2.0, "nats", _estimated("k2")),
    "k3": Quantity("sequential", 0.0, 2.0, "nats", _estimated("k3")),
    "exact_kl": Quantity("sequential", 0.0, 2.0, "nats", _rollout(lambda r: r.exact_ref_kl)),
    "gradient_share": Quantity("sequential", 0.0, 0.01, "share", _epoch(lambda e: e.gradient_shares)),
    "age": Quantity("sequential", 0.0, 8.0, "updates", _age),
}

#: Quantities that no record holds, since they cost too much to come with every update: see explorer.views.parts. The
#: unit is the part that every token would have if all pulled alike, so that it does not depend on the batch.
ON_DEMAND: dict[str, tuple[Literal["diverging"], float, float, str]] = {
    "gradient_part": ("diverging", -10.0, 10.0, "even_shares"),
}


def scales() -> dict[str, dict[str, Any]]:
    """The quantities as the browser needs them: ``{name: {kind, low, high, unit}}``."""
    recorded = {name: (q.kind, q.low, q.high, q.unit) for name, q in QUANTITIES.items()}
    keys = ("kind", "low", "high", "unit")
    return {name: dict(zip(keys, scale, strict=True)) for name, scale in {**recorded, **ON_DEMAND}.items()}
