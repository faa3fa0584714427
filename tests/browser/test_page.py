"""The page at `/` in a real Chromium, on the real server with a trained champion: what a person sees and does."""

import re
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest

from serving.live_server import LiveServer
from serving.tokens import CATALOGUE, READ, issue_token
from tests.browser.checks import accessibility_findings, overflow
from tests.browser.conftest import Opening

PERSONAL = ("personalised", "partial")
EVIL = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"


def bearer(key: str, customer: str | None, *scopes: str) -> dict[str, str]:
    token = issue_token(
        key, subject=customer or "tests", scopes=scopes, customer_id=customer, lifetime=timedelta(minutes=5)
    )
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def people(server: LiveServer, key: str) -> Iterator[str]:
    """Customers of whom everything is known, and to whom creatives may be shown; each test takes the next."""
    return find_people(server.url, key)


def find_people(url: str, key: str) -> Iterator[str]:
    asked = [{"name": "home", "kind": "products", "limit": 6}, {"name": "banner", "kind": "contents", "limit": 1}]
    body = {"placements": asked, "channel": "app", "locale": "en"}
    with httpx.Client(base_url=url, timeout=30) as client:
        listed = client.get("/", params={"known": "everything"}).text
        for customer in re.findall(r"customer=([^&\"]+)", listed):
            answer = client.post("/v1/recommendations", json=body, headers=bearer(key, customer, READ)).json()
            products, contents = (place["items"] for place in answer["placements"])
            if answer["mode"] in PERSONAL and len(products) >= 4 and contents:
                yield customer


def test_page_pick_see_dismiss_and_refuse_profiling(window: Opening, people: Iterator[str]) -> None:
    customer = next(people)
    with window() as tab:
        tab.open("/")
        tab.page.fill("#q", customer)
        tab.page.click("button[type=submit]")
        tab.page.click(f"text={customer}")
        tab.settle()

        assert customer in tab.page.inner_text("h1")
        for part in ("Profile", "Wrote", "Did", "Looked at", "Account"):
            assert part in tab.page.inner_text("#known")
        assert tab.page.locator("#known .said li").count() >= 1
        assert tab.page.locator("#known .album img").first.evaluate("image => image.naturalWidth") > 0
        assert tab.mode() in PERSONAL
        shown = tab.products()
        assert len(shown) >= 4
        assert tab.page.locator("#products .item").first.locator(".reasons li").count() >= 1
        assert tab.page.locator("#contents .item img").first.evaluate("image => image.naturalWidth") > 0
        assert "ms" in tab.page.inner_text("#measures")
        assert "LIFE_NOT_LIVE" in tab.page.inner_text("#trace") or tab.page.locator("#trace .rules li").count() >= 1

        first = tab.page.locator("#products .item").first
        title = first.locator("h3").inner_text()
        first.locator("[data-act=dismiss]").click()
        tab.settle()
        assert shown[0] not in tab.products()
        assert "Dismissed" in tab.news()
        assert "gone" in tab.news()
        assert "declined lately" in tab.page.inner_text("#gone")
        assert title.split(" ", 1)[1].split("\n")[0] in tab.page.inner_text("#gone")
        assert "dismissed" in tab.page.inner_text("#known tr.live")
        assert tab.page.evaluate("document.activeElement.dataset.act") == "dismiss"

        tab.page.uncheck("input[value=profiling]")
        tab.settle()
        assert tab.mode() == "popular"
        assert "popular" in tab.news()
        assert "Not read: no consent to profiling." in tab.page.inner_text("#known")
        assert tab.page.locator("#known .said li").count() == 0


def test_page_click_reaches_the_next_answer_and_the_history(window: Opening, people: Iterator[str]) -> None:
    with window() as tab:
        tab.open(f"/?customer={next(people)}")
        for _ in range(2):
            tab.page.locator("#products .item").last.locator("[data-act=click]").click()
            tab.settle()
        assert "Clicked" in tab.news()
        assert tab.page.locator("#known tr.live").count() == 2
        assert "clicked" in tab.page.inner_text("#known tr.live >> nth=0")


