"""The strip of tokens: sorted, filtered, grouped, searched, rescaled; its marks; and what stays while training."""

from __future__ import annotations

import itertools
import re

import pytest
from playwright.sync_api import expect

from tests.browser.explorer_page import AT_ONCE, ExplorerPage

pytestmark = pytest.mark.browser


def test_responses_are_sorted_by_score_and_back(explorer: ExplorerPage) -> None:
    explorer.train_as_set()
    sampled, rows = explorer.order, explorer.rows
    assert sampled == list(range(rows))
    assert explorer.part("sort-way").is_disabled()
    explorer.part("sort").select_option("score")
    _wait_until_sorted(explorer, 1)
    assert sorted(explorer.order) == sampled
    explorer.press("sort-way")
    _wait_until_sorted(explorer, -1)
    expect(explorer.part("sort-way")).to_have_attribute("aria-label", "Lowest first")
    for way in (explorer.part("sort").locator("option").all())[1:]:
        explorer.part("sort").select_option(way.get_attribute("value"))
        assert sorted(explorer.order) == sampled
    explorer.part("sort").select_option("sampled")
    explorer.when("(root) => root.querySelector('.ex-token').dataset.row === '0'", milliseconds=AT_ONCE)
    assert explorer.order == sampled
    explorer.part("sort").select_option("score")
    explorer.press("sort-way")  # highest first again


def test_only_responses_with_tokens_that_get_no_gradient(explorer: ExplorerPage) -> None:
    explorer.train_as_set()
    tokens = explorer.part("tokens")
    rows, held = explorer.rows, tokens.locator('.ex-token[data-state="3"]')
    expected = {int(row) for row in held.evaluate_all("(spans) => spans.map((span) => span.dataset.row)")}
    assert 0 < len(expected) <= rows
    explorer.part("only").select_option("zero")
    expect(tokens.locator(".ex-shown")).to_have_text(f"{len(expected)} of {rows} responses")
    assert set(explorer.order) == expected
    explorer.part("epoch").select_option("0")  # no token is held back there: the responses stay for the eye to follow
    explorer.when("(root) => /^0 of/.test(root.querySelector('.explorer-objective .ex-hint').textContent)")
    assert set(explorer.order) == expected
    explorer.part("epoch").select_option("-1")


def test_responses_are_filtered_by_a_number(explorer: ExplorerPage) -> None:
    explorer.train_as_set()
    scores, tokens = explorer.scores, explorer.part("tokens")
    shown, limit = tokens.locator(".ex-shown"), explorer.part("cut-limit")
    expect(explorer.part("cut")).to_be_hidden()
    explorer.part("only").select_option("by/score")
    expect(explorer.part("cut-range")).to_have_text(f"batch: {_written(min(scores))} to {_written(max(scores))}")
    kept = sum(score >= float(limit.input_value()) - 0.005 for score in scores)
    assert 0 < kept <= len(scores)  # it begins in the middle
    expect(shown).to_have_text(re.compile(rf"^\d+ of {len(scores)}$"))
    bound = sorted(scores)[-3] - 0.005  # scores are written with two digits
    limit.fill(f"{bound:.3f}")
    expect(shown).to_have_text(f"{sum(score >= bound for score in scores)} of {len(scores)}")
    assert all(score >= bound for score in explorer.scores)
    limit.press("Shift+Tab")  # back to the sign, by key
    explorer.page.keyboard.press("Enter")
    expect(explorer.part("cut-sign")).to_have_text("≤")
    expect(shown).to_have_text(f"{sum(score <= bound for score in scores)} of {len(scores)}")
    limit.fill("-9")
    expect(tokens.locator(".ex-empty")).to_contain_text("No response has “score” ≤ −9: in this batch it goes from")
    expect(shown).to_have_text(f"0 of {len(scores)}")
    explorer.part("only").select_option("by/length")
    explorer.part("only").select_option("by/score")
    expect(limit).to_have_value("-9")  # as it was left
    explorer.part("only").select_option("all")
    expect(shown).to_have_text("")
    assert len(explorer.scores) == len(scores)


def test_text_is_found_marked_and_counted(explorer: ExplorerPage) -> None:
    explorer.train_as_set()
    tokens = explorer.part("tokens")
    everything = [line.lower() for line in _lines(explorer)]
    text = next(word for word in re.findall(r"[a-z]{4,}", everything[0]) if 0 < sum(word in x for x in everything) < 32)
    explorer.part("find").fill(text)
    shown = tokens.locator(".ex-shown")
    expect(shown).to_contain_text(f"of {len(everything)}")
    expected = [row for row, line in enumerate(everything) if text in line]
    assert explorer.order == expected
    count = sum(line.count(text) for line in everything)
    expect(shown).to_have_text(f"{count} in {len(expected)} of {len(everything)}")
    marked = tokens.locator(".ex-token[data-found], .ex-prompt mark").all_inner_texts()
    assert marked and len(marked) >= count
    explorer.part("find").press("Enter")
    explorer.part("find").fill("no story has this")
    expect(tokens.locator(".ex-empty")).to_contain_text("No response fits")
    explorer.part("find").fill("")
    expect(shown).to_have_text("")
    expect(tokens.locator("[data-found], .ex-prompt mark")).to_have_count(0)
    assert explorer.order == list(range(len(everything)))


