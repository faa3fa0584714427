"""Health, metrics and the OpenAPI document."""

from recsys.policy.pack import load_pack
from recsys.schema import PolicyName
from serving.testing import Service, event, token_of


def test_livez_and_readyz_of_a_running_service(service: Service) -> None:
    assert service.client.get("/livez").json()["status"] == "alive"
    ready = service.client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["versions"]["model"] == "test@1"


def test_metrics_count_modes_removals_events_and_latency(service: Service) -> None:
    service.ask("anna", token_of("anna"))
    service.send(token_of("anna"), event("e1"), event("e1"), event("bad", product_id="gone"))
    service.client.get("/made/up/path")
    text = service.client.get("/metrics").text
    for line in (
        'recsys_answers_total{mode="partial"} 1.0',
        'recsys_policy_removals_total{rule="LIFE_PAUSED"} 1.0',
        'recsys_events_total{status="accepted"} 1.0',
        'recsys_events_total{status="duplicate"} 1.0',
        'recsys_events_total{status="rejected"} 1.0',
        'recsys_request_seconds_count{route="/v1/recommendations",status="200"} 1.0',
        f'recsys_model_info{{policy="bank@{load_pack(PolicyName.BANK).version}",version="test@1"}} 1.0',
    ):
        assert line in text
    assert "made" not in text
    assert "anna" not in text


def test_openapi_names_security_problems_and_examples(service: Service) -> None:
    document = service.client.get("/openapi.json").json()
    route = document["paths"]["/v1/recommendations"]["post"]
    assert {"200", "400", "401", "403", "422"} <= set(route["responses"])
    assert "application/problem+json" in route["responses"]["422"]["content"]
    assert route["security"]
    for name in ("RecommendationRequest", "EventBatch"):
        assert document["components"]["schemas"][name]["examples"]
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_docs_page_is_there(service: Service) -> None:
    assert service.client.get("/docs").status_code == 200
