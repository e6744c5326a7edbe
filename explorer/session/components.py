"""The reward's components as the page edits them: added, changed, renamed, removed, set aside and taken back.

Each change is one of the settings and acts from the next update on. A component that the batch on screen was trained
without is measured on its recorded texts in the worker, so that what it would have done is seen at once; so is what a
component finds in one response, where somebody looks closely.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from traitlets import Any as AnyTrait
from traitlets import Dict, HasTraits

from explorer.recipes import Recipe, as_text
from explorer.recording.snapshot import Snapshot

if TYPE_CHECKING:
    from explorer.session.session import Session


class Components(HasTraits):
    """Commands and traits belong to the loop; what needs the policy is done in the worker.

    Args:
        session: whose settings are edited, and whose worker measures.
    """

    asked = AnyTrait(None, help="(response, component) that is looked at closely; None where nobody looks.")
    closely = Dict(help="{update, response, component, tokens, twin} of what is asked for; empty until it is there.")
    reasons = Dict(help="{name: why it was set aside}, of those that this page has seen fail.")
    removed = AnyTrait((), help="Built-in ones and functions that are off the list; weight brings one back.")

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._of: Snapshot | None = None
        self._measured: dict[str, tuple[str, Any]] = {}  # by name: the recipe's text, and [B] or None where it failed
        self._busy = self._looking = False
        self._looked: Any = None
        session.observe(self._look, ["recorded", "config", "phase", "mode", "live", "waiting"])
        session.observe(self._list_what_counts, "config")
        session.cursor.observe(self._look, "follow")
        self.observe(self._look_closely, "asked")

    # ------------------------------------------------------------------ commands

    def put(self, name: str, recipe: Recipe | str, weight: Any = None, was: str = "") -> None:
        """Add a component, or change and rename one.

        Args:
            name: its name.
            recipe: as ``explorer.recipes`` has it.
            weight: its weight; None keeps that of ``was``, or is 1.
            was: the component that it takes the place of; "" adds one.

        Raises:
            ValueError, TypeError: the name is taken, or the recipe cannot be; of an expression that does not parse the
                cause is the ``ExpressionError``. Nothing has changed.
            RuntimeError: the policy is still loading, or could not be loaded.
        """
        session, config = self._session, self._session.config
        if was:
            self._check_own(was)
        if name != was and name in {*session.engine.trainer.reward_model.components, *config.components}:
            raise ValueError(f"There is a component '{name}' already: give this one another name.")
        changes: dict[str, Any] = {f"component_{name}": recipe}
        if was and was != name:
            changes[f"component_{was}"] = None
        if weight is not None or was:
            changes[f"weight_{name}"] = config.weights[was] if weight is None else weight
        changes["set_aside"] = [other for other in config.set_aside if other not in (was, name)]
        session.set(**changes)
        self._forget(was, name)

    def remove(self, name: str) -> None:
        """Take a component and its weight away.

        One that is built in or a function stays known and is measured as ever: its weight is 0, and it is off the list.

        Raises:
            ValueError: there is no such component.
        """
        config = self._session.config
        if name not in config.weights:
            raise ValueError(f"There is no component '{name}' to remove.")
        own = name in config.components
        changes: dict[str, Any] = {f"component_{name}": None} if own else {f"weight_{name}": 0.0}
        self._session.set(**changes)
        if not own:
            self.removed = (*(other for other in self.removed if other != name), name)
        self._forget(name)

    def take_back(self, name: str) -> None:
        """List a component that was removed again; one that was set aside is measured from the next update on."""
        self.removed = tuple(other for other in self.removed if other != name)
        self._session.set(set_aside=[other for other in self._session.config.set_aside if other != name])
        self._forget(name)

    def failed(self, name: str, why: str) -> None:
        """A component has failed in an update, and the update was made without it."""
        session = self._session
        self.reasons = {**self.reasons, name: why}
        session.config = session.engine.config = session.config.replace(set_aside=[*session.config.set_aside, name])

    def _list_what_counts(self, change: Any) -> None:
        self.removed = tuple(name for name in self.removed if not change["new"].weights.get(name))

    def _forget(self, *names: str) -> None:
        self.reasons = {name: why for name, why in self.reasons.items() if name not in names}

    def _check_own(self, name: str) -> None:
        if name not in self._session.config.components:
            raise ValueError(f"The component '{name}' is built in or a function of yours: duplicate it, and remove it.")

    # ------------------------------------------------------------------ what the batch on screen lacks

    def completed(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with what has been measured on it of the page's components that it was trained without."""
        config = self._session.config
        added = {
            name: values
            for name, (recipe, values) in (self._measured.items() if self._of is snapshot else ())
            if values is not None and name in config.components and as_text(config.components[name]) == recipe
        }
        if not added:
            return snapshot
        credit = snapshot.credit
        # One that is new differs by its weight alone, and is as trained at 0; another recipe is a scoring of its own.
        changed = {f"component_{name}": config.components[name] for name in added if name in snapshot.config.components}
        return dataclasses.replace(
            snapshot,
            config=snapshot.config.replace(**changed),
            credit=dataclasses.replace(credit, reward_components={**credit.reward_components, **added}),
        )

    def _lacking(self, snapshot: Snapshot) -> list[str]:
        config, theirs = self._session.config, snapshot.config.components
        known = {n: r for n, (r, _) in self._measured.items()} if self._of is snapshot else {}
        return [
            name
            for name, recipe in config.components.items()
            if name not in config.set_aside
            and (theirs.get(name) != recipe or name not in snapshot.credit.reward_components)
            and known.get(name) != as_text(recipe)
        ]

    def _look(self, change: Any = None) -> None:
        """Have measured what the batch on screen lacks, where it stays there; then look closely."""
        session, snapshot = self._session, self._session.recorded
        stays = session.mode == "paused" or not session.cursor.follow
        # ReMax compares with greedy answers, whose texts are not recorded.
        if isinstance(snapshot, Snapshot) and session.phase == "ready" and not snapshot.credit.greedy_components:
            lacking = self._lacking(snapshot)
            if lacking and stays and not self._busy:
                self._busy = True
                session.worker.submit(self._measuring(snapshot, lacking))
        self._look_closely()

    def _measuring(self, snapshot: Snapshot, names: list[str]) -> Any:
        session, config, digest = self._session, self._session.config, self.made_by()

        def job() -> None:
            found: dict[str, Any] = {}
            try:
                for name in names if session.engine.batches.has_made(digest) else ():
                    try:
                        found[name] = session.engine.batches.measure(snapshot, config, name)
                    except Exception as error:  # it will be set aside in the next update, should it fail there too
                        session.loop.post(session.report, error)
            finally:
                session.loop.post(self._take, snapshot, config, {name: found.get(name) for name in names})

        return job

    def _take(self, of: Snapshot, config: Any, found: Mapping[str, Any]) -> None:
        self._busy = False
        if of is not self._of:
            self._of, self._measured = of, {}
        self._measured |= {name: (as_text(config.components[name]), values) for name, values in found.items()}
        if of is self._session.recorded:
            self._session.draw_again()
        self._look()

    def made_by(self) -> str | None:
        """Of the policy that has made what is on screen; None where it is this session's own."""
        session = self._session
        return None if session.live and not session.waiting else session.history.policy_digest

    # ------------------------------------------------------------------ what a component finds in a response

    def _look_closely(self, change: Any = None) -> None:
        session, snapshot, asked = self._session, self._session.recorded, self.asked
        known = isinstance(snapshot, Snapshot) and session.phase == "ready"
        if asked is None or not known or asked[0] >= len(snapshot.tokens.responses):
            self.closely, self._looked = {}, None
            return
        wanted = (snapshot, asked, session.config.components.get(asked[1]))
        if self._looking or self._is(wanted):
            return
        self._looking = True
        config, digest = session.config, self.made_by()

        def job() -> None:
            found: dict[str, Any] = {}
            try:
                if session.engine.batches.has_made(digest):
                    found = session.engine.batches.look_closely(snapshot, config, *asked)
            finally:
                session.loop.post(self._show_closely, wanted, found)

        session.worker.submit(job)

    def _is(self, wanted: tuple[Any, ...]) -> bool:
        """Whether that is what was looked at last."""
        return self._looked is not None and self._looked[0] is wanted[0] and self._looked[1:] == wanted[1:]

    def _show_closely(self, looked: tuple[Any, ...], found: Mapping[str, Any]) -> None:
        self._looking, self._looked = False, looked
        snapshot, asked, _ = looked
        if asked == self.asked and snapshot is self._session.recorded:
            self.closely = {"update": snapshot.update, "response": asked[0], "component": asked[1], **found}
        self._look_closely()
