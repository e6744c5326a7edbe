"""Configs drawn at random over nearly every knob, for properties that must hold under any settings of a run."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from explorer.config import CHOICES, GROUPED, Config

#: Recipes of every kind whose scores vary on texts of few words.
RECIPES: dict[str, dict[str, Any]] = {
    "pets": {"kind": "keywords", "words": ["cat", "dog", "happy"], "enough": 2},
    "sums": {"kind": "expression", "expression": "0.5 * words - 0.2 * length"},
    "ends": {"kind": "format", "pattern": "[.!?]$"},
    "easy": {"kind": "reading_ease"},
    "again": {"kind": "repetition"},
    "short": {"kind": "copy", "of": "length", "length_target": 3},
}


def _maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """A Config of small batches that trains in milliseconds, its steps large enough for ratios to leave the clip."""
    objective, estimator, kl_in = (draw(st.sampled_from(CHOICES[name])) for name in ("objective", "estimator", "kl_in"))
    kl_estimators = [name for name in CHOICES["kl_estimator"] if (kl_in, name) != ("loss", "exact")]
    group = draw(st.sampled_from([2, 4] if estimator in GROUPED else [1, 2, 4]))
    recipes = draw(st.lists(st.sampled_from(sorted(RECIPES)), unique=True, max_size=3))
    measured = [*recipes, "sentiment", "coherence", "diversity", "unbiasedness", "length"]
    weight, unit = st.floats(-2.0, 2.0), st.floats(0.0, 1.0)
    return Config(
        objective=objective,
        estimator=estimator,
        clip_range=draw(st.floats(0.0, 0.6)),
        clip_range_high=draw(st.floats(0.0, 1.0)),
        dual_clip=draw(st.floats(1.0, 6.0)),
        delta=draw(st.floats(1.7, 6.0)),
        penalty_coef=draw(st.floats(0.0, 10.0)),
        penalty_target=draw(st.floats(0.001, 0.1)),
        weights={name: draw(weight) for name in draw(st.lists(st.sampled_from(measured), unique=True, min_size=1))},
        components={name: RECIPES[name] for name in recipes},
        set_aside=tuple(draw(st.lists(st.sampled_from(measured), unique=True, max_size=1))),
        kl_coef=draw(st.floats(0.0, 0.5)),
        kl_estimator=draw(st.sampled_from(kl_estimators)),
        kl_in=kl_in,
        kl_target=draw(_maybe(st.floats(0.1, 20.0))),
        kl_horizon=draw(st.integers(8, 1000)),
        whiten_rewards=estimator != "remax" and draw(st.booleans()),
        length_target=draw(st.integers(1, 8)),
        gamma=draw(unit),
        gae_lambda=draw(unit),
        whiten=draw(st.booleans()),
        aggregation=draw(st.sampled_from(CHOICES["aggregation"])),
        epochs=draw(st.integers(1, 3)),
        minibatches=draw(st.integers(1, 4)),
        learning_rate=10 ** draw(st.floats(-4.0, -1.5)),
        value_learning_rate=10 ** draw(st.floats(-4.0, -1.0)),
        vf_coef=draw(unit),
        value_clip_range=draw(_maybe(st.floats(0.01, 1.0))),
        ent_coef=draw(st.floats(0.0, 0.1)),
        max_grad_norm=draw(_maybe(st.floats(0.05, 5.0))),
        replay_rollouts=draw(st.integers(1, 3)),
        target_kl=draw(_maybe(st.floats(0.001, 0.1))),
        lr_schedule=draw(st.sampled_from(CHOICES["lr_schedule"])),
        lr_decay_updates=draw(st.integers(1, 10)),
        freeze_critic=draw(st.booleans()),
        dropout_on=draw(st.booleans()),
        temperature=draw(st.floats(0.3, 2.0)),
        stop_sentences=draw(st.integers(0, 1)),
        batch_size=draw(st.sampled_from([4, 8])),
        group_size=group,
        response_length=draw(st.integers(1, 6)),
        critic=draw(st.sampled_from(CHOICES["critic"])),
        seed=draw(st.integers(0, 1000)),
    )
