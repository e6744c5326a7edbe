"""What each stage is said to have done: the numbers of that very batch."""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Any

import pytest

from explorer.config import Config
from explorer.ppo.policy import Policy
from explorer.session.session import Session
from explorer.text import LANGUAGES, labels
from explorer.views.stages import TOLD, stage_picture


@pytest.fixture
def make(make_tiny_policy: Callable[[], Policy], tiny_config: Config) -> Callable[..., Session]:
    """``make(**changes)``: an inline session of a tiny policy, its settings changed."""

    def session(**changes: Any) -> Session:
        config = tiny_config.replace(**changes)
        return Session(policy=make_tiny_policy(), config=config, prompts=["The cat", "One day"], threaded=False)

    return session


def stages_of(session: Session) -> list[dict[str, Any]]:
    """What is said after each stage of one update."""
    found = []
    before = session.updates
    while session.updates == before:
        session.step_stage()
        found.append(stage_picture(session))
    return found


def test_before_anything_has_run_it_tells_of_the_policy(make: Callable[..., Session]) -> None:
    session = make()
    assert stage_picture(session) == {}  # at full speed nobody could read it
    session.set_slow(1.0)
    assert stage_picture(session) == {"stage": "initialise", "told": "did"}


def test_every_stage_has_its_numbers(make: Callable[..., Session]) -> None:
    session = make(kl_coef=0.5, epochs=2, max_grad_norm=1e-6)
    stages_of(session)
    told = stages_of(session)
    assert [one["stage"] for one in told] == ["sample", "score", "shape", "advantage", "epoch", "epoch", "done"]
    sample, score, shape, advantage, first, second, done = told
    snapshot = session.recorded
    mask = snapshot.rollout.response_mask
    assert (sample["responses"], sample["tokens"]) == (mask.shape[0], mask.sum())
    assert score["low"] <= score["score"] <= score["high"]
    assert (score["low"], score["high"]) == (min(snapshot.credit.scores), max(snapshot.credit.scores))
    # The rewards of a response add up to its score and its penalty.
    sums = snapshot.credit.rewards.sum(1).mean()
    assert shape["score"] + shape["penalty"] == pytest.approx(sums, abs=1e-5)
    assert shape["penalty"] == pytest.approx(-0.5 * shape["kl"]) and shape["penalty"] != 0
    assert shape["told"] == "did"
    assert (advantage["tokens"], advantage["told"]) == (mask.sum(), "did")
    assert (advantage["mean"], advantage["sd"]) == pytest.approx((0, 1), abs=1e-3)
    assert 0 < advantage["above"] < advantage["tokens"]
    assert (first["epoch"], second["epoch"], first["epochs"]) == (1, 2, 2)
    assert first["outside"] == 0  # every ratio is 1 before the first step
    assert first["told"] == second["told"] == "did_cut" and first["norm"] > first["limit"] == 1e-6
    assert done["update"] == 2 and done["score"] == pytest.approx(score["score"], abs=1e-6)
    assert done["kl"] == pytest.approx(shape["kl"], abs=1e-5)
    assert done["outside"] == pytest.approx(100 * snapshot.final.outside_range[mask].mean(), abs=1e-4)


@pytest.mark.parametrize(
    ("changes", "stage", "told"),
    [
        ({"kl_in": "loss", "kl_estimator": "k3"}, "shape", "did_in_loss"),
        ({"whiten": False}, "advantage", "did_plain"),
        ({"max_grad_norm": None}, "epoch", "did_free"),
        ({"max_grad_norm": 1000.0}, "epoch", "did"),
    ],
)
def test_a_sentence_says_what_the_settings_made_of_it(
    make: Callable[..., Session], changes: dict[str, Any], stage: str, told: str
) -> None:
    found = [one for one in stages_of(make(**changes)) if one["stage"] == stage]
    assert found and {one["told"] for one in found} == {told}


def test_the_next_update_begins_with_whose_policy_is_the_old_one(make: Callable[..., Session]) -> None:
    session = make()
    session.train(3)
    session.set_slow(1e-9)
    told = []
    session.observe(lambda change: told.append(stage_picture(session)), "progress")
    session.step()
    assert told[0] == {"stage": "repeat", "update": 3, "told": "did"}
    assert told[-1]["stage"] == "done" and told[-1]["update"] == 4


def test_while_a_finished_stage_is_shown_the_next_one_has_not_begun(make: Callable[..., Session]) -> None:
    session = make()
    seen = []
    session.observe(lambda change: seen.append((change["new"].finished, change["new"].waiting)), "progress")
    session.step_stage()
    session.step_stage()
    assert seen == [("", False), ("sample", True), ("sample", False), ("score", True)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_has_all_its_numbers(make: Callable[..., Session], language: str) -> None:
    policy = {"name": "a policy", "parameters": "1 M"}
    variants: list[dict[str, Any]] = [{}, {"kl_in": "loss", "whiten": False, "max_grad_norm": None}]
    told = [one for changes in variants for one in stages_of(make(**changes))]
    told += [{"stage": "initialise", "told": "did"}, {"stage": "repeat", "told": "did", "update": 1}]
    assert {one["stage"] for one in told} == {*TOLD, "done", "initialise", "repeat"}
    stages = labels(language)["stages"]
    for one in told:
        for words in (stages[one["stage"]]["label"], stages[one["stage"]][one["told"]]):
            wanted = {name for _, name, _, _ in string.Formatter().parse(words) if name}
            assert wanted <= {*one, *policy}, (one, wanted)
