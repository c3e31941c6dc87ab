"""Headless Chromium for tests: where it is, and one page in it.

``THAW_CHROMIUM`` names the executable; otherwise the usual names on the path are tried. Without one the test is
skipped with a word on how to get it, unless ``THAW_REQUIRE_BROWSER=1`` (continuous integration), where it fails.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import ConsoleMessage, Page, Route, ViewportSize, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
LAPTOP: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}
HOW_TO_GET = "install one (Debian: `apt-get install chromium`) or set THAW_CHROMIUM to its executable"
PATIENCE_MS = 120_000
"""For a browser to start and for what a page is to show: a busy machine needs more than playwright's 30 s."""
IN_PAGE = ("file", "data", "blob", "about")
"""Schemes that reach no network."""


def chromium_path() -> str:
    """Executable of a Chromium; skips the test (or fails it under ``THAW_REQUIRE_BROWSER=1``) where there is none."""
    chosen = os.environ.get("THAW_CHROMIUM")
    found = shutil.which(chosen) if chosen else next(filter(None, map(shutil.which, NAMES)), None)
    if found:
        return found
    problem = f"THAW_CHROMIUM={chosen} is not an executable" if chosen else "no Chromium on the path"
    if os.environ.get("THAW_REQUIRE_BROWSER") == "1":
        pytest.fail(f"{problem}: {HOW_TO_GET}")
    pytest.skip(f"{problem}: {HOW_TO_GET}")


@dataclass
class Browsing:
    """A page, and what went wrong on it so far.

    Attributes:
        page: the playwright page.
        blocked: URLs it asked for outside the allowed hosts; each was refused.
        errors: uncaught exceptions and ``console.error`` messages.
    """

    page: Page
    blocked: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@contextmanager
def chromium_page(
    hosts: tuple[str, ...] = (), viewport: ViewportSize = LAPTOP, dark: bool = False
) -> Iterator[Browsing]:
    """Open a page in headless Chromium that reaches nothing but files and ``hosts`` (e.g. ``("127.0.0.1",)``)."""
    executable = chromium_path()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(FLAGS), timeout=PATIENCE_MS)
        try:
            context = browser.new_context(viewport=viewport, color_scheme="dark" if dark else "light")
            context.set_default_timeout(PATIENCE_MS)
            browsing = Browsing(context.new_page())
            context.route("**/*", lambda route: _admit(route, hosts, browsing))
            browsing.page.on("pageerror", lambda error: browsing.errors.append(str(error)))
            browsing.page.on("console", lambda message: _note_error(message, browsing))
            yield browsing
        finally:
            browser.close()


def _admit(route: Route, hosts: tuple[str, ...], browsing: Browsing) -> None:
    address = urlsplit(route.request.url)
    if address.scheme in IN_PAGE or address.hostname in hosts:
        route.continue_()
    else:
        browsing.blocked.append(route.request.url)
        route.abort()


def _note_error(message: ConsoleMessage, browsing: Browsing) -> None:
    if message.type == "error":
        browsing.errors.append(message.text)
