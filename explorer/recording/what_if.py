"""The same samples under a new scoring: a snapshot recomputed under another Config, through ppo's own functions.

What the sliders do to the batch on screen. The responses, the log-probabilities and so the ratios stay those of the
training that happened; scores, rewards, advantages, the clip and every number that follows from them are new.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from explorer.config import Config, effect_of
from explorer.recording.snapshot import Snapshot, freeze

if TYPE_CHECKING:
    from torch import Tensor


def rescored(config: Config, snapshot: Snapshot) -> Config:
    """The snapshot's Config with only those fields of ``config`` that can re-score a recorded batch."""
    changed = {name: new for name, (new, _) in config.differences(snapshot.config).items()}
    return snapshot.config.replace(**{name: new for name, new in changed.items() if effect_of(name) == "what_if"})


def what_if(snapshot: Snapshot, config: Config) -> Snapshot:
    """The snapshot as it would have been scored under ``config``.

    Args:
        snapshot: a recorded update.
        config: its re-scoring fields are used (clip range, KL, weights, advantages, objective), no others: the
            policy was trained with the learning rate and epochs that it was.

    Returns:
        A snapshot with the same rollout and ratios, and new credit, clip, terms and metrics. Under the snapshot's own
        config it equals the snapshot. A reward component that the recording lacks counts as absent.
    """
    import torch

    from explorer.ppo.credit import assign_credit
    from explorer.ppo.masked import masked_sum
    from explorer.ppo.metrics import measure
    from explorer.ppo.objectives import curve, judge_tokens, value_terms
    from explorer.ppo.rewards.score import weighted

    def live(array: Any) -> Tensor:
        return torch.from_numpy(np.array(array))

    config = rescored(config, snapshot)
    with torch.no_grad():
        rollout, recorded = snapshot.rollout.map(live), snapshot.credit.map(live)
        scores = weighted(recorded.reward_components, config.weights)
        credit = assign_credit(config, rollout, recorded.reward_components, scores)
        epochs = []
        for epoch in (epoch.map(live) for epoch in snapshot.epochs):
            fresh = len(scores)
            advantages = torch.cat([credit.whitened_advantages, epoch.advantages[fresh:]])
            mask = epoch.ratios > 0  # a ratio is exactly 0 outside the mask and positive inside it
            mask[:fresh] = rollout.response_mask
            log_ratios = torch.where(mask, epoch.ratios, 1.0).log()
            log_ratios[:fresh] = epoch.new_logprobs[:fresh] - rollout.old_logprobs
            tokens = judge_tokens(log_ratios, advantages, mask, config)
            counted = mask.sum().clamp(min=1)
            # The value head's targets are new for the fresh rows; what the replayed rows added to the loss stays.
            before, after = (
                value_terms(epoch.values[:fresh], rollout.old_values, targets, config.value_clip_range)
                for targets in (recorded.returns, credit.returns)
            )
            moved = masked_sum(after, rollout.response_mask) - masked_sum(before, rollout.response_mask)
            epochs.append(
                dataclasses.replace(
                    epoch,
                    advantages=advantages,
                    outside_range=tokens.outside_range,
                    zero_gradient=tokens.zero_gradient,
                    gradient_shares=tokens.gradient_shares,
                    policy_terms=tokens.terms,
                    policy_loss=-float(tokens.terms.sum() / counted),
                    value_loss=epoch.value_loss + float(moved / counted),
                    clipfrac=float(tokens.zero_gradient.sum() / counted),
                )
            )
        steps = int(snapshot.metrics["optim/steps"])
        metrics = {**snapshot.metrics, **measure(config, rollout, credit, tuple(epochs), steps)}
    return dataclasses.replace(
        snapshot,
        config=config,
        credit=credit.map(freeze),
        epochs=tuple(epoch.map(freeze) for epoch in epochs),
        curve=curve(config).map(freeze),
        metrics=metrics,
    )
