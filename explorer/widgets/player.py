"""The head of the page: the buttons, the five-step loop, the scrubber, the status line and the errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from traitlets import Dict, List, Unicode

from explorer.presets import LESSONS, RECIPES
from explorer.widgets.on_loop import BoardView
from explorer.widgets.scripts import script, style


class Player(BoardView):
    """The player (``widgets/player.js``).

    Args:
        on_command: called on the loop with each message ``{"kind": ..., ...}`` from a button, menu or scrubber.
    """

    _esm = script("player")
    _css = style()

    lessons = List(Unicode(), help="The presets that show something, by name.").tag(sync=True)
    recipes = List(Unicode(), help="The presets that are named algorithms.").tag(sync=True)
    policy = Dict(help="What is being trained: {name, parameters}; empty while it loads.").tag(sync=True)

    def __init__(self, on_command: Callable[[dict[str, Any]], None], **traits: Any) -> None:
        super().__init__(lessons=list(LESSONS), recipes=list(RECIPES), **traits)
        self.on_msg(lambda widget, content, buffers: on_command(content))
