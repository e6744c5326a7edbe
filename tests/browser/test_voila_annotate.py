"""The annotator as a person uses it: twenty pairs by key and click, an undo, a reload, and training on the labels."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pandas
import pytest
from playwright.sync_api import Locator, expect

from explorer.session.labels import FOLDER
from tests.browser.conftest import OpenPage
from tests.browser.explorer_page import ExplorerPage
from tests.browser.servers import serving
from tests.browser.test_voila_save import save

pytestmark = pytest.mark.browser

CODE = """
import explorer
explorer.Explorer(config=explorer.Config(batch_size=8, response_length=8, epochs=1))
"""

PARTED = r"part at update (\d+): .* judge, “good text”, has lost (\S+) spreads and the score has gained (\S+)\."

MARKUP = "<img src=x onerror=alert(1)>"


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


def said(explorer: ExplorerPage, how: str, by_click: bool = False) -> tuple[str, str]:
    """Label the pair on screen by a key or a click, and wait until another is there; gives the pair."""
    panel = explorer.part("annotate")
    cards = panel.locator(".ex-annotate-cards")
    expect(cards).not_to_have_attribute("data-id", "")
    number, pair = cards.get_attribute("data-id"), shown(panel)
    if by_click:
        explorer.part(f"annotate-say-{how}").click()
    else:
        explorer.page.keyboard.press(how)
    expect(cards).not_to_have_attribute("data-id", number or "")
    return pair


def taste(text: str) -> tuple[bool, int]:
    """What this reader goes by: somebody speaks, and else the longer story. Nothing in the page knows of it."""
    return any(mark in text for mark in '"“”'), len(text)


def preferred(explorer: ExplorerPage, by_click: bool = False) -> tuple[str, str]:
    """Read the two texts on the page and say which is better, by key or click; gives (chosen, rejected)."""
    expect(explorer.part("annotate").locator(".ex-annotate-cards")).not_to_have_attribute("data-id", "")
    a, b = shown(explorer.part("annotate"))
    key = "a" if taste(a) >= taste(b) else "b"
    assert said(explorer, key, by_click) == (a, b)
    return (a, b) if key == "a" else (b, a)


def counted(explorer: ExplorerPage, number: int) -> None:
    """So many labels are told, and on disk."""
    expect(explorer.part("annotate-count")).to_have_text(re.compile(rf"^{number} of "))
    expect(explorer.part("annotate-count")).to_have_attribute("data-saved", str(number))


def test_twenty_pairs_by_key_and_click_with_an_undo_and_a_reload(explorer: ExplorerPage, folder: Path) -> None:
    panel = explorer.part("annotate")
    expect(panel.locator(".explorer-annotate-why")).to_contain_text("at random")
    panel.locator(".ex-annotate-prompt").click()
    began = time.monotonic()
    first = preferred(explorer)
    second = said(explorer, "b")
    # Undo: the second pair comes back, and its label is gone from the disk.
    explorer.page.keyboard.press("u")
    counted(explorer, 1)
    assert shown(panel) == second
    again = preferred(explorer)
    assert set(again) == set(second)
    said(explorer, "tie", by_click=True)
    said(explorer, "S")
    for nth in range(6):
        preferred(explorer, by_click=nth % 2 == 0)
    counted(explorer, 10)
    seconds = time.monotonic() - began
    made = labels(folder)
    assert [(line["chosen"], line["rejected"]) for line in made[:2]] == [first, again]
    assert [line.get("choice") for line in made[2:4]] == ["tie", "skip"]

    explorer.page.reload()
    explorer.wait_until_ready()
    explorer.tab("annotate")
    counted(explorer, 10)
    assert labels(folder) == made
    panel.locator(".ex-annotate-prompt").click()
    # Once there is a model, pairs are chosen by its ensemble, and the page says so; the one on screen stays.
    expect(explorer.part("annotate-train")).to_be_enabled()
    expect(explorer.part("annotate-train")).to_contain_text("8 labels")
    began = time.monotonic()
    preferred(explorer)
    expect(panel.locator(".explorer-annotate-why")).to_contain_text("disagrees")
    for nth in range(9):
        preferred(explorer, by_click=nth % 2 == 0)
    counted(explorer, 20)
    seconds += time.monotonic() - began
    print(f"20 pairs in {seconds:.1f} s")
    assert seconds < 120
    decided = [line for line in labels(folder) if "chosen" in line]
    assert len(decided) == 18 and all(taste(line["chosen"]) >= taste(line["rejected"]) for line in decided)


def test_what_was_learnt_is_drawn_and_the_table_is_there(explorer: ExplorerPage, tmp_path: Path) -> None:
    explorer.part("annotate-model").click()
    for key in ("accuracy", "calibration", "margins", "scores"):
        expect(explorer.part(f"annotate-{key}")).to_be_visible()
    expect(explorer.part("annotate-accuracy").locator("circle").first).to_be_attached()
    expect(explorer.part("annotate-accuracy")).to_have_attribute("aria-label", re.compile("18 labels: "))
    points = pandas.read_csv(save(explorer, "annotate", "csv", tmp_path))
    assert points["picture"].unique().tolist() == ["accuracy", "calibration", "margins", "scores"]
    assert points["labels"][points["picture"] == "accuracy"].max() == 18
    spans = explorer.part("annotate-scores").locator(".ex-annotate-score").count()
    assert int((points["picture"] == "scores").sum()) == spans > 0
    explorer.part("annotate-table").click()
    cells = explorer.part("annotate").locator("td b")
    assert all(0.4 < float(text) <= 1 for text in cells.all_inner_texts()) and cells.count() >= 16
    explorer.part("annotate-pairs").click()


def test_trained_on_live_the_learnt_score_and_a_judge_that_is_held_out_part(explorer: ExplorerPage) -> None:
    """No leash, and nothing else counts: the score of what eighteen choices taught goes where the text does not."""
    explorer.part("preset").select_option("hack_the_reward")  # β 0, large steps, judged by "good text"
    explorer.part("annotate-train").click()
    expect(explorer.part("annotate-in-use")).to_contain_text("fitted on 18")
    explorer.type("weight-sentiment", "0")
    assert explorer.value("weight-learned") == "1.00"
    curves = explorer.part("curves")
    curves.locator(".explorer-view-gauge").click()
    said_of_it = curves.locator(".ex-gauge-said")
    explorer.train_for(3)
    expect(said_of_it).to_contain_text("Score and judge, “good text”, have not parted in 3 updates")
    for _ in range(6):  # marked after 10 to 19 updates, of seeds 0 to 7
        if not curves.locator(".ex-gauge-part").count():
            explorer.train_for(10)
    expect(curves.locator(".ex-gauge-part")).to_be_attached()
    told = re.search(PARTED, said_of_it.inner_text())
    assert told and float(told[2]) >= 0.5 and float(told[3]) > 0
    expect(curves.locator(".ex-gauge-part")).to_have_attribute("data-update", told[1])
    curves.locator(".explorer-view-curves").click()


def test_it_is_trained_on_live_and_its_curve_is_drawn(explorer: ExplorerPage) -> None:
    button = explorer.part("annotate-train")
    expect(button).to_be_disabled()  # the last fit is in use
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


def test_a_second_model_of_other_pairs_judges_live(explorer: ExplorerPage) -> None:
    told = explorer.part("annotate-in-use")
    explorer.part("annotate-hold").click()
    expect(told).to_contain_text("Judge: 9 choices, but 9 of its 9 pairs are trained on too")
    expect(explorer.part("annotate-train")).to_contain_text("10 labels")
    explorer.part("annotate-train").click()
    expect(told).to_contain_text("fitted on 10 choices, all but the judge’s 9. Judge: 9 choices of other pairs")
    explorer.train_for(1)
    explorer.tab("reward")
    expect(explorer.part("judge").locator("option:checked")).to_have_text("learned from 9 choices")
    expect(explorer.part("judged")).to_have_text(re.compile(r"^[+−]\d"))
    explorer.tab("annotate")


def test_a_simulated_annotator_and_a_file(explorer: ExplorerPage, folder: Path) -> None:
    explorer.part("annotate-who").select_option("mentions_animal")
    counted(explorer, 0)
    explorer.part("annotate-simulate").click()
    counted(explorer, 20)
    assert len(labels(folder, "mentions_animal")) == 20
    said_both_ways = [("sat", "ran"), ("ran", "sat")]
    lines = [json.dumps({"prompt": "The cat", "chosen": c, "rejected": r}) for c, r in said_both_ways]
    lines += ["nonsense", json.dumps({"prompt": MARKUP, "chosen": MARKUP, "rejected": "&lt;b&gt;"})]
    file = {"name": "pairs.jsonl", "mimeType": "text/plain", "buffer": "\n".join(lines).encode()}
    explorer.part("annotate-file").set_input_files(file)
    told = explorer.part("annotate-told")
    expect(told).to_contain_text("3 labels added. Lines that are no labels: 1. line 3: it is not JSON")
    counted(explorer, 23)
    expect(explorer.part("annotate-count")).to_contain_text("2 contradict each other")
    # The last one taken back is on screen as a pair: what was imported is text and nothing else.
    explorer.part("annotate-say-undo").click()
    counted(explorer, 22)
    assert shown(explorer.part("annotate")) == (MARKUP, "&lt;b&gt;")
    expect(explorer.part("annotate").locator(".ex-annotate-prompt")).to_have_text(f"Prompt: {MARKUP}")
    assert explorer.root.locator("img").count() == 0
    explorer.part("annotate-who").select_option("you")
    counted(explorer, 21)  # the twenty of before, and the one after
