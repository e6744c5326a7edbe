"""Reward components as plain data: what a Config holds of those that are not built in.

A recipe is a dict with a ``kind`` and what the kind asks for: ``{"kind": "keywords", "words": ["dog", "cat"]}``. It is
written into ``run.json`` and checkpoints with the other knobs, so that a run can be gone on with, and a branch says
which component was added. ``explorer.ppo.rewards.from_recipe`` makes the component.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

Recipe = Mapping[str, Any]

#: What each kind asks for, and what it takes besides.
KINDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = MappingProxyType(
    {
        "expression": (("expression",), ()),
        "keywords": (("words",), ("enough",)),
        "format": (("pattern",), ()),
        "reading_ease": ((), ()),
        "repetition": ((), ()),
        "copy": (("of",), ("length_target",)),
        # What judges are made of: explorer.ppo.rewards.judging.
        "rule": (("rule",), ()),
        "gendered": ((), ()),
        "sum": (("weights",), ()),
        # Learnt from labels: explorer.ppo.preferences.learned makes the recipe and says what its parts are.
        "learned": (
            ("policy", "reads", "head", "unit", "offset", "wordless"),
            ("decided", "ties", "held_out", "pairs", "trunk"),
        ),
    }
)

#: Judges that have a name of their own: what a simulated annotator goes by, whether anybody with a gender comes up, and
#: text that is coherent, diverse and free of bias, the composite that a learner may not have thought of.
JUDGES: Mapping[str, Recipe] = MappingProxyType(
    {
        "good_text": {"kind": "sum", "weights": {"coherence": 1.0, "diversity": 1.0, "unbiasedness": 1.0}},
        "gendered": {"kind": "gendered"},
        "has_dialogue": {"kind": "rule", "rule": "has_dialogue"},
        "mentions_animal": {"kind": "rule", "rule": "mentions_animal"},
        "short_words": {"kind": "rule", "rule": "short_words"},
    }
)

#: The kinds that a person types; the others are learnt, or chosen as a judge.
TYPED = tuple(kind for kind in KINDS if kind not in ("learned", "rule", "gendered", "sum"))

#: Components beside the built-in ones, characters of a name, characters of a recipe as JSON.
MOST, LONGEST_NAME, LONGEST = 12, 40, 4000

#: A learnt one has a number for every word that it knows: characters of its recipe as JSON.
LONGEST_LEARNED = 100_000


def checked_recipes(components: Mapping[str, Any]) -> Mapping[str, Recipe]:
    """Recipes by the component's name, read-only.

    Args:
        components: each recipe as a mapping or as its JSON.

    Raises:
        TypeError: it is no mapping of names to recipes.
        ValueError: a name or a recipe cannot be; the message names the component and says what to write.
    """
    if not isinstance(components, Mapping):
        raise TypeError(f"components is {components!r}, but must map each component's name to its recipe.")
    if len(components) > MOST:
        raise ValueError(f"There are {len(components)} components beside the built-in ones: {MOST} at most.")
    return MappingProxyType({_checked_name(name): _checked_recipe(name, given) for name, given in components.items()})


def checked_judge(judge: Any) -> str:
    """What ``Config.judge`` holds: "" for none, a name of ``JUDGES`` or of a component, or a recipe as JSON.

    Raises:
        TypeError: it is neither text nor a recipe.
        ValueError: it is a recipe that cannot be.
    """
    if isinstance(judge, Mapping) or (isinstance(judge, str) and judge.lstrip().startswith("{")):
        return as_text(_checked_recipe("judge", judge))
    if judge is None:
        return ""
    if not isinstance(judge, str):
        raise TypeError(f"judge is {judge!r:.80}, but must be the name of a judge or of a component, or a recipe.")
    return judge.strip()


def learned_judge(judge: str) -> Recipe | None:
    """The recipe of a judge that was learnt from labels, as ``Config.judge`` holds it; None of any other judge."""
    if not judge.startswith("{"):
        return None
    recipe: dict[str, Any] = json.loads(judge)
    return MappingProxyType(recipe) if recipe["kind"] == "learned" else None


def as_text(recipe: Recipe) -> str:
    """A recipe as JSON: the same text for the same recipe."""
    return json.dumps(dict(recipe), ensure_ascii=False, sort_keys=True)


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not name.strip() or name != name.strip() or not name.isprintable():
        raise ValueError(f"A component's name is {name!r}, but must be a word or a few, without blanks around.")
    if len(name) > LONGEST_NAME:
        raise ValueError(f"The component's name {name[:20]!r}… has {len(name)} characters: {LONGEST_NAME} at most.")
    return name


def _checked_recipe(name: str, given: Any) -> Recipe:
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            raise ValueError(f"The recipe of the component '{name}' is no JSON: {given[:80]!r}.") from None
    if not isinstance(given, Mapping):
        raise TypeError(f"The recipe of the component '{name}' is {given!r:.80}, but must be a mapping with a kind.")
    kind = given.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"The component '{name}' has the kind {kind!r:.80}: choose one of {', '.join(KINDS)}.")
    asked, besides = KINDS[kind]
    for part in asked:
        if part not in given:
            raise ValueError(f"The component '{name}', of the kind {kind}, lacks '{part}'.")
    for part in given:
        if part not in ("kind", *asked, *besides):
            raise ValueError(f"The component '{name}', of the kind {kind}, has {part!r:.80}, which is not part of it.")
    for part, value in given.items():
        _check_part(name, part, value)
    recipe = {part: list(value) if isinstance(value, (list, tuple)) else value for part, value in given.items()}
    longest = LONGEST_LEARNED if kind == "learned" else LONGEST
    if len(as_text(recipe)) > longest:
        raise ValueError(f"The recipe of the component '{name}' is longer than {longest} characters.")
    return MappingProxyType(recipe)


def _check_part(name: str, part: str, value: Any) -> None:
    words = isinstance(value, (list, tuple)) and all(isinstance(word, str) for word in value)
    whole = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 1024
    wanted = {"words": ("a list of words", words), "enough": ("a whole number from 1 to 1024", whole)}
    wanted["length_target"] = wanted["enough"]
    numbers = isinstance(value, Mapping) and all(
        isinstance(key, str)
        and isinstance(number, (int, float))
        and not isinstance(number, bool)
        and abs(number) <= 100
        for key, number in value.items()
    )
    wanted["weights"] = ("a number for each component", numbers and len(value) > 0)
    count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e12
    wanted |= {
        "reads": wanted["words"],
        "held_out": ("a share from 0 to 1, or null", value is None or (number and 0 <= value <= 1)),
    }
    wanted |= dict.fromkeys(("decided", "ties"), ("a whole number from 0", count))
    wanted |= dict.fromkeys(("unit", "offset", "wordless"), ("a number", number))
    what, right = wanted.get(part, ("text", isinstance(value, str)))
    if not right:
        raise ValueError(f"{part} of the component '{name}' is {value!r:.80}, but must be {what}.")
