"""Runs on a shelf, made by a headless trainer of the tiny policy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from explorer.config import Config
from explorer.headless import Trainer
from explorer.ppo.policy import Policy
from explorer.recording.shelf import Entry, Shelf
from tests.conftest import TINY_PROMPTS


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """An empty one, whose folder is not there yet."""
    return Shelf(tmp_path / "shelf")


@pytest.fixture
def record(make_tiny_policy: Callable[[], Policy], tiny_config: Config, shelf: Shelf) -> Callable[..., Entry]:
    """``record(name, updates=2)``: a run on the shelf; ``came_from=(entry, update)`` makes it a branch."""

    def make(name: str, updates: int = 2, came_from: tuple[Entry, int] | None = None, **changes: Any) -> Entry:
        policy = make_tiny_policy()
        if came_from is None:
            trainer = Trainer(policy, tiny_config.replace(**changes), prompts=TINY_PROMPTS)
        else:
            trainer = Trainer.resume(came_from[0].folder, came_from[1], changes, policy=policy)
        trainer.train(updates, out=shelf.root / name, checkpoint_every=1)
        return next(entry for entry in shelf.entries() if entry.folder.name == name)

    return make
