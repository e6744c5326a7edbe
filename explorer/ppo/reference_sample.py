"""Answers of the untouched policy, scored: what a run's score and judge are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from explorer.config import Config
from explorer.ppo.prompts import encode
from explorer.ppo.records import Array, Rollout
from explorer.ppo.rollouts import GreedyAnswers, collect
from explorer.ppo.sampling import generator, sentence_ends
from explorer.ppo.streams import BEST_OF_N

if TYPE_CHECKING:
    from explorer.ppo.trainer import Trainer

#: Prompts that are answered, and answers to each.
PROMPTS, ANSWERS = 16, 64


@dataclass(frozen=True, kw_only=True)
class ScoredAnswers:
    """Answers of the reference to some prompts.

    Attributes:
        components: ``{name: [P, m]}`` every reward component before its weight.
        judge: ``[P, m]`` what the held-out judge gives each; None where there is none. Torch, or numpy once handed on.
    """

    components: Mapping[str, Array]
    judge: Array | None


def asked_prompts(prompts: list[str]) -> list[str]:
    """At most ``PROMPTS`` of the training prompts, evenly spread over them."""
    count = min(PROMPTS, len(prompts))
    return [prompts[place * len(prompts) // count] for place in range(count)]


@torch.no_grad()
def sample_reference(trainer: Trainer, config: Config, first: int, prompts: list[str]) -> ScoredAnswers:
    """Have the reference answer some prompts ``ANSWERS`` times each, and score the answers.

    The random numbers are those of (seed, first) alone, so that a prompt is answered alike whatever else is asked.

    Args:
        trainer: whose reference and components are meant.
        config: how answers are drawn and scored.
        first: the number of the first of the prompts among those that are asked.
        prompts: at least one.
    """
    rows = [prompt for prompt in prompts for _ in range(ANSWERS)]
    # The groups, the estimator and a KL target say nothing about how the reference answers, and may not suit the batch.
    plain = config.replace(
        estimator="gae", kl_target=None, minibatches=1, batch_size=len(rows), group_size=ANSWERS, kl_estimator="k1"
    )
    reference = trainer.reference
    prompt_ids, prompt_mask = encode(reference, prompts, plain.response_length)
    answered = torch.arange(len(prompts)).repeat_interleave(ANSWERS).to(reference.device)
    uniforms = torch.rand(len(rows), plain.response_length, generator=generator(config.seed, first, BEST_OF_N))
    rollout = collect(
        reference,
        reference,
        prompt_ids[answered],
        prompt_mask[answered],
        uniforms.to(reference.device),
        plain,
        sentence_ends(reference),
        answered,
    ).rollout
    return _scored(trainer, config, rollout, prompts)


def _scored(trainer: Trainer, config: Config, rollout: Rollout, prompts: list[str]) -> ScoredAnswers:
    """Score the answers batch by batch, a group to each prompt, as in training: diversity looks at the whole batch."""
    places = torch.arange(len(prompts) * ANSWERS).reshape(len(prompts), ANSWERS)
    parts, judged = [], []
    for group in places.split(config.group_size, dim=1):
        picked = group.flatten()
        rows = picked.to(rollout.response_ids.device)
        seen = GreedyAnswers(
            rollout.response_ids[rows], rollout.response_mask[rows], rollout.ref_logprobs[rows], rows, rows
        )
        asked = [prompts[int(place) // ANSWERS] for place in picked]
        components = trainer.reward_model.score(config, seen, asked)
        found = trainer.reward_model.judge(config, seen, asked, components)
        parts.append({name: values.cpu().reshape(group.shape) for name, values in components.items()})
        judged += [] if found is None else [found.cpu().reshape(group.shape)]
    return ScoredAnswers(
        components={name: torch.cat([part[name] for part in parts], dim=1) for name in parts[0]},
        judge=torch.cat(judged, dim=1) if judged else None,
    )
