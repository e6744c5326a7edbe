"""The reward's components as the browser gets them: what each is, and what the batch on screen knows of it."""

from __future__ import annotations

import math
from typing import Any

from explorer.config import DEFAULT_WEIGHTS, Config
from explorer.recording.snapshot import Snapshot


def reward_picture(session: Any) -> dict[str, Any]:
    """Every component of the settings in the page.

    Args:
        session: a Session, or a Replay, whose components can be looked at only.

    Returns:
        ``{update, components, leaving, removed, closely}``. A component is ``{name, kind, recipe, state, why}``:
        ``kind`` is that of its recipe, ``built_in`` or ``function``; ``state`` says what the batch on screen knows of
        it, see ``state_of``; ``why`` is the reason for which it was set aside, where this page has seen it. ``leaving``
        are those that the batch was trained with and the next update is not; ``removed`` those that are off the list
        and can be taken back. ``closely`` is as ``Components.closely``.
    """
    config, shown, recorded = session.config, session.shown, session.recorded
    lab = getattr(session, "components", None)
    reasons, removed = ({}, ()) if lab is None else (lab.reasons, lab.removed)
    trained = recorded.config if isinstance(recorded, Snapshot) else None
    return {
        "update": 0 if shown is None else shown.update,
        "components": [
            {
                "name": name,
                "kind": kind_of(config, name),
                "recipe": dict(config.components.get(name, {})),
                "state": state_of(config, name, shown, trained),
                "why": reasons.get(name, ""),
            }
            for name in config.weights
            if name not in removed
        ],
        "removed": list(removed),
        "leaving": [] if trained is None else [name for name in trained.components if name not in config.components],
        "closely": {} if lab is None else dict(lab.closely),
    }


def kind_of(config: Config, name: str) -> str:
    """The kind of a component's recipe, ``built_in``, or ``function`` for one that came from Python."""
    if name in config.components:
        return str(config.components[name]["kind"])
    return "built_in" if name in DEFAULT_WEIGHTS else "function"


def state_of(config: Config, name: str, shown: Any, trained: Config | None) -> str:
    """What the batch on screen knows of a component.

    Returns:
        ``recorded``: its values are those of the update; ``what_if``: they have been measured since, on its texts;
        ``next_update``: there are none, and it acts from the next update on; ``aside``: it is left out.
    """
    if name in config.set_aside:
        return "aside"
    credit = getattr(shown, "credit", None)
    if credit is None or trained is None or name not in credit.reward_components:
        return "next_update"
    return "recorded" if config.components.get(name) == trained.components.get(name) else "what_if"


def scaled(config: Config, trained: Config | None) -> dict[str, float | bool] | None:
    """Whether whitening hides all of a change of the weights but its balance against β.

    Returns:
        ``{factor, beta, in_loss}`` where all weights in force are those of the update times one factor above 0 and
        advantages are whitened: ``beta`` is the β that, with the weights of before, weighs as much against the score as
        the present one does now. None otherwise.
    """
    if trained is None or not (config.whiten or config.estimator == "reinforce_pp"):
        return None
    aside = {*config.set_aside, *trained.set_aside}
    names = [name for name in {*config.weights, *trained.weights} if name not in aside]
    pairs = [(config.weights.get(name, 0.0), trained.weights.get(name, 0.0)) for name in names]
    factors = [now / before for now, before in pairs if before]
    if not factors or any(now and not before for now, before in pairs):
        return None
    factor = factors[0]
    same = all(math.isclose(other, factor, rel_tol=1e-6) for other in factors)
    if not same or factor <= 0 or math.isclose(factor, 1.0, rel_tol=1e-6):
        return None
    # In the loss β stands beside advantages that whitening brings to one size whatever the weights.
    in_loss = config.kl_in == "loss"
    return {"factor": factor, "beta": config.kl_coef if in_loss else config.kl_coef / factor, "in_loss": in_loss}
