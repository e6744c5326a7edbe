"""What an optimiser step goes down: the objective, the critic's error and the entropy bonus, each as one number.

All three are made into one number in the same way, the config's aggregation. So a batch in one part pulls as the same
batch in eight parts of a row does, the value loss and the bonus included, once each part has its weight: the same for
every part under ``sequence_mean`` and ``fixed_length``, its share of the tokens under ``token_mean``. With a mean over
tokens in the value loss and one over responses in the policy's, no weights would do that.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from explorer.config import Config
from explorer.ppo.masked import aggregate
from explorer.ppo.objectives import optimised_terms, total_loss, value_terms
from explorer.ppo.policy import TokenScores
from explorer.ppo.replay import Batch


class Losses(NamedTuple):
    """One minibatch's losses, each a scalar."""

    policy: Tensor  # minus the objective
    value: Tensor  # the critic's, before its coefficient
    entropy: Tensor | None  # nats a token where there is a bonus for it
    total: Tensor  # what the step goes down


def losses(part: Batch, scores: TokenScores, config: Config, *, value_mask: Tensor | None = None) -> Losses:
    """The losses of a minibatch.

    Args:
        part: the rows, ``[rows, T]``: what was recorded when they were sampled.
        scores: the same tokens under the policy as it is now.
        config: the objective, its aggregation, and what else is in the loss.
        value_mask: ``[rows, T]`` bool, where the critic's error counts; None is where the policy's terms do. TRL has
            one position more, the one past the stop.

    Source:
        One aggregation for all: verl, ``agg_loss`` in ``compute_value_loss`` and for the entropy. TRL 1.12 and OpenAI
        (2019) know the mean over tokens alone, for both.
    """
    # What was recorded of the samples is given: the loss must not teach whoever made the advantages.
    part = Batch(*(tensor.detach() for tensor in part))

    def one_number(terms: Tensor, mask: Tensor) -> Tensor:
        return aggregate(terms, mask, config.aggregation, length=config.response_length)

    log_ratios, to_ref = scores.logprobs - part.old_logprobs, scores.logprobs - part.ref_logprobs
    policy = -one_number(optimised_terms(log_ratios, part.advantages, part.mask, config, to_ref), part.mask)
    # A frozen critic's error has no gradient: neither the head nor the trunk under it hears of it.
    predicted = scores.values.detach() if config.freeze_critic else scores.values
    squares = value_terms(predicted, part.old_values, part.returns, config.value_clip_range)
    value = one_number(squares, part.mask if value_mask is None else value_mask)
    # Without a bonus the backward pass need not go through the entropies.
    entropy = one_number(scores.entropies, part.mask) if config.ent_coef > 0 else None
    return Losses(policy, value, entropy, total_loss(policy, value, entropy, config))
