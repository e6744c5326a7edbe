"""The browser's side of every view: plain ES modules and one style sheet, read from the files beside this one."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent

#: What every view's script begins with.
SHARED = ("common.js", "selection.js", "turns.js", "layout.js", "opens.js", "frame.js", "ghost.js")

#: What a view has beside its own file.
BESIDE = {
    "objective": ("formula.js", "cloud.js", "room.js", "plane.js", "wedge.js", "handles.js", "epochs.js"),
    "player": ("keys.js", "tables.js", "picture.js", "save.js", "kernel.js"),
    "controls": ("grip.js",),
    "tokens": ("order.js", "strip.js", "legend.js", "response.js", "tip.js", "join.js"),
    "ledger": ("mathml.js",),
    "kl": ("estimates.js",),
    "reward": ("bars.js", "component.js", "components.js", "judge.js"),
    "ladder": ("critic.js",),
    "annotate": ("teaching.js",),
    "time": ("epochs.js",),
    "curves": ("behind.js", "expected.js", "frontier.js", "gauge.js", "visit.js"),
    "runs": ("notes.js",),
}


@cache
def script(name: str) -> str:
    """The module of a view: the files that all of them share, then the view's own."""
    return "\n".join(
        (_FOLDER / file).read_text(encoding="utf-8") for file in (*SHARED, *BESIDE.get(name, ()), f"{name}.js")
    )


@cache
def style() -> str:
    """The style sheet of the page."""
    return (_FOLDER / "explorer.css").read_text(encoding="utf-8")
