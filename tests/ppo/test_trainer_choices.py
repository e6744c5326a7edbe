"""What an update does under the choices: groups, ReMax, early stop, a separate or a frozen critic, dropout left on."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from explorer.config import CHOICES, Config
from explorer.ppo.optimiser import Optimiser
from explorer.ppo.policy import Policy
from explorer.ppo.records import Update
from explorer.ppo.replay import Batch, Experience, join, reuse
from explorer.ppo.trainer import Trainer
from tests.ppo.comparing import assert_equal, same, weights

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer, RunUpdate

#: What is timed before the epochs.
BEFORE = ("sample", "old", "reference", "score", "advantage")


@pytest.fixture(scope="module")
def config(tiny_config: Config) -> Config:
    return tiny_config.replace(learning_rate=1e-2, epochs=3)


def failing(update: Update) -> set[str]:
    return {name for name, (holds, _) in update.checks.items() if not holds}


# --- groups ---


def test_rows_of_a_group_answer_one_prompt(make_trainer: MakeTrainer, run_update: RunUpdate, config: Config) -> None:
    trainer = make_trainer(config.replace(group_size=4))
    for _ in range(3):
        rollout = run_update(trainer).rollout
        assert rollout.groups.dtype == torch.int64
        assert rollout.groups.tolist() == [0] * 4 + [1] * 4
        for group in (0, 1):
            prompts = rollout.prompt_ids[rollout.groups == group]
            assert bool((prompts == prompts[:1]).all())
        assert not torch.equal(rollout.prompt_ids[0], rollout.prompt_ids[4])  # two of the four prompts


def test_the_group_size_of_an_ordinary_run_changes_nothing(
    make_trainer: MakeTrainer, run_update: RunUpdate, config: Config
) -> None:
    pairs, alone = (run_update(make_trainer(config.replace(group_size=size))) for size in (2, 1))
    assert torch.equal(pairs.rollout.response_ids, alone.rollout.response_ids)
    assert torch.equal(pairs.final.new_logprobs, alone.final.new_logprobs)


@pytest.mark.parametrize("estimator", CHOICES["estimator"])
def test_every_estimator_trains_and_passes_its_checks(
    estimator: str, make_trainer: MakeTrainer, run_update: RunUpdate, config: Config
) -> None:
    # Coherence tells any two responses apart.
    trainer = make_trainer(config.replace(estimator=estimator, weights={"coherence": 1.0}))
    for _ in range(2):
        update = run_update(trainer)
        assert failing(update) == set()
        assert not update.credit.advantages.requires_grad
    assert (update.final.ratios[update.rollout.response_mask] - 1).abs().max() > 1e-3


def test_only_reinforce_pp_is_whitened_where_whitening_is_off(
    make_trainer: MakeTrainer, run_update: RunUpdate, config: Config
) -> None:
    for estimator in ("reinforce_pp", "monte_carlo"):
        update = run_update(make_trainer(config.replace(estimator=estimator, whiten=False)))
        credit, forced = update.credit, estimator == "reinforce_pp"
        assert torch.equal(credit.whitened_advantages, credit.advantages) == (not forced)
        assert ("whitened" in update.checks) == forced


# --- ReMax ---


def test_remax_compares_with_the_greedy_answer_to_each_prompt(make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    config = Config(
        batch_size=12, group_size=2, response_length=6, stop_sentences=1, estimator="remax", kl_coef=0.0, whiten=False
    )
    seen: list[list[str]] = []

    def vowels(prompts: list[str], responses: list[str]) -> list[float]:
        seen.append(list(responses))
        return [sum(response.count(vowel) for vowel in "aeiou") / 4 for response in responses]

    trainer = make_trainer(config.replace(weights={"vowels": 1.0}), rewards={"vowels": vowels})
    update = run_update(trainer)
    credit, rollout = update.credit, update.rollout
    sampled, greedy = seen
    # Six groups over four prompts: each prompt was answered greedily once, whatever the number of its groups.
    assert (len(sampled), len(greedy)) == (12, 4)
    assert {name: len(values) for name, values in credit.greedy_components.items()} == dict.fromkeys(
        credit.reward_components, 6
    )
    # The baseline is what this very policy says without chance, from each group's own prompt.
    of_group = [greedy_answer(make_trainer(config).policy, rollout, 2 * group) for group in range(6)]
    expected = torch.tensor(vowels([], of_group))
    torch.testing.assert_close(credit.greedy_components["vowels"], expected)
    assert len(set(expected.tolist())) > 1
    for row in range(12):
        advantage = credit.scores[row] - expected[row // 2]
        kept = credit.advantages[row][rollout.response_mask[row]]
        torch.testing.assert_close(kept, advantage.expand_as(kept))
    # The value head learns the return itself.
    assert torch.equal(credit.returns[rollout.response_mask][0], credit.scores[0])


def greedy_answer(policy: Policy, rollout: object, row: int) -> str:
    """The likeliest token, one after the other, by transformers' own forward without a cache."""
    prompt: Tensor = rollout.prompt_ids[row][rollout.prompt_mask[row]]  # type: ignore[attr-defined]
    ids = prompt[None]
    for _ in range(6):
        with torch.no_grad():
            ids = torch.cat([ids, policy.lm(ids).logits[:, -1].argmax(-1, keepdim=True)], dim=1)
        text = policy.token_texts([int(ids[0, -1])])[0]
        if text in (".", "!", "?", "<|endoftext|>"):
            break
    return policy.decode(ids[0, len(prompt) :].tolist())


