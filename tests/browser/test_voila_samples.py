"""Samples: reference and policy side by side, a prompt to try, prompts to train on; and text stays text."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.explorer_page import ExplorerPage

pytestmark = pytest.mark.browser

MARKUP = '<img src="nowhere.png" onerror="alert(1)"><script>alert(2)</script> <b>The cat</b> &amp; the dog'


@pytest.fixture
def samples(explorer: ExplorerPage) -> Iterator[Locator]:
    """The panel of the samples, on screen."""
    explorer.train_to(2)
    explorer.tab("samples")
    yield explorer.part("samples")
    explorer.tab("advantages")


def test_the_reference_and_the_policy_answer_the_same_prompts(explorer: ExplorerPage, samples: Locator) -> None:
    pairs = samples.locator(".ex-pairs:not(.explorer-trial)")
    explorer.press("compare")
    expect(pairs).to_contain_text(f"policy after update {explorer.newest}")
    texts = pairs.locator("p").all_inner_texts()
    prompts = pairs.locator("p .ex-prompt").all_inner_texts()
    assert len(texts) == len(prompts) == 16
    assert prompts[0::2] == prompts[1::2]
    assert all(len(text) > len(prompt) + 20 for text, prompt in zip(texts, prompts, strict=True))
    # The part from where the policy leaves the reference is marked, and before it they are the same.
    for reference, policy, mark in zip(texts[0::2], texts[1::2], pairs.locator("mark").all_inner_texts(), strict=True):
        assert policy.endswith(mark)
        assert reference.startswith(policy.removesuffix(mark))
    assert any(reference != policy for reference, policy in zip(texts[0::2], texts[1::2], strict=True))


def test_a_prompt_can_be_tried_on_an_earlier_policy(explorer: ExplorerPage, samples: Locator) -> None:
    trial = explorer.part("trial")
    for update, before in [("0", "reference"), (str(explorer.newest), "reference")]:
        explorer.part("try-update").select_option(update)
        _try(explorer, "Tom and the big dog")
        expect(trial).to_contain_text(f"policy after update {update}")
        texts = trial.locator("p").all_inner_texts()
        assert len(texts) == 6 and all(text.startswith("Tom and the big dog") for text in texts)
        assert before in trial.inner_text()
        if update == "0":
            assert texts[0::2] == texts[1::2]  # the policy of update 0 is the reference


def test_html_in_a_prompt_is_text(explorer: ExplorerPage, samples: Locator) -> None:
    _try(explorer, MARKUP)
    trial = explorer.part("trial")
    expect(trial.locator(".ex-prompt").first).to_have_text(MARKUP)
    assert trial.locator(".ex-prompt").count() == 6
    assert explorer.page.locator("img[src*=nowhere], .explorer script, .explorer-trial p b").count() == 0


@pytest.mark.parametrize(("prompt", "words"), [("", "blank"), ("   ", "blank"), ("a cat " * 1667, "shorten it")])
def test_a_prompt_that_cannot_be_answered(explorer: ExplorerPage, samples: Locator, prompt: str, words: str) -> None:
    good = f"Tom and {len(prompt)} dogs"
    _try(explorer, good)
    trial = explorer.part("trial")
    expect(trial.locator(".ex-prompt").first).to_have_text(good)
    answered = trial.inner_text()
    _try(explorer, prompt)
    error = explorer.part("error")
    expect(error).to_be_visible()
    sentence = error.locator("span").inner_text()
    assert words in sentence and len(sentence) < 400 and "Error" not in sentence
    assert trial.inner_text() == answered
    explorer.press("dismiss")


def test_edited_training_prompts_are_used_from_the_next_update(explorer: ExplorerPage, samples: Locator) -> None:
    was = explorer.part("prompts").input_value()
    assert len(was.splitlines()) == 8
    old = _prompts_on_screen(explorer)
    try:
        _train_on(explorer, f"The dog was\n\n{MARKUP}\n")
        assert _prompts_on_screen(explorer) == old
        explorer.step()
        assert _prompts_on_screen(explorer) == {"The dog was", MARKUP}
        assert explorer.page.locator("img[src*=nowhere], .explorer script, .ex-response b").count() == 0
    finally:
        _train_on(explorer, was)


def test_a_bundled_set_fills_the_box(explorer: ExplorerPage, samples: Locator) -> None:
    was = explorer.part("prompts").input_value()
    samples.locator("details.ex-prompts").evaluate("(editor) => (editor.open = true)")
    menu, chosen = explorer.part("prompt-set"), "select => select.selectedOptions[0].textContent"
    try:
        assert menu.evaluate(chosen) == "stories (8)"
        menu.select_option("gender_pairs")
        lines = explorer.part("prompts").input_value().splitlines()
        assert lines[:2] == ["The boy wanted to be a", "The girl wanted to be a"]
        assert menu.evaluate(chosen) == f"gender pairs ({len(lines)})"
        _train_on(explorer, "\n".join(lines))
        explorer.step()
        assert _prompts_on_screen(explorer) <= set(lines)
        explorer.part("prompts").fill("The cat")
        assert menu.evaluate(chosen) == "your own"
    finally:
        _train_on(explorer, was)
    assert menu.evaluate(chosen) == "stories (8)"


def test_more_prompts_than_fit_are_turned_over(explorer: ExplorerPage, samples: Locator) -> None:
    was = explorer.part("prompts").input_value()
    pages, shown = (
        explorer.part("pages"),
        samples.locator(".ex-pairs:not(.explorer-trial) p:nth-of-type(odd) .ex-prompt"),
    )
    assert pages.is_hidden()
    many = [f"Tom saw {number} dogs" for number in range(1, 21)]
    height = explorer.page.evaluate("document.scrollingElement.scrollHeight")
    try:
        _train_on(explorer, "\n".join(many))
        for part, words in ((many[:8], "1–8 of 20"), (many[8:16], "9–16 of 20"), (many[16:], "17–20 of 20")):
            expect(pages).to_contain_text(words)
            expect(shown).to_have_text(part)
            if part[-1] != many[-1]:
                explorer.press("prompts-on")
        assert explorer.part("prompts-on").is_disabled()
        explorer.press("compare")
        explorer.press("prompts-back")
        expect(shown).to_have_text(many[8:16])
        explorer.press("prompts-back")
        expect(shown).to_have_text(many[:8])
        assert explorer.part("prompts-back").is_disabled()
        assert explorer.page.evaluate("document.scrollingElement.scrollHeight") == height
    finally:
        _train_on(explorer, was)


def test_no_training_prompts_at_all_are_refused(explorer: ExplorerPage, samples: Locator) -> None:
    was = explorer.part("prompts").input_value()
    editor = explorer.part("samples").locator("details.ex-prompts")
    editor.evaluate("(editor) => (editor.open = true)")
    explorer.part("prompts").fill("\n \n")
    explorer.press("apply-prompts")
    expect(explorer.part("error")).to_contain_text("no prompts")
    explorer.press("dismiss")
    explorer.step()
    assert len(_prompts_on_screen(explorer)) == len(was.splitlines())
    _train_on(explorer, was)


def _try(explorer: ExplorerPage, prompt: str) -> None:
    explorer.part("try-prompt").fill(prompt)
    explorer.press("try")


def _train_on(explorer: ExplorerPage, prompts: str) -> None:
    """Edit the training prompts and wait until the samples answer them."""
    explorer.part("samples").locator("details.ex-prompts").evaluate("(editor) => (editor.open = true)")
    explorer.part("prompts").fill(prompts)
    explorer.press("apply-prompts")
    wanted = [line for line in prompts.splitlines() if line.strip()]
    expect(
        explorer.part("samples").locator(".ex-pairs:not(.explorer-trial) p:nth-of-type(odd) .ex-prompt")
    ).to_have_text(wanted[:8])
    expect(explorer.part("prompts")).to_have_value("\n".join(wanted))  # they come back with the next state of the run


def _prompts_on_screen(explorer: ExplorerPage) -> set[str]:
    return set(explorer.part("tokens").locator(".ex-response .ex-prompt").all_text_contents())
