"""A disk that is really full: a small file system in memory, mounted for the command alone, and later made larger.

Elsewhere what a full disk says is put in its place (``tests/test_resume.py``, ``tests/session/test_recorder.py``).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from explorer.headless import Trainer
from explorer.recording.storage import Recording
from explorer.train_command import build_config
from tests.learned import learned

SETTINGS = ["batch_size=4", "response_length=4", "epochs=1"]

#: Mounts the disk, records until it is full, notes until it is full, makes room and goes on. What lies there is copied
#: out each time, since it is gone with this process.
STORY = """
import json, shutil, subprocess, sys
from pathlib import Path
from explorer.recording.storage import Recording

disk, out, checkpoint, *settings = sys.argv[1:]
run = Path(disk, "run")

def mount(*options):
    subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", disk], check=True)

def train(*arguments):
    command = [sys.executable, "-m", "explorer", "train", "--policy", checkpoint, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    return done.returncode, done.stderr

mount("size=1m")
Path(disk, "ballast").write_bytes(bytes(50_000))
full = train("--updates", "2000", "--out", str(run), *settings)
shutil.copytree(run, Path(out, "full"))
Path(disk, "ballast").unlink()  # room for some notes
held, notes, refused = Recording.load(run), 0, ""
while not refused and notes < 2000:
    try:
        held.add_label(1, f"note {notes}", "x" * 1500)
        notes += 1
    except ValueError as error:
        refused = str(error)
shutil.copytree(run, Path(out, "noted"))
mount("remount", "size=64m")
held.add_label(1, "there is room again")
went_on = train("--resume", str(run), "--updates", "3")
shutil.copytree(run, Path(out, "whole"))
print(json.dumps({"full": full, "notes": notes, "refused": refused, "went_on": went_on}))
"""


def small_disks(folder: Path) -> list[str]:
    """What a command begins with that may mount a file system of its own; skips the test where nothing may."""
    said = "no unshare here"
    for begin in (["unshare", "--user", "--map-root-user", "--mount"], ["unshare", "--mount"]):
        try:
            done = subprocess.run(
                [*begin, "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, text=True
            )
        except OSError:
            continue
        if done.returncode == 0:
            return begin
        said = " ".join(done.stderr.split())
    pytest.skip(f"A FULL DISK IS NOT TESTED HERE: no small file system can be mounted ({said})")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="A FULL DISK IS NOT TESTED HERE: only Linux has tmpfs")
@pytest.mark.timeout(600)
def test_the_command_on_a_full_disk_loses_nothing_that_was_recorded(tiny_checkpoint: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    begin, settings = small_disks(disk), [part for setting in SETTINGS for part in ("--set", setting)]
    done = subprocess.run(
        [*begin, sys.executable, "-c", STORY, str(disk), str(tmp_path), str(tiny_checkpoint), *settings],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PPO_EXPLORER_THREADS": "1"},
        timeout=590,
    )
    assert done.returncode == 0, done.stderr
    assert list(disk.iterdir()) == []  # it was the command's alone
    told: dict[str, Any] = json.loads(done.stdout)

    held = Recording.load(tmp_path / "full")
    count = len(held)
    code, said = told["full"]
    assert code == 2 and len(said.splitlines()) == 1, said
    assert said.startswith(f"error: '{disk / 'run'}' cannot be written to (") and "No space left on device" in said
    assert f"; it holds every update up to {count}, and update" in said
    assert "make room there and resume the run" in said
    assert count >= 3
    assert not list((tmp_path / "full").rglob("*.part"))

    # Of the note that did not fit there is nothing, and every one before it.
    assert 0 < told["notes"] < 2000
    assert "labels.jsonl' cannot be written to (No space left on device): make room there." in told["refused"]
    noted = Recording.load(tmp_path / "noted").labels
    assert [label.label for label in noted] == [f"note {n}" for n in range(told["notes"])]

    assert told["went_on"] == [0, ""]
    whole = Recording.load(tmp_path / "whole")
    assert [label.label for label in whole.labels][-1] == "there is room again"
    assert len(whole) == count + 3
    unbroken = Trainer(str(tiny_checkpoint), build_config(None, SETTINGS, None)).train(count + 3)
    assert learned(list(held)) == learned(list(unbroken))[:count]
    assert learned(list(whole)) == learned(list(unbroken))