def test_the_reference_judges_the_greedy_answers_at_the_temperature_of_all(
    make_trainer: MakeTrainer, config: Config
) -> None:
    """By transformers' own forward of each answer alone, without padding."""
    trainer = make_trainer(config)
    collected, _ = trainer._draw(config.replace(estimator="remax", temperature=0.5), 1)
    rollout, greedy = collected.rollout, collected.greedy
    assert greedy is not None and len(greedy.rows) > 1
    for row, ids, mask, found in zip(*greedy[3:4], *greedy[:3], strict=True):
        prompt = rollout.prompt_ids[row][rollout.prompt_mask[row]]
        with torch.no_grad():
            logits = trainer.reference.lm(torch.cat([prompt, ids[mask]])[None]).logits[0, len(prompt) - 1 : -1]
        likely = torch.distributions.Categorical(logits=2 * logits).log_prob(ids[mask])
        torch.testing.assert_close(found[mask], likely, rtol=1e-4, atol=1e-5)


def test_the_greedy_answers_change_neither_the_samples_nor_their_scores(
    make_trainer: MakeTrainer, run_update: RunUpdate, config: Config
) -> None:
    plain, remax = (run_update(make_trainer(config.replace(estimator=name))) for name in ("monte_carlo", "remax"))
    assert torch.equal(plain.rollout.response_ids, remax.rollout.response_ids)
    assert torch.equal(plain.rollout.old_logprobs, remax.rollout.old_logprobs)
    assert torch.equal(plain.credit.scores, remax.credit.scores)
    assert plain.credit.greedy_components == {}
    assert not torch.equal(plain.credit.advantages, remax.credit.advantages)


# --- early stop ---


def test_the_epochs_stop_once_the_policy_has_moved_far_enough(
    make_trainer: MakeTrainer, run_update: RunUpdate, config: Config
) -> None:
    config = config.replace(epochs=6)
    whole = run_update(make_trainer(config))
    kls = [epoch.approx_kl for epoch in whole.epochs[:-1]]
    assert kls[0] < 1e-9 < kls[1] < kls[2]
    target = (kls[1] + kls[2]) / 2
    trainer = make_trainer(config.replace(target_kl=target))
    stages = list(trainer.stages())
    # The third epoch is the first to see more than the target; what it has seen before its step stays recorded.
    assert [(s.name, s.epoch, s.epochs) for s in stages[4:]] == [
        *[("epoch", 1, 6), ("epoch", 2, 6), ("epoch", 3, 3)],
        ("done", 3, 3),
    ]
    update = stages[-1].update
    assert update is not None
    assert len(update.epochs) == 4
    assert math.isnan(update.final.grad_norm)
    assert (update.metrics["optim/epochs_run"], update.metrics["optim/steps"]) == (3, 3)
    assert failing(update) == set()
    for found, expected in zip(update.epochs[:3], whole.epochs, strict=False):
        assert torch.equal(found.new_logprobs, expected.new_logprobs)
    assert list(update.seconds) == [*BEFORE, "epoch 1", "epoch 2", "epoch 3", "record"]


@pytest.mark.parametrize(("target", "epochs"), [(None, 3), (10.0, 3), (0.0, 2)])
def test_without_reaching_its_target_an_update_runs_every_epoch(
    target: float | None, epochs: int, make_trainer: MakeTrainer, run_update: RunUpdate, config: Config
) -> None:
    # With one minibatch the first epoch sees the untouched policy; the second sees it moved, by more than nothing.
    update = run_update(make_trainer(config.replace(target_kl=target)))
    assert update.metrics["optim/epochs_run"] == epochs


def test_replayed_rows_do_not_stop_an_update(make_trainer: MakeTrainer, run_update: RunUpdate, config: Config) -> None:
    trainer = make_trainer(config.replace(replay_rollouts=3, epochs=2))
    for _ in range(2):
        run_update(trainer)
    moved = run_update(trainer, config.replace(replay_rollouts=3, epochs=2, target_kl=1e-9))
    assert moved.epochs[0].approx_kl > 1e-4  # the replayed rows are far from the policy that sampled them
    assert moved.metrics["optim/epochs_run"] == 2


