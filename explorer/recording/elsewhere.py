"""Runs and seed grids that the page was shown in folders of their own: ``elsewhere.json`` on the shelf, their paths.

They stay where they are. One that is gone is passed over, and so is a list that is damaged.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from explorer.recording.folder import inside, read_json, replace_file

ELSEWHERE_FILE = "elsewhere.json"
MAX_ELSEWHERE = 1000


def read_elsewhere(root: Path) -> list[Path]:
    """The folders, in the order in which they were opened."""
    with suppress(OSError, ValueError, RecursionError, MemoryError):
        found = read_json(inside(root, ELSEWHERE_FILE, "it is made with the first."))
        if isinstance(found, list):
            texts = [text for text in found[:MAX_ELSEWHERE] if isinstance(text, str) and "\0" not in text]
            return [path for path in dict.fromkeys(map(Path, texts)) if path.is_absolute() and path.is_dir()]
    return []


def write_elsewhere(root: Path, folders: list[Path]) -> None:
    """Keep a list of folders. Raises OSError where it cannot be written."""
    root.mkdir(parents=True, exist_ok=True)
    text = json.dumps([str(folder) for folder in folders[-MAX_ELSEWHERE:]], ensure_ascii=False)
    replace_file(root / ELSEWHERE_FILE, lambda path: path.write_text(text + "\n", encoding="utf-8"), durable=True)
