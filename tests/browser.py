"""Debian's Chromium, driven by Playwright, for tests of pages; without it such tests are skipped, and say so."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from playwright.sync_api import TimeoutError as WaitedTooLong

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip
ATTEMPTS = 3
ALIVE = """() => [...document.querySelectorAll("figure")].every((one) => "live" in one.dataset)"""
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is missing: apt-get install chromium")


@dataclass
class Opened:
    """An open page, what it has told the console, and what it has asked for besides itself."""

    page: Page
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def start_browser() -> Iterator[Browser]:
    """Playwright makes a fresh profile for each start."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@contextmanager
def open_alive(path: Path, *, width: int, theme: str) -> Iterator[Opened]:
    """A page of charts, each of which has come alive, with everything on it unfolded.

    In another browser where one stops to draw: without a graphics card Chromium does so now and then on a large page.
    Scripts still run then, but no frame comes.
    """
    for attempt in range(1, ATTEMPTS + 1):
        with start_browser() as browser:
            opened = open_page(browser, path, width=width, theme=theme)
            opened.page.evaluate("document.querySelectorAll('details').forEach((fold) => (fold.open = true))")
            scroll_through(opened.page)
            try:
                opened.page.wait_for_function(ALIVE, polling=100, timeout=90_000)
            except WaitedTooLong:
                if attempt == ATTEMPTS:
                    raise
                continue
            yield opened
            return


def open_page(browser: Browser, path: Path, *, width: int, theme: str, scripts: bool = True) -> Opened:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=theme, java_script_enabled=scripts, offline=True
    )
    context.set_default_timeout(120_000)  # milliseconds: of a slow machine
    opened = Opened(context.new_page())
    opened.page.on("pageerror", lambda error: opened.errors.append(str(error)))
    opened.page.on(
        "console", lambda said: opened.errors.append(said.text) if said.type in ("error", "warning") else None
    )
    address = path.resolve().as_uri()
    opened.page.on(
        "request",
        lambda asked: opened.requests.append(asked.url) if not asked.url.startswith((address, "data:")) else None,
    )
    opened.page.goto(address)
    return opened


def scroll_through(page: Page) -> None:
    """Down to the end, half a screen at a time, so that every part is seen once; also where no frame comes."""
    page.evaluate(
        """async () => {
            for (let y = 0; y < document.documentElement.scrollHeight; y += innerHeight / 2) {
                scrollTo({ top: y, behavior: "instant" });
                await new Promise((done) => {
                    requestAnimationFrame(() => setTimeout(done, 20));
                    setTimeout(done, 200);
                });
            }
        }"""
    )
