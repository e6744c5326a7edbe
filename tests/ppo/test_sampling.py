"""Sampling: which token a uniform number picks, where a response stops, and that nothing else has a say."""

from __future__ import annotations

import math
import random
import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import pad

from explorer.ppo.policy import Policy
from explorer.ppo.prompts import encode
from explorer.ppo.sampling import (
    generator,
    inverse_cdf,
    sample,
    sentence_ends,
)
from explorer.ppo.streams import COMPARISON, MINIBATCHES, ROLLOUT, TRIAL
from explorer.ppo.streams import PROMPTS as PROMPT_DRAWS

B, T = 8, 10
HOT = 50.0
PROMPTS = ["The cat", "One day, a little boy", "Lily went to the", "Tim saw a big old dog and"] * 2


def uniforms(seed: int = 3) -> Tensor:
    return torch.rand(B, T, generator=generator(seed, 1))


@pytest.fixture
def prompt(tiny_policy: Policy) -> tuple[Tensor, Tensor]:
    return encode(tiny_policy, PROMPTS, T)


def draw(
    policy: Policy, prompt: tuple[Tensor, Tensor], numbers: Tensor, **options: Any
) -> tuple[Tensor, Tensor, Tensor]:
    settings = {"temperature": 1.0, "ends": sentence_ends(policy), **options}
    return sample(policy, *prompt, numbers, **settings)


# --- rows without chance ---


def test_greedy_rows_take_the_likeliest_token_and_leave_the_others_alone(
    tiny_policy: Policy, prompt: tuple[Tensor, Tensor]
) -> None:
    greedy = torch.arange(B) % 2 == 1
    ids, mask, stopped = draw(tiny_policy, prompt, uniforms(), greedy=greedy)
    plain_ids, plain_mask, plain_stopped = draw(tiny_policy, prompt, uniforms())
    for found, expected in ((ids, plain_ids), (mask, plain_mask), (stopped, plain_stopped)):
        assert torch.equal(found[~greedy], expected[~greedy])
    with torch.no_grad():
        scores = tiny_policy.score_tokens(*prompt, ids, mask, 1.0)
    likeliest = scores.all_logprobs.argmax(-1)
    assert torch.equal(ids[greedy][mask[greedy]], likeliest[greedy][mask[greedy]])
    assert not torch.equal(ids[~greedy][mask[~greedy]], likeliest[~greedy][mask[~greedy]])
    # Neither the random numbers nor the temperature have a say; prompts 1 and 5 are the same, and so are the answers.
    again, *_ = draw(tiny_policy, prompt, uniforms(seed=9), greedy=greedy, temperature=3.0)
    assert torch.equal(again[greedy], ids[greedy])
    assert torch.equal(ids[1], ids[5])


# --- the inverse of the cumulative distribution ---


@pytest.mark.parametrize(
    ("uniform", "token"), [(0.0, 0), (0.24, 0), (0.26, 1), (0.74, 1), (0.76, 3), (0.9999999, 3)], ids=str
)
def test_inverse_cdf_by_hand(uniform: float, token: int) -> None:
    # probabilities 1/4, 1/2, 0, 1/4: cumulative 0.25, 0.75, 0.75, 1
    logits = torch.tensor([[0.25, 0.5, 0.0, 0.25]]).log()
    assert inverse_cdf(logits, torch.tensor([uniform])).tolist() == [token]


@given(
    st.lists(st.floats(-20, 20) | st.just(-math.inf), min_size=2, max_size=12).filter(lambda ls: max(ls) > -math.inf),
    st.integers(0, 2**24 - 1),
)
def test_inverse_cdf_never_picks_what_cannot_happen_and_agrees_with_numpy(logits: list[float], number: int) -> None:
    uniform = torch.tensor([number / 2**24])  # every float32 that torch.rand can give
    token = int(inverse_cdf(torch.tensor([logits], dtype=torch.float64), uniform)[0])
    weights = np.exp(np.array(logits) - max(logits))
    cumulative = np.cumsum(weights / weights.sum())
    assert weights[token] > 0
    lower = cumulative[token - 1] if token else 0.0
    assert lower - 1e-12 <= float(uniform) <= cumulative[token] + 1e-12


def test_a_million_to_one_token_at_the_end_is_never_drawn_by_rounding() -> None:
    logits = torch.zeros(1, 2049)
    logits[0, -1] = -math.inf
    largest = torch.tensor([1 - 2**-24])
    assert inverse_cdf(logits, largest).tolist() == [2047]


