"""Recorded runs in the page, as somebody would use them: go back, branch, name, save, delete, reload, seeds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Locator, expect

from explorer.recording.checkpoints import checkpoint_updates
from explorer.recording.grid import recorded_seeds
from explorer.recording.storage import Recording
from explorer.text import labels
from tests.browser.conftest import OpenPage
from tests.browser.explorer_page import NEWEST, ExplorerPage
from tests.browser.servers import serving

pytestmark = pytest.mark.browser

WORDS = labels("en")["ui"]

CODE = """
import explorer
explorer.Explorer(config=explorer.Config(batch_size=8, response_length=8, epochs=2))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def explorer(folder: Path, open_page: OpenPage) -> Iterator[ExplorerPage]:
    """A page of small batches that has trained 4 updates, its panel of runs in front."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CODE)])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, folder / "small.ipynb")
    with serving(folder, str(folder / "small.ipynb")) as address:
        page = open_page()
        page.goto(address)
        explorer = ExplorerPage(page)
        explorer.wait_until_ready()
        explorer.train_for(4)
        explorer.tab("runs")
        yield explorer
        page.close()


def rows(explorer: ExplorerPage) -> Locator:
    return explorer.part("runs").locator(".ex-run-list .ex-run-row")


def run_of(explorer: ExplorerPage) -> str:
    """The id in the page's address."""
    explorer.page.wait_for_url(re.compile(r"\?run=[0-9a-f]{32}$"))
    return explorer.page.url.rpartition("=")[2]


def recorded(folder: Path, run: str) -> Path:
    (found,) = (folder / "runs").glob(f"*_{run[:8]}")
    return found


def test_the_run_is_on_the_disk_and_in_the_address(explorer: ExplorerPage, folder: Path) -> None:
    run = run_of(explorer)
    expect(rows(explorer)).to_have_count(1)
    expect(rows(explorer)).to_contain_text("● Learn")
    recording = Recording.load(recorded(folder, run))
    assert (recording.info["id"], recording.updates) == (run, [1, 2, 3, 4])
    # The state of the pause is written beside the page, and takes the place of one that was kept in passing.
    expect(explorer.part("rewind-to").locator("option[value='4']")).to_have_count(1)
    assert checkpoint_updates(recorded(folder, run)) == [0, 4]


def test_going_back_and_changing_one_thing_shows_where_the_branch_parts(explorer: ExplorerPage, folder: Path) -> None:
    parent = run_of(explorer)
    explorer.part("rewind-to").select_option("0")
    explorer.part("rewind").click()
    expect(explorer.part("runs").locator(".explorer-branch")).to_contain_text("A branch of")
    explorer.slide("temperature", 0.8)
    explorer.train_for(2)
    branch = run_of(explorer)
    assert branch != parent
    expect(explorer.part("branch")).to_contain_text("Changed: temperature 1 → 0.8.")
    parting = explorer.part("parting")
    expect(parting).to_contain_text("First differs in update 1, sampling, at token")
    # It names the first number in which the two recordings differ, and shows that token.
    found = re.search(r"at token (\d+) of response (\d+)", parting.text_content() or "")
    assert found
    explorer.part("parting-show").click()
    explorer.when("(root) => root.querySelector('.explorer-status').dataset.update === '1'")
    shown = explorer.token(int(found[2]) - 1, int(found[1]) - 1)
    expect(shown).to_have_class(re.compile("ex-pinned"))
    told = Recording.load(recorded(folder, branch)).info["parent"]
    assert (told["id"], told["update"], told["changed"]) == (parent, 0, {"temperature": [1.0, 0.8]})
    assert Recording.load(recorded(folder, parent)).updates == [1, 2, 3, 4]
    expect(rows(explorer)).to_have_text([re.compile("^Learn"), re.compile("^└ ● from 0, temperature 0.8")])
    expect(explorer.part("curves").locator(".ex-others")).to_contain_text("Behind")
    explorer.press("follow")


def test_a_reload_goes_on_with_the_run(explorer: ExplorerPage) -> None:
    run, page = run_of(explorer), explorer.page
    page.reload()
    explorer.wait_until_ready()
    explorer.when("(root) => root.querySelector('.ex-place').textContent === '2 / 2'")
    expect(explorer.part("train")).to_be_enabled()
    assert run_of(explorer) == run
    assert explorer.value("temperature") == "0.80"
    explorer.train_for(1)
    assert (explorer.newest, run_of(explorer)) == (3, run)
    explorer.tab("runs")
    expect(rows(explorer).nth(1)).to_contain_text("3")


