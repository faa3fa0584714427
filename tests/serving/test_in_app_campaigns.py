"""Campaigns in the app: first among the recommendations, inside the policy, while they run, and counted when seen."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from recsys.decisions.versions import product_version, words_hash
from recsys.testing.tiny_scorer import NOW, tiny_contents, tiny_products
from serving.replay import Replayer
from serving.store.campaign_states import CampaignState, MessageState
from serving.store.campaigns import CampaignStore, PlannedMessage, Submission
from serving.store.decisions import DecisionStore
from serving.store.tables import campaign_messages, campaign_variants, events
from serving.testing import Service, add_customer, event, token_of

DIGEST = "d" * 64
HOME = {"name": "home", "kind": "products", "limit": 3}
BANNER = {"name": "banner", "kind": "contents", "limit": 2}
PRODUCT, CREATIVE = "p04", "p04-b"


def variant(content_id: str = CREATIVE) -> dict[str, Any]:
    content = next(row for row in tiny_contents().iter_rows(named=True) if row["content_id"] == content_id)
    product = next(row for row in tiny_products().iter_rows(named=True) if row["product_id"] == content["product_id"])
    return {
        "content_id": content_id,
        "product_id": content["product_id"],
        "content_hash": "h",
        "product_version": product_version(product),
        "words_hash": words_hash(content),
    }


def launch(
    service: Service, campaign_id: str = "x", content_id: str = CREATIVE, channel: str = "app", views: int = 2
) -> CampaignStore:
    kept, one = CampaignStore(service.store), variant(content_id)
    kept.submit(Submission(campaign_id, "ann", DIGEST, NOW + timedelta(days=7), {}, [one]), NOW)
    kept.approve(campaign_id, "bob", DIGEST, NOW)
    message = PlannedMessage(f"{campaign_id}-1", "anna", one["product_id"], content_id, channel, NOW, views)
    kept.launch(campaign_id, DIGEST, [message], "ann", NOW)
    return kept


def shown(service: Service, customer: str = "anna", **body: Any) -> list[dict[str, Any]]:
    answer = service.ask(customer, token_of(customer), **{"channel": "app", "placements": [HOME], **body})
    assert answer.status_code == 200
    return [item for place in answer.json()["placements"] for item in place["items"]]


def boosted(service: Service, customer: str = "anna", **body: Any) -> list[str]:
    return [item["product_id"] for item in shown(service, customer, **body) if item["campaign_id"]]


def test_launched_campaign_stands_first_with_its_id_in_answer_and_log(service: Service) -> None:
    assert shown(service)[0]["product_id"] != PRODUCT
    launch(service)
    items = shown(service)
    assert (items[0]["product_id"], items[0]["campaign_id"], items[0]["rank"]) == (PRODUCT, "x", 1)
    assert items[0]["reasons"][0]["code"] == "CAMPAIGN"
    assert len(items) == 3
    assert {item["campaign_id"] for item in items[1:]} == {None}
    assert '"campaign_id":"x"' in service.logged()[-1].record


def test_creative_goes_to_the_place_for_creatives_and_its_product_nowhere_else(service: Service) -> None:
    launch(service)
    items = shown(service, placements=[{**HOME, "limit": 12}, BANNER])
    mine = [item for item in items if item["product_id"] == PRODUCT]
    assert [(item["content_id"], item["rank"], item["campaign_id"]) for item in mine] == [(CREATIVE, 1, "x")]


def test_only_the_assigned_customer_is_boosted_and_the_others_see_what_they_saw(service: Service) -> None:
    add_customer(service.store, "bert")
    before = shown(service, "bert")
    launch(service)
    after = shown(service, "bert")
    assert not boosted(service, "bert")  # as everybody who is held out: nothing is assigned to him
    assert [item["product_id"] for item in before] == [item["product_id"] for item in after]


@pytest.mark.parametrize("stop", ["pause", "withdraw"])
def test_stop_counts_from_the_next_answer(service: Service, stop: str) -> None:
    kept = launch(service)
    assert boosted(service) == [PRODUCT]
    getattr(kept, stop)("x", "ann", NOW)
    assert not boosted(service)
    if stop == "pause":
        kept.resume("x", "ann", NOW)
        assert boosted(service) == [PRODUCT]


def test_campaign_is_shown_from_its_first_instant_to_its_last(service: Service) -> None:
    launch(service)
    service.clock.now = NOW - timedelta(seconds=1)
    assert not boosted(service)
    service.clock.now = NOW
    assert boosted(service) == [PRODUCT]
    service.clock.now = NOW + timedelta(days=7)
    assert not boosted(service)


@pytest.mark.parametrize(("channel", "there"), [("app", True), ("mobile_app", True), (None, True), ("web", False)])
def test_campaign_is_shown_in_its_own_channel(service: Service, channel: str | None, there: bool) -> None:
    launch(service)
    assert bool(boosted(service, channel=channel)) is there


@pytest.mark.parametrize("content_id", ["p11-a", "p00-a", "p09-a"])  # too risky, not approved, paused
def test_no_campaign_goes_past_a_rule(service: Service, content_id: str) -> None:
    launch(service, content_id=content_id)
    for places in ([HOME], [BANNER]):
        assert not boosted(service, placements=places)


@pytest.mark.parametrize("purpose", ["marketing", "profiling"])
def test_consent_withdrawn_ends_it_from_the_next_answer(service: Service, purpose: str) -> None:
    launch(service)
    assert boosted(service) == [PRODUCT]
    service.consent("anna", token_of(None), {"purpose": purpose, "granted": False})
    assert not boosted(service)
    assert not boosted(service, placements=[BANNER])


def test_dismissed_product_is_not_pushed_again(service: Service) -> None:
    launch(service)
    assert service.send(token_of("anna"), event("e1", "dismiss", PRODUCT)).json()["accepted"] == 1
    assert not boosted(service)


def test_other_words_than_the_approved_ones_are_not_shown(service: Service) -> None:
    launch(service)
    with service.store.writing() as connection:
        connection.execute(update(campaign_variants).values(words_hash="0" * 64))
    assert not boosted(service)


def test_views_are_counted_by_token_and_end_the_boost(service: Service) -> None:
    kept = launch(service, views=2)
    token = shown(service)[0]["tracking_token"]
    seen = [event(f"e{number}", "impression", None, tracking_token=token) for number in range(2)]
    assert service.send(token_of("anna"), seen[0], seen[0]).json()["duplicate"] == 1
    assert boosted(service) == [PRODUCT]
    assert kept.progress("x") == {MessageState.SENT: {"": 1}}
    assert kept.get("x").state == CampaignState.SENDING
    service.send(token_of("anna"), seen[1])
    assert not boosted(service)
    with service.store.reading() as connection:
        assert set(connection.scalars(select(events.c.campaign_id)).all()) == {"x"}
        assert connection.scalar(select(campaign_messages.c.views_left)) == 0
    assert kept.complete_finished(NOW) == ["x"]


def test_impression_without_the_token_is_nobodys_campaign(service: Service) -> None:
    kept = launch(service)
    service.send(token_of("anna"), event("e1", "impression", PRODUCT))
    assert kept.progress("x") == {MessageState.IN_APP: {"": 1}}


def test_campaign_nobody_came_to_see_completes_at_its_end(service: Service) -> None:
    kept = launch(service)
    assert kept.complete_finished(NOW) == []
    assert kept.complete_finished(NOW + timedelta(days=7)) == ["x"]
    assert kept.progress("x") == {MessageState.DROPPED: {"NOT_SEEN": 1}}


def test_several_campaigns_take_one_top_place_each(service: Service) -> None:
    launch(service)
    launch(service, "y", "p03-a")
    launch(service, "z", "p07-a")
    places = [HOME, {**HOME, "name": "second"}]
    answer = service.ask("anna", token_of("anna"), channel="app", placements=places).json()
    tops = [[item["campaign_id"] for item in place["items"]] for place in answer["placements"]]
    assert tops == [["x", None, None], ["y", None, None]]
    ids = [item["product_id"] for place in answer["placements"] for item in place["items"]]
    assert len(set(ids)) == len(ids)


def test_replay_of_a_boosted_answer_is_identical_after_the_campaign_was_withdrawn(service: Service) -> None:
    kept = launch(service)
    assert boosted(service, placements=[HOME, BANNER])
    kept.withdraw("x", "ann", NOW)
    decision = service.logged()[-1].decision_id
    model = service.app.state.services.engine.model
    found = Replayer(DecisionStore(service.store), lambda *_: model).replay(decision)
    assert (found.identical, found.differences) == (True, [])


def test_offers_of_a_customer_are_read_with_his_facts(service: Service) -> None:
    launch(service)
    statements: list[str] = []
    from sqlalchemy import event as sqlalchemy_event

    engine = service.store.engine
    sqlalchemy_event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    assert boosted(service) == [PRODUCT]
    assert sum("campaign_messages" in statement for statement in statements) == 1
    assert sum("UNION ALL" in statement and "campaign_messages" in statement for statement in statements) == 1
