"""A running service with the studio on the trained bank, tabs of its staff, and a mail relay."""

import email
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import polars as pl
import pytest
import uvicorn
from aiosmtpd.controller import Controller
from playwright.sync_api import Browser, Page

from recsys.home import Home
from serving.app import create_app
from serving.campaigns.workshop import Workshop
from serving.live_server import free_port
from serving.settings import Settings
from serving.tokens import issue_token
from tests.trained_bank import TrainedBank

Opening = Callable[..., Any]
WAIT_MS = 60_000


class Studio(NamedTuple):
    """A running service and its present."""

    url: str
    home: Path
    now: list[datetime]
    workshop: Callable[[], Workshop]

    def token(self, subject: str, *scopes: str) -> str:
        """A staff member's bearer token."""
        key, hour = Home(self.home).secret(), timedelta(hours=1)
        return issue_token(key, subject=subject, scopes=scopes, customer_id=None, lifetime=hour)

    def call(self, method: str, path: str, token: str, **more: Any) -> httpx.Response:
        """A request to the API."""
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.request(method, f"{self.url}{path}", headers=headers, timeout=60, **more)

    def assignments(self, campaign_id: str) -> pl.DataFrame:
        """Who is to get what."""
        return pl.read_parquet(
            Path(self.workshop().desk.get(campaign_id).campaign.plan["plan"]) / "assignments.parquet"
        )


@pytest.fixture(scope="module")
def studio(champion: TrainedBank, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    home = tmp_path_factory.mktemp("studio") / "state"
    shutil.copytree(champion.home, home)
    now = [datetime.fromisoformat("2026-07-01T08:00:00+00:00")]
    port = free_port()
    patient = Settings(home=home, port=port, reload_seconds=0, write_timeout_ms=30_000)
    app = create_app(patient, clock=lambda: now[0])
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.05)
    yield Studio(f"http://127.0.0.1:{port}", home, now, lambda: app.state.services.workshop)
    server.should_exit = True
    thread.join()


@pytest.fixture
def tab(browser: Browser, studio: Studio) -> Opening:
    """Opens the studio for somebody who pastes his token; nothing may go wrong in his tab."""

    @contextmanager
    def opening(subject: str, *scopes: str, width: int = 1280, locale: str = "en-GB") -> Iterator[Page]:
        context = browser.new_context(viewport={"width": width, "height": 900}, locale=locale)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        wrong: list[str] = []
        page.on("request", lambda asked: None if asked.url.startswith(studio.url) else wrong.append(asked.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(f"{studio.url}/studio")
        assert "/studio/login" in page.url
        page.fill("#token", studio.token(subject, *scopes))
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_url(f"{studio.url}/studio")
        try:
            yield page
        finally:
            context.close()
        assert wrong == []

    return opening


@pytest.fixture
def mailbox() -> Iterator[tuple[int, list[Any]]]:
    """Port of a relay, and recipient and mail of whatever it got."""
    mails: list[Any] = []

    class Keep:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
            mails.append((envelope.rcpt_tos[0].split("@")[0], email.message_from_bytes(envelope.content)))
            return "250 OK"

    port = free_port()
    controller = Controller(Keep(), hostname="127.0.0.1", port=port)
    controller.start()
    yield port, mails
    controller.stop()
