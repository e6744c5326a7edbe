"""Explorer: the whole page as one widget. It composes a session, the board, the panels, the settings and the words."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets

from explorer.bundled import asset_path
from explorer.config import DEFAULT_WEIGHTS, Config
from explorer.presets import PRESETS
from explorer.recording.history import History
from explorer.recording.shelf import Shelf
from explorer.recording.storage import Recording
from explorer.session.replay import Replay
from explorer.session.session import Session
from explorer.text import labels, text
from explorer.views.batch import telling_token
from explorer.views.commands import Commands
from explorer.views.curves import Curves
from explorer.views.kept import Kept
from explorer.views.mirror import Mirror
from explorer.views.panels import (
    Advantages,
    Annotate,
    ExactToy,
    Inspector,
    Kl,
    Ladder,
    LedgerPanel,
    Objective,
    Reward,
    Runs,
    Samples,
    Tokens,
)
from explorer.views.quantities import scales
from explorer.views.time_panel import TimePanel
from explorer.widgets.board import Board
from explorer.widgets.controls import Controls
from explorer.widgets.player import Player

#: A page that has not been heard of for so long is gone, and its training pauses. Browsers let a page in the background
#: speak about once a minute.
PAGE_GONE_SECONDS = 240.0

_by_cell: dict[str, list[tuple[str, weakref.ref[Explorer]]]] = {}


class Explorer(ipywidgets.Box):
    """Train a small GPT-2 with PPO, live, and see every token of it.

    Args:
        policy: None for the bundled policy, a folder with a GPT-2 checkpoint, a hub name, or a ``Policy``.
        config: the settings to begin with; None takes the preset "learn".
        rewards: reward components of your own, ``{name: fn(prompts, responses) -> B floats}``.
        prompts: the training prompts, as a list or as the name of a bundled set: "stories", "openings" or
            "gender_pairs"; None is "stories".
        recording: a recorded run to show before training, as a folder or a ``Recording``; None is the bundled one.
        live: False shows the recording and nothing else: no policy is loaded, nothing can be trained, and PyTorch is
            imported only when a setting is moved that scores the recorded batch anew, or the ladder or the toy opened.
        language: ``"en"`` or ``"zh"``.
        device: where to compute, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``; None leaves a Policy where it is, and loads to
            the CPU.
        bf16: whether the transformers compute in bfloat16; None leaves a Policy as it is, and loads without.
        runs: where the page keeps its runs: a folder, or an ``explorer.Shelf`` that says how much of each; None is the
            user's own place for an application's data, or ``$PPO_EXPLORER_RUNS``; False keeps none.

    Raises:
        ValueError: the language is unknown, the recording cannot be read, or ``live=False`` comes with something that
            only training would take.
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
        device: str | None = None,
        bf16: bool | None = None,
        live: bool = True,
        runs: Shelf | str | Path | bool | None = None,
    ) -> None:
        if config is not None and not isinstance(config, Config):
            raise TypeError(f"config is a {type(config).__name__}, but must be an explorer.Config.")
        if rewards is not None and not isinstance(rewards, Mapping):
            raise TypeError(f"rewards is a {type(rewards).__name__}, but must map each reward's name to its function.")
        words = labels(language)
        self.session: Session | Replay
        if live:
            config = _with_weights(config or PRESETS["learn"], rewards or {})
            own = policy is not None or prompts is not None or bool(rewards)
            recorded = History(recorded=None if own and recording is None else _opened(recording))
            shelf = _shelf(runs)
            self.session = Session(policy, config, rewards, prompts, recorded, device=device, bf16=bf16, shelf=shelf)
        else:
            given = {"policy": policy, "config": config, "rewards": rewards, "prompts": prompts}
            _refuse({**given, "device": device, "bf16": bf16, "runs": runs})
            self.session = Replay(_opened(recording))
            config = self.session.config
        self.board = Board(words=words, language=language, quantities=scales())
        if isinstance(self.session, Replay):
            recorded_by = str(self.session.recording.info.get("policy", ""))[:80]
            self.board.replay = {"name": self.session.recording.name, "policy": recorded_by}
        self.player = Player(self._command, board=self.board)
        self.commands = Commands(
            self.session, self.board, lambda told: self.player.send(told), lambda n: self.controls.forget(n)
        )
        edit, refused = self.commands.edit, self.commands.refused
        self.controls = Controls(config, self.session.compared, edit, refused, board=self.board)
        self.controls.on_msg(lambda widget, content, buffers: self._command(content))
        self.samples = Samples(board=self.board)
        self.samples.on_msg(lambda widget, content, buffers: self._command(content))
        self.toy = ExactToy(self.session.report, self.session.dismiss, board=self.board)
        self.inspector = Inspector(self.session.report, board=self.board)
        self.ladder = Ladder(self.session.report, board=self.board)
        self.reward = Reward(self.commands.edit_reward, board=self.board)
        self.annotate = Annotate(self.commands.annotate, board=self.board)
        self.time = TimePanel(self.session, board=self.board)
        self.time.on_msg(lambda widget, content, buffers: self._command(content))
        self.runs = Runs(board=self.board)
        self.runs.on_msg(lambda widget, content, buffers: self._command(content))
        self.curves = Curves(self.board, list(config.weights))
        self.curves.on_msg(lambda widget, content, buffers: self._command(content, only=("scrub", "walk")))
        self._page_seen: float | None = None
        panels = [panel(board=self.board) for panel in (Tokens, Objective, Advantages, Kl, LedgerPanel)]
        tokens, objective, advantages, kl, ledger = panels
        lower = [
            advantages,
            self.reward,
            self.annotate,
            ledger,
            self.ladder,
            self.inspector,
            self.time,
            self.samples,
            self.toy,
            self.runs,
        ]
        objective.on_msg(lambda widget, content, buffers: self._command(content))  # the clip picture plays the epochs
        columns = _column("middle", tokens, *lower), _column("side", objective, kl, self.curves)
        super().__init__([self.player, self.controls, *columns])
        self.add_class("explorer")
        self.mirror = Mirror(self.session, self.board, self.player, self.controls, self.curves)
        self._kept = Kept(self.session, self.board)
        self.board.observe(lambda change: setattr(self, "_page_seen", time.monotonic()), "heartbeat")
        self.session.observe(lambda change: self._watch_page(), "updates")
        if not isinstance(self.session, Replay):
            self.session.grid.observe(lambda change: self._watch_page(), "progress")
        self.session.observe(lambda change: self._draw_toy(), ["config", "held", "phase"])
        self.board.observe(lambda change: self._draw_toy(), "lower")
        self._draw_toy()
        self.session.observe(lambda change: self._draw_close(), ["shown", "phase"])
        self.session.cursor.observe(lambda change: self._draw_close(), "epoch")
        self.board.observe(lambda change: self._look_at_component(), ["pinned", "lower"])
        self.board.observe(lambda change: self._look_at_annotator(), "lower")
        self.reward.observe(lambda change: self._look_at_component(), "chosen")
        self._draw_close()
        if self.session.shown is not None:
            self.board.pinned = telling_token(self.session.shown)
        _replace_in_cell(self)

    @property
    def views(self) -> list[ipywidgets.DOMWidget]:
        """Every view of the page: the player, the settings and the panels, column by column."""
        found: list[ipywidgets.DOMWidget] = []
        for child in self.children:
            found.extend(child.children if isinstance(child, ipywidgets.Box) else [child])
        return found

    @property
    def config(self) -> Config:
        """The settings in the page."""
        return self.session.config

    def set(self, **changes: Any) -> None:
        """Change settings, as the sliders do; ``reset=True`` lets a change start the run anew."""
        self.session.set(**changes)

    def train(self, updates: int | None = None) -> None:
        """Press Train from Python: until paused, or for so many updates. Returns at once."""
        self.commands.training.train(updates)

    def pause(self) -> None:
        """Pause after the stage that is running."""
        self.commands.training.pause()

    def open_run(self, run: str | Path) -> None:
        """Show a run, and go on with it at the next press of Train.

        Args:
            run: its id on the shelf; or a folder, which stays where it is: that of a run, or of a seed grid, whose runs
                are then on the page's list and drawn behind the curves.

        Raises:
            ValueError: there is no such run.
            TypeError: it is neither.
        """
        if not isinstance(run, str | Path):
            raise TypeError(f"run is a {type(run).__name__}, but must be the id of a run or a folder.")
        self.commands.training.library.open(run)

    def rewind(self, update: int) -> None:
        """Go back to a kept state of the run on screen: what is trained from there on is a branch."""
        self.commands.training.runs.rewind(update)

    def close(self) -> None:
        """Stop the worker and take the page down."""
        if hasattr(self, "session"):  # an argument may have been refused before there was one
            self.session.close()
            for child in [*self.views, *self.children, self.board]:
                child.close()
        super().close()

    def _ipython_display_(self) -> None:
        """The live page, and below it the still that a notebook keeps of it."""
        from IPython.display import display

        if self.comm is None:
            display({"text/plain": repr(self)}, raw=True)
            return
        words = {"text/plain": text(self.board.language, "ui.title")}
        display({**self._repr_mimebundle_(), **words}, raw=True)
        self._kept.show()

    def _command(self, message: dict[str, Any], only: Sequence[str] = ()) -> None:
        """Do what the page asks, and show at once where the run stands then; ``only``: what such a view may ask."""
        if only and message["kind"] not in only:
            return
        self.commands.take(message)
        self.mirror.draw_run()

    def _watch_page(self) -> None:
        """Pause when the page has not been heard of for long."""
        if self._page_seen is not None and time.monotonic() - self._page_seen > PAGE_GONE_SECONDS:
            self._page_seen = None
            self.commands.training.pause()
            self.session.note = "page_gone"

    def _draw_toy(self) -> None:
        """The toy follows ε, the objective, γ and λ of the page; it needs PyTorch, which a replay loads for it."""
        if self.board.lower in ("toy", "ladder") and isinstance(self.session, Replay):
            self.session.load_scoring()
        self.toy.under(self.session.tried if self.session.phase == "ready" else None)

    def _draw_close(self) -> None:
        """The batch seen closely; the ladder's estimators need PyTorch."""
        shown, epoch = self.session.shown, self.session.cursor.epoch
        epoch = epoch if shown is not None and 0 <= epoch < len(shown.epochs) else -1
        self.inspector.under(shown, epoch)
        self.time.under(shown, epoch)
        self.ladder.under(shown if self.session.phase == "ready" else None)

    def _look_at_component(self) -> None:
        """What the chosen component finds in the pinned response is worked out while it is on screen."""
        if not isinstance(self.session, Replay):
            looking = self.board.lower == "reward" and self.board.pinned and self.reward.chosen
            self.session.components.asked = (self.board.pinned[0], self.reward.chosen) if looking else None

    def _look_at_annotator(self) -> None:
        """Responses are drawn and fitted for the annotator while it is on screen."""
        if not isinstance(self.session, Replay):
            self.session.annotator.wanted = self.board.lower == "annotate"


