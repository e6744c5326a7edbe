"""Bring every message from the browser home to the kernel's main loop.

JupyterLab 4.4 and later may send widget messages over a kernel subshell, whose observers then run on a thread of
their own. ``_handle_msg`` is private to ipywidgets: it is overridden here and nowhere else, and a kernel test notices
when it changes.
"""

from __future__ import annotations

import threading
from typing import Any

import anywidget
import traitlets

from explorer.session.loop import Loop


class OnLoopWidget(anywidget.AnyWidget):
    """An anywidget whose observers and message callbacks always run on the loop it was made on."""

    def __init__(self, **traits: Any) -> None:
        self._home = Loop()
        self._home_thread = threading.get_ident()
        super().__init__(**traits)

    def _handle_msg(self, message: dict[str, Any]) -> None:
        if threading.get_ident() == self._home_thread:
            super()._handle_msg(message)
        else:
            self._home.post(super()._handle_msg, message)


class BoardView(OnLoopWidget):
    """A view of the shared Board: what is on screen, the pinned token, the words.

    Subclasses name their own script; it is put behind ``common.js``, which every view shares.
    """

    board = traitlets.Any(help="The Board, by reference.").tag(
        sync=True, to_json=lambda b, _: f"IPY_MODEL_{b.model_id}"
    )
