"""What recording costs: the time until an update is safe on disk, what of it the training thread pays, and the bytes.

The bundled policy, 32 responses of 24 tokens, 4 epochs, one thread. Runs with a recording and without take turns. An
update is safe when its files and their names are fsync'ed, and a state likewise; both are timed from the moment in
which ``Trainer.update`` returned. After that the writer puts earlier updates together, two at a time: that is timed in
a run of 141 updates, in which the block of the first 100 is under way, and becomes whole within those that are timed.
``make bench`` runs it with the others, and
``pytest -s -o python_files='bench_*.py' tests/benchmarks/bench_recording.py`` alone.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from explorer.config import Config
from explorer.headless import Trainer
from explorer.ppo.loading import load_policy
from explorer.ppo.state import State
from explorer.recording.background import BackgroundWriter
from explorer.recording.compacting import BLOCK
from explorer.recording.index import read_index
from explorer.recording.shelf import Shelf
from explorer.recording.snapshot import Snapshot
from explorer.recording.storage import Recording
from explorer.recording.writer import RunWriter
from explorer.session.recorder import Recorder
from tests.benchmarks.bench_page_speed import load

TURNS, UPDATES, CHECKPOINT_EVERY = 3, 10, 5

#: So many updates lie there when the timed ones come: 84 of the first hundred are copied then, two more with each.
BEFORE = BLOCK + 41


class Timed(RunWriter):
    """Notes when an update and a state are safe, when the writer is free again, and what it takes of the processor."""

    safe: dict[tuple[str, int], float]
    work: list[float]

    def append(self, snapshot: Snapshot) -> None:
        began = time.thread_time()
        super().append(snapshot)
        self.work.append(time.thread_time() - began)
        self.safe["free", snapshot.update] = time.perf_counter()

    def append_metrics(self, update: int, config: Config, metrics: Mapping[str, float]) -> None:
        super().append_metrics(update, config, metrics)
        self.safe["update", update] = time.perf_counter()  # the row of metrics is the last of its files

    def checkpoint(self, state: State, passing: bool = False) -> None:
        super().checkpoint(state, passing)
        self.safe["state", state.updates] = time.perf_counter()


def test_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = ("without", "with", "putting together")
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    paid: dict[str, list[float]] = {"hand over an update": [], "copy the state": [], "hand over the state": []}
    work: dict[str, list[float]] = {kind: [] for kind in kinds[1:]}
    until_safe: dict[tuple[str, str], list[float]] = {}
    for turn in range(TURNS):
        for kind in kinds if turn % 2 == 0 else reversed(kinds):
            trainer = Trainer(load_policy(), Config())
            first = trainer.update()  # warm up
            if kind == "without":
                seconds[kind] += [timed(trainer.update)[0] for _ in range(UPDATES)]
                continue
            out = tmp_path / f"{kind} {turn}"
            files = Timed(out, {"id": "0"}, durable=True)
            files.safe, files.work = {}, []
            ended: dict[tuple[str, int], float] = {}
            before = BEFORE if kind == "putting together" else 0
            with BackgroundWriter(files) as writer:
                for number in range(1, before + 1):
                    writer.append(dataclasses.replace(first, update=number))
                writer.settle()
                files.work = work[kind]
                for number in range(before + 1, before + UPDATES + 1):
                    began = time.perf_counter()
                    snapshot = dataclasses.replace(trainer.update(), update=number)
                    now = ended["update", number] = ended["free", number] = time.perf_counter()
                    writer.append(snapshot)
                    paid["hand over an update"].append(time.perf_counter() - now)
                    if number % CHECKPOINT_EVERY == 0 and kind == "with":
                        ended["state", number] = time.perf_counter()
                        took, state = timed(trainer.state)
                        paid["copy the state"].append(took)
                        state = dataclasses.replace(state, updates=number)  # the update to warm up counts nowhere
                        paid["hand over the state"].append(timed(lambda s=state: writer.checkpoint(s))[0])
                    seconds[kind].append(time.perf_counter() - began)
            assert bool(read_index(out)) == (kind == "putting together")
            # The update with which the block becomes whole has all that is left to do: it is told by itself.
            waits = {number: files.safe[what, number] - at for (what, number), at in ended.items() if what == "free"}
            whole = max(waits, key=lambda number: waits[number])
            for (what, number), at in ended.items():
                what = "whole" if before and (what, number) == ("free", whole) else what
                passed = files.safe["free" if what == "whole" else what, number] - at
                until_safe.setdefault((kind, what), []).append(passed)
    print(f"\n\nRecording the bundled policy, {TURNS} turns of {UPDATES} updates, one thread ({load()}):")
    for kind, each in seconds.items():
        told = "with a recording that is being put together" if kind == "putting together" else f"{kind} a recording"
        print(f"  an update {told}: {milliseconds(each)}")
    for what, each in paid.items():
        aim = " (aim 8 ms)" if what == "copy the state" else ""
        print(f"  the training thread, to {what}: {milliseconds(each)}{aim}")
    for kind, each in work.items():
        print(f"  the writer's thread, of the processor for an update ({kind}): {milliseconds(each)}")
    ends = {"free": "the writer being free", "whole": "the writer being free, with the block become whole"}
    for (kind, what), each in until_safe.items():
        print(f"  from an update's end to {ends.get(what, f'its {what} being safe')} ({kind}): {milliseconds(each)}")
    out = tmp_path / f"with {TURNS - 1}"
    weights = {path.name: sum(f.stat().st_size for f in path.iterdir()) for path in out.iterdir() if path.is_dir()}
    count = len(list((out / "checkpoints").iterdir()))
    for name, size in weights.items():
        each = size / (count if name == "checkpoints" else UPDATES)
        print(f"  {name}: {each / 1000:.1f} kB {'a state' if name == 'checkpoints' else 'an update'}")
    assert len(until_safe["with", "update"]) == len(until_safe["putting together", "update"]) == TURNS * UPDATES
    # Off the training thread: handing over is next to nothing, and an update is safe before the next one ends, so that
    # a kill costs the one in progress and, within this time, the one before.
    update = statistics.median(seconds["with"])
    assert statistics.median(paid["hand over an update"]) < 0.01 * update
    for kind in kinds[1:]:
        assert statistics.median(until_safe[kind, "update"]) < 0.25 * update
        assert statistics.median(until_safe[kind, "free"]) < 0.5 * update
    assert statistics.median(until_safe["with", "state"]) < 0.5 * update
    assert statistics.median(paid["copy the state"]) < 0.05 * update
    # The whole price of a recording. Each turn is compared with itself, so that a busy machine slows down both.
    assert update < 1.15 * statistics.median(seconds["without"])
    assert statistics.median(seconds["putting together"]) < 1.15 * statistics.median(seconds["without"])


def test_the_page_s_recording(tmp_path: Path) -> None:
    """What the page's training thread does for it: at every update, and where the state of one is kept."""
    trainer, config = Trainer(load_policy(), Config()), Config()
    trainer.update()  # warm up
    trainer.reset()
    recorder = Recorder(Shelf(tmp_path / "shelf", checkpoint_every=10))
    paid: dict[str, list[float]] = {"an update": [], "a state that is kept": [], "wait for the one before": []}
    updates: list[float] = []
    for number in range(1, TURNS * UPDATES + 1):
        first, _ = timed(lambda: recorder.before_update(trainer, config))
        took, snapshot = timed(trainer.update)
        there, waited = timed(lambda s=snapshot: recorder.is_there(s))[0], timed(recorder.wait)[0]
        after, _ = timed(lambda s=snapshot: recorder.after_update(trainer, s, config))
        if number == 1:  # makes the folder
            continue
        updates.append(took)
        paid["wait for the one before"].append(waited)
        paid["a state that is kept" if number % 10 == 0 else "an update"].append(first + there + after)
    recorder.leave()
    print(f"\n\nThe page's recording, {TURNS * UPDATES} updates of {milliseconds(updates)} ({load()}):")
    share = statistics.median(paid["an update"]) / statistics.median(updates)
    for what, each in paid.items():
        print(f"  its training thread, for {what}: {milliseconds(each)}")
    print(f"  that is {share:.1%} of an update")
    (run,) = (tmp_path / "shelf").iterdir()
    assert len(Recording.load(run)) == TURNS * UPDATES
    assert share < 0.05
    assert statistics.median(paid["wait for the one before"]) < 0.01 * statistics.median(updates)


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that a call takes, and what it gives."""
    began = time.perf_counter()
    result = action()
    return time.perf_counter() - began, result


def milliseconds(each: list[float]) -> str:
    """Median and extremes."""
    middle, least, most = (1000 * f(each) for f in (statistics.median, min, max))
    return f"{middle:.1f} ms ({least:.1f} to {most:.1f}, n = {len(each)})"
