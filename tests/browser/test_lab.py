"""The notebook in JupyterLab: one cell shows the explorer, folded into fewer columns; two cells show two."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.explorer_page import AT_ONCE, ExplorerPage
from tests.browser.notebook_page import Notebook, choose_theme
from tests.browser.witness import Witness

pytestmark = [pytest.mark.browser, pytest.mark.kernel]

MARKUP = "<i>My</i> &amp; <img src=x> 5% %{x} mood"
OWN_REWARDS = f"""def steady(score): return lambda prompts, responses: [score] * len(responses)

explorer.Explorer(rewards={{{MARKUP!r}: steady(-3.0), 'calm': steady(0.2), 'short': steady(0.4)}})"""

#: How many of the workers that were seen are alive, once the first of them has ended.
COUNT = "seen[0].join(60); print('workers:', sum(worker.is_alive() for worker in set(seen) | set(workers())))"
SEE = """import threading
def workers(): return [t for t in threading.enumerate() if t.name == 'ppo-explorer-worker']

seen = workers(); print('workers:', len(seen))"""


@pytest.fixture
def notebook(in_lab: Notebook) -> Notebook:
    return in_lab


@pytest.fixture
def explorer(notebook: Notebook) -> ExplorerPage:
    """The Explorer under the first cell, paused."""
    explorer = notebook.explorer(0)
    explorer.tidy()
    return explorer


def test_it_draws_in_the_cell_in_fewer_columns(explorer: ExplorerPage) -> None:
    assert explorer.root.get_attribute("data-host") == "cell"
    assert explorer.root.get_attribute("data-columns") in ("1", "2")
    explorer.part("curves").locator(".main-svg").first.wait_for()
    output = explorer.page.locator(".jp-OutputArea-output").first.bounding_box()
    assert output is not None
    for key in ("player", "controls", "tokens", "objective", "advantages", "kl", "curves"):
        box = explorer.part(key).bounding_box()
        assert box is not None and box["height"] > 50
        assert output["x"] <= box["x"] and box["x"] + box["width"] <= output["x"] + output["width"] + 1
    assert explorer.clip.tokens == explorer.tokens.count()


def test_where_the_cell_is_wide_the_tokens_fill_the_middle(explorer: ExplorerPage) -> None:
    size = explorer.page.viewport_size
    explorer.page.set_viewport_size({"width": 2200, "height": 1080})
    explorer.when("(root) => root.dataset.columns === '3'")
    gap = """(root) => {
      const box = (key) => root.querySelector(`.explorer-slot-${key} > .explorer-view`).getBoundingClientRect();
      return box("advantages").top - box("tokens").bottom;
    }"""
    explorer.when(f"(root) => Math.abs(({gap})(root) - 10) < 4")
    assert explorer.root.evaluate("(root) => root.querySelector('.explorer-tokens').offsetHeight") >= 430
    if size:
        explorer.page.set_viewport_size(size)


def test_it_trains_and_epsilon_rescores_meanwhile(explorer: ExplorerPage) -> None:
    started = explorer.newest if explorer.live else 0
    explorer.train()
    explorer.wait_for_update(started + 1)
    for epsilon in (0.05, 0.4):
        explorer.slide("clip_range", epsilon)
        explorer.wait_for_region(epsilon)
    explorer.wait_for_update(started + 3)
    explorer.stop()
    assert explorer.newest >= started + 3


def test_a_click_pins(explorer: ExplorerPage) -> None:
    explorer.train_to(1)
    token = explorer.token(1, 2)
    if explorer.pinned != (1, 2):
        token.click()
    expect(token).to_have_class(re.compile("ex-pinned"), timeout=AT_ONCE)
    expect(explorer.part("objective").locator(".ex-formula .ex-word")).to_have_text(f"“{token.inner_text().strip()}”")
    expect(explorer.part("advantages").locator(".ex-column:not(.ex-column-hovered)")).to_have_count(1)


def test_a_token_s_numbers_are_beside_it(explorer: ExplorerPage) -> None:
    token, tip = explorer.token(2, 3), explorer.part("tokens").locator(".ex-tip")
    token.hover()
    expect(tip).to_be_visible()
    at, box = token.bounding_box(), tip.bounding_box()
    assert at is not None and box is not None
    assert box["x"] <= at["x"] + at["width"] and box["x"] + box["width"] >= at["x"]
    assert min(abs(box["y"] - at["y"] - at["height"]), abs(box["y"] + box["height"] - at["y"])) < 20
    assert box["x"] >= 0 and box["x"] + box["width"] <= 1280 and box["y"] >= 0 and box["y"] + box["height"] <= 800


def test_arrow_keys_move_the_pin_and_not_the_notebook(explorer: ExplorerPage, notebook: Notebook) -> None:
    explorer.train_to(1)
    _pin(explorer, 0, 1)
    explorer.page.keyboard.press("ArrowDown")
    expect(explorer.token(1, 1)).to_have_class(re.compile("ex-pinned"), timeout=AT_ONCE)
    explorer.page.keyboard.press("ArrowRight")
    expect(explorer.token(1, 2)).to_have_class(re.compile("ex-pinned"), timeout=AT_ONCE)
    assert explorer.pinned == (1, 2)
    explorer.type("clip_range", "0.33")  # digits and letters are JupyterLab's shortcuts outside a field
    expect(explorer.part("clip_range").locator(".ex-number")).to_have_value("0.33")
    expect(notebook.cells.first).to_be_visible()


def test_the_scrubber_takes_the_cell_back(explorer: ExplorerPage) -> None:
    explorer.train_to(3)
    explorer.train_as_set()
    newest, latest = explorer.newest, explorer.texts
    explorer.wait_for_charts(newest)
    explorer.scrub(1)
    expect(explorer.part("status")).to_contain_text("update 1 ")
    explorer.wait_for_charts(1)
    assert explorer.texts != latest
    explorer.press("follow")
    explorer.wait_for_charts(newest)
    assert explorer.texts == latest


def test_the_dark_theme_of_jupyterlab_makes_it_dark(explorer: ExplorerPage) -> None:
    choose_theme(explorer.page, "JupyterLab Dark")
    try:
        expect(explorer.root).to_have_attribute("data-theme", "dark")
        for key in ("tokens", "objective", "player"):
            expect(explorer.part(key)).to_have_attribute("data-theme", "dark")
        colour = explorer.part("tokens").evaluate("(node) => getComputedStyle(node).backgroundColor")
        assert max(int(part) for part in re.findall(r"\d+", colour)[:3]) < 60
        assert explorer.theme_sign == "☀"  # what a press would bring
    finally:
        choose_theme(explorer.page, "JupyterLab Light")
    expect(explorer.root).to_have_attribute("data-theme", "light")


def test_two_live_side_by_side_and_a_cell_run_again_closes_its_own(notebook: Notebook, explorer: ExplorerPage) -> None:
    second = notebook.explorer(notebook.add("explorer.Explorer()"))
    explorer.train_as_set()
    explorer.train()
    second.train()
    updates = explorer.newest
    explorer.when("(root, n) => Number(root.querySelector('.ex-place').dataset.newest) > n", updates)
    second.wait_for_update(1)
    explorer.slide("clip_range", 0.1)
    explorer.wait_for_region(0.1)
    assert second.clip.high == 1.2
    second.stop()
    assert explorer.player.get_attribute("data-mode") == "running"

    seen = notebook.add(SEE)
    expect(notebook.output(seen)).to_have_text("workers: 2")
    notebook.run(0)
    again = notebook.explorer(0)
    expect(again.part("status")).to_contain_text("recorded")
    counted = notebook.add(COUNT)
    expect(notebook.output(counted)).to_have_text("workers: 2")  # the new one and the other cell's
    second.step()
    again.step()
    assert again.newest == 1
    expect(notebook.page.locator(".explorer")).to_have_count(2)


def test_a_notebook_reopened_without_a_kernel_shows_how_it_stood(
    notebook: Notebook, explorer: ExplorerPage, lab_url: str, open_page: OpenPage, witness: Witness
) -> None:
    explorer.train_to(1)
    stood = explorer.newest
    cell = notebook.cells.first
    still = cell.locator(".explorer-still")
    expect(still).to_contain_text(f"update {stood}:")  # as training has left it, not as the cell has drawn it
    assert still.is_hidden()  # while the page is live
    notebook.page.keyboard.press("Control+s")
    notebook.page.wait_for_function(SAVED, arg=f"update {stood}:")
    notebook.page.evaluate(COPIES)

    for name in ("trusted", "untrusted"):
        page = open_page()
        page.goto(f"{lab_url}/workspaces/{name}/tree/{name}.ipynb?reset")
        later = Notebook(page).cells.first
        # JupyterLab starts a kernel, which knows nothing of the page, and then there is none.
        for end in (lambda page: page.get_by_text(re.compile(r"Python 3.*\| Idle")).wait_for(), _shut_down):
            end(page)
            picture = later.locator(".explorer-still img:visible")
            expect(picture).to_have_count(1)
            rendered = later.locator(".jp-OutputArea-output", has=page.locator(".explorer-still"))
            assert ("jp-mod-trusted" in (rendered.get_attribute("class") or "")) == (name == "trusted")
            assert picture.evaluate("(image) => image.complete && image.naturalWidth") == 900
            expect(later.locator(".explorer-still p")).to_contain_text(f"update {stood}: a picture")
            expect(later.locator(".explorer-still p")).to_contain_text("Run the cell to go live")
            assert later.get_by_text(re.compile("Loading widget|model not found")).locator("visible=true").count() == 0
        if name == "trusted":
            choose_theme(page, "JupyterLab Dark")
            expect(picture).to_have_css("content", re.compile("^url"))
            choose_theme(page, "JupyterLab Light")
            expect(picture).to_have_css("content", "normal")
        page.context.close()
    # JupyterLab's own words, of a kernel that knows no such widget and of one that was ended.
    own = re.compile("widget model not found|Could not restore the debugger state")
    witness.faults = [fault for fault in witness.faults if not own.search(fault)]


def test_html_in_the_name_of_a_reward_is_text_in_the_curves(notebook: Notebook) -> None:
    mine = notebook.explorer(notebook.add(OWN_REWARDS))
    mine.step()
    mine.wait_for_charts(1)
    curves = mine.part("curves")
    title, tip = curves.locator(".ex-plot-title").first, curves.locator(".ex-tip:not([hidden])")
    title.scroll_into_view_if_needed()
    title.hover()
    expect(tip).to_be_visible()
    names = [name.strip() for name in tip.locator("p > b").all_text_contents()]
    assert names[-3:] == [MARKUP, "calm", "short"]
    assert curves.locator("img, script, i").count() == 0
    strokes = tip.locator(".ex-stroke line").evaluate_all(
        "(lines) => lines.map((l) => getComputedStyle(l).strokeDasharray)"
    )
    assert len(strokes) == len(set(strokes)) == len(names) == 9

    mine.point_at(0, 1, -3)
    label = curves.locator(".hoverlayer .hovertext")
    expect(label).to_have_count(1)
    assert label.locator("tspan").all_text_contents() == ["update 1", f"-3.000 {MARKUP}"]
    assert curves.locator("img, script, i").count() == 0


def _pin(explorer: ExplorerPage, row: int, t: int) -> None:
    if explorer.pinned != (row, t):
        explorer.token(row, t).click()
    else:
        explorer.part("tokens").locator(".ex-responses").focus()
    expect(explorer.token(row, t)).to_have_class(re.compile("ex-pinned"), timeout=AT_ONCE)


def _shut_down(page: Page) -> None:
    """End the notebook's kernel."""
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.locator(".lm-Menu-itemLabel", has_text=re.compile("^Shut Down Kernel$")).click()
    page.get_by_text("No Kernel").first.wait_for()


#: The notebook on the server holds an output with these words.
SAVED = """(words) => fetch('/api/contents/explorer.ipynb', { cache: 'no-store' }).then((answer) => answer.json())
  .then(({ content }) => JSON.stringify(content.cells[0].outputs).includes(words))"""

#: Saves the notebook under two more names: as one of the user's own, and as one that has come from elsewhere.
COPIES = """async () => {
  const token = document.cookie.match(/_xsrf=([^;]*)/)?.[1] ?? '';
  const { content } = await (await fetch('/api/contents/explorer.ipynb', { cache: 'no-store' })).json();
  for (const trusted of [true, false]) {
    content.metadata.title = `${trusted}`; // JupyterLab trusts by content, and a true copy with the original
    for (const cell of content.cells) cell.metadata.trusted = trusted;
    await fetch(`/api/contents/${trusted ? 'trusted' : 'untrusted'}.ipynb`, {
      method: 'PUT', headers: { 'Content-Type': 'application/json', 'X-XSRFToken': token },
      body: JSON.stringify({ type: 'notebook', format: 'json', content }),
    });
  }
}"""
