"""The ledger of the pinned token as plain values, ready for the browser."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from explorer.recording.ledger import ledger
from explorer.recording.ledger_line import Line, Terms

#: Of a long sum the formula shows the first few terms and the last; all of them are in its table.
FIRST_TERMS = 3


def ledger_picture(shown: Any, pinned: Sequence[int], epoch: int = -1) -> dict[str, Any]:
    """What the ledger panel draws.

    Args:
        shown: what is on screen, a Snapshot or an unfinished update; None where there is none.
        pinned: ``[response, token]``, or empty.
        epoch: which of its epochs; -1 is the policy after the last step.

    Returns:
        ``update``, ``epoch``, ``token`` and ``lines``; ``checked`` recorded numbers and how many are ``wrong``. Each
        line as in ``explorer.recording.ledger_line.Line``, its formula as ``Formula.plain`` has it, and where a sum is
        long only its first terms and its last with the number ``left_out`` between them. Empty where no token is
        pinned that the policy wrote.
    """
    if shown is None or len(pinned) != 2 or not _written(shown.rollout.response_mask, *pinned):
        return {}
    found = ledger(shown, *pinned, epoch)
    return {
        "update": shown.update,
        "epoch": epoch,
        "token": list(pinned),
        "checked": found.checked,
        "wrong": found.wrong,
        "lines": [_line(line) for line in found.lines],
    }


def _written(mask: Any, row: int, t: int) -> bool:
    """Whether the batch has such a token: another batch may have shorter responses than that in which it was pinned."""
    return 0 <= row < mask.shape[0] and 0 <= t < mask.shape[1] and bool(mask[row, t])


def _line(line: Line) -> dict[str, Any]:
    return {
        "key": line.key,
        "symbol": {"name": line.symbol[0], "index": line.symbol[1]},
        "formula": None if line.formula is None else _shortened(line.formula.plain()),
        "value": _number(line.value),
        "stored": _number(line.stored),
        "holds": line.holds,
        "notes": [[key, dict(values)] for key, values in line.notes],
        "terms": None if line.terms is None else _terms(line.terms),
        "wins": line.wins,
        "beside": line.beside,
    }


def _shortened(formula: dict[str, Any]) -> dict[str, Any]:
    """The formula with finite numbers and without the middle of its long sums."""
    if "op" not in formula:
        return {**formula, "value": _number(formula["value"])}
    of = formula["of"]
    if formula["op"] == "sum" and len(of) > FIRST_TERMS + 2:
        kept = [*of[:FIRST_TERMS], of[-1]]
        return {"op": "sum", "of": [_shortened(part) for part in kept], "left_out": len(of) - len(kept)}
    return {**formula, "of": [_shortened(part) for part in of]}


def _terms(terms: Terms) -> dict[str, Any]:
    columns = {name: [_number(value) for value in values] for name, values in terms.columns.items()}
    return {"places": [list(place) for place in terms.places], "columns": columns, "holds": terms.holds}


def _number(value: float | None) -> float | str | None:
    """JSON has no infinity, and what is no number is not there."""
    if value is None or math.isnan(value):
        return None
    return value if math.isfinite(value) else ("∞" if value > 0 else "−∞")
