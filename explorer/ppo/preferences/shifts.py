"""A tuned trunk as few numbers: what has been added to a policy's biases and to the gains of its norms.

To tune these alone is BitFit (Ben Zaken, Ravfogel and Goldberg 2022, arXiv 2106.10199). They are about one number in a
hundred of a trunk's, which is why what was tuned fits into the settings of a run, and is recorded, gone on with and
branched with them. They are rounded to half precision as they are taken, so that the trunk that is put together again
from them is the one whose states a head was fitted to.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from explorer.ppo.policy import Policy
from explorer.ppo.preferences.comparisons import PreferenceError


def tuned_parameters(policy: Policy) -> list[nn.Parameter]:
    """The biases and the norms' gains of a policy's blocks and of its final norm, in a fixed order."""
    modules = (*policy.lm.transformer.h, policy.lm.transformer.ln_f)
    return [parameter for module in modules for parameter in module.parameters() if parameter.dim() == 1]


def shifts_of(tuned: Policy, reference: Policy) -> Tensor:
    """What a tuned policy has more than its reference: ``[S]`` float32 on the CPU, each rounded to half precision."""
    pairs = zip(tuned_parameters(tuned), tuned_parameters(reference), strict=True)
    return torch.cat([(own - theirs).detach().cpu().half().float() for own, theirs in pairs])


def shifted(reference: Policy, shifts: Tensor) -> Policy:
    """A frozen copy of a reference with the shifts added.

    Raises:
        PreferenceError: they are not as many as this policy has.
    """
    made = reference.frozen_copy("tuned trunk")
    parameters = tuned_parameters(made)
    count = sum(parameter.numel() for parameter in parameters)
    if len(shifts) != count:
        raise PreferenceError(f"Its trunk has {len(shifts)} shifts and needs {count}: fit it anew.")
    with torch.no_grad():
        for parameter, own in zip(parameters, shifts.split([p.numel() for p in parameters]), strict=True):
            parameter.add_(own.to(parameter))
    return made
