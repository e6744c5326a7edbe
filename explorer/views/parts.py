"""The exact parts of the gradient, ready for the browser."""

from __future__ import annotations

from typing import Any

import numpy as np


def parts_picture(answer: Any, mask: Any = None) -> dict[str, Any]:
    """What the tokens are coloured by, or why they are not.

    Args:
        answer: see ``explorer.session.parts.Answer``.
        mask: ``[B, T]`` bool, the tokens that count; needed where the parts are there.

    Returns:
        ``state``, ``update``, ``nearest``; and where the parts are there, ``values`` as ``float32`` bytes, ``[B * T]``,
        in even shares (1 is the part that each of the ``tokens`` would have if all pulled alike), and their ``sum``
        as parts, which is 1.
    """
    picture = {"state": answer.state, "update": answer.update, "nearest": answer.nearest}
    if answer.parts is None:
        return picture
    tokens = int(mask.sum())
    values = np.ascontiguousarray(answer.parts * tokens, dtype=np.float32)
    total = float(answer.parts.sum(dtype=np.float64))
    return picture | {"values": values.tobytes(), "tokens": tokens, "sum": total}
