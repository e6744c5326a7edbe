"""PPO as one would write it down in PyTorch, with a record of every token: the yardstick of the speed benchmark.

One function a step and no thought of speed beyond what everyone does: sampling uses the key-value cache, logits are
computed where they are needed, and what needs no gradient gets none. It uses nothing of the explorer, whose own update
must not be slower than this.
"""

from __future__ import annotations

import copy
import time
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

from tests.benchmarks.contender import Work, from_the_command_line, serve

TEMPERATURE, KL_COEF, GAMMA, GAE_LAMBDA, CLIP_RANGE, VALUE_COEF = 0.7, 0.05, 1.0, 0.95, 0.2, 0.1
LEARNING_RATE, MAX_GRAD_NORM, ALTERNATIVES = 1e-4, 1.0, 8


class Scores(NamedTuple):
    """What a forward says of the response tokens, ``[B, T]`` each but the last."""

    logprobs: Tensor
    entropies: Tensor
    values: Tensor
    distributions: Tensor  # [B, T, V]


class PlainLoop:
    """A random GPT-2, its reference, its critic, and AdamW.

    Args:
        work: the sizes, the device and the precision.
        critic: ``shared`` puts the value head on the policy's trunk, ``separate`` on a trunk of its own.
    """

    def __init__(self, work: Work, critic: str) -> None:
        torch.manual_seed(0)
        shape = GPT2Config(
            vocab_size=work.vocabulary,
            n_positions=work.positions,
            n_embd=work.width,
            n_layer=work.layers,
            n_head=work.heads,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
        )
        self.policy = GPT2LMHeadModel(shape).eval().to(work.device)
        self.reference = copy.deepcopy(self.policy)
        self.critic = copy.deepcopy(self.policy.transformer) if critic == "separate" else None
        self.value_head = nn.Linear(work.width, 1, device=work.device)
        learning = [self.policy, self.value_head, *([self.critic] if self.critic else [])]
        self.parameters = [parameter for module in learning for parameter in module.parameters()]
        self.adam = torch.optim.AdamW(self.parameters, lr=LEARNING_RATE, eps=1e-5, weight_decay=0.0)
        self.prompts = torch.randint(1, work.vocabulary, (work.batch, work.prompt)).to(work.device)
        self.work = work

    def update(self) -> dict[str, float]:
        """One update; gives the seconds of its stages."""
        clock = [time.perf_counter()]
        with torch.no_grad():
            responses = self.sample()
            clock.append(time.perf_counter())
            ended = responses == 0
            mask = ended.cumsum(1) - ended.long() == 0
            old, ref_logprobs = self.score(responses), self.score(responses, self.reference).logprobs
            advantages, returns = self.credit(responses, mask, old, ref_logprobs)
            top = old.distributions.topk(ALTERNATIVES)
            records: list[Tensor] = [responses, mask, *old[:3], ref_logprobs, advantages, returns, *top]
        clock.append(time.perf_counter())
        for _ in range(self.work.epochs):
            order = torch.randperm(len(responses), device=responses.device)
            for rows in order.chunk(self.work.minibatches):
                new = self.score(responses[rows], rows=rows)
                ratios = (new.logprobs - old.logprobs[rows]).exp()
                clipped = ratios.clamp(1 - CLIP_RANGE, 1 + CLIP_RANGE)
                terms = torch.minimum(ratios * advantages[rows], clipped * advantages[rows])
                squares = (new.values - returns[rows]) ** 2 / 2
                counted = mask[rows]
                loss = -terms[counted].mean() + VALUE_COEF * squares[counted].mean()
                (pull,) = torch.autograd.grad(terms[counted].sum(), new.logprobs, retain_graph=True)
                self.adam.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.parameters, MAX_GRAD_NORM)
                self.adam.step()
                shares = pull.abs() / pull.abs().sum()
                outside = (ratios - 1).abs() > CLIP_RANGE
                records += [*new[:3], ratios, terms, squares, shares, outside, (pull == 0) & (advantages[rows] != 0)]
        clock.append(time.perf_counter())
        with torch.no_grad():
            final = self.score(responses)
            records += [*final[:3], (final.logprobs - old.logprobs).exp()]
        self.record = [np.array(tensor.detach().cpu().numpy()) for tensor in records]
        clock.append(time.perf_counter())
        return dict(zip(("sample", "score", "epochs", "record"), np.diff(clock).tolist(), strict=True))

    def precision(self) -> torch.autocast:
        """Of the forwards."""
        return torch.autocast(self.work.device, torch.bfloat16, enabled=bool(self.work.bf16))

    def sample(self) -> Tensor:
        """A response to every prompt: ``[B, T]`` token ids."""
        ids, cache, drawn = self.prompts, None, []
        for _ in range(self.work.response):
            with self.precision():
                output = self.policy(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache = output.past_key_values
            ids = torch.multinomial(torch.softmax(output.logits[:, -1].float() / TEMPERATURE, dim=-1), 1)
            drawn.append(ids)
        return torch.cat(drawn, dim=1)

    def score(self, responses: Tensor, model: GPT2LMHeadModel | None = None, rows: Tensor | None = None) -> Scores:
        """Every response token under a model, the policy unless another is given; the values are the critic's."""
        prompts = self.prompts if rows is None else self.prompts[rows]
        ids = torch.cat([prompts, responses], dim=1)[:, :-1]  # the last token is predicted, never read
        lm, before_each = model or self.policy, slice(prompts.shape[1] - 1, None)
        with self.precision():
            hidden = lm.transformer(input_ids=ids, use_cache=False).last_hidden_state[:, before_each]
            logits = lm.lm_head(hidden)  # of the response's positions only
        distributions = torch.log_softmax(logits.float() / TEMPERATURE, dim=-1)
        logprobs = distributions.gather(2, responses[..., None])[..., 0]
        with torch.no_grad():
            entropies = -(distributions.exp() * distributions).sum(-1)
        if model is not None:
            return Scores(logprobs, entropies, torch.zeros_like(logprobs), distributions)
        with self.precision():
            separate = self.critic and self.critic(input_ids=ids, use_cache=False).last_hidden_state[:, before_each]
        return Scores(
            logprobs, entropies, self.value_head(hidden if separate is None else separate)[..., 0], distributions
        )

    def credit(self, responses: Tensor, mask: Tensor, old: Scores, ref_logprobs: Tensor) -> tuple[Tensor, Tensor]:
        """Whitened advantages and returns, ``[B, T]`` each; the reward is the share of even token ids."""
        scores = (responses % 2 == 0).float().mean(1)
        rewards = -KL_COEF * (old.logprobs - ref_logprobs) * mask
        rewards[torch.arange(len(mask), device=mask.device), mask.sum(1) - 1] += scores
        values, advantages = old.values * mask, torch.zeros_like(rewards)
        carried, following = torch.zeros_like(scores), torch.zeros_like(scores)
        for t in reversed(range(rewards.shape[1])):
            carried = rewards[:, t] + GAMMA * following - values[:, t] + GAMMA * GAE_LAMBDA * carried
            advantages[:, t], following = carried, values[:, t]
        counted = advantages[mask]
        return (advantages - counted.mean()) / (counted.std() + 1e-8), advantages + values


if __name__ == "__main__":
    torch.set_num_threads(1)
    serve(PlainLoop(*from_the_command_line()).update)
