"""The exact parts of the gradient: for the batch on screen, by its own weights, in the worker, and never unasked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from explorer.config import Config
from explorer.recording.snapshot import Snapshot
from explorer.session.checkpoints import Checkpoints
from explorer.session.parts import Answer
from explorer.session.session import Session

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer
    from tests.session.conftest import MakeSession

PATIENCE = 30


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The updates whose parts were computed, in order."""
    from explorer.session.batches import Batches

    updates: list[int] = []
    compute = Batches.gradient_parts

    def count(batches: Batches, snapshot: Snapshot) -> Any:
        updates.append(snapshot.update)
        return compute(batches, snapshot)

    monkeypatch.setattr(Batches, "gradient_parts", count)
    return updates


# --- inline ---


def test_parts_sum_to_one_and_padding_has_none(session: Session) -> None:
    session.train(2)
    session.parts.wanted = True
    answer = session.parts.answer
    mask = session.shown.rollout.response_mask
    assert (answer.state, answer.update) == ("there", 2)
    assert answer.parts.shape == mask.shape and not answer.parts.flags.writeable
    assert answer.parts.sum() == pytest.approx(1.0, abs=1e-4)
    assert not answer.parts[~mask].any() and np.count_nonzero(answer.parts[mask]) > mask.sum() / 2


def test_they_are_those_of_the_weights_after_the_update(make_session: MakeSession) -> None:
    # vf_coef 0, and two responses: the part of each token by one plain gradient a token, of the live policy.
    session = make_session(
        config=Config(batch_size=2, group_size=1, response_length=3, epochs=1, minibatches=1, vf_coef=0)
    )
    session.train(1)
    session.parts.wanted = True
    policy, shown = session.engine.trainer.policy, session.shown
    rollout = shown.rollout.map(lambda array: torch.from_numpy(np.array(array)))
    scores = policy.score_tokens(
        rollout.prompt_ids, rollout.prompt_mask, rollout.response_ids, rollout.response_mask, shown.config.temperature
    )
    ratios = (scores.logprobs - rollout.old_logprobs).exp()
    advantages = torch.from_numpy(np.array(shown.credit.whitened_advantages))
    clipped = ratios.clamp(*shown.config.clip_band)
    terms = torch.minimum(ratios * advantages, clipped * advantages)
    weights = list(policy.parameters())

    def gradient(scalar: torch.Tensor) -> torch.Tensor:
        parts = torch.autograd.grad(scalar, weights, retain_graph=True, allow_unused=True)
        return torch.cat([g.flatten() for g in parts if g is not None])

    tokens = [gradient(terms[r, t]) for r, t in rollout.response_mask.nonzero().tolist()]
    whole = torch.stack(tokens).sum(0)
    expected = [float(one @ whole / (whole @ whole)) for one in tokens]
    found = session.parts.answer.parts[shown.rollout.response_mask]
    assert found == pytest.approx(expected, abs=1e-4)


def test_an_earlier_update_has_the_parts_that_it_had_when_it_was_the_newest(make_session: MakeSession) -> None:
    session = make_session()
    session.train(1)
    session.parts.wanted = True
    newest = session.parts.answer.parts
    session.train(2)
    later = session.parts.answer.parts
    session.cursor.follow = False
    session.cursor.update = 1
    answer = session.parts.answer
    assert (answer.state, answer.update) == ("there", 1)
    assert answer.parts == pytest.approx(newest, abs=2e-2)  # its weights were kept in half precision
    assert np.abs(later - newest).max() > 0.05


def test_a_separate_critic_pulls_with_its_own_weights(make_session: MakeSession, tiny_config: Config) -> None:
    session = make_session(config=tiny_config.replace(critic="separate"))
    session.train(2)
    session.parts.wanted = True
    newest = session.parts.answer.parts
    session.step_stage()  # in the middle of an update: those of the last whole one, from its checkpoint
    found = session.engine.batches.gradient_parts(session.history.last)
    assert found == pytest.approx(newest, abs=2e-2)
    assert found.sum() == pytest.approx(1.0, abs=1e-4)


def test_nobody_gets_them_unasked(session: Session, asked: list[int]) -> None:
    session.train(2)
    session.set(clip_range=0.1)
    assert asked == [] and session.parts.answer.state == ""
    session.parts.wanted = True
    assert asked == [2]
    session.parts.wanted = False
    session.train(1)
    assert asked == [2] and session.parts.answer.state == "" and session.parts.answer.parts is None


