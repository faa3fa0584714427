"""The studio's door: tokens, roles, forms of other sites; and the API's answers where there is no bank."""

import re
from datetime import timedelta
from typing import Any

import pytest

from recsys.campaigns.brief import Brief
from serving.campaigns.briefs import draft_of
from serving.store.campaign_drafts import DraftStore
from serving.testing import NOW, Service, bearer, token_of
from serving.tokens import CAMPAIGNS_APPROVE, CAMPAIGNS_READ, CAMPAIGNS_WRITE, READ
from serving.web.studio.session import COOKIE

BRIEF = {
    "campaign_id": "x",
    "name": "Summer",
    "products": "engine",
    "audience": "everyone",
    "channels": [{"channel": "email", "cost_per_contact": 0.05}],
    "budget": 25,
    "starts": NOW + timedelta(days=2),
    "ends": NOW + timedelta(days=9),
    "languages": ["en"],
    "salt": "never to be seen",
}


@pytest.fixture
def studio(service: Service) -> Service:
    service.client.base_url = "http://127.0.0.1"  # type: ignore[assignment]
    DraftStore(service.store).create(draft_of(Brief.parse(BRIEF, source="test")), "ann", NOW)
    return service


def sign_in(studio: Service, *scopes: str, customer: str | None = None) -> Any:
    form = {"token": token_of(customer, *scopes), "next": "/studio"}
    return studio.client.post("/studio/login", data=form, follow_redirects=False)


def csrf(studio: Service) -> str:
    found = re.search(r'name="csrf" value="(\w+)"', studio.client.get("/studio").text)
    assert found is not None
    return found[1]


