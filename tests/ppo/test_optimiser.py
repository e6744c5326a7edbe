"""The optimiser: which weights move and which way, the clipped gradient, and that a step can be taken back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import pad

from explorer.config import Config
from explorer.ppo import optimiser as optimiser_module
from explorer.ppo.credit import assign_credit
from explorer.ppo.losses import Losses
from explorer.ppo.objectives import OBJECTIVES
from explorer.ppo.optimiser import Optimiser, record_epoch
from explorer.ppo.policy import Policy, TokenScores
from explorer.ppo.replay import Batch, Experience, join
from explorer.ppo.trainer import Trainer

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer

CONFIG = Config(learning_rate=1e-2, value_learning_rate=1e-2, max_grad_norm=None)
ALL = [torch.arange(8)]


@pytest.fixture
def trainer(make_trainer: MakeTrainer) -> Trainer:
    return make_trainer()


@pytest.fixture
def batch(trainer: Trainer) -> Batch:
    """Eight fresh responses of different lengths, scored at random."""
    rollout, _ = trainer.sample(trainer.config, 1)
    scores = torch.randn(8, generator=torch.Generator().manual_seed(5))
    credit = assign_credit(trainer.config, rollout, {"a": scores}, scores)
    assert not rollout.response_mask.all()  # padding is exercised
    return join([Experience.of(rollout, credit, born=1, temperature=1.0)], update=1)


def weights(policy: Policy) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in policy.state_dict().items()}


def moved(before: dict[str, Tensor], policy: Policy) -> set[str]:
    """Which part has moved: ``lm``, ``value_head``, both or none."""
    return {name.split(".")[0] for name, tensor in policy.state_dict().items() if not torch.equal(tensor, before[name])}


def gradient(policy: Policy) -> Tensor:
    return torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None])


def mean_logprobs(optimiser: Optimiser, batch: Batch, config: Config = CONFIG) -> float:
    return optimiser.final(batch, config).new_logprobs[batch.mask].mean().item()


@pytest.mark.parametrize(
    ("rates", "expected"),
    [((0.0, 0.0), set()), ((1e-3, 0.0), {"lm"}), ((0.0, 1e-3), {"value_head"}), ((1e-3, 1e-3), {"lm", "value_head"})],
)
def test_each_part_has_its_own_learning_rate(
    trainer: Trainer, batch: Batch, rates: tuple[float, float], expected: set[str]
) -> None:
    before = weights(trainer.policy)
    config = CONFIG.replace(learning_rate=rates[0], value_learning_rate=rates[1])
    trainer.optimiser.epoch(batch, ALL, config)
    assert moved(before, trainer.policy) == expected


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("kl_in", ["reward", "loss"])
def test_the_loss_teaches_the_policy_alone(trainer: Trainer, batch: Batch, objective: str, kl_in: str) -> None:
    # As if whoever made advantages, returns, old values and log-probabilities could still be taught.
    taught = Batch(*(t.clone().requires_grad_(True) if t.is_floating_point() else t for t in batch))
    assert sum(tensor.requires_grad for tensor in taught) == 5
    trainer.optimiser.epoch(taught, ALL, CONFIG.replace(objective=objective, kl_in=kl_in, value_clip_range=0.2))
    assert gradient(trainer.policy).abs().sum() > 0
    assert all(tensor.grad is None for tensor in taught)


def test_with_nothing_to_learn_nothing_moves(trainer: Trainer, batch: Batch) -> None:
    before = weights(trainer.policy)
    idle = batch._replace(advantages=torch.zeros_like(batch.advantages))
    trainer.optimiser.epoch(idle, ALL, CONFIG.replace(vf_coef=0.0))
    assert moved(before, trainer.policy) == set()  # so there is no weight decay either


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_advantage_pulls_its_tokens_its_own_way(trainer: Trainer, batch: Batch, sign: float) -> None:
    start = mean_logprobs(trainer.optimiser, batch)
    pulled = batch._replace(advantages=torch.where(batch.mask, sign, 0.0))
    trainer.optimiser.epoch(pulled, ALL, CONFIG.replace(vf_coef=0.0, learning_rate=1e-3))
    assert sign * (mean_logprobs(trainer.optimiser, batch) - start) > 0.01


def test_the_entropy_bonus_raises_the_entropy(trainer: Trainer, batch: Batch) -> None:
    idle = batch._replace(advantages=torch.zeros_like(batch.advantages))
    start = trainer.optimiser.final(batch, CONFIG).entropy
    trainer.optimiser.epoch(idle, ALL, CONFIG.replace(vf_coef=0.0, ent_coef=1.0, learning_rate=1e-3))
    assert trainer.optimiser.final(batch, CONFIG).entropy > start + 0.01


def test_the_value_head_comes_closer_to_the_returns(trainer: Trainer, batch: Batch) -> None:
    idle = batch._replace(advantages=torch.zeros_like(batch.advantages), returns=torch.where(batch.mask, 1.0, 0.0))
    losses = [trainer.optimiser.epoch(idle, ALL, CONFIG.replace(vf_coef=1.0)).value_loss for _ in range(20)]
    assert losses[0] == pytest.approx(0.5)  # a fresh head says 0 where the return is 1
    assert losses[-1] < 0.1


def test_without_a_value_coefficient_the_head_stays_at_zero(trainer: Trainer, batch: Batch) -> None:
    trainer.optimiser.epoch(batch, ALL, CONFIG.replace(vf_coef=0.0))
    assert all((p == 0).all() for p in trainer.policy.value_head.parameters())


def test_the_gradients_norm_is_recorded_before_it_is_clipped(trainer: Trainer, batch: Batch) -> None:
    still = CONFIG.replace(learning_rate=0.0, value_learning_rate=0.0)
    free = trainer.optimiser.epoch(batch, ALL, still)
    whole = gradient(trainer.policy)
    assert free.grad_norm == pytest.approx(whole.norm().item(), rel=1e-5)
    assert free.grad_scale == 1.0

    limit = free.grad_norm / 4
    held = trainer.optimiser.epoch(batch, ALL, still.replace(max_grad_norm=limit))
    clipped = gradient(trainer.policy)
    assert held.grad_norm == pytest.approx(free.grad_norm, rel=1e-5)
    assert held.grad_scale == pytest.approx(0.25, rel=1e-4)
    assert clipped.norm().item() == pytest.approx(limit, rel=1e-4)
    torch.testing.assert_close(clipped, whole / 4, rtol=1e-3, atol=1e-6)  # the same direction

    assert trainer.optimiser.clipped == 1
    roomy = trainer.optimiser.epoch(batch, ALL, still.replace(max_grad_norm=free.grad_norm * 4))
    assert roomy.grad_scale == 1.0
    torch.testing.assert_close(gradient(trainer.policy), whole)


def test_over_several_minibatches_the_largest_norm_and_the_smallest_scale_are_kept(
    trainer: Trainer, batch: Batch
) -> None:
    still = CONFIG.replace(learning_rate=0.0, value_learning_rate=0.0, max_grad_norm=0.5)
    parts: Sequence[Tensor] = torch.arange(8).split(2)
    alone = [trainer.optimiser.epoch(batch, [part], still) for part in parts]
    together = trainer.optimiser.epoch(batch, parts, still)
    assert together.grad_norm == pytest.approx(max(e.grad_norm for e in alone), rel=1e-5)
    assert together.grad_scale == pytest.approx(min(e.grad_scale for e in alone), rel=1e-5)
    assert len({e.grad_norm for e in alone}) == 4


def test_the_steps_that_were_shortened_are_counted(trainer: Trainer, batch: Batch) -> None:
    still = CONFIG.replace(learning_rate=0.0, value_learning_rate=0.0)
    parts: Sequence[Tensor] = torch.arange(8).split(2)
    norms = sorted(trainer.optimiser.epoch(batch, [part], still).grad_norm for part in parts)
    assert trainer.optimiser.clipped == 0
    for limit, count in ((norms[0] / 2, 4), ((norms[1] + norms[2]) / 2, 2), (norms[3] * 2, 0)):
        before = trainer.optimiser.clipped
        trainer.optimiser.epoch(batch, parts, still.replace(max_grad_norm=limit))
        assert trainer.optimiser.clipped - before == count


# --- Adam's own settings ---


def adam_step(optimiser: Optimiser, slope: float) -> float:
    """How far one step takes every weight of the head against a gradient of ``slope``, in learning rates."""
    head = optimiser.policy.value_head.weight
    before = head.detach().clone()
    optimiser.adam.zero_grad()
    head.grad = torch.full_like(head, slope)
    optimiser.adam.param_groups[1]["lr"] = 1e-2
    optimiser.adam.step()
    distances = (before - head.detach()) / 1e-2
    assert distances.std() < 1e-4
    return float(distances.mean())


def test_a_gradient_as_small_as_adams_epsilon_makes_half_a_step(trainer: Trainer) -> None:
    # The first step is lr g / (|g| + eps), since both moments are corrected to g: 1e-5 in OpenAI's code of 2019.
    assert adam_step(trainer.optimiser, 1e-5) == pytest.approx(0.5, abs=1e-4)
    assert adam_step(Optimiser(trainer.policy), -3e-5) == pytest.approx(-0.75, abs=1e-4)
    assert adam_step(Optimiser(trainer.policy), 1.0) == pytest.approx(1.0, abs=1e-4)


def test_adam_remembers_nine_tenths_of_the_slope_and_999_thousandths_of_its_square(trainer: Trainer) -> None:
    # After a gradient of 1 and one of 0 the corrected moments are 0.09 / 0.19 and 0.000999 / 0.001999.
    adam_step(trainer.optimiser, 1.0)
    assert adam_step(trainer.optimiser, 0.0) == pytest.approx(0.473684 / 0.706930, abs=1e-4)


def test_a_weight_without_a_slope_does_not_decay(trainer: Trainer) -> None:
    head = trainer.policy.value_head.weight
    torch.nn.init.constant_(head, 2.0)
    assert adam_step(trainer.optimiser, 0.0) == 0.0


def test_the_record_is_in_row_order_however_the_minibatches_are_drawn(trainer: Trainer, batch: Batch) -> None:
    still = CONFIG.replace(learning_rate=0.0, value_learning_rate=0.0)
    plain = trainer.optimiser.epoch(batch, ALL, still)
    shuffled = trainer.optimiser.epoch(batch, torch.tensor([5, 2, 7, 0, 1, 6, 3, 4]).split(3), still)
    for name in ("new_logprobs", "ratios", "values", "entropies", "policy_terms"):
        torch.testing.assert_close(getattr(shuffled, name), getattr(plain, name), rtol=0, atol=1e-5, msg=name)


def test_each_minibatch_is_seen_before_its_own_step_and_after_the_earlier_ones(trainer: Trainer, batch: Batch) -> None:
    epoch = trainer.optimiser.epoch(batch, torch.arange(8).split(4), CONFIG)
    first, second = (epoch.ratios[rows][batch.mask[rows]] for rows in (slice(0, 4), slice(4, 8)))
    assert (first - 1).abs().max() < 1e-5
    assert (second - 1).abs().max() > 1e-3


def test_a_step_can_be_taken_back_and_made_again(trainer: Trainer, batch: Batch) -> None:
    optimiser = trainer.optimiser
    optimiser.epoch(batch, ALL, CONFIG)  # so that Adam has moments to restore
    state, before = optimiser.state(), weights(trainer.policy)
    first = optimiser.epoch(batch, ALL, CONFIG)
    after = weights(trainer.policy)
    for _ in range(2):
        optimiser.restore(state)
        assert moved(before, trainer.policy) == set()
        again = optimiser.epoch(batch, ALL, CONFIG)
        assert torch.equal(again.new_logprobs, first.new_logprobs)
        assert moved(after, trainer.policy) == set()


def test_a_fresh_state_has_no_moments(trainer: Trainer, batch: Batch) -> None:
    state = trainer.optimiser.state()
    trainer.optimiser.epoch(batch, ALL, CONFIG)
    after = weights(trainer.policy)
    trainer.optimiser.restore(state)
    trainer.optimiser.epoch(batch, ALL, CONFIG)
    assert moved(after, trainer.policy) == set()


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_before_the_step(
    trainer: Trainer, batch: Batch, broken: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = weights(trainer.policy)
    monkeypatch.setitem(OBJECTIVES, "clip", lambda log_ratios, *_: log_ratios * broken)
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        trainer.optimiser.epoch(batch, ALL, CONFIG)
    assert moved(before, trainer.policy) == set()


def test_rewards_that_are_too_large_are_blamed_where_they_are(trainer: Trainer, batch: Batch) -> None:
    before, huge = weights(trainer.policy), batch._replace(returns=batch.returns * 1e25)
    with pytest.raises(FloatingPointError, match=r"rewards add up to \de\+2\d, so scale them to about -1 to 1"):
        trainer.optimiser.epoch(huge, ALL, CONFIG)
    assert moved(before, trainer.policy) == set()


def test_final_looks_and_does_not_touch(trainer: Trainer, batch: Batch) -> None:
    trainer.optimiser.epoch(batch, ALL, CONFIG)
    before, slope = weights(trainer.policy), gradient(trainer.policy)
    final = trainer.optimiser.final(batch, CONFIG)
    assert moved(before, trainer.policy) == set()
    assert torch.equal(gradient(trainer.policy), slope)
    assert math.isnan(final.grad_norm)
    assert math.isnan(final.grad_scale)
    assert not final.new_logprobs.requires_grad
    assert (final.ratios[batch.mask] - 1).abs().max() > 1e-3


def test_outside_the_mask_every_array_is_exactly_zero(trainer: Trainer, batch: Batch) -> None:
    trainer.optimiser.epoch(batch, ALL, CONFIG)
    final = trainer.optimiser.final(batch, CONFIG)
    for name in (
        *("new_logprobs", "ratios", "outside_range", "zero_gradient", "gradient_shares"),
        *("values", "entropies", "advantages", "policy_terms"),
    ):
        assert (getattr(final, name)[~batch.mask] == 0).all(), name


# --- aggregation, the KL in the loss, and the critic ---


def loss_gradient(trainer: Trainer, batch: Batch, config: Config, parts: Sequence[Tensor]) -> Tensor:
    """The gradients that the parts of a batch have, each alone, added up."""
    still = config.replace(learning_rate=0.0, value_learning_rate=0.0, max_grad_norm=None)
    total = torch.zeros(())
    for part in parts:
        trainer.optimiser.epoch(batch, [part], still)
        total = total + gradient(trainer.policy)
    return total


#: What may be in the loss beside the objective, each large enough to be seen on its own.
LOSSES = {
    "objective": {"vf_coef": 0.0},
    "value": {"vf_coef": 1.0},
    "value, clipped": {"vf_coef": 1.0, "value_clip_range": 0.01},
    "entropy": {"vf_coef": 0.0, "ent_coef": 1.0},
    "KL": {"vf_coef": 0.0, "kl_in": "loss", "kl_coef": 1.0, "kl_estimator": "k2"},
    "all": {"vf_coef": 1.0, "ent_coef": 1.0, "kl_in": "loss", "kl_coef": 1.0, "kl_estimator": "k2"},
}


@pytest.fixture
def moved_trainer(trainer: Trainer, batch: Batch) -> Trainer:
    """A step away from where the batch was sampled, with a head that is not 0: every part of the loss has a pull."""
    torch.nn.init.normal_(trainer.policy.value_head.weight, generator=torch.Generator().manual_seed(6))
    trainer.optimiser.epoch(batch, ALL, CONFIG)
    return trainer


@pytest.mark.parametrize("critic", ["shared", "separate"])
@pytest.mark.parametrize("parts", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("how", ["token_mean", "sequence_mean", "fixed_length"])
def test_eight_parts_of_one_row_pull_as_one_part_of_eight(
    moved_trainer: Trainer, batch: Batch, how: str, parts: dict[str, Any], critic: str
) -> None:
    moved_trainer.policy.use_critic(critic)
    moved_trainer.optimiser = Optimiser(moved_trainer.policy)
    config = CONFIG.replace(aggregation=how, **parts)
    whole = loss_gradient(moved_trainer, batch, config, ALL)
    lengths = batch.mask.sum(1)
    # A mean over tokens weighs its parts by their tokens, the others all alike.
    shares = lengths / lengths.sum() if how == "token_mean" else torch.full((8,), 1 / 8)
    rows = [loss_gradient(moved_trainer, batch, config, [torch.tensor([row])]) for row in range(8)]
    together = sum(row * share for row, share in zip(rows, shares, strict=True))
    torch.testing.assert_close(together, whole, rtol=1e-4, atol=1e-5 * float(whole.abs().max()))
    assert whole.norm() > 1e-3
    # What is in the loss is felt, and the other weights would not have done.
    plain = loss_gradient(moved_trainer, batch, config.replace(vf_coef=0.0, ent_coef=0.0, kl_in="reward"), ALL)
    assert torch.equal(plain, whole) == (parts == LOSSES["objective"])
    others = torch.full((8,), 1 / 8) if how == "token_mean" else lengths / lengths.sum()
    assert not torch.allclose(sum(row * share for row, share in zip(rows, others, strict=True)), whole, rtol=1e-2)


def shuffled_and_padded(batch: Batch, order: Tensor) -> Batch:
    """The same responses in another order, with three columns more on the left and two on the right.

    What is recorded outside the mask is no number of anyone's, and so may be any.
    """
    rows = batch.take(order)
    prompts = {name: pad(getattr(rows, name), (3, 0)) for name in ("prompt_ids", "prompt_mask")}
    tokens = {name: pad(getattr(rows, name), (0, 2)) for name in ("response_ids", "mask")}
    numbers = {
        name: torch.where(tokens["mask"], pad(getattr(rows, name), (0, 2)), 3.0)
        for name in ("old_logprobs", "ref_logprobs", "old_values", "advantages", "returns")
    }
    return rows._replace(**prompts, **tokens, **numbers)


@pytest.mark.parametrize("critic", ["shared", "separate"])
@pytest.mark.parametrize(
    "settings",
    [
        {"aggregation": "token_mean"},
        {"aggregation": "sequence_mean"},
        {"aggregation": "fixed_length"},
        {"objective": "gspo", "aggregation": "sequence_mean"},
    ],
    ids=lambda settings: "-".join(settings.values()),
)
def test_neither_the_order_of_the_rows_nor_padding_changes_a_steps_gradient(
    moved_trainer: Trainer, batch: Batch, settings: dict[str, Any], critic: str
) -> None:
    moved_trainer.policy.use_critic(critic)
    moved_trainer.optimiser = Optimiser(moved_trainer.policy)
    config = CONFIG.replace(**settings, **LOSSES["all"])
    other = shuffled_and_padded(batch, torch.tensor([5, 2, 7, 0, 3, 6, 1, 4]))
    assert other.prompt_ids.shape[1] == batch.prompt_ids.shape[1] + 3
    assert other.mask.shape[1] == batch.mask.shape[1] + 2
    whole = loss_gradient(moved_trainer, batch, config, ALL)
    found = loss_gradient(moved_trainer, other, config, ALL)
    assert whole.norm() > 1e-3
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-5 * float(whole.abs().max()))
    # A row that is there twice in another's place would have been seen.
    wrong = loss_gradient(moved_trainer, batch.take(torch.tensor([0, 0, 2, 3, 4, 5, 6, 7])), config, ALL)
    assert float((wrong - whole).abs().max()) > 1e-3 * float(whole.abs().max())


@pytest.mark.parametrize("how", ["token_mean", "sequence_mean", "fixed_length"])
def test_the_policy_loss_and_the_shares_follow_the_aggregation(trainer: Trainer, batch: Batch, how: str) -> None:
    trainer.optimiser.epoch(batch, ALL, CONFIG)
    final = trainer.optimiser.final(batch, CONFIG.replace(aggregation=how, response_length=6, objective="unclipped"))
    mask, terms = batch.mask.numpy(), final.policy_terms.numpy()
    lengths = mask.sum(1)
    by_row = [terms[row][mask[row]].sum() for row in range(8)]
    expected = {
        "token_mean": sum(by_row) / mask.sum(),
        "sequence_mean": sum(total / n for total, n in zip(by_row, lengths, strict=True)) / 8,
        "fixed_length": sum(by_row) / (8 * 6),
    }[how]
    assert final.policy_loss == pytest.approx(-expected, abs=1e-6)
    # Unclipped, a token's pull is its term itself; in a mean over responses those of a long one count less.
    pulls = abs(terms) / (lengths[:, None] if how == "sequence_mean" else 1)
    assert final.gradient_shares.numpy()[mask].tolist() == pytest.approx((pulls / pulls.sum())[mask].tolist(), rel=1e-4)


@pytest.mark.parametrize("how", ["token_mean", "sequence_mean", "fixed_length"])
@pytest.mark.parametrize("parts", [torch.arange(8).split(3), torch.tensor([6, 1, 4, 0, 3, 7, 2, 5]).split(1)])
def test_the_shares_are_those_of_the_gradients_that_the_steps_had(
    trainer: Trainer, batch: Batch, parts: tuple[Tensor, ...], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read from the steps' own backward passes, while the policy moves; the minibatches differ in rows and tokens."""
    assert len({int(batch.mask[rows].sum()) for rows in parts}) > 1
    forward, weigh = trainer.policy.score_tokens, optimiser_module.losses
    seen: list[Tensor] = []
    lost: list[float] = []

    def watched(*arguments: Any, **options: Any) -> TokenScores:
        scores = forward(*arguments, **options)
        scores.logprobs.retain_grad()
        seen.append(scores.logprobs)
        return scores

    def noted(*arguments: Any) -> Losses:
        lost.append(float((found := weigh(*arguments)).policy.detach()))
        return found

    monkeypatch.setattr(trainer.policy, "score_tokens", watched)
    monkeypatch.setattr(optimiser_module, "losses", noted)
    config = CONFIG.replace(aggregation=how, response_length=6, kl_in="loss", kl_coef=0.1, kl_estimator="k2")
    epoch = trainer.optimiser.epoch(batch, parts, config)
    pulls = torch.zeros_like(epoch.ratios)
    for rows, logprobs in zip(parts, seen, strict=True):
        assert logprobs.grad is not None
        pulls[rows] = logprobs.grad.abs()
    torch.testing.assert_close(epoch.gradient_shares, pulls / pulls.sum(), rtol=1e-4, atol=1e-7)
    assert epoch.policy_loss == pytest.approx(sum(lost) / len(parts), abs=1e-6)
    # As one batch they would be others, but where every token counts alike and the parts are of one size.
    whole = record_epoch(
        batch, epoch.new_logprobs, epoch.values, epoch.entropies, config, grad_norm=1.0, grad_scale=1.0
    )
    alike = torch.allclose(whole.gradient_shares, epoch.gradient_shares, rtol=0.02)
    assert alike == (how != "token_mean" and len(parts) == 8)