def test_frequencies_match_the_softmax() -> None:
    seed = random.SystemRandom().randrange(2**31)
    print(f"seed {seed}")
    draws, chances = 20_000, torch.tensor([0.5, 0.25, 0.15, 0.08, 0.02])
    numbers = torch.rand(draws, generator=torch.Generator().manual_seed(seed))
    tokens = inverse_cdf(chances.log().expand(draws, -1), numbers)
    counts = torch.bincount(tokens, minlength=5).double()
    expected = chances.double() * draws
    chi_squared = float(((counts - expected) ** 2 / expected).sum())
    assert chi_squared < 35  # with 4 degrees of freedom once in two million runs


def test_first_tokens_come_as_often_as_the_policy_says(tiny_policy: Policy) -> None:
    seed = random.SystemRandom().randrange(2**31)
    print(f"seed {seed}")
    draws = 4000
    ids, mask = encode(tiny_policy, ["The cat"], 1)
    numbers = torch.rand(draws, 1, generator=torch.Generator().manual_seed(seed))
    found, _, _ = sample(tiny_policy, ids.expand(draws, -1), mask.expand(draws, -1), numbers, temperature=0.7)
    with torch.no_grad():
        logits = tiny_policy.lm(ids).logits[0, -1]
    expected = torch.softmax(logits.double() / 0.7, dim=0) * draws
    counts = torch.bincount(found[:, 0], minlength=len(expected)).double()
    common = expected > 5
    chi_squared = float(((counts - expected)[common] ** 2 / expected[common]).sum())
    freedom = int(common.sum())
    assert freedom > 10
    assert chi_squared < freedom + 6 * math.sqrt(2 * freedom) + 12  # six standard deviations, and room for the tail


# --- whole responses ---


