"""Keep a bounded number of updates: the newest ones whole, the past ever coarser."""

from __future__ import annotations

from collections.abc import Sequence


def to_drop(kept: Sequence[int], limit: int) -> list[int]:
    """Which updates to let go when more than ``limit`` are kept: every second one of the older half, never the newest.

    Args:
        kept: the updates kept, oldest first.
        limit: how many may be kept, at least 1.
    """
    if len(kept) <= limit:
        return []
    older = kept[:-1]
    return list(older[1 : max(limit // 2, 2) : 2] or older[:1])
