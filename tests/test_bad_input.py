"""Everything that people get wrong: one clear sentence each, from the API and in the error panel, and nothing is lost.

A clear sentence is one line that names the thing and says what to do.
"""

from __future__ import annotations

import asyncio
import math
import re
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import explorer
from explorer.config import Config
from explorer.headless import Trainer
from explorer.ppo.policy import Policy
from explorer.session.engine import Engine
from explorer.session.session import Session
from explorer.views.batch import batch_picture

TEN_THOUSAND = ("Once upon a time there was a cat. " * 300)[:10_000]
HTML = "<script>alert('hi')</script><img src=x onerror=alert(1)> &amp; <b>The cat"


def assert_clear(message: str, *parts: str) -> None:
    """One line, not too long, that holds these parts, begins with no exception's name and ends as a sentence does."""
    assert "\n" not in message
    assert len(message) < 400
    assert message.endswith((".", "?"))
    assert not re.match(r"\w+(Error|Exception)\b", message)
    for part in parts:
        assert part in message, message


@pytest.fixture
def trainer(make_tiny_policy: Callable[[], Policy], tiny_config: Config) -> Trainer:
    """A headless trainer of a tiny policy with 32 positions."""
    return Trainer(policy=make_tiny_policy(), config=tiny_config, prompts=["The cat", "Lily went to the"])


@pytest.fixture
def session(make_tiny_policy: Callable[[], Policy], tiny_config: Config) -> Session:
    """The same as the page sees it, after one update."""
    made = Session(
        policy=make_tiny_policy(), config=tiny_config, prompts=["The cat", "Lily went to the"], threaded=False
    )
    made.train(1)
    return made


# --- settings ---

BAD_SETTINGS: list[tuple[dict[str, Any], list[str]]] = [
    ({"batch_size": 0}, ["batch_size is 0", "from 2 to 4096"]),
    ({"batch_size": 1}, ["batch_size is 1", "from 2 to 4096"]),
    ({"batch_size": 2.5}, ["batch_size is 2.5", "whole number"]),
    ({"response_length": 0}, ["response_length is 0", "from 1 to"]),
    ({"clip_range": math.nan}, ["clip_range is nan", "from 0 to 1"]),
    ({"learning_rate": math.inf}, ["learning_rate is inf", "from 0 to 1"]),
    ({"weight_sentiment": math.nan}, ["weight of 'sentiment' is nan", "from -2 to 2"]),
    ({"weight_sentiment": "much"}, ["weight of 'sentiment' is 'much'", "must be a number"]),
    ({"weights": [1.0]}, ["weights is [1.0]", "must map each component's name to its weight"]),
    ({"estimator": "magic"}, ["estimator is 'magic'", "gae, one_step_td, monte_carlo"]),
    ({"whiten": "yes"}, ["whiten is 'yes'", "True or False"]),
    ({"minibatches": 64}, ["minibatches is 64", "batch_size"]),
    ({"clip_rang": 0.1}, ["no field 'clip_rang'", "did you mean 'clip_range'?"]),
]


@pytest.mark.parametrize(("changes", "parts"), BAD_SETTINGS, ids=str)
def test_a_bad_setting_is_refused_by_config_and_by_the_page(
    changes: dict[str, Any], parts: list[str], tiny_config: Config, session: Session
) -> None:
    config = session.config
    for refuse in (tiny_config.replace, lambda **changes: session.set(reset=True, **changes)):
        with pytest.raises((TypeError, ValueError)) as refused:
            refuse(**changes)
        assert_clear(str(refused.value), *parts)
    assert session.config is config


