"""The memory that a training process has freed stays with it, instead of going back to the system and coming again.

An update frees and takes the same hundreds of megabytes several times over. By default glibc hands freed memory back
whenever a large block at the end of its heap is free, and each page that comes again costs a fault. Whether that
happens is chance, by how the heap has come to lie: the same update took 0.89 s in one process, with 5,000 faults, and
1.15 s in another, with 130,000.
"""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h

#: Blocks up to so many bytes come from the heap: the most that glibc allows.
_LARGEST_BLOCK = 32 * 2**20

#: So many bytes may be free at the heap's end before it is handed back.
_KEPT = 2**30


def keep_freed_memory() -> bool:
    """Have this process keep up to 1 GiB of what it frees; whether that could be set.

    It holds for the whole process, so that programs call it, and a library leaves it to them. Only glibc has it: on
    other systems nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK) and mallopt(_M_TRIM_THRESHOLD, _KEPT))
