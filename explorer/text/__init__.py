"""Every word on the page, in every language: ``labels.toml``, read once.

A leaf: it imports no other module of the package, and nothing beyond the standard library.
"""

from __future__ import annotations

import difflib
import functools
import tomllib
from importlib import resources
from typing import Any

#: The languages of the page, the default first.
LANGUAGES = ("en", "zh")


@functools.cache
def labels(language: str) -> dict[str, Any]:
    """The whole tree of ``labels.toml`` in one language.

    Args:
        language: one of ``LANGUAGES``.

    Returns:
        Nested dicts with a string at every leaf; placeholders such as ``{name}`` are not filled in. Made once a
        language and shared by all callers: copy it before you add to it.

    Raises:
        ValueError: there is no such language.
    """
    if language not in LANGUAGES:
        raise ValueError(f"language is {language!r}, but must be one of {', '.join(LANGUAGES)}.")
    tree: dict[str, Any] = _in_language(_catalogue(), language)
    return tree


def text(language: str, key: str, **values: object) -> str:
    """One text, its placeholders filled in: ``text("en", "ui.update", update=3)`` is "update 3".

    Args:
        language: one of ``LANGUAGES``.
        key: the path through the tree, joined by dots; ``metrics.objective/score.label`` for a metric.
        values: one for each placeholder of the text; more are ignored.

    Raises:
        ValueError: there is no such language.
        KeyError: there is no such text, the key names a whole table, or a placeholder is left without a value.
    """
    node: Any = labels(language)
    for depth, name in enumerate(parts := key.split(".")):
        if not isinstance(node, dict) or name not in node:
            raise KeyError(_why_it_is_missing(key, ".".join(parts[:depth]), name, node))
        node = node[name]
    if isinstance(node, dict):
        raise KeyError(f"'{key}' is a table, not one text: add one of {', '.join(node)}.")
    try:
        return str(node).format(**values)
    except KeyError as missing:
        raise KeyError(f"the text '{key}' needs a value for {{{missing.args[0]}}}: {node!r}") from None


def _in_language(node: Any, language: str) -> Any:
    """A table of exactly the languages becomes the text in one of them; a plain string stays as it is."""
    if not isinstance(node, dict):
        return node
    if node.keys() == set(LANGUAGES):
        return node[language]
    return {name: _in_language(inner, language) for name, inner in node.items()}


@functools.cache
def _catalogue() -> dict[str, Any]:
    return tomllib.loads(resources.files(__name__).joinpath("labels.toml").read_text(encoding="utf-8"))


def _why_it_is_missing(key: str, parent: str, name: str, node: Any) -> str:
    if not isinstance(node, dict):
        return f"there is no text '{key}': '{parent}' is a text already and holds no others."
    near = difflib.get_close_matches(name, node, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(node)}."
    return f"there is no text '{key}': '{parent or 'labels.toml'}' has no '{name}'; {hint}"
