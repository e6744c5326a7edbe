from __future__ import annotations

import secrets

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from explorer.ppo.prompts import encode
from explorer.ppo.rewards import REWARDS
from explorer.ppo.sampling import sample

coherence = REWARDS["coherence"]


@pytest.mark.parametrize(
    ("logprobs", "expected"),
    [
        ([0.0, 0.0], 1.0),
        ([-1.0, -1.5], 0.5),
        ([-1.0, -4.0], 0.0),
        ([-5.0, -2.5], -0.5),
        ([-5.0, -5.0], -1.0),
        ([-20.0, -20.0], -1.0),
    ],
)
def test_known_values(batch_of, logprobs, expected):
    assert coherence(batch_of(ref_logprobs=[logprobs])).item() == pytest.approx(expected)


def test_only_tokens_that_count(batch_of):
    batch = batch_of(ref_logprobs=[[-1.0, -4.0, -100.0]], mask=[[True, True, False]])
    assert coherence(batch).item() == pytest.approx(0.0)


def test_a_response_without_tokens_is_neutral(batch_of):
    assert coherence(batch_of(ref_logprobs=[[0.0, 0.0]], mask=[[False, False]])).item() == 0.0


@given(st.lists(st.lists(st.floats(-1e4, 0, width=32), min_size=3, max_size=3), min_size=1, max_size=5))
def test_range_and_batch_order(batch_of, rows):
    scores = coherence(batch_of(ref_logprobs=rows))
    assert scores.shape == (len(rows),)
    assert bool((scores >= -1).all()) and bool((scores <= 1).all())
    assert torch.equal(coherence(batch_of(ref_logprobs=rows[::-1])).flip(0), scores)


def test_own_samples_beat_random_tokens(batch_of, reference):
    seed = secrets.randbits(32)
    print("seed", seed)
    generator = torch.Generator().manual_seed(seed)
    prompt_ids, prompt_mask = encode(reference, "stories", 12)
    uniforms = torch.rand(8, 12, generator=generator)
    written, written_mask, _ = sample(reference, prompt_ids, prompt_mask, uniforms, temperature=1.0)
    random = torch.randint(1, reference.lm.config.vocab_size, (8, 12), generator=generator)

    def mean_score(ids, mask):
        with torch.no_grad():
            logprobs = reference.score_tokens(prompt_ids, prompt_mask, ids, mask, 1.0).logprobs
        return coherence(batch_of(ids=ids, mask=mask, ref_logprobs=logprobs)).mean().item()

    assert mean_score(random, torch.ones_like(random, dtype=torch.bool)) < -0.8
    assert mean_score(written, written_mask) > 0.1
