"""A plan on its way to customers: four eyes, dispatch at the hour, a killed dispatcher, real channels."""

import email
import hashlib
import hmac
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from aiosmtpd.controller import Controller
from sqlalchemy import select, update

from recsys.campaigns.plan_files import verify_plan
from recsys.home import Home
from serving.campaigns.channels import DeliveryError, Message, Smtp, Webhook, signature
from serving.live_server import free_port
from serving.settings import Settings
from serving.store.consents import ConsentStore, GivenConsent
from serving.store.database import open_store
from serving.store.tables import campaign_messages, campaigns, contacts, customer_facts
from tests.end_to_end.conftest import TrainedBank, run

COPY = {"headline": "Save\r\nBcc: all@x.example", "body": "More", "cta": "Look", "disclaimer": "Rates vary"}
MESSAGE = Message("m1", "x", "c1", "email", "p1", "a1", {**COPY, "opt_out": "STOP", "machine_made": True})


@pytest.fixture
def sending(champion: TrainedBank, planned: Path, tmp_path: Path) -> Path:
    """A home of this test's own, with a campaign that is approved and launched."""
    home = tmp_path / "home"
    shutil.copytree(champion.home, home)
    campaign = ("--home", home, "campaign")
    assert run(*campaign, "submit", planned, "--author", "ann") == 0
    assert run(*campaign, "approve", planned, "--approver", "ann") == 1
    assert run(*campaign, "launch", planned, "--by", "ann") == 1
    assert run(*campaign, "approve", planned, "--approver", "bob") == 0
    assert run(*campaign, "launch", planned, "--by", "ann") == 0
    return home


@pytest.fixture
def hour(planned: Path) -> datetime:
    """When every slot has come."""
    last: datetime = pl.read_parquet(planned / "assignments.parquet")["send_at"].max()  # type: ignore[assignment]
    return last + timedelta(minutes=1)


def dispatch(home: Path, now: datetime, *more: Any) -> int:
    return run("--home", home, "campaign", "dispatch", "--now", now.isoformat(), *more)


def ends(home: Path) -> Counter[tuple[str, str | None]]:
    with open_store(Settings(home=home).store_url()) as store, store.reading() as connection:
        rows = connection.execute(select(campaign_messages.c.state, campaign_messages.c.reason)).all()
    return Counter((state, reason) for state, reason in rows)


def dropped_files(home: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted((home / "outbox").rglob("*.json"))]


def test_dispatch_before_the_hour_sends_nothing(sending: Path, planned: Path) -> None:
    first: datetime = pl.read_parquet(planned / "assignments.parquet")["send_at"].min()  # type: ignore[assignment]
    assert dispatch(sending, first - timedelta(minutes=1)) == 0
    assert set(ends(sending)) == {("pending", None)}


def test_dispatch_sends_the_plan_once_and_counts_the_contacts(sending: Path, planned: Path, hour: datetime) -> None:
    assert dispatch(sending, hour) == 0
    before = ends(sending)
    assert before[("sent", None)] > 0.5 * len(pl.read_parquet(planned / "assignments.parquet"))
    assert dispatch(sending, hour) == 0
    assert ends(sending) == before
    files = dropped_files(sending)
    assert len(files) == before[("sent", None)]
    held_out = set(pl.read_parquet(planned / "holdout.parquet")["customer_id"].to_list())
    assert not held_out & {file["recipient"] for file in files}
    with open_store(Settings(home=sending).store_url()) as store, store.reading() as connection:
        made = connection.execute(select(contacts.c.contact_id, contacts.c.expires_at)).all()
    assert {contact for contact, expires in made if expires is None} >= {file["message_id"] for file in files}


def test_what_changed_since_the_plan_stops_a_message(sending: Path, planned: Path, hour: datetime) -> None:
    rows = pl.read_parquet(planned / "assignments.parquet").sort("customer_id")
    customers = rows["customer_id"].unique(maintain_order=True).to_list()
    withdrawn, complains, unknown = customers[:3]
    with open_store(Settings(home=sending).store_url()) as store:
        answers = [GivenConsent("profiling", None, granted=False, given_at=hour - timedelta(minutes=2))]
        ConsentStore(store).put(withdrawn, answers)
        marketing = [GivenConsent("marketing", None, granted=False, given_at=hour - timedelta(minutes=2))]
        ConsentStore(store).put(complains, marketing)
        with store.writing() as connection:
            connection.execute(customer_facts.delete().where(customer_facts.c.customer_id == unknown))
    assert dispatch(sending, hour) == 0
    with open_store(Settings(home=sending).store_url()) as store, store.reading() as connection:
        table = campaign_messages.c
        found = dict(connection.execute(select(table.customer_id, table.reason).where(table.state == "dropped")).all())
    assert found[withdrawn] == "CONSENT_PROFILING"
    assert found[complains].startswith("CONSENT")
    assert found[unknown] == "UNKNOWN_CUSTOMER"
    assert not {withdrawn, complains, unknown} & {file["recipient"] for file in dropped_files(sending)}


