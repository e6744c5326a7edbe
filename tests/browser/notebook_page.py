"""A notebook in JupyterLab or Notebook 7, driven as its reader drives it."""

from __future__ import annotations

import re
from contextlib import suppress

from playwright.sync_api import Locator, Page, expect

from tests.browser.explorer_page import ExplorerPage
from tests.browser.witness import Witness


class Notebook:
    """A notebook."""

    def __init__(self, page: Page) -> None:
        self.page = page

    @property
    def cells(self) -> Locator:
        """Its code cells."""
        return self.page.locator(".jp-Notebook .jp-CodeCell")

    def run(self, cell: int) -> None:
        """Run a cell with Shift+Enter."""
        self.cells.nth(cell).locator(".jp-InputArea-editor").click()
        self.page.keyboard.press("Shift+Enter")

    def run_first(self) -> None:
        """Run the first cell of a notebook that has just been opened, again where its page has dropped the key.

        Its kernel is shown as idle a moment before a cell can be run; on a busy machine the moment is long.
        """
        prompt = self.cells.first.locator(".jp-InputPrompt")
        for _ in range(10):
            self.run(0)
            with suppress(AssertionError):
                return expect(prompt).not_to_have_text("[ ]:", timeout=5_000)
        raise AssertionError("the first cell does not run")

    def add(self, source: str) -> int:
        """Write into the empty cell at the end and run it; which cell it is."""
        cell = self.cells.count() - 1
        editor = self.cells.nth(cell).locator(".cm-content")
        editor.click()
        editor.fill(source)
        self.page.keyboard.press("Shift+Enter")
        expect(self.cells).to_have_count(cell + 2)
        return cell

    def explorer(self, cell: int) -> ExplorerPage:
        """The Explorer under a cell, ready to train."""
        explorer = ExplorerPage(self.page, self.cells.nth(cell).locator(".explorer"))
        expect(explorer.part("train")).to_be_enabled()
        return explorer

    def output(self, cell: int) -> Locator:
        """What a cell has printed."""
        return self.cells.nth(cell).locator(".jp-OutputArea-output")


def open_in_lab(page: Page, address: str) -> Notebook:
    """A notebook of JupyterLab's, its first cell run."""
    page.goto(address)
    page.get_by_text(re.compile(r"Python 3.*\| Idle")).wait_for()  # before, JupyterLab drops a cell that is run
    notebook = Notebook(page)
    notebook.run_first()
    return notebook


def open_in_notebook_7(page: Page, address: str, witness: Witness) -> Notebook:
    """A notebook of Notebook 7's, its first cell run."""
    page.goto(address)
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for()
    notebook = Notebook(page)
    notebook.run_first()
    notebook.explorer(0)
    # Notebook 7's own words, of settings of JupyterLab's that it has not got.
    witness.faults = [fault for fault in witness.faults if "reading 'schema'" not in fault]
    return notebook


def choose_theme(page: Page, theme: str) -> None:
    """Choose a theme in the menu of the settings."""
    page.get_by_role("menuitem", name="Settings").click()
    page.locator(".lm-Menu-itemLabel", has_text="Theme").first.hover()
    page.locator(".lm-Menu-itemLabel", has_text=theme).first.click()