# --- the critic ---


@pytest.mark.parametrize("critic", CHOICES["critic"])
def test_the_first_update_samples_alike_with_either_critic(
    critic: str, make_trainer: MakeTrainer, run_update: RunUpdate, config: Config
) -> None:
    trainer = make_trainer(config.replace(critic=critic))
    assert (trainer.policy.critic is not None) == (critic == "separate")
    assert trainer.reference.critic is None
    first, second = run_update(trainer), run_update(trainer)
    assert failing(first) | failing(second) == set()
    assert torch.equal(first.rollout.response_ids, run_update(make_trainer(config)).rollout.response_ids)
    assert second.rollout.old_values[second.rollout.response_mask].std() > 1e-3


def test_a_run_with_a_separate_critic_resets_repeats_and_survives_an_interruption(
    make_trainer: MakeTrainer, run_update: RunUpdate, config: Config
) -> None:
    config = config.replace(critic="separate", minibatches=2)
    trainer, whole = make_trainer(config), make_trainer(config)
    run_update(trainer), run_update(whole)
    stages = trainer.stages()
    before = weights(trainer.policy)
    while next(stages).name != "epoch":
        pass
    stages.close()  # type: ignore[attr-defined]  # a generator
    assert same(weights(trainer.policy), before)
    second = run_update(whole)
    assert_equal(run_update(trainer), second)
    trainer.reset()
    fresh = make_trainer(config)
    assert trainer.policy.state_dict().keys() == fresh.policy.state_dict().keys()
    assert same(weights(trainer.policy), weights(fresh.policy))
    run_update(trainer)
    assert_equal(run_update(trainer), second)


def test_a_state_carries_the_critic_into_another_trainer(
    make_trainer: MakeTrainer, run_update: RunUpdate, config: Config
) -> None:
    config = config.replace(critic="separate")
    one, other = make_trainer(config), make_trainer(config)
    run_update(one)
    other.optimiser.restore(one.optimiser.state())
    other.updates = one.updates
    assert_equal(run_update(other), run_update(one))
    assert same(weights(other.policy), weights(one.policy))


def test_another_critic_begins_with_a_reset(make_trainer: MakeTrainer, run_update: RunUpdate, config: Config) -> None:
    trainer = make_trainer(config)
    separate = config.replace(critic="separate")
    run_update(trainer)
    with pytest.raises(ValueError, match=r"critic is 'separate', and the run was begun with another.*reset\(\)"):
        run_update(trainer, separate)
    assert trainer.updates == 1
    trainer.config = separate
    trainer.reset()
    found = run_update(trainer)
    assert_equal(found, run_update(make_trainer(separate)))
    # Before the first update there is nothing to lose: the config alone decides.
    assert_equal(run_update(make_trainer(config), separate), found)


def test_a_policy_that_comes_with_a_critic_keeps_it(make_trainer: MakeTrainer, config: Config) -> None:
    policy = make_trainer().policy
    policy.use_critic("separate")
    with torch.no_grad():
        policy.critic.ln_f.weight *= 2
    given = weights(policy)
    trainer = make_trainer(config.replace(critic="separate"), policy=policy)
    list(trainer.stages())
    assert not same(weights(trainer.policy), given)
    trainer.reset()
    assert same(weights(trainer.policy), given)


@pytest.mark.parametrize("critic", CHOICES["critic"])
def test_a_critic_can_be_frozen_half_way(
    critic: str, make_trainer: MakeTrainer, run_update: RunUpdate, config: Config
) -> None:
    trainer = make_trainer(config.replace(critic=critic))
    run_update(trainer)
    before = weights(trainer.policy)
    run_update(trainer, config.replace(critic=critic, freeze_critic=True))
    moved = {
        name.split(".")[0] for name, tensor in weights(trainer.policy).items() if not torch.equal(tensor, before[name])
    }
    assert moved == {"lm"}


# --- dropout left on ---


def test_dropout_left_on_puts_the_check_light_out(
    make_trainer: MakeTrainer, run_update: RunUpdate, config: Config
) -> None:
    update = run_update(make_trainer(config.replace(dropout_on=True)))
    holds, measured = update.checks["first_ratio"]
    assert not holds
    assert measured > 0.01
    assert "first_kl" in failing(update)  # the reference, as it should, has none
    assert failing(run_update(make_trainer(config))) == set()


