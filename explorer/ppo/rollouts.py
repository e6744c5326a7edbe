"""Collect trajectories: responses sampled from the old policy, each token scored under it and under the reference."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from explorer.config import Config
from explorer.ppo.clock import Clock
from explorer.ppo.kl import exact_kl_tokens
from explorer.ppo.policy import Policy, TokenScores
from explorer.ppo.records import Rollout
from explorer.ppo.sampling import SentenceEnds, sample

#: The likeliest tokens kept at every position, for "what else could it have said".
TOP_ALTERNATIVES = 8


class GreedyAnswers(NamedTuple):
    """The policy's likeliest answer, token by token, to each of ``N`` different prompts: ReMax's baseline."""

    response_ids: Tensor  # [N, T]
    response_mask: Tensor  # [N, T] bool
    ref_logprobs: Tensor  # [N, T] under the reference, in nats
    rows: Tensor  # [N] a row of the batch that answers the same prompt
    of_group: Tensor  # [groups] which of the N answers is to the group's prompt


class Collected(NamedTuple):
    """What one round of sampling gives."""

    rollout: Rollout
    greedy: GreedyAnswers | None  # for ReMax, from the same sampling call
    forward: TokenScores | None  # the old policy's over all rows, with its graph, where it was asked for


@torch.no_grad()
def collect(
    policy: Policy,
    reference: Policy,
    prompt_ids: Tensor,
    prompt_mask: Tensor,
    uniforms: Tensor,
    config: Config,
    ends: SentenceEnds,
    answered: Tensor,
    clock: Clock | None = None,
    *,
    keep_graph: bool = False,
) -> Collected:
    """Sample one response a row from the policy and score every token of it.

    The old log-probabilities come from the very forward that the trainer optimises with, not from the sampler, so that
    the first ratio of the update is exactly 1. All tensors lie where the policy and the reference do.

    Args:
        policy: the old policy.
        reference: the frozen reference.
        prompt_ids: ``[B, P]``, left-padded, the rows of a group next to each other.
        prompt_mask: ``[B, P]`` bool.
        uniforms: ``[B, T]`` in [0, 1): the only source of randomness.
        config: temperature, stop_sentences, group_size and estimator are read.
        ends: which tokens end a sentence, from ``sentence_ends``.
        answered: ``[B]`` which prompt each row answers, from ``rows_for``.
        clock: started; marks ``sample``, ``old`` and ``reference``. None takes no times.
        keep_graph: whether the old policy's forward is kept with what its backward pass needs, for a first step that
            would ask the very same of the very same weights.
    """
    clock = clock or Clock(policy.device)
    rows, every = len(prompt_ids), torch.arange(len(prompt_ids), device=prompt_ids.device)
    extra = every[:0]
    if config.estimator == "remax":
        distinct, of_group = torch.unique(answered[:: config.group_size], return_inverse=True)
        extra = (answered == distinct[:, None]).int().argmax(1)  # the first row that answers each
    asked = torch.cat([every, extra])
    ids, mask, stopped = sample(
        policy,
        prompt_ids[asked],
        prompt_mask[asked],
        torch.cat([uniforms, uniforms.new_zeros(len(extra), uniforms.shape[1])]),
        temperature=config.temperature,
        stop_sentences=config.stop_sentences,
        ends=ends,
        greedy=torch.arange(len(asked), device=asked.device) >= rows if len(extra) else None,
    )
    clock.mark("sample")
    tokens = (prompt_ids, prompt_mask, ids[:rows], mask[:rows], config.temperature)
    with torch.set_grad_enabled(keep_graph):
        forward = policy.score_tokens(*tokens, entropy_grad=config.ent_coef > 0)
    old = forward.detached()
    scored = old.all_logprobs.shape[1]  # as far as the longest response
    missing = ids.shape[1] - scored
    top = old.all_logprobs.topk(min(TOP_ALTERNATIVES, old.all_logprobs.shape[-1]), dim=-1)
    top_ids = pad(top.indices, (0, 0, 0, missing))
    clock.mark("old")
    ref = reference.score_tokens(*tokens)
    exact_ref_kl = exact_kl_tokens(old.all_logprobs, ref.all_logprobs, mask[:rows, :scored])
    rollout = Rollout(
        prompt_ids=prompt_ids,
        prompt_mask=prompt_mask,
        response_ids=ids[:rows],
        response_mask=mask[:rows],
        stopped=stopped[:rows],
        old_logprobs=old.logprobs,
        ref_logprobs=ref.logprobs,
        old_values=old.values,
        entropies=old.entropies,
        exact_ref_kl=pad(exact_ref_kl, (0, missing)),
        groups=every // config.group_size,
        top_ids=top_ids,
        top_logprobs=pad(top.values, (0, 0, 0, missing)),
        ref_top_logprobs=ref.at(top_ids, mask[:rows]),
    )
    greedy = None
    if len(extra):  # a reward component may ask what the reference thinks of them
        answers = (prompt_ids[extra], prompt_mask[extra], ids[rows:], mask[rows:])
        likely = reference.score_tokens(*answers, config.temperature).logprobs
        greedy = GreedyAnswers(ids[rows:], mask[rows:], likely, extra, of_group)
    clock.mark("reference")
    return Collected(rollout, greedy, forward if keep_graph else None)
