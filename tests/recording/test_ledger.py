"""The ledger: every line is what the trainer has recorded, whatever the settings; and a number that is not is shown."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from explorer.config import CHOICES, Config
from explorer.recording.ledger import Ledger, ledger
from explorer.recording.ledger_credit import ADVANTAGE_LINES
from explorer.recording.ledger_line import Line
from explorer.recording.snapshot import Snapshot
from explorer.recording.what_if import what_if

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer, RunUpdate

#: Padding, minibatches, two reward components, groups, and ReMax's greedy answers to every prompt.
CONFIG = Config(
    batch_size=8,
    group_size=4,
    response_length=8,
    epochs=2,
    minibatches=2,
    stop_sentences=1,
    replay_rollouts=2,
    learning_rate=1e-2,
    estimator="remax",
    weights={"sentiment": 1.0, "coherence": 0.5, "diversity": 0.0, "length": 0.25},
)


@pytest.fixture(scope="module")
def snapshot(make_trainer: MakeTrainer, run_update: RunUpdate, snapshot_of: Callable[..., Snapshot]) -> Snapshot:
    """The third update: the policy has moved, the critic has opinions, and 8 of 16 rows are replayed."""
    trainer = make_trainer(CONFIG)
    for _ in range(2):
        run_update(trainer)
    found = snapshot_of(trainer)
    assert not found.rollout.response_mask.all()
    assert found.final.ages.tolist() == [0] * 8 + [1] * 8
    return found


def lines_of(found: Ledger) -> dict[str, Line]:
    by_key = {line.key: line for line in found.lines}
    assert len(by_key) == len(found.lines)
    return by_key


def written(snapshot: Snapshot) -> list[tuple[int, int]]:
    """Every token that the policy wrote."""
    return [(int(row), int(t)) for row, t in np.argwhere(snapshot.rollout.response_mask)]


def disagreeing(found: Ledger) -> list[str]:
    """The lines that say of themselves that they do not match."""
    return [
        line.key
        for line in found.lines
        if line.holds is False or (line.terms is not None and False in line.terms.holds)
    ]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_line_is_what_is_recorded(snapshot: Snapshot, data: Any) -> None:
    kl_in = data.draw(st.sampled_from(CHOICES["kl_in"]))
    kl_estimators = [name for name in CHOICES["kl_estimator"] if (kl_in, name) != ("loss", "exact")]
    estimator = data.draw(st.sampled_from(CHOICES["estimator"]))
    unit = st.floats(0.0, 1.0)
    config = snapshot.config.replace(
        estimator=estimator,
        objective=data.draw(st.sampled_from(CHOICES["objective"])),
        kl_in=kl_in,
        kl_estimator=data.draw(st.sampled_from(kl_estimators)),
        kl_coef=data.draw(st.floats(0.0, 0.5)),
        whiten_rewards=estimator != "remax" and data.draw(st.booleans()),
        whiten=data.draw(st.booleans()),
        aggregation=data.draw(st.sampled_from(CHOICES["aggregation"])),
        gamma=data.draw(unit),
        gae_lambda=data.draw(unit),
        clip_range=data.draw(st.floats(0.01, 0.6)),
        clip_range_high=data.draw(st.floats(0.01, 1.0)),
        dual_clip=data.draw(st.floats(1.1, 6.0)),
        delta=data.draw(st.floats(1.7, 6.0)),
        penalty_coef=data.draw(st.floats(0.0, 10.0)),
        weight_sentiment=data.draw(st.floats(-2.0, 2.0)),
        weight_length=data.draw(st.floats(0.1, 2.0)),
    )
    row, t = data.draw(st.sampled_from(written(snapshot)))
    epoch = data.draw(st.sampled_from([0, 1, -1]))
    shown = what_if(snapshot, config)
    found = ledger(shown, row, t, epoch)
    lines = lines_of(found)
    # Where a whole batch has one reward, whitening is rounding divided by a floor, and the line says so.
    rounded = {key for key, line in lines.items() if ("rounding", {}) in line.notes}
    assert disagreeing(found) == [line.key for line in found.lines if line.key in rounded]
    assert found.wrong == len(rounded)
    record, credit = shown.epochs[epoch], shown.credit
    recorded = {  # not only by the ledger's own word: the lines are these very numbers
        "score": credit.scores[row],
        "ref_kl": credit.ref_kl[row, t],
        "advantage": credit.advantages[row, t],
        "whitened": credit.whitened_advantages[row, t],
        "ratio": record.ratios[row, t],
        "term": record.policy_terms[row, t],
        "share": record.gradient_shares[row, t],
        "reward_whitened" if config.whiten_rewards else "reward": credit.rewards[row, t],
        "entropy": shown.rollout.entropies[row, t],
        "value": shown.rollout.old_values[row, t],
        "exact_kl": shown.rollout.exact_ref_kl[row, t],
        "delta": credit.deltas[row, t],
    }
    recorded["return" if "return" in lines else "to_go"] = credit.returns[row, t]
    for key, number in recorded.items():
        assert key in rounded or abs(lines[key].value - number) <= 1e-5 * max(1.0, abs(number)), key
        assert lines[key].formula is not None and lines[key].formula.value == lines[key].value
    if config.objective in ("clip", "clip_higher", "dual_clip", "two_sided", "gspo"):
        assert [line.wins for line in found.lines].count(True) == 1


@pytest.mark.parametrize("objective", CHOICES["objective"])
@pytest.mark.parametrize("kl_in", CHOICES["kl_in"])
def test_the_shares_of_all_tokens_sum_to_one(snapshot: Snapshot, objective: str, kl_in: str) -> None:
    config = snapshot.config.replace(objective=objective, kl_in=kl_in, replay_rollouts=1)
    fresh = len(snapshot.rollout.stopped)
    alone = dataclasses.replace(  # without the replayed rows, whose tokens cannot be pinned
        snapshot, epochs=tuple(_rows(epoch, fresh) for epoch in snapshot.epochs)
    )
    shown = what_if(alone, config)
    shares = [lines_of(ledger(shown, row, t))["share"].value for row, t in written(shown)]
    assert math.fsum(shares) == pytest.approx(1.0, abs=1e-12)


def _rows(epoch: Any, count: int) -> Any:
    arrays = {f.name: getattr(epoch, f.name) for f in dataclasses.fields(epoch)}
    return dataclasses.replace(epoch, **{n: a[:count] for n, a in arrays.items() if isinstance(a, np.ndarray)})


def test_a_response_of_two_tokens_worked_by_hand(snapshot: Snapshot) -> None:
    """Score 1, KLs of 0.2 and 0.4 nats at a price of 0.5, values 0.3 and 0.6, gamma 1, lambda 0.5; then the clip."""
    row, shape = 0, snapshot.rollout.old_logprobs.shape
    mask = np.zeros(shape, dtype=bool)
    mask[0, :2] = mask[1:, :1] = True

    def numbers(*first: float) -> np.ndarray[Any, Any]:
        array = np.zeros(shape, dtype=np.float32)
        array[0, : len(first)] = first
        return array

    old, new = numbers(-1.0, -2.0), numbers(-1.0 + math.log(1.5), -2.0)
    config = snapshot.config.replace(
        estimator="gae", gamma=1.0, gae_lambda=0.5, whiten=False, kl_coef=0.5, clip_range=0.2, replay_rollouts=1
    ).replace(weights={"a": 2.0, "b": -1.0})
    rollout = dataclasses.replace(
        snapshot.rollout,
        response_mask=mask,
        old_logprobs=old,
        ref_logprobs=numbers(-1.2, -2.4),
        old_values=numbers(0.3, 0.6),
    )
    rewards, deltas, advantages = numbers(-0.1, 0.8), numbers(0.2, 0.2), numbers(0.3, 0.2)
    zeros = np.zeros(len(mask), dtype=np.float32)
    credit = dataclasses.replace(
        snapshot.credit,
        reward_components={"a": zeros + 0.75, "b": zeros + 0.5},
        scores=zeros + 1.0,
        ref_kl=numbers(0.2, 0.4),
        rewards=rewards,
        deltas=deltas,
        advantages=advantages,
        whitened_advantages=advantages,
        returns=numbers(0.6, 0.8),
    )
    flat = numbers(1.0) > 0
    final = dataclasses.replace(
        _rows(snapshot.final, len(mask)),
        new_logprobs=new,
        ratios=np.where(mask, np.exp(new - old), 0.0).astype(np.float32),
        advantages=advantages,
        outside_range=flat,
        zero_gradient=flat,
        gradient_shares=numbers(0.0, 1.0),
        policy_terms=numbers(0.36, 0.2),
    )
    metrics = {**snapshot.metrics, "coef/kl": 0.5}
    hand = dataclasses.replace(
        snapshot, config=config, rollout=rollout, credit=credit, epochs=(final,), metrics=metrics
    )
    found = ledger(hand, row, 0)
    assert disagreeing(found) == []
    worked = {
        "score": 2 * 0.75 - 0.5,
        "ref_kl": 0.2,
        "reward": -0.1,
        "delta": -0.1 + 0.6 - 0.3,
        "advantage": 0.2 + 0.5 * 0.2,
        "whitened": 0.3,
        "ratio": 1.5,
        "clipped": 1.2,
        "plain_branch": 0.45,
        "clipped_branch": 0.36,
        "term": 0.36,
        "pull": 0.0,
        "share": 0.0,
        "old_probability": math.exp(-1.0),
        "new_probability": 1.5 * math.exp(-1.0),
        "ref_probability": math.exp(-1.2),
        "k1": 0.2,
        "response_k1": 0.6,
        "k2": 0.02,
        "response_k2": 0.1,
        "k3": math.exp(-0.2) - 0.8,
        "response_k3": math.exp(-0.2) + math.exp(-0.4) - 1.4,
        "log_ratio": math.log(1.5),
        "step": math.log(1.5) ** 2 / 2,
        "response_step": math.log(1.5) ** 2 / 2,  # the second token has not moved
        "value": 0.3,
        "return": 0.6,
        "age": 0.0,
    }
    lines = lines_of(found)
    assert {key: lines[key].value for key in worked} == pytest.approx(worked, abs=1e-6)
    assert lines["clipped_branch"].wins and not lines["plain_branch"].wins
    terms = lines["advantage"].terms
    assert terms is not None and terms.places == [(0, 0), (0, 1)]
    assert terms.columns["decay"] == [1.0, 0.5]
    assert terms.columns["product"] == pytest.approx([0.2, 0.1], abs=1e-6)
    assert lines_of(ledger(hand, row, 1))["share"].value == pytest.approx(1.0)


#: A recorded number of the token, and the first line that finds it out.
TAMPERED = {
    "credit.scores": "score",
    "credit.ref_kl": "ref_kl",
    "credit.rewards": "reward",
    "credit.deltas": "delta",
    "credit.returns": "return",
    "credit.advantages": "advantage",
    "credit.whitened_advantages": "whitened",
    "final.ratios": "ratio",
    "final.policy_terms": "term",
    "final.gradient_shares": "share",
    "final.outside_range": "clipped",
    "final.zero_gradient": "pull",
}


@pytest.mark.parametrize(("where", "key"), TAMPERED.items())
def test_a_number_that_was_tampered_with_is_found(snapshot: Snapshot, where: str, key: str) -> None:
    shown = what_if(snapshot, snapshot.config.replace(estimator="gae", clip_range=0.05))
    flowing = shown.rollout.response_mask & ~shown.final.zero_gradient[:8] & (shown.final.gradient_shares[:8] > 1e-4)
    row, t = (int(place) for place in np.argwhere(flowing)[0])
    assert disagreeing(ledger(shown, row, t)) == []
    record, field = where.split(".")
    array = np.array(getattr(getattr(shown, record), field))
    place = row if array.ndim == 1 else (row, t)
    array[place] = ~array[place] if array.dtype == bool else array[place] * 1.01 + (0 if "shares" in field else 0.001)
    changed = dataclasses.replace(getattr(shown, record), **{field: array})
    spoilt = (
        dataclasses.replace(shown, credit=changed)
        if record == "credit"
        else dataclasses.replace(shown, epochs=(*shown.trained, changed))
    )
    found = ledger(spoilt, row, t)
    assert disagreeing(found)[0] == key
    assert found.wrong >= 1


def test_a_later_delta_that_was_tampered_with_is_found(snapshot: Snapshot) -> None:
    shown = what_if(snapshot, snapshot.config.replace(estimator="gae"))
    deltas = np.array(shown.credit.deltas)
    row = int(np.flatnonzero(shown.rollout.response_mask[:, 2])[0])
    deltas[row, 2] += 0.01
    found = ledger(dataclasses.replace(shown, credit=dataclasses.replace(shown.credit, deltas=deltas)), row, 0)
    terms = lines_of(found)["advantage"].terms
    assert terms is not None and terms.holds[:4].count(False) == 1 and terms.holds[2] is False


def of_probabilities(snapshot: Snapshot, recorded: float, *chances: float) -> Line:
    """The entropy's line where these words of the vocabulary are recorded, and this entropy of all of it."""
    rollout = snapshot.rollout
    entropies, logs = np.array(rollout.entropies), np.array(rollout.top_logprobs)
    entropies[0, 0], logs[0, 0] = recorded, -np.inf
    logs[0, 0, : len(chances)] = np.log(chances)
    changed = dataclasses.replace(rollout, entropies=entropies, top_logprobs=logs)
    return lines_of(ledger(dataclasses.replace(snapshot, rollout=changed), 0, 0))["entropy"]


