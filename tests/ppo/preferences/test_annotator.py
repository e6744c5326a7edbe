from __future__ import annotations

from itertools import repeat

import pytest

from explorer.ppo.preferences.annotator import SimulatedAnnotator
from explorer.ppo.preferences.comparisons import Comparison, PreferenceError

PAIR = ("p", "a cat", "a box")


def test_it_goes_by_its_rule():
    annotator = SimulatedAnnotator(rule="mentions_animal")
    assert annotator.choose(PAIR) == "a"
    assert annotator.choose(("a dog", "a box", "a cat")) == "b"
    assert annotator.choose(("p", "a dog", "a cat")) == "tie"


def test_a_margin_makes_ties():
    pair = ("p", "xx", "xxxx")
    assert SimulatedAnnotator(rule=len, tie_margin=1.9).choose(pair) == "b"
    assert SimulatedAnnotator(rule=len, tie_margin=2).choose(pair) == "tie"


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.3, 1.0])
def test_slips_come_as_often_as_asked_and_the_same_every_time(noise):
    annotator = SimulatedAnnotator(rule="mentions_animal", noise=noise, seed=3)
    said = [annotator.choose(PAIR, number) for number in range(2000)]
    assert said.count("b") / 2000 == pytest.approx(noise, abs=0.035)  # three standard errors
    assert said == [annotator.choose(PAIR, number) for number in range(2000)]
    other = SimulatedAnnotator(rule="mentions_animal", noise=noise, seed=4)
    assert noise in (0, 1) or said != [other.choose(PAIR, number) for number in range(2000)]


def test_a_swapped_pair_gets_the_swapped_answer():
    annotator = SimulatedAnnotator(rule=len, noise=0.5)
    for number in range(50):
        made = Comparison("p", "x", "yy", annotator.choose(("p", "x", "yy"), number))
        assert annotator.choose(("p", "yy", "x"), number) == made.swapped.choice


def test_any_number_of_decided_pairs():
    annotator = SimulatedAnnotator(rule=len)
    endless = (("p", "x" * (n % 3), "y") for n in range(10**9))
    made = annotator.label(endless, decided=5)
    assert [c.choice for c in made] == ["b", "tie", "a", "b", "tie", "a", "b"]
    assert annotator.label(repeat(PAIR), decided=0) == []
    assert len(annotator.label([PAIR] * 3)) == 3


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"rule": "beauty"}, "rule is 'beauty', but must be one of has_dialogue"),
        ({"rule": len, "noise": 1.5}, "noise is 1.5"),
        ({"rule": len, "tie_margin": float("nan")}, "tie_margin is nan"),
    ],
)
def test_what_cannot_be(how, reason):
    with pytest.raises(PreferenceError, match=reason):
        SimulatedAnnotator(**how)


def test_a_rule_that_sees_no_difference_says_so():
    with pytest.raises(PreferenceError, match="only 0 of 4 pairs could be decided"):
        SimulatedAnnotator(rule=len).label([("p", "x", "y")] * 3, decided=4)
