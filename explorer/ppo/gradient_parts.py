"""How much of the whole gradient each token made: exactly, where ``gradient_shares`` only compares sizes.

``gradient_shares`` says how hard each token pulls on its own log-probability. But two tokens may pull the weights in
opposite directions. The exact part of token t is ``<g_t, g> / |g|^2``: how much of the step along g is owed to it.
Parts sum to 1; a token that pulls against the batch has a negative one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from explorer.ppo.policy import Policy, TokenScores


def gradient_parts(policy: Policy, forward: Callable[[], TokenScores], loss: Callable[[TokenScores], Tensor]) -> Tensor:
    """Each token's part of the gradient of a loss with respect to all weights of the policy.

    The gradient of token t is that which flows through its own outputs, its log-probability, value and entropy:
    ``g_t = sum_o (dL / do_t) do_t / dtheta``, and the g_t of all tokens sum to g. All ``<g_t, g>`` come out of one
    backward pass and one more through it: ``g(u) = sum_t u_t g_t`` is linear in u, and so ``d <g(u), g> / du_t`` is
    the product wanted (Pearlmutter 1994, "Fast exact multiplication by the Hessian", the same trick).

    Args:
        policy: whose weights are meant. Its ``.grad`` fields are not touched.
        forward: scores all tokens under the policy, ``[rows, T]``.
        loss: what the optimiser goes down, a scalar, from those scores.

    Returns:
        ``[rows, T]``; sums to 1, 0 where a token has no part. All 0 where the whole gradient is 0.
    """
    weights = [weight for weight in policy.parameters() if weight.requires_grad]
    # The fused attention kernels have no second derivative.
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        outputs = _outputs(scores := forward())
        pulls = torch.autograd.grad(loss(scores), outputs, retain_graph=True, allow_unused=True)
        own = [pull * output for pull, output in zip(pulls, outputs, strict=True) if pull is not None]
        amounts = torch.ones_like(outputs[0], requires_grad=True)
        whole = torch.autograd.grad(torch.stack(own).sum(0), weights, amounts, create_graph=True, allow_unused=True)
        parts = [part for part in whole if part is not None]
        square = sum(float((part.detach() ** 2).sum()) for part in parts)
        if square == 0.0:
            return torch.zeros_like(amounts).detach()
        along = torch.stack([(part * part.detach()).sum() for part in parts]).sum()
        (products,) = torch.autograd.grad(along, amounts)
    return products / square


def _outputs(scores: TokenScores) -> list[Tensor]:
    return [output for output in (scores.logprobs, scores.values, scores.entropies) if output.requires_grad]
