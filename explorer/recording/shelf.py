"""The shelf: the folder in which the page keeps its runs, each in a folder of its own.

    2026-11-23_121502_9f0c12ab/    a recording, see ``explorer.recording.folder``
        name.txt                   what it is called, where it was given a name
    2026-11-23_130500_seeds/       a seed grid, see ``explorer.recording.grid``
        seed-000/                  a recording too

A run is found by its id, which ``run.json`` says. What else lies on the shelf is left alone.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import platformdirs

from explorer.recording.claim import Claim
from explorer.recording.folder import METRICS_FOLDER, RUN_FILE, RecordingError, check_unused, read_run, replace_file
from explorer.recording.grid import GRID_FILE, is_seed_folder
from explorer.recording.metrics import last_metrics

#: Names the folder instead of the user's own one.
RUNS_VARIABLE = "PPO_EXPLORER_RUNS"
NAME_FILE = "name.txt"
MAX_NAME = 80

_ID = re.compile(r"[0-9a-f]{8,64}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """A run on the shelf.

    Attributes:
        id: of ``run.json``; empty where that cannot be read.
        folder: where it lies.
        name: what it is called; empty where nobody has named it.
        created: when it was begun, UTC, as ISO 8601.
        updates: the number of its last update, 0 before the first.
        score: the mean score of that update; None before the first.
        megabytes: what it weighs, in millions of bytes.
        parent: where it is a branch: ``{"id", "update", "changed"}`` as ``explorer.recording.origin`` writes it.
        preset: the preset that it was begun with; empty where none is told.
        seed: its seed; None where none is told.
        grid: the name of the seed grid's folder that it belongs to; empty where to none.
        problem: why it cannot be opened; empty where it can.
    """

    id: str
    folder: Path
    name: str = ""
    created: str = ""
    updates: int = 0
    score: float | None = None
    megabytes: float = 0.0
    parent: Mapping[str, Any] | None = None
    preset: str = ""
    seed: int | None = None
    grid: str = ""
    problem: str = ""


class Shelf:
    """The runs in a folder.

    Args:
        root: the folder; it is made with the first run. None is ``$PPO_EXPLORER_RUNS``, or else the place for an
            application's data that the system has for each user.
        keep_every: keep the tokens of every n-th update of a run, and of its first and last; metrics of all.
        checkpoint_every: keep the state after every n-th update, to go back to; a pause keeps one as well.
        checkpoint_megabytes: what the states of one run may weigh together; past it older ones are thinned out.

    Raises:
        ValueError: a number is not in its range.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        *,
        keep_every: int = 1,
        checkpoint_every: int = 10,
        checkpoint_megabytes: float = 200.0,
    ) -> None:
        given = root or os.environ.get(RUNS_VARIABLE)
        self.root = Path(given).expanduser() if given else platformdirs.user_data_path("ppo-explorer", False) / "runs"
        for name, value in (("keep_every", keep_every), ("checkpoint_every", checkpoint_every)):
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} is {value!r}, but must be a whole number from 1.")
        if not checkpoint_megabytes > 0:
            raise ValueError(f"checkpoint_megabytes is {checkpoint_megabytes!r}, but must be above 0.")
        self.keep_every, self.checkpoint_every = keep_every, checkpoint_every
        self.checkpoint_megabytes = checkpoint_megabytes
        self._known: dict[Path, tuple[Any, Entry]] = {}

    def entries(self) -> list[Entry]:
        """Every run, the newest first. One that is damaged is there too, with its problem.

        Raises:
            RecordingError: the folder cannot be read.
        """
        try:
            entries = {folder: self._entry(folder, grid) for folder, grid in self._folders()}
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RecordingError(f"'{self.root}' cannot be read ({error.strerror}): name another folder.") from None
        self._known = {folder: known for folder, known in self._known.items() if folder in entries}
        return sorted(entries.values(), key=lambda entry: (entry.created, str(entry.folder)), reverse=True)

    def _folders(self) -> Iterator[tuple[Path, str]]:
        """The folder of each run, and the name of the grid that it belongs to."""
        for path in self.root.iterdir():
            if path.is_symlink():
                continue
            if (path / RUN_FILE).is_file():
                yield path, ""
            elif (path / GRID_FILE).is_file():
                for seed in path.iterdir():
                    if is_seed_folder(seed) and (seed / RUN_FILE).is_file() and not seed.is_symlink():
                        yield seed, path.name

    def _entry(self, folder: Path, grid: str = "") -> Entry:
        """What a folder says of its run, read again where something in it has been replaced since."""
        stamp = tuple(_changed(folder / name) for name in ("", METRICS_FOLDER))
        known = self._known.get(folder)
        if known is None or known[0] != stamp:
            known = self._known[folder] = (stamp, read_entry(folder, grid))
        return known[1]

    def find(self, run: str) -> Entry:
        """The run with an id. Raises RecordingError where there is none that can be opened."""
        if _ID.fullmatch(run):
            # The folder's name ends with the first digits of the id; a folder that was renamed is found all the same.
            likely = sorted(self.root.glob(f"*_{run[:8]}")) if self.root.is_dir() else []
            found = next((entry for entry in map(self._entry, likely) if entry.id == run), None)
            found = found or next((entry for entry in self.entries() if entry.id == run), None)
            if found is not None:
                return found
        raise RecordingError(f"There is no run {run[:12]!r} in '{self.root}': it may have been deleted or moved.")

    def new_folder(self, suffix: str) -> Path:
        """A folder that nobody has yet, for a run or a seed grid. Raises RecordingError where there is one already."""
        now = datetime.datetime.now(datetime.UTC)
        folder = self.root / f"{now:%Y-%m-%d_%H%M%S}_{suffix[:8]}"
        check_unused(folder)
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

    def save(self, run: str, folder: str | Path) -> Path:
        """Copy a run, with its states, into a new or empty folder; it may still be going on.

        Raises:
            RecordingError: there is no such run, the folder holds something already, or it takes no more.
        """
        entry, target = self.find(run), Path(folder).expanduser()
        if not str(folder).strip():
            raise RecordingError("Say where to save the run: name a new folder.")
        if target.resolve().is_relative_to(entry.folder.resolve()):
            raise RecordingError(f"'{target}' lies within the run itself: name a folder outside it.")
        check_unused(target)
        try:
            copy_run(entry.folder, target)
        except OSError as error:
            raise RecordingError(f"'{target}' cannot be written to ({error.strerror}): make room there.") from None
        return target

    def delete(self, run: str) -> None:
        """Delete a run for good. Raises RecordingError where there is none, or somebody writes to it.

        Args:
            run: its id, or the name of its folder where it is damaged and says no id.
        """
        entry = next((entry for entry in self.entries() if run and run in (entry.id, entry.folder.name)), None)
        if entry is None:
            raise RecordingError(f"There is no run {run[:12]!r} in '{self.root}': it may have been deleted already.")
        claim = Claim(entry.folder)
        try:
            # First what makes it a run: a deletion that is cut short leaves nothing that looks like one.
            (entry.folder / RUN_FILE).unlink()
            shutil.rmtree(entry.folder)
        except OSError as error:
            raise RecordingError(f"'{entry.folder}' cannot be deleted ({error.strerror}).") from None
        finally:
            claim.release()


