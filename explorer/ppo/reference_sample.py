"""Answers of the untouched policy, scored: what a run's score and judge are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from explorer.config import Config
from explorer.ppo.prompts import encode
from explorer.ppo.rollouts import collect
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
        judge: ``[P, m]`` what the held-out judge gives each; None where there is none.
    """

    components: Mapping[str, Tensor]
    judge: Tensor | None


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
    rollout, _ = collect(
        reference,
        reference,
        prompt_ids[answered],
        prompt_mask[answered],
        uniforms.to(reference.device),
        plain,
        sentence_ends(reference),
        answered,
    )
    components = trainer.score(config, rollout, rows)
    judged = trainer.judge(config, rollout, rows, components)
    shape = (len(prompts), ANSWERS)
    return ScoredAnswers(
        components={name: values.cpu().reshape(shape) for name, values in components.items()},
        judge=None if judged is None else judged.cpu().reshape(shape),
    )