def test_of_an_entropy_the_recorded_words_are_reckoned_and_the_rest_is_bounded(snapshot: Snapshot) -> None:
    half = math.log(2)  # 1/2, 1/4, 1/8 are recorded; 1/16 and 1/16 are not
    line = of_probabilities(snapshot, 1.875 * half, 0.5, 0.25, 0.125)
    assert line.holds is None and line.stored == pytest.approx(1.875 * half, abs=1e-6)
    assert line.value == pytest.approx(line.stored, abs=1e-12)
    ((key, told),) = line.notes
    assert (key, told["count"]) == ("entropy_part", 3)
    assert (told["share"], told["left"]) == pytest.approx((0.875, 0.125), abs=1e-6)
    assert told["least"] == pytest.approx(0.125 * 3 * half, abs=1e-4)  # as if one word more had all of it
    assert line.formula is not None and line.formula.of[-1].value == pytest.approx(0.5 * half, abs=1e-5)
    # One word more is the least that there can be: less than 1.75 halvings is no entropy of such words.
    assert of_probabilities(snapshot, 1.751 * half, 0.5, 0.25, 0.125).holds is None
    impossible = of_probabilities(snapshot, 1.749 * half, 0.5, 0.25, 0.125)
    assert impossible.holds is False and impossible.notes[0][0] == "entropy_impossible"


