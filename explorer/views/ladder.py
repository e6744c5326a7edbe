"""The ladder's picture: the same tokens' advantages by four estimators, and how good the critic is.

A pure function of what is shown; every number comes out of ``explorer.ppo``. The stack itself, the later tokens' deltas
times (gamma lambda)^l, needs none of this: the browser makes it of the deltas that it has.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from explorer.config import GROUPED

#: What stands in the row for Monte Carlo if it is the estimator in force; otherwise ``monte_carlo_value``.
WITHOUT_CRITIC = ("monte_carlo", "total_return")


def compared(estimator: str) -> tuple[str, ...]:
    """The four estimators side by side; the one in force takes the place of its like."""
    far = estimator if estimator in WITHOUT_CRITIC else "monte_carlo_value"
    return "gae", far, "one_step_td", estimator if estimator in GROUPED else "group_mean"


def ladder_picture(shown: Any) -> dict[str, Any]:
    """What the ladder draws beside the batch.

    Args:
        shown: a Snapshot, or an Unfinished update with as much as there is.

    Returns:
        ``update``; ``estimator``, that in force; ``rows``, one an estimator, each with its ``name`` and ``advantages``,
        ``float32 [B * T]`` before whitening, or None where the batch lacks what it would read;
        ``explained_variance``, the metric's. Empty before there are rewards.
    """
    if shown.credit is None:
        return {}
    import torch

    from explorer.ppo.advantages import ADVANTAGES
    from explorer.ppo.metrics import explained_variance

    rollout, credit, config = shown.rollout, shown.credit, shown.config

    def live(array: Any) -> torch.Tensor:
        return torch.from_numpy(np.array(array))

    rewards, values, mask, groups = map(
        live, (credit.rewards, rollout.old_values, rollout.response_mask, rollout.groups)
    )
    alone = bool((torch.bincount(groups) < 2).any())
    rows = []
    for name in compared(config.estimator):
        found = None
        if not (alone and name in GROUPED):
            found = ADVANTAGES[name](
                rewards, values, mask, gamma=config.gamma, gae_lambda=config.gae_lambda, groups=groups
            )
        rows.append({"name": name, "advantages": None if found is None else found.float().numpy().tobytes()})
    return {
        "update": shown.update,
        "estimator": config.estimator,
        "rows": rows,
        "explained_variance": explained_variance(live(credit.returns), values, mask),
    }
