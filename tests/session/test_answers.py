"""Prompts answered side by side: what the policy said at every update that is still kept."""

from __future__ import annotations

import numpy as np
import pytest

from tests.session.watched import FAST, MakeEngine, Watched


def test_before_training_reference_and_policy_say_the_same(engine: Watched) -> None:
    answers = engine.answers.compare()
    assert answers["update"] == 0
    assert answers["prompts"] == ["The cat", "Lily went to the"]
    assert answers["reference"] == answers["policy"]
    assert all(answers["policy"])
    trial = engine.answers.try_prompt("Tim saw a big", None)
    assert trial["reference"] == trial["policy"]
    assert len(set(trial["policy"])) > 1  # three answers, with random numbers of their own


def test_after_training_only_the_policy_speaks_otherwise(make_engine: MakeEngine) -> None:
    engine = make_engine(**FAST)
    before = engine.answers.compare()
    engine.finish()
    after = engine.answers.compare()
    assert after["reference"] == before["reference"]
    assert after["policy"] != before["policy"]
    assert after["update"] == 1


def test_comparing_twice_gives_the_same_answers(make_engine: MakeEngine) -> None:
    engine = make_engine(**FAST)
    engine.finish()
    assert engine.answers.compare() == engine.answers.compare()


def test_every_training_prompt_can_be_answered_a_few_at_a_time(make_engine: MakeEngine) -> None:
    prompts = [f"The cat {'had ' * number}a" for number in range(19)]
    engine = make_engine()
    engine.set_prompts(prompts)
    pages = [engine.answers.compare(first) for first in (0, 8, 16)]
    assert [page["prompts"] for page in pages] == [prompts[:8], prompts[8:16], prompts[16:]]
    assert [(page["first"], page["total"], len(page["policy"])) for page in pages] == [
        (0, 19, 8),
        (8, 19, 8),
        (16, 19, 3),
    ]
    assert engine.answers.compare() == pages[2]  # the same again
    assert engine.answers.compare(-3) == pages[0]
    assert engine.answers.compare(19) == pages[0]
    engine.answers.compare(16)
    engine.set_prompts(prompts[:9])  # now there are no more so far down
    assert engine.answers.compare()["prompts"] == prompts[:8]


def test_a_prompt_that_is_tried_again_is_answered_anew(make_engine: MakeEngine) -> None:
    engine = make_engine(**FAST)
    engine.finish()
    first, again = engine.answers.try_prompt("The cat", 1), engine.answers.try_prompt("The cat", None)
    assert first["update"] == again["update"] == 1
    assert first["policy"] != again["policy"]
    assert first["reference"] != again["reference"]
    earlier = engine.answers.try_prompt("The cat", 0)
    assert earlier["reference"] == again["reference"]  # another update, the same numbers


def test_asking_changes_nothing_in_the_run(make_engine: MakeEngine) -> None:
    asked, unasked = make_engine(**FAST), make_engine(**FAST)
    for _ in range(2):
        while not asked.advance():
            asked.answers.compare()
            asked.answers.try_prompt("She was happy", 0)
        unasked.finish()
    assert np.array_equal(asked.recorded[1].final.new_logprobs, unasked.recorded[1].final.new_logprobs)


def test_an_earlier_update_says_what_it_said_then(make_engine: MakeEngine) -> None:
    engine = make_engine(**FAST)
    said = [engine.answers.try_prompt("Tim saw a big", None)]
    for _ in range(3):
        engine.finish()
        said.append(engine.answers.try_prompt("Tim saw a big", None))
    assert [trial["update"] for trial in said] == [0, 1, 2, 3]
    assert len({tuple(trial["policy"]) for trial in said}) == 4
    for update in (1, 3, 0, 2):
        assert engine.answers.try_prompt("Tim saw a big", update) == said[update]


def test_in_the_middle_of_an_update_the_last_whole_one_is_asked(make_engine: MakeEngine) -> None:
    engine = make_engine(**FAST)
    engine.finish()
    said, compared = engine.answers.try_prompt("Tim saw a big", 1), engine.answers.compare()
    for _ in range(6):  # both epochs of update 2 have moved the policy
        engine.advance()
    engine.answers.try_prompt("The cat", 0)  # or it would be answered anew
    assert engine.answers.try_prompt("Tim saw a big", 1) == said
    assert engine.answers.compare() == compared  # it is labelled "after update 1"


def test_an_update_whose_weights_are_gone_names_the_nearest(make_engine: MakeEngine) -> None:
    engine = make_engine(**FAST)
    engine.checkpoints.limit = 4
    for _ in range(8):
        engine.finish()
    kept = engine.checkpoints.updates
    gone = next(n for n in range(1, 8) if n not in kept)
    with pytest.raises(ValueError, match=f"weights of update {gone} are no longer kept: the nearest"):
        engine.answers.try_prompt("The cat", gone)


def test_at_most_eight_prompts_are_compared(engine: Watched) -> None:
    engine.set_prompts([f"The {animal}" for animal in "cat dog duck boy girl sun park tree house".split()])
    assert engine.answers.compare()["prompts"] == engine.prompts[:8]


@pytest.mark.parametrize(
    ("prompt", "message"),
    [(" ", "Prompt 1 is blank"), ("The cat " * 20, "it exceeds the 32 that the policy can attend to")],
)
def test_a_prompt_that_cannot_be_answered_is_refused(engine: Watched, prompt: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        engine.answers.try_prompt(prompt, None)