def test_the_same_numbers_give_the_same_tokens(tiny_policy: Policy, prompt: tuple[Tensor, Tensor]) -> None:
    first, second = (draw(tiny_policy, prompt, uniforms()) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(draw(tiny_policy, prompt, uniforms(seed=4))[0], first[0])


def test_random_numbers_drawn_elsewhere_change_nothing(tiny_policy: Policy, prompt: tuple[Tensor, Tensor]) -> None:
    first = draw(tiny_policy, prompt, uniforms())
    torch.rand(17)
    assert torch.equal(draw(tiny_policy, prompt, uniforms())[0], first[0])
    before = torch.get_rng_state()
    draw(tiny_policy, prompt, uniforms())
    assert torch.equal(torch.get_rng_state(), before)  # and sampling takes none of theirs


def test_rows_do_not_see_each_other(tiny_policy: Policy, prompt: tuple[Tensor, Tensor]) -> None:
    numbers = uniforms()
    whole = draw(tiny_policy, prompt, numbers, stop_sentences=1)
    order = torch.tensor([6, 1, 7, 0, 3, 2, 5, 4])
    shuffled = draw(tiny_policy, (prompt[0][order], prompt[1][order]), numbers[order], stop_sentences=1)
    for a, b in zip(whole, shuffled, strict=True):
        assert torch.equal(a[order], b)
    alone = draw(tiny_policy, (prompt[0][3:4], prompt[1][3:4]), numbers[3:4], stop_sentences=1)
    assert torch.equal(alone[0][0], whole[0][3])


def test_padding_on_the_left_changes_nothing(tiny_policy: Policy, prompt: tuple[Tensor, Tensor]) -> None:
    padded = (pad(prompt[0], (5, 0)), pad(prompt[1], (5, 0)))
    expected = draw(tiny_policy, prompt, uniforms(), stop_sentences=1)
    found = draw(tiny_policy, padded, uniforms(), stop_sentences=1)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_a_longer_limit_continues_the_same_response(tiny_policy: Policy, prompt: tuple[Tensor, Tensor]) -> None:
    numbers = uniforms()
    short, long = draw(tiny_policy, prompt, numbers[:, :4]), draw(tiny_policy, prompt, numbers)
    assert torch.equal(long[0][:, :4], short[0])


def test_every_drawn_token_is_the_one_its_uniform_picks(tiny_policy: Policy, prompt: tuple[Tensor, Tensor]) -> None:
    # A plain forward over prompt and response, row by row, without cache, padding or batch.
    numbers, ids, mask = uniforms(), *prompt
    found, kept, _ = draw(tiny_policy, prompt, numbers, temperature=0.7)
    for row in range(B):
        text = torch.cat([ids[row][mask[row]], found[row][kept[row]]])
        with torch.no_grad():
            chances = torch.softmax(tiny_policy.lm(text[None]).logits[0].double() / 0.7, dim=-1)
        before = int(mask[row].sum())
        for t in range(int(kept[row].sum())):
            cumulative = chances[before - 1 + t].cumsum(0)
            token = int(found[row, t])
            lower = float(cumulative[token - 1]) if token else 0.0
            assert lower - 1e-5 <= float(numbers[row, t]) <= float(cumulative[token]) + 1e-5


def test_a_cold_policy_takes_the_likeliest_token(tiny_policy: Policy, prompt: tuple[Tensor, Tensor]) -> None:
    found, _, _ = draw(tiny_policy, prompt, uniforms()[:, :1], temperature=1e-4)
    with torch.no_grad():
        logits = torch.stack([tiny_policy.lm(i[m][None]).logits[0, -1] for i, m in zip(*prompt, strict=True)])
    assert torch.equal(found[:, 0], logits.argmax(-1))


# --- where a response stops ---


@pytest.mark.parametrize("stop_sentences", [0, 1, 2])
def test_the_stop_counts_and_nothing_after_it(
    tiny_policy: Policy, prompt: tuple[Tensor, Tensor], stop_sentences: int
) -> None:
    # Without sentence stops only end-of-text can stop, which the tiny policy writes once in a hundred tokens.
    end = tiny_policy.end_of_text
    found, kept, stopped = draw(tiny_policy, prompt, uniforms(seed=13), stop_sentences=stop_sentences)
    for ids, mask, ended in zip(found.tolist(), kept.tolist(), stopped.tolist(), strict=True):
        length = sum(mask)
        assert mask == [True] * length + [False] * (T - length)
        assert ids[length:] == [0] * (T - length)
        *before, last = ids[:length]
        assert end not in before  # it went on until the first stop
        if stop_sentences:
            assert sentences_in(tiny_policy.decode(before)) < stop_sentences
        if ended and last != end:  # the stop itself is inside the mask
            assert sentences_in(tiny_policy.decode([*before, last])) == stop_sentences
        assert ended or length == T
    if stop_sentences:
        assert stopped.any()


def sentences_in(text: str) -> int:
    """How many sentences a whole text ends, by its characters: pieces between words that hold an end mark."""
    return sum(any(mark in between for mark in ".!?") for between in re.split(r"[\w,]+", text))


def ids_of(policy: Policy, texts: list[str]) -> list[int]:
    """The one token of each text."""
    known = policy.token_texts(range(policy.lm.config.vocab_size))
    return [known.index(text) for text in texts]


def scripted(policy: Policy, tokens: list[int], prompt: str = "The cat") -> Tensor:
    """Uniforms that make ``policy`` write exactly these tokens after the prompt, whatever it would rather say.

    For draws at the temperature ``HOT``, at which no token is so unlikely that rounding could miss it.
    """
    ids, mask = encode(policy, [prompt], len(tokens))
    text, numbers = ids[0][mask[0]].tolist(), []
    for token in tokens:
        with torch.no_grad():
            chances = torch.softmax(policy.lm(torch.tensor([text])).logits[0, -1].double() / HOT, dim=-1)
        numbers.append(float(chances[:token].sum() + chances[token] / 2))
        text.append(token)
    return torch.tensor([numbers], dtype=torch.float64)


@pytest.mark.parametrize(
    ("stop_sentences", "length", "ended"),
    [pytest.param(0, 6, True, id="at end-of-text"), (1, 2, True), (2, 4, True), pytest.param(3, 6, True, id="too few")],
)
def test_stops_on_a_scripted_response(tiny_policy: Policy, stop_sentences: int, length: int, ended: bool) -> None:
    script = [" run", ".", " dog", "!", " and", "<|endoftext|>"]
    numbers = scripted(tiny_policy, ids_of(tiny_policy, [*script, " dog"]))
    found, kept, stopped = draw(
        tiny_policy, encode(tiny_policy, ["The cat"], 7), numbers, temperature=HOT, stop_sentences=stop_sentences
    )
    expected = tiny_policy.tokenizer.convert_tokens_to_ids(script)[:length]
    assert found[0].tolist() == expected + [0] * (7 - length)
    assert kept[0].sum() == length
    assert stopped.tolist() == [ended]


@pytest.mark.parametrize(
    ("script", "lengths"),
    [
        # lengths[n - 1]: how many of these tokens a response has that ends with its n-th sentence; None is no end.
        pytest.param([" no", ".", ".", ".", " They", "."], [2, 6, None], id="three full stops are one end"),
        pytest.param([" no", "?", "!", " They", "!"], [2, 5, None], id="?! is one end"),
        pytest.param([" no", '!"', " she", " said", "."], [2, 5, None], id="a mark and its quote in one token"),
        pytest.param([" no", "!", '"', " she", " said", "."], [2, 6, None], id="the quote in a token of its own"),
        pytest.param([" no", '."', ".", " They", "."], [2, 5, None], id="a full stop on both sides of the quote"),
        pytest.param(
            [" no", '".', '"', "!", " They", "."], [2, 6, None], id="a quote in between does not part the run"
        ),
        pytest.param([" no", '."', ' "', "I", '."'], [2, 5, None], id="an opening quote begins nothing by itself"),
        pytest.param([" no", ".", "\n", ".", " They", "."], [2, 6, None], id="nor does a new line"),
        pytest.param([" no", ".", ",", ".", " They", "."], [2, 4, 6], id="a comma parts two runs"),
        pytest.param([".", " no", "."], [1, 3, None], id="a mark at once ends a sentence"),
    ],
)
def test_a_run_of_end_marks_is_one_sentence_end(policy: Policy, script: list[str], lengths: list[int | None]) -> None:
    ids = ids_of(policy, script)
    prompt, numbers = encode(policy, ["The cat"], len(ids)), scripted(policy, ids)
    for n, length in enumerate(lengths, start=1):
        found, kept, stopped = draw(policy, prompt, numbers, temperature=HOT, stop_sentences=n)
        assert found[0][kept[0]].tolist() == ids[:length]
        assert stopped.tolist() == [length is not None]


def test_marks_at_the_end_of_the_prompt_are_none_of_the_response(policy: Policy) -> None:
    ids = ids_of(policy, [".", " no", "."])
    numbers = scripted(policy, ids, "The cat said.")
    _, kept, _ = draw(policy, encode(policy, ["The cat said."], 3), numbers, temperature=HOT, stop_sentences=2)
    assert kept[0].tolist() == [True, True, True]


def test_each_row_has_runs_of_its_own(policy: Policy) -> None:
    scripts = [ids_of(policy, [" no", ".", ".", "!"]), ids_of(policy, [" no", ".", " no", "!"])]
    numbers = torch.cat([scripted(policy, script) for script in scripts])
    _, kept, stopped = draw(policy, encode(policy, ["The cat"] * 2, 4), numbers, temperature=HOT, stop_sentences=2)
    assert kept.all()
    assert stopped.tolist() == [False, True]


def test_a_response_cut_by_its_length_has_not_stopped(tiny_policy: Policy) -> None:
    numbers = scripted(tiny_policy, ids_of(tiny_policy, [" dog", " and", " cat"]))
    _, kept, stopped = draw(
        tiny_policy, encode(tiny_policy, ["The cat"], 3), numbers, temperature=HOT, stop_sentences=1
    )
    assert kept.all()
    assert not stopped.any()


def test_a_stop_at_the_very_limit_is_a_stop(tiny_policy: Policy) -> None:
    numbers = scripted(tiny_policy, ids_of(tiny_policy, [" dog", "."]))
    _, kept, stopped = draw(
        tiny_policy, encode(tiny_policy, ["The cat"], 2), numbers, temperature=HOT, stop_sentences=1
    )
    assert kept.all()
    assert stopped.all()


def ending(policy: Policy) -> set[str]:
    ends = sentence_ends(policy).ends.tolist()
    return {text for text, end in zip(policy.token_texts(range(len(ends))), ends, strict=True) if end}


def test_which_tokens_end_a_sentence(tiny_policy: Policy) -> None:
    assert ending(tiny_policy) == {".", "!", "?"}


def test_which_of_the_bundled_tokens_end_a_sentence(policy: Policy) -> None:
    texts = ending(policy)
    assert {".", "!", "?"} <= texts
    assert any(text.endswith('"') for text in texts)  # a closing quote after the full stop, in one token
    assert all(any(mark in text for mark in ".!?") for text in texts)
    assert not {",", '"', " the", "\n"} & texts


# --- generators ---


def test_generators_are_independent_and_repeatable() -> None:
    def numbers(*parts: int) -> list[float]:
        return torch.rand(4, generator=generator(*parts)).tolist()

    assert numbers(7, 1, ROLLOUT) == numbers(7, 1, ROLLOUT)
    purposes = (ROLLOUT, MINIBATCHES, PROMPT_DRAWS, COMPARISON, TRIAL)
    streams = [(seed, update, purpose) for seed in (0, 1, 2) for update in (0, 1, 2) for purpose in purposes]
    streams += [(seed, update, MINIBATCHES, epoch) for seed in (0, 1) for update in (1, 2) for epoch in (1, 2)]
    assert len({tuple(numbers(*stream)) for stream in streams}) == len(streams)


def test_the_largest_seed_is_accepted() -> None:
    assert torch.rand(1, generator=generator(2**31 - 1, 10**6, 4, 16)) < 1
