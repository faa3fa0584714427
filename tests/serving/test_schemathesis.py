"""Whatever is sent to any route: never a 5xx, and never an answer that the OpenAPI document does not describe.

Schemathesis makes requests from the document, valid and invalid ones, and sends them to the real server over a socket.
"""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import SearchStrategy
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from serving.live_server import free_port
from serving.testing import Service, bearer, token_of

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 2
"""Of every route, kind of request and caller; the slow test sends eighty times as many."""
BOUNDED = settings(
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
)


@pytest.fixture
def url(service: Service) -> Iterator[str]:
    port = free_port()
    # The service has started: its parts are used by a server in another loop, as they are by another request.
    server = uvicorn.Server(uvicorn.Config(service.app, port=port, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


def send_to_every_route(url: str, examples: int, only: str = "") -> int:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations() if only in found.ok().label]
    failures: list[str] = []
    for operation in operations:
        for token, mode in (
            (token_of(None), GenerationMode.POSITIVE),
            (token_of(None), GenerationMode.NEGATIVE),
            (token_of("anna"), GenerationMode.POSITIVE),
        ):
            try:
                send(operation.as_strategy(generation_mode=mode), token, examples)
            except (AssertionError, FailureGroup, Failure) as error:
                failures.append(f"{operation.label} ({mode.value}): {error}")
            except Unsatisfiable:
                assert mode is GenerationMode.NEGATIVE  # a route that takes nothing cannot be sent anything wrong
    assert not failures, "\n\n".join(failures)
    return len(operations)


def send(cases: SearchStrategy[Any], token: str, examples: int) -> None:
    @seed(20260501)
    @settings(BOUNDED, max_examples=examples)
    @given(case=cases)
    def run(case: schemathesis.Case) -> None:
        case.call_and_validate(headers=bearer(token), checks=CHECKS)

    run()


def test_every_route_survives_what_it_may_be_sent(url: str) -> None:
    assert send_to_every_route(url, EXAMPLES) >= 16


@pytest.mark.slow
def test_every_route_survives_much_more(url: str) -> None:
    send_to_every_route(url, 80 * EXAMPLES)


def test_answer_that_the_document_does_not_describe_is_found(service: Service, url: str) -> None:
    responses = service.app.openapi()["paths"]["/v1/events"]["post"]["responses"]
    del responses["422"]
    with pytest.raises(AssertionError, match="Undocumented status code"):
        send_to_every_route(url, EXAMPLES, only="/v1/events")