def test_after_the_end_nothing_leaves(sending: Path) -> None:
    with open_store(Settings(home=sending).store_url()) as store, store.reading() as connection:
        end = connection.scalar(select(campaigns.c.ends_at))
    assert end is not None
    assert dispatch(sending, end) == 0
    assert {state for state, _ in ends(sending)} == {"dropped"}
    assert {reason for _, reason in ends(sending)} == {"CAMPAIGN_OVER"}


def test_pause_stops_and_resume_goes_on(sending: Path, planned: Path, hour: datetime) -> None:
    campaign_id = json.loads((planned / "manifest.json").read_text())["campaign_id"]
    assert run("--home", sending, "campaign", "pause", campaign_id, "--by", "ann") == 0
    assert dispatch(sending, hour) == 0
    assert {state for state, _ in ends(sending)} == {"pending"}
    assert run("--home", sending, "campaign", "resume", campaign_id, "--by", "ann") == 0
    assert dispatch(sending, hour) == 0
    assert ends(sending)[("sent", None)] > 0


def test_one_changed_character_voids_the_approval(sending: Path, hour: datetime) -> None:
    with open_store(Settings(home=sending).store_url()) as store, store.writing() as connection:
        variants = connection.execute(select(campaign_messages.c.content_id).limit(1)).scalar_one()
        from serving.store.tables import campaign_variants

        copy = json.loads(
            connection.execute(
                select(campaign_variants.c.copy).where(campaign_variants.c.content_id == variants)
            ).scalar_one()
        )
        copy["content_hash"] = "0" * 64
        mine = campaign_variants.c.content_id == variants
        connection.execute(update(campaign_variants).where(mine).values(copy=json.dumps(copy)))
    assert dispatch(sending, hour) == 0
    assert ends(sending)[("dropped", "CHANGED_SINCE_APPROVAL")] > 0
    assert variants not in {file["content_id"] for file in dropped_files(sending)}


