"""What a simulated annotator goes by: one number a text, of which the higher wins. The learner never sees them.

They are made of the text alone, while the reward model reads the policy's hidden states: what it finds out of a rule,
it finds out of the labels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from explorer.ppo.rewards.sentiment import compound

# The animals of children's stories, each in the singular and in the plural.
_ANIMALS = """
    animal animals ant ants bear bears bee bees bird birds bug bugs bunny bunnies butterfly butterflies
    cat cats chick chicks chicken chickens cow cows crab crabs crow crows deer dinosaur dinosaurs dog
    dogs dolphin dolphins donkey donkeys dragon dragons duck ducks duckling ducklings eagle eagles
    elephant elephants fish fishes fox foxes frog frogs giraffe giraffes goat goats goose geese hen hens
    horse horses insect insects kitten kittens kitty kitties lamb lambs lion lions lizard lizards monkey
    monkeys mouse mice octopus owl owls panda pandas parrot parrots penguin penguins pet pets pig pigs
    pony ponies pup pups puppy puppies rabbit rabbits rat rats shark sharks sheep snail snails snake
    snakes spider spiders squirrel squirrels tiger tigers toad toads turtle turtles whale whales wolf
    wolves worm worms zebra zebras
"""

_ANIMAL = re.compile(rf"\b(?:{'|'.join(_ANIMALS.split())})\b", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


def has_dialogue(text: str) -> float:
    """1 where somebody speaks, which is where there is a double quotation mark; else 0."""
    return float(any(mark in text for mark in '"“”'))


def mentions_animal(text: str) -> float:
    """1 where a word is one of a list of the animals of children's stories, in whatever case; else 0."""
    return float(_ANIMAL.search(text) is not None)


def sentiment(text: str) -> float:
    """VADER's compound score in [-1, 1], as the reward component of that name."""
    return compound(text)


def short_words(text: str) -> float:
    """Minus the mean number of letters a word, an apostrophe among them counted; 0 without words."""
    words = _WORD.findall(text)
    return -sum(len(word) for word in words) / len(words) if words else 0.0


#: Every rule by name, in the order in which they are shown.
RULES: Mapping[str, Callable[[str], float]] = MappingProxyType(
    {
        "has_dialogue": has_dialogue,
        "mentions_animal": mentions_animal,
        "sentiment": sentiment,
        "short_words": short_words,
    }
)
