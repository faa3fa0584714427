"""The mode `cached`: what was read a short time ago stands in for a store that is down, if consents of now allow it."""

from datetime import timedelta

from sqlalchemy import delete

from recsys.testing.tiny_scorer import HISTORY, NOW, SEGMENT, TEXT, asks_for
from serving.feature_cache import LASTS, FeatureCache
from serving.replay import Replayer
from serving.store.decisions import DecisionStore
from serving.store.tables import customer_facts
from serving.testing import Service, confirm_facts, event, token_of

KNOWN = {SEGMENT: "young", TEXT: asks_for(7), HISTORY: ["p03", "p04"]}


def ask(service: Service, customer: str = "anna") -> tuple[str, list[str]]:
    body = service.ask(customer, token_of(customer)).json()
    return body["mode"], [item["product_id"] for item in body["placements"][0]["items"]]


def test_cached_answer_is_the_one_of_before_and_says_so(service: Service) -> None:
    service.features.plain["anna"] = KNOWN
    mode, products = ask(service)
    assert mode == "personalised"
    service.features.broken = True
    assert ask(service) == ("cached", products)
    assert ask(service, "stranger")[0] == "popular"
    text = service.client.get("/metrics").text
    assert 'recsys_answers_total{mode="cached"} 1.0' in text
    service.features.broken = False


def test_cached_answer_replays(service: Service) -> None:
    service.features.plain["anna"] = KNOWN
    ask(service)
    service.features.broken = True
    ask(service)
    decision = service.logged()[-1]
    model = service.app.state.services.engine.model
    found = Replayer(DecisionStore(service.store), lambda version, revision: model).replay(decision.decision_id)
    assert (found.identical, found.changed_inputs) == (True, [])


def test_cached_row_is_not_looked_at_once_profiling_is_refused(service: Service) -> None:
    service.features.plain["anna"] = KNOWN
    ask(service)
    service.features.broken = True
    service.consent("anna", token_of("anna"), {"purpose": "profiling", "granted": False})
    assert ask(service)[0] == "popular"


def test_cached_text_is_not_looked_at_once_its_analysis_is_refused(service: Service) -> None:
    service.features.plain["anna"] = KNOWN
    _, products = ask(service)
    assert products[0] == "p07"
    service.features.broken = True
    service.consent("anna", token_of("anna"), {"purpose": "text_analysis", "granted": False})
    mode, products = ask(service)
    assert mode == "cached"
    assert products[0] != "p07"


def test_cached_row_of_a_customer_who_was_erased_is_nobodys(service: Service) -> None:
    service.features.plain["anna"] = KNOWN
    confirm_facts(service.store, keeps_consents=False)
    ask(service)
    with service.store.writing() as connection:
        connection.execute(delete(customer_facts))
    service.features.broken = True
    assert ask(service)[0] in ("popular", "safe")


def test_cached_dismissal_still_changes_the_next_answer(service: Service) -> None:
    service.features.plain["anna"] = KNOWN
    first = ask(service)[1][0]
    service.features.broken = True
    service.send(token_of("anna"), event("e1", "dismiss", first))
    mode, products = ask(service)
    assert mode == "cached"
    assert first not in products


def test_feature_cache_gives_back_exactly_what_was_put_for_a_while() -> None:
    cache = FeatureCache(most=2)
    row = {"vector": [0.5, -0.25], "ids": ["a"], "times": [1, 2], "none": None, "empty": [], "number": 0.1}
    cache.put("anna", row, NOW)
    assert cache.get("anna", NOW + LASTS) == row
    assert cache.get("anna", NOW + LASTS + timedelta(microseconds=1)) is None
    assert cache.get("anna", NOW) is None


def test_feature_cache_forgets_who_asked_longest_ago_and_who_has_nothing() -> None:
    cache = FeatureCache(most=2)
    for name in ("anna", "bert", "anna", "carl"):
        cache.put(name, {"a": 1}, NOW)
    assert [cache.get(name, NOW) is None for name in ("anna", "bert", "carl")] == [False, True, False]
    cache.put("anna", None, NOW)
    assert cache.get("anna", NOW) is None
