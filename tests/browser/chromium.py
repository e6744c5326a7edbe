"""Finds a Chromium for the browser tests, and gets one where there is none.

``python -m tests.browser.chromium`` prints the path of a Chromium that starts, after installing one if it has to.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

ON_THE_PATH = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

ADVICE = (
    "no Chromium was found: install one (Debian: apt-get install chromium), "
    "or name the one you have with CHROMIUM=/path/to/chromium."
)


def find_chromium() -> str:
    """The path of a Chromium that starts: ``CHROMIUM``, one on the ``PATH``, or the one Playwright has downloaded.

    Raises:
        FileNotFoundError: there is none, or the one named by ``CHROMIUM`` does not start.
    """
    named = os.environ.get("CHROMIUM")
    if named:
        path = shutil.which(named)
        if path is None or not starts(path):
            raise FileNotFoundError(f"CHROMIUM is '{named}', which does not start: name another, or none.")
        return path
    for path in (*map(shutil.which, ON_THE_PATH), playwrights_own()):
        if path and starts(path):
            return path
    raise FileNotFoundError(ADVICE)


def get_chromium() -> str:
    """As ``find_chromium``, but installs one where there is none: Playwright's own, or as root the system's."""
    for install in (None, install_with_playwright, install_with_apt):
        try:
            if install:
                install()
            return find_chromium()
        except FileNotFoundError:
            if os.environ.get("CHROMIUM"):
                raise
    raise FileNotFoundError(ADVICE)


def starts(path: str) -> bool:
    """Whether the program answers; Ubuntu's ``chromium-browser``, for one, is only a hint to install a snap."""
    return runs([path, "--version"], seconds=60)


def playwrights_own() -> str | None:
    """The path where Playwright keeps its own Chromium, if it has downloaded one."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if os.path.exists(path) else None


def install_with_playwright() -> None:
    say("Downloading a Chromium with Playwright")
    runs([sys.executable, "-m", "playwright", "install", "chromium"], seconds=600)


def install_with_apt() -> None:
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        return
    say("Installing a Chromium with apt-get")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    if runs([apt, "update", "-qq"], seconds=300, extra=quiet):
        runs([apt, "install", "-y", "-qq", "chromium"], seconds=900, extra=quiet)


def runs(command: list[str], *, seconds: float, extra: dict[str, str] | None = None) -> bool:
    """Whether the command ends well within the time."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds, env=os.environ | (extra or {}))
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def say(line: str) -> None:
    print(f"==> {line}", file=sys.stderr, flush=True)


def main(find: Callable[[], str] = get_chromium) -> int:
    try:
        print(find())
    except FileNotFoundError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