def test_nobody_sees_a_page_before_he_signed_in(studio: Service) -> None:
    for path in ("/studio", "/studio/new", "/studio/campaigns/x", "/studio/campaigns/x/images/a.png"):
        answer = studio.client.get(path, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/studio/login?next={path}")


def test_the_cookie_is_out_of_reach_and_no_bearer_token(studio: Service) -> None:
    answer = sign_in(studio, CAMPAIGNS_READ)
    kept = answer.headers["set-cookie"]
    assert answer.status_code == 303
    assert all(part in kept for part in ("HttpOnly", "SameSite=strict", "Path=/studio", "Max-Age=3"))
    value = studio.client.cookies[COOKIE]
    assert studio.client.get("/v1/campaigns", headers=bearer(value)).status_code == 401
    studio.client.cookies.set(COOKIE, token_of(None, CAMPAIGNS_READ), path="/studio")
    assert studio.client.get("/studio", follow_redirects=False).status_code in (303, 200)


@pytest.mark.parametrize("customer", [None, "anna"])
def test_a_token_without_a_campaign_scope_or_of_a_customer_does_not_open_it(
    studio: Service, customer: str | None
) -> None:
    scopes = (READ,) if customer is None else (CAMPAIGNS_WRITE,)
    assert sign_in(studio, *scopes, customer=customer).status_code == 403
    assert COOKIE not in studio.client.cookies
    form = {"token": "no token at all", "next": "/studio"}
    assert studio.client.post("/studio/login", data=form).status_code == 403


@pytest.mark.parametrize("place", ["https://elsewhere.example", "//elsewhere.example", "/studio//e.example", "/docs"])
def test_login_leads_nowhere_else(studio: Service, place: str) -> None:
    form = {"token": token_of(None, CAMPAIGNS_READ), "next": place}
    answer = studio.client.post("/studio/login", data=form, follow_redirects=False)
    assert answer.headers["location"] == "/studio"


def test_pages_carry_a_strict_policy_and_are_not_kept(studio: Service) -> None:
    sign_in(studio, CAMPAIGNS_READ)
    page = studio.client.get("/studio")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["cache-control"] == "private, no-store"
    assert "<script>" not in page.text
    assert "style=" not in page.text


def test_a_form_without_the_sessions_word_or_from_elsewhere_is_refused(studio: Service) -> None:
    sign_in(studio, CAMPAIGNS_WRITE)
    path, word = "/studio/campaigns/x/withdraw", csrf(studio)
    assert studio.client.post(path, data={"csrf": "guess"}).status_code == 403
    foreign = {"sec-fetch-site": "cross-site"}
    assert studio.client.post(path, data={"csrf": word}, headers=foreign).status_code == 403
    assert studio.client.post(path, json={"csrf": word}).status_code == 415
    done = studio.client.post(path, data={"csrf": word}, follow_redirects=False)
    assert (done.status_code, done.headers["location"]) == (303, "/studio/campaigns/x?done=withdraw")


@pytest.mark.parametrize("action", ["plan", "validate", "submit", "launch", "approve", "reject", "withdraw"])
def test_a_viewer_may_look_and_nothing_else(studio: Service, action: str) -> None:
    sign_in(studio, CAMPAIGNS_READ)
    word = csrf(studio)
    assert studio.client.get("/studio/campaigns/x").status_code == 200
    assert studio.client.post(f"/studio/campaigns/x/{action}", data={"csrf": word}).status_code == 403
    assert studio.client.get("/studio/new").status_code == 403


def test_an_action_that_is_refused_says_why_on_the_page(studio: Service) -> None:
    sign_in(studio, CAMPAIGNS_WRITE)
    page = studio.client.post("/studio/campaigns/x/launch", data={"csrf": csrf(studio)})
    assert page.status_code == 409
    assert "only one whose creatives are approved can be launched" in page.text
    chinese = studio.client.post("/studio/campaigns/x/launch?lang=zh", data={"csrf": csrf(studio)})
    assert "素材获批后才能启动" in chinese.text


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "", CAMPAIGNS_READ),
        ("POST", "", CAMPAIGNS_WRITE),
        ("PUT", "/x/brief", CAMPAIGNS_WRITE),
        ("POST", "/x/plan", CAMPAIGNS_WRITE),
        ("POST", "/x/launch", CAMPAIGNS_WRITE),
        ("POST", "/x/verdict/approve", CAMPAIGNS_APPROVE),
    ],
)
def test_api_wants_the_scope_and_no_customer(studio: Service, method: str, path: str, scope: str) -> None:
    wrong = CAMPAIGNS_APPROVE if scope == CAMPAIGNS_WRITE else READ
    ask = {"url": f"/v1/campaigns{path}", "method": method}
    body = {} if method == "GET" else {"json": {}}
    assert studio.client.request(**ask, **body).status_code == 401
    assert studio.client.request(**ask, **body, headers=bearer(token_of(None, wrong))).status_code == 403
    assert studio.client.request(**ask, **body, headers=bearer(token_of("anna", scope))).status_code == 403
    assert studio.client.request(**ask, **body, headers=bearer(token_of(None, scope))).status_code not in (401, 403)


def test_api_answers_with_problems_and_etags(studio: Service) -> None:
    token = bearer(token_of(None, CAMPAIGNS_READ, CAMPAIGNS_WRITE))
    found = studio.client.get("/v1/campaigns/x", headers=token)
    assert found.json()["state"] == "draft"
    assert BRIEF["salt"] not in found.text
    assert re.fullmatch(r'"r1-\d+"', found.headers["etag"])
    missing = studio.client.get("/v1/campaigns/nothing", headers=token)
    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")
    wrong = studio.client.post("/v1/campaigns", json={"campaign_id": "A", "colour": "red"}, headers=token)
    assert wrong.status_code == 422
    assert {"pointer": "/body/colour", "detail": "unknown key"} in wrong.json()["errors"]
    stale = studio.client.put("/v1/campaigns/x/brief", json={}, headers={**token, "If-Match": '"other"'})
    assert stale.status_code == 412
    assert studio.client.get("/v1/campaigns/x/plan", headers=token).status_code == 404
    assert studio.client.get("/v1/campaigns/x/report", headers=token).status_code == 409