def test_what_is_dropped_belongs_to_seed_and_update(
    make_trainer: MakeTrainer, run_update: RunUpdate, config: Config
) -> None:
    config = config.replace(dropout_on=True, estimator="remax")
    one, other = make_trainer(config), make_trainer(config)
    state = torch.get_rng_state()
    for _ in range(2):
        first = run_update(one)
        assert torch.equal(torch.get_rng_state(), state)
        assert_equal(first, run_update(other))
    assert not one.policy.training
    assert_equal(run_update(one, config.replace(dropout_on=False)), run_update(other, config.replace(dropout_on=False)))


def test_the_shipped_policy_shows_the_bug(policy: Policy, run_update: RunUpdate) -> None:
    update = run_update(Trainer(policy, Config(batch_size=8, epochs=1, dropout_on=True)))
    assert failing(update) == {"first_ratio", "first_kl"}
    assert update.checks["first_ratio"][1] > 0.05


def test_before_the_first_step_the_parts_say_who_moves_the_policy(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(Config(batch_size=8, response_length=4, epochs=1, vf_coef=0.0, learning_rate=1e-3))
    stages = trainer.stages()
    found = None
    for stage in stages:
        if stage.name == "advantage":
            assert stage.credit is not None
            found = trainer.gradient_parts(stage.rollout, stage.credit)
            before = {name: tensor.clone() for name, tensor in trainer.policy.state_dict().items()}
        if stage.name == "epoch":
            moved = sum(
                float((tensor - before[name]).abs().sum()) for name, tensor in trainer.policy.state_dict().items()
            )
            assert moved > 0  # asking has left the gradient of the step alone
    assert found is not None and stage.update is not None
    assert float(found.sum()) == pytest.approx(1.0, abs=1e-4)
    assert not found[~stage.rollout.response_mask].any()
    twin = make_trainer(trainer.config)
    assert [stage.name for stage in twin.stages()][-1] == "done"
    assert all(torch.equal(a, b) for a, b in zip(trainer.policy.parameters(), twin.policy.parameters(), strict=True))


@pytest.mark.parametrize("replay_rollouts", [1, 3])
def test_the_parts_are_those_of_the_step_itself_with_adapted_coefficients_and_replayed_rows(
    replay_rollouts: int, make_trainer: MakeTrainer, run_update: RunUpdate, config: Config
) -> None:
    """Row by row against the gradient that the optimiser's own step had, and those of steps over one row alone."""
    config = config.replace(
        epochs=1, kl_in="loss", kl_estimator="k2", kl_coef=1.0, kl_target=50.0, kl_horizon=8, ent_coef=0.01
    )
    config = config.replace(replay_rollouts=replay_rollouts, max_grad_norm=None)
    trainer = make_trainer(config)
    for _ in range(3):
        run_update(trainer)
    for stage in trainer.stages():
        if stage.name == "advantage":
            assert stage.credit is not None
            older = reuse(trainer.replay, replay_rollouts - 1)
            found = trainer.gradient_parts(stage.rollout, stage.credit, replayed=older)
            stale = trainer.gradient_parts(stage.rollout, stage.credit, config, replayed=older)
            fresh = Experience.of(stage.rollout, stage.credit, born=4, temperature=1.0)
            batch = join([fresh, *older], 4)
            earlier = copy.deepcopy(trainer.policy)
        if stage.name == "epoch":  # of one step
            taken = slope(trainer.policy)
    assert stage.update is not None
    in_force = stage.update.metrics["coef/kl"]
    assert in_force == pytest.approx(0.8**3)  # the KL is far below its target: a fifth less after each update
    assert found.shape == (8 * replay_rollouts, 6)
    weighed = config.replace(kl_coef=in_force)
    shares = batch.mask.sum(1) / batch.mask.sum()  # a mean over tokens: each row weighs as many as it has
    alone = torch.stack([step_over(earlier, batch, row, weighed) for row in range(batch.rows)]) * shares[:, None]
    torch.testing.assert_close(alone.sum(0), taken, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(found.sum(1), alone @ taken / (taken @ taken), rtol=1e-3, atol=1e-4)
    assert float(found.sum()) == pytest.approx(1.0, abs=1e-4)
    assert not found[~batch.mask].any()
    assert float((found - stale).abs().max()) > 1e-3  # the config's own coefficient would have been another's step


def slope(policy: Policy) -> Tensor:
    return torch.cat([weight.grad.flatten() for weight in policy.parameters() if weight.grad is not None])


def step_over(policy: Policy, batch: Batch, row: int, config: Config) -> Tensor:
    """The gradient of a step over one row alone, of a copy of the policy."""
    twin = copy.deepcopy(policy)
    still = config.replace(learning_rate=0.0, value_learning_rate=0.0)
    Optimiser(twin).epoch(batch, [torch.tensor([row])], still)
    return slope(twin)