def test_responses_to_one_prompt_stand_together(explorer: ExplorerPage) -> None:
    explorer.train_as_set()
    prompts = explorer.part("tokens").locator(".ex-response .ex-prompt").all_text_contents()
    explorer.press("group")
    heads = explorer.part("tokens").locator(".ex-group-head")
    expect(heads).to_have_count(len(set(prompts)))
    shown = [prompts[row] for row in explorer.order]
    assert sum(a != b for a, b in itertools.pairwise(shown)) == len(set(prompts)) - 1
    head = heads.first.inner_text()
    assert head.startswith(prompts[explorer.order[0]].strip()) and "mean score" in head
    expect(explorer.part("tokens").locator(".ex-response .ex-prompt").first).to_be_hidden()


def test_the_choice_stays_while_training_and_nothing_moves_while_a_slider_does(explorer: ExplorerPage) -> None:
    explorer.train_as_set()
    explorer.part("sort").select_option("score")
    _wait_until_sorted(explorer, 1)
    order = explorer.order
    explorer.slide("weight-coherence", 3.0)  # other scores for the same samples
    explorer.when(f"(root) => !({SORTED})(root, 1)", milliseconds=AT_ONCE)
    assert explorer.order == order
    explorer.step()
    expect(explorer.part("sort")).to_have_value("score")
    _wait_until_sorted(explorer, 1)
    explorer.page.mouse.move(0, 0)


def test_a_scale_is_fitted_to_the_batch_and_back(explorer: ExplorerPage) -> None:
    explorer.train_as_set()
    scale = explorer.part("tokens").locator(".ex-scale")
    explorer.part("quantity").select_option("gradient_share")
    expect(scale).to_contain_text("0.010")
    before = _tints(explorer)
    explorer.press("rescale")
    expect(explorer.part("rescale")).to_have_attribute("aria-pressed", "true")
    expect(scale).not_to_contain_text("0.010")
    fitted = scale.inner_text()
    assert _tints(explorer) != before
    assert max(_steps(explorer)) == 20  # the scale reaches as far as the batch does
    explorer.step()
    assert scale.inner_text() == fitted  # another batch: the fitted scale stays
    explorer.press("rescale")
    expect(scale).to_contain_text("0.010")


def test_the_marks_of_the_clip_are_of_six_shapes_and_in_the_legend(explorer: ExplorerPage) -> None:
    explorer.train_as_set()
    tokens = explorer.part("tokens")
    shapes = tokens.locator(".ex-mark").evaluate_all(
        "(marks) => marks.map((m) => [m.dataset.state + m.dataset.side, getComputedStyle(m).backgroundImage])"
    )
    assert {state for state, _ in shapes} == {"1up", "1down", "2low", "2high", "3low", "3high"}
    assert len({shape for _, shape in shapes}) == 6
    said_of = {
        "low": "below the band",
        "high": "above the band",
        "up": "inside the band, A > 0",
        "down": "inside the band, A < 0",
    }
    for state, side in (("1", "up"), ("1", "down"), ("2", "low"), ("2", "high"), ("3", "low"), ("3", "high")):
        marked = tokens.locator(f'.ex-token[data-state="{state}"][data-side="{side}"]')
        if not marked.count():
            continue
        image = marked.first.evaluate("(token) => getComputedStyle(token).backgroundImage")
        assert image == dict(shapes)[state + side]
        marked.first.hover()
        said = tokens.locator(".ex-tip p").first.inner_text()
        assert said.startswith(said_of[side])
        assert ("no gradient" in said) is (state == "3")
        explorer.page.mouse.move(0, 0)
    legend = tokens.locator(".ex-legend-marks").inner_text()
    assert all(
        word in legend for word in ("A>0", "A<0 inside", "below", "above: gradient", "no gradient", "prompt", "padding")
    )


def test_places_after_the_end_are_shown_as_padding(explorer: ExplorerPage) -> None:
    explorer.train_as_set()
    lengths = [len(line.locator(".ex-token").all()) for line in explorer.part("tokens").locator(".ex-response").all()]
    padding = explorer.part("tokens").locator(".ex-response .ex-padding").all_text_contents()
    assert [f"×{24 - length}" if length < 24 else "" for length in lengths] == padding


def _written(score: float) -> str:
    return f"{score:.2f}".replace("-", "\N{MINUS SIGN}")


def _wait_until_sorted(explorer: ExplorerPage, sign: int) -> None:
    explorer.when(SORTED, sign, milliseconds=AT_ONCE)


def _lines(explorer: ExplorerPage) -> list[str]:
    """Prompt and response of every line, as one text."""
    lines: list[str] = explorer.part("tokens").locator(".ex-response").evaluate_all(LINES)
    return lines


def _tints(explorer: ExplorerPage) -> list[str]:
    tints: list[str] = explorer.tokens.evaluate_all("(spans) => spans.map((span) => span.className)")
    return tints


def _steps(explorer: ExplorerPage) -> list[int]:
    return [int(found[1]) for tint in _tints(explorer) if (found := re.search(r"ex-tint-(\d+)", tint))]


SORTED = """(root, sign) => {
  const scores = [...root.querySelectorAll('.ex-score')].map((node) => Number(node.textContent.replace('−', '-')));
  return scores.every((score, i) => i === 0 || (scores[i - 1] - score) * sign >= 0) && new Set(scores).size > 1;
}"""

LINES = """(lines) => lines.map((line) => {
  const parts = [...line.querySelectorAll('.ex-token')].map((token) => token.gap.data + token.word.data);
  return line.querySelector('.ex-prompt').textContent + parts.join('');
})"""