def test_the_kl_in_the_loss_draws_the_policy_back(trainer: Trainer, batch: Batch) -> None:
    """With nothing else to gain, k2 in the loss takes the policy towards the reference, and no reward is needed."""
    for _ in range(3):
        trainer.optimiser.epoch(batch, ALL, CONFIG.replace(learning_rate=3e-3, vf_coef=0.0))
    idle = batch._replace(advantages=torch.zeros_like(batch.advantages))
    config = CONFIG.replace(kl_in="loss", kl_coef=1.0, kl_estimator="k2", vf_coef=0.0, learning_rate=1e-3)
    sizes = [float((trainer.optimiser.epoch(idle, ALL, config).ref_log_ratios ** 2).sum()) for _ in range(12)]
    assert sizes[-1] < sizes[0] / 4
    before = weights(trainer.policy)
    free = trainer.optimiser.epoch(idle, ALL, config.replace(kl_in="reward", learning_rate=0.0))
    assert free.policy_loss == 0.0
    assert moved(before, trainer.policy) == set()


def test_the_record_says_what_the_kl_in_the_loss_costs(trainer: Trainer, batch: Batch) -> None:
    trainer.optimiser.epoch(batch, ALL, CONFIG)
    outside, inside = (
        trainer.optimiser.final(batch, CONFIG.replace(kl_in=place, kl_coef=0.5, kl_estimator="k2"))
        for place in ("reward", "loss")
    )
    log_ratios = inside.new_logprobs - batch.ref_logprobs
    torch.testing.assert_close(inside.ref_log_ratios, log_ratios)
    torch.testing.assert_close(outside.policy_terms - inside.policy_terms, log_ratios**2 / 4, atol=1e-6, rtol=1e-4)
    # A token that the clip has frozen is pulled by its KL again: autograd says so, not the clip's rule.
    assert outside.zero_gradient.any()
    assert not inside.zero_gradient.any()
    assert bool((inside.gradient_shares[outside.zero_gradient] > 0).all())


