"""The page around the notebook: what is seen while a kernel starts, and that nothing of it stays in the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from tests.browser.servers import serving

pytestmark = [pytest.mark.browser, pytest.mark.kernel]

#: The cell waits until the test has seen the page without it.
CELL = """
import time
from pathlib import Path
import ipywidgets
while not Path("go").exists():
    time.sleep(0.05)
slider = ipywidgets.IntSlider(description="slider")
slider.layout.width = "100%"
slider.add_class("under-test")
slider
"""


@pytest.fixture(params=["light", "dark"])
def theme(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def url(theme: str, folder: Path) -> Iterator[str]:
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(CELL)],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    nbformat.write(notebook, folder / "page.ipynb")
    with serving(folder / "server", str(folder / "page.ipynb"), "--theme", theme) as address:
        yield address


def test_a_skeleton_until_the_notebook_has_drawn(url, theme, folder, open_page):
    page = open_page()
    page.goto(url, wait_until="commit")
    loading = page.locator("#loading")
    loading.wait_for()
    assert page.title() == "PPO Explorer"
    assert page.locator("#loading_text").inner_text() in ("Starting a Python kernel…", "Running the notebook…")
    box = loading.bounding_box()
    assert box == {"x": 0, "y": 0, "width": 1280, "height": 800}
    dark = sum(
        page.evaluate("getComputedStyle(document.querySelector('#loading')).backgroundColor.match(/\\d+/g).map(Number)")
    )
    assert (dark < 3 * 64) == (theme == "dark")

    (folder / "go").touch()
    slider = page.locator(".under-test")
    slider.wait_for()
    loading.wait_for(state="detached")
    assert slider.bounding_box()["x"] <= 2  # ipywidgets' own margin: the page adds none
    assert page.evaluate("document.body.dataset.jpThemeLight") == str(theme == "light").lower()
    assert page.evaluate("document.documentElement.scrollWidth") == 1280
    page.context.close()
