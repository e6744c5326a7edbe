"""What a page leaves behind when it is closed: nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.browser.servers import serving, serving_impatiently

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import OpenPage

pytestmark = pytest.mark.browser


def kernel_process(kernel_id: str) -> psutil.Process:
    """The process of a kernel, by the connection file that it was started with."""
    (process,) = (
        process
        for process in psutil.process_iter(["cmdline"])
        if any(kernel_id in part for part in process.info["cmdline"] or ())
    )
    return process


def opened(page: Page, address: str) -> psutil.Process:
    """Open the explorer in a page; gives the process of its kernel."""
    kernels: list[str] = []
    page.on("websocket", lambda socket: kernels.extend(re.findall(r"/api/kernels/([\w-]+)/", socket.url)))
    page.goto(address)
    page.wait_for_selector(".explorer-tokens .ex-token")
    return kernel_process(kernels[0])


def test_a_page_that_is_left_ends_its_kernel(tmp_path: Path, open_page: OpenPage) -> None:
    with serving(tmp_path) as address:
        page = open_page()
        kernel = opened(page, address)
        page.close(run_before_unload=True)
        kernel.wait(timeout=60)
        assert not kernel.is_running()


@pytest.mark.slow
def test_a_browser_that_says_no_goodbye_leaves_its_kernel_for_a_while_only(tmp_path: Path, open_page: OpenPage) -> None:
    with serving_impatiently(tmp_path, abandoned=40) as address:
        gone, open_still = open_page(), open_page()
        left, kept = opened(gone, address), opened(open_still, address)
        gone.close(run_before_unload=False)
        left.wait(timeout=120)
        assert not left.is_running() and kept.is_running()
        late = open_page()
        assert opened(late, address).is_running()  # the one that is kept ready has been spared
