"""Collect trajectories: responses sampled from the old policy, each token scored under it and under the reference."""

from __future__ import annotations

import torch
from torch import Tensor

from explorer.config import Config
from explorer.ppo.policy import Policy
from explorer.ppo.records import Rollout
from explorer.ppo.sampling import sample

#: The likeliest tokens kept at every position, for "what else could it have said".
TOP_ALTERNATIVES = 8


@torch.no_grad()
def collect(
    policy: Policy,
    reference: Policy,
    prompt_ids: Tensor,
    prompt_mask: Tensor,
    uniforms: Tensor,
    config: Config,
    ends: Tensor,
) -> Rollout:
    """Sample one response a row from the policy and score every token of it.

    The old log-probabilities come from the very forward that the trainer optimises with, not from the sampler, so that
    the first ratio of the update is exactly 1.

    Args:
        policy: the old policy.
        reference: the frozen reference.
        prompt_ids: ``[B, P]``, left-padded.
        prompt_mask: ``[B, P]`` bool.
        uniforms: ``[B, T]`` in [0, 1): the only source of randomness.
        config: temperature and stop_sentences are read.
        ends: ``[V]`` bool, the tokens that end a sentence.
    """
    response_ids, mask, stopped = sample(
        policy,
        prompt_ids,
        prompt_mask,
        uniforms,
        temperature=config.temperature,
        stop_sentences=config.stop_sentences,
        ends=ends,
    )
    tokens = (prompt_ids, prompt_mask, response_ids, mask, config.temperature)
    old, ref = policy.score_tokens(*tokens), reference.score_tokens(*tokens)
    top = old.all_logprobs.topk(min(TOP_ALTERNATIVES, old.all_logprobs.shape[-1]), dim=-1)
    return Rollout(
        prompt_ids=prompt_ids,
        prompt_mask=prompt_mask,
        response_ids=response_ids,
        response_mask=mask,
        stopped=stopped,
        old_logprobs=old.logprobs,
        ref_logprobs=ref.logprobs,
        old_values=old.values,
        entropies=old.entropies,
        top_ids=top.indices,
        top_logprobs=top.values,
    )
