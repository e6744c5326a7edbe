"""The page's main states as pictures: ``make screenshots`` makes them in build/screenshots/, the README's in assets/.

The real page as Voila serves it, driven in a real browser: a live run, scrubbed, re-scored, pinned, big. Look at them.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.chromium import CHROMIUM_FLAGS, find_chromium
from tests.browser.explorer_page import ExplorerPage
from tests.browser.servers import ROOT, serving

FOLDER = ROOT / "build" / "screenshots"

#: The README's pictures, by the screenshot that each is.
IN_README = {
    "page-light": "light-1280",
    "page-dark": "dark-1280",
    "page-unfolded": "unfolded-1280",
    "page-big": "big-1280",
}

PATIENCE = 60_000
SIZES = {"1024": (1024, 768), "1280": (1280, 800), "1920": (1920, 1080)}


def main() -> None:
    """Make every picture, then copy the README's."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=PATIENCE)
    path = find_chromium()  # before: it may start a Playwright of its own
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        try:
            photograph(browser, address)
        finally:
            browser.close()
    for name, shot in IN_README.items():
        shutil.copy(FOLDER / f"{shot}.png", ROOT / "assets" / "images" / f"{name}.png")
    print(f"{len(list(FOLDER.glob('*.png')))} pictures in {FOLDER.relative_to(ROOT)}: look at them.")


def photograph(browser: Browser, address: str) -> None:
    """Every state, one after the other, in one page."""
    page = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-US").new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    explorer = ExplorerPage(page)
    explorer.wait_until_ready()
    shoot = camera(explorer)
    for size in SIZES:
        shoot(f"recorded-{size}", size)

    explorer.part("preset").select_option("see_the_clip")
    explorer.train_for(8)
    for theme in ("light", "dark"):
        for size in SIZES:
            shoot(f"{theme}-{size}", size)
        explorer.press("theme")
    explorer.press("language")
    shoot("chinese-1280")
    explorer.press("language")

    explorer.train()
    explorer.when("(root) => root.querySelector('.ex-pill.ex-on[data-stage=epoch]')")
    both(explorer, shoot, "training")
    explorer.stop()
    explorer.scrub(3)
    both(explorer, shoot, "scrubbed")
    explorer.press("follow")
    explorer.settle()
    explorer.slide("clip_range", 0.05)
    explorer.wait_for_region(0.05)
    both(explorer, shoot, "what-if")
    explorer.part("clip_range").locator(".ex-back").click()
    explorer.wait_for_region(0.2)

    explorer.token(1, 2).click()
    explorer.tab("advantages")
    explorer.press("fold-kl")
    both(explorer, shoot, "pinned")
    page.mouse.move(0, 0)
    for size in SIZES:
        shoot(f"unfolded-{size}", size)
    explorer.press("theme")
    shoot("unfolded-dark-1280")
    explorer.press("theme")
    for key in lower_tabs(explorer):
        explorer.tab(key)
        page.wait_for_timeout(700)  # what the kernel is asked for only now
        shoot(f"tab-{key}-1280")
    explorer.tab("advantages")
    for view, back in (("probabilities", "objective"), ("frontier", "curves")):
        explorer.press(f"view-{view}")
        both(explorer, shoot, view)
        explorer.press(f"view-{back}")

    explorer.press("big")
    for size in SIZES:
        shoot(f"big-{size}", size)
    explorer.press("theme")
    shoot("big-dark-1920", "1920")
    explorer.press("theme")
    explorer.press("big")

    explorer.type("clip_range", "7")
    expect(explorer.part("error")).to_be_visible()
    shoot("error-1280")
    explorer.press("dismiss")
    explorer.press("save-tokens")
    shoot("menu-1280")
    page.keyboard.press("Escape")

    # The gauge, of a run that hacks its reward: score and judge part, best-of-n beside them.
    explorer.part("preset").select_option("hack_the_reward")
    explorer.train_for(14)
    explorer.press("view-gauge")
    expect(explorer.part("gauge").locator(".explorer-gauge-picture .ex-gauge-best")).to_have_count(12)
    both(explorer, shoot, "gauge")
    shoot("gauge-1920", "1920")


def both(explorer: ExplorerPage, shoot: Callable[..., None], name: str) -> None:
    """A state of the page, light and dark; the pointer stays where it is, over what it hovers."""
    shoot(f"{name}-1280")
    explorer.part("theme").dispatch_event("click")
    shoot(f"{name}-dark-1280")
    explorer.part("theme").dispatch_event("click")


def lower_tabs(explorer: ExplorerPage) -> list[str]:
    """The tabs of the lower half, by their names in the page."""
    names = explorer.part("advantages").locator(".ex-tab").evaluate_all("(tabs) => tabs.map((tab) => tab.className)")
    return [name.split("explorer-tab-")[1].split()[0] for name in names]


def camera(explorer: ExplorerPage) -> Callable[..., None]:
    """``shoot(name, size="1280")`` takes a picture of a window of that size."""

    def shoot(name: str, size: str = "1280") -> None:
        width, height = SIZES[size]
        explorer.page.set_viewport_size({"width": width, "height": height})
        explorer.page.wait_for_timeout(400)  # sizes, colours and curves come a frame or two after what they follow
        explorer.page.screenshot(path=FOLDER / f"{name}.png")

    return shoot


if __name__ == "__main__":
    main()
