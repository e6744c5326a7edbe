"""Features on one scale: what a text is, measured by the reference's own samples.

Each number has the samples' mean taken off. Hidden states are divided by their standard deviation, number by number;
words are not, since a word that occurs once in all samples would then outweigh all others. Then each block is divided
by one number, so that over the samples its squares add up to its share, and those of all blocks to 1. So one penalty
suits all of them together, however wide they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from explorer.ppo.policy import Policy
from explorer.ppo.preferences.comparisons import PreferenceError
from explorer.ppo.preferences.features import Block, block_width, check_blocks, contributions, pooled
from explorer.ppo.preferences.pool import Pool, pool_of

#: What a head reads unless it is told otherwise, chosen by held-out accuracy over the four rules: which words there
#: are, how often and whether at all; what they are like; and what the policy makes of the whole.
BLOCKS: tuple[Block, ...] = (
    Block("token", "mean", 1.0),
    Block("token", "max", 0.5),
    Block("embedding", "mean", 1.0),
    Block("final", "asked", 0.5),
)

#: In a larger vocabulary than this, such as GPT-2's own, the words themselves are left out: rows would be too wide.
MANY_WORDS = 8192

#: The fewest samples that say anything about the spread of a feature.
MIN_SAMPLES = 16


def usual_blocks(policy: Policy) -> tuple[Block, ...]:
    """What a head reads of a policy's states unless it is told otherwise."""
    if policy.lm.config.vocab_size <= MANY_WORDS:
        return BLOCKS
    return tuple(block for block in BLOCKS if block.source != "token")


class Features:
    """Rows of standardised features of texts, as one policy sees them; those of a text are computed once.

    Args:
        policy: whose hidden states to read: the frozen reference, or a tuned copy of it. It must not learn any more.
        samples: responses of the reference; from 16 on, a few hundred say more.
        blocks: which hidden states, pooled how; None is ``usual_blocks``.

    Raises:
        PreferenceError: too few samples, or blocks that this policy does not have.

    Attributes:
        mean: ``[D]`` of the samples, float64.
        scale: ``[D]`` by which a number is multiplied after that, float64; 0 for what never varies.
        sample_rows: ``[N, D]`` the samples' own rows, float64.
    """

    def __init__(self, policy: Policy, samples: Pool, blocks: Sequence[Block] | None = None) -> None:
        blocks = usual_blocks(policy) if blocks is None else blocks
        check_blocks(policy, blocks)
        if len(samples) < MIN_SAMPLES:
            raise PreferenceError(
                f"There are {len(samples)} samples to measure features by: draw at least {MIN_SAMPLES} from the policy."
            )
        self.policy, self.blocks = policy, tuple(blocks)
        raw = pooled(policy, samples, blocks).double()
        self.mean, self.scale = _measured(policy, raw, self.blocks)
        self.sample_rows = self._standard(raw)
        self._known: dict[tuple[str, str], Tensor] = {}

    @classmethod
    def of(cls, policy: Policy, blocks: Sequence[Block], mean: Tensor, scale: Tensor) -> Features:
        """Features whose scale is known, as one that was saved; without samples.

        Raises:
            PreferenceError: the blocks are not this policy's, or the numbers are not as many as the blocks have.
        """
        check_blocks(policy, blocks)
        width = sum(block_width(policy, block) for block in blocks)
        if mean.shape != (width,) or scale.shape != (width,):
            raise PreferenceError(
                f"The features should have {width} numbers, and have {mean.numel()}: save them again."
            )
        made = cls.__new__(cls)
        made.policy, made.blocks, made.mean, made.scale = policy, tuple(blocks), mean.double(), scale.double()
        made.sample_rows, made._known = mean.new_zeros(0, width, dtype=torch.float64), {}
        return made

    @property
    def width(self) -> int:
        """D, how many numbers a row has."""
        return len(self.mean)

    def rows(self, responses: Pool) -> Tensor:
        """``[N, D]`` float64. A response without words has a row of zeros: it is like the mean of all samples."""
        return self._standard(pooled(self.policy, responses, self.blocks).double())

    def rows_of(self, texts: Iterable[tuple[str, str]]) -> Tensor:
        """``[N, D]`` float64 of prompts and responses; computed once each, however often they are asked for."""
        asked = list(texts)
        new = [text for text in dict.fromkeys(asked) if text not in self._known]
        if new:
            self._known |= zip(new, self.rows(pool_of(self.policy, new)), strict=True)
        return torch.stack([self._known[text] for text in asked]) if asked else self.mean.new_zeros(0, self.width)

    def keep_only(self, texts: Iterable[tuple[str, str]]) -> None:
        """Forget the rows of all other texts: one of the bundled policy's weighs 68 kB."""
        kept = set(texts)
        self._known = {text: row for text, row in self._known.items() if text in kept}

    def token_parts(self, responses: Pool, weights: Tensor) -> tuple[Tensor, Tensor]:
        """What each token adds to ``rows(…) @ weights``: ``[N, T]`` float32, and what is no token's: ``[N]``.

        The latter is what every response has before its first token, and what it adds as a whole. A row's tokens and
        that are its value, up to rounding; a response without words has 0.
        """
        raw = weights * self.scale
        parts, whole = contributions(self.policy, responses, self.blocks, raw)
        words = (responses.mask & (responses.ids != self.policy.end_of_text)).any(1)
        return parts, whole - torch.where(words, float(raw @ self.mean), 0.0)

    def _standard(self, raw: Tensor) -> Tensor:
        return ((raw - self.mean) * self.scale).nan_to_num(nan=0.0)


def _measured(policy: Policy, raw: Tensor, blocks: tuple[Block, ...]) -> tuple[Tensor, Tensor]:
    counted = raw[~raw.isnan().any(1)]
    if len(counted) < 2:
        raise PreferenceError("The samples of the reference hold no words: draw others.")
    mean, spread = counted.mean(0), counted.std(0)
    scales, shares = [], sum(block.share for block in blocks)
    for block, own in zip(blocks, spread.split([block_width(policy, block) for block in blocks]), strict=True):
        # A word that no sample has is a word all the same: a label may be about it.
        by_number = torch.ones_like(own) if block.source == "token" else torch.where(own > 1e-6, 1 / own, 0.0)
        size = float(((own * by_number) ** 2).sum()) ** 0.5
        scales.append(by_number * (block.share / shares) ** 0.5 / max(size, 1e-12))
    return mean, torch.cat(scales)
