"""The same samples under a new scoring: a snapshot recomputed under another Config, through ppo's own functions.

What the sliders do to the batch on screen. The responses, the log-probabilities and so the ratios stay those of the
training that happened; scores, rewards, advantages, the clip and every number that follows from them are new.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from explorer.config import GROUPED, Config, effect_of
from explorer.ppo.records import Credit, Epoch, Rollout
from explorer.recording.snapshot import Snapshot, freeze

if TYPE_CHECKING:
    from torch import Tensor


def lacking(config: Config, snapshot: Snapshot) -> dict[str, str]:
    """What the recorded batch lacks for a scoring under ``config``: ``{field: what it would take}``.

    Such a field takes effect from the next update. What it would take is one of

    - ``greedy``: the greedy answers, ReMax's baseline, which are sampled under that estimator alone;
    - ``groups``: several responses to a prompt, for an estimator that compares those;
    - ``exact_kl``: the exact KL, which is in no recording made before it was kept;
    - ``component``: the scores of a reward component that was not there yet;
    - ``estimator``: another estimator, which has to wait itself, and with which the value was chosen.
    """
    changed = {name: new for name, (new, _) in config.differences(snapshot.config).items()}
    estimator, found = changed.get("estimator"), {}
    if estimator in GROUPED and snapshot.config.group_size == 1:
        found["estimator"] = "groups"
    elif estimator == "remax" and not snapshot.credit.greedy_components:
        found["estimator"] = "greedy"
    if "estimator" in found and snapshot.config.estimator == "remax" and "whiten_rewards" in changed:
        found["whiten_rewards"] = "estimator"
    if changed.get("kl_estimator") == "exact" and snapshot.rollout.exact_ref_kl is None:
        found["kl_estimator"] = "exact_kl"
    scored = snapshot.credit.reward_components
    weighed = {name: name.removeprefix("weight_") for name in changed if name.startswith("weight_")}
    return found | {field: "component" for field, name in weighed.items() if name not in scored and changed[field] != 0}


def rescored(config: Config, snapshot: Snapshot) -> Config:
    """The snapshot's Config with only those fields of ``config`` that can re-score a recorded batch.

    What the batch lacks something for stays as recorded: see ``lacking``.
    """
    changed = {name: new for name, (new, _) in config.differences(snapshot.config).items()}
    waiting = lacking(config, snapshot)
    taken = {name: new for name, new in changed.items() if effect_of(name) == "what_if" and name not in waiting}
    return snapshot.config.replace(**taken)


def with_coefficients(config: Config, snapshot: Snapshot) -> Config:
    """The config with the coefficients that were in force in the snapshot's update.

    Coefficients may adapt from update to update, so those of the update need not be its config's. One that the config
    sets to something else stays as it is set.
    """
    asked = snapshot.config
    recorded = {"kl_coef": snapshot.metrics.get("coef/kl"), "penalty_coef": snapshot.metrics.get("coef/penalty")}
    kept = {n: v for n, v in recorded.items() if v is not None and getattr(config, n) == getattr(asked, n)}
    return config.replace(**kept)


def what_if(snapshot: Snapshot, config: Config, *, epoch: int | None = None) -> Snapshot:
    """The snapshot as it would have been scored under ``config``.

    Args:
        snapshot: a recorded update.
        config: its re-scoring fields are used (clip range, KL, weights, advantages, objective), no others: the
            policy was trained with the learning rate and epochs that it was. A coefficient that adapts is the one that
            was in force, unless ``config`` sets another.
        epoch: re-score this one of the epochs alone, for a screen that shows one while a slider is dragged; the other
            epochs and the metrics, which are over all of them, then stay as recorded, but for the coefficients in
            force. None re-scores everything.

    Returns:
        A snapshot with the same rollout and ratios, and new credit, clip, terms and metrics. Under the snapshot's own
        config it equals the snapshot. A reward component that the recording lacks counts as absent.
    """
    import torch

    from explorer.ppo.credit import assign_credit
    from explorer.ppo.metrics import measure
    from explorer.ppo.objectives import curve
    from explorer.ppo.rewards.score import weighted
    from explorer.ppo.schedule import scheduled
    from explorer.ppo.streams import minibatches

    def live(array: Any) -> Tensor:
        return torch.from_numpy(np.array(array))

    requested = rescored(config, snapshot)
    config = scheduled(with_coefficients(requested, snapshot), snapshot.update)
    with torch.no_grad():
        rollout, recorded = snapshot.rollout.map(live), snapshot.credit.map(live)
        scores = weighted(recorded.reward_components, config.weights)
        credit = assign_credit(config, rollout, recorded.reward_components, scores, recorded.greedy_components)
        credit = dataclasses.replace(credit, judge=recorded.judge)
        places, metrics = range(len(snapshot.epochs)), dict(snapshot.metrics)

        def judge(place: int) -> Epoch:
            record = snapshot.epochs[place].map(live)
            rows = record.ratios.shape[0]
            parts = minibatches(config.seed, snapshot.update, place + 1, rows=rows, count=config.minibatches)
            # After the last step there is none to come.
            steps = None if place == places[-1] else [torch.from_numpy(rows) for rows in parts]
            return _judged(record, config, rollout, recorded.returns, credit, steps)

        judged = {place: judge(place) for place in (places if epoch is None else [places[epoch]])}
        if epoch is None:
            metrics |= measure(config, rollout, credit, tuple(judged.values()), int(metrics["optim/steps"]))
        metrics |= {"coef/kl": config.kl_coef, "coef/penalty": config.penalty_coef}  # by which with_coefficients goes
    return dataclasses.replace(
        snapshot,
        config=requested,
        credit=credit.map(freeze),
        epochs=tuple(judged[i].map(freeze) if i in judged else old for i, old in enumerate(snapshot.epochs)),
        curve=curve(config).map(freeze),
        metrics=metrics,
    )


def _judged(
    epoch: Epoch,
    config: Config,
    rollout: Rollout,
    recorded_returns: Tensor,
    credit: Credit,
    steps: Sequence[Tensor] | None,
) -> Epoch:
    """An epoch's tokens judged by the config's objective on the new credit; live tensors in, live tensors out."""
    import torch

    from explorer.ppo.masked import masked_sum
    from explorer.ppo.objectives import judge_tokens, value_terms

    fresh = rollout.response_mask.shape[0]
    advantages = torch.cat([credit.whitened_advantages, epoch.advantages[fresh:]])
    mask = epoch.ratios > 0  # a ratio is exactly 0 outside the mask and positive inside it
    mask[:fresh] = rollout.response_mask
    log_ratios = torch.where(mask, epoch.ratios, 1.0).log()
    log_ratios[:fresh] = epoch.new_logprobs[:fresh] - rollout.old_logprobs
    tokens = judge_tokens(log_ratios, advantages, mask, config, epoch.ref_log_ratios, steps)
    counted = mask.sum().clamp(min=1)
    # The value head's targets are new for the fresh rows; what the replayed rows added to the loss stays.
    before, after = (
        value_terms(epoch.values[:fresh], rollout.old_values, targets, config.value_clip_range)
        for targets in (recorded_returns, credit.returns)
    )
    moved = masked_sum(after, rollout.response_mask) - masked_sum(before, rollout.response_mask)
    return dataclasses.replace(
        epoch,
        advantages=advantages,
        outside_range=tokens.outside_range,
        zero_gradient=tokens.zero_gradient,
        gradient_shares=tokens.gradient_shares,
        policy_terms=tokens.terms,
        policy_loss=-float(tokens.total),
        value_loss=epoch.value_loss + float(moved / counted),
        clipfrac=float(tokens.zero_gradient.sum() / counted),
    )
