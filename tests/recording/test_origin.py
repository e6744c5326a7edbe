"""From where a run goes on: what of the machine is another than when its state was made."""

from __future__ import annotations

from pathlib import Path

import pytest

from explorer.config import Config
from explorer.recording.origin import Origin

HERE = ("2.10.0", 2, "cpu")


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (("2.10.0", 2, "cpu"), None),
        (("2.9.0", 2, "cpu"), ("PyTorch 2.9.0", "PyTorch 2.10.0")),
        (("2.10.0", 1, "cpu"), ("1 thread", "2 threads")),
        (("2.10.0", 11, "cpu"), ("11 threads", "2 threads")),
        (("2.9.0", 1, "cuda:0"), ("PyTorch 2.9.0, 1 thread, cuda:0", "PyTorch 2.10.0, 2 threads, cpu")),
        ((None, None, "cpu"), None),  # an older recording does not tell
        ((None, 1, "cpu"), ("1 thread", "2 threads")),
        (("2.9\n" + "9" * 99, 2, "cpu"), ("PyTorch 2.9 " + "9" * 36, "PyTorch 2.10.0")),
    ],
)
def test_what_is_otherwise_is_named_and_nothing_else(
    made: tuple[str | None, int | None, str], words: tuple[str, str] | None
) -> None:
    torch, threads, device = made
    origin = Origin(
        folder=Path("run"),
        run="0123",
        update=3,
        newest=True,
        ahead=0,
        config=Config(),
        prompts=("The cat",),
        policy_digest="0",
        bf16=False,
        device=device,
        torch=torch,
        threads=threads,
    )
    assert origin.unlike(*HERE) == words
