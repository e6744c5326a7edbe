"""Every knob of a PPO run: its default, its range, and when a change of it takes effect.

It imports no other module of the package but the leaf ``explorer.recipes``, and no torch, so the page can draw its
sliders before anything heavy has loaded. What each knob does to training is said in words in ``text/labels.toml``
(``[fields.*]``).
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from explorer.recipes import Recipe, as_text, checked_judge, checked_recipes

Effect = Literal["what_if", "next_update", "reset"]

#: The menus of the enumerated fields. The functions of the same names live in ``explorer.ppo``.
CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "estimator": (
            *("gae", "one_step_td", "monte_carlo", "monte_carlo_value", "total_return"),
            *("group_mean", "grpo", "rloo", "reinforce_pp", "remax"),
        ),
        "objective": (
            *("clip", "unclipped", "policy_gradient", "clip_higher", "dual_clip"),
            *("two_sided", "kl_penalty", "gspo", "cispo", "sapo"),
        ),
        "kl_estimator": ("k1", "k2", "k3", "exact"),
        "kl_in": ("reward", "loss"),
        "aggregation": ("token_mean", "sequence_mean", "fixed_length"),
        "critic": ("shared", "separate"),
        "lr_schedule": ("constant", "linear"),
    }
)

#: The estimators that compare the responses of a group, and so need at least two of them.
GROUPED = frozenset({"group_mean", "grpo", "rloo"})

#: The objectives whose papers set the upper side of the clip apart from the lower: there it is ``clip_range_high``.
OWN_UPPER_CLIP = frozenset({"clip_higher", "gspo", "cispo"})

#: Pictures of these draw ratios near 1 finely, since their clip is too narrow to be seen otherwise: along
#: asinh(log ratio / this), which is even within it and, further out, even in the logarithm.
RATIO_GRAINS: Mapping[str, float] = MappingProxyType({"gspo": 1e-4})

#: What papers and other programs call a field: an error proposes it, where the spelling alone would mislead.
ALSO_CALLED = {
    **dict.fromkeys(("lr", "alpha"), "learning_rate"),
    **dict.fromkeys(("eps", "epsilon", "cliprange", "clip_eps", "clip_ratio"), "clip_range"),
    **dict.fromkeys(("beta", "kl_beta", "init_kl_coef", "kl_penalty"), "kl_coef"),
    **dict.fromkeys(("lam", "lambda_", "lmbda", "lambd"), "gae_lambda"),
    **dict.fromkeys(("K", "ppo_epochs", "num_epochs", "num_ppo_epochs"), "epochs"),
    **dict.fromkeys(("stop", "sentences"), "stop_sentences"),
    **dict.fromkeys(("max_new_tokens", "max_tokens"), "response_length"),
    **dict.fromkeys(("entropy_coef", "entropy_coeff"), "ent_coef"),
    **dict.fromkeys(("value_coef", "value_coeff"), "vf_coef"),
    **dict.fromkeys(("num_generations", "G"), "group_size"),
    "advantage": "estimator",
}

#: SAPO's temperatures as published, for A > 0 and for A < 0: the latter fades a little sooner.
SAPO_TEMPERATURES = (1.0, 1.05)

#: The built-in reward components, in the order in which they are shown, with their default weights.
DEFAULT_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {"sentiment": 1.0, "coherence": 0.0, "diversity": 0.0, "unbiasedness": 0.0, "length": 0.0}
)

#: A reward weight's allowed range.
WEIGHT_RANGE = (-2.0, 2.0)


def knob(
    default: Any,
    low: float | None = None,
    high: float | None = None,
    *,
    effect: Effect,
    step: float | None = None,
    log: bool = False,
    shown: tuple[float, float] | None = None,
) -> Any:
    """A dataclass field that carries its range, its slider and its effect.

    Args:
        default: the value of an untouched run.
        low: the smallest allowed value, or None for a field that is not a number.
        high: the largest allowed value.
        effect: ``what_if`` re-scores the batch on screen at once, ``next_update`` waits for the next update,
            ``reset`` starts the run anew.
        step: the slider's step.
        log: whether the slider is logarithmic.
        shown: the slider's own range where it is narrower than the allowed one.
    """
    slider = shown or (low, high)
    metadata = {"low": low, "high": high, "effect": effect, "step": step, "log": log, "shown": slider}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Every knob of one PPO update. Frozen: an update runs under one Config from its first token to its last step.

    Raises:
        ValueError: a value is outside its range; the message names the field, the value and the range.
        TypeError: a field does not exist (the message proposes the nearest), or a value has the wrong type.
    """

    # The objective (PPO, arXiv 1707.06347, equation 7).
    clip_range: float = knob(0.2, 0.0, 1.0, effect="what_if", step=0.01, shown=(0.01, 0.6))
    objective: str = knob("clip", effect="what_if")
    clip_range_high: float = knob(0.28, 0.0, 10.0, effect="what_if", step=0.01, shown=(0.01, 1.0))
    dual_clip: float = knob(3.0, 1.0, 100.0, effect="what_if", step=0.1, shown=(1.1, 6.0))
    delta: float = knob(4.0, 1.0, 100.0, effect="what_if", step=0.1, shown=(1.5, 6.0))
    penalty_coef: float = knob(1.0, 0.0, 1000.0, effect="what_if", step=0.1, shown=(0.0, 10.0))
    penalty_target: float = knob(0.01, 0.0001, 1.0, effect="next_update", step=0.001, shown=(0.001, 0.1))

    # The reward: sum_i weights[i] * component_i - kl_coef * KL(policy, reference).
    weights: Mapping[str, float] = dataclasses.field(
        default_factory=lambda: dict(DEFAULT_WEIGHTS), metadata={"effect": "what_if"}
    )
    # Components beside the built-in ones, as recipes: explorer.recipes. Each has a weight too, 1 if none is given.
    components: Mapping[str, Recipe] = dataclasses.field(default_factory=dict, metadata={"effect": "next_update"})
    # Components that are left out of the score and not measured, as one that has failed; their weights are kept.
    set_aside: tuple[str, ...] = dataclasses.field(default=(), metadata={"effect": "next_update"})
    # What the responses are measured by and never trained on: explorer.recipes.checked_judge. "" measures nothing.
    judge: str = dataclasses.field(default="", metadata={"effect": "next_update"})
    kl_coef: float = knob(0.05, 0.0, 2.0, effect="what_if", step=0.005, shown=(0.0, 0.5))
    kl_estimator: str = knob("k1", effect="what_if")
    kl_in: str = knob("reward", effect="what_if")
    kl_target: float | None = knob(None, 0.01, 1000.0, effect="next_update", step=0.1, shown=(0.1, 20.0))
    kl_horizon: int = knob(320, 1, 1_000_000, effect="next_update", step=1, shown=(32, 1000))
    whiten_rewards: bool = knob(False, effect="what_if")
    length_target: int = knob(16, 1, 1024, effect="next_update", step=1, shown=(1, 64))

    # Advantages (GAE, arXiv 1506.02438).
    estimator: str = knob("gae", effect="what_if")
    gamma: float = knob(1.0, 0.0, 1.0, effect="what_if", step=0.01)
    gae_lambda: float = knob(0.95, 0.0, 1.0, effect="what_if", step=0.01)
    whiten: bool = knob(True, effect="what_if")
    aggregation: str = knob("token_mean", effect="what_if")

    # Optimisation.
    epochs: int = knob(4, 1, 16, effect="next_update", step=1)
    minibatches: int = knob(1, 1, 64, effect="next_update", step=1, shown=(1, 8))
    learning_rate: float = knob(1e-4, 0.0, 1.0, effect="next_update", log=True, shown=(1e-5, 1e-2))
    value_learning_rate: float = knob(1e-2, 0.0, 1.0, effect="next_update", log=True, shown=(1e-5, 1e-1))
    vf_coef: float = knob(0.1, 0.0, 10.0, effect="next_update", step=0.01, shown=(0.0, 1.0))
    value_clip_range: float | None = knob(None, 0.0, 10.0, effect="next_update", step=0.01, shown=(0.01, 1.0))
    ent_coef: float = knob(0.0, 0.0, 1.0, effect="next_update", step=0.001, shown=(0.0, 0.1))
    max_grad_norm: float | None = knob(1.0, 0.0, 1000.0, effect="next_update", step=0.05, shown=(0.05, 5.0))
    replay_rollouts: int = knob(1, 1, 16, effect="next_update", step=1, shown=(1, 8))
    target_kl: float | None = knob(None, 0.0, 10.0, effect="next_update", step=0.001, shown=(0.001, 0.1))
    lr_schedule: str = knob("constant", effect="next_update")
    lr_decay_updates: int = knob(100, 1, 100_000, effect="next_update", step=1, shown=(1, 400))
    freeze_critic: bool = knob(False, effect="next_update")
    dropout_on: bool = knob(False, effect="next_update")  # a named bug, for lessons: the first ratio is no longer 1

    # Sampling.
    temperature: float = knob(1.0, 0.05, 5.0, effect="next_update", step=0.05, shown=(0.3, 2.0))
    # A response ends with the n-th run of end marks ("?!" is one), at the run's first token: explorer.ppo.sampling.
    stop_sentences: int = knob(0, 0, 16, effect="next_update", step=1, shown=(0, 4))

    # What the batch is: changing one of these starts the run anew.
    batch_size: int = knob(32, 2, 4096, effect="reset", step=4, shown=(4, 64))
    group_size: int = knob(4, 1, 64, effect="reset", step=1, shown=(1, 16))
    response_length: int = knob(24, 1, 1023, effect="reset", step=1, shown=(4, 64))
    critic: str = knob("shared", effect="reset")
    seed: int = knob(0, 0, 2**31 - 1, effect="reset", step=1, shown=(0, 99))

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if field.name == "weights":
                object.__setattr__(self, "weights", _checked_weights(self.weights))
            elif field.name == "set_aside":
                object.__setattr__(self, "set_aside", _checked_names(self.set_aside))
            elif field.name == "judge":
                object.__setattr__(self, "judge", checked_judge(self.judge))
            elif field.name == "components":
                object.__setattr__(self, "components", checked_recipes(self.components))
                weights = {**self.weights, **{n: self.weights.get(n, 1.0) for n in self.components}}
                object.__setattr__(self, "weights", _checked_weights(weights))
            else:
                object.__setattr__(self, field.name, _checked(field, getattr(self, field.name)))
        if self.minibatches > self.batch_size:
            raise ValueError(
                f"minibatches is {self.minibatches}, more than the batch_size of {self.batch_size} responses: "
                "choose at most one minibatch a response."
            )
        _check_groups(self)
        _check_judge(self)
        _check_objective(self)
        _check_whitened_rewards(self)

    def replace(self, **changes: Any) -> Config:
        """A copy with some fields changed; ``weight_NAME=x`` changes one weight and keeps the others.

        Likewise ``component_NAME=recipe`` adds or changes one component, and None takes it and its weight away.

        Raises:
            TypeError: a field does not exist.
            ValueError: a value is outside its range.
        """
        weights = dict(_checked_weights(changes.pop("weights", self.weights)))
        for name in [name for name in changes if name.startswith("weight_")]:
            weights[name.removeprefix("weight_")] = changes.pop(name)
        components = dict(changes.pop("components", self.components))
        for name in [name for name in changes if name.startswith("component_")]:
            components[name.removeprefix("component_")] = changes.pop(name)
        for name in [name for name, recipe in components.items() if recipe is None]:
            del components[name]
            weights.pop(name, None)
            changes["set_aside"] = [n for n in changes.get("set_aside", self.set_aside) if n != name]
            if changes.get("judge", self.judge) == name:
                changes["judge"] = ""
        _refuse_unknown(changes)
        return dataclasses.replace(self, weights=weights, components=components, **changes)

    @property
    def clip_band(self) -> tuple[float, float]:
        """The lowest and the highest ratio inside the clip range: those of ``OWN_UPPER_CLIP`` have their own top."""
        high = self.clip_range_high if self.objective in OWN_UPPER_CLIP else self.clip_range
        return 1 - self.clip_range, 1 + high

    def __hash__(self) -> int:
        return hash(tuple(sorted((name, repr(value)) for name, value in self.flat().items())))

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles go through plain values: a read-only mapping can do neither."""
        return type(self).from_flat, (self.flat(),)

    def differences(self, other: Config) -> dict[str, tuple[Any, Any]]:
        """``{field: (mine, theirs)}`` for every field that differs; weights and components are compared one by one."""
        mine, theirs = self.flat(), other.flat()
        names = list(dict.fromkeys([*mine, *theirs]))
        absent = {n: None if n.startswith("component_") else 0.0 for n in names}
        mine, theirs = absent | mine, absent | theirs
        return {n: (mine[n], theirs[n]) for n in names if mine[n] != theirs[n]}

    def flat(self) -> dict[str, Any]:
        """Every field by name as plain values; each weight as ``weight_NAME``, each recipe as ``component_NAME``.

        JSON-ready; a recipe is text, JSON itself.
        """
        apart = ("weights", "components")
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in apart}
        values["set_aside"] = list(self.set_aside)  # as JSON gives it back
        recipes = {f"component_{name}": as_text(recipe) for name, recipe in self.components.items()}
        return values | recipes | {f"weight_{name}": weight for name, weight in self.weights.items()}

    @classmethod
    def from_flat(cls, values: Mapping[str, Any]) -> Config:
        """The Config whose ``flat()`` is ``values``. Raises as the constructor does."""
        plain = {k: v for k, v in values.items() if not k.startswith(("weight_", "component_"))}
        weights, components = (
            {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}
            for prefix in ("weight_", "component_")
        )
        return cls(**plain, weights=weights, components=components)


FIELDS: Mapping[str, dataclasses.Field[Any]] = MappingProxyType({f.name: f for f in dataclasses.fields(Config)})


def effect_of(name: str) -> Effect:
    """When a change of the field takes effect; ``weight_NAME`` counts as ``weights``, ``component_NAME`` likewise."""
    prefixes = {"weight_": "weights", "component_": "components"}
    field = FIELDS[next((field for prefix, field in prefixes.items() if name.startswith(prefix)), name)]
    effect: Effect = field.metadata["effect"]
    return effect


def _refuse_unknown(names: Mapping[str, Any]) -> None:
    for name in names:
        if name not in FIELDS:
            near = [ALSO_CALLED[name]] if name in ALSO_CALLED else [f for f in FIELDS if f.startswith(name)]
            near = near or difflib.get_close_matches(name, FIELDS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"the fields are {', '.join(FIELDS)}."
            raise TypeError(f"Config has no field '{name}': {hint}")


def _checked(field: dataclasses.Field[Any], value: Any) -> Any:
    """The value in the field's own type, or an error that names field, value and range."""
    name, low, high = field.name, field.metadata["low"], field.metadata["high"]
    if name in CHOICES:
        if value not in CHOICES[name]:
            raise ValueError(f"{name} is {value!r}, but must be one of {', '.join(CHOICES[name])}.")
        return value
    if isinstance(field.default, bool):
        if not isinstance(value, bool):
            raise TypeError(f"{name} is {value!r}, but must be True or False.")
        return value
    if value is None and "None" in str(field.type):
        return None
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} is {value!r}, but must be a number from {_plain(low)} to {_plain(high)}.")
    number = float(value)
    if math.isnan(number) or not low <= number <= high:
        # 0, as it was typed, and not 0.0.
        whole = isinstance(field.default, int) and abs(number) < 1e15 and number.is_integer()
        shown = _plain(int(number)) if whole else repr(value)
        raise ValueError(f"{name} is {shown}, but must be from {_plain(low)} to {_plain(high)}.")
    if isinstance(field.default, int):
        if number != int(number):
            raise ValueError(f"{name} is {value!r}, but must be a whole number from {_plain(low)} to {_plain(high)}.")
        return int(number)
    return number


