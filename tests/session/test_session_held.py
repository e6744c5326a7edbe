"""Two speeds: a value that a control passes while it is dragged scores the screen, and no update is trained with it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from explorer.config import Config
from explorer.session.engine import Engine
from explorer.session.session import ResetNeeded, Session
from explorer.views.run import run_picture

if TYPE_CHECKING:
    from tests.session.conftest import MakeSession

#: What is dragged, and how far.
REACH = {
    "clip_range": (0.01, 0.6),
    "kl_coef": (0.0, 0.5),
    "gae_lambda": (0.0, 1.0),
    "weight_sentiment": (0.0, 2.0),
    "learning_rate": (1e-4, 2e-3),
}


class Watched:
    """An engine's config as it is read at the beginning of each update, and as it is written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.written: list[Config] = []
        watched = self

        def write(engine: Engine, config: Config) -> None:
            engine.__dict__["config"] = config
            watched.written.append(config)

        monkeypatch.setattr(Engine, "config", property(lambda engine: engine.__dict__["config"], write), raising=False)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


def configs_of(session: Session) -> list[Config]:
    """What each update was trained under, as it is recorded."""
    return [snapshot.config for snapshot in session.history]


def test_a_held_value_scores_the_screen_and_trains_nothing(session: Session) -> None:
    session.train(1)
    before, recorded = session.config, session.recorded
    session.set(held=True, clip_range=0.01)
    assert session.shown.config.clip_range == session.tried.clip_range == 0.01
    assert session.shown.final.outside_range.sum() > recorded.final.outside_range.sum()
    assert session.config is before and session.engine.config is before
    session.train(2)
    assert configs_of(session) == [before] * 3
    session.set(clip_range=0.01)
    session.train(1)
    assert session.config.clip_range == 0.01 and not session.held
    assert configs_of(session)[-1] == before.replace(clip_range=0.01)


def test_over_any_drags_the_engine_gets_what_was_let_go_and_nothing_else(
    watched: Watched, make_session: MakeSession, tiny_config: Config
) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    draw, session = random.Random(seed), make_session()
    under: list[Config] = []  # of the session's own updates, noted before each begins
    expected, dragged = tiny_config, {}
    passed = {name: set[float]() for name in REACH}

    def note() -> None:
        if session.progress is None or session.progress.finished == "done":
            under.append(expected)

    for _ in range(150):
        name = draw.choice(list(REACH))
        match draw.choices(["drag", "let go", "other", "stage"], [8, 2, 2, 6])[0]:
            case "drag":
                dragged[name] = draw.uniform(*REACH[name])
                passed[name].add(dragged[name])
                session.set(held=True, **{name: dragged[name]})
            case "let go" if name in dragged:
                value = dragged.pop(name)
                passed[name].discard(value)
                expected = expected.replace(**{name: value})
                session.set(**{name: value})
            case "other" if name not in dragged:
                value = draw.uniform(*REACH[name])
                expected = expected.replace(**{name: value})
                session.set(**{name: value})
            case "stage":
                note()
                session.step_stage()
        assert session.engine.config == session.config == expected
        assert session.held == dragged
        assert session.tried == expected.replace(**dragged)
        if session.updates and session.recorded is not None and hasattr(session.shown, "checks"):
            assert session.shown.config.clip_range == session.tried.clip_range  # the screen follows every value
    note()
    session.step()
    trained = configs_of(session)
    assert len(trained) > 2 and trained == under
    for name, values in passed.items():
        assert not values & {config.flat()[name] for config in (*trained, *watched.written)}, name
    assert not session.error


