"""Fixtures of the browser tests: a Chromium, the servers, and a witness of what every page says and asks.

They live as long as this package's tests and not as long as the session: Playwright's synchronous interface leaves an
event loop running in the main thread, where the tests of other packages want none.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from explorer.bundled import asset_path
from tests.browser.chromium import CHROMIUM_FLAGS, find_chromium
from tests.browser.explorer_page import ExplorerPage
from tests.browser.notebook_page import Notebook, open_in_lab, open_in_notebook_7
from tests.browser.servers import ROOT, jupyterlab, notebook_7, replaying, serving
from tests.browser.witness import Witness

OpenPage: TypeAlias = Callable[..., Page]

#: What the browser remembers of a reader who has unfolded every panel.
ALL_UNFOLDED = """try {
  localStorage['ppo-explorer-layout'] ??= JSON.stringify({ big: false, folded: { usual: [], big: ['kl', 'curves'] } });
} catch {}"""

#: Seconds that anything in a page may take on a busy machine.
PATIENCE = 60


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """A headless Chromium."""
    expect.set_options(timeout=PATIENCE * 1000)
    path = find_chromium()  # before: it may start a Playwright of its own
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def witness() -> Witness:
    """Watches every page that ``open_page`` opens."""
    return Witness()


@pytest.fixture(autouse=True)
def _nothing_wrong(witness: Witness) -> Iterator[None]:
    """After each test: no error in any console, none in any page, and no other host was asked for anything."""
    yield
    witness.check()


@pytest.fixture(scope="package")
def open_page(chromium: Browser, witness: Witness) -> OpenPage:
    """``open_page(width=1280, height=800)``: an empty page in a context of its own, watched; close it yourself.

    Its reader has unfolded every panel before; ``first_visit=True`` has nobody been there.
    """

    def open_(width: int = 1280, height: int = 800, first_visit: bool = False) -> Page:
        context = chromium.new_context(viewport={"width": width, "height": height}, locale="en-US")
        context.set_default_timeout(PATIENCE * 1000)
        if not first_visit:
            context.add_init_script(ALL_UNFOLDED)
        witness.watch(context)
        return context.new_page()

    return open_


@pytest.fixture(scope="package")
def voila_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The explorer's own page, as ``make explore`` serves it."""
    with serving(tmp_path_factory.mktemp("voila")) as address:
        yield address


@pytest.fixture(scope="module")
def _voila_page(voila_url: str, open_page: OpenPage) -> Iterator[ExplorerPage]:
    """The page in Voila, its policy loaded: opened once for a file, for it takes seconds."""
    page = open_page()
    page.goto(voila_url)
    explorer = ExplorerPage(page)
    explorer.wait_until_ready()
    yield explorer
    page.close()


@pytest.fixture
def explorer(_voila_page: ExplorerPage) -> ExplorerPage:
    """The page in Voila as a reader would leave it: paused at the newest update, preset "learn", nothing in the way."""
    _voila_page.tidy()
    return _voila_page


@pytest.fixture(scope="module")
def recorded(voila_url: str, open_page: OpenPage) -> Iterator[ExplorerPage]:
    """A page of a module's own in Voila, which shows the bundled run's last update."""
    page = open_page()
    page.goto(voila_url)
    explorer = ExplorerPage(page)
    explorer.wait_until_ready()
    yield explorer
    page.close()


@pytest.fixture(scope="package")
def replay(tmp_path_factory: pytest.TempPathFactory, open_page: OpenPage) -> Iterator[ExplorerPage]:
    """A replay of the bundled run: 40 updates of four epochs, of which every other one is kept."""
    with replaying(tmp_path_factory.mktemp("replay"), asset_path("recording")) as address:
        page = open_page()
        page.goto(address)
        explorer = ExplorerPage(page)
        expect(explorer.part("curves").locator(".main-svg").first).to_be_visible()
        yield explorer
        page.close()


# --- in a notebook ---

NOTEBOOK = ROOT / "notebooks" / "explorer.ipynb"

#: The notebook under a second name, with a kernel of its own.
TWELVE = "twelve.ipynb"


@pytest.fixture(scope="package")
def lab_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """JupyterLab with two copies of the notebook in a folder of its own."""
    folder = tmp_path_factory.mktemp("lab")
    with jupyterlab(folder, NOTEBOOK, shutil.copy(NOTEBOOK, folder / TWELVE)) as address:
        yield address


@pytest.fixture(scope="package")
def notebook_7_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Notebook 7, likewise."""
    folder = tmp_path_factory.mktemp("notebook")
    with notebook_7(folder, NOTEBOOK, shutil.copy(NOTEBOOK, folder / TWELVE)) as address:
        yield address


@pytest.fixture(scope="module")
def in_lab(lab_url: str, open_page: OpenPage) -> Iterator[Notebook]:
    """The explorer's notebook in JupyterLab, its first cell run."""
    page = open_page()
    yield open_in_lab(page, f"{lab_url}/tree/{NOTEBOOK.name}")
    page.close()


@pytest.fixture(scope="module")
def in_notebook_7(notebook_7_url: str, open_page: OpenPage, witness: Witness) -> Iterator[Notebook]:
    """The explorer's notebook in Notebook 7, its first cell run."""
    page = open_page()
    yield open_in_notebook_7(page, f"{notebook_7_url}/notebooks/{NOTEBOOK.name}", witness)
    page.close()
