"""The settings: one widget that holds every slider, grouped by when a change of it takes effect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from traitlets import Dict, Int, List

from explorer.config import CHOICES, FIELDS, WEIGHT_RANGE, Config, effect_of
from explorer.presets import PRESETS
from explorer.widgets.on_loop import BoardView
from explorer.widgets.scripts import script, style

#: The settings in the order of the page, by group; those in a folded group wait in a drawer.
GROUPS: dict[str, tuple[str, ...]] = {
    "what_if": ("clip_range", "kl_coef", "gae_lambda", "gamma", "estimator", "objective", "whiten"),
    "weights": (),
    "next_update": ("epochs", "learning_rate", "temperature", "max_grad_norm"),
    "advanced": (
        "minibatches",
        "replay_rollouts",
        "stop_sentences",
        "ent_coef",
        "vf_coef",
        "value_learning_rate",
        "value_clip_range",
        "kl_estimator",
        "kl_in",
        "whiten_rewards",
        "aggregation",
        "target_kl",
        "lr_schedule",
        "lr_decay_updates",
        "freeze_critic",
        "kl_target",
        "kl_horizon",
        "clip_range_high",
        "dual_clip",
        "delta",
        "penalty_coef",
        "penalty_target",
        "length_target",
        "dropout_on",
    ),
    "reset": ("seed", "batch_size", "group_size", "response_length", "critic"),
}
FOLDED = frozenset({"advanced", "reset"})


def css_name(name: str) -> str:
    """A field's CSS class without its prefix: ``weight_my reward`` becomes ``weight-my-reward``."""
    if name == "objective":  # the clip picture is ``explorer-objective``
        return "objective-choice"
    if not name.startswith("weight_"):
        return name
    slug = "".join(c if c.isalnum() else "-" for c in name.removeprefix("weight_").lower())
    return f"weight-{slug}"


def control(name: str) -> dict[str, Any]:
    """A setting as the browser needs it: its kind, ranges, step and effect."""
    shared = {"name": name, "css": css_name(name), "effect": effect_of(name)}
    if name.startswith("weight_"):
        low, high = WEIGHT_RANGE
        component = name.removeprefix("weight_")
        limits = {"low": low, "high": high, "low_shown": 0.0, "high_shown": high, "step": 0.05}
        return shared | limits | {"kind": "slider", "component": component, "log": False, "optional": False}
    field = FIELDS[name]
    if name in CHOICES:
        return shared | {"kind": "choice", "choices": list(CHOICES[name])}
    if isinstance(field.default, bool):
        return shared | {"kind": "toggle"}
    meta = field.metadata
    shown = meta["shown"]
    return shared | {
        "kind": "slider",
        "low": meta["low"],
        "high": meta["high"],
        "low_shown": shown[0],
        "high_shown": shown[1],
        "step": meta["step"] or 0.01,
        "log": meta["log"],
        "optional": "None" in str(field.type),
    }


def groups(config: Config) -> list[dict[str, Any]]:
    """Every group with its controls; the weights are those of the config's components."""
    weights = tuple(f"weight_{name}" for name in config.weights)
    return [
        {"key": key, "folded": key in FOLDED, "fields": [control(n) for n in (weights if key == "weights" else names)]}
        for key, names in GROUPS.items()
    ]


class Controls(BoardView):
    """The sliders (``widgets/controls.js``).

    Args:
        config: the settings to show.
        preset: what they are compared with.
        on_edit: called on the loop with ``{field: value}`` and whether its control is still held, once an edit; what it
            raises goes to ``on_error``, and the sliders go back to ``config``.
        on_error: called with that exception.
    """

    _esm = script("controls")
    _css = style()

    groups = List(help="Every control by group.").tag(sync=True)
    values = Dict(help="The settings in force in the page.").tag(sync=True)
    preset_values = Dict(help="The preset's settings.").tag(sync=True)
    deltas = List(help="[[field, PPO's value, the preset's]]: how the preset differs from PPO.").tag(sync=True)
    edits = Dict(help="{field: {value, n, held}}: the newest edit of every field; n grows with each.").tag(sync=True)
    answered = Int(help="The n of the newest edit that ``values`` knows of, taken or refused.").tag(sync=True)

    def __init__(
        self,
        config: Config,
        preset: Config,
        on_edit: Callable[[dict[str, Any], bool], None],
        on_error: Callable[[BaseException], None],
        **traits: Any,
    ) -> None:
        self._on_edit, self._on_error = on_edit, on_error
        self._weighed = list(config.weights)
        super().__init__(groups=groups(config), **traits)
        self.show(config, preset)
        self.observe(self._take, "edits")

    def show(self, config: Config, preset: Config) -> None:
        """Show these settings beside those of the preset."""
        with self.hold_sync():
            if list(config.weights) != self._weighed:  # a component has come or gone
                self._weighed, self.groups = list(config.weights), groups(config)
            self.preset_values = {**{n: 0.0 for n in config.flat() if n.startswith("weight_")}, **preset.flat()}
            # A judge changes nothing of PPO, and a component's recipe comes with its weight.
            changed = preset.differences(PRESETS["learn"]).items()
            knobs = [(n, both) for n, both in changed if n != "judge" and not n.startswith("component_")]
            self.deltas = [[n, ppo, own] for n, (own, ppo) in knobs]
            self.values = config.flat()

    def forget(self, n: int) -> None:
        """Take no edit up to the n-th any more: what was chosen after it has come first."""
        self.answered = max(self.answered, n)

    def _take(self, change: Any) -> None:
        """Pass on what was edited since the last message, in the order in which it was edited."""
        edits: Mapping[str, Mapping[str, Any]] = change["new"]
        fresh = sorted(
            (e["n"], name, e["value"], bool(e.get("held"))) for name, e in edits.items() if e["n"] > self.answered
        )
        if not fresh:
            return
        refused = False
        with self.hold_sync():  # the values and that they are the answer travel together
            for _, name, value, held in fresh:  # one by one: a refused edit takes no other with it
                try:
                    self._on_edit({name: value}, held)
                except Exception as error:  # a message has no cell to show its error in
                    self._on_error(error)
                    refused = True
            self.answered = fresh[-1][0]
        if refused:
            self.send({"kind": "rejected"})
