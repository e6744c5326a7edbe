"""The shelf: the folder in which the page keeps its runs, each in a folder of its own.

    2026-11-23_121502_9f0c12ab/    a recording, see ``explorer.recording.folder``
        name.txt                   what it is called, where it was given a name
    2026-11-23_130500_seeds/       a seed grid, see ``explorer.recording.grid``
        seed-000/                  a recording too
    elsewhere.json                 what lies in folders of its own, see ``explorer.recording.elsewhere``

A run is found by its id, which ``run.json`` says. What else lies on the shelf is left alone.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import platformdirs

from explorer.recording.amounts import find_amounts
from explorer.recording.claim import Claim
from explorer.recording.elsewhere import read_elsewhere, write_elsewhere
from explorer.recording.entry import MAX_NAME, NAME_FILE, Entry, is_id, read_entry, stamp
from explorer.recording.folder import METRICS_FOLDER, RUN_FILE, RecordingError, replace_file, whole_folder
from explorer.recording.grid import GRID_FILE, is_seed_folder
from explorer.recording.index import INDEX_FILE
from explorer.recording.labels import LABELS_FILE, Label, add_label
from explorer.recording.storage import Recording

__all__ = ["Entry", "Shelf", "copy_run"]

#: Names the folder instead of the user's own one.
RUNS_VARIABLE = "PPO_EXPLORER_RUNS"


class Shelf:
    """The runs in a folder.

    Args:
        root: the folder; it is made with the first run. None is ``$PPO_EXPLORER_RUNS``, or else the place for an
            application's data that the system has for each user.
        keep_every: keep the tokens of every n-th update of a run, and of its first and last; metrics of all. None is
            ``$PPO_EXPLORER_KEEP_EVERY``, or else 1.
        checkpoint_every: keep the state after every n-th update, to go back to; a pause keeps one as well. None is
            ``$PPO_EXPLORER_CHECKPOINT_EVERY``, or else 10.
        checkpoint_megabytes: what the states of one run may weigh together; past it older ones are thinned out. None is
            ``$PPO_EXPLORER_CHECKPOINT_MEGABYTES``, or else 200.

    Raises:
        ValueError: a number is not in its range.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        *,
        keep_every: int | None = None,
        checkpoint_every: int | None = None,
        checkpoint_megabytes: float | None = None,
    ) -> None:
        given = root or os.environ.get(RUNS_VARIABLE)
        self.root = Path(given).expanduser() if given else platformdirs.user_data_path("ppo-explorer", False) / "runs"
        self.keep_every, self.checkpoint_every, self.checkpoint_megabytes = find_amounts(
            keep_every=keep_every, checkpoint_every=checkpoint_every, checkpoint_megabytes=checkpoint_megabytes
        )
        self._known: dict[Path, tuple[Any, Entry]] = {}

    def entries(self) -> list[Entry]:
        """Every run, the newest first. One that is damaged is there too, with its problem.

        Raises:
            RecordingError: the folder cannot be read.
        """
        try:
            paths = list(self.root.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RecordingError(f"'{self.root}' cannot be read ({error.strerror}): name another folder.") from None
        entries = {folder: self._entry(folder, grid) for folder, grid in _runs_in(paths)}
        for path in read_elsewhere(self.root):
            for folder, grid in _runs_in([path]):
                entries[folder] = dataclasses.replace(self._entry(folder, grid and str(path)), outside=True)
        # A copy: a run may be looked for in another thread meanwhile.
        self._known = {folder: known for folder, known in self._known.copy().items() if folder in entries}
        return sorted(entries.values(), key=lambda entry: (entry.created, str(entry.folder)), reverse=True)

    def _entry(self, folder: Path, grid: str = "") -> Entry:
        """What a folder says of its run, read again where something in it has been replaced since."""
        now, known = stamp(folder), self._known.get(folder)
        if known is None or known[0] != now:
            known = self._known[folder] = (now, read_entry(folder, grid))
        return known[1]

    def find(self, run: str) -> Entry:
        """The run with an id. Raises RecordingError where there is none that can be opened."""
        if is_id(run):
            # The folder's name ends with the first digits of the id; a folder that was renamed is found all the same.
            likely = _runs_in(sorted(self.root.glob(f"*_{run[:8]}"))) if self.root.is_dir() else iter(())
            found = next((entry for entry in (self._entry(*where) for where in likely) if entry.id == run), None)
            found = found or next((entry for entry in self.entries() if entry.id == run), None)
            if found is not None:
                return found
        raise RecordingError(f"There is no run {str(run)[:12]!r} in '{self.root}': it may have been deleted or moved.")

    def new_folder(self, suffix: str) -> Path:
        """A folder that nobody has yet, for a run or a seed grid."""
        now = datetime.datetime.now(datetime.UTC)
        folder = self.root / f"{now:%Y-%m-%d_%H%M%S}_{suffix[:8]}"
        nth = 1
        while folder.exists():  # begun in the same second
            nth += 1
            folder = self.root / f"{now:%Y-%m-%d_%H%M%S}-{nth}_{suffix[:8]}"
        return folder

    def rename(self, run: str, name: str) -> None:
        """Call a run something; an empty name takes its name away.

        Raises:
            RecordingError: there is no such run, or the name cannot be kept.
            ValueError: the name is too long or has characters that cannot be shown.
        """
        plain = " ".join(name.split())
        if len(plain) > MAX_NAME or not (plain.isprintable()):
            raise ValueError(f"A run's name has at most {MAX_NAME} characters, all of them printable.")
        path = self.find(run).folder / NAME_FILE
        try:
            if plain:
                replace_file(path, lambda target: target.write_text(plain + "\n", encoding="utf-8"), durable=True)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise RecordingError(f"'{path}' cannot be written ({error.strerror}): make room there.") from None

    def add_label(
        self,
        run: str,
        update: int,
        label: str,
        text: str = "",
        *,
        response: int | None = None,
        token: int | None = None,
    ) -> Label:
        """Note something on a run, as ``Recording.add_label`` does. Raises RecordingError where there is none such."""
        recording = Recording.load(self.find(run).folder)
        return recording.add_label(update, label, text, response=response, token=token)

    def save(self, run: str, folder: str | Path) -> Path:
        """Copy a run, with its states, into a new or empty folder; it may still be going on.

        A branch takes along the updates that it has from its parents. Their states stay with them.

        Raises:
            RecordingError: there is no such run, the folder holds something already, or it takes no more.
        """
        entry, target = self.find(run), Path(folder).expanduser()
        if not str(folder).strip() or "\0" in str(folder):
            raise RecordingError("Say where to save the run: name a new folder.")
        if target.resolve().is_relative_to(self.root.resolve()):  # where it would be the same run a second time
            raise RecordingError(f"'{target}' lies among the runs of this page: name a folder outside '{self.root}'.")
        try:
            with whole_folder(target) as unfinished:
                if entry.parent is None:
                    copy_run(entry.folder, unfinished)
                else:
                    self._save_line(entry, unfinished)
        except OSError as error:
            raise RecordingError(f"'{target}' cannot be written to ({error.strerror}): name another folder.") from None
        return target

    def include(self, folder: str | Path) -> list[Entry]:
        """Show a run, or a seed grid, that lies in a folder of its own, from now on. It stays where it is.

        Returns:
            The run, or those of the grid by their seeds.

        Raises:
            RecordingError: there is neither in the folder, or it is damaged, or a run that the shelf has already.
        """
        path = Path(folder).expanduser()
        if not str(folder).strip() or "\0" in str(folder):
            raise RecordingError(f"{str(folder)!r} is no folder: name that of a recorded run or seed grid.")
        path = path.resolve()
        found = [read_entry(run, grid) for run, grid in _runs_in([path])]
        if not found:
            raise RecordingError(f"'{path}' holds no recorded run and no seed grid: name another folder.")
        known = {entry.id: entry.folder.resolve() for entry in self.entries() if entry.id}
        for entry in found:
            if entry.problem:
                raise RecordingError(entry.problem)
            if known.get(entry.id, entry.folder) != entry.folder:
                raise RecordingError(
                    f"'{entry.folder}' is a copy of '{known[entry.id]}', which is here: open that one."
                )
        if not path.is_relative_to(self.root.resolve()):
            folders = [other for other in read_elsewhere(self.root) if other != path]
            try:
                write_elsewhere(self.root, [*folders, path])
            except OSError as error:
                raise RecordingError(f"'{self.root}' cannot be written to ({error.strerror}): make room.") from None
        return sorted(found, key=lambda entry: entry.seed or 0)

    def _save_line(self, entry: Entry, target: Path) -> None:
        """Copy a branch with the updates that it has from its parents, and the notes on them, where those are there."""
        from explorer.recording.lineage import labels_of, line_of

        line = line_of(self, entry)
        line.recording.write(target, line.own.states)
        _copy_files(entry.folder, target, without=(RUN_FILE, INDEX_FILE, LABELS_FILE))
        for label in labels_of(self, entry):
            add_label(target, label)

    def delete(self, run: str) -> None:
        """Delete a run or a seed grid for good; one that lies outside of the shelf is only shown no more.

        Args:
            run: its id, or the name of its folder where it is damaged and says no id; or that of the grid's folder.

        Raises:
            RecordingError: there is none, or somebody writes to it.
        """
        entries = self.entries()
        grid = [entry for entry in entries if run and entry.grid == run]
        one = next((entry for entry in entries if run and run == (entry.id or entry.folder.name)), None)
        if (grid and grid[0].outside) or (one is not None and one.outside and not one.grid):
            away = self.root / run if grid or one is None else one.folder
            try:
                write_elsewhere(self.root, [path for path in read_elsewhere(self.root) if path != away])
            except OSError as error:
                raise RecordingError(f"'{self.root}' cannot be written to ({error.strerror}): make room.") from None
        elif grid:
            self._delete_grid(self.root / run, grid)
        else:
            self._delete_one(run, one)

    def _delete_grid(self, folder: Path, runs: list[Entry]) -> None:
        """Delete all of a grid: first see that nobody writes to any of its runs."""
        claims: list[Claim] = []
        try:
            claims += (Claim(entry.folder) for entry in runs)
            (folder / GRID_FILE).unlink()  # without it the rest is no grid, whenever this is cut short
            shutil.rmtree(folder)
        except RecordingError:
            raise RecordingError(f"A run of '{folder}' is being written to: wait until it has ended.") from None
        except OSError as error:
            raise RecordingError(f"'{folder}' cannot be deleted ({error.strerror}).") from None
        finally:
            for claim in claims:
                claim.release()

    def _delete_one(self, run: str, entry: Entry | None) -> None:
        if entry is None:
            raise RecordingError(f"There is no run {run[:12]!r} in '{self.root}': it may have been deleted already.")
        claim = None
        try:
            try:
                claim = Claim(entry.folder)
            except RecordingError:
                raise RecordingError(
                    f"'{entry.folder}' is open in another page, or being written to: leave it there, then delete it."
                ) from None
            # First what makes it a run: a deletion that is cut short leaves nothing that looks like one.
            (entry.folder / RUN_FILE).unlink()
            shutil.rmtree(entry.folder)
        except OSError as error:
            raise RecordingError(f"'{entry.folder}' cannot be deleted ({error.strerror}).") from None
        finally:
            if claim is not None:
                claim.release()


def _runs_in(paths: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """The folder of each run among some paths, and the name of the grid that it belongs to. Links are left alone."""
    for path in paths:
        if path.is_symlink():
            continue
        if (path / RUN_FILE).is_file():
            yield path, ""
        elif (path / GRID_FILE).is_file():
            with suppress(OSError):  # it has been deleted meanwhile
                for seed in path.iterdir():
                    if is_seed_folder(seed) and (seed / RUN_FILE).is_file() and not seed.is_symlink():
                        yield seed, path.name


def copy_run(folder: Path, target: Path) -> None:
    """Copy a run that may still be written to into a new folder.

    First the metrics are copied, and then what is there by then: so whatever they name is there. Where updates were put
    together meanwhile, what is new is copied too. Links are left out.

    Raises:
        OSError: it cannot be read, or the target not be written.
    """
    target.mkdir(parents=True)
    folders = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: path.name != METRICS_FOLDER)
    together = None
    while together != (together := _read(folder / INDEX_FILE)):
        for path in folders:
            if not path.is_symlink():
                (target / path.name).mkdir(exist_ok=True)
                _copy_files(path, target / path.name)
    if together:  # as it was while the files were copied that it names
        (target / INDEX_FILE).write_bytes(together)
    _copy_files(folder, target, without=(INDEX_FILE,))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes() if not path.is_symlink() else b""
    except FileNotFoundError:
        return b""


def _copy_files(folder: Path, target: Path, without: tuple[str, ...] = ()) -> None:
    for path in sorted(folder.iterdir()):
        new = path.name not in without and not (target / path.name).exists()
        if new and path.is_file() and not path.is_symlink() and not path.name.startswith("."):
            # One that is gone is a state that has been thinned out meanwhile.
            with suppress(FileNotFoundError):
                shutil.copyfile(path, target / path.name)
