"""Config: what it refuses, what it says then, and that it survives being written down."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.config import ALSO_CALLED, CHOICES, DEFAULT_WEIGHTS, FIELDS, GROUPED, WEIGHT_RANGE, Config, effect_of

NUMBERS = [name for name, field in FIELDS.items() if field.metadata.get("low") is not None]
WHOLE = [name for name in NUMBERS if type(FIELDS[name].default) is int]


def _values(name: str) -> st.SearchStrategy[Any]:
    field = FIELDS[name]
    if name in CHOICES:
        return st.sampled_from(CHOICES[name])
    if isinstance(field.default, bool):
        return st.booleans()
    low, high = field.metadata["low"], field.metadata["high"]
    return st.integers(low, high) if name in WHOLE else st.floats(low, high)


def _whole_groups(values: dict[str, Any]) -> int:
    """The batch size, brought down to a multiple of the group size."""
    group = values.get("group_size", 4)
    return max(values.get("batch_size", 32) // group, 2) * group


def _with_groups(values: dict[str, Any]) -> str:
    """The estimator, another where a group of one is not enough for it."""
    estimator = values.get("estimator", "gae")
    return "gae" if values.get("group_size", 4) == 1 and estimator in GROUPED else estimator


def _in_reach(values: dict[str, Any]) -> dict[str, Any]:
    """A horizon of a batch at least, a delta above any clip range, the exact KL in the reward only, ReMax's plain."""
    horizon, delta = values.get("kl_horizon", 320), values.get("delta", 4.0)
    place = {"kl_in": "reward"} if values.get("kl_estimator") == "exact" else {}
    plain = {"whiten_rewards": False} if values["estimator"] == "remax" else {}
    return {"kl_horizon": max(horizon, values["batch_size"]), "delta": max(delta, 2.5), **place, **plain}


names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
APART = ("weights", "components", "set_aside", "judge")
weights = st.dictionaries(names, st.floats(*WEIGHT_RANGE), min_size=1, max_size=5)
configs = (
    st.fixed_dictionaries({}, optional={name: _values(name) for name in FIELDS if name not in APART})
    .map(lambda values: values | {"batch_size": _whole_groups(values), "estimator": _with_groups(values)})
    .map(lambda values: values | _in_reach(values))
    .filter(lambda values: values.get("minibatches", 1) <= values["batch_size"])
    .flatmap(lambda values: weights.map(lambda found: Config(**values, weights=found)))
)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("side", ["low", "high"])
def test_a_number_may_lie_on_its_bounds_and_not_beyond(name: str, side: str) -> None:
    bound = FIELDS[name].metadata[side]
    # The batch must hold the minibatches, and the horizon a batch, whichever is pushed to its bound.
    room = {"batch_size": 4096, "minibatches": 1, "group_size": 1, "kl_horizon": 4096} | {name: bound}
    assert getattr(Config(**room), name) == bound
    beyond = bound - 1 if side == "low" else bound + 1
    with pytest.raises(ValueError, match=name) as refused:
        Config(**{name: beyond})
    message = str(refused.value)
    assert repr(beyond) in message
    assert f"{float(FIELDS[name].metadata['low'])}".removesuffix(".0") in message
    assert f"{float(FIELDS[name].metadata['high'])}".removesuffix(".0") in message
    assert "\n" not in message


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number_is_nan_or_infinite(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value!r}"):
        Config(**{name: value})


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ["0.5", True, [1], object()])
def test_what_is_no_number_is_a_type_error(name: str, value: object) -> None:
    with pytest.raises(TypeError, match=f"{name} is .* must be a number from"):
        Config(**{name: value})


@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers_stay_whole(name: str) -> None:
    low = FIELDS[name].metadata["low"]
    with pytest.raises(ValueError, match=f"{name} is .* whole number"):
        Config(**{name: low + 0.5})
    read = getattr(Config(**{"batch_size": 8, "group_size": 1} | {name: float(low + 1)}), name)
    assert read == low + 1
    assert type(read) is int


LIMITS = ["value_clip_range", "max_grad_norm", "target_kl", "kl_target"]


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_may_be_none(name: str) -> None:
    assert getattr(Config(**{name: None}), name) is None


