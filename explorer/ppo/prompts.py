"""Prompts: their encoding, and which prompt each row of a batch answers."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence

import torch
from torch import Tensor

from explorer.ppo.policy import Policy
from explorer.ppo.sampling import generator
from explorer.ppo.streams import PROMPTS
from explorer.prompt_sets import prompt_sets

_quote = reprlib.Repr()
_quote.maxstring = 60


def check_prompts(prompts: Sequence[str]) -> list[str]:
    """The prompts as a list.

    Args:
        prompts: texts, or the name of a bundled set.

    Raises:
        ValueError: there is no such set, there are no prompts, or one is not a string, is blank, or is not valid
            Unicode.
    """
    if isinstance(prompts, str) and prompts in (sets := prompt_sets()):
        return sets[prompts]
    faults = _faults(prompts)
    if faults:
        raise ValueError(faults[0])
    return list(prompts)


def _faults(prompts: Sequence[str]) -> list[str]:
    """One sentence for each thing that is wrong with the prompts."""
    if isinstance(prompts, str):
        return [
            f"prompts is the single text {_quote.repr(prompts)}: put it in a list, as in [text], or name a bundled "
            f"set: {', '.join(prompt_sets())}."
        ]
    if not len(prompts):
        return ["There are no prompts: give at least one text to continue."]
    faults = []
    for number, prompt in enumerate(prompts, start=1):
        if not isinstance(prompt, str):
            kind = type(prompt).__name__
            faults.append(f"Prompt {number} is {_quote.repr(prompt)}, of type {kind}: every prompt must be a text.")
        elif not prompt.strip():
            faults.append(f"Prompt {number} is blank: write the beginning of a text there, or remove it.")
        elif any("\ud800" <= character <= "\udfff" for character in prompt):
            faults.append(f"Prompt {number} holds half of a character pair, which is no text: type it again.")
    return faults


def encode(policy: Policy, prompts: Sequence[str], response_length: int) -> tuple[Tensor, Tensor]:
    """Token ids of the prompts, each after one end-of-text, padded on the left.

    Args:
        policy: whose tokenizer to use, and whose number of positions to respect.
        prompts: ``N`` texts.
        response_length: ``T``, the most tokens a response will have.

    Returns:
        ``ids [N, P]``, 0 on the padding, and ``mask [N, P]`` bool, False on the padding; where the policy lies.

    Raises:
        ValueError: as ``check_prompts``, or a prompt and its response would not fit into the policy's positions.
    """
    # Of the 1 + n + T tokens the last is predicted but never read: n + T must fit.
    room = policy.positions - response_length
    encoded = []
    for prompt in check_prompts(prompts):
        tokens = policy.tokenizer(prompt, add_special_tokens=False, verbose=False)["input_ids"]
        if len(tokens) > room:
            advice = f"shorten it to at most {room} tokens or lower" if room > 0 else "lower"
            raise ValueError(
                f"The prompt {_quote.repr(prompt)} has {len(tokens)} tokens, and with a response of {response_length} "
                f"it exceeds the {policy.positions} that the policy can attend to: {advice} response_length."
            )
        encoded.append([policy.end_of_text, *tokens])
    longest = max(len(tokens) for tokens in encoded)
    ids = torch.zeros(len(encoded), longest, dtype=torch.long)
    mask = torch.zeros(len(encoded), longest, dtype=torch.bool)
    for row, tokens in enumerate(encoded):
        ids[row, longest - len(tokens) :] = torch.tensor(tokens)
        mask[row, longest - len(tokens) :] = True
    return ids.to(policy.device), mask.to(policy.device)


def rows_for(count: int, batch_size: int, *, seed: int, update: int, group_size: int = 1) -> Tensor:
    """Which prompt each row of an update's batch answers: ``[B]``, rows of the same prompt next to each other.

    Rows ``i * group_size`` to ``(i + 1) * group_size - 1`` are group i and answer one prompt. Every prompt gets the
    same number of groups. The groups that are left over, or all of them where there are more prompts than groups, go
    to prompts drawn without replacement from a generator of ``(seed, update)``.

    Args:
        count: how many prompts there are.
        batch_size: ``B``, a multiple of group_size.
        seed: the run's seed.
        update: the update's number.
        group_size: rows that answer the same prompt together.
    """
    each, left_over = divmod(batch_size // group_size, count)
    drawn = torch.randperm(count, generator=generator(seed, update, PROMPTS))[:left_over]
    groups = torch.full((count,), each)
    groups[drawn] += 1
    return torch.repeat_interleave(torch.arange(count), groups * group_size)