def test_kill_of_the_dispatcher_loses_and_doubles_nothing(sending: Path, hour: datetime) -> None:
    total = ends(sending).total()
    seen: Counter[str] = Counter()

    class Slow(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            seen[self.headers["Idempotency-Key"]] += 1
            time.sleep(0.02)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        target = f"http://127.0.0.1:{server.server_address[1]}/"
        channels = ("app", "branch", "email", "push", "sms", "web")
        to = [part for name in channels for part in ("--to", f"{name}={target}")]
        command = [sys.executable, "-c", "from recsys.cli.app import run; run()", "--home", str(sending), "campaign"]
        process = subprocess.Popen([*command, "dispatch", "--now", hour.isoformat(), *to], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 90
        while len(seen) < 5 and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert 0 < len(seen) < total
        assert dispatch(sending, hour + timedelta(minutes=3), *to) == 0
        server.shutdown()
    states = ends(sending)
    assert states.total() == total
    assert {state for state, _ in states} <= {"sent", "dropped"}
    assert states[("sent", None)] == len(seen)
    assert sum(count > 1 for count in seen.values()) <= 1  # with the same key, which the receiver tells by


@pytest.fixture
def mailbox() -> Iterator[tuple[int, list[Any]]]:
    class Keep:
        mails: list[Any] = []  # noqa: RUF012

        async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
            if address.startswith("nobody"):
                return "550 no such customer"
            envelope.rcpt_tos.append(address)
            return "250 OK"

        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
            self.mails.append((envelope.rcpt_tos, email.message_from_bytes(envelope.content)))
            return "250 OK"

    handler = Keep()
    handler.mails = []
    port = free_port()
    controller = Controller(handler, hostname="127.0.0.1", port=port)
    controller.start()
    yield port, handler.mails
    controller.stop()


def test_smtp_mails_arrive_labelled_with_an_opt_out_and_no_injected_header(mailbox: tuple[int, list[Any]]) -> None:
    port, mails = mailbox
    Smtp("127.0.0.1", port, "offers@bank.example", "gateway.example").deliver(MESSAGE)
    ((to, mail),) = mails
    assert to == ["c1@gateway.example"]
    assert mail["Bcc"] is None
    assert mail["Message-ID"] == "<m1@gateway.example>"
    assert "unsubscribe" in mail["List-Unsubscribe"]
    assert mail["X-Content-Label"] == "AI-generated"
    text = mail.get_payload()
    assert all(part in text for part in ("More", "Rates vary", "STOP", "AI-generated"))
    with pytest.raises(DeliveryError, match="refused") as refused:
        Smtp("127.0.0.1", port, "offers@bank.example", "gateway.example").deliver(MESSAGE._replace(recipient="nobody"))
    assert not refused.value.transient


def test_smtp_without_a_relay_may_be_tried_again() -> None:
    with pytest.raises(DeliveryError) as failed:
        Smtp("127.0.0.1", 1, "offers@bank.example", "gateway.example").deliver(MESSAGE)
    assert failed.value.transient


@pytest.mark.parametrize(("code", "transient"), [(503, True), (429, True), (400, False), (404, False)])
def test_webhook_is_signed_and_tells_what_may_be_tried_again(code: int, transient: bool) -> None:
    got: list[tuple[dict[str, str], bytes]] = []

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204 if len(got) == 1 else code)
            self.end_headers()

        def log_message(self, *arguments: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        now = datetime(2026, 6, 1, tzinfo=UTC)
        webhook = Webhook(f"http://127.0.0.1:{server.server_address[1]}/", b"key", now=lambda: now)
        webhook.deliver(MESSAGE)
        with pytest.raises(DeliveryError) as failed:
            webhook.deliver(MESSAGE)
        server.shutdown()
    assert failed.value.transient is transient
    headers, body = got[0]
    stamp = str(int(now.timestamp()))
    said = f"t={stamp},v1={signature(b'key', stamp, body)}"
    assert hmac.compare_digest(headers["X-Signature"], said)
    assert signature(b"key", stamp, body + b" ") not in headers["X-Signature"]
    assert headers["Idempotency-Key"] == "m1"
    assert json.loads(body)["label"] == "AI-generated"


def test_status_of_a_home_without_campaigns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = Home(tmp_path / "empty")
    assert run("--home", home.path, "campaign", "status") == 0
    assert "no campaign" in capsys.readouterr().err


def test_report_of_a_sent_campaign_is_printed_and_drawn(
    sending: Path, planned: Path, hour: datetime, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dispatch(sending, hour) == 0
    capsys.readouterr()
    out = tmp_path / "report"
    assert run("--home", sending, "campaign", "report", planned, "--out", out, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["funnel"]["delivered"] == len({file["recipient"] for file in dropped_files(sending)})
    free, held = (len(pl.read_parquet(planned / f"{name}.parquet")) for name in ("reachable", "holdout"))
    assert (report["lift"]["treated_customers"], report["lift"]["held_out_customers"]) == (free, held)
    assert not report["sample_ratio"]["alarm"]
    assert (out / "lift.png").exists()
    assert run("--home", sending, "campaign", "report", planned, "--out", out) == 1


def test_content_of_a_brief_has_copy_and_labelled_pictures(
    champion: TrainedBank, values: dict[str, Any], tmp_path: Path
) -> None:
    brief, out = tmp_path / "brief.yaml", tmp_path / "content"
    brief.write_text(yaml.safe_dump({**values, "categories": ["savings"]}))
    assert run("--home", champion.home, "campaign", "content", brief, "--out", out) == 0
    variants = json.loads((out / "variants.json").read_text())
    cells = Counter((one["product_id"], one["segment"], one["channel"], one["language"]) for one in variants)
    assert cells
    assert set(cells.values()) <= {3, 4, 5}
    assert len({one["content_hash"] for one in variants}) == len(variants)
    shown = [one for one in variants if one["image"]]
    assert shown
    for one in shown:
        assert hashlib.sha256((out / "images" / one["image"]).read_bytes()).hexdigest() == one["image_hash"]
    assert run("--home", champion.home, "campaign", "content", brief, "--out", out) == 1


def test_erasure_takes_a_customer_out_of_plan_outbox_and_store(
    champion: TrainedBank, planned: Path, hour: datetime, tmp_path: Path
) -> None:
    home, plan = tmp_path / "home", tmp_path / "plan"
    shutil.copytree(champion.home, home)
    shutil.copytree(planned, plan)
    assert run("--home", home, "campaign", "submit", plan, "--author", "ann") == 0
    assert run("--home", home, "campaign", "approve", plan, "--approver", "bob") == 0
    assert run("--home", home, "campaign", "launch", plan, "--by", "ann") == 0
    assert dispatch(home, hour) == 0
    customer = dropped_files(home)[0]["recipient"]
    assert run("--home", home, "erase", customer) == 0
    assert customer not in {file["recipient"] for file in dropped_files(home)}
    for name in ("assignments", "holdout", "reachable"):
        assert customer not in pl.read_parquet(plan / f"{name}.parquet")["customer_id"].to_list()
    assert verify_plan(plan)["erasures"] == 1
    assert run("--home", home, "erase", customer) == 0
    assert verify_plan(plan)["erasures"] == 1
