"""The panels: thin classes, each with a script of its own in ``widgets/``. All but the toy draw the Board's batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from traitlets import Dict, Unicode

from explorer.config import CHOICES, Config
from explorer.prompt_sets import prompt_sets
from explorer.recipes import KINDS, TYPED
from explorer.session.annotator import SOURCES, WAYS
from explorer.session.labels import YOU
from explorer.views.annotate import learning_table
from explorer.views.inspector import inspector_picture
from explorer.views.ladder import ladder_picture
from explorer.views.toy import BATCH_SIZES, CRITICS, Choices, article_toy, cloud_picture, drag_picture
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

    sets = Dict(help="The bundled prompts by name, to fill the box with: {name: [text]}.").tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        super().__init__(sets=prompt_sets(), **traits)


class Runs(BoardView):
    """The shelf of runs, the past of the one on screen, and several seeds of its settings (``widgets/runs.js``)."""

    _esm = script("runs")
    _css = style()


class Reward(BoardView):
    """The reward's components, each score as a stack of them, and a form to edit one (``widgets/reward.js``).

    Args:
        on_command: called on the loop with what a button asks; what it raises is told in the form.
    """

    _esm = script("reward")
    _css = style()

    chosen = Unicode("", help="The component that is looked at closely; empty before the reader has chosen one.").tag(
        sync=True
    )
    kinds = Dict(help="{kind: [what its recipe asks for, and what it takes besides]}, of those that are typed.").tag(
        sync=True
    )

    def __init__(self, on_command: Callable[[dict[str, Any]], None], **traits: Any) -> None:
        kinds = {kind: [part for parts in KINDS[kind] for part in parts] for kind in TYPED}
        super().__init__(kinds=kinds, **traits)
        self._on_command = on_command
        self.on_msg(lambda widget, content, buffers: self._answer(content))

    def _answer(self, message: dict[str, Any]) -> None:
        """Do what is asked and say how it went: what was typed stays until it is taken."""
        try:
            self._on_command(message)
        except Exception as error:  # a message has no cell to show its error in
            pointed = getattr(error.__cause__, "pointed", "")
            reason = getattr(error.__cause__, "reason", "") or str(error)
            self.send({"kind": "refused", "of": message.get("kind"), "message": reason, "pointed": pointed})
        else:
            self.send({"kind": "taken", "of": message.get("kind"), "name": message.get("name", "")})


class Annotate(BoardView):
    """Pairs to label, what the labels teach, and what so many of them can (``widgets/annotate.js``).

    Args:
        on_command: called on the loop with what a button or a key asks; gives what there is to tell of it. What it
            raises is told in the panel.
    """

    _esm = script("annotate")
    _css = style()

    offered = Dict(help="{who, way, source: [what there is to choose from]}.").tag(sync=True)
    table = Dict(help="See explorer.views.annotate.learning_table.").tag(sync=True)

    def __init__(self, on_command: Callable[[dict[str, Any]], dict[str, Any]], **traits: Any) -> None:
        table = learning_table()
        rules = list(dict.fromkeys(row[0] for row in table["rows"]))
        offered = {"who": [YOU, *rules], "way": list(WAYS), "source": list(SOURCES)}
        super().__init__(offered=offered, table=table, **traits)
        self._on_command = on_command
        self.on_msg(lambda widget, content, buffers: self._answer(content))

    def _answer(self, message: dict[str, Any]) -> None:
        try:
            self.send({"kind": "taken", "of": message.get("kind"), **self._on_command(message)})
        except Exception as error:  # a message has no cell to show its error in
            self.send({"kind": "refused", "of": message.get("kind"), "message": str(error)})


class LedgerPanel(BoardView):
    """Where the pinned token's numbers come from, line by line (``widgets/ledger.js``)."""

    _esm = script("ledger")
    _css = style()


