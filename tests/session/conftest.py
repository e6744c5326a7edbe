"""Sessions of a tiny policy. Inline ones run everything in the caller: what follows a call can be read at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest

from explorer.config import Config
from explorer.ppo.policy import Policy
from explorer.session.session import Session
from tests.session.watched import MakeEngine, Watched

MakeSession: TypeAlias = Callable[..., Session]

#: Of different lengths in tokens, so that every batch is padded on the left.
PROMPTS = ["The cat", "One day, a little boy", "Lily went to the"]


@pytest.fixture
def make_session(make_tiny_policy: Callable[[], Policy], tiny_config: Config) -> Iterator[MakeSession]:
    """``make_session(**arguments)``: a session of a fresh tiny policy, inline unless ``threaded=True``."""
    made: list[Session] = []

    def make(**arguments: Any) -> Session:
        settings = {"policy": make_tiny_policy(), "config": tiny_config, "prompts": PROMPTS, "threaded": False}
        made.append(Session(**{**settings, **arguments}))
        return made[-1]

    yield make
    for session in made:
        session.close()


@pytest.fixture
def session(make_session: MakeSession) -> Session:
    """An inline session before its first update."""
    return make_session()


@pytest.fixture
def make_engine(make_tiny_policy: Callable[[], Policy], tiny_config: Config) -> MakeEngine:
    """``make_engine(**changes)``: a loaded engine of a fresh tiny policy, with some settings changed."""

    def make(rewards: Any = None, **changes: Any) -> Watched:
        engine = Watched(make_tiny_policy(), tiny_config.replace(**changes), rewards=rewards)
        engine.load()
        return engine

    return make


@pytest.fixture
def engine(make_engine: MakeEngine) -> Watched:
    return make_engine()
