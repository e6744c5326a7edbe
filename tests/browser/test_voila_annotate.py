"""The annotator as a person uses it: twenty pairs by key and click, an undo, a reload, and training on the labels."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Locator, expect

from explorer.session.labels import FOLDER
from tests.browser.conftest import OpenPage
from tests.browser.explorer_page import ExplorerPage
from tests.browser.servers import serving

pytestmark = pytest.mark.browser

CODE = """
import explorer
explorer.Explorer(config=explorer.Config(batch_size=8, response_length=8, epochs=1))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("annotate")


@pytest.fixture(scope="module")
def explorer(folder: Path, open_page: OpenPage) -> Iterator[ExplorerPage]:
    """A page of small batches with the annotator in front."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CODE)])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, folder / "small.ipynb")
    with serving(folder, str(folder / "small.ipynb")) as address:
        page = open_page()
        page.goto(address)
        explorer = ExplorerPage(page)
        explorer.wait_until_ready()
        explorer.tab("annotate")
        yield explorer
        page.close()


def labels(folder: Path, who: str = "you") -> list[dict[str, str]]:
    """What is on disk."""
    path = folder / "runs" / FOLDER / f"{who}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def shown(panel: Locator) -> tuple[str, str]:
    """The pair on screen, as it is and not as it is laid out."""
    a, b = (panel.locator(f".explorer-annotate-text-{key}").text_content() for key in "ab")
    return a or "", b or ""


def said(explorer: ExplorerPage, how: str) -> tuple[str, str]:
    """Label the pair on screen by a key or a click, and wait until another is there; gives the pair."""
    panel = explorer.part("annotate")
    cards = panel.locator(".ex-annotate-cards")
    expect(cards).not_to_have_attribute("data-id", "")
    number, pair = cards.get_attribute("data-id"), shown(panel)
    if len(how) == 1:
        explorer.page.keyboard.press(how)
    else:
        explorer.part(f"annotate-say-{how}").click()
    expect(cards).not_to_have_attribute("data-id", number or "")
    return pair


def counted(explorer: ExplorerPage, number: int) -> None:
    """So many labels are told, and on disk."""
    expect(explorer.part("annotate-count")).to_have_text(re.compile(rf"^{number} of "))
    expect(explorer.part("annotate-count")).to_have_attribute("data-saved", str(number))


def test_twenty_pairs_by_key_and_click_with_an_undo_and_a_reload(explorer: ExplorerPage, folder: Path) -> None:
    panel = explorer.part("annotate")
    expect(panel.locator(".explorer-annotate-why")).to_contain_text("at random")
    panel.locator(".ex-annotate-prompt").click()
    first = said(explorer, "a")
    second = said(explorer, "b")
    # Undo: the second pair comes back, and its label is gone from the disk.
    explorer.page.keyboard.press("u")
    counted(explorer, 1)
    assert shown(panel) == second
    said(explorer, "B")
    for how in ("tie", "s", "a", "b", "a", "b", "a", "b"):  # clicks on buttons, and keys
        said(explorer, how)
    counted(explorer, 10)
    made = labels(folder)
    assert (made[0]["chosen"], made[0]["rejected"]) == first
    assert (made[1]["rejected"], made[1]["chosen"]) == second
    assert [line.get("choice") for line in made[:4]] == ["a", "b", "tie", "skip"]

    explorer.page.reload()
    explorer.wait_until_ready()
    explorer.tab("annotate")
    counted(explorer, 10)
    assert labels(folder) == made
    panel.locator(".ex-annotate-prompt").click()
    # Once there is a model, pairs are chosen by its ensemble, and the page says so; the one on screen stays.
    expect(explorer.part("annotate-train")).to_contain_text("8 labels")
    said(explorer, "b")
    expect(panel.locator(".explorer-annotate-why")).to_contain_text("disagrees")
    for how in "abababaab":
        said(explorer, how)
    counted(explorer, 20)
    assert len(labels(folder)) == 20


def test_what_was_learnt_is_drawn_and_the_table_is_there(explorer: ExplorerPage) -> None:
    explorer.part("annotate-model").click()
    for key in ("accuracy", "calibration", "margins", "scores"):
        expect(explorer.part(f"annotate-{key}")).to_be_visible()
    expect(explorer.part("annotate-accuracy").locator("circle").first).to_be_attached()
    expect(explorer.part("annotate-accuracy")).to_have_attribute("aria-label", re.compile("18 labels: "))
    explorer.part("annotate-table").click()
    cells = explorer.part("annotate").locator("td b")
    assert all(0.4 < float(text) <= 1 for text in cells.all_inner_texts()) and cells.count() >= 16
    explorer.part("annotate-pairs").click()


def test_it_is_trained_on_live_and_its_curve_is_drawn(explorer: ExplorerPage) -> None:
    button = explorer.part("annotate-train")
    expect(button).to_contain_text("18")
    button.click()
    expect(explorer.part("annotate-in-use")).to_contain_text("fitted on 18")
    expect(button).to_be_disabled()
    explorer.part("annotate-weight").evaluate(
        "(input) => { input.value = '0.5'; input.dispatchEvent(new Event('input', { bubbles: true })); }"
    )
    explorer.train_for(2)
    assert explorer.value("weight-learned") == "0.50"
    explorer.tab("reward")
    line = explorer.part("reward").locator("li.ex-reward-line", has=explorer.page.locator('[data-name="learned"]'))
    expect(line.locator(".ex-reward-spark")).to_have_attribute("aria-label", re.compile("^learned over the run: "))
    explorer.tab("annotate")
    explorer.page.locator(".ex-annotate-prompt").click()
    said(explorer, "a")
    expect(explorer.part("annotate-in-use")).to_contain_text("the new fit has 19")
    button.click()
    expect(explorer.part("annotate-in-use")).to_contain_text("fitted on 19")


def test_a_simulated_annotator_and_a_file(explorer: ExplorerPage, folder: Path) -> None:
    explorer.part("annotate-who").select_option("mentions_animal")
    counted(explorer, 0)
    explorer.part("annotate-simulate").click()
    counted(explorer, 20)
    assert len(labels(folder, "mentions_animal")) == 20
    text = '{"prompt": "p", "chosen": "<img src=x onerror=alert(1)>", "rejected": "y"}\nnonsense\n'
    file = {"name": "pairs.jsonl", "mimeType": "text/plain", "buffer": text.encode()}
    explorer.part("annotate-file").set_input_files(file)
    expect(explorer.part("annotate-told")).to_contain_text("1 labels added. Lines that are no labels: 1. line 2")
    counted(explorer, 21)
    explorer.part("annotate-who").select_option("you")
    counted(explorer, 21)  # the twenty of before, and the one after
