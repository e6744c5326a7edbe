"""The engine: stages in order, one config an update, and what the policy said at every update that is still kept."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from explorer.config import Config
from explorer.ppo.policy import Policy
from explorer.recording.snapshot import Snapshot
from explorer.session.engine import Engine, Progress

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer

MakeEngine = Callable[..., Engine]

#: Learns fast enough for its answers to change within an update.
FAST = {"learning_rate": 0.05, "weights": {"length": 1.0}, "kl_coef": 0.0, "stop_sentences": 0}


class Watched(Engine):
    """An engine that remembers what it reported."""

    def __init__(self, policy: Any, config: Config, **arguments: Any) -> None:
        self.progress: list[Progress] = []
        self.recorded: list[Snapshot] = []
        prompts = arguments.get("prompts", ["The cat", "Lily went to the"])
        super().__init__(policy, config, arguments.get("rewards"), prompts, self.progress.append, self.recorded.append)

    def finish(self) -> None:
        """Run to the end of the update."""
        while not self.advance():
            pass


@pytest.fixture
def make_engine(make_tiny_policy: Callable[[], Policy], tiny_config: Config) -> MakeEngine:
    """``make_engine(**changes)``: a loaded engine of a fresh tiny policy, with some settings changed."""

    def make(rewards: Any = None, **changes: Any) -> Watched:
        engine = Watched(make_tiny_policy(), tiny_config.replace(**changes), rewards=rewards)
        engine.load()
        return engine

    return make


@pytest.fixture
def engine(make_engine: MakeEngine) -> Watched:
    return make_engine()


def test_until_it_has_loaded_it_says_so(tiny_policy: Policy, tiny_config: Config) -> None:
    engine = Watched(tiny_policy, tiny_config)
    engine.check(tiny_config)  # nothing can be said yet, so nothing is refused
    for use in (engine.advance, engine.restart, engine.compare, lambda: engine.try_prompt("The cat", None)):
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
    said = {update: engine.try_prompt("The cat", update)["policy"] for update in (0, 1, 2)}
    assert said[0] != said[2]
    engine.config = engine.config.replace(critic="shared")
    engine.restart()
    engine.finish()
    assert engine.try_prompt("The cat", 0)["policy"] == said[0]
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
    answers = engine.compare()
    assert all(len(engine.trainer.policy.tokenizer(text)["input_ids"]) <= 3 for text in answers["policy"])
    engine.finish()
    assert engine.recorded[-1].update == 1
    assert engine.recorded[-1].rollout.response_ids.shape == (8, 3)


# --- answers ---


def test_before_training_reference_and_policy_say_the_same(engine: Watched) -> None:
    answers = engine.compare()
    assert answers["update"] == 0
    assert answers["prompts"] == ["The cat", "Lily went to the"]
    assert answers["reference"] == answers["policy"]
    assert all(answers["policy"])
    trial = engine.try_prompt("Tim saw a big", None)
    assert trial["reference"] == trial["policy"]
    assert len(set(trial["policy"])) > 1  # three answers, with random numbers of their own


def test_after_training_only_the_policy_speaks_otherwise(make_engine: MakeEngine) -> None:
    engine = make_engine(**FAST)
    before = engine.compare()
    engine.finish()
    after = engine.compare()
    assert after["reference"] == before["reference"]
    assert after["policy"] != before["policy"]
    assert after["update"] == 1


def test_comparing_twice_gives_the_same_answers(make_engine: MakeEngine) -> None:
    engine = make_engine(**FAST)
    engine.finish()
    assert engine.compare() == engine.compare()


def test_every_training_prompt_can_be_answered_a_few_at_a_time(make_engine: MakeEngine) -> None:
    prompts = [f"The cat {'had ' * number}a" for number in range(19)]
    engine = make_engine()
    engine.set_prompts(prompts)
    pages = [engine.compare(first) for first in (0, 8, 16)]
    assert [page["prompts"] for page in pages] == [prompts[:8], prompts[8:16], prompts[16:]]
    assert [(page["first"], page["total"], len(page["policy"])) for page in pages] == [
        (0, 19, 8),
        (8, 19, 8),
        (16, 19, 3),
    ]
    assert engine.compare() == pages[2]  # the same again
    assert engine.compare(-3) == pages[0]
    assert engine.compare(19) == pages[0]
    engine.compare(16)
    engine.set_prompts(prompts[:9])  # now there are no more so far down
    assert engine.compare()["prompts"] == prompts[:8]


def test_a_prompt_that_is_tried_again_is_answered_anew(make_engine: MakeEngine) -> None:
    engine = make_engine(**FAST)
    engine.finish()
    first, again = engine.try_prompt("The cat", 1), engine.try_prompt("The cat", None)
    assert first["update"] == again["update"] == 1
    assert first["policy"] != again["policy"]
    assert first["reference"] != again["reference"]
    assert engine.try_prompt("The cat", 0)["reference"] == again["reference"]  # another update, the same numbers


def test_asking_changes_nothing_in_the_run(make_engine: MakeEngine) -> None:
    asked, unasked = make_engine(**FAST), make_engine(**FAST)
    for _ in range(2):
        while not asked.advance():
            asked.compare()
            asked.try_prompt("She was happy", 0)
        unasked.finish()
    assert np.array_equal(asked.recorded[1].final.new_logprobs, unasked.recorded[1].final.new_logprobs)


def test_an_earlier_update_says_what_it_said_then(make_engine: MakeEngine) -> None:
    engine = make_engine(**FAST)
    said = [engine.try_prompt("Tim saw a big", None)]
    for _ in range(3):
        engine.finish()
        said.append(engine.try_prompt("Tim saw a big", None))
    assert [trial["update"] for trial in said] == [0, 1, 2, 3]
    assert len({tuple(trial["policy"]) for trial in said}) == 4
    for update in (1, 3, 0, 2):
        assert engine.try_prompt("Tim saw a big", update) == said[update]


def test_in_the_middle_of_an_update_the_last_whole_one_is_asked(make_engine: MakeEngine) -> None:
    engine = make_engine(**FAST)
    engine.finish()
    said, compared = engine.try_prompt("Tim saw a big", 1), engine.compare()
    for _ in range(6):  # both epochs of update 2 have moved the policy
        engine.advance()
    engine.try_prompt("The cat", 0)  # or it would be answered anew
    assert engine.try_prompt("Tim saw a big", 1) == said
    assert engine.compare() == compared  # it is labelled "after update 1"


def test_an_update_whose_weights_are_gone_names_the_nearest(make_engine: MakeEngine) -> None:
    engine = make_engine(**FAST)
    engine.checkpoints.limit = 4
    for _ in range(8):
        engine.finish()
    kept = engine.checkpoints.updates
    gone = next(n for n in range(1, 8) if n not in kept)
    with pytest.raises(ValueError, match=f"weights of update {gone} are no longer kept: the nearest"):
        engine.try_prompt("The cat", gone)


def test_at_most_eight_prompts_are_compared(engine: Watched) -> None:
    engine.set_prompts([f"The {animal}" for animal in "cat dog duck boy girl sun park tree house".split()])
    assert engine.compare()["prompts"] == engine.prompts[:8]


@pytest.mark.parametrize(
    ("prompt", "message"),
    [(" ", "Prompt 1 is blank"), ("The cat " * 20, "it exceeds the 32 that the policy can attend to")],
)
def test_a_prompt_that_cannot_be_answered_is_refused(engine: Watched, prompt: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        engine.try_prompt(prompt, None)


def test_a_config_that_does_not_fit_the_policy_is_refused(engine: Watched, tiny_config: Config) -> None:
    engine.check(tiny_config.replace(response_length=20))
    with pytest.raises(ValueError, match="lower response_length"):
        engine.check(tiny_config.replace(response_length=200))


def test_prompts_that_cannot_be_trained_on_change_nothing(engine: Watched) -> None:
    before = engine.prompts
    with pytest.raises(ValueError, match="Prompt 2 is blank"):
        engine.set_prompts(["The dog", ""])
    assert engine.prompts == before
