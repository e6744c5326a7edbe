"""Coefficients that follow a KL: the price of leaving the reference (beta) and of leaving the old policy (b).

Both rules are pure functions; ``Coefficients`` is what is in force now. It is frozen, so an update that fails leaves
the trainer's as it was.
"""

from __future__ import annotations

import dataclasses

from explorer.config import FIELDS, Config

#: The most that the KL to the reference may count as missing its target, in either direction.
MAX_ERROR = 0.2


def next_penalty(coef: float, kl: float, target: float) -> float:
    """PPO-penalty's coefficient after an update: doubled after too large a step, halved after too small a one.

    Args:
        coef: b in the update that is over.
        kl: KL(old, new) after its last step, in nats a token.
        target: the wanted KL, in nats a token.

    Returns:
        ``2 b`` where the KL is above 1.5 times the target, ``b / 2`` where it is below the target divided by 1.5.

    Source:
        Schulman et al. 2017 (arXiv 1707.06347), section 4.
    """
    if kl > 1.5 * target:
        return coef * 2
    return coef / 2 if kl < target / 1.5 else coef


def next_kl_coef(coef: float, kl: float, target: float, horizon: float, episodes: float) -> float:
    """The weight of the KL to the reference after an update, a little nearer to one that holds the target.

    Args:
        coef: beta in the update that is over.
        kl: KL(policy, reference) of its responses, in nats a response.
        target: the wanted KL, in nats a response.
        horizon: how many responses it takes for a KL that is off by a fifth or more to change beta by about a fifth.
        episodes: responses in the update.

    Returns:
        ``beta (1 + e episodes / horizon)`` with ``e = kl / target - 1``, held within -0.2 and 0.2.

    Source:
        Ziegler et al. 2019 (arXiv 1909.08593), section 2.2, in the form of OpenAI's code; the paper's K of 0.1 is a
        horizon of ten batches.
    """
    error = min(max(kl / target - 1, -MAX_ERROR), MAX_ERROR)
    return coef * (1 + error * episodes / horizon)


@dataclasses.dataclass(frozen=True)
class Coefficients:
    """The two coefficients as the last update has left them.

    Attributes:
        kl: beta, the weight of the KL to the reference.
        penalty: b, PPO-penalty's price on the step.
        kl_from: the config's ``kl_coef`` from which beta has come.
        penalty_from: the config's ``penalty_coef`` from which b has come.
    """

    kl: float
    penalty: float
    kl_from: float
    penalty_from: float

    @classmethod
    def of(cls, config: Config) -> Coefficients:
        """Those of an untouched run: the config's own."""
        return cls(config.kl_coef, config.penalty_coef, config.kl_coef, config.penalty_coef)

    def under(self, config: Config) -> Coefficients:
        """What is in force in an update under ``config``.

        One that does not adapt is the config's own. One that does goes on from where it was, unless the config asks
        for another value than before: then it starts again from there.
        """
        own = Coefficients.of(config)
        kl = self.kl if config.kl_target is not None and self.kl_from == config.kl_coef else own.kl
        follows = config.objective == "kl_penalty" and self.penalty_from == config.penalty_coef
        return dataclasses.replace(own, kl=kl, penalty=self.penalty if follows else own.penalty)

    def put_into(self, config: Config) -> Config:
        """The config with these coefficients in the place of its own."""
        return config.replace(kl_coef=self.kl, penalty_coef=self.penalty)

    def after(self, config: Config, *, ref_kl: float, step_kl: float) -> Coefficients:
        """What the next update begins with; a coefficient that does not adapt stays.

        Args:
            config: the config of the update that is over.
            ref_kl: its KL(policy, reference), in nats a response.
            step_kl: its KL(old, new) after the last step, in nats a token.
        """
        kl, penalty = self.kl, self.penalty
        if config.kl_target is not None:
            kl = next_kl_coef(kl, ref_kl, config.kl_target, config.kl_horizon, config.batch_size)
        if config.objective == "kl_penalty":
            penalty = next_penalty(penalty, step_kl, config.penalty_target)
        return dataclasses.replace(self, kl=_allowed("kl_coef", kl), penalty=_allowed("penalty_coef", penalty))


def _allowed(name: str, value: float) -> float:
    """A coefficient that has grown past what a config may hold stays at the most that it may."""
    return min(value, float(FIELDS[name].metadata["high"]))
