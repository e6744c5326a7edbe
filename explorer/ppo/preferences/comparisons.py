"""One comparison: two responses to one prompt, and what the annotator made of them.

On disk and among tools it has the common form of preference data: an object with ``prompt``, ``chosen`` and
``rejected``. What that form cannot say is said openly beside it: a decided comparison also has ``choice``, "a" or "b",
the place at which the chosen one was shown; one that was not decided has ``a``, ``b`` and ``choice``, "tie" or "skip",
in place of ``chosen`` and ``rejected``. A reader that knows the common form alone takes the decided ones as they are.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

#: What an annotator can say: the first is better, the second is, they are equally good, or no answer.
CHOICES = ("a", "b", "tie", "skip")

#: The most characters of one text, and the most bytes of one line: far beyond what the policy can read.
MAX_CHARACTERS = 20_000
MAX_LINE_BYTES = 16 * MAX_CHARACTERS

_quote = reprlib.Repr()
_quote.maxstring = _quote.maxother = 60


class PreferenceError(ValueError):
    """A comparison, or a set of them, cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Comparison:
    """Two responses to one prompt and the annotator's choice.

    Attributes:
        prompt: the beginning that both continue; may be empty.
        a: the response that was shown first, without the prompt.
        b: the response that was shown second.
        choice: one of ``CHOICES``.

    Raises:
        PreferenceError: a text is no string, is too long or holds half of a character pair, or there is no such choice.
    """

    prompt: str
    a: str
    b: str
    choice: str

    def __post_init__(self) -> None:
        for name in ("prompt", "a", "b"):
            _check_text(name, getattr(self, name))
        if not isinstance(self.choice, str) or self.choice not in CHOICES:
            raise PreferenceError(f"'choice' is {_quote.repr(self.choice)}: make it one of {', '.join(CHOICES)}.")

    @property
    def decided(self) -> bool:
        """Whether one of the two was preferred."""
        return self.choice in ("a", "b")

    @property
    def chosen(self) -> str:
        """The preferred response of a decided comparison."""
        return self.a if self.choice == "a" else self.b

    @property
    def rejected(self) -> str:
        """The other response of a decided comparison."""
        return self.b if self.choice == "a" else self.a

    @property
    def swapped(self) -> Comparison:
        """The same comparison with the two responses in each other's place."""
        choice = {"a": "b", "b": "a"}.get(self.choice, self.choice)
        return Comparison(self.prompt, self.b, self.a, choice)

    def to_json(self) -> dict[str, str]:
        """The comparison in the form that the module describes."""
        if self.decided:
            return {"prompt": self.prompt, "chosen": self.chosen, "rejected": self.rejected, "choice": self.choice}
        return {"prompt": self.prompt, "a": self.a, "b": self.b, "choice": self.choice}

    def to_line(self) -> str:
        """The comparison as one line of JSONL, its end included. No text can break out of its line."""
        return json.dumps(self.to_json(), ensure_ascii=True) + "\n"

    @classmethod
    def from_json(cls, found: Any) -> Comparison:
        """A comparison from one object of a JSONL file; keys that are not known are left out.

        Without ``choice`` the chosen response counts as shown first.

        Raises:
            PreferenceError: it is no object, a key is missing, or a value cannot be.
        """
        if not isinstance(found, Mapping):
            raise PreferenceError(f"it is {_kind(found)}: write an object with prompt, chosen and rejected.")
        choice = found.get("choice", "a")
        undecided = choice in ("tie", "skip") if isinstance(choice, str) else False
        wanted = ("prompt", "a", "b") if undecided else ("prompt", "chosen", "rejected")
        if missing := [name for name in wanted if name not in found]:
            raise PreferenceError(f"it has no '{missing[0]}': write an object with {', '.join(wanted)}.")
        for name in wanted:
            _check_text(name, found[name])
        prompt, first, second = (found[name] for name in wanted)
        return cls(prompt, second, first, choice) if choice == "b" else cls(prompt, first, second, choice)


def counts(comparisons: Iterable[Comparison]) -> dict[str, int]:
    """How often each choice was made, by name, 0 included."""
    found = dict.fromkeys(CHOICES, 0)
    for comparison in comparisons:
        found[comparison.choice] += 1
    return found


def _check_text(name: str, text: Any) -> None:
    if not isinstance(text, str):
        raise PreferenceError(f"'{name}' is {_kind(text)}: it must be a text.")
    if len(text) > MAX_CHARACTERS:
        raise PreferenceError(f"'{name}' has {len(text)} characters: shorten it to at most {MAX_CHARACTERS}.")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise PreferenceError(f"'{name}' holds half of a character pair, which is no text: type it again.")


def _kind(found: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(found), "a number" if isinstance(found, (int, float)) else f"a {type(found).__name__}")
