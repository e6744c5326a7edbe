"""What if: the same samples under a new scoring must be what the trainer itself would have said of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from explorer.config import CHOICES, FIELDS, Config, effect_of
from explorer.ppo.metrics import KL_ESTIMATORS
from explorer.ppo.objectives import OBJECTIVES, curve
from explorer.ppo.policy import Policy
from explorer.ppo.trainer import Trainer
from explorer.recording.snapshot import Snapshot
from explorer.recording.what_if import lacking, rescored, what_if

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer, RunUpdate

#: Replayed rows, padding and four minibatches: everything that a snapshot can hold.
CONFIG = Config(
    batch_size=8,
    response_length=6,
    epochs=2,
    minibatches=2,
    stop_sentences=1,
    replay_rollouts=2,
    learning_rate=1e-2,
    weights={"sentiment": 1.0, "coherence": 0.5, "diversity": 0.25, "length": 0.0},
)

#: One change of each field that re-scores.
CHANGES: dict[str, Any] = {
    "clip_range": 0.05,
    "objective": "unclipped",
    "clip_range_high": 0.01,
    "dual_clip": 1.05,
    "delta": 1.25,
    "penalty_coef": 5.0,
    "weight_sentiment": -1.0,
    "weight_length": 0.5,
    "kl_coef": 0.4,
    "kl_estimator": "k3",
    "kl_in": "loss",
    "aggregation": "sequence_mean",
    "estimator": "monte_carlo",
    "gamma": 0.8,
    "gae_lambda": 0.3,
    "whiten": False,
    "whiten_rewards": True,
}


#: What else has to be set for the change to be felt.
NEEDS: dict[str, dict[str, Any]] = {
    "clip_range_high": {"objective": "clip_higher"},
    "dual_clip": {"objective": "dual_clip"},
    "delta": {"objective": "two_sided"},
    "penalty_coef": {"objective": "kl_penalty"},
}


@pytest.fixture(scope="module")
def snapshot(make_trainer: MakeTrainer, run_update: RunUpdate, snapshot_of: Callable[..., Snapshot]) -> Snapshot:
    """The third update: policy and reference differ, the critic has opinions, and 8 of 16 rows are replayed."""
    trainer = make_trainer(CONFIG)
    for _ in range(2):
        run_update(trainer)
    found = snapshot_of(trainer)
    assert found.final.ages.tolist() == [0] * 8 + [1] * 8
    assert not found.rollout.response_mask.all()
    return found


def assert_same(found: Snapshot, expected: Snapshot, tolerance: float = 1e-6) -> None:
    """Field by field; on replayed rows, whose log-ratios are read back from the ratios, to a little less."""
    for name in ("rollout", "credit", "curve"):
        _assert_same_record(getattr(found, name), getattr(expected, name), name, tolerance)
    for number, (one, other) in enumerate(zip(found.epochs, expected.epochs, strict=True), start=1):
        _assert_same_record(one, other, f"epoch {number}", tolerance)
    assert found.metrics == pytest.approx(expected.metrics, abs=max(tolerance, 1e-6), nan_ok=True)
    for name in ("update", "config", "checks", "tokens", "seconds"):
        assert getattr(found, name) == getattr(expected, name), name


def _assert_same_record(found: Any, expected: Any, where: str, tolerance: float) -> None:
    for field in dataclasses.fields(expected):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        if field.name in ("reward_components", "greedy_components"):
            assert set(one) == set(other)
            one, other = list(one.values()), list(other.values())
        if one is None and other is None:
            continue  # what only the last epoch has
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance, err_msg=f"{where}: {field.name}")
        assert np.asarray(one).dtype == np.asarray(other).dtype, f"{where}: {field.name}"


def test_under_its_own_config_a_snapshot_is_itself(snapshot: Snapshot) -> None:
    assert_same(what_if(snapshot, snapshot.config), snapshot)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"whiten": False, "estimator": "one_step_td", "kl_estimator": "k2"},
        {"objective": "unclipped", "value_clip_range": 0.2, "max_grad_norm": None, "stop_sentences": 2},
        {"estimator": "monte_carlo", "gamma": 0.9, "temperature": 0.7, "replay_rollouts": 4, "minibatches": 3},
        *({"objective": name} for name in CHOICES["objective"]),
        *({"estimator": name} for name in CHOICES["estimator"]),
        *({"aggregation": name, "whiten": False} for name in CHOICES["aggregation"]),
        *({"kl_in": "loss", "kl_estimator": name, "kl_coef": 0.5} for name in KL_ESTIMATORS),
        {"kl_estimator": "exact", "kl_coef": 0.5},
        *({"whiten_rewards": True, "estimator": name} for name in ("gae", "total_return", "rloo", "reinforce_pp")),
        {"objective": "gspo", "clip_range": 3e-4, "clip_range_high": 4e-4, "whiten_rewards": True, "kl_in": "loss"},
        {"lr_schedule": "linear", "lr_decay_updates": 4, "target_kl": 1e-4, "freeze_critic": True},
        {
            "critic": "separate",
            "estimator": "grpo",
            "kl_in": "loss",
            "objective": "gspo",
            "aggregation": "fixed_length",
        },
        {"objective": "kl_penalty", "penalty_target": 1e-4, "kl_target": 0.5, "kl_horizon": 16},
    ],
    ids=str,
)
def test_so_it_is_whatever_the_config(
    changes: dict[str, Any], make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot]
) -> None:
    trainer = make_trainer(CONFIG.replace(**changes))
    for _ in range(3):
        found = snapshot_of(trainer)
        assert_same(what_if(found, trainer.config), found)


def test_without_replay_it_is_the_same_bit_by_bit(
    make_trainer: MakeTrainer, run_update: RunUpdate, snapshot_of: Callable[..., Snapshot]
) -> None:
    trainer = make_trainer(CONFIG.replace(replay_rollouts=1))
    run_update(trainer)
    found = snapshot_of(trainer)
    assert_same(what_if(found, found.config), found, tolerance=0.0)


def test_so_it_is_for_the_shipped_policy(policy: Policy, snapshot_of: Callable[..., Snapshot]) -> None:
    found = snapshot_of(Trainer(policy, Config(batch_size=8, epochs=2, stop_sentences=1)))
    assert_same(what_if(found, found.config), found)


def test_there_and_back(snapshot: Snapshot) -> None:
    away = what_if(snapshot, snapshot.config.replace(**CHANGES))
    assert_same(what_if(away, snapshot.config), snapshot)


@pytest.mark.parametrize("epoch", [0, 1, 2, -1])
def test_one_epoch_alone_comes_out_as_it_does_among_all(snapshot: Snapshot, epoch: int) -> None:
    config = snapshot.config.replace(clip_range=0.03, gamma=0.8, weight_length=0.5)
    alone, whole = what_if(snapshot, config, epoch=epoch), what_if(snapshot, config)
    _assert_same_record(alone.epochs[epoch], whole.epochs[epoch], "epoch", tolerance=0.0)
    _assert_same_record(alone.credit, whole.credit, "credit", tolerance=0.0)
    others = [i for i in range(len(snapshot.epochs)) if i != epoch % len(snapshot.epochs)]
    assert len(others) == 2
    assert all(alone.epochs[i] is snapshot.epochs[i] for i in others)
    assert alone.metrics == snapshot.metrics != whole.metrics


def test_every_field_that_rescores_is_tried() -> None:
    tried = {"weights" if name.startswith("weight_") else name for name in CHANGES}
    assert tried == {name for name in FIELDS if effect_of(name) == "what_if"}


@pytest.fixture
def pair(
    make_trainer: MakeTrainer, run_update: RunUpdate, snapshot_of: Callable[..., Snapshot]
) -> Callable[..., tuple[Snapshot, Snapshot]]:
    """The third update of two runs that were one until then: under ``CONFIG``, and under a changed one."""

    def make(changes: dict[str, Any], **needs: Any) -> tuple[Snapshot, Snapshot]:
        config = CONFIG.replace(minibatches=1, **needs)
        recorded = []
        for last in (config, config.replace(**changes)):
            trainer = make_trainer(config)
            for _ in range(2):
                run_update(trainer)
            recorded.append(snapshot_of(trainer, last))
        return recorded[0], recorded[1]

    return make


@pytest.mark.parametrize(
    ("name", "needs"),
    [*((name, NEEDS.get(name, {})) for name in CHANGES), ("clip_range_high", {"objective": "gspo"})],
)
def test_it_is_what_the_trainer_would_have_computed(
    name: str, needs: dict[str, Any], pair: Callable[..., tuple[Snapshot, Snapshot]]
) -> None:
    recorded, trained = pair({name: CHANGES[name]}, **needs)
    found = what_if(recorded, trained.config)
    assert found.config == trained.config
    _assert_same_record(found.credit, trained.credit, "credit", 1e-6)
    _assert_same_record(found.curve, trained.curve, "curve", 0.0)
    # The first epoch was seen before any step: up to there the two trainings are one.
    for field in ("advantages", "policy_terms", "outside_range", "zero_gradient", "gradient_shares", "ratios"):
        one, other = getattr(found.epochs[0], field), getattr(trained.epochs[0], field)
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5, err_msg=field)
    assert found.epochs[0].policy_loss == pytest.approx(trained.epochs[0].policy_loss, abs=1e-5)
    assert found.epochs[0].clipfrac == pytest.approx(trained.epochs[0].clipfrac, abs=1e-6)
    for metric in ("objective/score", "objective/reward", "value/explained_variance"):
        assert found.metrics[metric] == pytest.approx(trained.metrics[metric], abs=1e-5), metric
    # And it was worth asking: this field does change something.
    changed = [
        not np.array_equal(found.credit.rewards, recorded.credit.rewards),
        not np.array_equal(found.credit.whitened_advantages, recorded.credit.whitened_advantages),
        not np.array_equal(found.epochs[0].outside_range, recorded.epochs[0].outside_range),
        not np.array_equal(found.epochs[0].policy_terms, recorded.epochs[0].policy_terms),
        not np.array_equal(found.epochs[0].gradient_shares, recorded.epochs[0].gradient_shares),
    ]
    assert any(changed)


@pytest.mark.parametrize("name", CHOICES["estimator"])
def test_under_each_estimator_it_is_what_the_trainer_would_have_computed(
    name: str, pair: Callable[..., tuple[Snapshot, Snapshot]]
) -> None:
    # A batch that has greedy answers can be re-scored under every estimator, and back.
    recorded, trained = pair({"estimator": name}, estimator="remax", whiten=False)
    found = what_if(recorded, trained.config)
    assert found.config == trained.config
    for field in ("rewards", "advantages", "whitened_advantages", "returns", "deltas"):
        np.testing.assert_allclose(
            getattr(found.credit, field), getattr(trained.credit, field), rtol=0, atol=1e-5, err_msg=field
        )
    np.testing.assert_allclose(found.epochs[0].policy_terms, trained.epochs[0].policy_terms, rtol=0, atol=1e-5)
    assert found.epochs[0].policy_loss == pytest.approx(trained.epochs[0].policy_loss, abs=1e-5)
    assert found.epochs[0].value_loss == pytest.approx(trained.epochs[0].value_loss, abs=1e-5)
    _assert_same_record(what_if(found, recorded.config).credit, recorded.credit, "back", 1e-6)


@pytest.mark.parametrize("name", CHOICES["objective"])
def test_under_each_objective_it_is_what_the_trainer_would_have_computed(
    name: str, pair: Callable[..., tuple[Snapshot, Snapshot]]
) -> None:
    # Small ranges, and half of the rows replayed: some ratios are far from 1 before the first step.
    other = "clip" if name == "sapo" else "sapo"
    recorded, trained = pair(
        {"objective": name}, objective=other, clip_range=0.05, clip_range_high=0.1, delta=1.06, dual_clip=1.05
    )
    found, first = what_if(recorded, trained.config), 0
    theirs = trained.epochs[first]
    assert found.config == trained.config
    _assert_same_record(found.credit, trained.credit, "credit", 1e-6)
    _assert_same_record(found.curve, trained.curve, "curve", 0.0)
    for field in ("policy_terms", "outside_range", "zero_gradient", "gradient_shares", "ratios"):
        one, expected = getattr(found.epochs[first], field), getattr(theirs, field)
        np.testing.assert_allclose(one, expected, rtol=0, atol=1e-5, err_msg=field)
    assert found.epochs[first].policy_loss == pytest.approx(theirs.policy_loss, abs=1e-5)
    assert found.epochs[first].clipfrac == pytest.approx(theirs.clipfrac, abs=1e-6)
    assert not np.allclose(found.epochs[first].policy_terms, recorded.epochs[first].policy_terms, atol=1e-4)
    assert theirs.zero_gradient.any() == (name not in ("unclipped", "policy_gradient", "kl_penalty", "cispo", "sapo"))
    _assert_same_record(what_if(found, recorded.config).epochs[first], recorded.epochs[first], "back", 1e-5)


def test_remax_waits_for_a_batch_with_greedy_answers(snapshot: Snapshot) -> None:
    asked = snapshot.config.replace(estimator="remax", gamma=0.5)
    assert rescored(asked, snapshot) == snapshot.config.replace(gamma=0.5)
    assert what_if(snapshot, asked).config.estimator == snapshot.config.estimator


def test_what_a_batch_lacks_is_named(
    snapshot: Snapshot, make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot]
) -> None:
    own = snapshot.config
    assert lacking(own.replace(**CHANGES), snapshot) == {}
    assert lacking(own.replace(estimator="remax", gamma=0.5, learning_rate=1e-3), snapshot) == {"estimator": "greedy"}
    unheard = own.replace(weight_unheard_of=1.0)
    assert lacking(unheard, snapshot) == {"weight_unheard_of": "component"}
    assert lacking(own.replace(weight_unheard_of=0.0), snapshot) == {}  # what counts 0 is not missed
    older = dataclasses.replace(snapshot, rollout=dataclasses.replace(snapshot.rollout, exact_ref_kl=None))
    assert lacking(own.replace(kl_estimator="exact"), older) == {"kl_estimator": "exact_kl"}
    alone = snapshot_of(make_trainer(CONFIG.replace(group_size=1, estimator="remax")))
    asked = CONFIG.replace(estimator="rloo", whiten_rewards=True)
    assert lacking(asked, alone) == {"estimator": "groups", "whiten_rewards": "estimator"}
    # What is named waits, and nothing else does.
    for config, batch in ((unheard, snapshot), (asked, alone)):
        waiting = {name for name in config.differences(rescored(config, batch)) if effect_of(name) == "what_if"}
        assert waiting == set(lacking(config, batch))


def test_groups_wait_for_a_batch_that_has_some(
    make_trainer: MakeTrainer, run_update: RunUpdate, snapshot_of: Callable[..., Snapshot]
) -> None:
    alone = snapshot_of(make_trainer(CONFIG.replace(group_size=1)))
    assert rescored(CONFIG.replace(estimator="rloo"), alone) == alone.config
    assert rescored(CONFIG.replace(estimator="reinforce_pp"), alone).estimator == "reinforce_pp"


def test_whitened_rewards_wait_together_with_the_estimator_that_they_were_chosen_for(
    make_trainer: MakeTrainer, run_update: RunUpdate, snapshot_of: Callable[..., Snapshot]
) -> None:
    alone = snapshot_of(make_trainer(CONFIG.replace(group_size=1, estimator="remax")))
    asked = CONFIG.replace(estimator="rloo", whiten_rewards=True, gamma=0.5)
    assert rescored(asked, alone) == alone.config.replace(gamma=0.5)  # ReMax refuses them
    assert rescored(asked.replace(estimator="gae"), alone).whiten_rewards
    other = snapshot_of(make_trainer(CONFIG.replace(group_size=1)))
    assert rescored(asked, other) == other.config.replace(whiten_rewards=True, gamma=0.5)


def test_the_exact_kl_waits_for_a_batch_that_has_it(snapshot: Snapshot) -> None:
    asked = snapshot.config.replace(kl_estimator="exact", gamma=0.5)
    found = what_if(snapshot, asked)
    assert found.config == asked
    np.testing.assert_array_equal(found.credit.ref_kl, snapshot.rollout.exact_ref_kl)
    older = dataclasses.replace(snapshot, rollout=dataclasses.replace(snapshot.rollout, exact_ref_kl=None))
    assert rescored(asked, older) == snapshot.config.replace(gamma=0.5)
    np.testing.assert_array_equal(what_if(older, asked).credit.ref_kl, snapshot.credit.ref_kl)
    # Asked for together with the reward as its place, of a batch that had it in the loss: the place is taken.
    in_loss = dataclasses.replace(older, config=snapshot.config.replace(kl_in="loss", kl_estimator="k3"))
    assert rescored(asked, in_loss) == snapshot.config.replace(gamma=0.5, kl_estimator="k3")


def test_moving_the_kl_into_the_loss_takes_it_out_of_the_reward(snapshot: Snapshot) -> None:
    config = snapshot.config.replace(kl_coef=0.4, kl_estimator="k2")
    before, after = (what_if(snapshot, config.replace(kl_in=place, whiten=False)) for place in ("reward", "loss"))
    np.testing.assert_allclose(after.credit.rewards.sum(1), after.credit.scores, atol=1e-6)
    assert (before.credit.rewards.sum(1) < after.credit.rewards.sum(1)).all()
    # The price is that of the policy as it has become, replayed rows included.
    free = what_if(snapshot, config.replace(kl_in="loss", kl_coef=0.0, whiten=False))
    paid = free.final.policy_terms - after.final.policy_terms
    np.testing.assert_allclose(paid, 0.4 * snapshot.final.ref_log_ratios**2 / 2, atol=1e-5)
    assert paid[8:].sum() > 0


@pytest.fixture(scope="module")
def adapted(make_trainer: MakeTrainer, run_update: RunUpdate, snapshot_of: Callable[..., Snapshot]) -> Snapshot:
    """The third update of a run in which both coefficients adapt, and neither is what was asked for any more."""
    config = CONFIG.replace(
        objective="kl_penalty", penalty_target=1e-4, kl_target=0.01, kl_horizon=16, weights={"length": 1.0}
    )
    trainer = make_trainer(config)
    for _ in range(2):
        run_update(trainer)
    found = snapshot_of(trainer)
    assert (found.config, found.metrics["coef/penalty"]) == (config, 4.0)
    assert found.metrics["coef/kl"] != config.kl_coef
    return found


def test_another_change_keeps_the_coefficients_that_were_in_force(adapted: Snapshot) -> None:
    found = what_if(adapted, adapted.config.replace(gamma=0.5))
    assert {n: found.metrics[n] for n in ("coef/kl", "coef/penalty")} == {
        n: adapted.metrics[n] for n in ("coef/kl", "coef/penalty")
    }
    np.testing.assert_allclose(found.credit.rewards, adapted.credit.rewards, atol=1e-6)
    _assert_same_record(found.curve, adapted.curve, "curve", 0.0)
    assert found.config.kl_coef == adapted.config.kl_coef


def test_a_coefficient_that_is_moved_is_taken_as_it_is_set(adapted: Snapshot) -> None:
    found = what_if(adapted, adapted.config.replace(kl_coef=0.3))
    assert (found.metrics["coef/kl"], found.metrics["coef/penalty"]) == (0.3, 4.0)
    paid = found.credit.scores.sum() - found.credit.rewards.sum()
    assert paid == pytest.approx(0.3 * found.credit.ref_kl.sum(), abs=1e-4)
    priced = what_if(adapted, adapted.config.replace(penalty_coef=0.0))
    assert priced.metrics["coef/penalty"] == 0.0
    np.testing.assert_allclose(priced.curve.positive, priced.curve.ratios, rtol=1e-6)  # no price: the ratio itself


def test_a_recording_that_says_nothing_of_coefficients_had_those_of_its_config(snapshot: Snapshot) -> None:
    plain = {name: value for name, value in snapshot.metrics.items() if not name.startswith("coef/")}
    assert_same(what_if(dataclasses.replace(snapshot, metrics=plain), snapshot.config), snapshot)


def test_the_value_loss_follows_its_new_targets(
    make_trainer: MakeTrainer, run_update: RunUpdate, snapshot_of: Callable[..., Snapshot]
) -> None:
    config = CONFIG.replace(minibatches=1, replay_rollouts=1)
    recorded, trained = (make_trainer(config) for _ in range(2))
    for trainer in (recorded, trained):
        run_update(trainer)
    other = config.replace(kl_coef=0.8, gamma=0.5)
    found, expected = what_if(snapshot_of(recorded), other), snapshot_of(trained, other)
    assert found.epochs[0].value_loss == pytest.approx(expected.epochs[0].value_loss, abs=1e-6)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.fixed_dictionaries(
        {},
        optional={
            "clip_range": st.floats(0.0, 1.0),
            "objective": st.sampled_from(CHOICES["objective"]),
            "clip_range_high": st.floats(0.0, 2.0),
            "dual_clip": st.floats(1.0, 4.0),
            "delta": st.floats(2.5, 4.0),
            "penalty_coef": st.floats(0.0, 10.0),
            "kl_coef": st.floats(0.0, 2.0),
            "kl_estimator": st.sampled_from(tuple(KL_ESTIMATORS)),
            "kl_in": st.sampled_from(CHOICES["kl_in"]),
            "aggregation": st.sampled_from(CHOICES["aggregation"]),
            "estimator": st.sampled_from(CHOICES["estimator"]),
            "gamma": st.floats(0.0, 1.0),
            "gae_lambda": st.floats(0.0, 1.0),
            "whiten": st.booleans(),
            "whiten_rewards": st.booleans(),
            "weight_coherence": st.floats(-2.0, 2.0),
        },
    ).filter(lambda changes: not (changes.get("whiten_rewards") and changes.get("estimator") == "remax"))
)
def test_whatever_is_asked_the_training_stays_as_it_was(changes: dict[str, Any], snapshot: Snapshot) -> None:
    found = what_if(snapshot, snapshot.config.replace(**changes))
    _assert_same_record(found.rollout, snapshot.rollout, "rollout", 0.0)
    for one, other in zip(found.epochs, snapshot.epochs, strict=True):
        for name in ("ratios", "new_logprobs", "values", "entropies", "ages"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        # Replayed rows keep the advantages of their own time.
        np.testing.assert_array_equal(one.advantages[8:], other.advantages[8:])
        np.testing.assert_array_equal(one.advantages[:8], found.credit.whitened_advantages)
    assert np.isfinite(list(found.metrics.values())).all()
    for array in (found.credit.advantages, found.final.policy_terms, found.curve.positive):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


LATER: dict[str, Any] = {
    **{"epochs": 9, "minibatches": 5, "learning_rate": 0.5, "value_learning_rate": 0.5, "vf_coef": 3.0},
    **{"penalty_target": 0.5, "kl_target": 3.0, "kl_horizon": 200},
    **{"value_clip_range": 0.1, "ent_coef": 0.5, "max_grad_norm": 0.1, "replay_rollouts": 7, "length_target": 3},
    **{"temperature": 0.3, "stop_sentences": 0, "batch_size": 99, "response_length": 20, "seed": 5},
    **{"target_kl": 0.5, "lr_schedule": "linear", "lr_decay_updates": 5, "freeze_critic": True, "dropout_on": True},
    **{"group_size": 3, "critic": "separate", "set_aside": ["sentiment"], "judge": "gendered"},
}


def test_what_waits_for_the_next_update_does_not_rescore(snapshot: Snapshot) -> None:
    # A component brings a weight with it, which does re-score; what is not recorded of it counts as absent.
    assert {*LATER, "components"} == {name for name in FIELDS if effect_of(name) != "what_if"}
    assert rescored(snapshot.config.replace(**LATER), snapshot) == snapshot.config
    assert_same(what_if(snapshot, snapshot.config.replace(**LATER)), snapshot)


def test_a_mixed_change_takes_its_rescoring_half(snapshot: Snapshot) -> None:
    found = what_if(snapshot, snapshot.config.replace(**LATER, clip_range=0.01))
    assert found.config == snapshot.config.replace(clip_range=0.01)
    assert found.final.outside_range.sum() > snapshot.final.outside_range.sum()


def test_a_weight_that_is_gone_counts_as_0(snapshot: Snapshot) -> None:
    without = dataclasses.replace(snapshot.config, weights={"sentiment": 1.0})
    found = what_if(snapshot, without)
    np.testing.assert_allclose(found.credit.scores, snapshot.credit.reward_components["sentiment"], atol=1e-7)


def test_a_component_that_was_not_recorded_counts_as_absent(snapshot: Snapshot) -> None:
    found = what_if(snapshot, snapshot.config.replace(weight_unheard_of=1.0))
    np.testing.assert_allclose(found.credit.scores, snapshot.credit.scores, atol=1e-7)


def test_a_wider_clip_freezes_fewer_tokens_and_a_narrower_one_more(snapshot: Snapshot) -> None:
    shares = [
        what_if(snapshot, snapshot.config.replace(clip_range=clip_range)).metrics["policy/clipfrac_final"]
        for clip_range in (0.01, 0.1, 0.3, 1.0)
    ]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[-1]


def test_the_snapshot_is_not_changed_by_asking(snapshot: Snapshot) -> None:
    before = what_if(snapshot, snapshot.config)
    what_if(snapshot, snapshot.config.replace(**CHANGES))
    assert_same(snapshot, before)


def test_trainer_what_if_and_curve_share_one_formula(
    make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = snapshot_of(make_trainer(CONFIG))

    def tripled(log_ratios: torch.Tensor, advantages: torch.Tensor, *_: Any) -> torch.Tensor:
        return 3.0 * advantages * torch.ones_like(log_ratios)

    monkeypatch.setitem(OBJECTIVES, "clip", lambda *arguments: tripled(*arguments) + 0 * arguments[0])
    trained, asked = snapshot_of(make_trainer(CONFIG)), what_if(plain, CONFIG)
    expected = 3.0 * plain.credit.whitened_advantages
    np.testing.assert_allclose(trained.epochs[0].policy_terms, expected, atol=1e-5)
    np.testing.assert_allclose(asked.final.policy_terms, expected, atol=1e-5)
    assert not np.allclose(plain.final.policy_terms, expected, atol=1e-2)
    for drawn in (curve(CONFIG), trained.curve, asked.curve):
        assert set(np.asarray(drawn.positive).tolist()) == {3.0}
        assert set(np.asarray(drawn.negative).tolist()) == {-3.0}
    # Flat everywhere: every token with an advantage is frozen, in the trainer as in the what-if.
    for found in (trained.final, asked.final):
        np.testing.assert_array_equal(found.zero_gradient, plain.credit.whitened_advantages != 0)
