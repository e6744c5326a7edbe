"""How words are written."""

from __future__ import annotations

from explorer.ppo.preferences.spelling import spelled


def test_a_word_is_the_bytes_it_is_written_with(reference):
    table = spelled(reference)
    (number,) = reference.tokenizer(" little")["input_ids"]
    letters = {chr(byte): int(count) for byte, count in enumerate(table[number].tolist()) if count}
    assert letters == {" ": 1, "l": 2, "i": 1, "t": 2, "e": 1}
    assert table.shape == (2048, 256) and spelled(reference) is table


def test_every_vocabulary_has_one_even_where_its_words_are_pieces_of_letters(tiny_policy):
    table = spelled(tiny_policy)
    assert len(table) == tiny_policy.lm.config.vocab_size and bool((table >= 0).all())
