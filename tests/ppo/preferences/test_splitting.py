"""Which labels teach and which judge."""

from __future__ import annotations

import pytest

from explorer.ppo.preferences.comparisons import Comparison, PreferenceError
from explorer.ppo.preferences.splitting import (
    MOST_NAMED,
    judges_share,
    name_of,
    names_of,
    packed,
    unpacked,
    without,
)


def said(*choices: str, first: int = 0) -> list[Comparison]:
    """A label of a pair of its own for each choice."""
    return [Comparison("p", f"x{n}", f"y{n}", choice) for n, choice in enumerate(choices, start=first)]


def pairs_of(labels: list[Comparison]) -> list[int]:
    return [int(label.a[1:]) for label in labels]


def test_a_pair_has_one_name_however_it_was_shown_and_whatever_was_said() -> None:
    label = Comparison("p", "x", "y", "a")
    assert name_of(label) == name_of(label.swapped) == name_of(Comparison("p", "x", "y", "tie"))
    others = [Comparison("q", "x", "y", "a"), Comparison("p", "x", "z", "a"), Comparison("p", 'x", "y', "", "a")]
    assert len({name_of(other) for other in [label, *others]}) == 4


def test_names_go_into_a_recipe_and_come_out_of_it() -> None:
    names = names_of(said("a", "b", "tie", "skip"))
    assert len(names) == 3  # a pair that was skipped teaches nothing
    assert unpacked({"pairs": packed(names)}) == names
    assert unpacked({"pairs": packed(frozenset())}) == frozenset()


@pytest.mark.parametrize("recipe", [{}, {"pairs": None}, {"pairs": "%"}, {"pairs": "AAAA"}, {"pairs": 3}])
def test_a_recipe_that_does_not_say_which_pairs_is_not_taken_to_have_none(recipe: dict[str, object]) -> None:
    assert unpacked(recipe) is None


def test_of_too_many_pairs_none_is_named() -> None:
    names = frozenset(n.to_bytes(5, "big") for n in range(MOST_NAMED + 1))
    assert packed(names) is None and packed(names - {bytes(5)}) is not None


def test_where_labels_teach_nothing_yet_every_second_pair_judges() -> None:
    labels = said(*"ababababab")
    share = judges_share(labels, frozenset())
    assert pairs_of(share) == [1, 3, 5, 7, 9]
    rest = without(labels, names_of(share))
    assert pairs_of(rest) == [0, 2, 4, 6, 8]


def test_however_many_ties_there_are_both_sides_get_as_many_choices() -> None:
    labels = said("a", "tie", "b", "tie", "tie", "a", "b", *["tie"] * 3, *"ababab")
    assert pairs_of(judges_share(labels, frozenset())) == [2, 3, 6, 7, 9, 11, 13, 15]


def test_a_pair_stays_on_its_side_as_more_are_labelled_again_or_anew() -> None:
    labels = said(*"ababababab")
    before = names_of(judges_share(labels, frozenset()))
    more = [*labels, labels[3].swapped, labels[2], *said("skip", *"abab", first=10)]
    after = names_of(judges_share(more, frozenset()))
    assert before < after and names_of(labels) & after == before
    assert names_of([labels[3], labels[2]]) & after == names_of([labels[3]])


def test_a_judge_gets_the_pairs_that_the_reward_was_not_taught_by() -> None:
    labels = said(*"ababababab", "skip", "tie", *"babab")
    share = judges_share(labels, names_of(labels[:10]))
    assert pairs_of(share) == [11, 12, 13, 14, 15, 16]
    assert not names_of(share) & names_of(labels[:10])


def test_with_too_few_other_pairs_it_gets_every_second_one_though_it_shares_some() -> None:
    labels = said(*"abababababab")
    share = judges_share(labels, names_of(labels[:10]))
    assert pairs_of(share) == [1, 3, 5, 7, 9, 11]
    assert len(names_of(share) & names_of(labels[:10])) == 5


def test_a_judge_of_too_few_choices_is_refused() -> None:
    with pytest.raises(PreferenceError, match="at least 5 choices of A or B among them; there are 4"):
        judges_share(said(*"abababab", "tie", "tie"), frozenset())
    with pytest.raises(PreferenceError, match="there are 0: label some more"):
        judges_share([], frozenset())