def test_a_reload_in_the_middle_of_training_loses_no_whole_update(explorer: ExplorerPage, folder: Path) -> None:
    run, before = run_of(explorer), explorer.newest
    explorer.part("train-for").select_option("0")
    explorer.train()
    explorer.when("(root, n) => Number(root.querySelector('.explorer-status').dataset.update) >= n", before + 3)
    seen = explorer.newest
    explorer.page.reload()
    explorer.wait_until_ready()
    expect(explorer.part("train")).to_be_enabled()
    explorer.when("(root, n) => Number(root.querySelector('.ex-place').dataset.newest) >= n", seen)
    assert explorer.newest < 40  # it is the run's own, and not the bundled one
    now = explorer.newest
    assert checkpoint_updates(recorded(folder, run))[-1] == now
    explorer.step()
    assert (explorer.newest, run_of(explorer)) == (now + 1, run)
    explorer.tab("runs")


def test_another_run_is_opened_named_saved_and_compared(explorer: ExplorerPage, folder: Path) -> None:
    branch = run_of(explorer)
    rows(explorer).first.click()
    explorer.part("run-open").click()
    explorer.when("(root) => root.querySelector('.ex-place').textContent === '4 / 4'")
    expect(explorer.part("train")).to_be_enabled()
    parent = run_of(explorer)
    assert parent != branch
    assert explorer.value("temperature") == "1.00"
    explorer.part("run-name").click()
    explorer.part("run-input").fill("<b>mine</b>")
    explorer.page.keyboard.press("Enter")
    expect(rows(explorer).first).to_contain_text("● <b>mine</b>")
    explorer.part("run-save").click()
    explorer.part("run-input").fill(str(folder / "copy"))
    explorer.part("run-sure").click()
    expect(explorer.part("run-saved")).to_contain_text(f"Saved in {folder / 'copy'}")
    assert Recording.load(folder / "copy").info["id"] == parent
    assert checkpoint_updates(folder / "copy") == [0, 4]
    rows(explorer).nth(1).click()
    explorer.part("run-behind").click()
    expect(explorer.part("run-behind")).to_have_attribute("aria-pressed", "true")
    expect(explorer.part("curves").locator(".ex-others")).to_be_visible()
    explorer.part("run-behind").click()
    expect(explorer.part("curves").locator(".ex-others")).to_be_hidden()


def test_a_run_is_deleted_after_a_question_and_not_the_one_on_screen(explorer: ExplorerPage, folder: Path) -> None:
    expect(rows(explorer)).to_have_count(2)
    rows(explorer).first.click()
    expect(explorer.part("run-delete")).to_be_disabled()
    rows(explorer).nth(1).click()
    explorer.part("run-delete").click()
    expect(explorer.part("runs").locator(".ex-run-ask")).to_contain_text("for good?")
    explorer.part("run-cancel").click()
    expect(rows(explorer)).to_have_count(2)
    explorer.part("run-delete").click()
    explorer.part("run-sure").click()
    expect(rows(explorer)).to_have_count(1)
    assert len(list((folder / "runs").iterdir())) == 1


def test_a_run_that_is_not_there_is_an_error_and_the_page_goes_on(explorer: ExplorerPage, voila_url: str) -> None:
    other = explorer.page.context.new_page()
    other.goto(f"{voila_url}?run={'0' * 32}")
    page = ExplorerPage(other)
    page.wait_until_ready()
    expect(page.part("error")).to_contain_text("There is no run '000000000000'")
    page.step()
    assert run_of(page) != "0" * 32
    other.close(run_before_unload=True)


def test_a_note_is_written_on_the_pinned_token_and_leads_back_to_it(explorer: ExplorerPage, folder: Path) -> None:
    """By the keyboard alone; what was typed is only text."""
    run, page, newest = run_of(explorer), explorer.page, explorer.newest
    explorer.scrub(2)
    for row in (0, 1):  # a press on the pinned token lets go of it
        explorer.token(row, 0).click()
    explorer.part("note-place").focus()
    expect(explorer.part("note-place").locator("option")).to_have_count(3)
    for typed in ("Tab", "<b>odd</b>", "Tab", "why it is", "Enter"):
        page.keyboard.press(typed) if typed in ("Tab", "Enter") else page.keyboard.type(typed)
    listed = explorer.part("notes").locator(".ex-note-row")
    expect(listed).to_have_text("2, response 2, token 1<b>odd</b>why it is")
    expect(explorer.part("note-label")).to_have_value("")
    (label,) = Recording.load(recorded(folder, run)).labels
    assert (label.update, label.response, label.token, label.label, label.text) == (2, 1, 0, "<b>odd</b>", "why it is")
    explorer.scrub(newest)
    explorer.token(0, 0).click()
    listed.focus()
    page.keyboard.press("Enter")
    explorer.when("(root) => root.querySelector('.explorer-status').dataset.update === '2'")
    explorer.when("(root) => root.querySelector('.explorer-tokens .ex-token.ex-pinned')?.dataset.row === '1'")
    assert explorer.pinned == (1, 0)
    explorer.press("follow")


