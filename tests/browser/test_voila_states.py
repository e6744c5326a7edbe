"""What the page says when it has nothing to show, when something went wrong, and when nobody answers any more."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage
from tests.browser.explorer_page import ExplorerPage
from tests.browser.servers import serving
from tests.browser.witness import Witness

pytestmark = [pytest.mark.browser, pytest.mark.kernel]

#: The page without any run: nothing is recorded, and the prompts are one's own.
EMPTY = """
import explorer
explorer.Explorer(prompts=["The cat", "The dog", "A bird", "A fish"], runs=False)
"""


def test_an_error_leaves_the_sliders_in_reach(explorer: ExplorerPage) -> None:
    explorer.train_to(1)
    explorer.type("clip_range", "7")
    error = explorer.part("error")
    expect(error).to_be_visible()
    for field in ("clip_range", "kl_coef"):
        slider = explorer.part(field).locator("input[type=range]")
        at, over = slider.bounding_box(), error.bounding_box()
        assert at is not None and over is not None
        apart = over["x"] >= at["x"] + at["width"] or over["y"] >= at["y"] + at["height"]
        assert apart
        assert slider.evaluate(ON_TOP)
    explorer.slide("clip_range", 0.3)
    explorer.wait_for_region(0.3)


def test_before_the_first_update_every_panel_says_so(tmp_path: Path, open_page: OpenPage) -> None:
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(EMPTY)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, tmp_path / "empty.ipynb")
    with serving(tmp_path / "server", str(tmp_path / "empty.ipynb")) as address:
        page = open_page()
        page.goto(address)
        explorer = ExplorerPage(page)
        expect(explorer.part("train")).to_be_enabled()
        for key in ("tokens", "advantages"):
            expect(explorer.part(key)).to_contain_text("No update yet: press Train")
        for key in ("ledger", "ladder", "inspector"):
            explorer.tab(key)
            expect(explorer.part(key)).to_contain_text("No update yet: press Train")
        explorer.press("save-tokens")
        for kind in ("png", "svg", "csv"):
            expect(explorer.part(f"save-as-{kind}")).to_be_disabled()
        page.keyboard.press("Escape")
        page.context.close()


def test_a_kernel_that_has_died_is_said_with_what_to_do(tmp_path: Path, open_page: OpenPage, witness: Witness) -> None:
    with serving(tmp_path) as address:
        page = open_page()
        page.goto(address)
        explorer = ExplorerPage(page)
        explorer.wait_until_ready()
        expect(explorer.part("gone")).to_be_hidden()
        _kill_kernels_under(tmp_path)
        gone = explorer.part("gone")
        expect(gone).to_be_visible()
        expect(gone).to_contain_text("The Python kernel has ended")
        expect(gone).to_contain_text("Reload the page")
        explorer.press("reload")
        expect(explorer.part("train")).to_be_enabled()
        expect(explorer.part("gone")).to_be_hidden()
        page.context.close()
    witness.faults.clear()  # the browser's own words of sockets that were closed


def _kill_kernels_under(folder: Path) -> None:
    """End the kernels of the server whose files lie in a folder, as a lack of memory would."""
    killed = 0
    for process in psutil.Process().children(recursive=True):
        own = process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        if own and "ipykernel_launcher" in " ".join(process.cmdline()) and str(folder) in str(process.environ()):
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
    assert killed


#: Whether a node is what the pointer finds at its middle.
ON_TOP = """(node) => {
  const { left, top, width, height } = node.getBoundingClientRect();
  return document.elementFromPoint(left + width / 2, top + height / 2) === node;
}"""
