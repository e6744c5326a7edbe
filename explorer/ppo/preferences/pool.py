"""Responses to compare: drawn from a policy as the trainer draws them, and paired within their prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor
from torch.nn.functional import pad

from explorer.config import Config
from explorer.ppo.policy import Policy
from explorer.ppo.preferences.annotator import Pair
from explorer.ppo.preferences.comparisons import Comparison, PreferenceError
from explorer.ppo.prompts import check_prompts, encode, rows_for
from explorer.ppo.sampling import generator, sample, sentence_ends
from explorer.ppo.streams import LABELLING


@dataclass(frozen=True, kw_only=True)
class Pool:
    """``N`` responses and their prompts; tensors on the CPU.

    Attributes:
        prompts: ``N`` prompts.
        texts: ``N`` responses, without their prompts.
        ids: ``[N, T]`` the responses' token ids, 0 past their ends.
        mask: ``[N, T]`` bool, True where a token counts.
    """

    prompts: list[str]
    texts: list[str]
    ids: Tensor
    mask: Tensor

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, rows: Sequence[int]) -> Pool:
        """Some of the responses."""
        picked = torch.as_tensor(rows, dtype=torch.long)
        prompts, texts = ([column[int(row)] for row in rows] for column in (self.prompts, self.texts))
        return Pool(prompts=prompts, texts=texts, ids=self.ids[picked], mask=self.mask[picked])


def draw_pool(policy: Policy, prompts: Sequence[str], config: Config, batches: int) -> Pool:
    """Sample batches of responses as an update does, with random numbers that are no update's.

    Args:
        policy: whom to sample from.
        prompts: texts, or the name of a bundled set.
        config: batch_size, response_length, group_size, temperature, stop_sentences and seed are read.
        batches: how many.

    Returns:
        ``batches * config.batch_size`` responses.

    Raises:
        ValueError: a prompt is blank or too long.
    """
    asked = check_prompts(prompts)
    ids, mask = encode(policy, asked, config.response_length)
    ends = sentence_ends(policy) if config.stop_sentences else None
    answered, tokens, counted = [], [], []
    for number in range(batches):
        rows = rows_for(len(asked), config.batch_size, seed=config.seed, update=number, group_size=config.group_size)
        shape = (config.batch_size, config.response_length)
        uniforms = torch.rand(*shape, generator=generator(config.seed, number, LABELLING)).to(policy.device)
        drawn, kept, _ = sample(
            policy,
            ids[rows.to(policy.device)],
            mask[rows.to(policy.device)],
            uniforms,
            temperature=config.temperature,
            stop_sentences=config.stop_sentences,
            ends=ends,
        )
        answered += rows.tolist()
        tokens.append(drawn.cpu())
        counted.append(kept.cpu())
    all_ids, all_masks = torch.cat(tokens), torch.cat(counted)
    texts = [policy.decode(row[kept].tolist()) for row, kept in zip(all_ids, all_masks, strict=True)]
    return Pool(prompts=[asked[row] for row in answered], texts=texts, ids=all_ids, mask=all_masks)


def pool_of(policy: Policy, texts: Sequence[tuple[str, str]]) -> Pool:
    """A pool of given prompts and responses, such as those of an imported file; each text becomes tokens anew.

    Responses past the policy's positions are cut at the right.

    Raises:
        PreferenceError: there are none.
    """
    if not texts:
        raise PreferenceError("There are no responses: label or import some first.")
    rows = [policy.tokenizer(text, verbose=False)["input_ids"][: policy.positions - 1] for _, text in texts]
    length = max(1, *(len(row) for row in rows))
    ids = torch.stack([pad(torch.tensor(row, dtype=torch.long), (0, length - len(row))) for row in rows])
    mask = torch.arange(length) < torch.tensor([len(row) for row in rows])[:, None]
    return Pool(prompts=[prompt for prompt, _ in texts], texts=[text for _, text in texts], ids=ids, mask=mask)


def pool_of_comparisons(policy: Policy, comparisons: Sequence[Comparison]) -> tuple[Pool, Tensor]:
    """The responses that were compared, each once, and ``[n, 2]`` which two of them each comparison was about."""
    places: dict[tuple[str, str], int] = {}
    rows = [
        [places.setdefault((comparison.prompt, text), len(places)) for text in (comparison.a, comparison.b)]
        for comparison in comparisons
    ]
    return pool_of(policy, list(places)), torch.tensor(rows, dtype=torch.long).reshape(-1, 2)


def random_pairs(pool: Pool, seed: int) -> Iterator[tuple[int, int]]:
    """Rows of two responses with different texts to one prompt, at random and without end.

    In rounds: within one, every response is shown at most once, so that so many labels are about as many texts as can
    be. The next round pairs them anew.

    Raises:
        PreferenceError: no prompt has two different responses.
    """
    by_prompt: dict[str, list[int]] = {}
    for row, prompt in enumerate(pool.prompts):
        by_prompt.setdefault(prompt, []).append(row)
    if not any(len({pool.texts[row] for row in rows}) > 1 for rows in by_prompt.values()):
        raise PreferenceError("No prompt has two different responses to compare: draw more responses.")
    drawing = generator(seed, 0, LABELLING, 2)
    while True:
        pairs: list[tuple[int, int]] = []
        for rows in by_prompt.values():
            order = [rows[n] for n in torch.randperm(len(rows), generator=drawing).tolist()]
            pairs += zip(order[::2], order[1::2], strict=False)
        for n in torch.randperm(len(pairs), generator=drawing).tolist():
            a, b = pairs[n]
            if pool.texts[a] != pool.texts[b]:
                yield a, b


def show(pool: Pool, rows: tuple[int, int]) -> Pair:
    """Two responses of a pool as a pair to be labelled."""
    a, b = rows
    return pool.prompts[a], pool.texts[a], pool.texts[b]


def asked_pairs(pool: Pool, seed: int, most: int = 100_000) -> Iterator[Pair]:
    """Pairs to be labelled, at random; ends after ``most``, so that a rule that sees no difference ends too."""
    return (show(pool, rows) for rows in islice(random_pairs(pool, seed), most))
