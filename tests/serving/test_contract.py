"""The API's contract: what is accepted holds, and every kind of break is found."""

from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel, Field, TypeAdapter
from typer.testing import CliRunner

from recsys.cli.app import app
from recsys.errors import RecsysError
from serving import contract, schemas
from serving.contract import accepted_document, breaking_changes, present_document
from serving.deprecations import DEPRECATIONS, Deprecation, headers_of, note_fields
from serving.languages import accepted_language
from serving.testing import Service, bearer, token_of

Document = dict[str, Any]
PAGE = "/v1/decisions/{decision_id}/items"


@pytest.fixture(scope="module")
def present() -> Document:
    return present_document()


def test_api_keeps_its_contract(present: Document) -> None:
    """A break on purpose: deprecate first; then `recsys openapi --accept`."""
    assert breaking_changes(accepted_document(), present) == []


def test_document_is_openapi_3_1_with_examples_that_fit(present: Document) -> None:
    assert present["openapi"].startswith("3.1")
    parts = present["components"]["schemas"]
    for name in ("RecommendationRequest", "EventBatch", "ConsentBatch", "RecommendationResponse"):
        assert parts[name]["examples"], name
        model = TypeAdapter(getattr(schemas, name))
        for example in parts[name]["examples"]:
            model.validate_python(example)


def schema(document: Document, name: str) -> Document:
    found: Document = document["components"]["schemas"][name]
    return found


def lose_path(document: Document) -> None:
    del document["paths"]["/v1/events"]


def lose_method(document: Document) -> None:
    document["paths"]["/v1/events"]["put"] = document["paths"]["/v1/events"].pop("post")


def lose_answer(document: Document) -> None:
    responses = document["paths"]["/v1/events"]["post"]["responses"]
    responses["202"] = responses.pop("200")


def require_parameter(document: Document) -> None:
    document["paths"][PAGE]["get"]["parameters"].append(
        {"in": "query", "name": "new", "required": True, "schema": {"type": "string"}}
    )


def require_known_parameter(document: Document) -> None:
    limit = next(one for one in document["paths"][PAGE]["get"]["parameters"] if one["name"] == "limit")
    limit["required"] = True


def lose_parameter(document: Document) -> None:
    parameters = document["paths"][PAGE]["get"]["parameters"]
    document["paths"][PAGE]["get"]["parameters"] = [one for one in parameters if one["name"] != "limit"]


def lose_field_of_answer(document: Document) -> None:
    del schema(document, "ItemOut")["properties"]["title"]


def lose_field_of_request(document: Document) -> None:
    del schema(document, "RecommendationRequest")["properties"]["channel"]


def require_field(document: Document) -> None:
    schema(document, "EventIn")["required"].append("product_id")


def new_required_field(document: Document) -> None:
    part = schema(document, "PlacementIn")
    part["properties"]["colour"] = {"type": "string"}
    part["required"].append("colour")


def lose_value(document: Document) -> None:
    schema(document, "Kind")["enum"].remove("contents")


def lose_value_of_answer(document: Document) -> None:
    schema(document, "EventResult")["properties"]["status"]["enum"].remove("duplicate")


def narrow_type(document: Document) -> None:
    schema(document, "EventIn")["properties"]["value"] = {"type": "integer"}


def no_null_any_more(document: Document) -> None:
    schema(document, "RecommendationRequest")["properties"]["channel"] = {"type": "string"}


def narrow_bound(document: Document) -> None:
    schema(document, "PlacementIn")["properties"]["limit"]["maximum"] = 10


def narrow_list(document: Document) -> None:
    schema(document, "EventBatch")["properties"]["events"]["maxItems"] = 100


def widen_answer(document: Document) -> None:
    schema(document, "ItemOut")["properties"]["title"] = {"anyOf": [{"type": "string"}, {"type": "null"}]}


def may_be_missing(document: Document) -> None:
    schema(document, "ItemOut")["required"].remove("tracking_token")


def new_pattern(document: Document) -> None:
    schema(document, "EventIn")["properties"]["event_id"]["pattern"] = "^e"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lose_path, "/v1/events: is gone"),
        (lose_method, "POST /v1/events: is gone"),
        (lose_answer, "the answer 200 is gone"),
        (require_parameter, "parameter new: is new and required"),
        (require_known_parameter, "parameter limit: is required now"),
        (lose_parameter, "parameter limit: is gone"),
        (lose_field_of_answer, ".title: is gone"),
        (lose_field_of_request, ".channel: is gone"),
        (require_field, ".product_id: is required now"),
        (new_required_field, ".colour: is required now"),
        (lose_value, "the value contents is gone"),
        (lose_value_of_answer, "the value duplicate is gone"),
        (narrow_type, ".value: is integer"),
        (no_null_any_more, ".channel: is string, was null or string"),
        (narrow_bound, ".limit: maximum is 10, was 50"),
        (narrow_list, ".events: maxItems is 100, was 500"),
        (widen_answer, ".title: may be null or string, was string"),
        (may_be_missing, ".tracking_token: may be missing now"),
        (new_pattern, ".event_id: pattern is ^e"),
    ],
)
def test_breaking_change_is_found(change: Callable[[Document], None], said: str, present: Document) -> None:
    changed = deepcopy(present)
    change(changed)
    assert any(said in line for line in breaking_changes(present, changed)), breaking_changes(present, changed)