def test_a_separate_critic_learns_without_the_policy_and_the_policy_without_it(trainer: Trainer, batch: Batch) -> None:
    trainer.policy.use_critic("separate")
    optimiser = Optimiser(trainer.policy)
    before = weights(trainer.policy)
    # The first step moves the head, which was 0, and only then the trunk under it.
    idle = batch._replace(advantages=torch.zeros_like(batch.advantages))
    for _ in range(2):
        epoch = optimiser.epoch(idle, ALL, CONFIG.replace(vf_coef=1.0))
    assert moved(before, trainer.policy) == {"value_head", "critic"}
    assert (epoch.ratios[batch.mask] - 1).abs().max() < 1e-5
    before = weights(trainer.policy)
    Optimiser(trainer.policy).epoch(batch, ALL, CONFIG.replace(vf_coef=0.0))
    assert moved(before, trainer.policy) == {"lm"}


@pytest.mark.parametrize("critic", ["shared", "separate"])
def test_a_frozen_critic_does_not_move_and_has_no_pull(trainer: Trainer, batch: Batch, critic: str) -> None:
    torch.nn.init.normal_(trainer.policy.value_head.weight)  # so that its error would reach the trunk
    trainer.policy.use_critic(critic)
    optimiser, before = Optimiser(trainer.policy), weights(trainer.policy)
    config = CONFIG.replace(freeze_critic=True, vf_coef=5.0)
    idle = batch._replace(advantages=torch.zeros_like(batch.advantages))
    for _ in range(2):
        epoch = optimiser.epoch(idle, ALL, config)
    assert moved(before, trainer.policy) == set()
    assert epoch.value_loss > 0  # it is measured all the same
    optimiser.epoch(batch, ALL, config)
    assert moved(before, trainer.policy) == {"lm"}


