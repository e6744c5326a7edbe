"""Stories, tokenizer and windows, against numbers worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from explorer.ppo.corpus import END_OF_TEXT, CorpusError, TokenStream, hold_out, read_stories, train_tokenizer
from explorer.ppo.loading import load_policy
from explorer.ppo.sampling import generator


class Letters:
    """A tokenizer small enough to follow by hand: a is 1, b is 2, ... and end-of-text is 0."""

    eos_token_id = 0

    def __call__(self, texts: list[str], **_options: object) -> dict[str, list[list[int]]]:
        return {"input_ids": [[ord(letter) - ord("a") + 1 for letter in text] for text in texts]}


STORIES = ["abc", "de", "fghi"]
STREAM = [0, 1, 2, 3, 0, 4, 5, 0, 6, 7, 8, 9, 0]


@pytest.mark.parametrize(
    ("written", "stories"),
    [
        (b"One.\n<|endoftext|>\nTwo.\n", ["One.", "Two."]),
        (b"One.\r\n<|endoftext|>\r\nTwo,\r\ntwo.", ["One.", "Two,\ntwo."]),
        (b"\xef\xbb\xbfOne.\n<|endoftext|> \n\n<|endoftext|>\nTwo.\n<|endoftext|>", ["One.", "Two."]),
        (b"He wrote <|endoftext|> on the wall.", ["He wrote <|endoftext|> on the wall."]),
        ("Ünë.".encode(), ["Ünë."]),
    ],
)
def test_stories_are_separated_by_a_line(tmp_path: Path, written: bytes, stories: list[str]) -> None:
    path = tmp_path / "stories.txt"
    path.write_bytes(written)
    assert read_stories(path) == stories


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (None, r"no such file.*give a UTF-8 text file"),
        (b"", r"holds no text: give a UTF-8 text file"),
        (b" \n<|endoftext|>\n\n", r"holds no text: give a UTF-8 text file"),
        (b"caf\xe9", r"is not UTF-8 text \(byte 3\): save it as UTF-8"),
    ],
)
def test_a_file_that_cannot_be_used_says_what_to_do(tmp_path: Path, written: bytes | None, says: str) -> None:
    path = tmp_path / "stories.txt"
    if written is not None:
        path.write_bytes(written)
    with pytest.raises(CorpusError, match=says) as error:
        read_stories(path)
    assert str(path) in str(error.value)


def test_a_folder_is_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"is a folder.*give a UTF-8 text file"):
        read_stories(tmp_path)


@pytest.mark.parametrize(("count", "held_out"), [(2, 1), (3, 1), (100, 2), (1000, 20)])
def test_the_last_stories_are_held_out(count: int, held_out: int) -> None:
    stories = [f"story {number}" for number in range(count)]
    training, validation = hold_out(stories)
    assert training + validation == stories
    assert len(validation) == held_out


def test_one_story_cannot_be_divided() -> None:
    with pytest.raises(CorpusError, match="one story.*give a validation file"):
        hold_out(["alone"])


def test_the_first_merges_are_the_most_frequent_pairs() -> None:
    # u-g stands in all five words, h-ug in four of them; every other pair in three at most.
    tokenizer = train_tokenizer(["hug hug hug hug pug"], vocabulary=259, positions=16)
    assert tokenizer.convert_ids_to_tokens([257, 258]) == ["ug", "hug"]
    assert len(tokenizer) == 259


def test_a_short_text_gives_a_smaller_vocabulary() -> None:
    assert len(train_tokenizer(["ab"], vocabulary=2048, positions=16)) < 300


def test_the_same_text_gives_the_same_tokenizer() -> None:
    text = ["The dog ran to the tree. The tree was tall.", "The bird sang to the dog."]
    first, second = (train_tokenizer(text, 300, 16) for _ in range(2))
    assert first.backend_tokenizer.to_str() == second.backend_tokenizer.to_str()


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_survives_its_tokens(text: str) -> None:
    ids = _SMALL(text)["input_ids"]
    assert _SMALL.decode(ids) == text
    assert 0 not in ids


_SMALL = train_tokenizer(["The dog ran to the tree. The tree was tall."], 280, 16)


def test_special_tokens_are_the_bundled_policys() -> None:
    bundled = load_policy().tokenizer
    for role in ("eos_token_id", "bos_token_id", "pad_token_id", "unk_token_id"):
        assert getattr(_SMALL, role) == getattr(bundled, role) == 0
    assert _SMALL.decode([0]) == bundled.decode([0]) == END_OF_TEXT
    assert _SMALL(END_OF_TEXT)["input_ids"] == bundled(END_OF_TEXT)["input_ids"] == [0]
    assert _SMALL("")["input_ids"] == bundled("")["input_ids"] == []


def test_the_stream_and_its_windows_by_hand() -> None:
    stream = TokenStream.of(STORIES, Letters(), 4, "here")
    assert stream.ids.tolist() == STREAM
    assert stream.story_starts(9).tolist() == [[0, 1, 2, 3], [0, 4, 5, 0], [0, 6, 7, 8]]
    assert stream.story_starts(2).tolist() == [[0, 1, 2, 3], [0, 4, 5, 0]]
    assert stream.consecutive(9).tolist() == [[0, 1, 2, 3], [0, 4, 5, 0], [6, 7, 8, 9]]
    assert stream.consecutive(1).tolist() == [[0, 1, 2, 3]]
    assert stream.tokens_a_character == pytest.approx(12 / 9)


def test_a_story_without_room_for_a_window_is_no_start() -> None:
    assert TokenStream.of(STORIES, Letters(), 6, "here").starts.tolist() == [0, 4, 7]
    assert TokenStream.of(STORIES, Letters(), 7, "here").starts.tolist() == [0, 4]
    assert TokenStream.of(STORIES, Letters(), 13, "here").starts.tolist() == [0]


def test_a_text_shorter_than_a_window_says_so() -> None:
    with pytest.raises(CorpusError, match=r"'here' gives 13 tokens, too few for one window of 14: give a longer text"):
        TokenStream.of(STORIES, Letters(), 14, "here")


def test_half_of_the_training_windows_begin_a_story() -> None:
    stream = TokenStream.of(STORIES, Letters(), 3, "here")
    slices = {tuple(STREAM[first : first + 3]) for first in range(len(STREAM) - 2)}
    windows = stream.draw(401, generator(0, 1)).tolist()
    assert {tuple(window) for window in windows[:200]} == {(0, 1, 2), (0, 4, 5), (0, 6, 7)}
    # 201 draws from 11 positions miss one of them with a probability below 11 * (10 / 11) ** 201 = 5e-8.
    assert {tuple(window) for window in windows[200:]} == slices


@given(st.integers(0, 2**31 - 1))
def test_windows_belong_to_their_generator(seed: int) -> None:
    stream = TokenStream.of(STORIES, Letters(), 3, "here")
    windows = stream.draw(6, generator(seed, 0))
    torch.rand(3)
    assert torch.equal(windows, stream.draw(6, generator(seed, 0)))