def test_addition_is_no_break(present: Document) -> None:
    more = deepcopy(present)
    more["paths"]["/v1/new"] = {"get": {"responses": {"200": {}}}}
    schema(more, "RecommendationRequest")["properties"]["extra"] = {"type": "string"}
    schema(more, "ItemOut")["properties"]["extra"] = {"type": "string"}
    schema(more, "PlacementIn")["properties"]["limit"]["maximum"] = 100
    schema(more, "Kind")["enum"].append("places")
    more["paths"][PAGE]["get"]["parameters"].append({"in": "query", "name": "new", "schema": {"type": "string"}})
    assert breaking_changes(present, more) == []


def test_command_checks_and_accepts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, present: Document) -> None:
    file = tmp_path / "openapi.json"
    monkeypatch.setattr(contract, "BASELINE", file)
    old = deepcopy(present)
    schema(old, "ItemOut")["properties"]["gone"] = {"type": "string"}
    contract.accept(old)
    refused = CliRunner().invoke(app, ["openapi", "--check"]).exception
    assert isinstance(refused, RecsysError)
    assert ".gone: is gone" in str(refused)
    assert "recsys openapi --accept" in str(refused)
    assert CliRunner().invoke(app, ["openapi", "--accept"]).exit_code == 0
    assert "keeps its contract" in CliRunner().invoke(app, ["openapi", "--check"]).output
    assert '"openapi": "3.1' in CliRunner().invoke(app, ["openapi"]).output


# -- deprecation


OLD = Deprecation(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC), "https://bank.example/old")
OLDER = Deprecation(datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC), "https://bank.example/older")


def test_deprecated_route_and_field_are_told_in_headers(service: Service) -> None:
    token = bearer(token_of("anna"))
    body = {"placements": [{"name": "home", "kind": "products", "limit": 1}]}
    service.app.state.deprecations = {"POST /v1/recommendations": OLD, "PlacementIn.limit": OLDER}
    both = service.client.post("/v1/recommendations", json=body, headers=token).headers
    assert both["deprecation"] == "@1735689600"
    assert both["sunset"] == "Wed, 01 Jul 2026 00:00:00 GMT"
    assert '<https://bank.example/older>; rel="deprecation"' in both["link"]
    assert '<https://bank.example/old>; rel="deprecation"' in both["link"]
    del body["placements"][0]["limit"]  # type: ignore[attr-defined]
    route = service.client.post("/v1/recommendations", json=body, headers=token).headers
    assert route["deprecation"] == "@1767225600"
    assert "deprecation" in service.client.post("/v1/recommendations", json=body).headers
    assert "deprecation" not in service.client.get("/livez").headers
    service.app.state.deprecations = {}
    assert "deprecation" not in service.client.post("/v1/recommendations", json=body, headers=token).headers


def test_every_deprecation_is_marked_in_the_document_and_the_other_way_round(present: Document) -> None:
    marked = {
        f"{method.upper()} {path}"
        for path, methods in present["paths"].items()
        for method, operation in methods.items()
        if operation.get("deprecated")
    }
    marked |= {
        f"{name}.{field}"
        for name, part in present["components"]["schemas"].items()
        for field, value in part.get("properties", {}).items()
        if value.get("deprecated")
    }
    assert marked == set(DEPRECATIONS)


def test_deprecated_fields_are_found_at_every_depth() -> None:
    class Inner(BaseModel):
        old: int = Field(default=0, deprecated=True)

    class Outer(BaseModel):
        parts: list[Inner]

    class FakeRequest:
        app = FastAPI()

        state = SimpleNamespace()

    request: Any = FakeRequest()
    request.app.state.deprecations = {"Inner.old": OLD}
    note_fields(request, Outer(parts=[Inner(), Inner(old=1)]))
    assert request.state.deprecated == ["Inner.old"]
    assert headers_of(["Outer.parts"], {"Inner.old": OLD}) == []


# -- languages


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (None, None),
        ("", None),
        ("zh", "zh"),
        ("fr, zh-CN;q=0.8, en;q=0.5", "zh-CN"),
        ("en;q=0.5, zh;q=0.9", "zh"),
        ("zh;q=0, en;q=0.1", "en"),
        ("fr, de", None),
        ("*", None),
        ("zh;q=2, en", "en"),
        ("en;q=abc, zh;q=0.1", "zh"),
        ("en; q = 0.1, zh ;q=0.2", "zh"),
        ("x" * 5000, None),
    ],
)
def test_accepted_language(header: str | None, found: str | None) -> None:
    assert accepted_language(header) == found


def test_recommend_language_is_the_bodys_then_the_headers_then_the_customers(service: Service) -> None:
    def ask(header: str | None, **body: Any) -> Any:
        headers = bearer(token_of("anna")) | ({} if header is None else {"Accept-Language": header})
        places = [{"name": "home", "kind": "products", "limit": 1}]
        return service.client.post("/v1/recommendations", json={"placements": places, **body}, headers=headers)

    for header, body, served in (
        ("zh-CN, en;q=0.5", {}, "zh"),
        ("zh", {"locale": "en-GB"}, "en"),
        ("fr", {}, "en"),
        (None, {}, "en"),
    ):
        answer = ask(header, **body)
        assert answer.json()["locale_served"] == served
        assert answer.headers["content-language"] == served
        assert "Accept-Language" in answer.headers["vary"]
    chinese = ask("zh").json()
    path, cursor = f"/v1/decisions/{chinese['decision_id']}/items", chinese["placements"][0]["next_cursor"]
    page = service.client.get(path, params={"cursor": cursor}, headers=bearer(token_of("anna")))
    assert page.json()["locale_served"] == page.headers["content-language"] == "zh"
