"""Labels that contradict each other: no reward can agree with all of them.

Within one prompt every decided comparison is an arrow from the rejected text to the chosen one. A reward that agreed
with all of them would rise along every arrow, so it cannot exist where arrows run in a circle. Two labels of the same
pair that say the opposite are the smallest circle; "A over B, B over C, C over A" is the next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from explorer.ppo.preferences.comparisons import Comparison

#: Prompt and response: the same response to another prompt is another text.
Text = tuple[str, str]

#: From how many texts of one tangle its shortest circle is looked for: enough for any that is looked at.
STARTS = 50


@dataclass(frozen=True)
class Contradictions:
    """Where labels disagree with each other.

    Attributes:
        both_ways: pairs of texts of which each was preferred to the other at least once.
        tied_and_decided: pairs that were called equal and were also decided. No contradiction in the strict sense.
        on_circles: the places, in the sequence that was given, of the comparisons that lie on a circle.
        circles: for each tangle of circles a short one, as places of comparisons along the arrows; in a tangle of more
            than 50 texts there may be a shorter one.
    """

    both_ways: int
    tied_and_decided: int
    on_circles: tuple[int, ...]
    circles: tuple[tuple[int, ...], ...]

    @property
    def count(self) -> int:
        """How many comparisons contradict others, each counted once."""
        return len(self.on_circles)


def find_contradictions(comparisons: Sequence[Comparison]) -> Contradictions:
    """Look for circles among the decided comparisons; ties and skips are in none. In time linear in their number.

    A comparison of a text with itself that was decided is a circle of one.
    """
    arrows: dict[Text, dict[Text, int]] = {}  # to -> the first comparison that says so
    tied = set()
    for place, comparison in enumerate(comparisons):
        first, second = (comparison.prompt, comparison.a), (comparison.prompt, comparison.b)
        if comparison.decided:
            low, high = (second, first) if comparison.choice == "a" else (first, second)
            arrows.setdefault(low, {}).setdefault(high, place)
            arrows.setdefault(high, {})
        elif comparison.choice == "tie":
            tied.add(frozenset((first, second)))
    decided = {frozenset((low, high)) for low, highs in arrows.items() for high in highs}
    both = {frozenset((low, high)) for low, highs in arrows.items() for high in highs if low in arrows[high]}
    tangle = _tangles(arrows)
    on_circles = [
        place
        for place, c in enumerate(comparisons)
        if c.decided and (c.chosen == c.rejected or tangle[c.prompt, c.chosen] == tangle[c.prompt, c.rejected])
    ]
    members: dict[int, list[Text]] = {}
    for text, number in tangle.items():
        members.setdefault(number, []).append(text)
    circles = [circle for texts in members.values() if (circle := _short_circle(arrows, texts))]
    return Contradictions(len(both), len(tied & decided), tuple(on_circles), tuple(circles))


def _tangles(arrows: dict[Text, dict[Text, int]]) -> dict[Text, int]:
    """The strongly connected component of every text, by Tarjan's algorithm (1972), without recursion."""
    order: dict[Text, int] = {}
    low: dict[Text, int] = {}
    found: dict[Text, int] = {}
    waiting: list[Text] = []
    for start in arrows:
        if start in order:
            continue
        order[start] = low[start] = len(order)
        waiting.append(start)
        path = [(start, iter(arrows[start]))]
        while path:
            text, rest = path[-1]
            for following in rest:
                if following not in order:
                    order[following] = low[following] = len(order)
                    waiting.append(following)
                    path.append((following, iter(arrows[following])))
                    break
                if following not in found:
                    low[text] = min(low[text], order[following])
            else:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[text])
                if low[text] == order[text]:
                    while text not in found:
                        found[waiting.pop()] = order[text]
    return found


def _short_circle(arrows: dict[Text, dict[Text, int]], texts: list[Text]) -> tuple[int, ...]:
    """The shortest circle through one of the first texts of a tangle, as places of comparisons; empty without any."""
    best: tuple[int, ...] = ()
    inside = set(texts)
    for start in texts[:STARTS]:
        reached: dict[Text, tuple[int, ...]] = {start: ()}
        queue = deque([start])
        while queue:
            text = queue.popleft()
            for following, place in arrows[text].items():
                way = (*reached[text], place)
                if following == start:
                    if not best or len(way) < len(best):
                        best = way
                    queue.clear()
                    break
                if following in inside and following not in reached:
                    reached[following] = way
                    queue.append(following)
        if best and len(best) <= 2:
            break
    return best
