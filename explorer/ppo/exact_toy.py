"""A language so small that every sentence can be written down: three words out of a vocabulary of 12 to 20.

``Toy()`` is the article's example: "The cat" goes on with "is" or "was". For each prefix a policy has its own row of
logits, so a whole policy is a table ``[R, V]``. ``exact`` says what is true of it.

Shapes: ``V`` words, ``T = 3`` tokens, ``R = 1 + V + V * V`` prefixes (rows), ``S`` sentences that can occur. Tables are
float64; a reward is in its own unit.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from itertools import product

import torch
from torch import Tensor

#: Every sentence has three words.
LENGTH = 3

#: The article's language: an article, an animal, a verb. It likes the present tense (+1, the past -1) and cats (+0.5).
WORDS = ("The", "A", "One", "cat", "dog", "bird", "is", "was", "sleeps", "slept", "sings", "sang")
OPENINGS = {"The": 0.6, "A": 0.3, "One": 0.1}
ANIMALS = {"cat": 0.5, "dog": 0.3, "bird": 0.2}
VERBS = {"is": 0.3, "was": 0.2, "sleeps": 0.2, "slept": 0.1, "sings": 0.1, "sang": 0.1}
OLD_AFTER_THE_CAT, NEW_AFTER_THE_CAT = {"is": 0.6, "was": 0.4}, {"is": 0.7, "was": 0.3}
LIKED = {"is": 1.0, "sleeps": 1.0, "sings": 1.0, "was": -1.0, "slept": -1.0, "sang": -1.0, "cat": 0.5}


@dataclasses.dataclass(frozen=True, eq=False)
class Toy:
    """Two policies over three-word sentences, and the reward of each sentence. ``Toy()`` is the article's example.

    There "The cat" goes on with "is" (0.6) or "was" (0.4) under the old policy, the one that samples, and with 0.7 and
    0.3 under the new one: ratios of 1.1667 and 0.75.

    Attributes:
        words: the vocabulary, ``V`` different words, each without a space.
        old_logits: ``[R, V]``, one row for each prefix (``row``); minus infinity where a word cannot follow.
        new_logits: ``[R, V]``, minus infinity at the same places.
        rewards: ``[V, V, V]``, the reward of each sentence by its three words.
        prefix: the prefix whose next word is looked at and dragged.

    Raises:
        ValueError: a word is there twice or holds a space; a table has another shape or another type than float64,
            holds a NaN or plus infinity, or allows no word after some prefix; the two policies do not allow the same
            sentences; or the prefix is not one.
    """

    words: tuple[str, ...] = WORDS
    old_logits: Tensor = dataclasses.field(default_factory=lambda: _article_logits(OLD_AFTER_THE_CAT))
    new_logits: Tensor = dataclasses.field(default_factory=lambda: _article_logits(NEW_AFTER_THE_CAT))
    rewards: Tensor = dataclasses.field(default_factory=lambda: _article_rewards())
    prefix: str = "The cat"

    def __post_init__(self) -> None:
        size = len(self.words)
        if len(set(self.words)) != size or any(word.split() != [word] for word in self.words):
            raise ValueError("the toy's words must all be different, and none may be empty or hold a space.")
        table = (1 + size + size**2, size)
        for name, shape in {"old_logits": table, "new_logits": table, "rewards": (size,) * LENGTH}.items():
            found: Tensor = getattr(self, name)
            if tuple(found.shape) != shape or found.dtype != torch.float64:
                raise ValueError(f"{name} is {tuple(found.shape)} of {found.dtype}, but must be {shape} of float64.")
        for name, found in {"old_logits": self.old_logits, "new_logits": self.new_logits}.items():
            if not (found.isfinite() | (found == -torch.inf)).all() or not found.isfinite().any(dim=1).all():
                raise ValueError(f"{name} must be finite, or minus infinity where some other word can follow.")
        if not self.rewards.isfinite().all():
            raise ValueError("rewards must be finite: give every sentence a number, also those that cannot occur.")
        if not torch.equal(self.old_logits.isfinite(), self.new_logits.isfinite()):
            raise ValueError("old_logits and new_logits must allow the same words after each prefix.")
        self.row()

    @classmethod
    def random(cls, seed: int, vocabulary: int = 12, *, spread: float = 0.7, step: float = 0.3) -> Toy:
        """A toy without a meaning, in which every sentence can occur: for proofs rather than for reading.

        Args:
            seed: chooses logits and rewards.
            vocabulary: the number of words; 12 gives 1,728 sentences, 20 gives 8,000. Fewer than the 12 of the
                article's language, down to 2, are for proofs that go through every pair or group of sentences.
            spread: standard deviation of the old logits.
            step: standard deviation of what the new logits add to them.

        Raises:
            ValueError: the vocabulary is smaller than 2 or larger than 20.
        """
        if not 2 <= vocabulary <= 20:
            raise ValueError(
                f"vocabulary is {vocabulary}, but must be from 2 to 20 so that every sentence can be listed."
            )
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        table = (1 + vocabulary + vocabulary**2, vocabulary)
        old_logits = spread * normal(*table)
        words = tuple(f"w{index}" for index in range(vocabulary))
        new_logits, rewards = old_logits + step * normal(*table), normal(*(vocabulary,) * LENGTH)
        return cls(words, old_logits, new_logits, rewards, prefix="w0 w1")

    @functools.cached_property
    def sequences(self) -> Tensor:
        """Every sentence that can occur, as word numbers: ``[S, T]`` int64; all ``V ** 3`` if no word is ruled out."""
        words = torch.arange(len(self.words))
        everything = torch.cartesian_prod(words, words, words)
        possible = self.old_logits.isfinite()[self._rows_of(everything), everything].all(dim=1)
        return everything[possible]

    @functools.cached_property
    def rows(self) -> Tensor:
        """The row of the table that each token of ``sequences`` was drawn from: ``[S, T]`` int64."""
        return self._rows_of(self.sequences)

    @functools.cached_property
    def scores(self) -> Tensor:
        """The reward of each of ``sequences``: ``[S]``."""
        first, second, third = self.sequences.unbind(dim=1)
        return self.rewards[first, second, third]

    def row(self, prefix: str | None = None) -> int:
        """The row of a prefix of none, one or two words; without an argument that of ``self.prefix``.

        Raises:
            ValueError: a word is not in the vocabulary, or the prefix leaves no word to write.
        """
        before, size = (self.prefix if prefix is None else prefix).split(), len(self.words)
        if len(before) >= LENGTH:
            raise ValueError(
                f"'{' '.join(before)}' leaves no word to write: give a prefix of at most {LENGTH - 1} words."
            )
        row = 0
        for word in before:  # the empty prefix, then those of one word, then those of two
            row = 1 + row * size + self._number(word)
        return row

    def next_words(self, logits: Tensor, prefix: str | None = None) -> dict[str, float]:
        """How likely a policy ``[R, V]`` goes on with each word that can follow the prefix."""
        return self._by_word(logits[self.row(prefix)].softmax(dim=0), prefix)

    def ratios(self, prefix: str | None = None) -> dict[str, float]:
        """The new policy's probability over the old one's, for each word that can follow the prefix."""
        new, old = (logits[self.row(prefix)].log_softmax(dim=0) for logits in (self.new_logits, self.old_logits))
        return self._by_word((new - old).exp(), prefix)

    def drag(self, word: str, probability: float, prefix: str | None = None) -> Toy:
        """The toy whose new policy gives ``word`` this probability; the other words there share what is left.

        They keep their proportions, so pulling one bar up always lowers the others: the probabilities sum to 1.

        Args:
            word: a word that can follow the prefix.
            probability: greater than 0 and smaller than 1.
            prefix: the words before it; without it ``self.prefix``.

        Raises:
            ValueError: the probability is out of range, the word is unknown, or it cannot follow the prefix, or nothing
                else can.
        """
        row, column, before = self.row(prefix), self._number(word), self.prefix if prefix is None else prefix
        if not 0 < probability < 1:
            raise ValueError(
                f"the probability of '{word}' is {probability}, but must be greater than 0 and less than 1."
            )
        others = self.new_logits[row].clone()
        if not others[column].isfinite():
            able = ", ".join(self.next_words(self.new_logits, prefix))
            raise ValueError(f"'{word}' cannot follow '{before}': drag one of {able}.")
        others[column] = -torch.inf
        if not others.isfinite().any():
            raise ValueError(f"'{word}' is the only word that can follow '{before}', so its probability stays 1.")
        kept, whole = torch.tensor(probability, dtype=torch.float64), self.new_logits.clone()
        whole[row] = others.log_softmax(dim=0) + torch.log1p(-kept)
        whole[row, column] = kept.log()
        return dataclasses.replace(self, new_logits=whole)

    def _by_word(self, numbers: Tensor, prefix: str | None) -> dict[str, float]:
        can_follow = self.old_logits[self.row(prefix)].isfinite().tolist()
        return {w: x for w, x, able in zip(self.words, numbers.tolist(), can_follow, strict=True) if able}

    def _number(self, word: str) -> int:
        if word not in self.words:
            raise ValueError(f"'{word}' is not a word of this toy: choose one of {', '.join(self.words)}.")
        return self.words.index(word)

    def _rows_of(self, sequences: Tensor) -> Tensor:
        first, second, _ = sequences.unbind(dim=1)
        size = len(self.words)
        return torch.stack([torch.zeros_like(first), 1 + first, 1 + (1 + first) * size + second], dim=1)


def _article_logits(after_the_cat: Mapping[str, float]) -> Tensor:
    """The article's table; prefixes that cannot occur keep a row of equal words, which nothing ever reads."""
    size = len(WORDS)
    logits = torch.zeros(1 + size + size**2, size, dtype=torch.float64)
    number = WORDS.index

    def fill(row: int, likely: Mapping[str, float]) -> None:
        logits[row] = torch.tensor([likely.get(word, 0.0) for word in WORDS], dtype=torch.float64).log()

    fill(0, OPENINGS)
    for opening, animal in product(OPENINGS, ANIMALS):
        fill(1 + number(opening), ANIMALS)
        verbs = after_the_cat if (opening, animal) == ("The", "cat") else VERBS
        fill(1 + size + size * number(opening) + number(animal), verbs)
    return logits


def _article_rewards() -> Tensor:
    """A sentence earns what its words earn: ``[V, V, V]``."""
    liked = torch.tensor([LIKED.get(word, 0.0) for word in WORDS], dtype=torch.float64)
    return liked[:, None, None] + liked[None, :, None] + liked[None, None, :]
