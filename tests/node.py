"""Finds a node to run the page's scripts in, outside of any browser."""

from __future__ import annotations

import os
import shutil
from functools import cache
from pathlib import Path

import playwright


@cache
def node() -> str:
    """The path of node: the one that comes inside Playwright's Python package, so that every test run has the same.

    Raises:
        FileNotFoundError: this Playwright was built without it, and there is none on the ``PATH``.
    """
    own = Path(playwright.__file__).parent / "driver" / ("node.exe" if os.name == "nt" else "node")
    found = str(own) if own.is_file() else shutil.which("node")
    if found is None:
        raise FileNotFoundError("Playwright came without its node, and none is on the PATH: install one of the two.")
    return found
