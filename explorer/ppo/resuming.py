"""A pretraining run on disk, so that it can be interrupted at any moment and gone on with later.

``training.json`` says how far the run is and which ``training-STEP.safetensors`` holds its weights and moments;
``learning_curve.csv`` holds the losses so far. Each file is written under another name and then renamed, the JSON
last: whatever is cut off, the JSON names tensors that are whole. No generator's state is needed, because each step's
random numbers belong to (seed, step).
"""

from __future__ import annotations

import csv
import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

STATE_FILE = "training.json"
CURVE_FILE = "learning_curve.csv"


class PretrainingError(ValueError):
    """A run cannot be started, gone on with or saved; the message says what to do."""


class CurvePoint(NamedTuple):
    """One line of ``learning_curve.csv``."""

    step: int  # optimiser steps so far
    tokens: int  # tokens read so far
    train_loss: float  # mean over the steps since the line before, in nats a token
    val_loss: float  # on windows at the beginnings of held-out stories, in nats a token
    seconds: float  # spent on training so far, interruptions left out


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunState:
    """How far a run is.

    Attributes:
        settings: everything that the result depends on; a run goes on under the same settings only.
        steps: optimiser steps of the whole run.
        step: optimiser steps made.
        seconds: spent on training so far.
        finished: whether the policy lies in the folder.
        losses: what the finished policy's validation gave; empty before.
    """

    settings: Mapping[str, Any]
    steps: int
    step: int
    seconds: float
    finished: bool = False
    losses: Mapping[str, float] = dataclasses.field(default_factory=dict)


def open_run(folder: Path, settings: Mapping[str, Any]) -> RunState | None:
    """The state of the run in ``folder``, None where there is none yet; makes the folder.

    Raises:
        PretrainingError: the folder cannot be made, holds something else, or a run under other settings.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PretrainingError(f"'{folder}' cannot be used as a folder ({error.strerror}): give another.") from None
    path = folder / STATE_FILE
    if not path.exists():
        if (folder / "config.json").exists():
            raise PretrainingError(f"'{folder}' already holds a policy: give another folder, so that it is kept.")
        return None
    try:
        state = RunState(**json.loads(path.read_text(encoding="utf-8")))
        known = dict(state.settings)
    except (OSError, ValueError, TypeError):
        raise PretrainingError(
            f"'{path}' is damaged, so the run cannot go on: delete it to start again, or give another folder."
        ) from None
    other = [name for name in {**known, **settings} if known.get(name) != settings.get(name)]
    if other:
        was, now = known.get(other[0]), settings.get(other[0])
        raise PretrainingError(
            f"'{folder}' holds a run with another {other[0]} ({was} there, {now} here): "
            "give the same options to go on with it, or another folder to start anew."
        )
    return state


def load_tensors(folder: Path, state: RunState) -> dict[str, Tensor]:
    """Weights and moments as they were at ``state.step``.

    Raises:
        PretrainingError: they are missing or damaged.
    """
    path = folder / _tensors_name(state.step)
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError):
        raise PretrainingError(
            f"'{path}' is missing or damaged, so the run cannot go on: delete '{folder / STATE_FILE}' to start again, "
            "or give another folder."
        ) from None


def save_run(folder: Path, state: RunState, tensors: Mapping[str, Tensor] | None) -> None:
    """Write the state, and the tensors that go with it; None for a finished run, which needs no more of them."""
    if tensors is not None:
        _replace(folder / _tensors_name(state.step), lambda path: save_file(dict(tensors), path))
    text = json.dumps(dataclasses.asdict(state), indent=2) + "\n"
    _replace(folder / STATE_FILE, lambda path: path.write_text(text, encoding="utf-8"))
    for path in folder.glob(_tensors_name("*") + "*"):  # those of earlier steps, whole or cut off
        if tensors is None or path.name != _tensors_name(state.step):
            path.unlink()


def read_curve(folder: Path, until: int) -> list[CurvePoint]:
    """The points of ``learning_curve.csv`` up to step ``until``; later ones belong to steps that were lost.

    Raises:
        PretrainingError: the file was changed and cannot be read any more.
    """
    path = folder / CURVE_FILE
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [
                CurvePoint(int(row["step"]), int(row["tokens"]), *(float(row[name]) for name in CurvePoint._fields[2:]))
                for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, KeyError, TypeError):
        raise PretrainingError(
            f"'{path}' is not as it was written, so the run cannot add to it: move it away and try again."
        ) from None
    return [row for row in rows if row.step <= until]


def write_curve(folder: Path, points: Iterable[CurvePoint]) -> None:
    """Write ``learning_curve.csv``."""

    def write(path: Path) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([CurvePoint._fields, *points])

    _replace(folder / CURVE_FILE, write)


def _tensors_name(step: int | str) -> str:
    return f"training-{step}.safetensors"


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Write under another name first, so that a cut leaves the old file whole."""
    unfinished = path.with_name(path.name + ".part")
    write(unfinished)
    os.replace(unfinished, path)
