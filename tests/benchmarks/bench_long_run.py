"""A run of 10,000 updates: how soon it opens, how fast it is scrubbed, what it weighs: `make bench`.

The run is the bundled one over and over: its snapshots under other numbers, written by the writer of every recording,
so that each file is as large as one of a run at the usual settings. It opens in a process of its own, which has read
none of the files before; the system still has them in its cache, since they have just been written.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pytest

from explorer.bundled import asset_path
from explorer.recording.storage import Recording, RunWriter
from tests.browser.servers import replaying

UPDATES = 10_000

#: What is aimed for, in seconds: from the folder's name to a recording with every metric, and from the cursor to what
#: the browser is sent (the 95th percentile of so many random jumps).
OPENS, SCRUBS, JUMPS = 1.0, 0.1, 200

#: Seconds from the command to the page's last byte: its pictures are in it, and drawing them is the browser's part.
STARTS = 3.0


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a run of so many updates: 2.1 GB, deleted afterwards."""
    root = tmp_path_factory.mktemp("long") / "run"
    snapshots = cycle(list(Recording.load(asset_path("recording"))))
    with RunWriter(root, {"policy": "bundled GPT-2"}) as writer:
        for update in range(1, UPDATES + 1):
            writer.append(dataclasses.replace(next(snapshots), update=update))
    yield root
    for path in root.rglob("*.parquet"):
        path.unlink()


def test_a_long_run_opens_and_scrubs(run: Path) -> None:
    sizes = {
        part.name: sum(entry.stat().st_size for entry in os.scandir(part)) for part in run.iterdir() if part.is_dir()
    }
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(run), str(JUMPS)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    found = json.loads(done.stdout)
    jumps = sorted(found["jumps"])
    middle, late = jumps[len(jumps) // 2], jumps[int(0.95 * len(jumps))]
    print(f"\n\nA run of {UPDATES} updates ({sum(sizes.values()) / 1e9:.2f} GB, load {os.getloadavg()[0]:.1f}):")
    print(f"  it opens in                      {found['opened']:6.3f} s   (aim {OPENS})")
    print(f"  all its panels are computed      {found['drawn']:6.3f} s   later")
    print(f"  a jump of the cursor             {middle * 1e3:6.1f} ms  (aim {SCRUBS * 1e3:.0f})")
    print(f"  95 of 100 jumps take at most     {late * 1e3:6.1f} ms")
    print(f"  memory for it                    {found['memory'] / 1e6:6.1f} MB after {JUMPS} jumps")
    for name, size in sizes.items():
        print(f"  on disk, {name:10}              {size / UPDATES / 1e3:6.2f} kB an update")
    assert found["opened"] < OPENS
    assert late < SCRUBS


def test_replay_starts(tmp_path: Path) -> None:
    start = time.perf_counter()
    with replaying(tmp_path, asset_path("recording")) as address:
        told = time.perf_counter() - start
        urllib.request.urlopen(address).read()
        sent = time.perf_counter() - start
    print(f"\n\nppo-explorer replay (load {os.getloadavg()[0]:.1f}), in seconds from the command:")
    print(f"  its address is printed           {told:6.2f}   Voila's own imports, mostly")
    print(f"  the page is computed and sent    {sent:6.2f}   (aim {STARTS})")
    assert sent < STARTS


ROOT = Path(__file__).parents[2]

#: Opens the run as `replay` does, and jumps about in it; the jump ends with the picture that the browser is sent.
MEASURED = """
import json, random, sys, time
import psutil
from explorer.app import Explorer
from explorer.recording.storage import Recording

memory = lambda: psutil.Process().memory_info().rss
Explorer(live=False).close()  # the imports, which cost the same for every run
before, start = memory(), time.perf_counter()
recording = Recording.load(sys.argv[1])
opened = time.perf_counter()
page = Explorer(recording=recording, live=False)
drawn, jumps = time.perf_counter(), []
for update in random.sample(recording.updates, int(sys.argv[2])):
    began = time.perf_counter()
    page._command({"kind": "scrub", "update": update})
    jumps.append(time.perf_counter() - began)
    assert page.board.batch["update"] == update, page.session.error
print(json.dumps({"opened": opened - start, "drawn": drawn - opened, "jumps": jumps, "memory": memory() - before}))
"""
