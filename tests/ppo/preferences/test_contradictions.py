from __future__ import annotations

import random
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from explorer.ppo.preferences.comparisons import Comparison
from explorer.ppo.preferences.contradictions import find_contradictions


def over(chosen: str, rejected: str, prompt: str = "p") -> Comparison:
    return Comparison(prompt, chosen, rejected, "a")


def test_labels_that_some_reward_agrees_with():
    found = find_contradictions([over("x", "y"), over("y", "z"), over("x", "z"), over("x", "y")])
    assert (found.count, found.both_ways, found.circles) == (0, 0, ())


def test_the_same_pair_labelled_both_ways():
    labels = [over("x", "y"), over("u", "v"), over("x", "y").swapped, over("y", "x")]
    found = find_contradictions(labels)
    assert found.both_ways == 1
    assert found.on_circles == (0, 2, 3)
    (circle,) = found.circles
    assert sorted(circle) == [0, 3]


def test_a_circle_of_three_is_in_no_pair():
    found = find_contradictions([over("x", "y"), over("y", "z"), over("z", "x"), over("x", "w")])
    assert (found.both_ways, found.on_circles) == (0, (0, 1, 2))
    (circle,) = found.circles
    assert sorted(circle) == [0, 1, 2]


def test_two_tangles_have_a_short_circle_each():
    labels = [
        over("a", "b"),
        over("b", "c"),
        over("c", "a"),
        over("b", "a"),
        over("x", "y"),
        over("y", "x"),
        over("a", "x"),
    ]
    found = find_contradictions(labels)
    assert found.both_ways == 2 and found.count == 6
    assert sorted(sorted(circle) for circle in found.circles) == [[0, 3], [4, 5]]


def test_the_same_texts_after_another_prompt_are_other_texts():
    found = find_contradictions([over("x", "y", "one"), over("y", "x", "two")])
    assert found.count == found.both_ways == 0


def test_ties_and_skips_are_in_no_circle_but_a_tie_that_was_decided_is_counted():
    labels = [over("x", "y"), Comparison("p", "y", "x", "tie"), Comparison("p", "y", "x", "skip")]
    found = find_contradictions(labels)
    assert (found.count, found.tied_and_decided) == (0, 1)


def test_a_text_over_itself_is_a_circle():
    assert find_contradictions([over("x", "x")]).circles == ((0,),)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=7))
def test_there_is_no_circle_exactly_where_some_order_agrees_with_every_label(pairs):
    found = find_contradictions([over(str(a), str(b)) for a, b in pairs])
    agrees = any(all(order.index(a) > order.index(b) for a, b in pairs) for order in permutations(range(5)))
    assert (found.count == 0) == agrees
    for circle in found.circles:
        steps = [pairs[place] for place in circle]
        assert all(first[0] == second[1] for first, second in zip(steps, steps[1:] + steps[:1], strict=True))
    without = [pair for place, pair in enumerate(pairs) if place not in found.on_circles]
    assert find_contradictions([over(str(a), str(b)) for a, b in without]).count == 0


def test_many_labels_take_no_time():
    drawing = random.Random(0)
    labels = [over(str(drawing.randrange(3000)), str(drawing.randrange(3000))) for _ in range(6000)]
    chain = [over(str(n + 1), str(n), "chain") for n in range(20_000)]
    assert find_contradictions([*labels, *chain]).count > 1000
