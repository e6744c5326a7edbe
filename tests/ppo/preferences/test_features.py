from __future__ import annotations

from collections import Counter

import pytest
import torch

from explorer.ppo.preferences.comparisons import PreferenceError
from explorer.ppo.preferences.features import ASKED, Block, check_blocks, contributions, hidden_states, pooled
from explorer.ppo.preferences.pool import pool_of

SOURCES = ("token", "spelling", "embedding", "layer 1", "final")
ALL = [
    *(Block(source, way) for source in SOURCES for way in ("mean", "max", "last")),
    Block("final", "asked"),
]
TEXTS = [("The cat", " was happy and run."), ("Tim saw a big old dog and", " run"), ("The cat", "")]


def test_hidden_states_are_those_of_each_text_alone(tiny_policy):
    texts = pool_of(tiny_policy, TEXTS)
    states = hidden_states(tiny_policy, texts.prompts, texts.ids, texts.mask)
    for row, (prompt, response) in enumerate(TEXTS[:2]):
        before = [tiny_policy.end_of_text, *tiny_policy.tokenizer(prompt)["input_ids"]]
        own = tiny_policy.tokenizer(response)["input_ids"]
        alone = tiny_policy.lm.transformer(torch.tensor([before + own]), output_hidden_states=True).hidden_states
        for name, expected in (("layer 1", alone[1]), ("final", alone[-1])):
            assert torch.allclose(states[name][row, : len(own)], expected[0, len(before) :], atol=1e-5), name
        assert torch.allclose(states["embedding"][row, : len(own)], tiny_policy.lm.transformer.wte.weight[own])


def test_pooling_by_hand(tiny_policy):
    texts = pool_of(tiny_policy, TEXTS[:1])
    state = hidden_states(tiny_policy, texts.prompts, texts.ids, texts.mask)["layer 1"][0, :-1][texts.mask[0]]
    blocks = [Block("layer 1", "mean"), Block("layer 1", "max"), Block("layer 1", "last")]
    expected = torch.cat([state.mean(0), state.max(0).values, state[-1]])
    assert torch.allclose(pooled(tiny_policy, texts, blocks)[0], expected, atol=1e-6)


def test_what_is_asked_is_the_state_after_a_few_more_words(tiny_policy):
    (prompt, response) = TEXTS[0]
    ids = [
        tiny_policy.end_of_text,
        *(i for text in (prompt, response, ASKED) for i in tiny_policy.tokenizer(text)["input_ids"]),
    ]
    expected = tiny_policy.lm.transformer(torch.tensor([ids])).last_hidden_state[0, -1]
    assert torch.allclose(pooled(tiny_policy, pool_of(tiny_policy, TEXTS), ALL[-1:])[0], expected, atol=1e-5)


def test_words_are_counted(tiny_policy):
    texts = pool_of(tiny_policy, [("The cat", " run run and run")])
    run, both = texts.ids[0, 0], texts.ids[0, 2]
    mean, most, last = pooled(tiny_policy, texts, ALL[:3])[0].split(tiny_policy.lm.config.vocab_size)
    assert (mean[run], mean[both], mean.sum()) == (0.75, 0.25, 1)
    assert (most[run], most[both], most.sum()) == (1, 1, 2)
    assert last[run] == 1 == last.sum()


def test_letters_are_counted_a_token(tiny_policy):
    texts = pool_of(tiny_policy, [("The cat", " run run and run")])
    written = "".join(tiny_policy.tokenizer.decode([number]) for number in texts.ids[0].tolist())
    row = pooled(tiny_policy, texts, [Block("spelling", "mean")])[0]
    assert {chr(byte): round(float(n) * 4, 4) for byte, n in enumerate(row) if n} == dict(Counter(written))


def test_padding_and_company_change_nothing(tiny_policy):
    together = pooled(tiny_policy, pool_of(tiny_policy, TEXTS), ALL)
    for row, text in enumerate(TEXTS[:2]):
        assert torch.allclose(together[row], pooled(tiny_policy, pool_of(tiny_policy, [text]), ALL)[0], atol=1e-5)
    assert together[2].isnan().all()  # a response without words has no features


def test_end_of_text_is_no_word(tiny_policy):
    texts = pool_of(tiny_policy, TEXTS[:1])
    ended = texts.ids.clone()
    ended[0, -1] = tiny_policy.end_of_text
    shorter = pool_of(tiny_policy, [("The cat", " was happy and run")])
    with_end = type(texts)(prompts=texts.prompts, texts=texts.texts, ids=ended, mask=texts.mask)
    assert torch.allclose(pooled(tiny_policy, with_end, ALL), pooled(tiny_policy, shorter, ALL), atol=1e-6)


@pytest.mark.parametrize("blocks", [[block] for block in ALL] + [ALL], ids=str)
def test_what_the_tokens_add_is_the_whole(tiny_policy, blocks):
    texts = pool_of(tiny_policy, TEXTS)
    rows = pooled(tiny_policy, texts, blocks)
    weights = torch.randn(rows.shape[1], generator=torch.Generator().manual_seed(0))
    parts, whole = contributions(tiny_policy, texts, blocks, weights)
    assert parts.shape == texts.mask.shape
    assert torch.allclose((parts.sum(1) + whole)[:2], (rows @ weights)[:2], atol=1e-4)
    assert not parts[~texts.mask].any() and not whole[2]
    assert whole.any() == any(block.pooling == "asked" for block in blocks)


def test_a_token_adds_what_the_mean_says_of_it(tiny_policy):
    texts = pool_of(tiny_policy, TEXTS[:1])
    weights = torch.randn(tiny_policy.lm.config.n_embd, generator=torch.Generator().manual_seed(1))
    parts = contributions(tiny_policy, texts, [Block("embedding", "mean")], weights)[0][0]
    embeddings = tiny_policy.lm.transformer.wte.weight[texts.ids[0]]
    assert torch.allclose(parts, embeddings @ weights / len(parts), atol=1e-6)


def test_a_text_as_long_as_the_policy_reads_drops_the_beginning_of_its_prompt(tiny_policy):
    long = pool_of(tiny_policy, [("The cat " * 40, " run" * 100)])
    assert long.ids.shape[1] == tiny_policy.positions - 1
    assert pooled(tiny_policy, long, ALL).isfinite().all()


@pytest.mark.parametrize(
    ("blocks", "reason"),
    [
        ([], "There are no features"),
        (
            [Block("layer 2", "mean")],
            "no feature 'layer 2' in this policy: it has token, spelling, embedding, layer 1, final",
        ),
        ([Block("token", "asked")], "cannot be pooled by 'asked'"),
        ([Block("spelling", "asked")], "cannot be pooled by 'asked'"),
        ([Block("final", "median")], "cannot be pooled by 'median'"),
        ([Block("final", "mean", 0.0)], "share of 'final' is 0.0"),
    ],
)
def test_what_a_policy_does_not_have(tiny_policy, blocks, reason):
    with pytest.raises(PreferenceError, match=reason):
        check_blocks(tiny_policy, blocks)
