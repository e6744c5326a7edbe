"""Where a branch parts from its parent, kept in the branch's folder: it takes both runs, update by update, to find it.

    parting.json    {"parent": "9f0c…", "compared": 40, "parting": null}

``compared`` is the update up to which the two are known to be equal or to part; ``parting`` is a
``explorer.recording.branches.Parting`` by its fields. It can be deleted: it is then found anew.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from explorer.recording.branches import Parting
from explorer.recording.folder import RecordingError, inside, replace_file

PARTED_FILE = "parting.json"
_MOST_BYTES = 10_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parted:
    """What is known of where a branch parts.

    Attributes:
        parent: the parent's id.
        compared: the last update that has been compared, 0 where none has.
        parting: where they part; None where they are equal up to then.
    """

    parent: str
    compared: int = 0
    parting: Parting | None = None


def write_parted(folder: Path, known: Parted) -> None:
    """Keep it. Raises OSError where the folder takes no more."""
    found = dataclasses.asdict(known.parting) if known.parting is not None else None
    text = json.dumps({"parent": known.parent, "compared": known.compared, "parting": found}, ensure_ascii=False)
    replace_file(folder / PARTED_FILE, lambda path: path.write_text(text + "\n", encoding="utf-8"))


def read_parted(folder: Path, parent: str) -> Parted:
    """What is known of where a branch parts from a parent; nothing where the file is missing or is not as written."""
    try:
        with inside(folder, PARTED_FILE, "").open(encoding="utf-8") as file:
            content = json.loads(file.read(_MOST_BYTES))
        compared, found = content["compared"], content["parting"]
        if content["parent"] == parent and type(compared) is int and compared >= 0:
            return Parted(parent=parent, compared=compared, parting=None if found is None else _parting(found))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, RecordingError):
        pass
    return Parted(parent=parent)


def _parting(found: Any) -> Parting:
    """A Parting of plain values. Raises TypeError or KeyError for anything else."""
    kinds: dict[str, tuple[type, ...]] = {
        **dict.fromkeys(("stage", "quantity"), (str,)),
        "update": (int,),
        **dict.fromkeys(("response", "token"), (int, type(None))),
        **dict.fromkeys(("parent", "child"), (int, float, bool, type(None))),
    }
    if any(type(found[name]) not in allowed for name, allowed in kinds.items()):
        raise TypeError("a value has another type than it was written with")
    words = found["words"]
    if words is not None and not (len(words) == 2 and all(type(word) is str for word in words)):
        raise TypeError("its words are no two texts")
    plain = {name: found[name] for name in kinds}
    return Parting(**plain, words=None if words is None else (words[0], words[1]))
