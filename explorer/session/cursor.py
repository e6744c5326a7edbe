"""The one shared selection in time: which update and which of its epochs every panel shows."""

from __future__ import annotations

from traitlets import Bool, HasTraits, Int


class Cursor(HasTraits):
    """Which update and epoch are on screen. The pinned token is the browser's, in ``widgets/board.py``."""

    follow = Bool(True, help="Whether the newest update is shown as soon as it is there.")
    update = Int(0, help="The update on screen, 0 before the first.")
    epoch = Int(-1, help="Index into the snapshot's epochs; -1 is the policy after the last step.")
