"""Each token's exact part of the gradient, against gradients taken one token at a time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from explorer.config import Config
from explorer.ppo.gradient_parts import gradient_parts
from explorer.ppo.masked import masked_mean
from explorer.ppo.objectives import OBJECTIVES, value_terms
from explorer.ppo.policy import Policy, TokenScores

CONFIG = Config(batch_size=4, response_length=3)


@pytest.fixture
def scene(tiny_policy: Policy) -> tuple[Callable[[], TokenScores], Callable[[str], Callable[[TokenScores], Tensor]]]:
    """A batch of 3 responses under a policy, and a loss over it by the objective's name."""
    draw = torch.Generator().manual_seed(5)
    prompt = torch.randint(1, 20, (3, 4), generator=draw)
    response = torch.randint(1, 20, (3, 3), generator=draw)
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 1, 1]], dtype=torch.bool)
    with torch.no_grad():
        tiny_policy.value_head.weight.normal_(generator=draw)

    def forward() -> TokenScores:
        return tiny_policy.score_tokens(prompt, torch.ones_like(prompt, dtype=torch.bool), response, mask, 1.0)

    with torch.no_grad():
        # Old log-probabilities a little off, so that some tokens are outside the clip range.
        old = torch.where(mask, forward().logprobs + torch.randn(3, 3, generator=draw) * 0.3, 0.0)
    advantages = torch.where(mask, torch.randn(3, 3, generator=draw), 0.0)

    def loss_of(objective: str) -> Callable[[TokenScores], Tensor]:
        def loss(scores: TokenScores) -> Tensor:
            terms = OBJECTIVES[objective](scores.logprobs - old, advantages, CONFIG, mask)
            squares = value_terms(scores.values, torch.zeros(3, 3), advantages, None)
            bonus = masked_mean(scores.entropies, mask)
            return -masked_mean(terms, mask) + 0.05 * masked_mean(squares, mask) - 0.01 * bonus

        return loss

    return forward, loss_of


def one_by_one(policy: Policy, scores: TokenScores, loss: Callable[[TokenScores], Tensor]) -> Tensor:
    """The gradient of every token alone, ``[rows * T, weights]``: all other tokens' outputs are held fixed."""
    gradients = []
    for row in range(scores.logprobs.shape[0]):
        for t in range(scores.logprobs.shape[1]):
            alone = torch.zeros_like(scores.logprobs, dtype=torch.bool)
            alone[row, t] = True
            held = [torch.where(alone, part, part.detach()) for part in scores[:3]]
            parts = torch.autograd.grad(
                loss(TokenScores(*held, scores.all_logprobs)),
                list(policy.parameters()),
                retain_graph=True,
                allow_unused=True,
            )
            gradients.append(torch.cat([part.flatten() for part in parts if part is not None]))
    return torch.stack(gradients)


@pytest.mark.parametrize("objective", ["clip", "unclipped", "gspo"])
def test_parts_are_those_of_each_token_alone(tiny_policy: Policy, scene: tuple, objective: str) -> None:  # type: ignore[type-arg]
    forward, loss_of = scene
    found = gradient_parts(tiny_policy, forward, loss_of(objective))
    alone = one_by_one(tiny_policy, forward(), loss_of(objective))
    whole = alone.sum(0)
    expected = (alone @ whole / (whole @ whole)).reshape(3, 3)
    assert torch.allclose(found, expected, atol=1e-5)
    assert found.sum() == pytest.approx(1.0, abs=1e-4)
    assert found[1, 2] == 0.0  # padding
    assert (found < 0).any()  # somebody pulls against the batch, which a share of sizes cannot show


def test_the_whole_is_the_gradient_of_the_loss(tiny_policy: Policy, scene: tuple) -> None:  # type: ignore[type-arg]
    forward, loss_of = scene
    alone = one_by_one(tiny_policy, forward(), loss_of("clip")).sum(0)
    parts = torch.autograd.grad(loss_of("clip")(forward()), list(tiny_policy.parameters()), allow_unused=True)
    whole = torch.cat([part.flatten() for part in parts if part is not None])
    assert torch.allclose(alone, whole, atol=1e-6)


def test_it_leaves_the_policy_as_it_was(tiny_policy: Policy, scene: tuple) -> None:  # type: ignore[type-arg]
    forward, loss_of = scene
    before = {name: tensor.clone() for name, tensor in tiny_policy.state_dict().items()}
    gradient_parts(tiny_policy, forward, loss_of("clip"))
    assert all(weight.grad is None for weight in tiny_policy.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in tiny_policy.state_dict().items())


def test_without_a_gradient_nobody_has_a_part(tiny_policy: Policy, scene: tuple) -> None:  # type: ignore[type-arg]
    forward, _ = scene
    assert not gradient_parts(tiny_policy, forward, lambda scores: (scores.logprobs * 0.0).sum()).any()