def test_while_a_thread_trains_no_update_takes_what_is_held(make_session: MakeSession, tiny_config: Config) -> None:
    async def story() -> None:
        session = make_session(threaded=True)
        ended = asyncio.Event()
        passed: list[float] = []

        def drag(change: Any) -> None:
            passed.append(0.011 + 1e-6 * len(passed))
            session.set(held=True, clip_range=passed[-1])
            if session.updates >= 6:
                ended.set()

        session.observe(drag, ["progress", "updates"])  # at every stage, so before every update too
        session.train(6)
        try:
            async with asyncio.timeout(30):
                await ended.wait()
            session.unobserve(drag, ["progress", "updates"])
            assert len(passed) > 40
            assert [config.clip_range for config in configs_of(session)] == [tiny_config.clip_range] * 6
            assert session.shown.config.clip_range == passed[-1]
        finally:
            session.close()
            assert session.worker.join(30)

    asyncio.run(story())


def test_a_change_of_another_setting_takes_no_held_value_along(session: Session) -> None:
    before = session.config.clip_range
    session.set(held=True, clip_range=0.33)
    session.set(kl_coef=0.4)
    assert (session.engine.config.clip_range, session.engine.config.kl_coef) == (before, 0.4)
    assert (session.tried.clip_range, session.tried.kl_coef) == (0.33, 0.4)
    session.train(1)
    assert session.recorded.config.clip_range == before
    session.set(clip_range=0.33)
    assert (session.engine.config.clip_range, session.engine.config.kl_coef) == (0.33, 0.4)


def test_a_combination_that_cannot_be_is_refused_while_it_is_held_and_when_it_is_let_go(session: Session) -> None:
    session.set(objective="two_sided", delta=1.5)
    session.train(1)
    before = session.config
    session.set(held=True, delta=1.3)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"delta is 1\.1, but the two-sided objective needs it above"):
            session.set(held=True, delta=1.1)
        assert (session.tried.delta, session.config) == (1.3, before)  # the last that can be stays on screen
    with pytest.raises(ValueError, match=r"raise delta or lower clip_range"):
        session.set(delta=1.1)
    assert not session.held and session.config is before
    assert session.shown is session.recorded
    session.train(1)
    assert configs_of(session) == [before, before]


def test_what_comes_to_be_impossible_under_a_held_value_goes_back(session: Session) -> None:
    session.set(objective="two_sided", delta=4.0)
    session.set(held=True, clip_range=0.9)
    session.set(delta=1.5)
    assert session.engine.config.delta == 1.5
    assert session.tried == session.config
    with pytest.raises(ValueError, match="delta is 1.5"):
        session.set(clip_range=0.9)
    assert not session.held


def test_what_starts_the_run_anew_asks_when_it_is_let_go_and_not_before(session: Session) -> None:
    session.train(1)
    for size in (6, 4, 2):
        session.set(held=True, batch_size=size)
    assert (session.updates, session.tried.batch_size, session.engine.config.batch_size) == (1, 2, 8)
    with pytest.raises(ResetNeeded):
        session.set(batch_size=2)
    assert (session.updates, session.tried.batch_size, session.held) == (1, 8, {})


@pytest.mark.parametrize("leave", [lambda s: s.use_preset("see_the_clip"), lambda s: s.back_to_own()])
def test_a_preset_or_the_way_back_leaves_nothing_held(session: Session, leave: Callable[[Session], None]) -> None:
    session.train(1)
    session.set(held=True, clip_range=0.33)
    leave(session)
    assert not session.held
    assert session.tried == session.config == session.engine.config
    assert session.config.clip_range != 0.33


def test_the_weight_of_a_component_that_is_taken_away_is_held_no_longer(session: Session) -> None:
    session.components.put("cats", {"kind": "expression", "expression": "0.1 * words"})
    session.set(held=True, weight_cats=0.5)
    session.components.remove("cats")
    assert not session.held and "cats" not in session.tried.weights


def test_the_page_is_told_what_is_held(session: Session) -> None:
    session.train(1)
    assert run_picture(session)["held"] == []
    session.set(held=True, clip_range=0.33)
    assert run_picture(session)["held"] == ["clip_range"]
    session.set(clip_range=0.33)
    assert run_picture(session)["held"] == []
