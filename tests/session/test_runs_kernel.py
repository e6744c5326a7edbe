"""A recorded session in a real kernel: killed in the middle of recording, it is gone on with by another kernel."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from explorer.config import Config
from explorer.ppo.policy import Policy
from explorer.recording.shelf import Shelf
from tests.session.conftest import PROMPTS
from tests.session.shelved import recorded, unbroken_run
from tests.session.test_kernel import Cells

pytestmark = pytest.mark.kernel

SETUP = """
import asyncio, os
import explorer
from explorer.recording.shelf import Shelf
from explorer.session.session import Session

def faults():
    return dict(session.error)

session = Session(CHECKPOINT, explorer.Config.from_flat(CONFIG), None, PROMPTS, shelf=Shelf(ROOT, checkpoint_every=2))
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_a_run_goes_on_in_another_kernel_after_a_kill(
    tmp_path: Path, tiny_checkpoint: Path, tiny_config: Config, make_tiny_policy: Callable[[], Policy]
) -> None:
    shelf, setup = Shelf(tmp_path / "shelf"), SETUP
    values = {"CHECKPOINT": str(tiny_checkpoint), "CONFIG": tiny_config.flat(), "PROMPTS": PROMPTS}
    for name, value in {**values, "ROOT": str(shelf.root)}.items():
        setup = setup.replace(name, repr(value))
    cells = Cells(tmp_path / "first")
    try:
        cells.run(setup)
        cells.run("session.train()")
        cells.until("session.updates >= 5")
        os.kill(cells.ask("os.getpid()"), signal.SIGKILL)
    finally:
        cells.stop()
    (entry,) = shelf.entries()
    cells = Cells(tmp_path / "second")
    try:
        cells.run(setup)
        cells.run(f"session.runs.open({entry.id!r}); session.train(4)")  # before the policy is there
        cells.until("not session.runs.opening and session.mode == 'paused' and session.phase == 'ready'")
        cells.until("session.updates > 4 or session.error")
        assert cells.ask("(dict(session.error), session.runs.run)") == ({}, entry.id)
        cells.run("session.close(); session.worker.join(60)")
    finally:
        cells.stop()
    (after,) = shelf.entries()
    assert after.updates >= 4
    assert recorded(shelf.root, entry.id) == unbroken_run(make_tiny_policy(), tiny_config, after.updates)