def test_where_the_recorded_words_are_all_an_entropy_is_reckoned_anew(snapshot: Snapshot) -> None:
    line = of_probabilities(snapshot, math.log(2), 0.5, 0.5)
    assert line.holds is True and line.value == pytest.approx(math.log(2))
    assert of_probabilities(snapshot, math.log(2) + 1e-4, 0.5, 0.5).holds is False


def test_an_age_that_no_response_on_screen_can_have_is_found(snapshot: Snapshot) -> None:
    ages = np.array(snapshot.final.ages)
    ages[0] = 1
    aged = dataclasses.replace(snapshot, epochs=(*snapshot.trained, dataclasses.replace(snapshot.final, ages=ages)))
    assert lines_of(ledger(aged, 0, 0))["age"].holds is False
    assert lines_of(ledger(snapshot, 0, 0))["age"].holds is True


@pytest.mark.parametrize("estimator", CHOICES["kl_estimator"])
def test_the_sum_of_the_kl_that_was_charged_is_held_against_what_was(snapshot: Snapshot, estimator: str) -> None:
    lines = lines_of(ledger(what_if(snapshot, snapshot.config.replace(kl_estimator=estimator)), 0, 0))
    for name in ("k1", "k2", "k3", "exact_kl"):
        terms = lines[f"response_{name}"].terms
        assert terms is not None and len(terms.places) == int(snapshot.rollout.response_mask[0].sum())
        assert math.fsum(terms.columns["nats"]) == pytest.approx(lines[f"response_{name}"].value, abs=1e-12)
        charged = name == ("exact_kl" if estimator == "exact" else estimator)
        assert set(terms.holds) == ({True} if charged else {None}), name


