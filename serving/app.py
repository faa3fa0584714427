"""The HTTP service."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

from fastapi import FastAPI

from recsys.home import Home
from serving.auth.exposure import check_exposure, make_verifier
from serving.bounds import BodyLimitMiddleware, LocalOnlyMiddleware
from serving.campaigns.opening import open_workshop
from serving.champion import load_components
from serving.decision_log import JOURNAL_FOLDER, DecisionLog
from serving.dependencies import Services
from serving.deprecations import DEPRECATIONS
from serving.engine import Clock, RecommendationEngine, utc_now
from serving.erased import ErasedCustomers
from serving.event_checks import EventChecker, EventLimits
from serving.guard import Guard, GuardConfig, UnavailableError
from serving.headers import API_VERSION, default_headers
from serving.idempotency import Idempotency
from serving.ingest import EventIngestor
from serving.loading import Components
from serving.logs import configure_logs
from serving.metrics import Metrics
from serving.middleware import RequestMiddleware
from serving.models import ModelHolder
from serving.overload import OverloadMiddleware
from serving.paging import Pager
from serving.problems import install_problem_handlers
from serving.process import settle
from serving.rate_limits import make_rate_limiter
from serving.reading import AnswerSources, CustomerReader
from serving.reload import Reloader, poll_forever
from serving.routes import (
    audit,
    campaigns,
    catalogue,
    catalogue_reads,
    consents,
    decisions,
    events,
    health,
    recommendations,
)
from serving.schemas_catalogue import MAX_PUT_BYTES
from serving.settings import Mode, Settings, read_settings
from serving.store.database import StoreError
from serving.store.quarantine import Quarantine
from serving.tokens import CursorSigner, Signers, TrackingSigner
from serving.tracing import Tracer, make_tracer
from serving.web.pages import ASSETS, static_files
from serving.web.reference import install_reference
from serving.web.showcase import routes as page
from serving.web.showcase.showcase import Showcase
from serving.web.studio.install import install_studio

WRITE_THREADS = 4
RELEASE_SECONDS = 5.0
"""How often quarantined events are looked at."""
IDEMPOTENCY_SECONDS = 1.0
"""How long a request with an Idempotency-Key waits for the store; then it is answered without its promise."""
DESCRIPTION = """Ranked products and creatives for a bank's customers, with the reasons for them.

