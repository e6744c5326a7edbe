"""The ledger, read as a person with a calculator reads it: every line comes out, and goes into the next."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.explorer_page import AT_ONCE, ExplorerPage

pytestmark = pytest.mark.browser

#: Five digits are on screen.
DIGITS = {"rel": 2e-4, "abs": 2e-5}


@pytest.fixture
def ledger(explorer: ExplorerPage) -> Iterator[Locator]:
    """The ledger of a token in the middle of a response."""
    tokens = explorer.part("tokens")
    tokens.locator(".ex-responses").focus()
    explorer.page.keyboard.press("Escape")  # a second click would let go of a token that is pinned already
    expect(tokens.locator(".ex-pinned")).to_have_count(0)
    explorer.token(0, 20).click()
    explorer.page.mouse.move(0, 0)
    explorer.tab("ledger")
    expect(explorer.part("ledger").locator(".ex-ledger-whose")).to_contain_text("response 1, token 21")
    yield explorer.part("ledger")
    explorer.tab("advantages")


def number(text: str) -> float:
    return float(text.replace("\N{MINUS SIGN}", "-"))


def value(ledger: Locator, line: str) -> float:
    """What a line comes to, as it is written."""
    return number(ledger.locator(f'[data-line="{line}"] > .ex-ledger-value').inner_text())


def filled_in(ledger: Locator, line: str) -> list[float]:
    """The numbers in the second half of a line's formula, as they are written, in their order."""
    return [
        number(text)
        for text in ledger.locator(f'[data-line="{line}"] .ex-ledger-side:nth-of-type(2)').evaluate(NUMBERS)
    ]


def test_every_line_comes_out_and_goes_into_the_next(explorer: ExplorerPage, ledger: Locator) -> None:
    weight, component = filled_in(ledger, "score")
    assert value(ledger, "score") == pytest.approx(weight * component, **DIGITS)
    shown = explorer.part("tokens").locator(".ex-score").first.inner_text().replace("−", "-")
    assert float(shown) == pytest.approx(value(ledger, "score"), abs=0.006)
    old, ref = filled_in(ledger, "ref_kl")
    assert value(ledger, "ref_kl") == pytest.approx(old - ref, abs=2e-4)
    beta, kl = filled_in(ledger, "reward")[:2]
    assert kl == pytest.approx(value(ledger, "ref_kl"), **DIGITS) and beta == 0.05
    assert value(ledger, "reward") == pytest.approx(-beta * kl, **DIGITS)
    reward, gamma, following, before = filled_in(ledger, "delta")
    assert reward == pytest.approx(value(ledger, "reward"), **DIGITS)
    assert value(ledger, "delta") == pytest.approx(reward + gamma * following - before, abs=2e-4)

    ledger.locator('[data-fold="advantage"]').click()
    rows = ledger.locator('[data-line="advantage"] .ex-ledger-terms tr:has(button)')
    table = [[number(text) for text in row.locator("td[data-value]").all_inner_texts()] for row in rows.all()]
    assert len(table) == 4 and table[0][3] == pytest.approx(value(ledger, "delta"), **DIGITS)
    for power, (came, after, expected, surprise, decay, adds) in enumerate(table):
        assert surprise == pytest.approx(came + after - expected, abs=2e-4)
        assert decay == pytest.approx(0.95**power, **DIGITS)
        assert adds == pytest.approx(decay * surprise, abs=2e-5)
    assert value(ledger, "advantage") == pytest.approx(math.fsum(row[-1] for row in table), abs=2e-4)

    advantage, mean, spread = filled_in(ledger, "whitened")
    assert advantage == pytest.approx(value(ledger, "advantage"), **DIGITS)
    assert value(ledger, "whitened") == pytest.approx((advantage - mean) / spread, rel=1e-3)
    new, old = filled_in(ledger, "ratio")
    assert value(ledger, "ratio") == pytest.approx(math.exp(new - old), rel=1e-3)
    ratio, low, high = filled_in(ledger, "clipped")
    assert (ratio, low, high) == pytest.approx((value(ledger, "ratio"), 0.8, 1.2), **DIGITS)
    assert value(ledger, "clipped") == pytest.approx(min(max(ratio, low), high), **DIGITS)
    plain, clipped = filled_in(ledger, "term")
    for line, shown, factor in (("plain_branch", plain, "ratio"), ("clipped_branch", clipped, "clipped")):
        assert shown == pytest.approx(value(ledger, line), **DIGITS)
        assert shown == pytest.approx(value(ledger, factor) * value(ledger, "whitened"), rel=2e-4)
    assert value(ledger, "term") == min(plain, clipped)
    winner = "plain_branch" if plain <= clipped else "clipped_branch"
    expect(ledger.locator(".ex-ledger-line:has(.ex-wins)")).to_have_attribute("data-line", winner)
    share, pull = value(ledger, "share"), value(ledger, "pull")
    w, g, whole = filled_in(ledger, "share")
    assert (w, g) == (value(ledger, "weight"), pull)
    assert share == pytest.approx(abs(w * g) / whole, rel=2e-4)
    for fold in ("beside", "response_k1"):  # the numbers beside the way are checked too
        ledger.locator(f'[data-fold="{fold}"]').click()
    marks = ledger.locator(".ex-ledger-mark")
    assert set(marks.all_inner_texts()) == {"✓", "→"}
    checked = marks.all_inner_texts().count("✓")
    expect(ledger.locator(".ex-ledger-verdict")).to_have_text(f"✓ {checked} of {checked} match")