def _check_groups(config: Config) -> None:
    """The batch is made of whole groups, and an estimator that compares responses has some to compare."""
    rows, group = config.batch_size, config.group_size
    if rows % group:
        near = (rows // group * group, (rows // group + 1) * group)
        sizes = " or ".join(str(size) for size in near if 0 < size <= FIELDS["batch_size"].metadata["high"])
        raise ValueError(
            f"batch_size is {rows}, which is not a multiple of the group_size of {group} responses a prompt: choose a "
            f"batch_size of {sizes}, or a group_size that divides {rows}."
        )
    if group == 1 and config.estimator in GROUPED:
        raise ValueError(
            f"estimator is {config.estimator!r}, which compares the responses to one prompt, and with a group_size of "
            "1 there is only one: choose a group_size of at least 2, or another estimator."
        )


def _check_judge(config: Config) -> None:
    """A judge is held out: what is paid for is no judge of what it has been paid for."""
    weight = 0.0 if config.judge in config.set_aside else config.weights.get(config.judge, 0.0)
    if weight:
        raise ValueError(
            f"judge is {config.judge!r}, which has the weight {weight:g} in the reward, and a judge is never paid for: "
            "choose another judge, or set that weight to 0."
        )


def _check_objective(config: Config) -> None:
    """Two-sided clipping's bound is outside its range, the loss has no exact KL, and beta adapts a little an update."""
    if config.objective == "two_sided" and config.delta <= 1 + config.clip_range:
        raise ValueError(
            f"delta is {config.delta:g}, but the two-sided objective needs it above 1 + clip_range = "
            f"{1 + config.clip_range:g}: raise delta or lower clip_range."
        )
    if config.kl_in == "loss" and config.kl_estimator == "exact":
        raise ValueError(
            "kl_estimator is 'exact' and kl_in is 'loss', where the KL is a term of the token that was written: choose "
            "k1, k2 or k3, or put the KL into the reward."
        )
    if config.kl_target is not None and config.kl_horizon < config.batch_size:
        raise ValueError(
            f"kl_horizon is {config.kl_horizon}, less than the batch_size of {config.batch_size} responses: raise it "
            "to at least that many, so that one update changes kl_coef by at most a fifth."
        )


def _check_whitened_rewards(config: Config) -> None:
    """ReMax subtracts a score from the rewards' sum, so both have to be in the unit of the score."""
    if config.whiten_rewards and config.estimator == "remax":
        raise ValueError(
            "whiten_rewards is True and estimator is 'remax', whose baseline is a score and not whitened with the "
            "rewards: choose another estimator, or whiten_rewards=False."
        )


def _plain(limit: float) -> str:
    """A limit as a person writes it: 2147483647, not 2.14748e+09."""
    return str(limit) if isinstance(limit, int) else f"{limit:g}"


def _checked_weights(weights: Mapping[str, float]) -> Mapping[str, float]:
    if not isinstance(weights, Mapping):
        raise TypeError(f"weights is {weights!r}, but must map each component's name to its weight.")
    low, high = WEIGHT_RANGE
    for name, weight in weights.items():
        if isinstance(weight, bool) or not hasattr(weight, "__float__"):
            raise TypeError(f"the weight of '{name}' is {weight!r}, but must be a number from {low:g} to {high:g}.")
        if math.isnan(float(weight)) or not low <= float(weight) <= high:
            raise ValueError(f"the weight of '{name}' is {weight!r}, but must be from {low:g} to {high:g}.")
    return MappingProxyType({str(name): float(weight) for name, weight in weights.items()})


def _checked_names(names: Any) -> tuple[str, ...]:
    if isinstance(names, (list, tuple)) and all(isinstance(name, str) and name for name in names):
        return tuple(sorted(set(names)))
    raise TypeError(f"set_aside is {names!r:.80}, but must be a list of components' names.")


def _hinting(init: Any) -> Any:
    """Let the constructor answer an unknown field with the nearest name, as ``replace`` does."""

    def __init__(self: Config, **values: Any) -> None:
        _refuse_unknown(values)
        init(self, **values)

    __init__.__wrapped__ = init  # type: ignore[attr-defined]  # keeps inspect.signature(Config) whole
    return __init__


Config.__init__ = _hinting(Config.__init__)  # type: ignore[method-assign]
