"""What a reward component gets to see: one batch of responses."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from explorer.config import Config
from explorer.ppo.policy import Policy


@dataclass(frozen=True, kw_only=True)
class Responses:
    """One batch of responses as text and as tokens, with the frozen reference at hand.

    Its tensors lie on the CPU, wherever the policy computes; the reference lies where the policy does.

    Attributes:
        prompts: ``B`` prompts.
        texts: ``B`` responses, without their prompts.
        ids: ``[B, T]`` the responses' token ids.
        mask: ``[B, T]`` bool, True where a token counts.
        ref_logprobs: ``[B, T]`` the tokens' log-probabilities under the reference, in nats.
        reference: the frozen reference policy.
        config: the configuration in force.
    """

    prompts: list[str]
    texts: list[str]
    ids: Tensor
    mask: Tensor
    ref_logprobs: Tensor
    reference: Policy
    config: Config
