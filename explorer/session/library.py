"""The shelf as the page shows it: every run on it, to be named, saved, deleted, or drawn behind the curves.

Commands and traits belong to the loop; what reads or writes many files is done in a thread.
"""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traitlets import Any as AnyTrait
from traitlets import HasTraits, Unicode

from explorer.recording.folder import RecordingError
from explorer.recording.history import History
from explorer.recording.labels import Label
from explorer.recording.lineage import add_label_to_line, labels_of, line_of
from explorer.recording.shelf import Entry, Shelf
from explorer.session.behind import grid_behind, run_behind

if TYPE_CHECKING:
    from explorer.session.session import Session


class Library(HasTraits):
    """What is on a shelf, and what can be done with it without training.

    Args:
        session: whose errors are shown, and whose curves other runs may lie behind.
        shelf: None where nothing is recorded: every command then says so.
        threaded: False does everything in the caller, for scripts and tests.
    """

    entries = AnyTrait((), help="Every Entry of the shelf when it was last read, the newest first.")
    notes = AnyTrait(
        (), help="Every Label of the run on screen and of its past, in the order in which they were added."
    )
    damage = Unicode("", help="Why the notes cannot be read; empty where they can.")
    saved = Unicode("", help="The folder into which a run was last saved.")

    def __init__(self, session: Session, shelf: Shelf | None, threaded: bool = True) -> None:
        super().__init__()
        self._session, self._shelf, self.threaded = session, shelf, threaded
        self._reading = self._again = False

    @property
    def kept(self) -> bool:
        """Whether runs are recorded."""
        return self._shelf is not None

    @property
    def shelf(self) -> Shelf:
        """Where the runs are. Raises ValueError where nothing is recorded."""
        if self._shelf is None:
            raise ValueError("This explorer keeps no runs: make it without runs=False, or name a folder for them.")
        return self._shelf

    def refresh(self) -> None:
        """Read the shelf anew; ``entries`` and ``notes`` follow."""
        if self._shelf is None:
            return
        if self._reading:  # what is being read may be from before
            self._again = True
            return
        self._reading, self._again = True, False
        shelf, run = self._shelf, self._session.runs.lies_in
        self._aside(lambda: (shelf.entries(), run, *_notes_on(shelf, run)), self._take, self._end_reading)

    def rename(self, run: str, name: str) -> None:
        """Call a run something. Raises ValueError as ``Shelf.rename`` does."""
        self.shelf.rename(run, name)
        self.refresh()

    def delete(self, run: str) -> None:
        """Delete a run for good. Raises ValueError where it is on screen; what else hinders it is reported."""
        shelf = self.shelf
        going = {run, *(entry.id for entry in self.entries if entry.grid and entry.grid == run)}
        if not going.isdisjoint(self._session.runs.on_screen):
            raise ValueError(
                "This run, or a branch of it, is on screen: open another one, or press Reset, before you delete it."
            )
        self._aside(lambda: shelf.delete(run), lambda done: self.refresh())

    def include(self, folder: str | Path) -> list[Entry]:
        """Show a run or a seed grid of another folder too. Raises RecordingError as ``Shelf.include`` does."""
        found = self.shelf.include(folder)
        self.refresh()
        return found

    def open(self, run: str | Path) -> None:
        """Show a run, or lay a seed grid behind the curves.

        Args:
            run: the id of one on the shelf, or a folder.

        Raises:
            ValueError: there is no such run.
        """
        if isinstance(run, str) and not any(mark in run for mark in "/\\~") and not Path(run or "-").is_dir():
            self._session.runs.open(run)
            return
        found = self.include(run)
        if found[0].grid:
            self.lay_grid_behind(found[0].folder.parent)
        else:
            self._session.runs.open(found[0].id)

    def save(self, run: str, folder: str | Path) -> None:
        """Copy a run into a folder of your own; ``saved`` then says which. What hinders it is reported."""
        shelf, self.saved = self.shelf, ""
        self._aside(lambda: shelf.save(run, folder), lambda target: self.set_trait("saved", str(target.resolve())))

    def compare(self, run: str) -> None:
        """Draw a run behind the curves; "" takes away what is there. Raises ValueError where there is none such."""
        if run:
            entry = self.shelf.find(run)
            line = line_of(self.shelf, entry)
            self._session.behind = run_behind(called(entry), History(recorded=line.recording), entry.id)
        else:
            self._session.behind = None

    def compare_grid(self, name: str) -> None:
        """Draw the runs of a seed grid behind the curves. Raises ValueError where the shelf has none such."""
        if name not in {entry.grid for entry in self.entries if entry.grid}:
            raise ValueError(f"There is no seed grid {name[:40]!r} on the shelf: it may have been deleted.")
        self._session.behind = grid_behind(self.shelf.root / name)

    def lay_grid_behind(self, folder: Path) -> None:
        """The same for one whose folder is known."""
        self._session.behind = grid_behind(folder)

    def start_seeds(self, seeds: int, updates: int) -> None:
        """Run the settings in the page under several seeds, each a run on the shelf; a stopped grid goes on.

        Raises:
            ValueError: as ``SeedRuns.start``.
        """
        grid = self._session.grid
        folder = Path(grid.progress["folder"]) if grid.can_go_on else self.shelf.new_folder("seeds")
        grid.start(seeds, updates, folder)

    def note(
        self, update: int, label: str, text: str = "", *, response: int | None = None, token: int | None = None
    ) -> None:
        """Note something on an update on screen; ``notes`` follow. What hinders it is reported.

        Raises:
            ValueError, TypeError: as ``Label`` does, or no recorded run is on screen.
        """
        shelf, run = self.shelf, self._session.runs.lies_in
        if not run or not self._session.live:
            raise ValueError("No recorded run is on screen: train one, or open one, to note something on it.")
        noted = Label(update=update, label=label, text=text, response=response, token=token)
        self._aside(lambda: add_label_to_line(shelf, shelf.find(run), noted), lambda added: self.refresh())

    def _take(self, found: tuple[list[Entry], str, list[Label], str]) -> None:
        entries, run, notes, damage = found
        try:
            if run == self._session.runs.lies_in:  # another has come on screen: its notes are being read
                last = self._session.runs.lies_until
                self.notes = tuple(note for note in notes if last is None or note.update <= last)
                self.damage = damage
            self.entries = tuple(entries)
        finally:  # whatever a view makes of them
            self._end_reading()

    def _end_reading(self) -> None:
        self._reading = False
        if self._again:
            self.refresh()

    def _aside(
        self, job: Callable[[], Any], then: Callable[[Any], None], otherwise: Callable[[], None] = lambda: None
    ) -> None:
        """Do a job in a thread and take what it gives on the loop; what it raises is reported, after ``otherwise``."""
        session = self._session

        def run() -> None:
            try:
                found = job()
            except Exception as error:
                session.loop.post(otherwise)
                session.loop.post(session.report, error)
                return
            session.loop.post(then, found)

        if self.threaded:
            threading.Thread(target=run, name="ppo-explorer-shelf", daemon=True).start()
        else:
            run()


def _notes_on(shelf: Shelf, run: str) -> tuple[list[Label], str]:
    """The notes on a run and its past, and why they cannot be read."""
    try:
        return (labels_of(shelf, shelf.find(run)) if run else []), ""
    except RecordingError as error:
        return [], str(error)


def called(entry: Entry) -> str:
    """What a run is called: where it has no name, by the day and time when it was begun, here."""
    if entry.name:
        return entry.name
    try:
        begun = datetime.datetime.fromisoformat(entry.created).astimezone()
    except (ValueError, OverflowError):
        return entry.id[:8]
    return f"{begun:%m-%d %H:%M:%S}"
