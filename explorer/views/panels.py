"""The panels: thin classes, each with a script of its own in ``widgets/``. All of them draw the Board's batch."""

from __future__ import annotations

from explorer.widgets.on_loop import BoardView
from explorer.widgets.scripts import script, style


class Tokens(BoardView):
    """The responses as strips of tokens, coloured by a quantity, underlined by clip state (``widgets/tokens.js``)."""

    _esm = script("tokens")
    _css = style()


class Objective(BoardView):
    """The objective against the ratio, with this batch's own tokens on it (``widgets/objective.js``)."""

    _esm = script("objective")
    _css = style()


class Advantages(BoardView):
    """The pinned response in aligned rows: reward, value, advantage, ratio (``widgets/advantages.js``)."""

    _esm = script("advantages")
    _css = style()


class Kl(BoardView):
    """KL to the reference per token and per update, and to the old policy per update (``widgets/kl.js``)."""

    _esm = script("kl")
    _css = style()


class Samples(BoardView):
    """Prompts answered by reference and policy, one to try, the training prompts to edit (``widgets/samples.js``)."""

    _esm = script("samples")
    _css = style()
