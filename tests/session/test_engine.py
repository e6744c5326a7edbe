"""The engine: stages in order, one config an update."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from explorer.config import Config
from explorer.ppo.policy import Policy
from explorer.recording.snapshot import Snapshot
from explorer.session.engine import Engine
from tests.session.watched import FAST, MakeEngine, Watched

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer


def test_until_it_has_loaded_it_says_so(tiny_policy: Policy, tiny_config: Config) -> None:
    engine = Watched(tiny_policy, tiny_config)
    engine.check(tiny_config)  # nothing can be said yet, so nothing is refused
    answers = engine.answers
    for use in (engine.advance, engine.restart, answers.compare, lambda: answers.try_prompt("The cat", None)):
        with pytest.raises(RuntimeError, match="still loading: try again in a moment"):
            use()


def test_garbage_is_collected_again_whether_it_has_loaded_or_not(tiny_policy: Policy, tiny_config: Config) -> None:
    for policy in (tiny_policy, "no/such/folder"):
        engine = Engine(policy, tiny_config, None, None, lambda progress: None, lambda snapshot: None)
        with suppress(ValueError):
            engine.load()
        assert gc.isenabled()


def test_two_may_load_at_once(tiny_checkpoint: Path, tiny_config: Config) -> None:
    """Two pages in one cell; transformers loads a model through states that all threads share."""
    engines = [Watched(str(tiny_checkpoint), tiny_config) for _ in range(2)]
    together = threading.Barrier(2)
    failed: list[BaseException] = []

    def load(engine: Watched) -> None:
        together.wait(30)
        try:
            engine.load()
            engine.finish()
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=load, args=(engine,)) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    assert engines[0].recorded[0].tokens == engines[1].recorded[0].tokens


def test_advance_is_true_at_the_end_of_an_update_only(engine: Watched) -> None:
    ends = [engine.advance() for _ in range(14)]
    assert ends == ([False] * 6 + [True]) * 2
    assert [snapshot.update for snapshot in engine.recorded] == [1, 2]


def test_the_update_is_reported_before_its_last_stage(engine: Watched) -> None:
    order: list[str] = []
    engine._on_update = lambda snapshot: order.append("update")
    engine._on_stage = lambda progress: order.append(progress.finished)
    engine.finish()
    assert order == ["", "sample", "score", "shape", "advantage", "epoch", "epoch", "update", "done"]


def test_it_trains_as_the_trainer_does(
    engine: Watched, make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot]
) -> None:
    trainer = make_trainer(prompts=["The cat", "Lily went to the"])
    for _ in range(2):
        engine.finish()
        expected = snapshot_of(trainer)
        assert engine.recorded[-1].tokens == expected.tokens
        assert np.array_equal(engine.recorded[-1].final.new_logprobs, expected.final.new_logprobs)


def test_records_so_far_are_made_only_where_they_are_to_be_shown(engine: Watched) -> None:
    engine.finish()
    assert [p.unfinished for p in engine.progress] == [None] * 8
    engine.show_stages = True
    engine.finish()
    second = engine.progress[8:]
    ended = [p for p in second if p.waiting or not p.finished]
    assert [p.unfinished is not None for p in ended] == [False] + [True] * 6 + [False]
    # Each of those stages is told of twice: that it has ended, and that the next one has begun.
    begun = [p for p in second if p not in ended]
    assert [p.unfinished for p in begun] == [p.unfinished for p in ended[1:-1]]
    assert {p.unfinished.update for p in second if p.unfinished} == {2}


def test_records_so_far_are_read_only_copies(engine: Watched) -> None:
    engine.show_stages = True
    for _ in range(6):
        engine.advance()
    unfinished = engine.progress[-1].unfinished
    assert unfinished is not None
    ratios = unfinished.epochs[0].ratios.copy()
    engine.finish()
    assert np.array_equal(unfinished.epochs[0].ratios, ratios)
    with pytest.raises(ValueError, match="read-only"):
        unfinished.rollout.old_logprobs[0, 0] = 0.0


def test_a_config_set_in_the_middle_waits(engine: Watched, tiny_config: Config) -> None:
    engine.advance()
    engine.config = tiny_config.replace(clip_range=0.4, epochs=1)
    engine.finish()
    engine.finish()
    assert [s.config.clip_range for s in engine.recorded] == [0.2, 0.4]
    assert [len(s.trained) for s in engine.recorded] == [2, 1]
    assert engine.recorded[0].config == tiny_config


def test_an_update_that_stops_early_says_so_before_it_is_done(make_engine: MakeEngine) -> None:
    engine = make_engine(epochs=6, target_kl=0.0, learning_rate=1e-2)
    engine.finish()
    # Nothing has moved before the first epoch's step; the second sees that something has, and is the last.
    steps = [(p.finished, p.running, p.epoch, p.epochs) for p in engine.progress[4:]]
    assert steps == [
        ("advantage", "epoch", 1, 6),
        ("epoch", "epoch", 2, 6),
        ("epoch", "done", 2, 2),
        ("done", "repeat", 0, 2),
    ]
    fractions = [p.fraction for p in engine.progress]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert len(engine.recorded[0].trained) == 2


def test_an_earlier_update_of_a_run_with_a_separate_critic_still_answers(make_engine: MakeEngine) -> None:
    engine = make_engine(critic="separate", **FAST)
    for _ in range(2):
        engine.finish()
    said = {update: engine.answers.try_prompt("The cat", update)["policy"] for update in (0, 1, 2)}
    assert said[0] != said[2]
    engine.config = engine.config.replace(critic="shared")
    engine.restart()
    engine.finish()
    assert engine.answers.try_prompt("The cat", 0)["policy"] == said[0]
    assert engine.recorded[-1].config.critic == "shared"


def test_an_error_ends_the_update_and_the_next_begins_afresh(make_engine: MakeEngine, tiny_config: Config) -> None:
    failing = [True]

    def moody(prompts: list[str], responses: list[str]) -> list[float]:
        if failing[0]:
            raise RuntimeError("not today")
        return [0.0] * len(responses)

    alone = tiny_config.replace(weights={"moody": 1.0})  # nothing else counts, so that the update cannot be made
    engine, calm = make_engine(weights={"moody": 1.0}, rewards={"moody": moody}), make_engine()
    assert engine.advance() is False
    with pytest.raises(RuntimeError, match="The reward 'moody' raised RuntimeError: not today"):
        engine.advance()
    assert (engine.trainer.updates, engine.recorded) == (0, [])
    failing[0] = False
    engine.config = alone
    engine.finish()
    calm.finish()
    assert engine.recorded[0].update == 1
    assert engine.recorded[0].tokens == calm.recorded[0].tokens


def test_restart_takes_the_newest_config(engine: Watched, tiny_config: Config) -> None:
    engine.finish()
    engine.advance()
    engine.config = tiny_config.replace(seed=5, response_length=3)
    engine.restart()
    assert engine.checkpoints.updates == [0]
    answers = engine.answers.compare()
    assert all(len(engine.trainer.policy.tokenizer(text)["input_ids"]) <= 3 for text in answers["policy"])
    engine.finish()
    assert engine.recorded[-1].update == 1
    assert engine.recorded[-1].rollout.response_ids.shape == (8, 3)


def test_a_config_that_does_not_fit_the_policy_is_refused(engine: Watched, tiny_config: Config) -> None:
    engine.check(tiny_config.replace(response_length=20))
    with pytest.raises(ValueError, match="lower response_length"):
        engine.check(tiny_config.replace(response_length=200))


def test_prompts_that_cannot_be_trained_on_change_nothing(engine: Watched) -> None:
    before = engine.prompts
    with pytest.raises(ValueError, match="Prompt 2 is blank"):
        engine.set_prompts(["The dog", ""])
    assert engine.prompts == before
