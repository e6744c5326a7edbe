"""The still that stays in a notebook: an output of its own below the live page, renewed as the run goes on.

JupyterLab draws one form of an output, and where that is a widget without a kernel it draws a message, whatever other
forms the output has. So the still is not another form of the widget's output but another output; the live page hides
it, by a rule in ``widgets/player.js``.
"""

from __future__ import annotations

import os
from typing import Any

from explorer.session.throttle import Throttle
from explorer.views.still import still_html, still_line
from explorer.widgets.board import Board

#: How often the still is drawn anew while the run trains, in times a second: it is only looked at afterwards.
PER_SECOND = 0.05


class Kept:
    """Keeps a notebook's still of a page up to date, once it has been shown.

    Args:
        session: whose changes are followed.
        board: what is drawn.
    """

    def __init__(self, session: Any, board: Board) -> None:
        self._board = board
        self._handle: Any = None
        later = Throttle(session.loop, self._renew, PER_SECOND)
        session.observe(lambda change: later.request(), "shown")
        session.observe(lambda change: self._renew() if change["new"] == "paused" else None, "mode")
        board.observe(lambda change: self._renew(), "words")

    def show(self) -> None:
        """Put the still below the page, in a kernel whose notebook can be kept: Voila's cannot."""
        from IPython import get_ipython
        from IPython.display import display

        if hasattr(get_ipython(), "kernel") and "VOILA_BASE_URL" not in os.environ:
            self._handle = display(self._bundle(), raw=True, display_id=True)

    def _renew(self) -> None:
        if self._handle is not None:
            self._handle.update(self._bundle(), raw=True)

    def _bundle(self) -> dict[str, str]:
        board = self._board
        html = still_html(board.batch, board.series, board.language, board.model_id)
        return {"text/plain": still_line(board.batch, board.language), "text/html": html}
