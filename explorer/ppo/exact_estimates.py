"""The estimators drawn around the truth: many small batches, one gradient estimate each, and where they fall.

A training run sees one batch and takes one step along its estimate. Here a batch is drawn thousands of times over, so
that an estimator's bias (where the middle of the cloud lies, against the exact gradient) and its variance (how wide the
cloud is) can be seen. Advantages come from ``ADVANTAGES`` and gradients from ``OBJECTIVES``, the functions that train.

An estimate sums over the tokens of a response and averages over the responses of the batch. It is not divided by the
length, so the mean of an unbiased one is ``exact_gradient``. The reward comes with the last token; there is no KL part.
Shapes: ``N`` batches, ``B`` responses in each, ``T`` tokens, ``D = R * V`` coordinates (all logits, flattened).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor

from explorer.config import GROUPED, Config
from explorer.ppo.advantages import ADVANTAGES, whitens
from explorer.ppo.exact import exact_gradient, exact_values, expected_reward, sequence_probabilities, token_logprobs
from explorer.ppo.exact_toy import LENGTH, Toy
from explorer.ppo.masked import whiten
from explorer.ppo.objectives import OBJECTIVES
from explorer.ppo.records import Array, Record

#: The most batches that ``expected_estimate`` goes through: the pairs of a vocabulary of 12 are 2,985,984.
MOST_BATCHES = 4_000_000

#: How many of them are held at a time.
CHUNK = 1 << 17


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimates(Record):
    """One estimator's gradient estimates, and how they lie around the exact gradient; in rewards per unit of logit.

    Attributes:
        name: the advantage estimator.
        samples: ``[N, D]`` one estimate a batch.
        exact: ``[D]`` the gradient of the expected reward.
        mean: ``[D]`` of the samples.
        bias: ``[D]`` mean minus exact, known to within a few standard errors.
        variance: ``[D]`` of one estimate, unbiased (divisor N - 1).
        standard_error: ``[D]`` of the mean, the root of variance / N.
    """

    name: str
    samples: Array
    exact: Array
    mean: Array
    bias: Array
    variance: Array
    standard_error: Array

    def __post_init__(self) -> None:
        self._check((self.samples.shape[1],), "exact", "mean", "bias", "variance", "standard_error")


def estimates(
    toy: Toy,
    config: Config,
    *,
    batches: int = 2000,
    seed: int = 0,
    logits: Tensor | None = None,
    values: Tensor | None = None,
) -> Estimates:
    """Draw batches from the old policy and estimate the gradient from each.

    Args:
        toy: what is learned.
        config: estimator, gamma, gae_lambda, group_size, whiten, batch_size (``B``), and objective with its ranges are
            read. For the plain policy gradient choose ``objective="policy_gradient"`` and ``whiten=False``. The toy's
            rewards are never whitened: ``whiten_rewards`` is not read.
        batches: ``N``. The samples take ``8 N D`` bytes: 300 MB for 20,000 batches of a vocabulary of 12.
        seed: the same seed draws the same responses, whatever the estimator.
        logits: ``[R, V]`` the policy whose gradient is taken, and whose expected reward is the truth; without it the
            old policy, as at the first step of an update.
        values: ``[R]`` what the critic says of each prefix; without it a perfect critic of the old policy.

    Raises:
        ValueError: fewer than 2 batches.
    """
    if batches < 2:
        raise ValueError(f"batches is {batches}, but a variance needs at least 2.")
    judged = toy.old_logits if logits is None else logits
    uniforms = torch.rand(batches, config.batch_size, generator=_generator(seed), dtype=torch.float64)
    cumulative = sequence_probabilities(toy, toy.old_logits).cumsum(dim=0)
    drawn = torch.searchsorted(cumulative, uniforms).clamp(max=len(cumulative) - 1)
    weights = _token_weights(toy, config, drawn, judged, values)
    samples = _summed(toy, drawn, weights / config.batch_size, judged)
    exact = exact_gradient(toy, judged).flatten()
    mean, variance = samples.mean(dim=0), samples.var(dim=0)
    return Estimates(
        name=config.estimator,
        samples=samples,
        exact=exact,
        mean=mean,
        bias=mean - exact,
        variance=variance,
        standard_error=(variance / batches).sqrt(),
    )


def expected_estimate(
    toy: Toy, config: Config, *, logits: Tensor | None = None, values: Tensor | None = None
) -> Tensor:
    """The middle of an estimator's cloud without sampling: its mean over all that could be drawn together.

    This minus ``exact_gradient`` is the bias, to the last digits. Drawn together are one response where the estimator
    looks at each by itself, a group where it compares a group, and the whole batch where it whitens.

    Args:
        toy: what is learned.
        config: as for ``estimates``.
        logits: as for ``estimates``.
        values: as for ``estimates``.

    Returns:
        ``[D]``.

    Raises:
        ValueError: more than 4 million batches can be drawn.
    """
    judged, probabilities = toy.old_logits if logits is None else logits, sequence_probabilities(toy, toy.old_logits)
    together = config.group_size if config.estimator in GROUPED else 1
    together = config.batch_size if whitens(config) else together
    if len(probabilities) ** together > MOST_BATCHES:
        raise ValueError(
            f"{len(probabilities):,} sentences, {together} drawn together, make more than {MOST_BATCHES:,} batches: "
            "choose a smaller group_size (or batch_size, where the batch is whitened) or a smaller vocabulary."
        )
    total = torch.zeros_like(judged).flatten()
    for drawn in _every_batch(len(probabilities), together):
        weights = _token_weights(toy, config, drawn, judged, values) * probabilities[drawn].prod(dim=1)[:, None, None]
        total += _summed(toy, drawn.view(1, -1), weights.view(1, -1, LENGTH), judged)[0] / together
    return total


def axes(toy: Toy, logits: Tensor | None = None) -> Tensor:
    """Two directions to draw a cloud along: ``samples @ axes.T`` is ``[N, 2]``. They depend on the toy alone.

    The first is the direction of the exact gradient, along which the expected reward grows. The second is, of those at
    right angles to it, the one along which a single response's estimate spreads most.

    Args:
        toy: what is learned.
        logits: as for ``estimates``.

    Returns:
        ``[2, D]``, each of length 1.

    Raises:
        ValueError: the exact gradient is zero, or nothing spreads at right angles to it.
    """
    judged = toy.old_logits if logits is None else logits
    along = _unit(exact_gradient(toy, judged).flatten())
    chances, likely = sequence_probabilities(toy, toy.old_logits), judged.softmax(dim=1)
    squares = chances * (toy.scores - expected_reward(toy, toy.old_logits)) ** 2
    everything = torch.arange(len(chances))[None]
    across = torch.randn(along.shape, generator=_generator(0), dtype=torch.float64)
    for _ in range(300):  # power iteration on E[(R - J)^2 score score^T], which is never written down
        across = (across - along * (along @ across)).view_as(judged)
        centred = across - (likely * across).sum(dim=1, keepdim=True)
        lengths = centred[toy.rows, toy.sequences].sum(dim=1)
        weights = (squares * lengths)[None, :, None].expand(-1, -1, LENGTH)
        across = _summed(toy, everything, weights, judged)[0]
        across = _unit(across - along * (along @ across))
    return torch.stack([along, across * across[across.abs().argmax()].sign()])


def spread(toy: Toy, directions: Tensor) -> Tensor:
    """How far one response's plainest estimate, ``R grad log pi``, spreads along some directions; by enumeration.

    A batch of ``B`` such responses spreads less by the root of ``B``.

    Args:
        toy: its old policy samples, and the gradient is taken there.
        directions: ``[K, D]``.

    Returns:
        ``[K]`` standard deviations, in rewards per unit of logit times the direction's length.
    """
    chances, likely = sequence_probabilities(toy, toy.old_logits), toy.old_logits.softmax(dim=1)
    tables = directions.view(-1, *likely.shape)
    centred = tables - (likely * tables).sum(dim=2, keepdim=True)
    estimate = toy.scores * centred[:, toy.rows, toy.sequences].sum(dim=2)
    mean = estimate @ chances
    return ((estimate - mean[:, None]) ** 2 @ chances).sqrt()


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _unit(direction: Tensor) -> Tensor:
    length = float(direction.norm())
    if length < 1e-12:
        raise ValueError("this toy's rewards leave no two directions to draw: give its sentences different rewards.")
    return direction / length


def _token_weights(toy: Toy, config: Config, drawn: Tensor, judged: Tensor, values: Tensor | None) -> Tensor:
    """What the objective multiplies each token's grad log pi with: ``[N, B, T]``, for sentences ``drawn [N, B]``.

    The batches are scored in one call, one below the other; whitening sees them one at a time.
    """
    batches, responses = drawn.shape
    flat = drawn.flatten()
    mask = torch.ones(len(flat), LENGTH, dtype=torch.bool)
    rewards = torch.zeros(len(flat), LENGTH, dtype=torch.float64)
    rewards[:, -1] = toy.scores[flat]
    critic = exact_values(toy, toy.old_logits) if values is None else values
    # A batch of whole groups, or single responses of which expected_estimate looks at one at a time.
    groups = torch.arange(len(flat)) // (config.group_size if responses % config.group_size == 0 else 1)
    advantages: Tensor = ADVANTAGES[config.estimator](
        rewards,
        critic[toy.rows[flat]],
        mask,
        gamma=config.gamma,
        gae_lambda=config.gae_lambda,
        groups=groups,
        greedy_scores=_greedy_score(toy).expand(len(flat)),
    )
    if whitens(config):
        each = (batches, responses, LENGTH)
        advantages = torch.vmap(whiten)(advantages.view(each), mask.view(each)).view_as(advantages)
    moved = token_logprobs(toy, judged) - token_logprobs(toy, toy.old_logits)
    log_ratios = moved.detach()[flat].requires_grad_(True)
    terms = OBJECTIVES[config.objective](log_ratios, advantages, config, mask)
    weights: Tensor = torch.autograd.grad(terms.sum(), log_ratios)[0]
    return weights.view(batches, responses, LENGTH)


def _summed(toy: Toy, drawn: Tensor, weights: Tensor, judged: Tensor) -> Tensor:
    """``sum of weight * grad log pi`` over responses and tokens: ``[N, D]`` from ``[N, B]`` and ``[N, B, T]``.

    The gradient of a word's log-probability is 1 at its own logit minus the row's probabilities.
    """
    batches, size = len(drawn), judged.numel()
    cells = toy.rows[drawn] * len(toy.words) + toy.sequences[drawn]
    cells += size * torch.arange(batches)[:, None, None]
    table = torch.zeros(batches * size, dtype=torch.float64)
    table = table.index_add_(0, cells.flatten(), weights.flatten()).view(batches, *judged.shape)
    table -= table.sum(dim=2, keepdim=True) * judged.softmax(dim=1)
    return table.view(batches, size)


def _greedy_score(toy: Toy) -> Tensor:
    """The reward of the sentence that always takes the old policy's likeliest next word: a scalar."""
    row, words = 0, []
    for _ in range(LENGTH):
        words.append(int(toy.old_logits[row].argmax()))
        row = 1 + row * len(toy.words) + words[-1]
    return toy.rewards[tuple(words)]


def _every_batch(sentences: int, together: int) -> Iterator[Tensor]:
    """Every ordered choice of ``together`` sentences, ``[at most CHUNK, together]`` at a time."""
    places = sentences ** torch.arange(together)
    for start in range(0, sentences**together, CHUNK):
        numbers = torch.arange(start, min(start + CHUNK, sentences**together))
        yield numbers[:, None] // places % sentences