def test_page_refused_marketing_leaves_no_creative_and_says_why(window: Opening, people: Iterator[str]) -> None:
    with window() as tab:
        tab.open(f"/?customer={next(people)}")
        assert tab.page.locator("#contents .item").count() > 0
        tab.page.uncheck("input[value=marketing]")
        tab.settle()
        assert tab.page.locator("#contents .item").count() == 0
        assert "No creative may be shown." in tab.page.inner_text("#contents")
        assert "CONSENT_MARKETING" in tab.page.inner_text("#trace")
        tab.page.check("input[value=marketing]")
        tab.settle()
        assert tab.page.locator("#contents .item").count() > 0


def test_page_explains_with_bars_that_add_up_and_names_removing_rules(window: Opening, people: Iterator[str]) -> None:
    with window() as tab:
        tab.open(f"/?customer={next(people)}")
        first = tab.page.locator("#products .item").first
        first.locator("[data-act=why]").focus()
        tab.page.keyboard.press("Enter")
        first.locator(".bars").first.wait_for()
        assert first.locator(".bars").first.locator("rect").count() >= 2
        told = re.search(r", ([+-][\d.]+) against", first.locator(".why p").first.inner_text())
        values = first.locator(".bars").first.locator("dd:nth-of-type(even)").all_inner_texts()
        assert told is not None
        assert float(told[1]) == pytest.approx(sum(map(float, values)), abs=0.05)  # each is rounded to 0.01
        assert first.locator("[data-act=why]").get_attribute("aria-expanded") == "true"

        removed = tab.page.locator("#trace .rules details").first
        removed.locator("summary").click()
        named = re.search(r"\((\w+)\)", removed.locator("p").first.inner_text())  # names repeat: a bank has four cards
        assert named is not None
        tab.page.select_option("#asked-product", named[1])
        tab.page.click("#why-not button")
        tab.page.wait_for_selector("#why-not-answer li")
        assert removed.locator(".mono").inner_text() in tab.page.inner_text("#why-not-answer")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_page_owes_names_headings_contrast_and_fits(
    scheme: str, width: int, window: Opening, people: Iterator[str]
) -> None:
    with window(width, scheme) as tab:
        tab.open("/")
        assert accessibility_findings(tab.page) == []
        assert overflow(tab.page) <= 0
        tab.open(f"/?customer={next(people)}")
        tab.page.locator("#products [data-act=dismiss]").first.click()
        tab.settle()
        tab.page.locator("#products [data-act=why]").first.click()
        tab.page.locator("#products .bars").first.wait_for()
        assert accessibility_findings(tab.page) == []
        assert overflow(tab.page) <= 0


def test_page_speaks_chinese_where_the_browser_does(window: Opening, people: Iterator[str]) -> None:
    customer = next(people)
    with window(locale="zh-CN") as tab:
        tab.open(f"/?customer={customer}")
        assert "银行所了解的" in (tab.page.get_attribute("#known", "aria-label") or "")
        assert "他的应用会显示" in tab.news()
        assert tab.page.get_attribute("html", "lang") == "zh-Hans"
        tab.page.click("text=English")
        tab.settle()
        assert customer in tab.page.inner_text("h1")
        assert "The app would show" in tab.news()


def test_page_markup_in_a_name_is_text(window: Opening, server: LiveServer, key: str, people: Iterator[str]) -> None:
    customer = next(people)
    with window() as tab, httpx.Client(base_url=server.url, timeout=30) as client:
        tab.open(f"/?customer={customer}")
        product = tab.products()[0]
        body = {"name": EVIL, "category": "savings", "status": "live", "repeatable": True}
        put = client.put(f"/v1/catalogue/products/{product}", json=body, headers=bearer(key, None, CATALOGUE))
        assert put.status_code == 200, put.text
        for _ in range(40):  # it is live within seconds
            tab.page.click("#ask button[type=submit]")
            tab.settle()
            if EVIL in tab.page.inner_text("main"):
                break
            tab.page.wait_for_timeout(250)
        tab.open(f"/?customer={customer}")
        assert EVIL in tab.page.inner_text("#asked-product")
        assert tab.page.title() != "taken"
        assert tab.page.locator("main script:not([type='application/json'])").count() == 0
