"""Explorer: the whole page as one widget. It composes a session, the board, the panels, the settings and the words."""

from __future__ import annotations

import re
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import ipywidgets

from explorer.bundled import asset_path
from explorer.config import CHOICES, DEFAULT_WEIGHTS, FIELDS, Config
from explorer.presets import PRESETS
from explorer.recording.history import History
from explorer.recording.shelf import Shelf
from explorer.recording.storage import Recording
from explorer.session.replay import Replay
from explorer.session.session import ResetNeeded, Session
from explorer.text import LANGUAGES, labels, text
from explorer.views.batch import telling_token
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

#: Seconds that slow motion waits after every stage: as long as its sentence takes to be read.
SLOW_SECONDS = 3.0

#: A page that has not been heard of for so long is gone, and its training pauses. Browsers let a page in the background
#: speak about once a minute.
PAGE_GONE_SECONDS = 240.0

#: What may be done while a question is open: to look at the run changes nothing that it is about.
LEAVES_THE_QUESTION = frozenset(
    {
        "confirm",
        "scrub",
        "epoch",
        "walk",
        "follow",
        "show",
        "dismiss",
        "compare",
        "try",
        "rename",
        "save",
        "behind",
        "note",
    }
)

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
            imported only when a setting is moved that scores the recorded batch anew.
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
        self.controls = Controls(config, self.session.compared, self._edit, self._refused, board=self.board)
        self.controls.on_msg(lambda widget, content, buffers: self._command(content))
        self.samples = Samples(board=self.board)
        self.samples.on_msg(lambda widget, content, buffers: self._command(content))
        self.toy = ExactToy(self.session.report, self.session.dismiss, board=self.board)
        self.inspector = Inspector(self.session.report, board=self.board)
        self.ladder = Ladder(self.session.report, board=self.board)
        self.reward = Reward(self._edit_reward, board=self.board)
        self.annotate = Annotate(self._annotate, board=self.board)
        self.time = TimePanel(self.session, board=self.board)
        self.time.on_msg(lambda widget, content, buffers: self._command(content))
        self.runs = Runs(board=self.board)
        self.runs.on_msg(lambda widget, content, buffers: self._command(content))
        self.curves = Curves(self.board, list(config.weights))
        self.curves.on_msg(
            lambda widget, content, buffers: content["kind"] in ("scrub", "walk") and self._command(content)
        )
        self._asked: dict[str, Any] = {}
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
        self._training.train(updates)

    def pause(self) -> None:
        """Pause after the stage that is running."""
        self._training.pause()

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
        library = self._training.library
        if isinstance(run, str) and not any(mark in run for mark in "/\\~") and not Path(run or "-").is_dir():
            self._training.runs.open(run)
            return
        found = library.include(run)
        if found[0].grid:
            library.lay_grid_behind(found[0].folder.parent)
        else:
            self._training.runs.open(found[0].id)

    def rewind(self, update: int) -> None:
        """Go back to a kept state of the run on screen: what is trained from there on is a branch."""
        self._training.runs.rewind(update)

    @property
    def _training(self) -> Session:
        """The session, to be told to train. Raises ValueError where a recording is shown."""
        if isinstance(self.session, Replay):
            raise ValueError(text(self.board.language, "ui.replay_only"))
        return self.session

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

    def _watch_page(self) -> None:
        """Pause when the page has not been heard of for long."""
        if self._page_seen is not None and time.monotonic() - self._page_seen > PAGE_GONE_SECONDS:
            self._page_seen = None
            self._training.pause()
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

    # ------------------------------------------------------------------ from the browser to the session

    def _edit_reward(self, message: dict[str, Any]) -> None:
        """Add, change, rename or remove a component, or take one back that was set aside."""
        self._withdraw()
        components, name = self._training.components, str(message.get("name", "")).strip()
        edits: dict[str, Callable[[], None]] = {
            "put": lambda: components.put(name, message["recipe"], message.get("weight"), str(message.get("was", ""))),
            "remove": lambda: components.remove(name),
            "take_back": lambda: components.take_back(name),
        }
        edits[message["kind"]]()
        self.session.dismiss()

    def _annotate(self, message: dict[str, Any]) -> dict[str, Any]:
        """Label, choose what is labelled, train on or judge by what the labels teach; gives what there is to tell."""
        annotator, kind = self._training.annotator, message["kind"]
        if kind == "import":
            added, bad = annotator.take_in(str(message["content"]))
            return {"added": added, "bad": bad}
        if kind == "export":
            return {"content": annotator.as_lines()}
        commands: dict[str, Callable[[], None]] = {
            "label": lambda: annotator.choose(int(message["id"]), str(message["choice"])),
            "undo": annotator.undo,
            "follow": lambda: annotator.follow(
                **{n: str(message[n]) for n in ("who", "way", "source") if n in message}
            ),
            "simulate": lambda: annotator.simulate(message["count"], message["noise"]),
            "train_on_it": lambda: annotator.train_on_it(message.get("weight")),
            "hold_out": annotator.hold_out,
            "tune": annotator.tune,
        }
        if kind in ("train_on_it", "hold_out"):
            self._withdraw()
        commands[kind]()
        return {"name": annotator.component}

    def _edit(self, changes: dict[str, Any], held: bool) -> None:
        """Take what a control was moved to; ``held``: it still is being moved."""
        self._withdraw()
        try:
            self.session.set(held=held, **changes)
            self.session.dismiss()
        except ResetNeeded as needed:
            self._ask(lambda: self._training.set(reset=True, **changes), self._named(needed.changes))
            raise _Waiting from needed
        except (TypeError, ValueError) as error:
            raise type(error)(self._in_words(str(error), changes)) from error

    def _in_words(self, message: str, changes: Mapping[str, Any] = MappingProxyType({})) -> str:
        """A message with the settings named as on the page.

        Names that are English words too, such as "seed", are settings where they were changed or begin the message.
        """
        for name in FIELDS:
            if name in changes or "_" in name or message.startswith(f"{name} "):
                label = f"“{text(self.board.language, f'fields.{name}.label')}”"
                message = re.sub(rf"(?<![\w'“]){name}(?![\w'”])", label, message, count=1)
        return message

    def _named(self, changes: Mapping[str, Any]) -> str:
        """Changed settings with their new values, in the page's words."""
        language = self.board.language

        def value_of(name: str, value: Any) -> str:
            return text(language, f"fields.{name}.options.{value}.label") if name in CHOICES else str(value)

        return ", ".join(f"{text(language, f'fields.{n}.label')} → {value_of(n, v)}" for n, v in changes.items())

    def _refused(self, error: BaseException) -> None:
        if not isinstance(error, _Waiting):
            self.session.report(error)

    def _ask(self, action: Callable[[], None], what: str = "") -> None:
        """Ask before a reset; ``what`` needs it. Whatever else is done meanwhile withdraws the question."""
        self._asked["action"] = action
        key = ("ui.reset_kept" if self._training.library.kept else "ui.reset_confirm") + ("_for" if what else "")
        question = text(self.board.language, key, what=what, updates=self.session.updates)
        self.player.send({"kind": "confirm", "text": question})

    def _withdraw(self) -> None:
        """An answer to what was asked before would no longer be one to what is on the page."""
        if self._asked.pop("action", None) is not None:
            self.player.send({"kind": "withdrawn"})

    def _command(self, message: dict[str, Any]) -> None:
        """Do what a button, menu or scrubber asks; what goes wrong is shown in the error panel."""
        commands: dict[str, Callable[[], None]] = {
            "train": lambda: self._training.train(message.get("updates"), until_flat=bool(message.get("until_flat"))),
            "pause": lambda: self._training.pause(),
            "step": lambda: self._training.step(),
            "stage": lambda: self._training.step_stage(),
            "slow": lambda: self._training.set_slow(SLOW_SECONDS if message["on"] else 0.0),
            "reset": lambda: self._ask(self._training.reset) if self._has_run() else self._training.reset(),
            "confirm": lambda: self._confirmed(bool(message["yes"])),
            "preset": lambda: self._use_preset(str(message["name"]), int(message.get("after", 0))),
            "own": lambda: self._back_to_own(int(message.get("after", 0))),
            "scrub": lambda: self._scrub(int(message["update"])),
            "epoch": lambda: self.session.cursor.set_trait("epoch", int(message["epoch"])),
            "walk": lambda: self.session.walk(int(message.get("updates", 0)), int(message.get("epochs", 0))),
            "follow": lambda: self.session.cursor.set_trait("follow", True),
            "language": self._next_language,
            "dismiss": self.session.dismiss,
            "compare": lambda: self._training.compare(message.get("first")),
            "try": lambda: self._training.try_prompt(str(message["prompt"]), int(message["update"])),
            "prompts": lambda: self._training.set_prompts(list(message["prompts"])),
            "open": lambda: self._training.runs.open(str(message["run"])),
            "open_folder": lambda: self.open_run(_whole_path(str(message["folder"]))),
            "rewind": lambda: self.rewind(int(message["update"])),
            "rename": lambda: self._training.library.rename(str(message["run"]), str(message["name"])),
            "save": lambda: self._save(str(message["run"]), str(message["folder"])),
            "delete": lambda: self._training.library.delete(str(message["run"])),
            "behind": lambda: self._lay_behind(message),
            "note": lambda: self._note(message),
            "show": lambda: self._show(int(message["update"]), int(message["epoch"]), message["token"]),
            "seeds": lambda: self._training.library.start_seeds(message["seeds"], message["updates"]),
            "stop_seeds": lambda: self._training.grid.stop(),
        }
        try:
            self.session.dismiss()
            if message["kind"] not in LEAVES_THE_QUESTION:
                self._withdraw()
            commands[message["kind"]]()
        except Exception as error:  # a message has no cell to show its error in
            self.session.report(error)
        self.mirror.draw_run()

    def _use_preset(self, name: str, after: int) -> None:
        """Take a preset; a slider's edit that is still under way from before the choice does not undo it."""
        self.controls.forget(after)
        try:
            self._training.use_preset(name)
        except ResetNeeded:
            label = text(self.board.language, f"presets.{name}.label")
            self._ask(lambda: self._training.use_preset(name, reset=True), f"“{label}”")

    def _back_to_own(self, after: int) -> None:
        """Undo a what-if; an edit that is still under way from before the press does not bring it back."""
        self.controls.forget(after)
        self.session.back_to_own()

    def _confirmed(self, yes: bool) -> None:
        action = self._asked.pop("action", None)
        if not yes or action is None:
            return
        try:
            action()
        except (TypeError, ValueError) as error:
            raise type(error)(self._in_words(str(error))) from error

    def _has_run(self) -> bool:
        return self.session.live and self.session.updates > 0

    def _scrub(self, update: int) -> None:
        cursor = self.session.cursor
        cursor.follow = False
        cursor.update = update

    def _show(self, update: int, epoch: int, token: Any) -> None:
        """Put an update, an epoch and a token on screen."""
        self._scrub(update)
        self.session.cursor.epoch = epoch
        if token is not None:
            self.board.pinned = [int(place) for place in token]

    def _save(self, run: str, folder: str) -> None:
        """Save a run where the reader says."""
        self._training.library.save(run, str(_whole_path(folder)))

    def _note(self, message: Mapping[str, Any]) -> None:
        """Note something on the update on screen, one of its responses, or a token of that."""
        label, text = " ".join(str(message["label"]).split()), str(message.get("text", "")).strip()
        place = {name: message.get(name) for name in ("response", "token")}
        self._training.library.note(message["update"], label, text, **place)

    def _lay_behind(self, message: Mapping[str, Any]) -> None:
        library = self._training.library
        if "grid" in message:
            library.compare_grid(str(message["grid"]))
        else:
            library.compare(str(message["run"]))

    def _next_language(self) -> None:
        self.board.language = LANGUAGES[(LANGUAGES.index(self.board.language) + 1) % len(LANGUAGES)]


def _column(name: str, *panels: ipywidgets.DOMWidget) -> ipywidgets.Box:
    """Panels below each other where there is room for columns; one that is folded leaves its room to the others."""
    column = ipywidgets.Box(panels)
    column.add_class(f"explorer-{name}")
    return column


class _Waiting(ValueError):
    """An edit waits for the answer to a question; the slider goes back meanwhile."""


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


def _whole_path(folder: str) -> Path:
    """A folder as the reader names it; a page has no working directory that its reader would know of."""
    if "\0" in folder or not Path(folder.strip()).expanduser().is_absolute():
        raise ValueError(f"{folder.strip()!r} is no whole path: begin it with / or with ~/ (your own folder).")
    return Path(folder.strip())


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
