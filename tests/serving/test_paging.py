"""Paging through one decision: no repeats, nothing that may not be shown now, no cursor but one's own."""

from functools import partial
from typing import Any

import orjson
import pytest

from recsys.errors import RecsysError
from serving.loading import ServedModel
from serving.ranked import pack
from serving.replay import Replayer
from serving.store.decisions import DecisionStore
from serving.testing import Service, bearer, event, token_of
from serving.tokens import CursorSigner

PLACES = [{"name": "home", "kind": "products", "limit": 2}, {"name": "banner", "kind": "contents", "limit": 1}]


def first(service: Service, **body: Any) -> dict[str, Any]:
    answer: dict[str, Any] = service.ask("anna", token_of("anna"), placements=PLACES, **body).json()
    return answer


def page(service: Service, answer: dict[str, Any], cursor: str, token: str | None = None, **query: Any) -> Any:
    path = f"/v1/decisions/{answer['decision_id']}/items"
    return service.client.get(path, params={"cursor": cursor, **query}, headers=bearer(token or token_of("anna")))


def products(placement: dict[str, Any]) -> list[str]:
    return [item["product_id"] for item in placement["items"]]


def walk(service: Service, answer: dict[str, Any], name: str = "home", **query: Any) -> list[list[str]]:
    """The products of the answer's placement and of all its pages."""
    placement = next(place for place in answer["placements"] if place["name"] == name)
    pages = [products(placement)]
    while (cursor := placement["next_cursor"]) is not None:
        found = page(service, answer, cursor, **query)
        assert found.status_code == 200, found.text
        placement = found.json()["placement"]
        pages.append(products(placement))
        assert len(pages) < 100
    return pages


def test_pages_are_the_whole_ranking_without_repeats(service: Service) -> None:
    whole = service.ask("anna", token_of("anna"), placements=[{**PLACES[0], "limit": 50}]).json()["placements"][0]
    assert whole["next_cursor"] is None
    answer = service.ask("anna", token_of("anna"), placements=PLACES[:1]).json()
    pages = walk(service, answer)
    assert len(pages) > 2
    assert [product for one in pages for product in one] == products(whole)
    assert {len(one) for one in pages[:-1]} == {2}
    assert [product for one in walk(service, answer, limit=3) for product in one] == products(whole)


