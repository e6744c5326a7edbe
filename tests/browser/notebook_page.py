"""A notebook in JupyterLab or Notebook 7, driven as its reader drives it."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

from tests.browser.explorer_page import ExplorerPage


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


def choose_theme(page: Page, theme: str) -> None:
    """Choose a theme in the menu of the settings."""
    page.get_by_role("menuitem", name="Settings").click()
    page.locator(".lm-Menu-itemLabel", has_text="Theme").first.hover()
    page.locator(".lm-Menu-itemLabel", has_text=theme).first.click()
