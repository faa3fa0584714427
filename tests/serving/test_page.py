"""The page at `/` without a browser: who may open it, what it says and never says. tests/browser has the rest."""

import json
import logging
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from recsys.home import Home
from recsys.policy.pack import load_pack
from recsys.privacy.suppression import SuppressionList
from recsys.schema import CONSENT_PURPOSES, PolicyName
from recsys.testing.tiny_scorer import NOW
from serving.app import create_app
from serving.loading import Components
from serving.settings import Mode, Settings
from serving.testing import Service, add_customer, bearer, event, token_of
from serving.web import languages
from serving.web.local import PAGE
from serving.web.showcase.listing import PAGE_SIZE, CustomerList, Known, Search
from tests.serving.showcase_bank import EVIL, PHONE, write_showcase_bank

HERE = "http://127.0.0.1:8000"
WEB = Path(languages.__file__).parent
ESCAPED = "&lt;script&gt;"


@pytest.fixture
def bank(service: Service, settings: Settings, tmp_path: Path) -> Service:
    """The tiny service with a dataset behind it."""
    write_showcase_bank(settings.home, tmp_path / "bank")
    return service


def open_page(service: Service, path: str = "/?customer=anna", **headers: str) -> Any:
    return service.client.get(f"{HERE}{path}", headers=headers)


def page_token(service: Service) -> str:
    found = re.search(r'id="page-data">(.*?)</script>', open_page(service).text)
    assert found is not None
    return str(json.loads(found[1])["token"])


def ask(service: Service, path: str, token: str | None = None) -> Any:
    return service.client.get(f"{HERE}{path}", headers=bearer(token or page_token(service)))


def refuse(service: Service, *purposes: str) -> None:
    given = [{"purpose": purpose, "granted": False} for purpose in purposes]
    assert service.consent("anna", token_of("anna"), *given).status_code == 200


def test_page_shows_what_is_known_redacted_and_escaped(bank: Service) -> None:
    text = open_page(bank).text
    assert "Call me on [PHONE]" in text
    assert PHONE not in text
    assert EVIL not in text
    assert f"a house {ESCAPED}" in text
    assert "Product 5" in text
    assert "groceries" in text
    assert "casino" not in text  # a sensitive category, here as in features
    assert "2 ×" in text  # p05-a was clicked twice
    assert "10 days ago" in text  # the risk assessment


def test_page_reads_nothing_that_the_customer_refused(bank: Service) -> None:
    refuse(bank, "text_analysis")
    text = open_page(bank).text
    assert "a house" not in text
    assert "no consent to reading messages" in text
    assert "2 ×" in text
    refuse(bank, "image_analysis")
    assert "2 ×" not in open_page(bank).text
    assert ask(bank, "/page/customers/anna/pictures/m1").status_code == 404
    refuse(bank, "profiling")
    text = open_page(bank).text
    assert "groceries" not in text
    assert 'class="badge">clicked' not in text
    assert "no consent to profiling" in text


def test_page_event_of_the_app_stands_first_and_once(bank: Service) -> None:
    exported = event("old-3", "click", "p05", content_id="p05-a", event_timestamp=(NOW - timedelta(days=2)).isoformat())
    bank.send(token_of("anna"), event("new-1", "dismiss", "p03"), exported)
    part = ask(bank, "/page/customers/anna").text
    assert part.index("dismissed") < part.index("clicked")
    assert part.count(">clicked<") == 2  # old-3 is in the dataset and in the store
    assert part.count('class="live"') == 2