def test_a_step_with_a_separate_critic_can_be_taken_back(trainer: Trainer, batch: Batch) -> None:
    trainer.policy.use_critic("separate")
    optimiser = Optimiser(trainer.policy)
    optimiser.epoch(batch, ALL, CONFIG)
    state, before = optimiser.state(), weights(trainer.policy)
    assert any(name.startswith("critic.") for name in state["weights"])
    first = optimiser.epoch(batch, ALL, CONFIG)
    after = weights(trainer.policy)
    optimiser.restore(state)
    assert moved(before, trainer.policy) == set()
    again = optimiser.epoch(batch, ALL, CONFIG)
    assert torch.equal(again.values, first.values)
    assert moved(after, trainer.policy) == set()


def test_scalars_are_means_over_the_tokens_that_count(trainer: Trainer, batch: Batch) -> None:
    trainer.optimiser.epoch(batch, ALL, CONFIG)
    final, mask = trainer.optimiser.final(batch, CONFIG), batch.mask.numpy()
    count = mask.sum()
    assert final.policy_loss == pytest.approx(-final.policy_terms.numpy()[mask].mean(), abs=1e-6)
    assert final.entropy == pytest.approx(final.entropies.numpy()[mask].mean(), rel=1e-5)
    assert final.clipfrac == pytest.approx(final.zero_gradient.numpy()[mask].sum() / count)
    errors = final.values.numpy()[mask] - batch.returns.numpy()[mask]
    assert final.value_loss == pytest.approx((errors**2).sum() / count / 2, rel=1e-5)
    steps = final.new_logprobs.numpy()[mask] - batch.old_logprobs.numpy()[mask]
    assert final.approx_kl == pytest.approx((steps**2).sum() / count / 2, rel=1e-4)
