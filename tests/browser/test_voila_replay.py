"""A recorded run as `ppo-explorer replay` serves it: all of it can be seen, none of it trained."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from explorer.bundled import asset_path
from explorer.recording.storage import Recording
from explorer.text import LANGUAGES, text
from tests.browser.conftest import OpenPage
from tests.browser.explorer_page import ExplorerPage
from tests.browser.servers import replaying

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def explorer(tmp_path_factory: pytest.TempPathFactory, open_page: OpenPage) -> Iterator[ExplorerPage]:
    """The bundled run, as if somebody had recorded it."""
    with replaying(tmp_path_factory.mktemp("replay"), asset_path("recording")) as address:
        page = open_page()
        page.goto(address)
        explorer = ExplorerPage(page)
        expect(explorer.part("curves").locator(".main-svg").first).to_be_visible()
        yield explorer
        page.close()


def test_it_says_which_run_it_shows_and_that_nothing_is_trained(explorer: ExplorerPage) -> None:
    assert "recording “recording”, 40 updates" in explorer.status
    for language in (*LANGUAGES[1:], LANGUAGES[0]):
        explorer.press("language")
        expect(explorer.part("replay-only")).to_have_text(text(language, "ui.replay_only"))
    for button in ("train", "step", "stage", "slow", "reset", "preset", "train-for"):
        expect(explorer.part(button)).to_have_count(0)


def test_every_panel_follows_the_scrubber(explorer: ExplorerPage) -> None:
    recording = Recording.load(asset_path("recording"))
    for i in (0, 7, -1):
        snapshot = recording[i]
        explorer.scrub(snapshot.update)
        tokens = sum(len(response) for response in snapshot.tokens.responses)
        assert explorer.tokens.count() == tokens
        zero = int(snapshot.final.zero_gradient.sum())
        clip = explorer.clip
        assert (clip.tokens, clip.zero) == (tokens, zero)
        explorer.wait_for_charts(snapshot.update)
    explorer.part("epoch").select_option("0")  # before the first step every ratio is 1
    explorer.when("(root) => root.querySelector('.explorer-objective .ex-hint').textContent.startsWith('0 of')")
    explorer.part("epoch").select_option("-1")


def test_a_token_can_be_pinned(explorer: ExplorerPage) -> None:
    explorer.token(1, 2).click()
    assert explorer.pinned == (1, 2)
    expect(explorer.part("objective").locator(".ex-formula")).to_be_visible()


def test_there_is_nobody_to_answer(explorer: ExplorerPage) -> None:
    explorer.tab("samples")
    samples = explorer.part("samples")
    expect(samples).to_contain_text(text("en", "ui.replay_samples"))
    for button in ("try", "compare", "apply-prompts"):
        expect(explorer.part(button)).to_be_hidden()
    prompts = Recording.load(asset_path("recording")).info["prompts"]
    assert explorer.part("prompts").input_value() == "\n".join(prompts)
    explorer.tab("advantages")


def test_what_only_training_takes_cannot_be_moved(explorer: ExplorerPage) -> None:
    for field in ("learning_rate", "epochs"):
        for entry in explorer.part(field).locator("input").all():
            expect(entry).to_be_disabled()
        assert explorer.part(field).get_attribute("title") == text("en", "ui.replay_idle")


def test_a_slider_scores_the_recorded_batch_anew_once_pytorch_is_there(explorer: ExplorerPage) -> None:
    explorer.scrub(40)
    before = explorer.clip
    explorer.slide("clip_range", 0.05)
    badge = explorer.part("tokens").locator(".ex-badge")
    expect(badge).not_to_be_empty()  # that it is loading, or, on a fast machine, already the result
    explorer.when("(root) => root.querySelector('.explorer-region').dataset.high === '1.0500'", milliseconds=60_000)
    expect(badge).to_have_text(text("en", "ui.what_if_badge"))
    assert explorer.clip.zero > before.zero
    explorer.part("clip_range").locator(".ex-back").click()
    expect(badge).to_be_empty()
    assert explorer.clip == before
