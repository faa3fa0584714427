"""The studio from end to end in a real Chromium: brief, plan, copy, approval, mails over SMTP, events, lift."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import httpx
import polars as pl
from playwright.sync_api import Page, expect

from serving.tokens import CAMPAIGNS_APPROVE, CAMPAIGNS_READ, CAMPAIGNS_WRITE, WRITE
from tests.browser.checks import accessibility_findings, overflow
from tests.browser.studio import Opening, Studio, mailbox, studio, tab
from tests.trained_bank import run

__all__ = ["mailbox", "studio", "tab"]

PATIENCE_MS = 240_000
PHONE = 390
ID = "summer"
PLACE = f"/studio/campaigns/{ID}"
TABS = ("brief", "plan", "variants", "results")
WRITER, APPROVER = (CAMPAIGNS_READ, CAMPAIGNS_WRITE), (CAMPAIGNS_READ, CAMPAIGNS_APPROVE)


def test_a_campaign_from_brief_to_lift(studio: Studio, tab: Opening, mailbox: tuple[int, list[Any]]) -> None:
    with tab("ann", *WRITER) as page:
        write_brief(page, studio)
        plan(page)
        spoil_and_mend_a_variant(page, studio)
        assert page.get_by_role("button", name="Approve", exact=True).count() == 0
    refuse_what_may_not_be(studio)
    with tab("bob", *APPROVER, width=PHONE) as page:
        page.goto(f"{studio.url}{PLACE}/variants")
        good(page)
        page.goto(f"{studio.url}{PLACE}")
        page.fill("#note", "Say what it costs")
        act(page, "Send back")
        assert state(page) == "sent back"
    with tab("ann", *WRITER) as page:
        page.goto(f"{studio.url}{PLACE}")
        expect(page.locator(".notice.bad")).to_contain_text("Say what it costs")
        act(page, "Validate")
        act(page, "Submit for approval")
    approve_at_once(studio)
    with tab("ann", *WRITER) as page:
        launch_and_send(page, studio, mailbox)
        look_at_results(page, studio, mailbox[1])
    look_in_chinese_on_a_phone(studio, tab)


def write_brief(page: Page, studio: Studio) -> None:
    page.goto(f"{studio.url}/studio/new")
    page.fill("#name", "Summer savings")
    page.fill("#campaign_id", ID)
    page.check("input[name=categories][value=savings]")
    page.check("input[name=categories][value=card]")
    page.check("input[name=audience_mode][value=conditions]")
    page.locator("input[name=field]").first.fill("segmnt")
    page.locator("select[name=operator]").first.select_option("in")
    page.locator("input[name=value]").first.fill("mass, affluent, young")
    expect(page.locator("#preview")).to_contain_text("`segmnt` is no field")
    page.fill("#budget", "0.001")
    act(page, "Save")
    expect(page.locator("#error-budget")).to_contain_text("does not pay one contact")
    page.fill("#budget", "25")
    act(page, "Save")
    expect(page.locator("#error-audience")).to_contain_text("`segmnt` is no field")
    page.locator("input[name=field]").first.fill("segment")
    expect(page.locator("#audience-size")).to_be_visible()
    expect(page.locator("#preview")).to_contain_text("no consent to marketing")
    good(page)
    act(page, "Save")
    assert state(page) == "draft"


def plan(page: Page) -> None:
    act(page, "Plan")
    expect(page.locator("h1 + .badge")).to_have_text("generated", timeout=PATIENCE_MS)
    expect(page.get_by_role("table", name="From the bank to the recipients")).to_be_visible()
    expect(page.get_by_role("table", name="The price is what one more unit would bring")).to_be_visible()
    good(page)


def spoil_and_mend_a_variant(page: Page, studio: Studio) -> None:
    page.goto(f"{studio.url}{PLACE}/variants")
    good(page)
    place = f"#{page.locator('article.variant').first.get_attribute('id')}"
    page.click(f"{place} summary")
    honest = page.input_value(f"{place} textarea[name=body]")
    page.fill(f"{place} textarea[name=body]", f"{honest} Guaranteed 99% return!")
    page.click(f"{place} button.primary")
    expect(page.locator(f"{place} .notice.bad")).to_be_visible()
    page.goto(f"{studio.url}{PLACE}")
    act(page, "Validate")
    expect(page.locator("#failure")).to_contain_text("do not pass the fact guard")
    assert state(page) == "generated"
    page.goto(f"{studio.url}{PLACE}/variants")
    page.fill(f"{place} textarea[name=body]", honest)
    page.click(f"{place} button.primary")
    expect(page.locator(f"{place} .notice.bad")).to_have_count(0)
    page.goto(f"{studio.url}{PLACE}")
    act(page, "Validate")
    act(page, "Submit for approval")
    assert state(page) == "submitted"


def refuse_what_may_not_be(studio: Studio) -> None:
    """The author with an approver's scope, and a launch of what nobody approved."""
    both = studio.token("ann", CAMPAIGNS_APPROVE, CAMPAIGNS_WRITE)
    digest = studio.call("GET", f"/v1/campaigns/{ID}", both).json()["digest"]
    own = studio.call("POST", f"/v1/campaigns/{ID}/verdict/approve", both, json={"digest": digest})
    assert (own.status_code, "somebody else must approve it" in own.json()["detail"]) == (409, True)
    early = studio.call("POST", f"/v1/campaigns/{ID}/launch", both)
    assert (early.status_code, "only one whose creatives are approved" in early.json()["detail"]) == (409, True)


