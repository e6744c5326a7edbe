"""What it costs the kernel to score a batch of 64 responses of 64 tokens anew, a control at a time: `make bench`.

From the message of a slider to the messages with the new batch: the setting, the scoring by the trainer's own
functions, the batch as bytes, and the messages as they are written to the wire.
"""

from __future__ import annotations

import gc
import itertools
import statistics
import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from explorer import Config, Explorer, Trainer
from explorer.config import FIELDS, effect_of
from explorer.presets import PRESETS
from tests.benchmarks.bench_page_speed import load
from tests.recording.test_what_if import CHANGES, NEEDS

#: Milliseconds of the kernel that one movement may take.
AIM = 50

#: Movements of each control.
MOVEMENTS = 20


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Explorer]:
    """A page without training that shows a recorded update of 64 responses of up to 64 tokens."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("rescoring") / "run"
    Trainer(config=PRESETS["learn"].replace(batch_size=64, response_length=64, group_size=2)).train(1, out=folder)
    made = Explorer(recording=folder, live=False)
    made.session.load_scoring()
    deadline = time.monotonic() + 60
    while made.session.phase != "ready" and time.monotonic() < deadline:
        time.sleep(0.05)
    gc.collect()
    gc.freeze()  # as a page that trains does once it has loaded
    yield made
    gc.unfreeze()
    made.close()


def test_every_control(page: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert page.session.phase == "ready"
    rows, length = page.session.shown.rollout.response_ids.shape
    assert (rows, length) == (64, 64)
    tried = {"weights" if name.startswith("weight_") else name for name in CHANGES}
    assert tried == {name for name in FIELDS if effect_of(name) == "what_if"}
    wire = _Wire()
    monkeypatch.setattr(page.board.comm, "publish_msg", wire)
    monkeypatch.setattr(page.controls.comm, "publish_msg", wire)
    found = {name: [milliseconds(page, name, turn) for turn in range(MOVEMENTS + 2)][2:] for name in CHANGES}
    print(f"\n\nKernel time to score 64 x 64 tokens anew ({load()}), in milliseconds (aim {AIM}):")
    for name, times in found.items():
        p95 = statistics.quantiles(times, n=20)[-1]
        print(f"  {name:18}  median {statistics.median(times):5.1f}, 95th percentile {p95:5.1f}")
    print(f"  {wire.bytes / wire.messages / 1e3:.0f} kB a message")
    assert wire.messages > MOVEMENTS * len(CHANGES)
    assert all(statistics.quantiles(times, n=20)[-1] <= AIM for times in found.values())


def milliseconds(page: Explorer, name: str, turn: int) -> float:
    """The kernel's own processor time for one movement of a control, there or back: a busy machine adds nothing."""
    own = Config().flat() | page.session.recorded.config.flat()
    for need, value in NEEDS.get(name, {}).items():
        if page.config.flat()[need] != value:
            _move(page, need, value)
    value = own[name] if turn % 2 else CHANGES[name]
    if not isinstance(own[name], bool | str):
        value = CHANGES[name] * (1 + turn / 1000)
    before = page.board.batch
    started = time.process_time()
    _move(page, name, value)
    spent = 1000 * (time.process_time() - started)
    assert page.board.batch is not before and page.config.flat()[name] == value
    if turn == MOVEMENTS + 1:
        page.session.back_to_own()
    return spent


_edits = itertools.count(1)


def _move(page: Explorer, name: str, value: Any) -> None:
    """What a slider sends."""
    state = {"edits": {name: {"value": value, "n": next(_edits)}}}
    message = {"content": {"data": {"method": "update", "state": state, "buffer_paths": []}}, "buffers": []}
    page.controls._handle_msg(message)


class _Wire:
    """In the place of the connection to the browser: writes each message as the kernel does, and counts."""

    def __init__(self) -> None:
        from jupyter_client.session import Session

        self._session = Session(key=b"")
        self.messages = self.bytes = 0

    def __call__(self, kind: str, data: Any = None, metadata: Any = None, buffers: Any = None, **others: Any) -> None:
        message = self._session.msg(kind, content={"data": data, **others}, metadata=metadata)
        parts = [*self._session.serialize(message), *(buffers or [])]
        self.messages += 1
        self.bytes += sum(len(bytes(part)) for part in parts)