def read_entry(folder: Path, grid: str = "") -> Entry:
    """What a run's folder says of it; ``grid`` is the name of the seed grid that it belongs to."""
    megabytes = sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    try:
        content = read_run(folder)
        info = content["info"]
        update, metrics = last_metrics(folder)
        parent, seed = info.get("parent"), info.get("seed")
        return Entry(
            id=str(info.get("id", "")),
            folder=folder,
            name=_name(folder),
            created=str(info.get("created", ""))[:40],
            updates=update,
            score=metrics.get("objective/score"),
            megabytes=megabytes,
            parent=parent if isinstance(parent, dict) else None,
            preset=str(info.get("preset", ""))[:40],
            seed=seed if type(seed) is int else None,
            grid=grid,
        )
    except (RecordingError, KeyError, TypeError, AttributeError) as error:
        said = " ".join(str(error).split())
        return Entry(id="", folder=folder, name=folder.name, megabytes=megabytes, grid=grid, problem=said)


def copy_run(folder: Path, target: Path) -> None:
    """Copy a run that may still be written to: first the metrics, since whatever they name is there already.

    Raises:
        OSError: it cannot be read, or the target not be written.
    """
    whole = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink() and path.name[0] != "."]
    for path in sorted(whole, key=lambda path: path.parent.name != METRICS_FOLDER):
        copied = target / path.relative_to(folder)
        copied.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(path, copied)
        except FileNotFoundError:  # a state that has been thinned out meanwhile
            if not copied.parent.is_dir():
                raise
    for path in folder.iterdir():  # those that are still empty belong to a recording too
        if path.is_dir():
            (target / path.name).mkdir(exist_ok=True)


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _name(folder: Path) -> str:
    try:
        with (folder / NAME_FILE).open(encoding="utf-8") as file:
            return " ".join(file.read(4 * MAX_NAME).split())[:MAX_NAME]
    except (OSError, UnicodeDecodeError):
        return ""
