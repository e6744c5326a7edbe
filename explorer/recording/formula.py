"""A formula that is its own value: symbols with the numbers they stand for, and what is done with them, in float64.

The same tree is computed and written down, so what the ledger shows cannot differ from what it has reckoned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Formula:
    """A symbol, a plain number, or an operation on formulas.

    Attributes:
        op: ``symbol``, ``number``, or what is done: see ``plain``.
        value: what it comes to.
        of: what it is done to.
        name: the symbol, such as ``"ρ"``.
        index: what stands below it to the right, such as ``"t+1"``.
    """

    op: str
    value: float
    of: tuple[Formula, ...] = ()
    name: str = ""
    index: str = ""

    def __add__(self, other: Formula) -> Formula:
        return Formula("add", self.value + other.value, (self, other))

    def __sub__(self, other: Formula) -> Formula:
        return Formula("sub", self.value - other.value, (self, other))

    def __mul__(self, other: Formula) -> Formula:
        return Formula("mul", self.value * other.value, (self, other))

    def __truediv__(self, other: Formula) -> Formula:
        quotient = self.value / other.value if other.value else math.nan
        return Formula("div", quotient, (self, other))

    def __neg__(self) -> Formula:
        return Formula("neg", -self.value, (self,))

    def plain(self) -> dict[str, Any]:
        """As the browser gets it: ``{name, index, value}`` for a symbol, ``{value}`` for a number, else ``{op, of}``.

        ``op`` is one of ``add sub mul div neg square exp log least most held size sum sigmoid``; ``held`` holds its
        first within the other two, and ``sum`` adds up as many terms as there are.
        """
        if self.op == "symbol":
            return {"name": self.name, "index": self.index, "value": self.value}
        if self.op == "number":
            return {"value": self.value}
        return {"op": self.op, "of": [formula.plain() for formula in self.of]}


def symbol(name: str, value: float, index: str = "") -> Formula:
    """A symbol and the number it stands for."""
    return Formula("symbol", float(value), name=name, index=index)


def number(value: float) -> Formula:
    """A number that has no symbol."""
    return Formula("number", float(value))


def square(of: Formula) -> Formula:
    """The square."""
    return Formula("square", of.value**2, (of,))


def exp(of: Formula) -> Formula:
    """Euler's e to the power; beyond any float, infinite."""
    try:
        return Formula("exp", math.exp(of.value), (of,))
    except OverflowError:
        return Formula("exp", math.inf, (of,))


def sigmoid(of: Formula) -> Formula:
    """``1 / (1 + e^-x)``."""
    positive = math.exp(-abs(of.value))
    return Formula("sigmoid", (1.0 if of.value >= 0 else positive) / (1 + positive), (of,))


def least(*of: Formula) -> Formula:
    """The smallest."""
    return Formula("least", min(formula.value for formula in of), of)


def most(*of: Formula) -> Formula:
    """The largest."""
    return Formula("most", max(formula.value for formula in of), of)


def held(of: Formula, low: Formula, high: Formula) -> Formula:
    """The first, held between the other two."""
    return Formula("held", min(max(of.value, low.value), high.value), (of, low, high))


def size(of: Formula) -> Formula:
    """The absolute value."""
    return Formula("size", abs(of.value), (of,))


def total(of: list[Formula]) -> Formula:
    """The sum of any number of terms; 0 of none."""
    return Formula("sum", math.fsum(formula.value for formula in of), tuple(of)) if of else number(0.0)
