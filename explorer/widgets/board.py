"""The Board: the one model that every view in the browser reads.

It holds the batch on screen as binary arrays, the run's curves, the words of the chosen language, and the pinned
token. A view listens to it in the browser, so that hovering and pinning cost no round trip to the kernel.
"""

from __future__ import annotations

from typing import Any

from traitlets import Bool, Dict, Int, List, Unicode

from explorer.widgets.on_loop import OnLoopWidget


class Board(OnLoopWidget):
    """Shared state of the page; drawn by the views, written by ``explorer.app``."""

    _esm = "export default { render() {} }"

    batch = Dict(help="The update on screen: see explorer.views.batch.").tag(sync=True)
    ghost = Dict(help="Its scoring as trained, while it is re-scored: see explorer.views.scoring.").tag(sync=True)
    plane = Dict(help="The objective's curve and clip where there is no update: see explorer.views.scoring.").tag(
        sync=True
    )
    pinned = List(help="[response, token] of the pinned token; empty when none is.").tag(sync=True)
    hovering = List(help="[response, token] on which the pointer rests while the ledger is on screen; else empty.").tag(
        sync=True
    )
    quantity = Unicode("ratio", help="What colours the tokens.").tag(sync=True)
    quantities = Dict(help="{name: {kind, low, high}} of every token quantity.").tag(sync=True)
    strip = Dict(help="How the responses stand, by which choices: see AS_SAMPLED in widgets/order.js.").tag(sync=True)
    fitted = Dict(help="{quantity: [low, high]} of the scales that were fitted to a batch.").tag(sync=True)
    words = Dict(help="Every label in the chosen language.").tag(sync=True)
    language = Unicode("en").tag(sync=True)
    theme = Unicode("auto", help="auto, light or dark.").tag(sync=True)
    clip_view = Unicode("objective", help="What the clip picture shows: objective or probabilities.").tag(sync=True)
    kl_view = Unicode("token", help="What the KL panel shows: token, response or update.").tag(sync=True)
    run_view = Unicode("curves", help="What the run's panel shows: curves, frontier or gauge.").tag(sync=True)
    gauge = Dict(help="Score and held-out judge while they are on screen: see explorer.views.gauge.").tag(sync=True)
    lower = Unicode("advantages", help="The panel in the middle's lower half: one of LOWER in frame.js.").tag(sync=True)
    ledger = Dict(help="The hovered token's ledger, else the pinned one's, on screen: see explorer.views.ledger.").tag(
        sync=True
    )
    reward = Dict(help="The reward's components while they are on screen: see explorer.views.reward.").tag(sync=True)
    annotate = Dict(help="The annotator while it is on screen: see explorer.views.annotate.").tag(sync=True)
    parts = Dict(help="The exact parts of the gradient, where they are asked for: see explorer.views.parts.").tag(
        sync=True
    )
    run = Dict(help="Where the run stands: update, stage, rate, mode, error; see explorer.views.run.").tag(sync=True)
    series = Dict(help="The run's metrics: see explorer.views.curves.").tag(sync=True)
    behind = Dict(help="Other runs behind the curves; empty without any: see explorer.views.behind.").tag(sync=True)
    shelf = Dict(help="The recorded runs, empty where none are kept: see explorer.views.runs.").tag(sync=True)
    samples = Dict(help="The same prompts answered by the reference and by the policy.").tag(sync=True)
    trial = Dict(help="The last prompt that was tried.").tag(sync=True)
    drawn = Int(0, help="How many batches the browser has drawn; 0 until the page is on screen.").tag(sync=True)
    heartbeat = Int(0, help="Grows while a page of its own is open; a notebook's view sends none.").tag(sync=True)
    replay = Dict(help="{name, policy} of the recorded run that a page without training shows; else empty.").tag(
        sync=True
    )
    wants_samples = Bool(False, help="Whether the samples are on screen and should be kept fresh.").tag(sync=True)

    def show(self, **state: Any) -> None:
        """Set several traits in one message."""
        with self.hold_sync():
            for name, value in state.items():
                setattr(self, name, value)
