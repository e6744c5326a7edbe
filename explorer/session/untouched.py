"""What the untouched policy's answers score, measured in the worker while the gauge is on screen."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from traitlets import Any as AnyTrait
from traitlets import Bool, HasTraits

from explorer.config import Config
from explorer.recipes import as_text

if TYPE_CHECKING:
    from explorer.session.session import Session

#: The settings on which the answers and what is measured of them depend.
FIELDS = ("seed", "judge", "set_aside", "length_target", "temperature", "stop_sentences", "response_length")

#: How many prompts a job answers, as many as a batch has as a rule: the page and the run go on between two jobs.
AT_ONCE = 8


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """Answers of the untouched policy.

    Attributes:
        judge: the judge by which they were measured, as ``Config.judge`` has it.
        components: ``{name: [P, m]}``, m answers to each of P prompts, before the weights.
        judged: ``[P, m]`` by that judge; None without one.
    """

    judge: str
    components: Mapping[str, np.ndarray]
    judged: np.ndarray | None


class Untouched(HasTraits):
    """Keeps ``sample`` in step with the settings; all of it runs on the loop but the jobs themselves.

    Args:
        session: whose settings are meant, and whose worker measures.
    """

    wanted = Bool(False, help="Whether somebody looks at the gauge.")
    sample = AnyTrait(None, help="A Sample for the settings in the page; None until it is there.")

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._busy = False
        self._key: Any = None
        self._failed: Any = None
        session.observe(self._look, ["config", "phase", "prompts", "recorded", "live", "waiting"])
        self.observe(self._look, "wanted")

    def _look(self, change: Any = None) -> None:
        session = self._session
        key = self._key_now()
        if self.sample is not None and key != self._key:
            self.sample = None
        if (
            self._busy
            or not self.wanted
            or session.phase != "ready"
            or key in (self._failed, self.sample and self._key)
        ):
            return
        self._busy, config = True, session.config
        self._ask(key, config, 0, [])

    def _key_now(self) -> Any:
        """All that the answers and what is measured of them depend on; the weights are not among it."""
        session, config = self._session, self._session.config
        recipes = tuple((name, as_text(recipe)) for name, recipe in config.components.items())
        return (*(getattr(config, field) for field in FIELDS), recipes, tuple(session.prompts), self._digest())

    def _digest(self) -> str | None:
        """Of the policy that has made what is on screen; None where it is this session's own."""
        session = self._session
        own = (session.live and not session.waiting) or not len(session.history)
        return None if own else session.history.policy_digest

    def _ask(self, key: Any, config: Config, first: int, parts: list[Any]) -> None:
        session = self._session
        digest = self._digest()

        def job() -> None:
            part = None
            try:
                if session.engine.batches.has_made(digest):  # a run of another policy began with other answers
                    part = session.engine.batches.sample_reference(config, first, AT_ONCE)
            finally:
                session.loop.post(self._take, key, config, first, parts, part)

        session.worker.submit(job)

    def _take(self, key: Any, config: Config, first: int, parts: list[Any], part: Any) -> None:
        current = key == self._key_now()
        if part is None or not current or not self.wanted:
            self._busy = False
            self._failed = key if part is None else self._failed
            self._look()
            return
        answers, total = part
        parts = [*parts, answers]
        if first + AT_ONCE < total:
            self._ask(key, config, first + AT_ONCE, parts)
            return
        judged = None if answers.judge is None else np.concatenate([p.judge for p in parts])
        components = {name: np.concatenate([p.components[name] for p in parts]) for name in answers.components}
        self._busy, self._key = False, key
        self.sample = Sample(judge=config.judge, components=components, judged=judged)
