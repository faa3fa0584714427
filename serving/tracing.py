"""OpenTelemetry traces of requests: off unless an endpoint is set, and without anything that says who is asked about.

A span has the route's template, not the path, and neither headers nor bodies: ids of customers are in all of them.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Protocol

from starlette.types import Scope

from serving.settings import Settings

SERVICE: Final = "recsys"
_PARENT: Final = (b"traceparent", b"tracestate")


class Tracer(Protocol):
    """Makes spans."""

    def request(self, scope: Scope) -> AbstractContextManager[Any]:
        """The span of one request, a child of the caller's where he sent one."""

    def finish(self, span: Any, route: str, status: int, request_id: str) -> None:
        """Says what became of the request."""

    def close(self) -> None:
        """Sends what has not been sent."""


class NoTracer:
    """Makes none."""

    def request(self, scope: Scope) -> AbstractContextManager[Any]:
        """Nothing."""
        return nullcontext()

    def finish(self, span: Any, route: str, status: int, request_id: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class OtlpTracer:
    """Makes spans with OpenTelemetry.

    Args:
        provider: the SDK's; it exports, in a thread of its own.
    """

    def __init__(self, provider: Any) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer(SERVICE)
        self._propagator = TraceContextTextMapPropagator()

    def request(self, scope: Scope) -> AbstractContextManager[Any]:
        """The span of one request, current while it lasts."""
        from opentelemetry.trace import SpanKind

        carrier: Mapping[str, str] = {
            name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in _PARENT
        }
        parent = self._propagator.extract(carrier) if carrier else None
        attributes = {"http.request.method": scope["method"]}
        span: AbstractContextManager[Any] = self._tracer.start_as_current_span(
            scope["method"],
            context=parent,
            kind=SpanKind.SERVER,
            attributes=attributes,
            record_exception=False,  # its message may hold what was sent
            set_status_on_exception=False,
        )
        return span

    def finish(self, span: Any, route: str, status: int, request_id: str) -> None:
        """Names the span after its route."""
        from opentelemetry.trace import StatusCode

        span.update_name(f"{span.attributes['http.request.method']} {route}")
        span.set_attributes({"http.route": route, "http.response.status_code": status, "recsys.request_id": request_id})
        if status >= 500:
            span.set_status(StatusCode.ERROR)

    def close(self) -> None:
        """Sends what has not been sent."""
        self._provider.shutdown()


def make_tracer(settings: Settings) -> Tracer:
    """What the settings want: nothing, or spans that go to an OTLP collector over HTTP."""
    if settings.otlp_endpoint is None:
        return NoTracer()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": SERVICE}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.otlp_endpoint)))
    return OtlpTracer(provider)