@pytest.mark.parametrize("name", sorted(set(NUMBERS) - set(LIMITS)))
def test_nothing_else_may_be_none(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        Config(**{name: None})


@pytest.mark.parametrize("value", [1, 0, None, "True"])
@pytest.mark.parametrize("name", ["whiten", "whiten_rewards", "freeze_critic", "dropout_on"])
def test_a_switch_is_true_or_false(name: str, value: object) -> None:
    with pytest.raises(TypeError, match=f"{name} is .* True or False"):
        Config(**{name: value})


@pytest.mark.parametrize("name", sorted(CHOICES))
def test_a_choice_names_its_alternatives(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 'nothing'") as refused:
        Config(**{name: "nothing"})
    assert all(choice in str(refused.value) for choice in CHOICES[name])


@pytest.mark.parametrize(("value", "shown"), [(0.0, "0"), (-3, "-3"), (1e300, r"1e\+300"), (0.5, "0.5")])
def test_a_whole_number_out_of_range_is_shown_as_it_was_typed(value: float, shown: str) -> None:
    with pytest.raises(ValueError, match=f"^batch_size is {shown}, but must be from 2 to "):
        Config(batch_size=value)


@pytest.mark.parametrize("value", [math.nan, math.inf, 2.001, -2.001])
def test_a_weight_out_of_range_is_named(value: float) -> None:
    with pytest.raises(ValueError, match=rf"the weight of 'coherence' is {value!r}.*-2 to 2"):
        Config(weights={"coherence": value})


@pytest.mark.parametrize("value", ["1", None, True])
def test_a_weight_is_a_number(value: object) -> None:
    with pytest.raises(TypeError, match="the weight of 'coherence'"):
        Config(weights={"coherence": value})  # type: ignore[dict-item]


def test_weights_are_a_mapping() -> None:
    with pytest.raises(TypeError, match="weights is"):
        Config(weights=[1.0])  # type: ignore[arg-type]


def test_two_sided_clipping_needs_its_delta_outside_the_clip_range() -> None:
    assert Config(objective="two_sided", delta=1.3, clip_range=0.2).delta == 1.3
    with pytest.raises(ValueError, match=r"delta is 1.3, .* above 1 \+ clip_range = 1.4: raise delta or lower") as why:
        Config(objective="two_sided", delta=1.3, clip_range=0.4)
    assert "\n" not in str(why.value)
    with pytest.raises(ValueError, match="delta is 1.2"):
        Config(objective="two_sided", delta=1.2, clip_range=0.2)
    assert Config(delta=1.0).delta == 1.0  # where nobody uses it, it does no harm


def test_the_loss_has_no_exact_kl() -> None:
    assert Config(kl_estimator="exact").kl_in == "reward"
    with pytest.raises(
        ValueError, match="kl_estimator is 'exact' and kl_in is 'loss'.*: choose k1, k2 or k3, or"
    ) as why:
        Config(kl_estimator="exact", kl_in="loss")
    assert "\n" not in str(why.value)


def test_an_adaptive_beta_needs_a_horizon_of_at_least_a_batch() -> None:
    assert Config(kl_target=6.0, kl_horizon=32).kl_horizon == 32
    with pytest.raises(ValueError, match="kl_horizon is 31, less than the batch_size of 32 responses: raise it") as why:
        Config(kl_target=6.0, kl_horizon=31)
    assert "\n" not in str(why.value)
    assert Config(kl_horizon=1).kl_target is None


def test_the_clip_band_is_wider_above_for_those_that_have_it_so() -> None:
    for name in CHOICES["objective"]:
        low, high = Config(objective=name, clip_range=0.1, clip_range_high=0.5).clip_band
        assert low == pytest.approx(0.9)
        assert high == pytest.approx(1.5 if name in ("clip_higher", "gspo", "cispo") else 1.1)


def test_the_clip_band_can_be_as_narrow_as_gspo_was_published() -> None:
    assert Config(objective="gspo", clip_range=3e-4, clip_range_high=4e-4).clip_band == pytest.approx((0.9997, 1.0004))


def test_remax_takes_no_whitened_rewards() -> None:
    with pytest.raises(ValueError, match="whiten_rewards is True and estimator is 'remax'.*: choose another") as why:
        Config(estimator="remax", whiten_rewards=True)
    assert "\n" not in str(why.value)
    for name in set(CHOICES["estimator"]) - {"remax"}:
        assert Config(estimator=name, whiten_rewards=True).whiten_rewards


def test_more_minibatches_than_responses_are_refused() -> None:
    assert Config(minibatches=4, batch_size=4).minibatches == 4
    with pytest.raises(ValueError, match="minibatches is 5, more than the batch_size of 4"):
        Config(minibatches=5, batch_size=4)


@pytest.mark.parametrize(
    ("rows", "group", "advice"),
    [
        (30, 4, "batch_size of 28 or 32, or a group_size that divides 30"),
        (8, 16, "batch_size of 16, or a group_size that divides 8"),
        (4095, 64, "batch_size of 4032 or 4096, or"),
        (4095, 4, "batch_size of 4092 or 4096, or"),
        (4096, 63, "batch_size of 4095, or"),
    ],
)
def test_a_batch_of_broken_groups_is_refused_and_says_what_fits(rows: int, group: int, advice: str) -> None:
    with pytest.raises(ValueError, match=f"batch_size is {rows}, which is not a multiple of the group_size") as refused:
        Config(batch_size=rows, group_size=group)
    assert advice in str(refused.value)
    assert "\n" not in str(refused.value)
    for size in map(
        int, re.findall(r"\d+", str(refused.value).partition("choose a batch_size of")[2].partition(",")[0])
    ):
        assert Config(batch_size=size, group_size=group).batch_size == size


@pytest.mark.parametrize("name", CHOICES["estimator"])
def test_an_estimator_that_compares_responses_needs_two_of_them(name: str) -> None:
    assert Config(estimator=name, group_size=2).estimator == name
    if name not in GROUPED:
        assert Config(estimator=name, group_size=1).group_size == 1
        return
    with pytest.raises(
        ValueError, match=f"estimator is '{name}'.*choose a group_size of at least 2, or another"
    ) as why:
        Config(estimator=name, group_size=1)
    assert "\n" not in str(why.value)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        *[("clip_rang", "clip_range"), ("gae_lamda", "gae_lambda"), ("kl_coeff", "kl_coef"), ("clip", "clip_range")],
        # As papers and other programs have them: by spelling alone these would be lr_schedule, delta, epochs …
        *[("lr", "learning_rate"), ("beta", "kl_coef"), ("eps", "clip_range"), ("lam", "gae_lambda")],
        *[("stop", "stop_sentences"), ("K", "epochs"), ("max_new_tokens", "response_length")],
    ],
)
def test_an_unknown_field_proposes_the_nearest(typed: str, meant: str) -> None:
    with pytest.raises(TypeError, match=f"no field '{typed}': did you mean '{meant}'"):
        Config(**{typed: 0.1})
    with pytest.raises(TypeError, match=f"did you mean '{meant}'"):
        Config().replace(**{typed: 0.1})


