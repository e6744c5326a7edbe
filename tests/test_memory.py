"""Freed memory stays with the process: counted by the page faults that an update's worth of blocks costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Takes and frees 16 MB blocks as an update does its logits, and prints the page faults of the later rounds.
PROGRAM = """
import ctypes, resource, sys
from explorer.memory import keep_freed_memory

kept = sys.argv[1] == "kept" and keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]

def round_of_blocks():
    blocks = [libc.malloc(2**24) for _ in range(4)]
    for block in blocks:
        ctypes.memset(block, 1, 2**24)
    for block in reversed(blocks):
        libc.free(block)

round_of_blocks()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    round_of_blocks()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> tuple[bool, int]:
    found = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    kept, count = found.stdout.split()
    return kept == "True", int(count)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc hands memory back like this")
def test_blocks_that_are_freed_and_taken_again_cost_no_page_faults() -> None:
    kept, few = faults("kept")
    if not kept:
        pytest.skip("this C library has no mallopt")
    _, many = faults("handed back")
    assert few < many / 10
