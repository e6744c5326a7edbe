"""A seed grid behind the curves, as it grows and while the run itself goes on."""

from __future__ import annotations

from collections.abc import Iterator

import nbformat
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage
from tests.browser.explorer_page import NEWEST, ExplorerPage
from tests.browser.servers import serving

pytestmark = pytest.mark.browser

# A folder of its own for each kernel: the one that Voila keeps ready runs the cell too.
CODE = """
import tempfile
import explorer
page = explorer.Explorer(config=explorer.Config(batch_size=8, response_length=8, epochs=1))
page.session.grid.observe(lambda change: page.add_class("grid-" + change["new"]["state"]), "progress")
page.session.grid.start(2, 4, tempfile.mkdtemp() + "/grid")
page
"""

#: What is drawn in the first chart: bands and thin lines as they lie there, and the length of the run's own line.
DRAWN = """(root) => {
  const plot = root.querySelector('.explorer-curves .ex-plot');
  const [band, lines, own] = [...plot.querySelectorAll('.subplot.xy .scatterlayer > .trace')];
  const paths = (trace, kind) => [...(trace?.querySelectorAll(kind) ?? [])].map((path) => path.getAttribute('d'));
  return {
    traces: plot.data.length, band: paths(band, '.js-fill'),
    lines: paths(lines, '.js-line'), own: paths(own, '.js-line'),
  };
}"""

#: Whether both lines behind the score have come to update 4.
WHOLE = """() => {
  const { data } = document.querySelector('.explorer-curves .ex-plot');
  return data[1].x.filter((update) => update === 4).length === 2;
}"""


@pytest.fixture(scope="module")
def explorer(tmp_path_factory: pytest.TempPathFactory, open_page: OpenPage) -> Iterator[ExplorerPage]:
    """A page whose cell has started a grid."""
    folder = tmp_path_factory.mktemp("behind")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CODE)])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, folder / "grid.ipynb")
    with serving(folder, str(folder / "grid.ipynb")) as address:
        page = open_page()
        page.goto(address)
        explorer = ExplorerPage(page)
        explorer.wait_until_ready()
        yield explorer
        page.close()


def step_to(explorer: ExplorerPage, update: int) -> None:
    explorer.press("step")
    explorer.when(NEWEST, update)
    explorer.wait_for_charts(update)


def test_the_seeds_come_behind_the_run_and_stay_there_while_it_trains(explorer: ExplorerPage) -> None:
    others = explorer.part("curves").locator(".ex-others")
    expect(others).to_have_text(" Behind: 2 seeds, each a thin line; band: lowest to highest")
    expect(explorer.part("curves").locator(".ex-hint:not(.ex-others)")).to_be_hidden()
    # Both lines are there with all four updates, and the band closes around them.
    expect(explorer.page.locator(".grid-done")).to_have_count(1)
    explorer.page.wait_for_function(WHOLE)
    step_to(explorer, 1)
    before = explorer.root.evaluate(DRAWN)
    assert (len(before["band"]), len(before["lines"])) == (1, 2)
    assert before["traces"] == 12 + 20  # a band and the lines in each of six charts, and the run's own as ever
    step_to(explorer, 2)
    after = explorer.root.evaluate(DRAWN)
    assert after["own"] != before["own"]
    assert (after["band"], after["lines"], after["traces"]) == (before["band"], before["lines"], before["traces"])


def test_the_seeds_have_their_frontiers_too(explorer: ExplorerPage) -> None:
    expect(explorer.page.locator(".grid-done")).to_have_count(1)
    panel = explorer.part("curves")
    panel.locator(".explorer-view-frontier").click()
    lines = panel.locator(".ex-frontier-other")
    expect(lines).to_have_count(2)
    assert [(line.get_attribute("d") or "").count("L") for line in lines.all()] == [3, 3]  # of four updates each
    assert lines.locator("title").all_text_contents() == ["seed 0", "seed 1"]
    panel.locator(".explorer-view-curves").click()
    expect(panel.locator(".main-svg").first).to_be_visible()


def test_its_words_change_with_the_language(explorer: ExplorerPage) -> None:
    others = explorer.part("curves").locator(".ex-others")
    explorer.press("language")
    expect(others).to_contain_text("2 个随机种子")
    explorer.press("language")
    expect(others).to_contain_text("2 seeds")


def test_until_the_score_stops_rising_it_trains_no_longer(explorer: ExplorerPage) -> None:
    """With a learning rate of 0 there is nothing to rise: two windows of ten updates are enough to say so."""
    explorer.type("learning_rate", "0")
    before = explorer.newest
    explorer.part("train-for").select_option("flat")
    explorer.train()
    explorer.settle()
    assert before + 20 <= explorer.newest < before + 60
    explorer.part("train-for").select_option("0")