def test_no_update_is_trained_with_a_value_that_a_drag_has_passed(explorer: ExplorerPage, folder: Path) -> None:
    explorer.type("clip_range", "0.2")
    explorer.part("train-for").select_option("0")
    explorer.train()
    mouse, badge = explorer.page.mouse, explorer.part("tokens").locator(".ex-badge")
    box = explorer.part("clip_range").locator("input[type=range]").bounding_box()
    assert box is not None
    across = [box["x"] + box["width"] * share for share in (0.33, 0.6, 0.75, 0.9)]
    first = explorer.newest
    mouse.move(across[0], box["y"] + box["height"] / 2)
    mouse.down()
    for x in across[1:]:
        mouse.move(x, box["y"] + 40, steps=5)
        expect(badge).to_have_text(WORDS["held"])  # of every update that has come meanwhile
        explorer.when(NEWEST, explorer.newest + 2)
    passed, held = explorer.newest, float(explorer.value("clip_range"))
    assert held > 0.4
    mouse.up()
    explorer.when(NEWEST, explorer.newest + 3)
    expect(badge).to_have_text("")
    explorer.stop()
    recording = Recording.load(recorded(folder, run_of(explorer)))
    trained = {update: recording.config_at(update).clip_range for update in recording.updates if update > first}
    assert set(trained.values()) == {0.2, held}
    assert {epsilon for update, epsilon in trained.items() if update <= passed} == {0.2}
    assert trained[max(trained)] == held
    # Who leaves the window has let go.
    mouse.move(across[3], box["y"] + box["height"] / 2)
    mouse.down()
    mouse.move(across[1], box["y"] + box["height"] / 2, steps=3)
    expect(badge).to_have_text(WORDS["held"])
    explorer.page.evaluate("window.dispatchEvent(new Event('blur'))")
    expect(badge).to_have_text(WORDS["what_if_badge"])
    mouse.up()
    explorer.type("clip_range", "0.2")


def test_a_slider_that_is_held_while_the_page_is_reloaded_is_let_go(explorer: ExplorerPage, folder: Path) -> None:
    explorer.type("clip_range", "0.2")
    explorer.step()
    mouse, badge = explorer.page.mouse, explorer.part("tokens").locator(".ex-badge")
    newest = explorer.newest
    box = explorer.part("clip_range").locator("input[type=range]").bounding_box()
    assert box is not None
    mouse.move(box["x"] + box["width"] * 0.33, box["y"] + box["height"] / 2)
    mouse.down()
    mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] / 2, steps=3)
    expect(badge).to_have_text(WORDS["held"])
    passed = float(explorer.value("clip_range"))
    assert passed > 0.4
    explorer.page.reload()
    mouse.up()
    explorer.wait_until_ready()
    explorer.when("(root, n) => root.querySelector('.ex-place').textContent === `${n} / ${n}`", newest)
    expect(explorer.part("train")).to_be_enabled()
    expect(badge).not_to_have_text(WORDS["held"])
    shown = float(explorer.value("clip_range"))
    assert shown in (0.2, passed)  # the run's own, or what it was let go at
    explorer.step()
    expect(badge).to_have_text("")
    recording = Recording.load(recorded(folder, run_of(explorer)))
    assert recording.updates[-1] == newest + 1
    assert recording.config_at(newest + 1).clip_range == shown
    explorer.type("clip_range", "0.2")
    explorer.tab("runs")


def test_several_seeds_are_runs_of_their_own(explorer: ExplorerPage, folder: Path) -> None:
    explorer.part("seeds-count").fill("2")
    explorer.part("seeds-updates").fill("3")
    explorer.part("seeds").click()
    expect(explorer.part("seeds-progress")).to_have_text("2 seeds of 3 updates are done")
    expect(rows(explorer).first).to_contain_text("▸ 2 seeds")
    rows(explorer).first.click()
    expect(rows(explorer)).to_have_count(4)
    expect(rows(explorer).nth(1)).to_contain_text("seed 0")
    (grid,) = (folder / "runs").glob("*_seeds")
    assert {seed: run.updates for seed, run in recorded_seeds(grid).items()} == {0: [1, 2, 3], 1: [1, 2, 3]}
    rows(explorer).nth(2).click()
    explorer.part("run-open").click()
    explorer.when("(root) => root.querySelector('.ex-place').textContent === '3 / 3'")
    explorer.train_for(1)
    assert recorded_seeds(grid)[1].updates == [1, 2, 3, 4]
