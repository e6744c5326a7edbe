"""Components from the Config, in a run: scored, recorded, gone on with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from explorer.config import Config
from explorer.headless import Trainer
from explorer.recording.storage import Recording

SMALL = {"batch_size": 8, "epochs": 1, "response_length": 12}
WORDS = {"kind": "expression", "expression": "0.1 * words"}
LOUD = {"kind": "expression", "expression": 'count("!")'}


def test_a_recipe_scores_as_the_same_function_does() -> None:
    by_recipe = Trainer(config=Config(components={"words": WORDS}, **SMALL)).update()
    by_function = Trainer(
        config=Config(**SMALL), rewards={"words": lambda prompts, texts: [0.1 * len(text.split()) for text in texts]}
    ).update()
    for ours, theirs in ((by_recipe.credit, by_function.credit),):
        assert np.allclose(ours.reward_components["words"], theirs.reward_components["words"])
        assert np.allclose(ours.rewards, theirs.rewards, atol=1e-6)


def test_one_that_is_added_in_the_middle_is_recorded_from_there_on(tmp_path: Path) -> None:
    live = Trainer(config=Config(**SMALL))

    def change(snapshot) -> None:
        if snapshot.update == 2:
            live.config = live.config.replace(component_loud=LOUD, weight_loud=0.5)
        if snapshot.update == 3:
            live.config = live.config.replace(component_loud=None, component_words=WORDS)

    live.train(4, progress=False, out=tmp_path / "run", on_snapshot=change)
    recording = Recording.load(tmp_path / "run")
    own = [set(recording[i].credit.reward_components) & {"loud", "words"} for i in range(4)]
    assert own == [set(), set(), {"loud"}, {"words"}]
    assert [set(recording[i].config.components) for i in range(4)] == own
    assert recording[2].config.weights["loud"] == 0.5
    columns = recording.metrics.to_pydict()
    for name, there in (("loud", [2]), ("words", [3])):
        known = [i for i, value in enumerate(columns[f"component/{name}"]) if value is not None and value == value]
        assert known == there


def test_going_on_makes_the_component_again(tmp_path: Path) -> None:
    config = Config(components={"words": WORDS}, **SMALL)
    whole = Trainer(config=config).train(3, progress=False, out=tmp_path / "whole", checkpoint_every=1)
    Trainer(config=config).train(2, progress=False, out=tmp_path / "cut", checkpoint_every=1)
    live = Trainer.resume(tmp_path / "cut")
    assert live.config == config
    live.train(1, progress=False, out=tmp_path / "cut")
    again = Recording.load(tmp_path / "cut")
    assert np.array_equal(again[2].credit.scores, whole[2].credit.scores)
    assert np.array_equal(again[2].final.new_logprobs, whole[2].final.new_logprobs)


@pytest.mark.parametrize(
    ("components", "words"),
    [
        ({"sentiment": WORDS}, "a component 'sentiment' already"),
        ({"mine": WORDS}, "a component 'mine' already"),
        ({"loud": {"kind": "expression", "expression": "words +"}}, "'loud' cannot be made"),
    ],
)
def test_a_config_with_what_cannot_be_is_refused_and_the_run_stays(components, words: str) -> None:
    live = Trainer(config=Config(**SMALL), rewards={"mine": lambda prompts, texts: [0.0] * len(texts)})
    live.update()
    with pytest.raises(ValueError, match="component") as caught:
        next(live.stages(live.config.replace(components=components)))
    assert words in str(caught.value)
    assert live.updates == 1
