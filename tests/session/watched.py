"""An engine that remembers what it reported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from explorer.config import Config
from explorer.recording.snapshot import Snapshot
from explorer.session.engine import Engine
from explorer.session.progress import Progress

MakeEngine: TypeAlias = Callable[..., Engine]

#: Learns fast enough for its answers to change within an update.
FAST = {"learning_rate": 0.05, "weights": {"length": 1.0}, "kl_coef": 0.0, "stop_sentences": 0}


class Watched(Engine):
    """An engine that remembers what it reported."""

    def __init__(self, policy: Any, config: Config, **arguments: Any) -> None:
        self.progress: list[Progress] = []
        self.recorded: list[Snapshot] = []
        prompts = arguments.get("prompts", ["The cat", "Lily went to the"])
        super().__init__(policy, config, arguments.get("rewards"), prompts, self.progress.append, self.recorded.append)

    def finish(self) -> None:
        """Run to the end of the update."""
        while not self.advance():
            pass