def test_every_name_from_elsewhere_stands_for_a_field_and_is_none() -> None:
    assert set(ALSO_CALLED.values()) <= set(FIELDS) and not set(ALSO_CALLED) & set(FIELDS)


def test_a_field_like_no_other_lists_them_all() -> None:
    with pytest.raises(TypeError, match="the fields are") as refused:
        Config(zzz=1)
    assert all(name in str(refused.value) for name in FIELDS)


def test_it_cannot_be_changed_in_place() -> None:
    config = Config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.gamma = 0.5  # type: ignore[misc]
    with pytest.raises(TypeError):
        config.weights["sentiment"] = 0.5  # type: ignore[index]


def test_the_callers_weights_are_copied() -> None:
    mine = {"sentiment": 1.0}
    config = Config(weights=mine)
    mine["sentiment"] = 2.0
    assert config.weights["sentiment"] == 1.0


def test_replace_changes_one_weight_and_keeps_the_others() -> None:
    start = Config(gamma=0.9, weights={"sentiment": 0.25, "length": -1.0})
    changed = start.replace(weight_length=0.5, weight_mine=1.5, clip_range=0.1)
    assert dict(changed.weights) == {"sentiment": 0.25, "length": 0.5, "mine": 1.5}
    assert (changed.clip_range, changed.gamma) == (0.1, 0.9)
    assert dict(start.weights) == {"sentiment": 0.25, "length": -1.0}  # the original is untouched
    with pytest.raises(ValueError, match="the weight of 'length' is 3"):
        start.replace(weight_length=3)


@given(configs)
def test_flat_round_trip(config: Config) -> None:
    assert Config.from_flat(config.flat()) == config


def test_a_config_without_any_weight_survives_too() -> None:
    bare = Config(weights={})
    assert Config.from_flat(bare.flat()) == bare


@given(configs, configs)
def test_differences_lead_from_one_to_the_other(mine: Config, theirs: Config) -> None:
    differing = mine.differences(theirs)
    assert theirs.differences(mine) == {name: (other, own) for name, (own, other) in differing.items()}
    taken = mine.flat() | {name: other for name, (_, other) in differing.items()}
    assert Config.from_flat(taken).differences(theirs) == {}


def test_differences_name_both_values() -> None:
    mine, theirs = Config(clip_range=0.1), Config(weights={**DEFAULT_WEIGHTS, "length": 0.5})
    assert mine.differences(theirs) == {"clip_range": (0.1, 0.2), "weight_length": (0.0, 0.5)}


def test_every_field_says_when_a_change_takes_effect() -> None:
    assert {effect_of(name) for name in FIELDS} == {"what_if", "next_update", "reset"}
    assert effect_of("weight_anything") == "what_if"


def test_every_slider_lies_within_the_allowed_range_and_reaches_the_default() -> None:
    for name in NUMBERS:
        metadata, default = FIELDS[name].metadata, FIELDS[name].default
        low, high = metadata["shown"]
        assert metadata["low"] <= low < high <= metadata["high"], name
        assert default is None or low <= default <= high, name
        assert not metadata["log"] or low > 0, f"{name} has a logarithmic slider that begins at 0"


def test_the_menus_are_what_ppo_offers() -> None:
    from explorer.ppo.advantages import ADVANTAGES
    from explorer.ppo.metrics import KL_ESTIMATORS
    from explorer.ppo.objectives import OBJECTIVES
    from explorer.ppo.rewards import REWARDS

    assert CHOICES["estimator"] == tuple(ADVANTAGES)
    assert CHOICES["objective"] == tuple(OBJECTIVES)
    assert CHOICES["kl_estimator"] == (*KL_ESTIMATORS, "exact")
    assert tuple(DEFAULT_WEIGHTS) == tuple(REWARDS)
