"""Coherence: how likely the frozen reference finds the response."""

from __future__ import annotations

import torch
from torch import Tensor

from explorer.ppo.masked import row_means
from explorer.ppo.rewards.responses import Responses

# Nats per token that count as neither good nor bad. The bundled policy's own samples come out at about -1.3 on average
# (0.5 on the scale, with room on both sides); tokens drawn at random at about -18, far below the end of the scale.
NEUTRAL_LOGPROB = -2.5


def coherence(responses: Responses) -> Tensor:
    """Mean log-probability per token under the reference, rescaled: 0 nats to 1, -2.5 to 0, -5 and below to -1.

    The log-probabilities are those of the run, so at the run's temperature: a temperature above 1 flattens the
    reference and brings all values closer together. A known hole: dull text is likely text, and repeating oneself
    is the likeliest of all; ``diversity`` is the counterweight.

    Returns:
        ``[B]`` in [-1, 1]; 0 for a response without any token that counts.
    """
    logprobs = row_means(responses.ref_logprobs, responses.mask)
    scores = (1 - logprobs / NEUTRAL_LOGPROB).clamp(-1, 1)
    return torch.where(responses.mask.any(1), scores, 0.0)