def test_pages_end_with_what_the_log_keeps_of_a_large_ranking(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = service.ask("anna", token_of("anna"), placements=[{**PLACES[0], "limit": 50}]).json()["placements"][0]
    monkeypatch.setattr("serving.recording.pack", partial(pack, most=5))
    answer = service.ask("anna", token_of("anna"), placements=PLACES[:1]).json()
    assert [product for one in walk(service, answer) for product in one] == products(whole)[:5]


def test_page_has_ranks_reasons_tokens_and_a_decision_of_its_own(service: Service) -> None:
    answer = first(service)
    cursor = answer["placements"][0]["next_cursor"]
    found = page(service, answer, cursor).json()
    assert [item["rank"] for item in found["placement"]["items"]] == [3, 4]
    assert all(item["reasons"] for item in found["placement"]["items"])
    assert found["page_of"] == answer["decision_id"] != found["decision_id"]
    shown = found["placement"]["items"][0]
    clicked = event("e1", product_id=shown["product_id"], tracking_token=shown["tracking_token"])
    assert service.send(token_of("anna"), clicked).json()["accepted"] == 1
    logged = {entry.decision_id: orjson.loads(entry.record) for entry in service.logged()}
    record = logged[found["decision_id"]]
    assert record["page_of"] == answer["decision_id"]
    assert [item["product_id"] for item in record["placements"][0]["items"]] == products(found["placement"])
    with pytest.raises(RecsysError, match="further page of"):
        Replayer(DecisionStore(service.store), lambda *_: service.app.state.services.models.current).replay(
            found["decision_id"]
        )


def test_pages_of_every_placement_leave_out_what_the_answer_showed(service: Service) -> None:
    answer = first(service)
    shown = [product for place in answer["placements"] for product in products(place)]
    for name in ("home", "banner"):
        later = [product for one in walk(service, answer, name)[1:] for product in one]
        assert later
        assert len(set(later)) == len(later)
        assert not set(later) & set(shown)


def test_page_leaves_out_what_was_dismissed_since_and_its_place_stays(service: Service) -> None:
    answer = first(service)
    before = walk(service, answer)
    gone = before[1][0]
    service.send(token_of("anna"), event("e1", "dismiss", gone))
    after = walk(service, answer)
    assert after[0] == before[0]
    assert [product for one in after for product in one] == [
        product for one in before for product in one if product != gone
    ]


def test_page_after_events_that_change_the_ranking_goes_on_in_the_decisions_order(service: Service) -> None:
    answer = first(service)
    before = walk(service, answer)
    service.features.plain["anna"] = {"customer_profile__segment": "old"}
    assert walk(service, answer) == before


def test_page_survives_a_new_model_and_ends_with_its_catalogue(service: Service) -> None:
    answer = first(service)
    cursor = answer["placements"][0]["next_cursor"]
    models = service.app.state.services.models
    served: ServedModel = models.current
    models.swap(served._replace(version="test@2", catalogue_version="other"))
    assert page(service, answer, cursor).status_code == 200
    for number in range(8):
        models.swap(served._replace(catalogue_version=f"c{number}"))
    gone = page(service, answer, cursor)
    assert gone.status_code == 410
    assert "catalogue" in gone.json()["detail"]


def test_page_of_a_profile_that_was_refused_since_is_gone(service: Service) -> None:
    answer = first(service)
    cursor = answer["placements"][0]["next_cursor"]
    service.consent("anna", token_of("anna"), {"purpose": "profiling", "granted": False})
    assert page(service, answer, cursor).status_code == 410
    popular = first(service)
    assert popular["mode"] == "popular"
    assert page(service, popular, popular["placements"][0]["next_cursor"]).status_code == 200


def test_cursor_of_another_or_changed_is_refused(service: Service) -> None:
    answer, other = first(service), first(service)
    cursor = answer["placements"][0]["next_cursor"]
    theirs = CursorSigner("another key" * 4)
    own = service.app.state.services.pager._cursors
    read = own.read(cursor, "anna")
    forged = [
        "x",
        "ä",
        cursor[:-2] + "AA",
        cursor[1:],
        other["placements"][0]["next_cursor"],
        answer["placements"][0]["items"][0]["tracking_token"],
        theirs.sign(read, "anna"),
        own.sign(read, "ben"),
    ]
    for text in forged:
        assert page(service, answer, text).status_code == 422, text
    assert page(service, answer, cursor, token_of("ben")).status_code == 422
    assert page(service, answer, cursor, token_of("anna", "events:write")).status_code == 403
    assert page(service, {"decision_id": "0" * 32}, cursor).status_code == 422
    assert page(service, {"decision_id": "0" * 32}, cursor, token_of(None)).status_code == 404
    assert page(service, answer, cursor, token_of(None)).status_code == 200
    assert service.client.get(f"/v1/decisions/{answer['decision_id']}/items").status_code == 401


def test_page_of_a_page_is_its_answers(service: Service) -> None:
    answer = first(service)
    found = page(service, answer, answer["placements"][0]["next_cursor"]).json()
    again = page(service, found, found["placement"]["next_cursor"])
    assert again.status_code == 422
    assert page(service, answer, found["placement"]["next_cursor"]).status_code == 200


def test_answer_that_cannot_be_recorded_has_no_cursor(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    from serving.decision_log import DecisionLogError

    async def fail(entry: Any) -> None:
        raise DecisionLogError

    monkeypatch.setattr(service.app.state.services.log, "append", fail)
    assert [place["next_cursor"] for place in first(service)["placements"]] == [None, None]
