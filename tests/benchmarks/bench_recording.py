"""What recording costs: the time until an update is safe on disk, what of it the training thread pays, and the bytes.

The bundled policy, 32 responses of 24 tokens, 4 epochs, one thread. Runs with a recording and without take turns. An
update is safe when its files and their names are fsync'ed, and a state likewise; both are timed from the moment in
which ``Trainer.update`` returned. ``make bench`` runs it with the others, and
``pytest -s -o python_files='bench_*.py' tests/benchmarks/bench_recording.py`` alone.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pytest

from explorer.config import Config
from explorer.headless import Trainer
from explorer.ppo.loading import load_policy
from explorer.ppo.state import State
from explorer.recording.background import BackgroundWriter
from explorer.recording.snapshot import Snapshot
from explorer.recording.writer import RunWriter
from tests.benchmarks.bench_page_speed import load

TURNS, UPDATES, CHECKPOINT_EVERY = 3, 10, 5


class Timed(RunWriter):
    """Notes when an update and a state have become safe, and what an update takes of the processor."""

    safe: dict[tuple[str, int], float]
    work: list[float]

    def append(self, snapshot: Snapshot) -> None:
        began = time.thread_time()
        super().append(snapshot)
        self.work.append(time.thread_time() - began)
        self.safe["update", snapshot.update] = time.perf_counter()

    def checkpoint(self, state: State, passing: bool = False) -> None:
        super().checkpoint(state, passing)
        self.safe["state", state.updates] = time.perf_counter()


def test_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds: dict[str, list[float]] = {"without": [], "with": []}
    paid: dict[str, list[float]] = {"hand over an update": [], "copy the state": [], "hand over the state": []}
    work: list[float] = []
    until_safe: dict[str, list[float]] = {"update": [], "state": []}
    for turn in range(TURNS):
        for kind in ("without", "with") if turn % 2 == 0 else ("with", "without"):
            trainer = Trainer(load_policy(), Config())
            trainer.update()  # warm up
            if kind == "without":
                seconds[kind] += [timed(trainer.update)[0] for _ in range(UPDATES)]
                continue
            out = tmp_path / f"{turn}"
            files = Timed(out, {"id": "0"}, durable=True)
            files.safe, files.work = {}, work
            ended: dict[tuple[str, int], float] = {}
            with BackgroundWriter(files) as writer:
                for _ in range(UPDATES):
                    began = time.perf_counter()
                    snapshot = trainer.update()
                    now = ended["update", snapshot.update] = time.perf_counter()
                    writer.append(snapshot)
                    paid["hand over an update"].append(time.perf_counter() - now)
                    if snapshot.update % CHECKPOINT_EVERY == 0:
                        ended["state", snapshot.update] = time.perf_counter()
                        took, state = timed(trainer.state)
                        paid["copy the state"].append(took)
                        paid["hand over the state"].append(timed(lambda s=state: writer.checkpoint(s))[0])
                    seconds[kind].append(time.perf_counter() - began)
            for what, at in ended.items():
                until_safe[what[0]].append(files.safe[what] - at)
    print(f"\n\nRecording the bundled policy, {TURNS} turns of {UPDATES} updates, one thread ({load()}):")
    for kind, each in seconds.items():
        print(f"  an update {kind} a recording: {milliseconds(each)}")
    for what, each in paid.items():
        aim = " (aim 8 ms)" if what == "copy the state" else ""
        print(f"  the training thread, to {what}: {milliseconds(each)}{aim}")
    print(f"  the writer's thread, of the processor for an update: {milliseconds(work)}")
    for what, each in until_safe.items():
        print(f"  from an update's end to its {what} being safe: {milliseconds(each)}")
    weights = {path.name: sum(f.stat().st_size for f in path.iterdir()) for path in out.iterdir() if path.is_dir()}
    count = len(list((out / "checkpoints").iterdir()))
    for name, size in weights.items():
        each = size / (count if name == "checkpoints" else UPDATES)
        print(f"  {name}: {each / 1000:.1f} kB {'a state' if name == 'checkpoints' else 'an update'}")
    assert len(until_safe["update"]) == TURNS * UPDATES
    # Off the training thread: handing over is next to nothing, and an update is safe before the next one ends, so that
    # a kill costs the one in progress and, within this time, the one before.
    update = statistics.median(seconds["with"])
    assert statistics.median(paid["hand over an update"]) < 0.01 * update
    assert statistics.median(until_safe["update"]) < 0.25 * update
    assert statistics.median(until_safe["state"]) < 0.5 * update
    assert statistics.median(paid["copy the state"]) < 0.05 * update
    # The whole price of a recording. Each turn is compared with itself, so that a busy machine slows down both.
    assert update < 1.15 * statistics.median(seconds["without"])


def timed(action: object) -> tuple[float, object]:
    """Seconds that a call takes, and what it gives."""
    began = time.perf_counter()
    result = action()  # type: ignore[operator]
    return time.perf_counter() - began, result


def milliseconds(each: list[float]) -> str:
    """Median and extremes."""
    middle, least, most = (1000 * f(each) for f in (statistics.median, min, max))
    return f"{middle:.1f} ms ({least:.1f} to {most:.1f}, n = {len(each)})"
