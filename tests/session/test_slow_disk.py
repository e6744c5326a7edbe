"""A disk that is slower than the training: however slow, a kill costs one update that has been shown at most."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from explorer import headless as headless_module
from explorer.config import Config
from explorer.headless import Trainer
from explorer.ppo.policy import Policy
from explorer.recording import writer as writer_module
from explorer.recording.folder import METRICS_FOLDER
from explorer.recording.metrics import last_metrics
from explorer.recording.shelf import Shelf
from explorer.session import engine as engine_module

if TYPE_CHECKING:
    from tests.session.conftest import MakeSession

#: Seconds after which a test gives up waiting; never waited for where all is well.
PATIENCE = 30

#: Seconds that an update stays on its way to the disk after the next one has been made, unless that is shown before.
SLOWNESS = 0.2

UPDATES = 4


class Slow:
    """The disk: no update is on it before the next has been made, which has then some time to be shown too soon."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._made: defaultdict[int, threading.Event] = defaultdict(threading.Event)
        self._shown: defaultdict[int, threading.Event] = defaultdict(threading.Event)
        #: ``[(update, the last that was on the disk when it was shown)]``
        self.seen: list[tuple[int, int]] = []
        write = writer_module.write_table

        def slowly(path: Path, table: Any, **options: Any) -> None:
            following = table.num_rows + 1  # a row for each update, in one file
            if path.parent.name == METRICS_FOLDER and following <= UPDATES:
                assert self._made[following].wait(PATIENCE)
                self._shown[following].wait(SLOWNESS)
            write(path, table, **options)

        monkeypatch.setattr(writer_module, "write_table", slowly)
        for module in (engine_module, headless_module):
            monkeypatch.setattr(module, "take_snapshot", self._noting(module.take_snapshot))

    def _noting(self, take: Callable[..., Any]) -> Callable[..., Any]:
        def taken(*arguments: Any) -> Any:
            snapshot = take(*arguments)
            self._made[snapshot.update].set()
            return snapshot

        return taken

    def show(self, update: int, on_disk: int) -> None:
        """An update is shown: ``on_disk`` was read before it is told to anybody."""
        self.seen.append((update, on_disk))
        self._shown[update].set()


def test_a_page_shows_no_update_before_the_one_before_it_is_safe(
    make_session: MakeSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf, slow = Shelf(tmp_path / "shelf"), Slow(monkeypatch)
    session = make_session(shelf=shelf)
    collect = session.engine._on_update

    def show(snapshot: Any) -> None:
        slow.show(snapshot.update, sum(entry.updates for entry in shelf.entries()))
        collect(snapshot)

    session.engine._on_update = show
    session.train(UPDATES)
    assert session.error == {}
    assert slow.seen == [(update, update - 1) for update in range(1, UPDATES + 1)]
    assert [entry.updates for entry in shelf.entries()] == [UPDATES]


def test_nor_does_the_command(
    make_tiny_policy: Callable[[], Policy], tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, out = Slow(monkeypatch), tmp_path / "run"
    trainer = Trainer(make_tiny_policy(), tiny_config, prompts=["The cat", "Lily went to the"])
    trainer.train(UPDATES, out=out, on_snapshot=lambda shown: slow.show(shown.update, last_metrics(out)[0]))
    assert slow.seen[:-1] == [(update, update - 1) for update in range(1, UPDATES)]
    assert slow.seen[-1] in ((UPDATES, UPDATES - 1), (UPDATES, UPDATES))  # it has been given, and nothing slows it
    assert last_metrics(out)[0] == UPDATES