class WhileOpen(BoardView):
    """A panel of the lower half with a picture of its own, made while it is on screen and for nothing twice.

    Args:
        on_error: called on the loop with what drawing raises.
    """

    key = ""
    picture = Dict(help="What it draws beside the batch; empty until there is something.").tag(sync=True)

    def __init__(self, on_error: Callable[[BaseException], None], **traits: Any) -> None:
        self._on_error = on_error
        self._asked: tuple[Any, int] = (None, -1)
        self._drawn: tuple[Any, int] = (None, -1)
        super().__init__(**traits)
        self.board.observe(lambda change: self._draw(), "lower")

    def under(self, shown: Any, epoch: int = -1) -> None:
        """Take what is on screen; None while there is nothing, or what it takes to draw it has not loaded."""
        self._asked = shown, epoch
        self._draw()

    def _draw(self) -> None:
        (shown, epoch), (before, drawn) = self._asked, self._drawn
        if self.board.lower != self.key or (shown is before and epoch == drawn):
            return
        try:
            self.picture = {} if shown is None else self._picture(shown, epoch)
            self._drawn = self._asked
        except Exception as error:  # an observer has no cell to show its error in
            self._on_error(error)

    def _picture(self, shown: Any, epoch: int) -> dict[str, Any]:
        raise NotImplementedError


class Inspector(WhileOpen):
    """The pinned token under three policies, and whether the update kept its promise (``widgets/inspector.js``)."""

    _esm = script("inspector")
    _css = style()
    key = "inspector"

    def _picture(self, shown: Any, epoch: int) -> dict[str, Any]:
        return inspector_picture(shown, epoch)


class Ladder(WhileOpen):
    """The pinned token's advantage as a stack of later deltas, beside other estimators (``widgets/ladder.js``)."""

    _esm = script("ladder")
    _css = style()
    key = "ladder"

    def _picture(self, shown: Any, epoch: int) -> dict[str, Any]:
        return ladder_picture(shown)


class ExactToy(BoardView):
    """The toy in which everything can be enumerated: a probability to drag, and a cloud (``widgets/toy.js``).

    Nothing is computed while another panel is in its place, nor what no choice has changed: a drag leaves the cloud.

    Args:
        on_error: called on the loop with what a choice raises; the panel goes back to the choices before.
        on_choice: called after a choice that was taken.
    """

    _esm = script("toy")
    _css = style()

    asked = Dict(help="What is chosen in the panel: the fields of explorer.views.toy.Choices.").tag(sync=True)
    dragged = Dict(help="See explorer.views.toy.drag_picture; empty until PyTorch has loaded.").tag(sync=True)
    cloud = Dict(help="See explorer.views.toy.cloud_picture.").tag(sync=True)
    offered = Dict(help="{choice: [what there is to choose from]}.").tag(sync=True)

    def __init__(
        self, on_error: Callable[[BaseException], None], on_choice: Callable[[], None] = lambda: None, **traits: Any
    ) -> None:
        self._on_error, self._on_choice = on_error, on_choice
        self._choices = Choices()
        self._config: Config | None = None
        self._drawn: dict[str, Any] = {}
        offered = {"estimator": list(CHOICES["estimator"]), "batch_size": list(BATCH_SIZES), "critic": list(CRITICS)}
        super().__init__(asked=dataclasses.asdict(self._choices), offered=offered, **traits)
        self.observe(self._take, "asked")
        self.board.observe(lambda change: self._draw(), "lower")

    def under(self, config: Config | None) -> None:
        """Take the page's settings; None while PyTorch has not loaded, when the loop must not wait for it."""
        self._config = config
        self._draw()

    def _take(self, change: Any) -> None:
        if self._draw():
            self._on_choice()

    def _draw(self) -> bool:
        """Draw what has changed; False where nothing is to be drawn, or a choice was refused."""
        config = self._config
        if config is None or self.board.lower != "toy":
            return False
        try:
            choices = Choices(**self.asked)
            cloud = dataclasses.replace(choices, probability=None)
            self._renew("dragged", (choices.probability, config), drag_picture, config, choices.probability)
            self._renew("cloud", (cloud, config.gamma, config.gae_lambda), cloud_picture, config, cloud)
        except Exception as error:  # a message has no cell to show its error in
            self.asked = dataclasses.asdict(self._choices)
            self._on_error(error)
            self.send({"kind": "rejected"})
            return False
        self._choices = choices
        return True

    def _renew(self, trait: str, key: Any, picture: Callable[..., dict[str, Any]], *arguments: Any) -> None:
        if self._drawn.get(trait) != key:
            self.set_trait(trait, picture(article_toy(), *arguments))
            self._drawn[trait] = key
