"""The exact toy as a picture: what dragging one probability does, and the estimators drawn around the true gradient.

Pure functions of a toy and what is chosen. Everything comes out of ``explorer.ppo.exact`` and ``exact_estimates``, and
whether a word is held back by the clip out of the objective itself. PyTorch is imported when a picture is asked for.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from explorer.config import CHOICES, Config

if TYPE_CHECKING:
    from torch import Tensor

    from explorer.ppo.exact_toy import Toy

#: How many batches a cloud shows, each one estimate.
BATCHES = 1000

#: Responses in a batch, to choose from: whole groups of ``GROUP``.
BATCH_SIZES = (4, 8, 16, 32)
GROUP = 4

#: What the critic says of each prefix: the true expected reward, or 0 as before any training.
CRITICS = ("perfect", "none")

#: The window reaches so many standard deviations of the plainest estimator's smallest batch to every side.
REACH = 4.0


@dataclasses.dataclass(frozen=True)
class Choices:
    """What is chosen in the panel.

    Attributes:
        probability: what the new policy gives the toy's dragged word; None leaves the toy as it is.
        estimator: of ``ADVANTAGES``.
        batch_size: responses in a batch, of ``BATCH_SIZES``.
        critic: of ``CRITICS``.
        whiten: whether each batch's advantages are whitened.

    Raises:
        ValueError: a choice that there is not, or a probability that is no number.
    """

    probability: float | None = None
    estimator: str = "gae"
    batch_size: int = 8
    critic: str = "perfect"
    whiten: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.probability, bool) or not isinstance(self.probability, (int, float, type(None))):
            raise ValueError(f"the probability is '{self.probability}', but must be a number between 0 and 1.")
        for name, able in (("estimator", CHOICES["estimator"]), ("batch_size", BATCH_SIZES), ("critic", CRITICS)):
            if getattr(self, name) not in able:
                raise ValueError(f"{name} is '{getattr(self, name)}', but must be one of {', '.join(map(str, able))}.")


def drag_picture(toy: Toy, config: Config, probability: float | None = None) -> dict[str, Any]:
    """What changes when the first word that can follow the toy's prefix gets another probability.

    Args:
        toy: its old policy samples; its new one is dragged.
        config: objective and clip range are read.
        probability: of that word under the new policy; None leaves the toy's own.

    Returns:
        ``prefix`` and ``share``, how often a sentence of the old policy begins with it; ``words``, each with ``old``,
        ``new``, ``ratio``, ``reward`` (what a sentence that goes on with it earns on average), ``advantage``, and
        whether it is ``held`` back, that is gets no gradient, where its advantage is ``[positive, negative]``;
        ``clip``, ``objective``; ``expected_reward`` ``[old, new]`` and ``kl``, old to new, in nats.

    Raises:
        ValueError: the probability is not between 0 and 1.
    """
    import torch

    from explorer.ppo import exact
    from explorer.ppo.objectives import judge_tokens

    dragged = next(iter(toy.next_words(toy.new_logits)))
    if probability is not None:
        toy = toy.drag(dragged, probability)
    old, new, ratios = toy.next_words(toy.old_logits), toy.next_words(toy.new_logits), toy.ratios()
    log_ratios = torch.tensor([[ratio] * 2 for ratio in ratios.values()], dtype=torch.float64).log().view(-1, 1)
    signs = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(len(ratios))[:, None]
    held = judge_tokens(log_ratios, signs, torch.ones_like(signs, dtype=torch.bool), config).zero_gradient
    before = toy.prefix.split()
    chances = exact.sequence_probabilities(toy, toy.old_logits)
    numbers = torch.tensor([toy.words.index(word) for word in before])
    begins = (toy.sequences[:, : len(before)] == numbers).all(dim=1)
    share = chances[begins].sum()
    expected = float((chances * toy.scores)[begins].sum() / share)
    words = []
    for word, both in zip(ratios, held.view(-1, 2).tolist(), strict=True):
        goes_on = begins & (toy.sequences[:, len(before)] == toy.words.index(word))
        reward = float((chances * toy.scores)[goes_on].sum() / chances[goes_on].sum())
        words.append(
            {
                "word": word,
                "old": old[word],
                "new": new[word],
                "ratio": ratios[word],
                "reward": reward,
                "advantage": reward - expected,
                "held": both,
            }
        )
    return {
        "prefix": toy.prefix,
        "share": float(share),
        "words": words,
        "clip": list(config.clip_band),
        "objective": config.objective,
        "expected_reward": [float(exact.expected_reward(toy, logits)) for logits in (toy.old_logits, toy.new_logits)],
        "kl": float(exact.exact_kl(toy, toy.old_logits, toy.new_logits)),
    }


def cloud_picture(
    toy: Toy, config: Config, choices: Choices, *, batches: int = BATCHES, seed: int = 0
) -> dict[str, Any]:
    """The gradient estimates of many batches around the exact gradient, seen along the toy's two axes.

    Args:
        toy: its old policy samples, and the gradient is taken there, as at the first step of an update.
        config: gamma and gae_lambda are read.
        choices: the estimator and its batch.
        batches: how many estimates.
        seed: the same seed draws the same responses for every estimator and critic.

    Returns:
        ``points`` as ``float32`` bytes, ``[N, 2]``: across the true gradient, and along it. Pairs in the same order:
        ``truth``, ``mean``; ``bias`` and ``deviation`` with their standard errors, ``[[value, error], ...]``;
        ``reach``, the window's half size around the truth, which depends on the toy alone. ``wrong``: the share of
        batches whose step would lower the expected reward. In rewards per unit of logit.
    """
    import torch

    from explorer.ppo.exact_estimates import estimates

    directions, reach = _view(toy)
    settings = Config(
        objective="policy_gradient",
        estimator=choices.estimator,
        whiten=choices.whiten,
        batch_size=choices.batch_size,
        group_size=GROUP,
        minibatches=1,
        gamma=config.gamma,
        gae_lambda=config.gae_lambda,
    )
    values = None if choices.critic == "perfect" else torch.zeros(len(toy.old_logits), dtype=torch.float64)
    found = estimates(toy, settings, batches=batches, seed=seed, values=values)
    points, truth = found.samples @ directions.T, found.exact @ directions.T
    mean, deviation = points.mean(dim=0), points.std(dim=0)
    bias_error = deviation / batches**0.5
    # The variance of a sample variance is (mu_4 - sigma^4) / N; that of its root follows from the slope of the root.
    fourth = ((points - mean) ** 4).mean(dim=0)
    deviation_error = ((fourth - deviation**4).clamp(min=0) / batches).sqrt() / (2 * deviation)
    return {
        "batches": batches,
        "points": np.ascontiguousarray(points.numpy(), dtype=np.float32).tobytes(),
        "truth": truth.tolist(),
        "mean": mean.tolist(),
        "bias": torch.stack([mean - truth, bias_error], dim=1).tolist(),
        "deviation": torch.stack([deviation, deviation_error], dim=1).tolist(),
        "wrong": float((points[:, 1] < 0).double().mean()),
        "reach": reach,
    }


@cache
def _view(toy: Toy) -> tuple[Tensor, list[float]]:
    """The two directions that a cloud is seen along, across and along the gradient, ``[2, D]``; and the window."""
    from explorer.ppo.exact_estimates import axes, spread

    directions = axes(toy).flip(0)
    return directions, (REACH * spread(toy, directions) / BATCH_SIZES[0] ** 0.5).tolist()


@cache
def article_toy() -> Toy:
    """The toy on the page, the article's example; made once."""
    from explorer.ppo.exact_toy import Toy

    return Toy()
