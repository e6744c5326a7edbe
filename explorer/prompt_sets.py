"""The prompts that ship, by name. They are read without PyTorch: the page and the command line offer them at once."""

from __future__ import annotations

import json

from explorer.bundled import asset_path


def prompt_sets() -> dict[str, list[str]]:
    """The bundled prompts by name.

    ``stories`` are the eight that a run trains on unless told otherwise: neutral openings whose continuations by the
    bundled policy are mildly positive, so a sentiment reward has room to rise. ``openings`` has them and many more,
    for a look at prompts that were not trained on. ``gender_pairs`` lists partners that differ only in gender one
    after the other.
    """
    sets: dict[str, list[str]] = json.loads(asset_path("prompts.json").read_text(encoding="utf-8"))
    return sets
