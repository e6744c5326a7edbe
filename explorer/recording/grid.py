"""The folder of a seed grid: one Config under several seeds, each seed a recording of its own.

    grid.json       what all of them share: the Config without its seed, the prompts, the policy's digest, the precision
    seed-000/       the run of seed 0, a recording as any other (``explorer.recording.folder``)
    seed-001/       the run of seed 1

Which seeds there are, and how far each is, is nowhere written twice: the runs in the folder say it. So a grid can be
given more seeds, or more updates, later.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from explorer.config import Config
from explorer.recording.beginning import clear
from explorer.recording.folder import (
    RUN_FILE,
    RecordingError,
    check_unused,
    damaged,
    inside,
    read_json,
    replace_file,
)
from explorer.recording.older import FIRST_WITH_STATES, config_from
from explorer.recording.storage import Recording

GRID_FILE = "grid.json"

#: The form of ``grid.json``. A newer one is refused by name.
GRID_VERSION = 1

_SEED = re.compile(r"seed-(\d{3,10})")


def seed_folder(root: str | Path, seed: int) -> Path:
    """Where the run of a seed lies."""
    return Path(root) / f"seed-{seed:03d}"


def is_seed_folder(folder: Path) -> bool:
    """Whether a folder is named as that of a seed."""
    return _SEED.fullmatch(folder.name) is not None


def shared_by_all(config: Config, prompts: Iterable[str], policy_digest: str, bf16: bool) -> dict[str, Any]:
    """What the runs of a grid have in common, as ``grid.json`` has it."""
    knobs = {name: value for name, value in config.flat().items() if name != "seed"}
    return {"config": knobs, "prompts": list(prompts), "policy_digest": policy_digest, "bf16": bf16}


def open_grid(root: str | Path, shared: Mapping[str, Any]) -> None:
    """See that a folder holds this grid, or begin it there where the folder is new or empty.

    Raises:
        RecordingError: it holds something else, such as a grid of another config, or cannot be made or written to.
    """
    root = Path(root)
    if (root / GRID_FILE).exists():
        _check_same(root, read_grid(root), shared)
        return
    if (root / RUN_FILE).exists():
        raise RecordingError(f"'{root}' holds a single run and no seed grid: give another folder.")
    if root.is_dir():
        (root / f".{GRID_FILE}.part").unlink(missing_ok=True)  # of a grid that was killed as it began
    check_unused(root)
    text = json.dumps({"grid_version": GRID_VERSION, **shared}, indent=1, ensure_ascii=False, allow_nan=False)
    try:
        root.mkdir(parents=True, exist_ok=True)
        replace_file(root / GRID_FILE, lambda path: path.write_text(text + "\n", encoding="utf-8"), durable=True)
    except OSError as error:
        raise RecordingError(f"'{root}' cannot be used as a folder ({error.strerror}): give another.") from None


def read_grid(root: str | Path) -> dict[str, Any]:
    """What the runs of a grid have in common.

    Raises:
        RecordingError: the folder is missing or holds no grid, its file is damaged or of a newer form.
    """
    root = Path(root)
    if not root.is_dir():
        raise RecordingError(f"There is no folder '{root}': give the folder of a seed grid.")
    path = inside(root, GRID_FILE, "it holds no seed grid.")
    try:
        content = read_json(path)
        version = content.pop("grid_version")
        if type(version) is not int or version < 1 or not isinstance(content["config"], dict):
            raise ValueError("it does not say what the grid is of")
        content["config"] = config_from(FIRST_WITH_STATES, content["config"])  # an older grid may lack what came later
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, MemoryError) as error:
        raise damaged(path, error, "restore it, or give another folder") from None
    if version > GRID_VERSION:
        raise RecordingError(f"'{root}' is a seed grid of a newer PPO Explorer: open it with that one.")
    checked: dict[str, Any] = content
    return checked


def recorded_seeds(root: str | Path) -> dict[int, Recording]:
    """The runs that a grid's folder holds so far, by seed, ascending. A seed that has not begun is not among them.

    Raises:
        RecordingError: it holds no grid, or a run in it is damaged.
    """
    root = Path(root)
    read_grid(root)
    found = sorted(int(match[1]) for path in root.iterdir() if (match := _SEED.fullmatch(path.name)))
    runs = {seed: seed_folder(root, seed) for seed in found}
    return {seed: Recording.load(path) for seed, path in runs.items() if (path / RUN_FILE).exists()}


def has_begun(folder: Path) -> bool:
    """Whether there is a run in a seed's folder. What a kill left of one that had not begun is cleared away.

    Raises:
        RecordingError: there is something else in it.
    """
    if (folder / RUN_FILE).exists():
        return True
    if folder.is_dir() and not folder.is_symlink():
        try:
            clear(folder)
        except RecordingError:
            raise RecordingError(f"'{folder}' is not empty and holds no run: move away what is in it.") from None
    else:
        check_unused(folder)
    return False


def _check_same(root: Path, known: Mapping[str, Any], shared: Mapping[str, Any]) -> None:
    """Raises RecordingError that names the first thing in which two grids differ."""
    there, here = known["config"], shared["config"]
    for name in dict.fromkeys([*there, *here]):
        if there.get(name, 0.0) != here.get(name, 0.0):  # a weight that is not named is 0
            what = f"another {name} ({there.get(name, 0.0)} there, {here.get(name, 0.0)} here)"
            break
    else:
        others = {"prompts": "other prompts", "policy_digest": "another policy", "bf16": "another precision (bf16)"}
        what = next((said for name, said in others.items() if known.get(name) != shared[name]), "")
    if what:
        raise RecordingError(
            f"'{root}' holds a seed grid with {what}: give the same to go on with it, or another folder."
        )
