"""A held-out judge: measured in every update, and nothing is made of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import torch

from explorer.config import Config
from explorer.ppo.rewards import Responses, RewardError, judge_of
from explorer.ppo.rewards.judging import by_rule, gendered
from explorer.recipes import JUDGES, learned_judge
from tests.conftest import TINY_PROMPTS
from tests.taught import taught

if TYPE_CHECKING:
    from explorer.ppo.policy import Policy
    from explorer.ppo.trainer import Trainer
    from tests.conftest import MakeTrainer, RunUpdate

RECIPE = '{"expression": "words - 3", "kind": "expression"}'


def texts(*given: str) -> Responses:
    """Responses of which a judge reads the texts alone."""
    return Responses(
        prompts=[""] * len(given),
        texts=list(given),
        ids=torch.zeros(len(given), 1),
        mask=torch.ones(len(given), 1, dtype=torch.bool),
        ref_logprobs=torch.zeros(len(given), 1),
        reference=None,  # type: ignore[arg-type]  # no judge here asks it
        config=Config(),
    )


def weights_after(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: values.clone() for name, values in trainer.policy.state_dict().items()}


@pytest.mark.parametrize("judge", ["coherence", "gendered", "good_text", RECIPE])
def test_with_a_judge_scores_gradients_and_weights_are_those_without_bit_for_bit(
    make_trainer: MakeTrainer, run_update: RunUpdate, tiny_config: Config, judge: str
) -> None:
    plain, judged = make_trainer(tiny_config), make_trainer(tiny_config.replace(judge=judge))
    for _ in range(2):
        before, after = run_update(plain), run_update(judged)
        assert before.credit.judge is None and after.credit.judge.shape == (8,)
        assert torch.equal(before.credit.scores, after.credit.scores)
        assert torch.equal(before.credit.whitened_advantages, after.credit.whitened_advantages)
        assert [e.grad_norm for e in before.epochs[:-1]] == [e.grad_norm for e in after.epochs[:-1]]
        same = {"throughput/seconds", "objective/judge"}
        assert {k: v for k, v in before.metrics.items() if k not in same} == {
            k: v for k, v in after.metrics.items() if k not in same
        }
        assert after.metrics["objective/judge"] == pytest.approx(after.credit.judge.mean().item())
    theirs = weights_after(judged)
    assert all(torch.equal(values, theirs[name]) for name, values in weights_after(plain).items())


def test_a_judge_that_is_a_component_has_the_components_numbers(
    make_trainer: MakeTrainer, run_update: RunUpdate, tiny_config: Config
) -> None:
    credit = run_update(make_trainer(tiny_config.replace(judge="diversity"))).credit
    assert torch.equal(credit.judge, credit.reward_components["diversity"])


def test_a_function_of_ones_own_may_judge(
    make_trainer: MakeTrainer, run_update: RunUpdate, tiny_config: Config
) -> None:
    config = tiny_config.replace(judge="rows", weights={**tiny_config.weights, "rows": 0.0})
    trainer = make_trainer(config, rewards={"rows": lambda prompts, responses: range(len(responses))})
    assert run_update(trainer).credit.judge.tolist() == list(range(8))


def test_what_is_paid_for_is_no_judge() -> None:
    with pytest.raises(ValueError, match="judge is 'sentiment', which has the weight 1 in the reward"):
        Config(judge="sentiment")
    with pytest.raises(ValueError, match="judge is 'coherence', which has the weight 0.5"):
        Config(judge="coherence").replace(weight_coherence=0.5)
    with pytest.raises(ValueError, match="judge is 'loud'"):
        Config(components={"loud": {"kind": "expression", "expression": "words"}}, judge="loud")


def test_a_judge_goes_with_its_component() -> None:
    config = Config(components={"loud": {"kind": "expression", "expression": "words"}}).replace(
        judge="loud", weight_loud=0.0
    )
    assert config.replace(component_loud=None).judge == ""


def test_a_recipe_is_kept_as_its_json_and_comes_back() -> None:
    config = Config(judge={"kind": "gendered"})  # type: ignore[arg-type]  # a recipe is taken as it stands too
    assert config.judge == '{"kind": "gendered"}'
    assert Config.from_flat(config.flat()) == config
    assert Config(judge=None).judge == ""  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("judge", "says"),
    [
        ('{"kind": "gendred"}', "has the kind 'gendred': choose one of"),
        ('{"kind": "rule"}', "lacks 'rule'"),
        ('{"kind": "sum", "weights": {"coherence": "much"}}', "must be a number for each component"),
        ("{", "is no JSON"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(judge: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Config(judge=judge)
    with pytest.raises(TypeError, match="judge is 3, but must be the name of a judge"):
        Config(judge=3)  # type: ignore[arg-type]


def test_an_unknown_judge_is_named_before_anything_is_trained(make_trainer: MakeTrainer, tiny_config: Config) -> None:
    trainer = make_trainer()
    with pytest.raises(ValueError, match="There is no judge 'coherent': choose one of sentiment, coherence"):
        trainer.check(tiny_config.replace(judge="coherent"))
    with pytest.raises(ValueError, match="There is no rule 'rhyme'"):
        trainer.check(tiny_config.replace(judge='{"kind": "rule", "rule": "rhyme"}'))
    with pytest.raises(ValueError, match="There is no built-in component 'beauty' to add up"):
        trainer.check(tiny_config.replace(judge='{"kind": "sum", "weights": {"beauty": 1}}'))


def test_a_judge_that_fails_is_named_and_can_be_set_aside(
    make_trainer: MakeTrainer, run_update: RunUpdate, tiny_config: Config
) -> None:
    def failing(prompts: list[str], responses: list[str]) -> list[float]:
        raise OSError("no")

    config = tiny_config.replace(judge="broken", weights={**tiny_config.weights, "broken": 0.0})
    trainer = make_trainer(config, rewards={"broken": failing})
    with pytest.raises(RewardError) as raised:
        run_update(trainer)
    assert raised.value.component == "broken"
    assert run_update(trainer, config.replace(set_aside=["broken"])).credit.judge is None


def test_somebody_with_a_gender_is_a_word_or_a_name_of_the_response() -> None:
    found = gendered(texts(" she ran.", " Tim ran.", " the dog ran.", "", " a queen and a stone"))
    assert found.tolist() == [1, 1, 0, 0, 1]


def test_a_rule_judges_the_response_alone() -> None:
    assert by_rule("has_dialogue")(texts(' "Hi," he said', " no one spoke")).tolist() == [1, 0]
    assert by_rule("short_words")(texts(" I am it", " extraordinary")).tolist() == pytest.approx([-5 / 3, -13])


def test_a_sum_adds_components_up_by_its_own_weights(make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    judge = '{"kind": "sum", "weights": {"diversity": 2, "length": -1}}'
    credit = run_update(make_trainer(Config(batch_size=4, response_length=4, judge=judge))).credit
    parts = credit.reward_components
    assert torch.allclose(credit.judge, 2 * parts["diversity"] - parts["length"])


@pytest.mark.parametrize("judge", JUDGES)
def test_every_ready_judge_can_be_made(judge: str) -> None:
    assert callable(judge_of(judge, {}))


# --- one that was learnt from labels ---


@pytest.fixture
def learnt(make_tiny_policy: Callable[[], Policy], tiny_config: Config) -> dict[str, Any]:
    return taught(make_tiny_policy(), tiny_config, TINY_PROMPTS)


def test_one_that_was_learnt_measures_what_it_would_be_paid_for(
    make_trainer: MakeTrainer, run_update: RunUpdate, tiny_config: Config, learnt: dict[str, Any]
) -> None:
    judged = tiny_config.replace(judge=learnt)
    assert learned_judge(judged.judge) == learnt
    assert Config.from_flat(judged.flat()) == judged
    paid = run_update(make_trainer(tiny_config.replace(component_mine=learnt))).credit.reward_components["mine"]
    plain, found = run_update(make_trainer(tiny_config)), run_update(make_trainer(judged))
    assert torch.equal(found.credit.judge, paid) and paid.std() > 0
    assert torch.equal(found.credit.scores, plain.credit.scores)
    assert torch.equal(found.credit.whitened_advantages, plain.credit.whitened_advantages)


def test_one_that_was_learnt_on_another_policy_is_refused_in_a_sentence_that_does_not_spell_it_out(
    make_trainer: MakeTrainer, tiny_config: Config, learnt: dict[str, Any]
) -> None:
    trainer = make_trainer()
    trainer.check(tiny_config.replace(judge=learnt))
    with pytest.raises(ValueError, match="'judge' cannot be used here. It was learnt on another policy") as raised:
        trainer.check(tiny_config.replace(judge={**learnt, "policy": "0" * 64}))
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize("judge", ["", "good_text", RECIPE])
def test_no_other_judge_was_learnt(judge: str) -> None:
    assert learned_judge(judge) is None
