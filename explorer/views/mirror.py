"""From the session to the board: whatever changes in the session is written to what the browser reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from explorer.session.replay import Replay
from explorer.session.session import Session
from explorer.session.throttle import Throttle
from explorer.text import labels
from explorer.views.annotate import annotate_picture
from explorer.views.batch import batch_picture
from explorer.views.behind import behind_picture
from explorer.views.curves import Curves
from explorer.views.gauge import gauge_picture
from explorer.views.ledger import ledger_picture
from explorer.views.parts import parts_picture
from explorer.views.quantities import ON_DEMAND
from explorer.views.reward import reward_picture
from explorer.views.run import claims_in_force, run_picture
from explorer.views.runs import runs_picture
from explorer.views.scoring import ghost_picture, plane_picture
from explorer.widgets.board import Board
from explorer.widgets.controls import Controls
from explorer.widgets.player import Player

#: How often the samples are drawn anew while they are on screen, in updates.
SAMPLES_EVERY = 5


class Mirror:
    """Keeps board, player and controls in step with a session; a drawing that fails shows its error and harms no other.

    Args:
        session: what is mirrored.
        board, player, controls, curves: what is written.
    """

    def __init__(
        self, session: Session | Replay, board: Board, player: Player, controls: Controls, curves: Curves
    ) -> None:
        self.session, self.board, self.player, self.controls, self.curves = session, board, player, controls, curves
        self._sampled_at = -1
        self._drawn_claims: list[dict[str, Any]] = []
        self._haunted: tuple[Any, int, dict[str, Any]] = (None, -1, {})
        self._run = Throttle(session.loop, self._guarded(self.draw_run))
        self._curves = Throttle(session.loop, self._guarded(self.draw_series))
        self._others = Throttle(session.loop, self._guarded(self.draw_others))
        self._shelf = Throttle(session.loop, self._guarded(self.draw_shelf))
        for names, draw in (
            (["recorded"], self.draw_series),  # changes with the cursor and the run, not with a slider; before "shown"
            (["shown"], self.draw_batch),
            (["updates"], self.draw_behind),
            (["phase", "mode", "progress", "error", "prompts", "live", "note"], self._run.request),
            (["behind"], self._others.request),
            (["config", "held", "preset", "compared"], self.draw_settings),
            (["policy"], self.draw_policy),
            (["samples", "trial"], self.draw_samples),
            (["phase", "updates"], self.keep_samples_fresh),
        ):
            session.observe(self._on_change(draw), names)
        session.cursor.observe(self._on_change(self.draw_batch), "epoch")
        session.parts.observe(self._on_change(self.draw_parts), "answer")
        board.observe(self._on_change(self.draw_words), "language")
        board.observe(self._on_change(self.keep_samples_fresh), "wants_samples")
        board.observe(self._on_change(self.want_parts), "quantity")
        board.observe(self._on_change(self.draw_ledger), ["pinned", "hovering", "lower"])
        board.observe(self._on_change(self.draw_reward), "lower")
        board.observe(self._on_change(self.want_gauge), "run_view")
        session.observe(self._on_change(self.draw_reward), ["shown", "config", "phase"])
        session.observe(self._on_change(self.draw_plane), ["shown", "config", "held", "phase"])
        if not isinstance(session, Replay):
            session.untouched.observe(self._on_change(self.draw_gauge), "sample")
            session.components.observe(self._on_change(self.draw_reward), ["closely", "reasons", "removed"])
            session.annotator.observe(self._on_change(self.draw_annotator), "state")
            session.observe(self._on_change(self.draw_annotator), "config")
            board.observe(self._on_change(self.draw_annotator), "lower")
            for source, names in (
                (session.runs, ["run", "opening", "states", "branch", "parting"]),
                (session.library, ["entries", "saved", "notes", "damage"]),
                (session.grid, ["progress"]),
                (session, ["behind"]),
            ):
                source.observe(lambda change: self._shelf.request(), names)
            session.runs.observe(lambda change: self._run.request(), ["run", "opening", "broken"])
            session.runs.observe(self._on_change(self.keep_shelf_fresh), ["run", "states"])
            session.observe(self._on_change(self.keep_shelf_fresh), "mode")
            session.observe(self._on_update, "updates")
            session.grid.observe(self._on_grid, "progress")
            board.observe(self._on_change(self.keep_shelf_fresh), "lower")
            self.draw_shelf()
        self.draw_batch()
        self.draw_plane()
        self.draw_series()

    def draw_batch(self) -> None:
        """The update at the cursor, at the epoch at the cursor."""
        session, shown = self.session, self.session.shown
        batch: dict[str, Any] = {}
        epoch = -1
        if shown is not None:
            trained = session.recorded.config if session.recorded is not None else None
            epoch = session.cursor.epoch if 0 <= session.cursor.epoch < len(shown.epochs) else -1
            batch = batch_picture(shown, epoch, trained)
        ghost = self._ghost(epoch) if batch.get("rescored") else {}
        self.board.show(batch=batch, ghost=ghost, run=run_picture(session, self.board.language))
        self.draw_ledger()

    def draw_plane(self) -> None:
        """The objective under the settings while there is no update on screen, once PyTorch is there to reckon it."""
        session = self.session
        empty = session.shown is None and session.phase == "ready"
        self.board.plane = plane_picture(session.tried) if empty else {}

    def _ghost(self, epoch: int) -> dict[str, Any]:
        """The scoring as trained; the same object while a slider is dragged, so that it is sent but once."""
        recorded = self.session.recorded
        if self._haunted[0] is not recorded or self._haunted[1] != epoch:
            self._haunted = recorded, epoch, ghost_picture(recorded, epoch)
        return self._haunted[2]

    def draw_ledger(self) -> None:
        """The ledger of the token under the pointer, else of the pinned one, while it is on screen."""
        if self.board.lower == "ledger":
            shown, epoch = self.session.shown, self.session.cursor.epoch
            known = shown is not None and 0 <= epoch < len(shown.epochs)
            self.board.ledger = ledger_picture(shown, self.board.hovering or self.board.pinned, epoch if known else -1)

    def draw_reward(self) -> None:
        """The reward's components, while they are on screen."""
        if self.board.lower == "reward":
            self.board.reward = reward_picture(self.session)

    def draw_annotator(self) -> None:
        """Pairs to label and what the labels have taught, while they are on screen."""
        if self.board.lower == "annotate" and not isinstance(self.session, Replay):
            self.board.annotate = annotate_picture(self.session)

    def draw_run(self) -> None:
        """Where the run stands."""
        self.board.run = run_picture(self.session, self.board.language)

    def draw_series(self) -> None:
        """The run's curves, with the update at the cursor among their points."""
        recorded = self.session.recorded
        cursor = 0 if recorded is None else recorded.update
        claims = self._drawn_claims = claims_in_force(self.session)
        self.board.series = self.curves.series.picture(self.session.history, cursor, self.board.behind, claims)
        self.draw_gauge()

    def draw_gauge(self) -> None:
        """Score and judge against √KL, while they are on screen."""
        if self.board.run_view == "gauge":
            self.board.gauge = gauge_picture(self.session)

    def want_gauge(self) -> None:
        """The untouched policy's answers are measured while the gauge is on screen."""
        if not isinstance(self.session, Replay):
            self.session.untouched.wanted = self.board.run_view == "gauge"
        self.draw_gauge()

    def draw_others(self) -> None:
        """Other runs behind the run's own lines, on axes that take them in."""
        with self.board.hold_sync():
            self.board.behind = behind_picture(self.session.behind)
            self.draw_series()

    def draw_behind(self) -> None:
        """The curves go on while the screen shows an earlier update; otherwise they come with every batch."""
        if not self.session.cursor.follow:
            self._curves.request()

    def draw_shelf(self) -> None:
        """The recorded runs."""
        self.board.shelf = runs_picture(self.session)

    def keep_shelf_fresh(self) -> None:
        """Read the shelf anew while it is on screen, when the run there has been written to."""
        if self.board.lower == "runs" and not isinstance(self.session, Replay):
            self.session.library.refresh()

    def _on_update(self, change: Any) -> None:
        """The row of the run on screen grows with it."""
        if self.board.lower == "runs":
            self._shelf.request()

    def _on_grid(self, change: Any) -> None:
        """The shelf has another run with each seed that begins, and the last numbers when the grid has ended."""
        if any(change["old"].get(name) != change["new"].get(name) for name in ("state", "seed")):
            self._guarded(self.keep_shelf_fresh)()

    def draw_settings(self) -> None:
        """The settings beside those that they are compared with."""
        self.controls.show(self.session.tried, self.session.compared)
        others = self.curves.follow(list(self.session.config.weights))
        if others or claims_in_force(self.session) != self._drawn_claims:
            self.draw_series()
        self.draw_gauge()
        self._run.request()

    def draw_policy(self) -> None:
        """What is being trained."""
        self.player.policy = dict(self.session.policy)

    def draw_samples(self) -> None:
        """The answers side by side."""
        self.board.show(samples=dict(self.session.samples), trial=dict(self.session.trial))

    def want_parts(self) -> None:
        """The exact parts of the gradient are computed while the tokens are to be coloured by them."""
        self.session.parts.wanted = self.board.quantity in ON_DEMAND

    def draw_parts(self) -> None:
        """The exact parts of the gradient for the batch on screen, or why they are not there."""
        answer = self.session.parts.answer
        self.board.parts = parts_picture(
            answer, None if answer.parts is None else self.session.shown.rollout.response_mask
        )

    def draw_words(self) -> None:
        """Every word in the chosen language."""
        self.board.words = labels(self.board.language)

    def keep_samples_fresh(self) -> None:
        """Ask for new answers every few updates while they are on screen."""
        session = self.session
        if not self.board.wants_samples or session.phase != "ready" or isinstance(session, Replay):
            return
        age = session.updates - self._sampled_at
        if self._sampled_at < 0 or age < 0 or age >= SAMPLES_EVERY:
            self._sampled_at = session.updates
            session.compare()

    def _on_change(self, draw: Callable[[], None]) -> Callable[[Any], None]:
        guarded = self._guarded(draw)
        return lambda change: guarded()

    def _guarded(self, draw: Callable[[], None]) -> Callable[[], None]:
        def guarded() -> None:
            try:
                draw()
            except Exception as error:  # an observer has no cell to show its error in
                self.session.report(error)

        return guarded