def test_equal_advantages_are_said_to_be_rounding(snapshot: Snapshot) -> None:
    credit, mask = snapshot.credit, snapshot.rollout.response_mask
    alike = np.where(mask, np.float32(0.1), 0).astype(np.float32)  # their whitened values should be 0, and are not
    noise = np.where(mask, np.float32(1e-3), 0).astype(np.float32)
    spoilt = dataclasses.replace(
        snapshot, credit=dataclasses.replace(credit, advantages=alike, whitened_advantages=noise)
    )
    line = lines_of(ledger(spoilt, 0, 0))["whitened"]
    assert line.holds is False and ("rounding", {}) in line.notes
    other = dataclasses.replace(snapshot, credit=dataclasses.replace(credit, whitened_advantages=noise))
    line = lines_of(ledger(other, 0, 0))["whitened"]
    assert line.holds is False and ("rounding", {}) not in line.notes


def test_a_number_that_is_none_does_not_pass_for_a_match(snapshot: Snapshot) -> None:
    values = np.array(snapshot.rollout.old_values)
    values[0, 0] = np.nan
    shown = what_if(snapshot, snapshot.config.replace(estimator="gae"))
    spoilt = dataclasses.replace(shown, rollout=dataclasses.replace(shown.rollout, old_values=values))
    assert "delta" in disagreeing(ledger(spoilt, 0, 0))


