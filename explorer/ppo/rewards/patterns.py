"""Regular expressions that cannot run away: RE2, whose time grows with the text's length and with nothing else."""

from __future__ import annotations

from typing import Any

import re2

#: Characters of a pattern, and bytes that its automaton may take.
LONGEST, MEMORY = 300, 1 << 20


class PatternError(ValueError):
    """A regular expression that RE2 does not read; the message quotes it and says why."""


def pattern(source: str, *, ignore_case: bool = True) -> Any:
    """A compiled regular expression.

    Args:
        source: in RE2's syntax: no references back and no looking around, since these are what can run away.
        ignore_case: whether capitals match small letters.

    Raises:
        PatternError: the pattern is empty, too long, too large, or not in RE2's syntax.
    """
    if not source:
        raise PatternError("The regular expression is empty: write what to look for, such as \\bdog\\b.")
    if len(source) > LONGEST:
        raise PatternError(f"The regular expression has {len(source)} characters: {LONGEST} at most.")
    options = re2.Options()
    options.max_mem, options.log_errors, options.case_sensitive = MEMORY, False, not ignore_case
    try:
        return re2.compile(source, options=options)
    except re2.error as error:
        raw = error.args[0] if error.args else ""
        why = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
        raise PatternError(
            f"The regular expression {source!r} cannot be read: {why}. It has RE2's syntax: no references back such as "
            "\\1, no looking around such as (?=…)."
        ) from None


def spans(found: Any, text: str) -> list[tuple[int, int]]:
    """Where a pattern matches ``text``, in characters, without overlaps; empty matches are left out."""
    return [match.span() for match in found.finditer(text) if match.end() > match.start()]
