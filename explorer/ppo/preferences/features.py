"""What the reward model sees of a text: the policy's own hidden states, pooled over the response's tokens.

Sources of numbers for each token, from the bottom of the policy to its top:

    token        which word of the vocabulary it is: one number for each word, 1 for the token's own
    embedding    the policy's input embedding of it
    layer 1, 2…  the hidden state after each block but the last, which knows what stands before it
    final        the last block's after the final norm: what the next word is predicted from

Ways to make one row of numbers of a response: ``mean`` over its tokens, ``max`` over them, number by number, or the
``last`` token's. Under each of them a head that is linear in the row is a sum over tokens: the mean gives every token
an equal part, the maximum is some token's own, and the last is the last's. ``contributions`` gives each token its part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot, pad

from explorer.ppo.policy import Policy
from explorer.ppo.preferences.comparisons import PreferenceError
from explorer.ppo.preferences.pool import Pool

POOLINGS = ("mean", "max", "last")

#: Rows in one forward.
_ROWS = 128


class Block(NamedTuple):
    """One source, pooled one way, with the weight that it has among the others."""

    source: str
    pooling: str
    share: float = 1.0


def check_blocks(policy: Policy, blocks: Sequence[Block]) -> None:
    """Whether a policy has what the blocks ask for.

    Raises:
        PreferenceError: there are no blocks, or it has no such source or pooling.
    """
    sources = ["token", "embedding", *(f"layer {n}" for n in range(1, policy.lm.config.n_layer)), "final"]
    if not blocks:
        raise PreferenceError(f"There are no features: choose some of {', '.join(sources)}.")
    for block in blocks:
        if block.source not in sources:
            raise PreferenceError(f"There is no feature '{block.source}' in this policy: it has {', '.join(sources)}.")
        if block.pooling not in POOLINGS:
            raise PreferenceError(f"Features cannot be pooled by '{block.pooling}': choose {', '.join(POOLINGS)}.")
        if not block.share > 0:
            raise PreferenceError(f"The share of '{block.source}' is {block.share}, but must be above 0.")


def block_width(policy: Policy, block: Block) -> int:
    """How many numbers a block has."""
    return int(policy.lm.config.vocab_size if block.source == "token" else policy.lm.config.n_embd)


def pooled(policy: Policy, responses: Pool, blocks: Sequence[Block]) -> Tensor:
    """A row of numbers for each of ``N`` responses: ``[N, D]`` float32 on the CPU, the blocks beside each other.

    End-of-text is no word and does not count; a response without words has a row of NaN, since it has no features.
    """
    with torch.no_grad():
        return pooled_with_gradient(policy, responses, blocks)


def pooled_with_gradient(policy: Policy, responses: Pool, blocks: Sequence[Block]) -> Tensor:
    """The same with gradient, to tune a trunk by."""
    return torch.cat([_pool(policy, *read, blocks) for read in _read(policy, responses)])


def contributions(policy: Policy, responses: Pool, blocks: Sequence[Block], weights: Tensor) -> Tensor:
    """Each token's part of ``pooled(…) @ weights``: ``[N, T]`` float32, 0 where no token counts. Rows sum to the whole.

    Args:
        policy: whose hidden states.
        responses: ``N`` responses of at most ``T`` tokens.
        blocks: as for ``pooled``.
        weights: ``[D]``, one for each number of the row.
    """
    with torch.no_grad():
        return torch.cat([_spread(policy, *read, blocks, weights.float()) for read in _read(policy, responses)])


def _read(policy: Policy, responses: Pool) -> Iterator[tuple[Tensor, dict[str, Tensor], Tensor]]:
    """Token ids ``[n, T]``, hidden states by source ``[n, T, W]`` and which tokens count ``[n, T]``, all on the CPU."""
    counted = responses.mask & (responses.ids != policy.end_of_text)
    for first in range(0, len(responses), _ROWS):
        part = slice(first, first + _ROWS)
        ids, mask = responses.ids[part], counted[part]
        yield ids, hidden_states(policy, responses.prompts[part], ids, mask), mask


def hidden_states(policy: Policy, prompts: Sequence[str], ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """The hidden states at response tokens, by source but for ``token``: ``[n, T, W]`` float32 on the CPU.

    With gradient unless the caller forbids it.
    """
    rows, read, response = joined(policy, prompts, ids, mask)
    device = policy.device
    found = policy.trunk(rows.to(device), read.to(device), use_cache=False, output_hidden_states=True).hidden_states
    embedded = policy.lm.transformer.wte(rows.to(device))
    # The first of them knows the position too, and the last has gone through the final norm.
    names = ["embedding", *(f"layer {n}" for n in range(1, len(found) - 1)), "final"]
    states = [embedded, *found[1:-1], found[-1]]
    return {name: state[:, response].float().cpu() for name, state in zip(names, states, strict=True)}


def joined(policy: Policy, prompts: Sequence[str], ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, slice]:
    """Prompts and responses as one batch, prompts padded on the left and cut there where both would not fit.

    Returns:
        ``ids [n, P + T]``, ``mask [n, P + T]`` bool, and which columns are the responses'.
    """
    room = policy.positions - ids.shape[1]
    if room < 0:
        raise PreferenceError(f"A response of {ids.shape[1]} tokens is longer than the policy's {policy.positions}.")
    encoded = [[policy.end_of_text, *policy.tokenizer(text, verbose=False)["input_ids"]] for text in prompts]
    kept = [row[len(row) - min(len(row), room) :] for row in encoded]
    longest = max((len(row) for row in kept), default=0)
    before = torch.stack([pad(torch.tensor(row, dtype=torch.long), (longest - len(row), 0)) for row in kept])
    there = torch.stack([torch.arange(longest) >= longest - len(row) for row in kept])
    return torch.cat([before, ids], 1), torch.cat([there, mask], 1), slice(longest, longest + ids.shape[1])


def _pool(policy: Policy, ids: Tensor, states: dict[str, Tensor], mask: Tensor, blocks: Sequence[Block]) -> Tensor:
    rows = torch.cat([_pool_one(policy, ids, states, mask, block) for block in blocks], dim=1)
    return torch.where(mask.any(1)[:, None], rows, torch.nan)


def _pool_one(policy: Policy, ids: Tensor, states: dict[str, Tensor], mask: Tensor, block: Block) -> Tensor:
    count = mask.sum(1).clamp(min=1)
    if block.source == "token":
        if block.pooling == "mean":  # without a one-hot of every token
            rows = torch.zeros(len(ids), block_width(policy, block))
            return rows.scatter_add_(1, ids, (mask / count[:, None]).float())
        found = one_hot(ids, block_width(policy, block)).float()
    else:
        found = states[block.source]
    if block.pooling == "mean":
        return torch.where(mask[..., None], found, 0.0).sum(1) / count[:, None]
    if block.pooling == "max":
        return torch.where(mask[..., None], found, -torch.inf).amax(1)
    return found[torch.arange(len(ids)), _last(mask)]


def _spread(
    policy: Policy, ids: Tensor, states: dict[str, Tensor], mask: Tensor, blocks: Sequence[Block], weights: Tensor
) -> Tensor:
    parts = torch.zeros(mask.shape)
    widths = [block_width(policy, block) for block in blocks]
    for block, own in zip(blocks, weights.split(widths), strict=True):
        if block.source == "token" and block.pooling == "mean":
            parts += torch.where(mask, own[ids], 0.0) / mask.sum(1).clamp(min=1)[:, None]
            continue
        found = one_hot(ids, len(own)).float() if block.source == "token" else states[block.source]
        if block.pooling == "mean":
            parts += torch.where(mask, found @ own, 0.0) / mask.sum(1).clamp(min=1)[:, None]
        elif block.pooling == "max":
            best = torch.where(mask[..., None], found, -torch.inf)
            winner = one_hot(best.argmax(1), mask.shape[1]).transpose(1, 2).bool() & mask[..., None]
            parts += torch.where(winner, found * own, 0.0).sum(2)
        else:
            at = torch.arange(len(ids)), _last(mask)
            parts[at] += torch.where(mask.any(1), found[at] @ own, 0.0)
    return parts


def _last(mask: Tensor) -> Tensor:
    """The place of each row's last token that counts; 0 where there is none."""
    return (torch.arange(mask.shape[1]) * mask).argmax(1)
