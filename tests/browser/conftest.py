"""A real Chromium that reaches this machine only, and the real server on a copy of the trained bank's home."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright

from recsys.home import Home
from serving.live_server import LiveServer
from tests.trained_bank import TrainedBank

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Window:
    """A tab, and whatever went wrong in it."""

    page: Page
    url: str
    foreign: list[str] = field(default_factory=list)
    """Addresses on another host that it asked for."""
    errors: list[str] = field(default_factory=list)
    """Of the console, of scripts, and requests that failed."""

    def watch(self) -> None:
        """Notes what happens from now on."""
        self.page.on("request", self._on_request)
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("requestfailed", lambda request: self.errors.append(f"failed: {request.url}"))

    def open(self, path: str) -> None:
        """Goes to a page and waits until it has all that it asked for."""
        self.page.goto(f"{self.url}{path}")
        self.settle()

    def settle(self) -> None:
        """Waits until the page has done what it was told, pictures and all."""
        self.page.wait_for_load_state("networkidle")
        self.page.wait_for_function("() => !('busy' in document.documentElement.dataset)")

    def news(self) -> str:
        """What the page says about the last answer."""
        return self.page.inner_text("#news")

    def products(self) -> list[str]:
        """The ranked products."""
        return self.page.eval_on_selector_all("#products .item", "items => items.map(item => item.dataset.product)")

    def mode(self) -> str | None:
        """How much the answer knew."""
        return self.page.get_attribute(".ladder [aria-current]", "data-mode")

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith((self.url, "data:", f"blob:{self.url}")):
            self.foreign.append(request.url)


Opening = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Closed with its module: while Playwright runs, nobody else in the process may start an event loop."""
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield made
        made.close()


@pytest.fixture(scope="module")
def server(champion: TrainedBank, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """On a copy of the home, so that what is clicked does not reach others; a busy machine makes no answer `safe`."""
    home = tmp_path_factory.mktemp("page") / "state"
    shutil.copytree(champion.home, home)
    with LiveServer(home, home.parent / "server.log", environment={"RECSYS_READ_TIMEOUT_MS": "5000"}) as running:
        yield running


@pytest.fixture(scope="module")
def key(server: LiveServer) -> str:
    """What the server signs tokens with."""
    return Home(server.home).secret()


@pytest.fixture
def window(browser: Browser, server: LiveServer) -> Opening:
    """Opens a tab: `with window(width, scheme, locale) as tab`. At its end nothing may have gone wrong in it."""

    @contextmanager
    def opening(width: int = 1280, scheme: Any = "light", locale: str = "en-GB") -> Iterator[Window]:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, locale=locale)
        tab = Window(context.new_page(), server.url)
        tab.watch()
        try:
            yield tab
        finally:
            context.close()
        assert tab.foreign == []
        assert tab.errors == []

    return opening
