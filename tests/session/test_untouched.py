"""The untouched policy's answers: measured where somebody looks, by the settings in the page, and for nothing twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from explorer.config import Config
from explorer.ppo import reference_sample
from explorer.session import untouched
from explorer.session.session import Session

if TYPE_CHECKING:
    from tests.session.conftest import MakeSession


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference_sample, "ANSWERS", 6)
    monkeypatch.setattr(untouched, "AT_ONCE", 2)  # of three prompts: two jobs


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The first prompt of every job."""
    from explorer.session.batches import Batches

    jobs: list[int] = []
    measure = Batches.sample_reference

    def count(batches: Batches, config: Config, first: int, many: int) -> Any:
        jobs.append(first)
        return measure(batches, config, first, many)

    monkeypatch.setattr(Batches, "sample_reference", count)
    return jobs


def test_nobody_looks_and_nothing_is_measured(session: Session, asked: list[int]) -> None:
    session.set(judge="gendered")
    session.train(1)
    assert session.untouched.sample is None and asked == []


def test_it_is_measured_once_in_parts(session: Session, asked: list[int]) -> None:
    session.set(judge="gendered")
    session.untouched.wanted = True
    sample = session.untouched.sample
    assert asked == [0, 2]
    assert sample.judge == "gendered" and sample.judged.shape == (3, 6)
    assert {values.shape for values in sample.components.values()} == {(3, 6)}
    session.train(1)
    session.set(weight_coherence=0.5)  # what was measured stays, and is weighed anew
    assert session.untouched.sample is sample and asked == [0, 2]


def test_another_judge_is_measured_anew(session: Session, asked: list[int]) -> None:
    session.set(judge="gendered")
    session.untouched.wanted = True
    before = session.untouched.sample
    session.set(judge="short_words")
    after = session.untouched.sample
    assert (before.judge, after.judge) == ("gendered", "short_words")
    # The answers are the same: (seed, prompt) alone decides them.
    assert np.array_equal(before.components["diversity"], after.components["diversity"])


def test_the_answers_are_the_untouched_policys_however_far_the_training_is(make_session: MakeSession) -> None:
    first, later = make_session(), make_session()
    later.train(3)
    first.untouched.wanted = later.untouched.wanted = True
    mine, theirs = first.untouched.sample, later.untouched.sample
    assert mine.judged is None
    assert all(np.array_equal(values, theirs.components[name]) for name, values in mine.components.items())


def test_what_fails_is_told_and_not_asked_for_again(session: Session, asked: list[int], monkeypatch: Any) -> None:
    def failing(*_: Any) -> Any:
        raise ValueError("no answers today")

    monkeypatch.setattr(reference_sample, "sample_reference", failing)
    session.untouched.wanted = True
    assert session.error["message"].startswith("no answers today")
    session.train(1)
    assert asked == [0] and session.untouched.sample is None
