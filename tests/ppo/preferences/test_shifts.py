"""A tuned trunk as what has been added to biases and gains."""

from __future__ import annotations

import pytest
import torch

from explorer.ppo.policy import Policy
from explorer.ppo.preferences.comparisons import PreferenceError
from explorer.ppo.preferences.shifts import shifted, shifts_of, tuned_parameters
from explorer.ppo.state import weights_digest
from tests.taught import moved


def test_they_are_the_biases_and_gains_of_every_block_and_of_the_last_norm(tiny_policy: Policy) -> None:
    # Of 2 blocks 16 wide: two norms (2 · 16 each), attention (48 + 16), perceptron (64 + 16); and the last norm.
    assert sum(p.numel() for p in tuned_parameters(tiny_policy)) == 2 * (64 + 64 + 80) + 32


def test_a_trunk_is_put_together_again(tiny_policy: Policy) -> None:
    reference = tiny_policy.frozen_copy()
    before = weights_digest(reference)
    tuned = moved(reference, 0.1)
    made = shifted(reference, shifts_of(tuned, reference))
    for own, theirs in zip(made.parameters(), tuned.parameters(), strict=True):
        assert torch.allclose(own, theirs, rtol=0, atol=1e-4)
    assert weights_digest(made) != before == weights_digest(reference)
    assert weights_digest(shifted(reference, torch.zeros(448))) == before
    assert not any(parameter.requires_grad for parameter in made.parameters())


def test_those_of_another_shape_are_refused(tiny_policy: Policy) -> None:
    with pytest.raises(PreferenceError, match="Its trunk has 3 shifts and needs 448"):
        shifted(tiny_policy.frozen_copy(), torch.zeros(3))
