"""A reward written as an expression, ``min(3, count("!")) - 0.1 * words``: read by a grammar, never run as code."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedInput, UnexpectedToken, v_args
from torch import Tensor

from explorer.ppo.rewards.patterns import PatternError, pattern, spans
from explorer.ppo.rewards.responses import Responses
from explorer.ppo.rewards.sentiment import compound

#: Characters of an expression, at most.
LONGEST = 400

GRAMMAR = r"""
?start: sum
?sum: product | sum "+" product -> add | sum _MINUS product -> subtract
?product: factor | product _TIMES factor -> multiply
?factor: atom | _MINUS factor -> negative
?atom: NUMBER -> number
     | NAME -> measure
     | NAME "(" [sum ("," sum)*] ")" -> choose
     | NAME "(" STRING ")" -> ask
     | "(" sum ")"
_MINUS: "-" | "−" | "–"
_TIMES: "*" | "×" | "·"
NAME: /[A-Za-z_]+/
STRING: /"[^"\n]*"/ | /'[^'\n]*'/
%import common.NUMBER
%import common.WS
%ignore WS
"""


class ExpressionError(ValueError):
    """An expression that does not parse. The message, of one line, says where.

    Attributes:
        position: the character, from 0, at which it goes wrong.
        reason: what is wrong there.
        pointed: the expression in one line, and in a second one a mark under that character.
    """

    def __init__(self, source: str, position: int, reason: str) -> None:
        self.position, self.reason = position, reason
        # Line breaks are blanks to the grammar; in one line the mark stands under its character.
        line = "".join(" " if letter.isspace() else letter for letter in source)
        self.pointed = f"{line}\n{' ' * position}^"
        rest = line[position : position + 12].strip()
        super().__init__(f"At character {position + 1}, {f'at {rest!r}' if rest else 'the end'}: {reason}")


@dataclass(frozen=True)
class Reading:
    """One response, as the measures see it."""

    text: str
    tokens: int  # those that count, the stop token with them


Value = Callable[[Reading], float]

#: What stands for a number: one per response.
MEASURES: dict[str, Value] = {
    "words": lambda reading: float(len(reading.text.split())),
    "characters": lambda reading: float(len(reading.text)),
    "length": lambda reading: float(reading.tokens),
    "sentiment": lambda reading: compound(reading.text),
}


def _count(sought: str) -> Value:
    found = pattern(sought)
    return lambda reading: float(len(spans(found, reading.text)))


def _contains(sought: str) -> Value:
    if not sought:
        raise PatternError("contains needs a text to look for.")
    return lambda reading: float(sought.casefold() in reading.text.casefold())


#: What asks something of the text, with a text in quotes.
QUESTIONS: dict[str, Callable[[str], Value]] = {"count": _count, "contains": _contains}


def _place_of(sought: str, text: str) -> list[tuple[int, int]]:
    """Every place of a text, without regard to capitals where small letters are as many."""
    low, word = text.casefold(), sought.casefold()
    if len(low) != len(text):
        low, word = text, sought
    starts = [start for start in range(len(low)) if low.startswith(word, start)]
    return [(start, start + len(word)) for start in starts]


#: Where each of them finds it: what is sought, and the text.
FINDERS: dict[str, Callable[[str, str], list[tuple[int, int]]]] = {
    "count": lambda sought, text: spans(pattern(sought), text),
    "contains": _place_of,
}

#: What chooses among numbers.
CHOICES: dict[str, Callable[..., float]] = {"min": min, "max": max}


@dataclass(frozen=True)
class ExpressionReward:
    """A component that computes an expression. Make it with ``expression``."""

    source: str
    value: Value

    def asks(self) -> bool:
        """Whether it looks for something in the text."""
        return any(True for _ in _tree_parser().parse(self.source).find_data("ask"))

    def found(self, text: str) -> list[tuple[int, int]]:
        """Where its ``count`` and ``contains`` find what they look for, in characters; one place may come twice."""
        asked = _tree_parser().parse(self.source).find_data("ask")
        return [span for node in asked for span in FINDERS[str(node.children[0])](str(node.children[1])[1:-1], text)]

    def __call__(self, responses: Responses) -> Tensor:
        """``[B]``, as large as the expression makes it."""
        counted = responses.mask.sum(1).tolist()
        readings = [Reading(text, tokens) for text, tokens in zip(responses.texts, counted, strict=True)]
        return torch.tensor([self.value(reading) for reading in readings])


def expression(source: str) -> ExpressionReward:
    """A component from an expression of the response, without its prompt.

    Numbers, ``words``, ``characters``, ``length`` (in tokens), ``sentiment`` (VADER's compound score),
    ``count("regular expression")``, ``contains("text")`` (1 or 0; both without regard to capitals), ``min(…)``,
    ``max(…)``, ``+``, ``-``, ``*`` and brackets. ``×`` and ``−`` are read as well.

    Raises:
        ExpressionError: it does not parse, or a regular expression in it does not; the message points at the place.
    """
    if len(source) > LONGEST:
        raise ExpressionError(source[:LONGEST], LONGEST - 1, f"the expression is longer than {LONGEST} characters.")
    try:
        value: Value = _parser().parse(source)
    except _Wrong as error:
        raise ExpressionError(source, error.position, error.reason) from None
    except UnexpectedInput as error:
        raise ExpressionError(source, _place(source, error), _reason(source, error)) from None
    return ExpressionReward(source, value)


class _Wrong(Exception):
    """What is wrong with a name, and where."""

    def __init__(self, position: int | None, reason: str) -> None:
        super().__init__(reason)
        self.position, self.reason = position or 0, reason


@v_args(inline=True)
class _Meaning(Transformer[Token, Value]):
    """Each piece of the grammar as a function of a reading."""

    def number(self, digits: Token) -> Value:
        constant = float(digits)
        if not math.isfinite(constant):
            raise _Wrong(digits.start_pos, "the number is too large.")
        return lambda reading: constant

    def measure(self, name: Token) -> Value:
        if name in MEASURES:
            return MEASURES[name]
        needs = f'write {name}("…")' if name in QUESTIONS else f"write {name}(…, …)" if name in CHOICES else _known()
        raise _Wrong(name.start_pos, f"{str(name)!r} is no measure: {needs}.")

    def ask(self, name: Token, quoted: Token) -> Value:
        if name not in QUESTIONS:
            raise _Wrong(name.start_pos, f"{str(name)!r} takes no text in quotes: {_known()}.")
        try:
            return QUESTIONS[name](quoted[1:-1])
        except PatternError as error:
            raise _Wrong((quoted.start_pos or 0) + 1, str(error)) from None

    def choose(self, name: Token, *values: Value | None) -> Value:
        given = [value for value in values if value is not None]
        if name not in CHOICES:
            instead = f'it needs a text in quotes: write {name}("…")' if name in QUESTIONS else _known()
            raise _Wrong(name.start_pos, f"{str(name)!r} takes no numbers: {instead}.")
        if len(given) < 2:
            raise _Wrong(name.start_pos, f"{name} chooses among two numbers or more.")
        among = CHOICES[name]
        return lambda reading: among(value(reading) for value in given)

    def add(self, left: Value, right: Value) -> Value:
        return lambda reading: left(reading) + right(reading)

    def subtract(self, left: Value, right: Value) -> Value:
        return lambda reading: left(reading) - right(reading)

    def multiply(self, left: Value, right: Value) -> Value:
        return lambda reading: left(reading) * right(reading)

    def negative(self, value: Value) -> Value:
        return lambda reading: -value(reading)


def _known() -> str:
    asked = (f'{name}("…")' for name in QUESTIONS)
    return f"known are {', '.join([*MEASURES, *asked])}, min and max"


def _place(source: str, error: UnexpectedInput) -> int:
    at = error.pos_in_stream
    if at is None or at < 0 or (isinstance(error, UnexpectedToken) and error.token.type == "$END"):
        return len(source.rstrip())
    return at


def _reason(source: str, error: UnexpectedInput) -> str:
    at = _place(source, error)
    if not source.strip():
        return f"write an expression: {_known()}."
    if at >= len(source.rstrip()):
        return "the expression ends here, but something is missing: a number, a name or a bracket."
    if isinstance(error, UnexpectedCharacters) and source[at] in "\"'":
        return "a text in quotes begins here and has no end, or stands where a number should."
    return f"{source[at]!r} does not belong here: {_known()}, joined by + - * and brackets."


@functools.cache
def _parser() -> Any:
    return Lark(GRAMMAR, parser="lalr", transformer=_Meaning())


@functools.cache
def _tree_parser() -> Any:
    return Lark(GRAMMAR, parser="lalr")