The customer is the one that the bearer token names. Errors are problem details (RFC 9457)."""


def create_app(
    settings: Settings,
    load: Callable[[Settings], Components] = load_components,
    clock: Clock = utc_now,
    ready: Callable[[], None] = lambda: None,
) -> FastAPI:
    """The application; everything is loaded, checked and warmed when it starts, not before.

    Args:
        settings: the operator's.
        load: gets what a request needs; raises a RecsysError where the service must not start.
        clock: the present.
        ready: called once everything is loaded.

    Raises:
        ConfigError: it would stand open to others.
    """
    check_exposure(settings)
    metrics, tracer = Metrics(), make_tracer(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        components = load(settings)
        log = DecisionLog(settings.home / JOURNAL_FOLDER, components.store, metrics, settings.journal_fsync)
        app.state.services = services = build_services(settings, components, log, metrics, clock)
        app.state.showcase = Showcase(settings, components.store)
        await services.tokens.start()
        services.ingestor.apply_all_pending()
        ready()
        async with reloading(services.reloader, settings.reload_seconds), _meanwhile(release_forever(services)):
            yield
        services.workshop.runner.close()
        await services.limiter.close()
        services.engine.close()
        services.idempotency.close()
        services.writes.close()
        log.close()
        components.store.close()
        tracer.close()

    docs = settings.mode is Mode.LOCAL if settings.docs is None else settings.docs
    app = FastAPI(
        title="Recommendations",
        version=API_VERSION,
        description=DESCRIPTION,
        lifespan=lifespan,
        openapi_url="/openapi.json" if docs else None,
        docs_url=None,  # FastAPI's own page has its script from elsewhere
        redoc_url=None,
    )
    app.state.deprecations = DEPRECATIONS
    protect(app, settings, metrics, tracer)
    install_problem_handlers(app)
    add_routes(app, settings)
    if docs:
        install_reference(app)
    return app


def add_routes(app: FastAPI, settings: Settings) -> None:
    """The API, the pages, and what these are drawn with."""
    for module in (recommendations, decisions, events, consents, catalogue, catalogue_reads, campaigns, audit, health):
        app.include_router(module.router)
    for router in page.LOCAL if settings.mode is Mode.LOCAL else page.PRODUCTION:
        app.include_router(router)
    install_studio(app, settings)
    app.mount(ASSETS, static_files())


def protect(app: FastAPI, settings: Settings, metrics: Metrics, tracer: Tracer) -> None:
    """What every request passes, the last one first."""
    app.add_middleware(OverloadMiddleware, limit=settings.max_in_progress, metrics=metrics)
    larger = {"/v1/catalogue/": MAX_PUT_BYTES}
    app.add_middleware(BodyLimitMiddleware, default=settings.max_body_kb << 10, larger=larger)
    if settings.mode is Mode.LOCAL:
        app.add_middleware(LocalOnlyMiddleware)
    app.add_middleware(RequestMiddleware, metrics=metrics, defaults=default_headers(settings.mode), tracer=tracer)


@asynccontextmanager
async def reloading(reloader: Reloader | None, seconds: float) -> AsyncIterator[None]:
    """Looks for new models and policies meanwhile."""
    if reloader is None or not seconds:
        yield
        return
    async with _meanwhile(poll_forever(reloader, seconds)):
        yield


@asynccontextmanager
async def _meanwhile(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Works beside what is done in it, and stops with it."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def release_forever(services: Services, seconds: float = RELEASE_SECONDS) -> None:
    """Looks into the quarantine now and then; a store that is down is its guard's business."""
    while True:
        await asyncio.sleep(seconds)
        with suppress(UnavailableError):
            await services.writes.call(services.ingestor.release_quarantined)


def build_services(
    settings: Settings, components: Components, log: DecisionLog, metrics: Metrics, clock: Clock
) -> Services:
    """The parts of a running service."""
    key = settings.signing_key()
    signers = Signers(TrackingSigner(key), CursorSigner(key))
    models = ModelHolder(components.model, metrics)
    customers = CustomerReader(components, metrics, settings.read_timeout_ms / 1000)
    engine = RecommendationEngine(AnswerSources(models, customers), log, signers, metrics, clock)
    patience = GuardConfig(settings.write_timeout_ms / 1000, WRITE_THREADS)
    limits = EventLimits(timedelta(seconds=settings.max_future_seconds), timedelta(hours=settings.max_late_hours))
    quarantine = Quarantine(components.store, settings.home / JOURNAL_FOLDER)
    checker = EventChecker(signers.tracking, ErasedCustomers(Home(settings.home)), limits, quarantine)
    source = components.source
    return Services(
        models=models,
        engine=engine,
        pager=Pager(engine, models, log, components.store, signers.cursors),
        ingestor=EventIngestor(components, models, checker, metrics, clock),
        writes=Guard("sql_writes", patience, metrics, StoreError),
        log=log,
        store=components.store,
        metrics=metrics,
        clock=clock,
        catalogue=components.catalogue,
        reloader=None if source is None else Reloader(models, source, metrics),
        tokens=make_verifier(settings, metrics),
        idempotency=Idempotency(
            components.store,
            Guard("idempotency", GuardConfig(IDEMPOTENCY_SECONDS, WRITE_THREADS), metrics, StoreError),
            key.encode(),
            timedelta(hours=settings.idempotency_hours),
        ),
        limiter=make_rate_limiter(settings, metrics),
        settings=settings,
        workshop=open_workshop(settings, components.store, models, clock),
    )


def app_from_environment() -> FastAPI:
    """What each of several workers runs: the settings come from the environment."""
    settings = read_settings()
    configure_logs(settings)
    return create_app(settings, ready=settle)
