"""Explorer: the whole page as one widget. It composes a session, the board, the panels, the settings and the words."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets

from explorer.bundled import asset_path
from explorer.config import Config
from explorer.presets import PRESETS
from explorer.recording.storage import Recording
from explorer.session.session import ResetNeeded, Session
from explorer.text import LANGUAGES, labels
from explorer.views.batch import batch_picture, telling_token
from explorer.views.curves_panel import CurvesPanel
from explorer.views.panels import Advantages, Kl, Objective, Samples, Tokens
from explorer.views.quantities import scales
from explorer.views.run import run_picture, series_picture
from explorer.widgets.board import Board
from explorer.widgets.controls import Controls
from explorer.widgets.player import Player

#: Seconds that slow motion waits after every stage.
SLOW_SECONDS = 1.5

#: How often the samples are drawn anew while they are on screen, in updates.
SAMPLES_EVERY = 5

#: A page that has not been heard of for so long is gone, and its training pauses. Browsers let a page in the background
#: speak about once a minute.
PAGE_GONE_SECONDS = 240.0

_by_cell: dict[str, weakref.ref[Explorer]] = {}


class Explorer(ipywidgets.Box):
    """Train a small GPT-2 with PPO, live, and see every token of it.

    Args:
        policy: None for the bundled policy, a folder with a GPT-2 checkpoint, a hub name, or a ``Policy``.
        config: the settings to begin with; None takes the preset "learn".
        rewards: reward components of your own, ``{name: fn(prompts, responses) -> B floats}``.
        prompts: the training prompts; None is the bundled story openings.
        recording: a recorded run to show before training, as a folder or a ``Recording``; None is the bundled one.
        language: ``"en"`` or ``"zh"``.

    Raises:
        ValueError: the language is unknown, or the recording cannot be read.
        TypeError: an argument has the wrong type.
    """

    def __init__(
        self,
        policy: Any = None,
        config: Config | None = None,
        rewards: Mapping[str, Callable[..., Any]] | None = None,
        prompts: Sequence[str] | None = None,
        recording: Any = None,
        language: str = "en",
    ) -> None:
        if config is not None and not isinstance(config, Config):
            raise TypeError(f"config is a {type(config).__name__}, but must be an explorer.Config.")
        config = _with_weights(config or PRESETS["learn"], rewards or {})
        words = labels(language)
        own = policy is not None or prompts is not None or bool(rewards)
        recorded = _recorded(recording, use_bundled=not own)
        self.session = Session(policy, config, rewards, prompts, recorded)
        self.board = Board(words=words, language=language, quantities=scales())
        self.player = Player(self._command, board=self.board)
        self.controls = Controls(config, PRESETS["learn"], self._edit, self._refused, board=self.board)
        self.samples = Samples(board=self.board)
        self.samples.on_msg(lambda widget, content, buffers: self._command(content))
        self.curves = CurvesPanel(self.board, self.session)
        self._asked: dict[str, Any] = {}
        self._sampled_at = -1
        self._page_seen: float | None = None
        panels = [panel(board=self.board) for panel in (Tokens, Objective, Advantages, Kl)]
        super().__init__([self.player, self.controls, *panels, self.samples, self.curves])
        self.add_class("explorer")
        self._listen()
        self._draw_batch()
        self._draw_run()
        self._draw_series()
        if self.session.shown is not None:
            self.board.pinned = telling_token(self.session.shown)
        _replace_in_cell(self)

    @property
    def config(self) -> Config:
        """The settings in the page."""
        return self.session.config

    def set(self, **changes: Any) -> None:
        """Change settings, as the sliders do; ``reset=True`` lets a change start the run anew."""
        self.session.set(**changes)

    def train(self, updates: int | None = None) -> None:
        """Press Train from Python: until paused, or for so many updates. Returns at once."""
        self.session.train(updates)

    def pause(self) -> None:
        """Pause after the stage that is running."""
        self.session.pause()

    def close(self) -> None:
        """Stop the worker and take the page down."""
        self.session.close()
        for child in [*self.children, self.board]:
            child.close()
        super().close()

    # ------------------------------------------------------------------ from the session to the board

    def _listen(self) -> None:
        session, board = self.session, self.board
        session.observe(lambda change: self._draw_batch(), "shown")
        session.observe(lambda change: self._draw_run(), ["phase", "mode", "progress", "error", "prompts", "live"])
        session.observe(lambda change: self._draw_settings(), ["config", "preset"])
        session.observe(lambda change: self._draw_policy(), "policy")
        session.observe(lambda change: setattr(board, "samples", dict(session.samples)), "samples")
        session.observe(lambda change: setattr(board, "trial", dict(session.trial)), "trial")
        board.observe(lambda change: self._draw_words(), "language")
        board.observe(lambda change: setattr(self, "_page_seen", time.monotonic()), "heartbeat")
        board.observe(lambda change: self._keep_samples_fresh(), "wants_samples")

    def _draw_batch(self) -> None:
        session = self.session
        if session.shown is None:
            self.board.batch = {}
        else:
            trained = session.recorded.config if session.recorded is not None else None
            epoch = session.cursor.epoch if session.cursor.epoch < len(session.shown.epochs) else -1
            self.board.show(
                batch=batch_picture(session.shown, epoch, trained),
                run=run_picture(session),
                series=series_picture(session.history),
            )
        self._keep_samples_fresh()

    def _draw_run(self) -> None:
        if self._page_seen is not None and time.monotonic() - self._page_seen > PAGE_GONE_SECONDS:
            self._page_seen = None
            self.session.pause()
        self.board.run = run_picture(self.session)

    def _draw_series(self) -> None:
        self.board.series = series_picture(self.session.history)

    def _draw_settings(self) -> None:
        self.controls.show(self.session.config, PRESETS[self.session.preset])
        self._draw_run()

    def _draw_policy(self) -> None:
        self.player.policy = dict(self.session.policy)

    def _draw_words(self) -> None:
        self.board.words = labels(self.board.language)

    def _keep_samples_fresh(self) -> None:
        session = self.session
        if not self.board.wants_samples or session.phase != "ready":
            return
        if (
            self._sampled_at < 0
            or session.updates < self._sampled_at
            or session.updates - self._sampled_at >= SAMPLES_EVERY
        ):
            self._sampled_at = session.updates
            session.compare()

    # ------------------------------------------------------------------ from the browser to the session

    def _edit(self, changes: dict[str, Any]) -> None:
        try:
            self.session.set(**changes)
        except ResetNeeded as needed:
            self._ask(lambda: self.session.set(reset=True, **changes))
            raise _Waiting from needed

    def _refused(self, error: BaseException) -> None:
        if not isinstance(error, _Waiting):
            self.session.report(error)

    def _ask(self, action: Callable[[], None]) -> None:
        self._asked["action"] = action
        text = self.board.words["ui"]["reset_confirm"].replace("{updates}", str(self.session.updates))
        self.player.send({"kind": "confirm", "text": text})

    def _command(self, message: dict[str, Any]) -> None:
        """Do what a button, menu or scrubber asks; what goes wrong is shown in the error panel."""
        commands: dict[str, Callable[[], None]] = {
            "train": lambda: self.session.train(message.get("updates"), until_flat=bool(message.get("until_flat"))),
            "pause": self.session.pause,
            "step": self.session.step,
            "stage": self.session.step_stage,
            "slow": lambda: self.session.set_slow(SLOW_SECONDS if message["on"] else 0.0),
            "reset": lambda: self._ask(self._reset) if self.session.live and self.session.updates else self._reset(),
            "confirm": lambda: self._confirmed(bool(message["yes"])),
            "preset": lambda: self.session.use_preset(str(message["name"])),
            "scrub": lambda: self._scrub(int(message["update"])),
            "epoch": lambda: self.session.cursor.set_trait("epoch", int(message["epoch"])),
            "follow": lambda: self.session.cursor.set_trait("follow", True),
            "language": self._next_language,
            "dismiss": self.session.dismiss,
            "compare": self.session.compare,
            "try": lambda: self.session.try_prompt(str(message["prompt"]), int(message["update"])),
            "prompts": lambda: self.session.set_prompts(list(message["prompts"])),
        }
        try:
            commands[message["kind"]]()
        except Exception as error:  # a message has no cell to show its error in
            self.session.report(error)
        self._draw_run()

    def _confirmed(self, yes: bool) -> None:
        action = self._asked.pop("action", None)
        if yes and action is not None:
            action()

    def _reset(self) -> None:
        self._sampled_at = -1
        self.session.reset()

    def _scrub(self, update: int) -> None:
        cursor = self.session.cursor
        cursor.follow = False
        cursor.update = update

    def _next_language(self) -> None:
        self.board.language = LANGUAGES[(LANGUAGES.index(self.board.language) + 1) % len(LANGUAGES)]


class _Waiting(ValueError):
    """An edit waits for the answer to a question; the slider goes back meanwhile."""


def _with_weights(config: Config, rewards: Mapping[str, Any]) -> Config:
    """Give every reward of the user's own a weight: 1 where the config has none."""
    return config.replace(**{f"weight_{name}": config.weights.get(name, 1.0) for name in rewards})


def _recorded(recording: Any, *, use_bundled: bool) -> list[Any]:
    """The snapshots to show before training: the caller's, or the bundled run's for the bundled policy."""
    if recording is None:
        if not use_bundled:
            return []
        recording = asset_path("recording")
    loaded = recording if isinstance(recording, Recording) else Recording.load(recording)
    return [loaded[i] for i in range(len(loaded))]


def _replace_in_cell(explorer: Explorer) -> None:
    """Running a cell again closes the Explorer that the same cell made before; others in the kernel live on."""
    try:
        from IPython import get_ipython

        cell = get_ipython().get_parent()["metadata"]["cellId"]
    except (ImportError, AttributeError, KeyError, TypeError):
        return
    before = _by_cell.get(cell)
    if before is not None and (old := before()) is not None:
        old.close()
    _by_cell[cell] = weakref.ref(explorer)
