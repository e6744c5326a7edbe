"""What the reward model sees of a text: the policy's own hidden states, pooled over the response's tokens.

Sources of numbers for each token, from the bottom of the policy to its top:

    token        which word of the vocabulary it is: one number for each word, 1 for the token's own
    spelling     how it is written: how often each letter, each byte in truth, stands in it
    embedding    the policy's input embedding of it
    layer 1, 2…  the hidden state after each block but the last, which knows what stands before it
    final        the last block's after the final norm: what the next word is predicted from

Ways to make one row of numbers of a response: ``mean`` over its tokens, ``max`` over them, number by number, or the
``last`` token's. Under each of them a head that is linear in the row is a sum over tokens: the mean gives every token
an equal part, the maximum is some token's own, and the last is the last's. ``contributions`` gives each token its part.
The fourth way is ``asked``: the state after a few more words behind the response (``ASKED``), with which the policy has
to sum up what it has read in order to go on. That belongs to the response as a whole and to no token of it.
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
from explorer.ppo.preferences.spelling import BYTES, spelled

#: Sources that know the token alone: nothing of them stands behind the response, to be asked.
WORDS = ("token", "spelling")

POOLINGS = ("mean", "max", "last", "asked")

#: What the policy is asked to go on from behind a response: "happy" or "sad" may come next.
ASKED = ". It was a"

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
    sources = [*WORDS, "embedding", *(f"layer {n}" for n in range(1, policy.lm.config.n_layer)), "final"]
    if not blocks:
        raise PreferenceError(f"There are no features: choose some of {', '.join(sources)}.")
    for block in blocks:
        if block.source not in sources:
            raise PreferenceError(f"There is no feature '{block.source}' in this policy: it has {', '.join(sources)}.")
        if block.pooling not in POOLINGS or (block.source in WORDS and block.pooling == "asked"):
            raise PreferenceError(f"Features cannot be pooled by '{block.pooling}': choose {', '.join(POOLINGS)}.")
        if not block.share > 0:
            raise PreferenceError(f"The share of '{block.source}' is {block.share}, but must be above 0.")


def block_width(policy: Policy, block: Block) -> int:
    """How many numbers a block has."""
    if block.source == "spelling":
        return BYTES
    return int(policy.lm.config.vocab_size if block.source == "token" else policy.lm.config.n_embd)


def pooled(policy: Policy, responses: Pool, blocks: Sequence[Block]) -> Tensor:
    """A row of numbers for each of ``N`` responses: ``[N, D]`` float32 on the CPU, the blocks beside each other.

    End-of-text is no word and does not count; a response without words has a row of NaN, since it has no features.
    """
    with torch.no_grad():
        return pooled_with_gradient(policy, responses, blocks)


def pooled_with_gradient(policy: Policy, responses: Pool, blocks: Sequence[Block]) -> Tensor:
    """The same with gradient, to tune a trunk by."""
    return torch.cat([_pool(policy, *read, blocks) for read in _read(policy, responses, blocks)])


def contributions(policy: Policy, responses: Pool, blocks: Sequence[Block], weights: Tensor) -> tuple[Tensor, Tensor]:
    """What each token, and the response as a whole, add to ``pooled(…) @ weights``.

    Args:
        policy: whose hidden states.
        responses: ``N`` responses of at most ``T`` tokens.
        blocks: as for ``pooled``.
        weights: ``[D]``, one for each number of the row.

    Returns:
        ``[N, T]`` float32, 0 where no token counts; and ``[N]``, the part of what is ``asked``, 0 where nothing is.
        Together they are the row times the weights; both are 0 for a response without words.
    """
    with torch.no_grad():
        found = [_spread(policy, *read, blocks, weights.float()) for read in _read(policy, responses, blocks)]
        return torch.cat([parts for parts, _ in found]), torch.cat([whole for _, whole in found])


def _read(
    policy: Policy, responses: Pool, blocks: Sequence[Block]
) -> Iterator[tuple[Tensor, dict[str, Tensor], Tensor]]:
    """Token ids ``[n, T]``, hidden states by source, and which columns of them count, on the CPU.

    Of the states the last column belongs to what was asked, and those before it to the response's tokens.
    """
    counted = responses.mask & (responses.ids != policy.end_of_text)
    asked = ASKED if any(block.pooling == "asked" for block in blocks) else ""
    for first in range(0, len(responses), _ROWS):
        part = slice(first, first + _ROWS)
        ids, mask = responses.ids[part], counted[part]
        yield ids, hidden_states(policy, responses.prompts[part], ids, mask, asked), mask


def hidden_states(
    policy: Policy, prompts: Sequence[str], ids: Tensor, mask: Tensor, asked: str = ""
) -> dict[str, Tensor]:
    """The hidden states by source but for ``token``: ``[n, T + 1, W]`` float32 on the CPU.

    With gradient unless the caller forbids it.

    Args:
        policy: whose.
        prompts: ``n`` prompts.
        ids: ``[n, T]`` the responses' tokens.
        mask: ``[n, T]`` bool, which of them count.
        asked: words behind every response. The last of the T + 1 columns is the state after them; it means nothing
            where there are none.
    """
    added = torch.tensor(policy.tokenizer(asked, verbose=False)["input_ids"] if asked else [], dtype=torch.long)
    length = ids.shape[1]
    added = added[: max(0, policy.positions - length)]  # a response that fills the policy is asked nothing
    ids = torch.cat([ids, added.expand(len(ids), -1)], dim=1)
    mask = torch.cat([mask, mask.new_ones(len(mask), len(added))], dim=1)
    rows, read, behind = joined(policy, prompts, ids, mask)
    device = policy.device
    found = policy.trunk(rows.to(device), read.to(device), use_cache=False, output_hidden_states=True).hidden_states
    embedded = policy.lm.transformer.wte(rows.to(device))
    # The first of them knows the position too, and the last has gone through the final norm.
    names = ["embedding", *(f"layer {n}" for n in range(1, len(found) - 1)), "final"]
    states = [embedded, *found[1:-1], found[-1]]
    columns = [*range(behind.start, behind.start + length), rows.shape[1] - 1]
    return {name: state[:, columns].float().cpu() for name, state in zip(names, states, strict=True)}


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
    if (block.source, block.pooling) == ("token", "mean"):  # without a one-hot of every token
        rows = torch.zeros(len(ids), block_width(policy, block))
        return rows.scatter_add_(1, ids, (mask / count[:, None]).float())
    if block.pooling == "asked":
        return states[block.source][:, -1]
    found = _of_tokens(policy, ids, states, block.source)
    if block.pooling == "mean":
        return torch.where(mask[..., None], found, 0.0).sum(1) / count[:, None]
    if block.pooling == "max":
        return torch.where(mask[..., None], found, -torch.inf).amax(1)
    return found[torch.arange(len(ids)), _last(mask)]


def _spread(
    policy: Policy, ids: Tensor, states: dict[str, Tensor], mask: Tensor, blocks: Sequence[Block], weights: Tensor
) -> tuple[Tensor, Tensor]:
    parts, whole = torch.zeros(mask.shape), torch.zeros(len(mask))
    widths = [block_width(policy, block) for block in blocks]
    for block, own in zip(blocks, weights.split(widths), strict=True):
        if block.source == "token" and block.pooling == "mean":
            parts += torch.where(mask, own[ids], 0.0) / mask.sum(1).clamp(min=1)[:, None]
            continue
        if block.pooling == "asked":
            whole += torch.where(mask.any(1), states[block.source][:, -1] @ own, 0.0)
            continue
        found = _of_tokens(policy, ids, states, block.source)
        if block.pooling == "mean":
            parts += torch.where(mask, found @ own, 0.0) / mask.sum(1).clamp(min=1)[:, None]
        elif block.pooling == "max":
            best = torch.where(mask[..., None], found, -torch.inf)
            winner = one_hot(best.argmax(1), mask.shape[1]).transpose(1, 2).bool() & mask[..., None]
            parts += torch.where(winner, found * own, 0.0).sum(2)
        else:
            at = torch.arange(len(ids)), _last(mask)
            parts[at] += torch.where(mask.any(1), found[at] @ own, 0.0)
    return parts, whole


def _of_tokens(policy: Policy, ids: Tensor, states: dict[str, Tensor], source: str) -> Tensor:
    """The numbers that a source has for every token: ``[n, T, W]``."""
    if source == "token":
        return one_hot(ids, int(policy.lm.config.vocab_size)).float()
    return spelled(policy)[ids] if source == "spelling" else states[source][:, :-1]


def _last(mask: Tensor) -> Tensor:
    """The place of each row's last token that counts; 0 where there is none."""
    return (torch.arange(mask.shape[1]) * mask).argmax(1)
