"""The panel of time: the epochs of the update on screen, the updates beside it, and a prompt's answers over the run."""

from __future__ import annotations

from typing import Any

from traitlets import Dict

from explorer.recording.snapshot import Snapshot
from explorer.session.glances import Glances
from explorer.session.screen import Screen
from explorer.views.panels import WhileOpen
from explorer.views.time import answers_picture, next_to_read, steps_picture, time_picture
from explorer.widgets.scripts import script, style


class TimePanel(WhileOpen):
    """The ratios by epoch, the steps of the updates beside, the same prompt across the run (``widgets/time.js``).

    What comes from other updates is read while the page rests, and follows the rest.

    Args:
        session: what is on screen, and the run that it is of.
    """

    _esm = script("time")
    _css = style()
    key = "time"

    past = Dict(
        help="{update, prompt, kept, first, updates, steps, answers}: see explorer.views.time; prompt is None without "
        "a pinned response, kept and updates are how many there are, first is the oldest that is kept."
    ).tag(sync=True)

    def __init__(self, session: Screen, **traits: Any) -> None:
        self._session = session
        self._glances = Glances(session.loop, self._draw_past, session.report)
        super().__init__(session.report, **traits)
        self.board.observe(lambda change: self._look(), "pinned")

    def _picture(self, shown: Any, epoch: int) -> dict[str, Any]:
        return time_picture(shown, epoch)

    def _draw(self) -> None:
        super()._draw()
        self._look()

    def _look(self) -> None:
        """Draw what is there of other updates, and have the rest read; while another panel is in its place, none."""
        if self.board.lower != self.key:
            self._glances.forget()
            return
        self._draw_past()
        kept, update, (prompt, _) = self._session.history.kept, self._update, self._asked_for
        if kept:
            self._glances.ask(lambda: next_to_read(kept, update, prompt, self._notes))

    @property
    def _update(self) -> int:
        recorded = self._session.recorded
        return 0 if recorded is None else int(recorded.update)

    @property
    def _notes(self) -> Any:
        return self._glances.of(self._session.history)

    @property
    def _asked_for(self) -> tuple[str | None, int]:
        """The pinned response's prompt, and which of the answers to it the response is."""
        shown, pinned = self._session.shown, self.board.pinned
        if shown is None or not pinned or pinned[0] >= len(shown.tokens.prompts):
            return None, 0
        prompts = shown.tokens.prompts
        return prompts[pinned[0]], prompts[: pinned[0]].count(prompts[pinned[0]])

    def _draw_past(self) -> None:
        session, notes = self._session, self._notes
        kept, update, (prompt, place) = session.history.kept, self._update, self._asked_for
        if isinstance(session.recorded, Snapshot):
            self._glances.take(session.recorded)
        self.past = {
            "update": update,
            "prompt": prompt,
            "kept": len(kept),
            "first": kept[0] if kept else 0,
            "updates": len(session.history),
            "steps": steps_picture(kept, update, notes),
            "answers": [] if prompt is None else answers_picture(kept, update, prompt, place, notes),
        }