@pytest.mark.parametrize(
    ("changes", "parts"),
    [case for case in BAD_SETTINGS if not any(name.startswith("weight_") for name in case[0])],
    ids=str,
)
def test_a_bad_setting_is_refused_by_the_constructor(changes: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises((TypeError, ValueError)) as refused:
        explorer.Config(**changes)
    for part in parts:
        assert part in str(refused.value)


def test_a_nan_weight_is_refused_by_the_constructor() -> None:
    with pytest.raises(ValueError, match="weight of 'sentiment' is nan, but must be from -2 to 2"):
        explorer.Config(weights={"sentiment": math.nan})


def test_a_response_longer_than_the_policys_positions(
    trainer: Trainer, session: Session, make_tiny_policy: Callable[[], Policy], tiny_config: Config
) -> None:
    parts = ("prompt", "response of 1000", "exceeds the 32", "lower response_length")
    long = tiny_config.replace(response_length=1000)
    with pytest.raises(ValueError, match="positions|attend") as refused:
        Trainer(policy=make_tiny_policy(), config=long, prompts=["The cat"])
    assert_clear(str(refused.value), *parts)
    with pytest.raises(ValueError, match="attend") as refused:
        trainer.update(long)
    assert_clear(str(refused.value), *parts)
    with pytest.raises(ValueError, match="attend") as refused:
        session.set(reset=True, response_length=1000)
    assert_clear(str(refused.value), *parts)
    assert session.config.response_length == tiny_config.response_length
    assert trainer.updates == 0
    trainer.update()
    session.train(1)
    assert (trainer.updates, session.updates, session.error) == (1, 2, {})


def test_a_response_too_long_for_a_policy_that_has_not_loaded_yet_can_be_shortened_again(
    make_tiny_policy: Callable[[], Policy], tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, may_load = Engine.load, threading.Event()
    monkeypatch.setattr(Engine, "load", lambda engine: may_load.wait(30) and load(engine))

    async def story() -> tuple[str, int, dict[str, Any]]:
        session = Session(policy=make_tiny_policy(), config=tiny_config, prompts=["The cat"])
        failed, trained = asyncio.Event(), asyncio.Event()
        session.observe(lambda change: failed.set(), "error")
        session.observe(lambda change: trained.set(), "updates")
        try:
            session.set(response_length=1000)  # nothing can be known of the policy's positions yet
            may_load.set()
            await asyncio.wait_for(failed.wait(), 30)
            message = session.error["message"]
            session.set(response_length=6)
            session.train(1)
            await asyncio.wait_for(trained.wait(), 30)
            return message, session.updates, session.error
        finally:
            session.close()

    message, updates, error = asyncio.run(story())
    assert_clear(message, "response of 1000", "lower response_length")
    assert (updates, error) == (1, {})


# --- prompts ---

BAD_PROMPTS: list[tuple[Any, list[str]]] = [
    ([], ["There are no prompts", "give at least one"]),
    ("The cat", ["prompts is the single text 'The cat'", "put it in a list", "stories, openings, gender_pairs"]),
    ([""], ["Prompt 1 is blank", "or remove it"]),
    (["The cat", " \n\t "], ["Prompt 2 is blank", "or remove it"]),
    (["The cat", 3], ["Prompt 2 is 3, of type int", "must be a text"]),
    (["The cat", None], ["Prompt 2 is None", "must be a text"]),
    ([TEN_THOUSAND], ["tokens", "exceeds the 32 that the policy can attend to", "shorten it"]),
    (["\ud800"], ["Prompt 1 holds half of a character pair", "type it again"]),
]


@pytest.mark.parametrize(("prompts", "parts"), BAD_PROMPTS, ids=lambda case: str(case)[:30].encode().hex()[:12])
def test_bad_prompts(
    prompts: Any,
    parts: list[str],
    trainer: Trainer,
    session: Session,
    make_tiny_policy: Callable[[], Policy],
    tiny_config: Config,
) -> None:
    with pytest.raises(ValueError, match=r"rompt") as refused:
        Trainer(policy=make_tiny_policy(), config=tiny_config, prompts=prompts)
    assert_clear(str(refused.value), *parts)
    before = trainer.prompts
    with pytest.raises(ValueError, match=r"rompt"):
        trainer.set_prompts(prompts)
    assert trainer.prompts == before
    session.set_prompts(prompts)
    assert_clear(session.error["message"], *parts)
    session.train(1)
    assert (session.updates, session.error) == (2, {})


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [("", ["blank"]), ("   ", ["blank"]), (TEN_THOUSAND, ["exceeds the 32", "shorten it"])],
    ids=["empty", "spaces", "long"],
)
def test_a_bad_prompt_to_try(prompt: str, parts: list[str], session: Session) -> None:
    session.try_prompt(prompt)
    assert_clear(session.error["message"], *parts)
    assert session.trial == {}


def test_the_bundled_policy_refuses_ten_thousand_characters(policy: Policy) -> None:
    with pytest.raises(ValueError, match="exceeds the 128 that the policy can attend to") as refused:
        Trainer(policy=policy, prompts=[TEN_THOUSAND])
    assert_clear(str(refused.value), "Once upon a time", "shorten it")


def test_html_and_script_in_a_prompt_are_text(policy: Policy) -> None:
    config = Config(batch_size=2, group_size=2, response_length=4, epochs=1)
    session = Session(policy=policy, config=config, prompts=[HTML], threaded=False)
    session.train(1)
    assert session.error == {}
    assert session.prompts == (HTML,)
    assert batch_picture(session.shown)["prompts"] == [HTML, HTML]
    session.try_prompt(HTML)
    assert session.trial["prompt"] == HTML
    session.compare()
    assert session.samples["prompts"] == [HTML]


def test_a_prompt_that_fills_every_position_but_the_responses(trainer: Trainer) -> None:
    trainer.set_prompts(["The cat was happy and" + " the dog" * 10 + " and"])  # 26 tokens and 6 of response
    assert trainer.update().update == 1


# --- rewards ---


def raising(prompts: list[str], responses: list[str]) -> list[float]:
    raise LookupError("no such mood\nand a second line")


BAD_REWARDS: list[tuple[str, Callable[..., Any], list[str]]] = [
    ("raises", raising, ["raised LookupError: no such mood"]),
    ("says nothing", lambda p, r: None, ["returned None", "one number for each of the 8 responses"]),
    ("too few", lambda p, r: [0.5] * 3, ["only 3 of 8 numbers", "one number for each of the 8"]),
    ("too many", lambda p, r: [0.5] * 9, ["more than 8 numbers", "one number for each of the 8"]),
    ("one number", lambda p, r: 0.5, ["returned 0.5, of type float", "one number for each"]),
    ("nan", lambda p, r: [math.nan] * len(r), ["returned nan for the response", "finite number"]),
    ("inf", lambda p, r: [math.inf] * len(r), ["returned inf for the response", "finite number"]),
    ("texts", lambda p, r: r, ["which is no number", "one number for each"]),
    ("nones", lambda p, r: [None] * len(r), ["returned None, which is no number", "one number for each"]),
    ("by name", lambda p, r: dict.fromkeys(r, 0.5), ["of type dict", "one number for each"]),
    ("table", lambda p, r: np.zeros((len(r), 2)), ["which is no number", "one number for each"]),
    ("takes one", lambda p: [0.5], ["raised TypeError"]),
]


@pytest.mark.parametrize(("name", "fn", "parts"), BAD_REWARDS, ids=[name for name, _, _ in BAD_REWARDS])
def test_a_bad_reward(
    name: str, fn: Callable[..., Any], parts: list[str], make_tiny_policy: Callable[[], Policy], tiny_config: Config
) -> None:
    arguments = {"config": tiny_config, "prompts": ["The cat"], "rewards": {name: fn}}
    trainer = Trainer(policy=make_tiny_policy(), **arguments)
    with pytest.raises(RuntimeError, match=f"The reward '{name}'") as refused:
        trainer.update()
    assert_clear(str(refused.value), f"The reward '{name}'", *parts)
    assert trainer.updates == 0

    # Where something else counts it is set aside, and the run goes on; else the update stops.
    session = Session(policy=make_tiny_policy(), **arguments, threaded=False)
    session.train(2)
    assert session.error["message"].startswith(str(refused.value))
    assert (session.updates, list(session.config.set_aside)) == (2, [name])
    alone = {**arguments, "config": tiny_config.replace(weights={name: 1.0})}
    session = Session(policy=make_tiny_policy(), **alone, threaded=False)
    session.train(3)
    assert session.error["message"] == str(refused.value)
    assert (session.updates, session.mode, session.shown) == (0, "paused", None)


def test_the_offending_text_is_shown(make_tiny_policy: Callable[[], Policy], tiny_config: Config) -> None:
    seen: list[str] = []

    def nan_for_the_third(prompts: list[str], responses: Sequence[str]) -> list[float]:
        seen[:] = responses
        return [0.0, 0.0, math.nan] + [0.0] * (len(responses) - 3)

    trainer = Trainer(
        policy=make_tiny_policy(), config=tiny_config, prompts=["The cat"], rewards={"mood": nan_for_the_third}
    )
    with pytest.raises(RuntimeError, match="mood") as refused:
        trainer.update()
    assert repr(seen[2]) in str(refused.value)


@pytest.mark.parametrize(
    ("rewards", "parts"),
    [
        ({"mood": 3}, ["reward 'mood' is not a function", "(prompts, responses)"]),
        ({"length": len}, ["'length' is built in", "give yours another name"]),
        ([len], ["rewards is a list", "must map each reward's name to its function"]),
    ],
)
def test_rewards_that_are_none(
    rewards: dict[str, Any], parts: list[str], make_tiny_policy: Callable[[], Policy], tiny_config: Config
) -> None:
    with pytest.raises((TypeError, ValueError)) as refused:
        Trainer(policy=make_tiny_policy(), config=tiny_config, prompts=["The cat"], rewards=rewards)
    assert_clear(str(refused.value), *parts)


# --- everything else ---


def test_updates_that_cannot_be_trained(trainer: Trainer, session: Session) -> None:
    with pytest.raises(ValueError, match="at least 1|from 1") as refused:
        trainer.train(0)
    assert_clear(str(refused.value), "0")
    with pytest.raises(ValueError, match="at least 1") as refused:
        session.train(0)
    assert_clear(str(refused.value), "'0' updates")


@pytest.mark.parametrize("updates", ["ten", 2.5, math.nan, [1], True])
def test_updates_that_are_no_whole_number(updates: Any, session: Session) -> None:
    session.observe(lambda change: session.worker.stop(), "updates")  # or it might train for ever
    with pytest.raises((TypeError, ValueError)) as refused:
        session.train(updates)
    assert_clear(str(refused.value), "updates", "whole number")
    assert session.updates == 1


def test_a_policy_that_is_not_there(tiny_config: Config) -> None:
    session = Session(policy="./nowhere", config=tiny_config, threaded=False)
    assert session.phase == "failed"
    assert_clear(session.error["message"], "There is no folder './nowhere'", "give a folder", "bundled policy")
    session.train(1)
    assert "still loading" not in session.error["message"]  # it will not come


def test_a_device_that_is_not_there(make_tiny_policy: Callable[[], Policy], tiny_config: Config) -> None:
    session = Session(policy=make_tiny_policy(), config=tiny_config, threaded=False, device="mars")
    assert session.phase == "failed"
    assert_clear(session.error["message"], "device is 'mars'", "must be 'cpu', 'cuda'")


def test_an_unknown_public_name() -> None:
    with pytest.raises(AttributeError) as refused:
        explorer.Explorr  # noqa: B018
    assert_clear(str(refused.value), "no attribute 'Explorr'", "Explorer")
