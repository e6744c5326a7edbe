"""Where a recording breaks off the sentence says what is there, what is lost and what to do."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from explorer.recording.breaking_off import held_by, told_with_the_lost
from explorer.recording.folder import ElsewhereError, NoRoomError

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("last", "made", "states", "said"),
    [
        (
            *(3, 5, [0, 2]),
            "it holds every update up to 3, and updates 4 to 5 are lost: make room there and resume the run, which "
            "makes updates 4 to 5 once more, or record elsewhere.",
        ),
        (
            *(3, 4, [0]),
            "it holds every update up to 3, and update 4 is lost: make room there and resume the run, which makes "
            "update 4 once more, or record elsewhere.",
        ),
        (*(3, 3, [0]), "it holds every update up to 3: make room there and resume the run, or record elsewhere."),
        (
            *(0, 1, []),
            "it holds no update yet, and update 1 is lost: it keeps no state to go on from, so make room and record "
            "it again, or record elsewhere.",
        ),
    ],
)
def test_a_full_disk(tmp_path: Path, last: int, made: int, states: list[int], said: str) -> None:
    (tmp_path / "checkpoints").mkdir()
    for update in states:
        (tmp_path / "checkpoints" / f"{update:06d}.safetensors").touch()
    found = told_with_the_lost(NoRoomError(held_by(tmp_path, FULL, last)), tmp_path, last, made)
    assert str(found) == f"'{tmp_path}' cannot be written to (No space left on device); {said}"
    assert type(found) is NoRoomError


def test_settings_that_have_changed_too_often(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "000008.safetensors").touch()
    found = told_with_the_lost(ElsewhereError("It takes no more: go on in another folder."), tmp_path, 9, 11)
    assert str(found) == (
        "It takes no more: go on in another folder. Updates 10 to 11 are lost; its newest state is that of update 8."
    )
    assert type(found) is ElsewhereError
