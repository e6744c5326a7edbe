"""The batch on screen: every number is the snapshot's own, every state is the recorded one, and text is only text."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from explorer.config import CHOICES, Config
from explorer.ppo.policy import Policy
from explorer.ppo.records import Epoch
from explorer.recording.snapshot import Snapshot
from explorer.recording.what_if import what_if
from explorer.session.engine import Engine
from explorer.session.progress import Progress, Unfinished
from explorer.views.batch import batch_picture, telling_token
from explorer.views.curves import ADAPTING
from explorer.views.scoring import INSIDE, MASKED, OUTSIDE_FLOWS, OUTSIDE_ZERO, clip_states

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer, RunUpdate

#: Replayed rows and padding.
CONFIG = Config(
    batch_size=6,
    group_size=2,
    response_length=5,
    epochs=2,
    minibatches=2,
    stop_sentences=1,
    replay_rollouts=2,
    learning_rate=1e-2,
)


@pytest.fixture(scope="module")
def snapshot(make_trainer: MakeTrainer, run_update: RunUpdate, snapshot_of: Callable[..., Snapshot]) -> Snapshot:
    """A second update: 6 fresh rows of 5 tokens, some padded, then 6 replayed ones; some tokens outside the band."""
    trainer = make_trainer(CONFIG)
    run_update(trainer)
    found = snapshot_of(trainer)
    assert found.final.ages.tolist() == [0] * 6 + [1] * 6
    assert not found.rollout.response_mask.all()
    assert found.final.outside_range[:6].any()
    return found


def floats(data: bytes, *shape: int) -> np.ndarray[Any, Any]:
    """What the browser reads: little-endian float32."""
    return np.frombuffer(data, dtype="<f4").reshape(shape)


def words_of(picture: dict[str, Any], row: int, t: int) -> list[str]:
    """The alternatives at a token, as the browser puts them together."""
    top = picture["top"]
    index = np.frombuffer(top["index"], dtype="<u2").reshape(picture["rows"], picture["length"], top["count"])
    return [top["words"][i] for i in index[row, t]]


@pytest.mark.parametrize("epoch", [-1, 0, 1])
def test_every_number_is_the_snapshots_own(snapshot: Snapshot, epoch: int) -> None:
    picture = batch_picture(snapshot, epoch)
    rollout, credit, record = snapshot.rollout, snapshot.credit, snapshot.epochs[epoch]
    expected = {
        "ratio": record.ratios[:6],
        "advantage": credit.whitened_advantages,
        "raw_advantage": credit.advantages,
        "ref_kl": credit.ref_kl,
        "reward": credit.rewards,
        "value": rollout.old_values,
        "return": credit.returns,
        "delta": credit.deltas,
        "entropy": rollout.entropies,
        "gradient_share": record.gradient_shares[:6],
        "exact_kl": rollout.exact_ref_kl,
        "log_ratio": np.where(rollout.response_mask, record.new_logprobs[:6] - rollout.old_logprobs, 0),
        "k1": rollout.old_logprobs - rollout.ref_logprobs,
        "k2": (rollout.old_logprobs - rollout.ref_logprobs) ** 2 / 2,
    }
    mask = rollout.response_mask
    for name, logprobs in (
        ("old_probability", rollout.old_logprobs),
        ("new_probability", record.new_logprobs[:6]),
        ("ref_probability", rollout.ref_logprobs),
    ):
        shown = floats(picture["arrays"][name], 6, 5)
        assert np.allclose(np.log(shown[mask]), logprobs[mask], atol=1e-5)
        assert (shown[~mask] == 0).all()
    for name, array in expected.items():
        assert np.array_equal(floats(picture["arrays"][name], 6, 5), array), name
    assert set(picture["arrays"]) == {*expected, "old_probability", "new_probability", "ref_probability", "k3", "age"}


def test_scores_components_and_settings(snapshot: Snapshot) -> None:
    picture = batch_picture(snapshot)
    assert picture["scores"] == snapshot.credit.scores.tolist()
    assert picture["components"] == {n: v.tolist() for n, v in snapshot.credit.reward_components.items()}
    assert picture["weights"] == dict(CONFIG.weights)
    assert (picture["update"], picture["rows"], picture["length"], picture["finished"]) == (2, 6, 5, True)
    assert picture["clip"] == [0.8, 1.2]
    assert (picture["clip_range"], picture["kl_coef"], picture["objective"]) == (0.2, 0.05, "clip")
    assert (picture["gamma"], picture["gae_lambda"]) == (1.0, 0.95)
    assert (picture["kl_estimator"], picture["kl_in"]) == ("k1", "reward")


@pytest.mark.parametrize(("epoch", "shown"), [(-1, 3), (2, 3), (0, 1), (1, 2)])
def test_it_says_which_epoch_of_how_many(snapshot: Snapshot, epoch: int, shown: int) -> None:
    picture = batch_picture(snapshot, epoch)
    assert (picture["epoch"], picture["epochs"]) == (shown, 2)  # the third is the policy after the last step


def test_the_curve_is_the_recorded_one(snapshot: Snapshot) -> None:
    curve = batch_picture(snapshot)["curve"]
    points = len(snapshot.curve.ratios)
    for name in ("ratios", "positive", "negative"):
        assert np.array_equal(floats(curve[name], points), getattr(snapshot.curve, name).astype(np.float32))


def test_checks_are_passed_on(snapshot: Snapshot) -> None:
    checks = batch_picture(snapshot)["checks"]
    assert checks == {name: list(check) for name, check in snapshot.checks.items()}
    assert checks["first_ratio"][0] is True


def test_the_tokens_are_those_that_count(snapshot: Snapshot) -> None:
    picture = batch_picture(snapshot)
    assert [len(row) for row in picture["tokens"]] == snapshot.rollout.response_mask.sum(1).tolist()
    assert ["".join(row) for row in picture["tokens"]] == ["".join(row) for row in snapshot.tokens.responses]
    assert picture["prompts"] == list(snapshot.tokens.prompts)


def test_alternatives_are_spelled_by_index(snapshot: Snapshot) -> None:
    picture = batch_picture(snapshot)
    top = picture["top"]
    assert len(set(top["words"])) == len(top["words"])
    for row, positions in enumerate(snapshot.tokens.top):
        for t, words in enumerate(positions):
            assert words_of(picture, row, t) == list(words)
    logprobs = floats(top["logprobs"], 6, 5, top["count"])
    assert np.array_equal(logprobs, snapshot.rollout.top_logprobs)


def test_html_passes_through_as_text(snapshot: Snapshot) -> None:
    evil = "<script>alert('&amp;')</script><img src=x onerror=alert(1)>"
    tokens = dataclasses.replace(
        snapshot.tokens,
        prompts=(evil, *snapshot.tokens.prompts[1:]),
        responses=((evil, *snapshot.tokens.responses[0][1:]), *snapshot.tokens.responses[1:]),
    )
    picture = batch_picture(dataclasses.replace(snapshot, tokens=tokens))
    assert picture["prompts"][0] == evil
    assert picture["tokens"][0][0] == evil


# --- clip states ---


def epoch_of(snapshot: Snapshot, outside: list[list[bool]], zero: list[list[bool]]) -> Epoch:
    """A record whose two booleans are made by hand, one list a row; further rows are replayed."""
    rows = len(outside)
    resized = {
        field.name: np.resize(getattr(snapshot.final, field.name), (rows, len(outside[0])))
        for field in dataclasses.fields(Epoch)
        if getattr(getattr(snapshot.final, field.name), "ndim", 0) == 2
    }
    changes = {**resized, "ages": np.zeros(rows, dtype=np.int64)}
    return dataclasses.replace(
        snapshot.final, **{**changes, "outside_range": np.array(outside), "zero_gradient": np.array(zero)}
    )


def test_states_say_masked_inside_outside_and_without_gradient(snapshot: Snapshot) -> None:
    mask = np.array([[True, True, True], [True, False, False]])
    record = epoch_of(
        snapshot,
        outside=[[False, True, True], [True, False, False], [True, True, True]],  # the third row is replayed
        zero=[[False, False, True], [True, False, False], [True, True, True]],
    )
    assert clip_states(mask, record).tolist() == [
        [INSIDE, OUTSIDE_FLOWS, OUTSIDE_ZERO],
        [OUTSIDE_ZERO, MASKED, MASKED],
    ]


def test_before_the_first_epoch_every_token_is_inside() -> None:
    mask = np.array([[True, True], [True, False]])
    assert clip_states(mask, None).tolist() == [[INSIDE, INSIDE], [INSIDE, MASKED]]


def test_states_and_counts_of_a_real_update(snapshot: Snapshot) -> None:
    picture = batch_picture(snapshot)
    states = np.frombuffer(picture["states"], dtype=np.uint8).reshape(6, 5)
    mask, outside = snapshot.rollout.response_mask, snapshot.final.outside_range[:6]
    zero = snapshot.final.zero_gradient[:6]
    assert np.array_equal(states == MASKED, ~mask)
    assert np.array_equal(states == OUTSIDE_ZERO, zero)
    assert np.array_equal(states == OUTSIDE_FLOWS, outside & ~zero)
    assert picture["counts"] == {"tokens": mask.sum(), "outside": outside.sum(), "zero": zero.sum()}


def test_replayed_rows_are_left_out(snapshot: Snapshot) -> None:
    picture = batch_picture(snapshot)
    assert len(picture["tokens"]) == len(picture["scores"]) == picture["rows"] == 6
    assert {len(data) for data in picture["arrays"].values()} == {6 * 5 * 4}
    assert len(picture["states"]) == 6 * 5


def test_replayed_rows_are_counted_with_the_age_of_the_oldest(
    snapshot: Snapshot, make_trainer: MakeTrainer, snapshot_of: Any
) -> None:
    picture = batch_picture(snapshot)
    assert picture["replayed"] == {"rows": 6, "age": 1}
    assert (floats(picture["arrays"]["age"], 6, 5) == 0).all()  # those on screen are fresh
    assert batch_picture(snapshot_of(make_trainer(CONFIG)))["replayed"] == {"rows": 0, "age": 0}


def test_one_epoch_and_one_minibatch_are_pointed_out(make_trainer: MakeTrainer, snapshot_of: Any) -> None:
    for changes, expected in (
        ({"epochs": 1, "minibatches": 1}, True),
        ({"epochs": 1, "minibatches": 2}, False),
        ({"epochs": 2, "minibatches": 1}, False),
    ):
        config = CONFIG.replace(replay_rollouts=1, **changes)
        assert batch_picture(snapshot_of(make_trainer(config)))["no_second_look"] is expected


@pytest.mark.parametrize("changes", [{"replay_rollouts": 2}, {"dropout_on": True}])
def test_ratios_that_are_not_1_at_the_first_look_are_not_said_to_be(
    make_trainer: MakeTrainer, snapshot_of: Any, changes: dict[str, Any]
) -> None:
    once = CONFIG.replace(epochs=1, minibatches=1, replay_rollouts=1)
    assert not batch_picture(snapshot_of(make_trainer(once.replace(**changes))))["no_second_look"]


# --- the KL in the loss ---


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
@pytest.mark.parametrize("epoch", [0, 1, -1])
def test_the_objective_less_the_kl_shown_is_the_term_that_the_trainer_recorded(
    make_trainer: MakeTrainer, run_update: RunUpdate, snapshot_of: Any, estimator: str, epoch: int
) -> None:
    trainer = make_trainer(CONFIG.replace(kl_in="loss", kl_coef=0.3, kl_estimator=estimator, objective="unclipped"))
    run_update(trainer)
    found = snapshot_of(trainer)
    picture, record, mask = batch_picture(found, epoch), found.epochs[epoch], found.rollout.response_mask
    priced = picture["loss_kl_coef"] * floats(picture["loss_kl"], 6, 5)
    assert np.abs(priced[mask]).max() > 0.001
    unpriced = record.ratios[:6] * found.credit.whitened_advantages  # the unclipped objective is a plain product
    np.testing.assert_allclose((unpriced - priced)[mask], record.policy_terms[:6][mask], atol=1e-5)


def test_a_kl_that_is_not_in_the_loss_is_not_shown_there(snapshot: Snapshot) -> None:
    picture = batch_picture(snapshot)
    assert (picture["loss_kl"], picture["loss_kl_coef"], picture["kl_coef"]) == (None, 0.0, 0.05)
    free = batch_picture(what_if(snapshot, CONFIG.replace(kl_in="loss", kl_coef=0.0)))
    assert free["loss_kl"] is None


# --- coefficients that adapt ---


def test_the_coefficients_that_adapt_are_named(make_trainer: MakeTrainer, snapshot_of: Any) -> None:
    for changes, expected in (
        ({"stop_sentences": 0}, []),
        ({"stop_sentences": 0, "kl_target": 2.0, "kl_horizon": 12}, ["kl_coef"]),
        ({"stop_sentences": 0, "objective": "kl_penalty"}, ["penalty_coef"]),
        ({"stop_sentences": 1}, ["length"]),  # where a response ends is then the policy's choice
    ):
        picture = batch_picture(snapshot_of(make_trainer(CONFIG.replace(**changes))))
        assert picture["adapts"] == expected
        assert set(picture["adapts"]) <= {chart.key for chart in ADAPTING.values()}
        assert picture["kl_target"] == changes.get("kl_target")


# --- re-scored ---


def test_what_is_shown_as_it_was_trained_is_not_called_re_scored(snapshot: Snapshot) -> None:
    assert batch_picture(snapshot)["rescored"] == {}
    assert batch_picture(snapshot, trained=snapshot.config)["rescored"] == {}


def test_re_scored_fields_are_named_with_both_values(snapshot: Snapshot) -> None:
    shown = what_if(snapshot, CONFIG.replace(clip_range=0.1, weight_length=0.5, learning_rate=0.5))
    picture = batch_picture(shown, trained=snapshot.config)
    assert picture["rescored"] == {"clip_range": [0.2, 0.1], "weight_length": [0.0, 0.5]}
    assert picture["clip"] == [0.9, 1.1]
    assert np.array_equal(floats(picture["arrays"]["ratio"], 6, 5), snapshot.final.ratios[:6])


# --- what each objective's picture needs ---


@pytest.mark.parametrize(
    ("name", "band", "limit"),
    [
        ("clip", [0.8, 1.2], None),
        ("clip_higher", [0.8, 1.28], None),
        ("dual_clip", [0.8, 1.2], 3.0),
        ("two_sided", [0.8, 1.2], 4.0),
        ("cispo", [0.8, 1.28], None),
    ],
)
def test_the_region_and_the_limit_are_the_objectives_own(
    name: str, band: list[float], limit: float | None, snapshot: Snapshot
) -> None:
    picture = batch_picture(what_if(snapshot, CONFIG.replace(objective=name)))
    assert (picture["objective"], picture["clip"], picture["pull_limit"]) == (name, band, limit)
    assert picture["response_ratios"] is None


def test_gspos_ratios_are_those_of_its_terms(snapshot: Snapshot) -> None:
    shown = what_if(snapshot, CONFIG.replace(objective="gspo", clip_range=1.0, clip_range_high=1.0))  # none is clipped
    ratios = np.array(batch_picture(shown)["response_ratios"])
    mask, advantages = shown.rollout.response_mask, shown.credit.whitened_advantages
    assert ratios.shape == (6,)
    assert np.abs(ratios - 1).max() > 1e-3
    expected = np.where(mask, ratios[:, None] * advantages, 0.0)
    np.testing.assert_allclose(shown.final.policy_terms[:6], expected, atol=1e-6)


def test_the_coefficients_shown_are_those_in_force(make_trainer: MakeTrainer, snapshot_of: Any) -> None:
    config = CONFIG.replace(objective="kl_penalty", penalty_target=1e-4, kl_target=1.0, kl_horizon=12)
    trainer = make_trainer(config)
    first, second = snapshot_of(trainer), snapshot_of(trainer)
    assert (batch_picture(first)["kl_coef"], batch_picture(first)["penalty_coef"]) == (0.05, 1.0)
    picture = batch_picture(second, trained=second.config)
    assert (picture["kl_coef"], picture["penalty_coef"]) == (pytest.approx(0.045), 2.0)  # the KL began at 0
    assert picture["rescored"] == {}
    moved = batch_picture(what_if(second, config.replace(kl_coef=0.3)), trained=second.config)
    assert (moved["kl_coef"], moved["penalty_coef"]) == (0.3, 2.0)
    assert moved["rescored"] == {"kl_coef": [0.05, 0.3]}


def test_an_unfinished_update_shows_them_too(make_tiny_policy: Callable[[], Policy]) -> None:
    shown: list[float] = []

    def note(progress: Progress) -> None:
        if progress.waiting and progress.unfinished is not None and progress.finished == "advantage":
            shown.append(batch_picture(progress.unfinished)["kl_coef"])

    config = CONFIG.replace(kl_target=1.0, kl_horizon=12)
    engine = Engine(make_tiny_policy(), config, None, ["The cat", "Lily went"], note, lambda snapshot: None)
    engine.show_stages = True
    engine.load()
    for _ in range(2):
        while not engine.advance():
            pass
    assert shown == [0.05, pytest.approx(0.045)]


# --- an update of which some stages have run ---


@pytest.fixture(scope="module")
def unfinished(make_tiny_policy: Callable[[], Policy]) -> dict[str, Unfinished]:
    """What there is after each stage, by its name; ``epoch 1`` after the first epoch."""
    found: dict[str, Unfinished] = {}

    def note(progress: Progress) -> None:
        if progress.unfinished is not None:
            epochs = len(progress.unfinished.epochs)
            found[f"epoch {epochs}" if epochs else progress.finished] = progress.unfinished

    config = CONFIG.replace(replay_rollouts=1)
    engine = Engine(make_tiny_policy(), config, None, ["The cat", "Lily went"], note, lambda snapshot: None)
    engine.show_stages = True
    engine.load()
    while not engine.advance():
        pass
    return found


def test_after_sampling_there_is_text_and_what_the_policies_think_of_it(unfinished: dict[str, Unfinished]) -> None:
    picture = batch_picture(unfinished["sample"])
    kls = {"k1", "k2", "k3", "exact_kl"}
    assert set(picture["arrays"]) == {"value", "entropy", "old_probability", "ref_probability", *kls}
    assert (picture["scores"], picture["components"], picture["checks"]) == (None, {}, {})
    assert (picture["finished"], picture["epoch"], picture["epochs"]) == (False, 0, 2)
    assert picture["counts"]["outside"] == picture["counts"]["zero"] == 0


def test_after_scoring_there_are_scores_and_the_components_that_make_them(unfinished: dict[str, Unfinished]) -> None:
    picture = batch_picture(unfinished["score"])
    assert picture["scores"] == pytest.approx(picture["components"]["sentiment"])  # the only one with a weight: 1
    assert "advantage" not in picture["arrays"]


def test_after_the_advantages_there_are_all_but_ratios(unfinished: dict[str, Unfinished]) -> None:
    picture = batch_picture(unfinished["advantage"])
    assert {"advantage", "reward", "ref_kl", "return", "delta"} <= set(picture["arrays"])
    assert not {"ratio", "log_ratio", "new_probability", "gradient_share", "age"} & set(picture["arrays"])
    assert len(picture["scores"]) == 6


def test_after_an_epoch_there_are_its_ratios(unfinished: dict[str, Unfinished]) -> None:
    first, second = (batch_picture(unfinished[f"epoch {k}"]) for k in (1, 2))
    assert (first["epoch"], second["epoch"], first["finished"], second["finished"]) == (1, 2, False, False)
    ratios = floats(second["arrays"]["ratio"], 6, 5)
    assert np.array_equal(ratios, unfinished["epoch 2"].epochs[-1].ratios)


# --- the token to begin with ---


def test_the_telling_token_is_the_one_held_back_that_went_furthest(snapshot: Snapshot) -> None:
    zero = np.zeros((12, 5), dtype=bool)
    zero[[0, 2, 3, 5, 8], [1, 0, 2, 0, 0]] = True
    new_logprobs = np.array(snapshot.final.new_logprobs)
    new_logprobs[:6] = snapshot.rollout.old_logprobs
    new_logprobs[0, 1] += 0.4
    new_logprobs[2, 0] -= 0.9  # the furthest of those on screen
    new_logprobs[3, 2] += 0.5
    new_logprobs[3, 3] += 5.0  # further, but not held back
    new_logprobs[5, 0] += 3.0  # further, but below the first screen
    final = dataclasses.replace(snapshot.final, zero_gradient=zero, new_logprobs=new_logprobs)
    shown = dataclasses.replace(snapshot, epochs=(*snapshot.epochs[:-1], final))
    assert telling_token(shown) == [2, 0]


def test_where_the_clip_holds_nothing_back_it_is_the_first_token(snapshot: Snapshot) -> None:
    final = dataclasses.replace(snapshot.final, zero_gradient=np.zeros((12, 5), dtype=bool))
    assert telling_token(dataclasses.replace(snapshot, epochs=(*snapshot.epochs[:-1], final))) == [0, 0]


def test_a_replayed_row_is_never_the_telling_one(
    make_trainer: MakeTrainer, run_update: RunUpdate, snapshot_of: Callable[..., Snapshot]
) -> None:
    trainer = make_trainer(CONFIG.replace(batch_size=2))
    run_update(trainer)
    found = snapshot_of(trainer)
    zero = np.zeros((4, 5), dtype=bool)
    zero[2:, 0] = True  # only the two replayed rows are held back
    final = dataclasses.replace(found.final, zero_gradient=zero)
    assert telling_token(dataclasses.replace(found, epochs=(*found.epochs[:-1], final))) == [0, 0]
    held = dataclasses.replace(final, zero_gradient=zero[::-1])
    assert telling_token(dataclasses.replace(found, epochs=(*found.epochs[:-1], held)))[0] < 2


@pytest.mark.parametrize("objective", CHOICES["objective"])
def test_each_edge_of_the_clip_picture_is_moved_by_the_setting_behind_it_alone(
    make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot], objective: str
) -> None:
    small: dict[str, Any] = {"batch_size": 2, "group_size": 2, "response_length": 3, "epochs": 1}
    snapshot = snapshot_of(make_trainer(Config(objective=objective, **small)))
    before = batch_picture(snapshot)
    low, high, limit = before["clip_fields"]
    assert (limit is None) == (before["pull_limit"] is None)
    for place, field, value in ((0, low, 0.05), (1, high, 0.05), (2, limit, 5.5)):
        if field is None:
            continue
        config = snapshot.config.replace(**{field: value})
        after = batch_picture(what_if(snapshot, config))
        edges = [[*picture["clip"], picture["pull_limit"]] for picture in (before, after)]
        assert edges[1][place] == pytest.approx([0.95, 1.05, 5.5][place])
        same = {0, 1, 2} - {place} - ({0, 1} if low == high and place < 2 else set())
        assert all(edges[0][other] == edges[1][other] for other in same)