def approve_at_once(studio: Studio) -> None:
    def approve(name: str) -> httpx.Response:
        token = studio.token(name, CAMPAIGNS_APPROVE)
        digest = studio.call("GET", f"/v1/campaigns/{ID}", token).json()["digest"]
        return studio.call("POST", f"/v1/campaigns/{ID}/verdict/approve", token, json={"digest": digest})

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(approve, ["bob", "cleo"]))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    (winner,) = (answer.json()["approver"] for answer in answers if answer.status_code == 200)
    (told,) = (answer.json()["detail"] for answer in answers if answer.status_code == 409)
    assert f"by {winner}" in told


def launch_and_send(page: Page, studio: Studio, mailbox: tuple[int, list[Any]]) -> None:
    port, mails = mailbox
    page.goto(f"{studio.url}{PLACE}")
    act(page, "Launch")
    assert state(page) == "scheduled"
    act(page, "Pause")
    last: datetime = studio.assignments(ID)["send_at"].max()  # type: ignore[assignment]
    studio.now[0] = last + timedelta(minutes=1)
    to = f"email=smtp://127.0.0.1:{port}/gateway.example"
    command = ("--home", studio.home, "campaign", "dispatch", "--now", studio.now[0].isoformat(), "--to", to)
    assert run(*command) == 0
    assert mails == []
    page.reload()
    act(page, "Resume")
    assert run(*command) == 0
    assert len(mails) > 0.5 * len(studio.assignments(ID))
    composed = {one.stored.copy["headline"] for one in studio.workshop().variants(ID) if one.composed}
    assert {" ".join(mail["Subject"].split()) for _, mail in mails} <= composed


def look_at_results(page: Page, studio: Studio, mails: list[Any]) -> None:
    studio.now[0] += timedelta(hours=2)
    answer(studio, studio.assignments(ID), [customer for customer, _ in mails])
    page.goto(f"{studio.url}{PLACE}/results")
    lift = page.locator(".figure").first
    expect(lift).to_have_class("figure good")
    assert float(lift.inner_text().split()[0]) > 0
    expect(page.get_by_role("table", name="Customers who got a message")).to_contain_text(f"{len(mails):,}")
    good(page)


def answer(studio: Studio, rows: pl.DataFrame, customers: list[str]) -> None:
    """Everybody who got a mail sees it, half click, a third buy."""
    product = dict(rows.select("customer_id", "product_id").iter_rows())
    events = []
    for place, customer in enumerate(customers):
        kinds = ["impression", *(["click"] if place % 2 == 0 else []), *(["convert"] if place % 3 == 0 else [])]
        for kind in kinds:
            values = {"event_id": f"{kind}-{customer}", "customer_id": customer, "event_type": kind}
            events.append({**values, "event_timestamp": studio.now[0].isoformat(), "product_id": product[customer]})
    token = studio.token("app", WRITE)
    for start in range(0, len(events), 100):
        sent = studio.call("POST", "/v1/events", token, json={"events": events[start : start + 100]})
        assert sent.is_success, sent.text


def look_in_chinese_on_a_phone(studio: Studio, tab: Opening) -> None:
    with tab("zoe", CAMPAIGNS_READ, width=PHONE, locale="zh-CN") as page:
        for place in ("/studio", "/studio?view=calendar", PLACE, *(f"{PLACE}/{name}" for name in TABS)):
            page.goto(f"{studio.url}{place}")
            assert page.locator("html").get_attribute("lang") == "zh-Hans"
            good(page)
            assert page.locator("button:has-text('启动')").count() == 0


def act(page: Page, words: str) -> None:
    page.get_by_role("button", name=words, exact=True).click()
    page.wait_for_load_state()


def state(page: Page) -> str:
    return page.inner_text("h1 + .badge")


def good(page: Page) -> None:
    assert accessibility_findings(page) == []
    assert overflow(page) == 0
