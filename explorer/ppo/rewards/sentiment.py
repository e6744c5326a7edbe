"""Sentiment: how positive the words of the response are."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import torch
from torch import Tensor

from explorer.ppo.rewards.responses import Responses


def sentiment(responses: Responses) -> Tensor:
    """VADER's compound score of each response, without its prompt.

    VADER adds up the valence of the words in its list and minds negation, emphasis and exclamation marks; it does not
    understand what is said. A known hole: "happy happy happy" scores near 1.

    Returns:
        ``[B]`` in [-1, 1]; 0 for text without a word of the list.

    Source:
        Hutto and Gilbert 2014, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text".
    """
    return torch.tensor([compound(text) for text in responses.texts])


def compound(text: str) -> float:
    """VADER's compound score of a text, in [-1, 1]."""
    return float(_analyzer().polarity_scores(text)["compound"])


@functools.cache
def _analyzer() -> Any:
    # Its lexicon takes a while to read, and a run without this component never needs it.
    return importlib.import_module("vaderSentiment.vaderSentiment").SentimentIntensityAnalyzer()
