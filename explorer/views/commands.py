"""From the browser to the session: what a button, a slider, a menu or a form asks is done here.

What asks for a reset is asked back first; whatever else is done meanwhile withdraws that question.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from explorer.config import CHOICES
from explorer.session.replay import Replay
from explorer.session.session import ResetNeeded, Session
from explorer.text import LANGUAGES, text
from explorer.views.error_words import in_words
from explorer.widgets.board import Board

#: Seconds that slow motion waits after every stage: as long as its sentence takes to be read.
SLOW_SECONDS = 3.0

#: What may be done while a question is open: to look at the run changes nothing that it is about.
LEAVES_THE_QUESTION = frozenset(
    (
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
    )
)


class Commands:
    """What the page can ask for.

    Args:
        session: of whom it is asked; a Replay refuses what only training would do, with a sentence.
        board: the page's language and the pinned token.
        tell: sends a question to the player, or that it is withdrawn.
        forget: called with n where the slider's edits up to the n-th are not to be taken any more.
    """

    def __init__(
        self,
        session: Session | Replay,
        board: Board,
        tell: Callable[[dict[str, Any]], None],
        forget: Callable[[int], None],
    ) -> None:
        self._session, self._board, self._tell, self._forget = session, board, tell, forget
        self._asked: Callable[[], None] | None = None  # what is done at a "yes"

    @property
    def training(self) -> Session:
        """The session, to be told to train. Raises ValueError where a recording is shown."""
        if isinstance(self._session, Replay):
            raise ValueError(text(self._board.language, "ui.replay_only"))
        return self._session

    def take(self, message: Mapping[str, Any]) -> None:
        """Do what a button, menu or scrubber asks; what goes wrong is shown in the error panel."""
        session = self._session
        commands: dict[str, Callable[[], None]] = {
            "train": lambda: self.training.train(message.get("updates"), until_flat=bool(message.get("until_flat"))),
            "pause": lambda: self.training.pause(),
            "step": lambda: self.training.step(),
            "stage": lambda: self.training.step_stage(),
            "slow": lambda: self.training.set_slow(SLOW_SECONDS if message["on"] else 0.0),
            "reset": lambda: self._ask(self.training.reset) if self._has_run() else self.training.reset(),
            "confirm": lambda: self._confirmed(bool(message["yes"])),
            "preset": lambda: self._use_preset(str(message["name"]), int(message.get("after", 0))),
            "own": lambda: self._back_to_own(int(message.get("after", 0))),
            "scrub": lambda: self._scrub(int(message["update"])),
            "epoch": lambda: session.cursor.set_trait("epoch", int(message["epoch"])),
            "walk": lambda: session.walk(int(message.get("updates", 0)), int(message.get("epochs", 0))),
            "follow": lambda: session.cursor.set_trait("follow", True),
            "language": self._next_language,
            "dismiss": session.dismiss,
            "compare": lambda: self.training.compare(message.get("first")),
            "try": lambda: self.training.try_prompt(str(message["prompt"]), int(message["update"])),
            "prompts": lambda: self.training.set_prompts(list(message["prompts"])),
            "open": lambda: self.training.runs.open(str(message["run"])),
            "open_folder": lambda: self.training.library.open(_whole_path(str(message["folder"]))),
            "rewind": lambda: self.training.runs.rewind(int(message["update"])),
            "rename": lambda: self.training.library.rename(str(message["run"]), str(message["name"])),
            "save": lambda: self.training.library.save(str(message["run"]), str(_whole_path(str(message["folder"])))),
            "delete": lambda: self.training.library.delete(str(message["run"])),
            "behind": lambda: self._lay_behind(message),
            "note": lambda: self._note(message),
            "show": lambda: self._show(int(message["update"]), int(message["epoch"]), message["token"]),
            "seeds": lambda: self.training.library.start_seeds(message["seeds"], message["updates"]),
            "stop_seeds": lambda: self.training.grid.stop(),
        }
        try:
            session.dismiss()
            if message["kind"] not in LEAVES_THE_QUESTION:
                self._withdraw()
            commands[message["kind"]]()
        except Exception as error:  # a message has no cell to show its error in
            session.report(error)

    def edit(self, changes: dict[str, Any], held: bool) -> None:
        """Take what a control was moved to; ``held``: it still is being moved."""
        self._withdraw()
        try:
            self._session.set(held=held, **changes)
            self._session.dismiss()
        except ResetNeeded as needed:
            self._ask(lambda: self.training.set(reset=True, **changes), self._named(needed.changes))
            raise _Waiting from needed
        except (TypeError, ValueError) as error:
            raise type(error)(in_words(str(error), self._board.language, changes)) from error

    def refused(self, error: BaseException) -> None:
        """Tell why an edit was not taken, unless the page has asked about it."""
        if not isinstance(error, _Waiting):
            self._session.report(error)

    def edit_reward(self, message: Mapping[str, Any]) -> None:
        """Add, change, rename or remove a component, or take one back that was set aside."""
        self._withdraw()
        components, name = self.training.components, str(message.get("name", "")).strip()
        edits: dict[str, Callable[[], None]] = {
            "put": lambda: components.put(name, message["recipe"], message.get("weight"), str(message.get("was", ""))),
            "remove": lambda: components.remove(name),
            "take_back": lambda: components.take_back(name),
        }
        edits[message["kind"]]()
        self._session.dismiss()

    def annotate(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Label, choose what is labelled, train on or judge by what the labels teach; gives what there is to tell."""
        annotator, kind = self.training.annotator, message["kind"]
        if kind == "import":
            added, bad = annotator.take_in(str(message["content"]))
            return {"added": added, "bad": bad}
        if kind == "export":
            return {"content": annotator.as_lines()}
        wishes = {n: str(message[n]) for n in ("who", "way", "source") if n in message}
        commands: dict[str, Callable[[], None]] = {
            "label": lambda: annotator.choose(int(message["id"]), str(message["choice"])),
            "undo": annotator.undo,
            "follow": lambda: annotator.follow(**wishes),
            "simulate": lambda: annotator.simulate(message["count"], message["noise"]),
            "train_on_it": lambda: annotator.train_on_it(message.get("weight")),
            "hold_out": annotator.hold_out,
            "tune": annotator.tune,
        }
        if kind in ("train_on_it", "hold_out"):
            self._withdraw()
        commands[kind]()
        return {"name": annotator.component}

    # ------------------------------------------------------------------ the question

    def _ask(self, action: Callable[[], None], what: str = "") -> None:
        """Ask before a reset; ``what`` needs it."""
        self._asked = action
        key = ("ui.reset_kept" if self.training.library.kept else "ui.reset_confirm") + ("_for" if what else "")
        question = text(self._board.language, key, what=what, updates=self._session.updates)
        self._tell({"kind": "confirm", "text": question})

    def _withdraw(self) -> None:
        """An answer to what was asked before would no longer be one to what is on the page."""
        if self._asked is not None:
            self._asked = None
            self._tell({"kind": "withdrawn"})

    def _confirmed(self, yes: bool) -> None:
        action, self._asked = self._asked, None
        if yes and action is not None:
            action()

    def _named(self, changes: Mapping[str, Any]) -> str:
        """Changed settings with their new values, in the page's words."""
        language = self._board.language

        def value_of(name: str, value: Any) -> str:
            return text(language, f"fields.{name}.options.{value}.label") if name in CHOICES else str(value)

        return ", ".join(f"{text(language, f'fields.{n}.label')} → {value_of(n, v)}" for n, v in changes.items())

    # ------------------------------------------------------------------ one by one

    def _use_preset(self, name: str, after: int) -> None:
        """Take a preset; a slider's edit that is still under way from before the choice does not undo it."""
        self._forget(after)
        try:
            self.training.use_preset(name)
        except ResetNeeded:
            label = text(self._board.language, f"presets.{name}.label")
            self._ask(lambda: self.training.use_preset(name, reset=True), f"“{label}”")

    def _back_to_own(self, after: int) -> None:
        """Undo a what-if; an edit that is still under way from before the press does not bring it back."""
        self._forget(after)
        self._session.back_to_own()

    def _has_run(self) -> bool:
        return self._session.live and self._session.updates > 0

    def _scrub(self, update: int) -> None:
        cursor = self._session.cursor
        cursor.follow = False
        cursor.update = update

    def _show(self, update: int, epoch: int, token: Any) -> None:
        """Put an update, an epoch and a token on screen."""
        self._scrub(update)
        self._session.cursor.epoch = epoch
        if token is not None:
            self._board.pinned = [int(place) for place in token]

    def _note(self, message: Mapping[str, Any]) -> None:
        """Note something on the update on screen, one of its responses, or a token of that."""
        label, words = " ".join(str(message["label"]).split()), str(message.get("text", "")).strip()
        place = {name: message.get(name) for name in ("response", "token")}
        self.training.library.note(message["update"], label, words, **place)

    def _lay_behind(self, message: Mapping[str, Any]) -> None:
        library = self.training.library
        if "grid" in message:
            library.compare_grid(str(message["grid"]))
        else:
            library.compare(str(message["run"]))

    def _next_language(self) -> None:
        self._board.language = LANGUAGES[(LANGUAGES.index(self._board.language) + 1) % len(LANGUAGES)]


class _Waiting(ValueError):
    """An edit waits for the answer to a question; the slider goes back meanwhile."""


def _whole_path(folder: str) -> Path:
    """A folder as the reader names it; a page has no working directory that its reader would know of."""
    if "\0" in folder or not Path(folder.strip()).expanduser().is_absolute():
        raise ValueError(f"{folder.strip()!r} is no whole path: begin it with / or with ~/ (your own folder).")
    return Path(folder.strip())
