"""The page of a recorded run: a notebook of one cell, made for as long as it is served."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from explorer.bundled import notebook_path


@contextmanager
def replay_notebook(run: Path) -> Iterator[Path]:
    """The explorer's own notebook, its cell showing a recorded run instead; gone when the block is left.

    Args:
        run: the folder of the run.
    """
    notebook = json.loads(notebook_path("explorer.ipynb").read_text(encoding="utf-8"))
    (cell,) = notebook["cells"]
    cell["source"] = f"import explorer\n\nexplorer.Explorer(recording={str(run.resolve())!r}, live=False)"
    with tempfile.TemporaryDirectory(prefix="ppo-explorer-") as folder:
        made = Path(folder) / "replay.ipynb"
        made.write_text(json.dumps(notebook), encoding="utf-8")
        yield made
