"""What the tests of recorded sessions share: what a run is, and what it would have been without a page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from explorer.config import Config
from explorer.headless import Trainer
from explorer.ppo.policy import Policy
from explorer.recording.lineage import line_of
from explorer.recording.shelf import Shelf
from explorer.session.session import Session
from tests.learned import learned
from tests.session.conftest import PROMPTS

Unbroken: TypeAlias = Callable[..., list[dict[str, Any]]]


def unbroken_run(policy: Policy, config: Config, updates: int) -> list[dict[str, Any]]:
    """What so many updates of a headless trainer, recorded nowhere, have decided."""
    return learned(list(Trainer(policy, config, prompts=PROMPTS).train(updates)))


def recorded(root: Path, run: str) -> list[dict[str, Any]]:
    """What a run on the shelf, with its past, says that was decided."""
    shelf = Shelf(root)
    return learned(list(line_of(shelf, shelf.find(run)).recording))


def shown(session: Session) -> list[dict[str, Any]]:
    """What is on screen."""
    return learned(list(session.history))