def test_page_is_for_a_browser_of_this_machine_on_the_page_itself(bank: Service) -> None:
    assert bank.client.get("http://bank.example/").status_code == 421
    assert bank.client.get("http://bank.example/page/customers/anna").status_code == 421
    token = page_token(bank)
    for site, status in (("same-origin", 200), ("cross-site", 403), ("same-site", 403)):
        headers = {**bearer(token), "Sec-Fetch-Site": site, "Sec-Fetch-Mode": "cors"}
        assert bank.client.get(f"{HERE}/page/customers/anna", headers=headers).status_code == status
    assert open_page(bank, **{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/customers/anna", "/items", "/pictures/products/p01", "/customers/anna/pictures/m1", "/decisions/d1"],
)
def test_page_routes_want_the_pages_own_token(path: str, bank: Service) -> None:
    assert bank.client.get(f"{HERE}/page{path}").status_code == 401
    assert ask(bank, f"/page{path}", token_of("anna")).status_code == 403
    assert ask(bank, f"/page{path}", token_of(None)).status_code == 403  # every scope that the command line grants
    assert ask(bank, f"/page{path}", token_of(None, PAGE)).status_code in (200, 404)


def test_page_token_opens_the_page_and_audit_only(bank: Service) -> None:
    token = page_token(bank)
    assert bank.ask("anna", token).status_code == 403
    assert bank.send(token, event("e1")).status_code == 403
    assert ask(bank, "/v1/audit/why-not?customer_id=anna&product_id=p09", token).json()["rules"]


def test_page_customers_token_is_his_alone_and_short(bank: Service) -> None:
    headers = bearer(page_token(bank))
    given = bank.client.post(f"{HERE}/page/tokens", json={"customer_id": "anna"}, headers=headers).json()
    assert given["expires_in"] == 900
    add_customer(bank.store, "ben")
    assert bank.ask("anna", given["token"]).status_code == 200
    assert bank.ask("ben", given["token"]).status_code == 403
    missing = bank.client.post(f"{HERE}/page/tokens", json={"customer_id": "nobody"}, headers=headers)
    assert missing.status_code == 404


def test_page_trace_has_the_rules_of_the_very_answer(bank: Service) -> None:
    bank.send(token_of("anna"), event("e1", "dismiss", "p03"))
    answer = bank.ask("anna", token_of("anna")).json()
    trace = ask(bank, f"/page/decisions/{answer['decision_id']}").json()
    (place,) = trace["placements"]
    assert place["candidates"] == 12
    assert sum(rule["times"] for rule in place["removed"]) == answer["placements"][0]["removed_count"]
    declined = next(rule for rule in place["removed"] if rule["rule"] == "ELIG_DECLINED")
    assert declined["items"] == [{"id": "p03", "title": "Product 3"}]
    assert declined["source"]
    assert ask(bank, "/page/decisions/none").status_code == 404


def test_page_items_and_pictures(bank: Service) -> None:
    found = ask(bank, "/page/items?products=p01&products=gone&contents=p05-a").json()
    assert set(found["products"]) == {"p01"}
    assert found["products"]["p01"]["name"] == "Product 1"
    assert found["contents"]["p05-a"]["ai_generated"] is True
    picture = ask(bank, "/page/pictures/products/p01")
    assert picture.headers["content-type"] == "image/png"
    assert ask(bank, "/page/pictures/contents/p05-a").status_code == 404
    assert ask(bank, "/page/customers/anna/pictures/m1").status_code == 200
    assert ask(bank, "/page/customers/ben/pictures/m1").status_code == 404


def test_page_unknown_or_erased_customer_is_nobody(bank: Service, settings: Settings) -> None:
    assert open_page(bank, "/?customer=%3Cscript%3E").status_code == 404
    assert "<script>" not in open_page(bank, "/?customer=%3Cscript%3E").text
    SuppressionList(Home(settings.home)).add("anna")
    erased = open_page(bank)
    assert erased.status_code == 404
    assert "Call me" not in erased.text


def test_page_list_finds_by_id_and_by_what_is_known(bank: Service) -> None:
    add_customer(bank.store, "ben")
    add_customer(bank.store, "b%n")
    for query, expected in (
        ("", {"anna", "ben", "b%n"}),
        ("q=nn", {"anna"}),
        ("q=b%25", {"b%n"}),
        ("known=text", {"anna"}),
        ("known=everything", {"anna"}),
        ("known=new", {"ben", "b%n"}),
        ("q=zzz", set()),
    ):
        text = open_page(bank, f"/?{query}").text
        assert set(re.findall(r'<th scope="row"><a[^>]*>([^<]+)', text)) == expected, query
    assert open_page(bank, "/?known=whatever").status_code == 422


def test_list_pages_hold_everybody_once(bank: Service, settings: Settings) -> None:
    for number in range(PAGE_SIZE + 3):
        add_customer(bank.store, f"x{number:02}")
    listed = CustomerList(bank.store, Home(settings.home).features)
    pages = [listed.page(Search("x", Known.ALL, number)) for number in (1, 2, 3)]
    assert [len(page.lines) for page in pages] == [PAGE_SIZE, 3, 0]
    assert pages[0].pages == 2
    assert len({line.customer_id for page in pages for line in page.lines}) == PAGE_SIZE + 3
    (anna,) = listed.page(Search("anna")).lines
    assert (anna.products, anna.messages, anna.pictures, anna.risk_level) == (2, 2, 1, "C3")


def test_page_without_its_dataset_still_answers_and_says_so(bank: Service, tmp_path: Path) -> None:
    (tmp_path / "bank" / "dataset.yaml").unlink()
    opened = open_page(bank)
    assert opened.status_code == 200
    assert "not where it was" in opened.text


def test_page_has_nothing_inline_and_forbids_it(bank: Service) -> None:
    for path in ("/", "/?customer=anna"):
        opened = open_page(bank, path)
        assert "script-src 'self';" in opened.headers["content-security-policy"]
        assert "unsafe" not in opened.headers["content-security-policy"]
        assert opened.headers["cache-control"] == "private, no-store"
        assert opened.headers["x-frame-options"] == "DENY"
        scripts = re.findall(r"<script([^>]*)>", opened.text)
        assert all("src=" in script or 'type="application/json"' in script for script in scripts)
        assert not re.search(r"<[^>]+\s(style|on\w+)=", opened.text)
        for address in re.findall(r'(?:src|href)="(/web/[^"]+)"', opened.text):
            assert bank.client.get(f"{HERE}{address}").status_code == 200
        assert not re.search(r'(?:src|href)="(https?:)?//', opened.text)


def test_page_logs_nothing_personal(bank: Service, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="recsys"):
        ask(bank, "/page/customers/anna")
        open_page(bank, "/?customer=gone-for-good")
    assert "anna" not in caplog.text
    assert "gone-for-good" not in caplog.text
    metrics = bank.client.get("/metrics").text
    assert "anna" not in metrics


def test_production_has_a_sign_at_the_door_and_nothing_else(bank: Service, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text('{"keys": []}')
    settings = Settings(
        home=tmp_path,
        mode=Mode.PRODUCTION,
        secret="a different letter each 0123456789",
        jwks_file=keys,
        token_issuer="https://idp.example",
        token_audience="recsys-api",
    )
    model = bank.app.state.services.models.current
    parts = Components(model, bank.features, bank.store)
    with TestClient(create_app(settings, lambda _: parts), raise_server_exceptions=False) as client:
        opened = client.get("/?customer=anna")
        assert opened.status_code == 200
        assert "Call me" not in opened.text
        assert "page-data" not in opened.text
        assert "There is nothing here for a browser" in opened.text
        assert "/docs" not in opened.text  # production has none unless it is asked for
        assert client.get(f"{HERE}/page/customers/anna").status_code == 404
        assert client.post(f"{HERE}/page/tokens", json={"customer_id": "anna"}).status_code == 404


@pytest.mark.parametrize("area", ["base", "showcase"])
def test_words_are_there_in_every_language_with_the_same_places(area: str) -> None:
    english = languages.words(area, "en")
    for language in languages.LANGUAGES:
        other = languages.words(area, language)
        assert set(other) == set(english)
        for key, text in other.items():
            assert set(re.findall(r"\{(\w+)\}", text)) == set(re.findall(r"\{(\w+)\}", english[key])), key


def test_words_cover_what_scripts_and_templates_say_and_every_rule() -> None:
    known = set(languages.words("showcase", "en"))
    script = (WEB / "static" / "showcase.js").read_text() + (WEB / "static" / "talk.js").read_text()
    pages = "".join((WEB / "templates" / f"{name}.html").read_text() for name in ("customers", "customer", "known"))
    assert set(re.findall(r"""["'](js\.[a-z_.]+[a-z])["']""", script)) <= known
    assert set(re.findall(r"""\bt\(["']([a-z_.]+[a-z])["'][,)]""", pages)) <= known
    rules = {rule.id for name in PolicyName for rule in load_pack(name).rules}
    assert {f"rule.{rule}" for rule in rules} <= known
    assert {f"consent.{purpose}" for purpose in CONSENT_PURPOSES} <= known


def test_words_of_the_showcase_are_all_used() -> None:
    script = (WEB / "static" / "showcase.js").read_text() + (WEB / "static" / "talk.js").read_text()
    used = script + "".join(file.read_text() for file in (WEB / "templates").glob("*.html"))
    composed = ("rule.", "consent.", "event.", "fact.", "suitability.", "known.", "source.", "channel.", "mode.")
    composed = (*composed, "js.after.", "js.act.", "js.group.", "js.trace_", "js.none_")
    words = languages.words("showcase", "en")
    assert [key for key in words if not key.startswith(composed) and key not in used] == []


@pytest.mark.parametrize(
    ("asked", "accepted", "expected"),
    [
        (None, None, "en"),
        ("zh", "en", "zh"),
        ("xx", "zh-CN,en;q=0.5", "zh"),
        (None, "fr;q=0.9, en;q=0.1, zh;q=0.4", "zh"),
        (None, "zh;q=0, en", "en"),
        (None, "zh;q=nonsense", "en"),
    ],
)
def test_language_is_the_chosen_one_else_the_browsers(asked: str | None, accepted: str | None, expected: str) -> None:
    assert languages.choose_language(asked, accepted) == expected