def test_only_what_the_policy_wrote_has_a_ledger(snapshot: Snapshot) -> None:
    counts = snapshot.rollout.response_mask.sum(axis=1)
    row = int(np.argmin(counts))
    for t in (int(counts[row]), -1, 10_000):
        with pytest.raises(ValueError, match=f"response {row + 1} has {counts[row]} tokens, and token {t + 1} is none"):
            ledger(snapshot, row, t)
    for row in (-1, 8):
        with pytest.raises(ValueError, match="the batch has 8, so choose one of those"):
            ledger(snapshot, row, 0)


def test_every_estimator_has_its_lines() -> None:
    assert set(ADVANTAGE_LINES) == set(CHOICES["estimator"])


def test_what_an_objective_does_not_do_is_said(snapshot: Snapshot) -> None:
    lines = lines_of(ledger(what_if(snapshot, snapshot.config.replace(objective="unclipped")), 0, 0))
    assert lines["clipped"].formula is None and lines["clipped"].notes == (("no_clip", {}),)
    assert "plain_branch" not in lines
    lines = lines_of(ledger(what_if(snapshot, snapshot.config.replace(whiten=False)), 0, 0))
    assert ("not_whitened", {}) in lines["whitened"].notes


def test_it_is_reckoned_in_a_moment(make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot]) -> None:
    config = Config(batch_size=64, group_size=4, response_length=20, epochs=1, estimator="gae")
    shown = snapshot_of(make_trainer(config))
    ledger(shown, 0, 0)
    begun = time.perf_counter()
    for row in range(20):
        ledger(shown, row, 0)
    assert (time.perf_counter() - begun) / 20 < 0.010
