"""The place of the run's curves on the page: filled once the page is on screen, kept in step with the session."""

from __future__ import annotations

import threading
from typing import Any

import ipywidgets

from explorer.session.session import Session
from explorer.session.throttle import Throttle
from explorer.views.curves import Curves, figure
from explorer.widgets.board import Board


class CurvesPanel(ipywidgets.Box):
    """An empty box at first: plotly's script weighs 5 MB and would hold the page back.

    Args:
        board: says when the page is on screen, its theme, words and the size of this place.
        session: whose history is drawn.
    """

    def __init__(self, board: Board, session: Session) -> None:
        super().__init__()
        self.add_class("explorer-curves")
        self.board, self.session = board, session
        self.curves: Curves | None = None
        self._warm = False
        threading.Thread(target=self._warm_up, name="ppo-explorer-plotly", daemon=True).start()
        self._drawing = Throttle(session.loop, self._draw)
        session.observe(lambda change: self.draw(), ["shown", "updates"])
        board.observe(lambda change: self._add(), "drawn")
        board.observe(lambda change: self._restyle(), ["shown_theme", "words"])
        board.observe(lambda change: self._resize(), "curves_size")

    def draw(self) -> None:
        """Draw the history as it is, with the update on screen marked, soon."""
        self._drawing.request()

    def _draw(self) -> None:
        if self.curves is None:
            return
        if not self.session.history:
            self.curves.reset()
        self.curves.show(self.session.history, self.session.cursor.update, self.board.words)

    def close(self) -> None:
        """Take the figure down with the box."""
        for child in self.children:
            child.close()
        super().close()

    def _warm_up(self) -> None:
        """What is slow in plotly is its first figure, and the kernel's loop has sliders to serve meanwhile."""
        figure([], live=False)
        self.session.loop.post(self._warmed)

    def _warmed(self) -> None:
        self._warm = True
        self._add()

    def _add(self) -> None:
        if self._warm and self.board.drawn and self.curves is None:
            self.curves = Curves(list(self.session.config.weights))
            self._restyle()
            self._resize()
            self._draw()
            self.children = [self.curves.widget]

    def _restyle(self) -> None:
        if self.curves is not None:
            self.curves.style(self.board.shown_theme or "light", self.board.words)
            self.draw()

    def _resize(self) -> None:
        size: list[Any] = self.board.curves_size
        if self.curves is not None and len(size) == 2:
            self.curves.resize(*size)
