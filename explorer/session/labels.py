"""The labels of one annotator, on disk as they are made: on the shelf beside the runs, so that they outlast the page.

    preferences/you.jsonl               what the reader has said
    preferences/mentions_animal.jsonl   what a simulated annotator has said that goes by this rule

Nothing reads these names but this: each file has the common form, and can be exported, imported and trained on alike.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from explorer.ppo.preferences.comparisons import Comparison
    from explorer.ppo.preferences.label_file import BadLine
    from explorer.recording.shelf import Shelf

#: The folder on the shelf.
FOLDER = "preferences"

#: Who labels unless another is chosen.
YOU = "you"


class Unsaved:
    """Labels of a page that keeps nothing: as a ``LabelFile``, in memory."""

    path: Path | None = None

    def __init__(self) -> None:
        self.comparisons: list[Comparison] = []
        self.bad: list[BadLine] = []

    def append(self, comparison: Comparison) -> None:
        """Add one comparison."""
        self.comparisons.append(comparison)

    def extend(self, comparisons: Iterable[Comparison]) -> None:
        """Add several."""
        self.comparisons += comparisons

    def undo(self) -> Comparison | None:
        """Take the newest comparison back; None where there is none left."""
        return self.comparisons.pop() if self.comparisons else None


def open_labels(shelf: Shelf | None, annotator: str) -> Unsaved:
    """The labels that an annotator has made so far; without a shelf they are kept as long as the page.

    Raises:
        PreferenceError: the file is there and cannot be read.
    """
    if shelf is None:
        return Unsaved()
    from explorer.ppo.preferences.label_file import LabelFile

    return LabelFile(shelf.root / FOLDER / f"{annotator}.jsonl")  # type: ignore[return-value]  # it does the same