def test_sliders_move_it_at_once(explorer: ExplorerPage, ledger: Locator) -> None:
    before = value(ledger, "advantage")
    explorer.slide("gae_lambda", 0.0)
    expect(ledger.locator('[data-line="advantage"] .ex-ledger-note')).to_contain_text("γ·λ = 0 times", timeout=AT_ONCE)
    assert value(ledger, "advantage") == pytest.approx(value(ledger, "delta"), **DIGITS) != before
    explorer.slide("kl_coef", 0.2)
    explorer.when(REWARD, -0.2 * value(ledger, "ref_kl"), milliseconds=AT_ONCE)
    expect(ledger.locator(".ex-ledger-verdict")).to_contain_text("✓")
    explorer.slide("gamma", 0.5)
    expect(ledger.locator('[data-line="delta"] .ex-ledger-side').nth(1)).to_contain_text("0.5", timeout=AT_ONCE)
    expect(ledger.locator(".ex-ledger-whose")).to_contain_text("new scoring")


@pytest.mark.parametrize(
    ("field", "choice", "there", "gone"),
    [
        ("estimator", "rloo", "others_mean", "delta"),
        ("estimator", "monte_carlo", "to_go", "delta"),
        ("objective-choice", "gspo", "response_ratio", "floor_branch"),
        ("objective-choice", "unclipped", "term", "plain_branch"),
    ],
)
def test_it_follows_estimator_and_objective(
    explorer: ExplorerPage, ledger: Locator, field: str, choice: str, there: str, gone: str
) -> None:
    explorer.part("controls").locator(f".explorer-{field} select").select_option(choice)
    expect(ledger.locator(f'[data-line="{there}"]')).to_be_attached(timeout=AT_ONCE)
    expect(ledger.locator(f'[data-line="{gone}"]:not([data-beside])')).to_have_count(0)
    expect(ledger.locator(".ex-ledger-verdict")).to_contain_text("✓")


def test_a_later_token_is_pinned_from_its_term(explorer: ExplorerPage, ledger: Locator) -> None:
    fold = ledger.locator('[data-fold="advantage"]')
    if fold.get_attribute("aria-expanded") == "false":
        fold.focus()
        explorer.page.keyboard.press("Enter")
        expect(fold).to_be_focused()
    later = ledger.locator(".ex-ledger-token").nth(1)
    later.focus()
    explorer.page.keyboard.press("Enter")
    expect(ledger.locator(".ex-ledger-whose")).to_contain_text("token 22")
    assert explorer.pinned == (0, 21)
    ledger.locator(".ex-ledger-lines").focus()
    explorer.page.keyboard.press("ArrowLeft")
    expect(ledger.locator(".ex-ledger-whose")).to_contain_text("token 21")
    explorer.page.keyboard.press("Escape")
    expect(ledger.locator(".ex-ledger-whose")).to_contain_text("Pin a token")
    expect(ledger.locator(".ex-ledger-line")).to_have_count(0)
    explorer.token(0, 20).click()


def test_other_panels_open_it_at_their_line(explorer: ExplorerPage, ledger: Locator) -> None:
    for opened, line in (("ratio", "ratio"), ("term", "term"), ("pull", "pull")):
        explorer.tab("advantages")
        explorer.part("objective").locator(f'.ex-formula [data-ledger="{opened}"]').first.click()
        expect(ledger.locator(".ex-asked")).to_have_attribute("data-line", line)
        expect(ledger.locator(".ex-asked")).to_be_in_viewport()
    explorer.tab("advantages")
    explorer.part("advantages").locator('[data-ledger="reward"]').click()
    expect(ledger.locator(".ex-asked")).to_have_attribute("data-line", "reward")
    explorer.tab("advantages")
    explorer.part("tokens").locator(".ex-responses").focus()
    explorer.page.keyboard.press("Enter")
    expect(ledger.locator(".ex-asked")).to_have_attribute("data-line", "ratio")
    explorer.tab("advantages")
    explorer.token(1, 3).dblclick()
    expect(ledger.locator(".ex-ledger-whose")).to_contain_text("response 2, token 4")


def test_a_prompts_words_cannot_be_pinned(explorer: ExplorerPage, ledger: Locator) -> None:
    explorer.part("tokens").locator(".ex-prompt").first.click()
    expect(ledger.locator(".ex-ledger-whose")).to_contain_text("response 1, token 21")


def test_formulas_are_drawn_and_fit_in_both_languages(explorer: ExplorerPage, ledger: Locator) -> None:
    for size in ({"width": 1920, "height": 1080}, {"width": 1280, "height": 800}):
        explorer.page.set_viewport_size(size)
        for _ in range(2):
            explorer.press("language")
            explorer.when(FITS)


NUMBERS = "(side) => [...side.querySelectorAll('mn')].map((node) => node.textContent)"

REWARD = """(root, wanted) => {
  const found = root.querySelector('.explorer-ledger [data-line="reward"] > .ex-ledger-value')?.dataset.value;
  return Math.abs(Number(found) - wanted) < 1e-4;
}"""

#: Every formula has a size of its own, and no line is wider than the panel.
FITS = """(root) => {
  const lines = root.querySelector('.explorer-ledger .ex-ledger-lines');
  const drawn = [...lines.querySelectorAll('math')].every((node) => node.getBoundingClientRect().height > 8);
  const wide = [lines, ...lines.querySelectorAll('.ex-ledger-math, .ex-ledger-value, .ex-ledger-note')];
  return drawn && lines.querySelector('math') && wide.every((node) => node.scrollWidth <= node.clientWidth + 1);
}"""
