from __future__ import annotations

from itertools import islice

import pytest
import torch

from explorer.config import Config
from explorer.ppo.preferences import pool as pool_module
from explorer.ppo.preferences.comparisons import Comparison, PreferenceError
from explorer.ppo.preferences.pool import Pool, asked_pairs, draw_pool, pool_of, pool_of_comparisons, random_pairs
from explorer.ppo.streams import ROLLOUT
from explorer.ppo.trainer import Trainer
from tests.conftest import TINY_PROMPTS


def test_responses_are_the_trainers_own_given_its_random_numbers(tiny_policy, tiny_config, monkeypatch):
    monkeypatch.setattr(pool_module, "LABELLING", ROLLOUT)
    trainer = Trainer(tiny_policy, tiny_config, prompts=TINY_PROMPTS)
    drawn = draw_pool(tiny_policy, TINY_PROMPTS, tiny_config, 3)
    rows = tiny_config.batch_size
    for number in range(3):
        rollout, prompts = trainer.sample(tiny_config, number)
        part = slice(number * rows, (number + 1) * rows)
        assert torch.equal(drawn.ids[part], rollout.response_ids) and torch.equal(
            drawn.mask[part], rollout.response_mask
        )
        assert drawn.prompts[part] == prompts


def test_its_random_numbers_are_no_updates(tiny_policy, tiny_config):
    trainer = Trainer(tiny_policy, tiny_config, prompts=TINY_PROMPTS)
    drawn = draw_pool(tiny_policy, TINY_PROMPTS, tiny_config, 1)
    assert not any(torch.equal(drawn.ids, trainer.sample(tiny_config, n)[0].response_ids) for n in range(5))


def test_the_seed_decides(tiny_policy, tiny_config):
    one, same, other = (
        draw_pool(tiny_policy, TINY_PROMPTS, tiny_config.replace(seed=seed), 2).texts for seed in (1, 1, 2)
    )
    assert one == same != other


def a_pool(texts: dict[str, list[str]]) -> Pool:
    rows = [(prompt, text) for prompt, own in texts.items() for text in own]
    ids = torch.zeros(len(rows), 1, dtype=torch.long)
    return Pool(prompts=[p for p, _ in rows], texts=[t for _, t in rows], ids=ids, mask=ids.bool())


def test_pairs_are_of_one_prompt_and_different_and_use_every_text_once_a_round():
    made = a_pool({"one": list("abcdef"), "two": list("abcd"), "three": ["x"]})
    first = list(islice(random_pairs(made, 0), 5))
    assert sorted(row for pair in first for row in pair) == list(range(10))
    found = list(islice(random_pairs(made, 0), 500))
    assert all(made.prompts[a] == made.prompts[b] for a, b in found)
    assert {frozenset(pair) for pair in found} == {
        frozenset((a, b)) for group in (range(6), range(6, 10)) for a in group for b in group if a != b
    }
    assert {(0, 1), (1, 0)} <= set(found)  # neither place is the first response's


def test_pairs_of_the_same_text_are_not_asked():
    made = a_pool({"one": ["same", "same", "other"]})
    assert all({made.texts[a], made.texts[b]} == {"same", "other"} for a, b in islice(random_pairs(made, 0), 20))
    assert len(list(asked_pairs(made, 0, most=7))) == 7


@pytest.mark.parametrize("texts", [{}, {"one": ["a"], "two": ["b"]}, {"one": ["a", "a"]}])
def test_nothing_to_compare_says_so(texts):
    with pytest.raises(PreferenceError, match="draw more responses"):
        next(random_pairs(a_pool(texts), 0))


def test_a_text_becomes_the_tokens_that_it_was_sampled_as(reference):
    drawn = draw_pool(reference, "stories", Config(seed=5), 2)
    again = pool_of(reference, list(zip(drawn.prompts, drawn.texts, strict=True)))
    kept = [
        row[mask & (row != reference.end_of_text)].tolist() for row, mask in zip(drawn.ids, drawn.mask, strict=True)
    ]
    anew = [row[mask].tolist() for row, mask in zip(again.ids, again.mask, strict=True)]
    same = sum(a == b for a, b in zip(kept, anew, strict=True))
    assert same >= 0.8 * len(kept)  # the others were sampled in pieces that the tokenizer would have joined
    assert [reference.decode(row) for row in anew] == drawn.texts


def test_compared_texts_stand_in_the_pool_once(tiny_policy):
    labels = [Comparison("The cat", " sad.", " run.", "a"), Comparison("The cat", " run.", " dog", "tie")]
    found, rows = pool_of_comparisons(tiny_policy, labels)
    assert found.texts == [" sad.", " run.", " dog"]
    assert rows.tolist() == [[0, 1], [1, 2]]
    with pytest.raises(PreferenceError, match="There are no responses"):
        pool_of(tiny_policy, [])


def test_an_empty_text_is_a_row_without_tokens(tiny_policy):
    assert pool_of(tiny_policy, [("The cat", "")]).mask.sum() == 0
