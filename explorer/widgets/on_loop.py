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


class OnLoop:
    """A mixin, to the left of a widget class: its observers and callbacks always run on the loop it was made on."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._home = Loop()
        self._home_thread = threading.get_ident()
        super().__init__(*args, **kwargs)

    def _handle_msg(self, message: dict[str, Any]) -> None:
        handle = super()._handle_msg  # type: ignore[misc]  # the widget's own, to the right of this mixin
        if threading.get_ident() == self._home_thread:
            handle(message)
        else:
            self._home.post(handle, message)


class OnLoopWidget(OnLoop, anywidget.AnyWidget):
    """An anywidget that keeps to the loop."""


class BoardView(OnLoopWidget):
    """A view of the shared Board: what is on screen, the pinned token, the words.

    Subclasses name their own script; it is put behind those that every view shares.
    """

    board = traitlets.Any(help="The Board, by reference.").tag(
        sync=True, to_json=lambda b, _: f"IPY_MODEL_{b.model_id}"
    )
