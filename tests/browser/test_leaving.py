"""What a page leaves behind when it is closed: nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.browser.servers import serving

if TYPE_CHECKING:
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


def test_a_page_that_is_left_ends_its_kernel(tmp_path: Path, open_page: OpenPage) -> None:
    with serving(tmp_path) as address:
        page = open_page()
        kernels: list[str] = []
        page.on("websocket", lambda socket: kernels.extend(re.findall(r"/api/kernels/([\w-]+)/", socket.url)))
        page.goto(address)
        page.wait_for_selector(".explorer-tokens .ex-token")
        kernel = kernel_process(kernels[0])
        page.close(run_before_unload=True)
        kernel.wait(timeout=60)
        assert not kernel.is_running()
