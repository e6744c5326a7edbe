"""Text to pretrain on: stories from a file, a tokenizer learnt from them, and windows of tokens.

A window that begins where a story begins is what a prompt looks like to the policy, so the two kinds of windows,
from a story's beginning and from anywhere, are kept apart in training and in validation.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

#: Stands before each story as a token, and between two stories as a line of the file.
END_OF_TEXT = "<|endoftext|>"

_SEPARATOR = re.compile(rf"^{re.escape(END_OF_TEXT)}[ \t]*$", re.MULTILINE)

_STORIES_A_BATCH = 1000


class CorpusError(ValueError):
    """A text cannot be trained on or measured with; the message says what to do."""


def read_stories(path: str | Path) -> list[str]:
    """The stories of a UTF-8 text file in which a line ``<|endoftext|>`` stands between two stories.

    Raises:
        CorpusError: the file is missing, not UTF-8, or holds no text.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(f"'{path}' is not UTF-8 text (byte {error.start}): save it as UTF-8 and try again.") from None
    except OSError as error:
        reason = "is a folder" if Path(path).is_dir() else (error.strerror or "cannot be read").lower()
        raise CorpusError(
            f"'{path}' cannot be read ({reason}): give a UTF-8 text file with a line {END_OF_TEXT} between two stories."
        ) from None
    stories = [story for part in _SEPARATOR.split(text) if (story := part.strip())]
    if not stories:
        raise CorpusError(
            f"'{path}' holds no text: give a UTF-8 text file with a line {END_OF_TEXT} between two stories."
        )
    return stories


def hold_out(stories: Sequence[str], fraction: float = 0.02) -> tuple[list[str], list[str]]:
    """Split off the last ``fraction`` of the stories, at least one, for validation: (training, validation).

    Raises:
        CorpusError: there is one story only.
    """
    if len(stories) < 2:
        raise CorpusError(
            f"The text holds one story, so none can be held out for validation: put a line {END_OF_TEXT} between two "
            "stories, or give a validation file of its own."
        )
    kept = len(stories) - max(1, round(fraction * len(stories)))
    return list(stories[:kept]), list(stories[kept:])


def train_tokenizer(stories: Sequence[str], vocabulary: int, positions: int) -> PreTrainedTokenizerFast:
    """Learn a byte-level BPE (Sennrich et al. 2016, arXiv 1508.07909; bytes as in GPT-2) from the stories.

    Args:
        stories: the text to count pairs in.
        vocabulary: the number of entries, the 256 bytes and end-of-text among them; a short text gives fewer.
        positions: the model's context, noted in the tokenizer as its greatest length.

    Returns:
        A Hugging Face tokenizer whose id 0 is end-of-text, beginning, padding and unknown in one. It does not put
        end-of-text before a text by itself.
    """
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(stories, trainer)
    roles = dict.fromkeys(("eos_token", "bos_token", "pad_token", "unk_token"), END_OF_TEXT)
    build: Any = PreTrainedTokenizerFast  # its constructor has no annotations
    tokenizer: PreTrainedTokenizerFast = build(
        tokenizer_object=bpe, model_max_length=positions, clean_up_tokenization_spaces=False, **roles
    )
    return tokenizer


@dataclasses.dataclass(frozen=True)
class TokenStream:
    """Stories as one long row of tokens, end-of-text before each story and after the last, cut into windows.

    Attributes:
        ids: ``[N]`` int32 token ids.
        starts: ``[S]`` int64, where a story begins (at its end-of-text) and a whole window still fits.
        length: tokens in a window, ``L``.
        tokens_a_character: tokens of the stories, one end-of-text each, divided by their characters.
    """

    ids: Tensor
    starts: Tensor
    length: int
    tokens_a_character: float

    @classmethod
    def of(cls, stories: Sequence[str], tokenizer: Any, length: int, source: str | Path) -> TokenStream:
        """Tokenise the stories; ``source`` is what the error message calls them.

        Raises:
            CorpusError: the stories are too short for one window.
        """
        rows: list[Any] = []
        for first in range(0, len(stories), _STORIES_A_BATCH):
            batch = list(stories[first : first + _STORIES_A_BATCH])
            # verbose=False: stories are longer than the model's context, which is why they are cut into windows.
            encoded = tokenizer(batch, add_special_tokens=False, verbose=False)["input_ids"]
            rows += [np.array([tokenizer.eos_token_id, *row], dtype=np.int32) for row in encoded]
        rows.append(np.array([tokenizer.eos_token_id], dtype=np.int32))
        ids = torch.from_numpy(np.concatenate(rows))
        if len(ids) < length:
            raise CorpusError(
                f"'{source}' gives {len(ids)} tokens, too few for one window of {length}: give a longer text."
            )
        starts = torch.from_numpy(np.cumsum([0, *(len(row) for row in rows[:-2])]))
        characters = sum(len(story) for story in stories)
        return cls(ids, starts[starts + length <= len(ids)], length, (len(ids) - 1) / characters)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Windows to train on, ``[count, L]``: half from the beginning of a random story, the rest from anywhere."""
        at_starts = count // 2
        starts = self.starts[torch.randint(len(self.starts), (at_starts,), generator=generator)]
        anywhere = torch.randint(len(self.ids) - self.length + 1, (count - at_starts,), generator=generator)
        return self._windows(torch.cat([starts, anywhere]))

    def story_starts(self, count: int) -> Tensor:
        """The windows from the beginnings of the first ``count`` stories, ``[<= count, L]``."""
        return self._windows(self.starts[:count])

    def consecutive(self, count: int) -> Tensor:
        """The first ``count`` windows of the stream end to end, wherever stories begin, ``[<= count, L]``."""
        return self._windows(torch.arange(min(count, len(self.ids) // self.length)) * self.length)

    def _windows(self, positions: Tensor) -> Tensor:
        return self.ids[positions[:, None] + torch.arange(self.length)].long()