def test_another_scoring_has_other_parts(session: Session, asked: list[int]) -> None:
    session.train(1)
    session.parts.wanted = True
    before = session.parts.answer.parts
    session.set(objective="policy_gradient", whiten=False, gae_lambda=0.3)
    assert asked == [1, 1]
    assert np.abs(session.parts.answer.parts - before).max() > 1e-3


def test_asking_changes_nothing_in_the_run(make_session: MakeSession) -> None:
    one, other = make_session(), make_session()
    one.parts.wanted = True
    for _ in range(3):
        one.step_stage()
    one.train(2)
    other.train(2)
    assert np.array_equal(one.history.last.final.new_logprobs, other.history.last.final.new_logprobs)


def test_a_recorded_run_has_none(
    make_session: MakeSession, make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot], asked: list[int]
) -> None:
    trainer = make_trainer()
    session = make_session(recorded=[snapshot_of(trainer) for _ in range(2)])
    session.parts.wanted = True
    assert (session.parts.answer.state, asked) == ("recorded", [])
    session.step()
    assert session.parts.answer.state == "there"


def test_weights_that_are_gone_name_the_nearest(session: Session, asked: list[int]) -> None:
    session.engine.checkpoints.limit = 2
    session.train(4)
    kept = session.engine.checkpoints.updates
    session.parts.wanted = True
    session.cursor.follow = False
    gone = next(update for update in (1, 2, 3) if update not in kept)
    session.cursor.update = gone
    answer = session.parts.answer
    assert (answer.state, answer.update, answer.nearest in kept) == ("gone", gone, True)
    assert abs(answer.nearest - gone) == min(abs(update - gone) for update in kept)
    assert asked == [4]


def test_an_update_that_is_stepped_has_none_yet(session: Session) -> None:
    session.train(1)
    session.parts.wanted = True
    session.step_stage()
    session.step_stage()
    assert session.parts.answer.state == "unfinished"
    session.step()
    assert (session.parts.answer.state, session.parts.answer.update) == ("there", 2)


def test_what_fails_is_said_once_and_harms_nothing(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    session.train(1)

    def fail(*arguments: Any) -> None:
        raise ValueError("no such weights")

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "load_into", fail)
        patch.setattr(session.engine.batches, "gradient_parts", fail)
        session.parts.wanted = True
    assert session.parts.answer.state == "failed"
    assert session.error["message"] == "no such weights" and session.error["count"] == 1
    session.train(1)
    assert session.parts.answer.state == "there"


# --- with a thread ---


async def until(session: Session, condition: Callable[[Answer], Any]) -> None:
    """Wait until the answer is as wanted; looked at whenever it changes."""
    changed = asyncio.Event()

    def note(change: Any) -> None:
        changed.set()

    session.parts.observe(note, "answer")
    async with asyncio.timeout(PATIENCE):
        while not condition(session.parts.answer):
            changed.clear()
            await changed.wait()
    session.parts.unobserve(note, "answer")


def play(make_session: MakeSession, story: Callable[[Session], Awaitable[None]]) -> None:
    async def main() -> None:
        session = make_session(threaded=True)
        try:
            await story(session)
        finally:
            session.close()
            assert session.worker.join(PATIENCE)

    asyncio.run(main())


def test_the_worker_computes_and_the_loop_is_told(make_session: MakeSession, asked: list[int]) -> None:
    threads: set[int] = set()
    states: list[str] = []

    def note(change: Any) -> None:
        threads.add(threading.get_ident())
        states.append(change["new"].state)

    async def story(session: Session) -> None:
        session.parts.observe(note, "answer")
        session.parts.wanted = True
        session.train(2)
        await until(session, lambda answer: answer.state == "there" and answer.update == 2)
        assert session.parts.answer.parts.sum() == pytest.approx(1.0, abs=1e-4)

    play(make_session, story)
    assert threads == {threading.get_ident()}
    assert "pause" in states and states.index("pause") < states.index("computing") < states.index("there")
    assert asked == [2]


def test_the_batch_on_screen_by_then_is_the_one_that_counts(make_session: MakeSession, asked: list[int]) -> None:
    async def story(session: Session) -> None:
        session.train(3)
        session.parts.wanted = True
        await until(session, lambda answer: answer.state == "there" and answer.update == 3)
        gate = threading.Event()
        session.worker.submit(lambda: gate.wait(PATIENCE))
        session.cursor.follow = False
        for update in (1, 2, 1, 2, 1):  # scrubbed faster than the worker computes
            session.cursor.update = update
            assert session.parts.answer.state == "computing"
        gate.set()
        await until(session, lambda answer: answer.state == "there")
        assert session.parts.answer.update == 1

    play(make_session, story)
    assert asked[0] == 3 and len(asked) <= 3
