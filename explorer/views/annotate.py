"""The annotator as the browser gets it: pairs, what has been said, the fitted model, and the component made of it."""

from __future__ import annotations

import json
from typing import Any

from explorer.bundled import asset_path

#: What twenty labels can teach, and two hundred: measured by ``ppo-explorer preferences --tuned --table``.
TABLE = "preferences/table.json"


def annotate_picture(session: Any) -> dict[str, Any]:
    """What the panel draws.

    Args:
        session: a Session.

    Returns:
        ``session.annotator.state`` without the recipe, its ``judge`` the one in force, and ``component``: ``{name,
        there, current, decided, weight}``, of the component that is, or would be, the fitted model; ``current`` says
        that it is the last fit.
    """
    annotator, config = session.annotator, session.config
    state = {name: value for name, value in annotator.state.items() if name != "recipe"}
    name = annotator.component
    recipe = config.components.get(name)
    component = {
        "name": name,
        "there": recipe is not None,
        "current": recipe is not None and dict(recipe) == annotator.state.get("recipe"),
        "decided": None if recipe is None else recipe.get("decided"),
        "weight": config.weights.get(name),
        "aside": name in config.set_aside,
    }
    return {**state, "component": component}


def learning_table() -> dict[str, Any]:
    """The bundled table: ``{seeds, fresh, noise, way, rows}``.

    A row is ``[rule, pairs, mean, lowest, highest]``, and the last three again of a trunk tuned to the same labels.
    """
    found: dict[str, Any] = json.loads(asset_path(TABLE).read_text(encoding="utf-8"))
    return found
