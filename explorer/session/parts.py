"""The exact parts of the gradient for the batch on screen, computed in the worker where they are asked for.

They cost a good part of an update, so nobody gets them unasked: they are computed while they are wanted and the batch
on screen stays, that is while the run is paused or an earlier update is looked at.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from traitlets import Any as AnyTrait
from traitlets import Bool, HasTraits

from explorer.recording.snapshot import Snapshot

if TYPE_CHECKING:
    from explorer.session.replay import Replay
    from explorer.session.session import Session

#: ``pause``: the run goes on, and they would be outdated at once. ``recorded``: a recorded run has no weights.
#: ``gone``: those of this update are no longer kept. ``unfinished``: an update is being stepped.
State = Literal["", "there", "computing", "pause", "recorded", "gone", "unfinished", "failed"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """What there is to show.

    Attributes:
        state: "" where nobody asks.
        update: of the batch on screen.
        nearest: where this update's weights are gone, the nearest that has its own.
        parts: ``[B, T]`` read-only, summing to 1; None unless the state is ``there``.
    """

    state: State = ""
    update: int = 0
    nearest: int = 0
    parts: Any = None


class GradientParts(HasTraits):
    """Keeps ``answer`` in step with a session's screen; everything here runs on the loop but the job itself.

    Args:
        session: whose batch on screen is meant, and whose worker computes.
    """

    wanted = Bool(False, help="Whether the tokens are coloured by their parts.")
    answer = AnyTrait(Answer(), help="An Answer.")

    def __init__(self, session: Session | Replay) -> None:
        super().__init__()
        self._session: Any = session  # of a Replay no more is asked than that it is not live
        self._busy = False
        self._of: Any = None
        session.observe(self._look, ["shown", "mode", "live", "waiting"])
        session.cursor.observe(self._look, "follow")
        self.observe(self._look, "wanted")

    def _look(self, change: Any = None) -> None:
        """Say where things stand, and have the parts computed where they can be."""
        shown = self._session.shown
        if not self.wanted or shown is None:
            self.answer = Answer()
        elif self.answer.state not in ("there", "failed") or self._of is not shown:
            self.answer = self._where_things_stand(shown)
            if self.answer.state == "computing":
                self._compute(shown)

    def _where_things_stand(self, shown: Any) -> Answer:
        session = self._session
        if not session.live or session.waiting:
            return Answer(state="recorded", update=shown.update)
        if not isinstance(shown, Snapshot):
            return Answer(state="unfinished", update=shown.update)
        kept = session.weights_kept
        # The worker may have paused while its newest update is still on its way to the screen.
        going_on = session.mode != "paused" or max(kept, default=0) > shown.update
        if going_on and session.cursor.follow:
            return Answer(state="pause", update=shown.update)
        if shown.update not in kept:
            nearest = min(kept, key=lambda update: abs(update - shown.update), default=0)
            return Answer(state="gone", update=shown.update, nearest=nearest)
        return Answer(state="computing", update=shown.update)

    def _compute(self, shown: Snapshot) -> None:
        """Ask the worker; one job at a time, and when it is back for what is on screen then."""
        if self._busy:
            return
        self._busy = True
        session = self._session

        def job() -> None:
            try:
                parts = session.engine.batches.gradient_parts(shown)
            except BaseException:
                session.loop.post(self._take, shown, None)
                raise
            session.loop.post(self._take, shown, parts)

        session.worker.submit(job)

    def _take(self, of: Snapshot, parts: Any) -> None:
        self._busy = False
        if self.wanted and of is self._session.shown:
            self._of = of
            self.answer = Answer(state="failed" if parts is None else "there", update=of.update, parts=parts)
        else:
            self._look()