def _column(name: str, *panels: ipywidgets.DOMWidget) -> ipywidgets.Box:
    """Panels below each other where there is room for columns; one that is folded leaves its room to the others."""
    column = ipywidgets.Box(panels)
    column.add_class(f"explorer-{name}")
    return column


def _with_weights(config: Config, rewards: Mapping[str, Any]) -> Config:
    """Give every component a slider: built-in ones that the config does not name at 0, the user's own at 1."""
    return config.replace(
        weights={**dict.fromkeys(DEFAULT_WEIGHTS, 0.0), **dict.fromkeys(rewards, 1.0), **config.weights}
    )


def _shelf(runs: Shelf | str | Path | bool | None) -> Shelf | None:
    """Where the page keeps its runs; None where it keeps none."""
    if isinstance(runs, Shelf):
        return runs
    if isinstance(runs, bool):
        return Shelf() if runs else None
    if runs is not None and not isinstance(runs, str | Path):
        raise TypeError(f"runs is a {type(runs).__name__}, but must be a folder, an explorer.Shelf, or False.")
    if runs is not None and (not str(runs).strip() or "\0" in str(runs)):
        raise ValueError(f"runs is {str(runs)!r}, which is no folder: name one, or give False to keep no runs.")
    if runs is not None and Path(runs).expanduser().is_file():
        raise ValueError(f"runs is '{runs}', which is a file: name a folder.")
    return Shelf(runs)


def _opened(recording: Any) -> Recording:
    """The caller's recorded run, or the bundled one."""
    if isinstance(recording, Recording):
        return recording
    return Recording.load(asset_path("recording") if recording is None else recording)


def _refuse(given: Mapping[str, Any]) -> None:
    """A recording takes nothing that only training would use."""
    named = [name for name, value in given.items() if value is not None]
    if named:
        raise ValueError(f"live=False shows a recording and trains nothing: leave out {', '.join(named)}.")


def _replace_in_cell(explorer: Explorer) -> None:
    """Running a cell again closes the Explorers that its last run made; others in the kernel live on."""
    try:
        from IPython import get_ipython

        parent = get_ipython().get_parent()
        cell, run = parent["metadata"]["cellId"], parent["header"]["msg_id"]
    except (ImportError, AttributeError, KeyError, TypeError):
        return
    made = _by_cell.setdefault(cell, [])
    for before, old in made:
        if before != run and (live := old()) is not None:
            live.close()
    _by_cell[cell] = [(before, old) for before, old in made if before == run] + [(run, weakref.ref(explorer))]
