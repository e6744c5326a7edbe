"""Draw responses from a policy with random numbers that belong to (seed, update) and to nothing else.

The uniforms are drawn before the first token and turned into tokens by inverse CDF, so a ``torch.rand`` elsewhere
changes nothing, a resumed run equals an unbroken one, and two policies given the same uniforms can be compared word
by word (common random numbers).
"""

from __future__ import annotations

import re
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache

from explorer.ppo.policy import Policy
from explorer.ppo.streams import stream

_SENTENCE_END = re.compile(r"[.!?][\"'”’)\]]*\s*$")
_MARKS_ALONE = re.compile(r"[.!?\"'”’)\]\s]+")


class SentenceEnds(NamedTuple):
    """What every token of a vocabulary does to the sentence before it.

    A sentence ends with a *run* of end marks: ., ! or ?, as many as follow each other, with closing quotes, brackets
    and white space among and behind them ("...", "?!", '!"', ". . ."). A run is one end, in however many tokens.
    """

    ends: Tensor  # [V] bool: the token's text ends with a run
    continues: Tensor  # [V] bool: it is nothing but marks and white space, so it goes on with the run before it, if any


def generator(seed: int, *parts: int) -> torch.Generator:
    """An independent generator for ``(seed, *parts)``, such as (seed, update, purpose, epoch)."""
    return torch.Generator().manual_seed(stream(seed, *parts))


def sentence_ends(policy: Policy) -> SentenceEnds:
    """Which tokens end a sentence, and which only go on with its end marks.

    By the marks alone: the full stop of an abbreviation or a number is an end too.
    """
    texts = policy.token_texts(range(policy.lm.config.vocab_size))
    return SentenceEnds(
        torch.tensor([bool(_SENTENCE_END.search(text)) for text in texts], device=policy.device),
        torch.tensor([bool(_MARKS_ALONE.fullmatch(text)) for text in texts], device=policy.device),
    )


@torch.no_grad()
def sample(
    policy: Policy,
    prompt_ids: Tensor,
    prompt_mask: Tensor,
    uniforms: Tensor,
    *,
    temperature: float,
    stop_sentences: int = 0,
    ends: SentenceEnds | None = None,
    greedy: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Sample one response a row.

    All tensors lie where the policy does.

    The n-th sentence ends a response at the token with which its run of end marks begins: that token is the response's
    last, with all the marks that it holds (the whole of ``!"`` where that is one token, ``.`` alone where "..." is
    three). Whether the run would have gone on is not waited for: it would take a token that is then thrown away, whose
    probability would be part of the response's but of no token's ratio. Runs before the n-th are whole, and each
    counts once. Marks at the end of the prompt do not count.

    Args:
        policy: whom to sample from.
        prompt_ids: ``[B, P]``, left-padded.
        prompt_mask: ``[B, P]`` bool.
        uniforms: ``[B, T]`` in [0, 1): the only source of randomness.
        temperature: divides the logits.
        stop_sentences: end a response with its n-th sentence; 0 ends it at end-of-text alone.
        ends: from ``sentence_ends``; needed where ``stop_sentences`` is not 0.
        greedy: ``[B]`` bool, the rows that take the likeliest token every time, as at temperature 0; None is no row.

    Returns:
        ``response_ids [B, T]`` (0 past the stop), ``response_mask [B, T]`` bool (True up to and with the stop), and
        ``stopped [B]`` bool (False where the length limit cut the response).
    """
    rows, length = uniforms.shape
    ids, mask = prompt_ids, prompt_mask
    response_ids = prompt_ids.new_zeros(rows, length)
    response_mask = prompt_mask.new_zeros(rows, length)
    running = prompt_mask.new_ones(rows)
    sentences, in_run = prompt_ids.new_zeros(rows), prompt_mask.new_zeros(rows)
    cache = DynamicCache(config=policy.lm.config)
    for t in range(length):
        hidden = policy.trunk(ids, mask, past_key_values=cache, use_cache=True).last_hidden_state[:, -1]
        logits = policy.lm.lm_head(hidden)
        tokens = inverse_cdf(logits / temperature, uniforms[:, t])
        if greedy is not None:
            tokens = torch.where(greedy, logits.argmax(-1), tokens)
        response_ids[:, t] = torch.where(running, tokens, 0)
        response_mask[:, t] = running
        stops = tokens == policy.end_of_text
        if stop_sentences and ends is not None:
            going_on = in_run & ends.continues[tokens]
            sentences += ends.ends[tokens] & ~going_on
            in_run = ends.ends[tokens] | going_on
            stops |= sentences >= stop_sentences
        running &= ~stops
        if not running.any():
            break
        ids = response_ids[:, t : t + 1]
        mask = torch.cat([mask, mask.new_ones(rows, 1)], dim=1)
    return response_ids, response_mask, ~running


def inverse_cdf(logits: Tensor, uniforms: Tensor) -> Tensor:
    """The token at which the cumulative probability of ``logits [B, V]`` first exceeds ``uniforms [B]``: ``[B]``.

    In float64, so that rounding never picks a token of probability 0 at the end of the vocabulary.
    """
    cumulative = torch.softmax(logits.double(), dim=-1).cumsum(-1)
    targets = uniforms.double()[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, targets, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)
