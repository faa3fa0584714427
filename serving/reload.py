"""Takes a new champion or a new policy over while the service answers, and refuses one that is broken."""

import asyncio
import logging
from collections.abc import Callable
from enum import StrEnum
from time import monotonic
from typing import Final, NamedTuple

from recsys.policy.engine import PolicyEngine
from recsys.schema import PolicyName
from serving.loading import ModelSource, ServedModel
from serving.metrics import Metrics
from serving.models import ModelHolder

LOGGER = logging.getLogger("recsys.serving")
RETRY_SECONDS: Final = 30.0
"""When a champion that was refused is tried again though its files are what they were: loading it costs what a start
does. One whose files changed is tried at the next look."""


class Part(StrEnum):
    """What is taken over by itself."""

    REGISTRY = "registry"
    MODEL = "model"
    POLICY = "policy"
    CATALOGUE = "catalogue"


class Refusal(NamedTuple):
    """What could not be taken over."""

    what: str
    reason: str
    """The kind of failure; the log has the words, which may name paths."""
    since: float
    """On the reloader's timer."""
    files: object = None
    """Of the model, as they were."""


class Reloader:
    """Looks for a new champion and a new policy; what is in force stays where the new one is not good.

    Args:
        models: what is in force.
        source: of what is new.
        metrics: counts what was taken over and what was refused.
        timer: seconds, for when to try again.
    """

    def __init__(
        self, models: ModelHolder, source: ModelSource, metrics: Metrics, timer: Callable[[], float] = monotonic
    ) -> None:
        self._models = models
        self._source = source
        self._metrics = metrics
        self._timer = timer
        self._refusals: dict[Part, Refusal] = {}

    @property
    def detail(self) -> str | None:
        """What was refused and is still wanted; None: all that is wanted is in force."""
        model = self._models.current
        lines = [f"{refusal.what} was refused ({refusal.reason})" for refusal in list(self._refusals.values())]
        if not model.personal:
            lines.insert(0, "no version is the champion, so what is popular is served")
        if not lines:
            return None
        return f"{'; '.join(lines)}: {model.version} under {model.policy_version} stays in force; the log says why"

    def poll(self) -> None:
        """Looks once. Never raises; for one thread at a time."""
        self._poll_policy()
        self._poll_champion()
        self._poll_catalogue()

    def _poll_policy(self) -> None:
        model = self._models.current
        policy = model.pipeline.policy
        try:
            pack = self._source.policy(PolicyName(policy.pack.name))
            if pack is None:
                return
            if pack != policy.pack:
                pipeline = model.pipeline.with_policy(PolicyEngine(pack, policy.repeatable))
                self._swap(model._replace(pipeline=pipeline), Part.POLICY)
        except Exception as error:  # whatever is wrong with a pack: the last good one stays in force
            self._refuse(Part.POLICY, f"policy pack {policy.pack.name}", error)
        else:
            self._accept(Part.POLICY)

    def _poll_champion(self) -> None:
        try:
            version = self._source.champion()
        except Exception as error:  # the registry is no part of an answer
            self._refuse(Part.REGISTRY, "the registry", error)
            return
        self._accept(Part.REGISTRY)
        model = self._models.current
        if version == model.registry_version and model.personal:
            self._accept(Part.MODEL)
        elif self._may_try(Part.MODEL, what := f"champion {version}", lambda: self._source.files(version)):
            files = self._source.files(version)  # before it is read: what comes back meanwhile is seen the next time
            try:
                self._swap(self._source.load(version), Part.MODEL)
            except Exception as error:  # whatever is wrong with a bundle: the one that is served stays
                self._refuse(Part.MODEL, what, error, files)
            else:
                self._accept(Part.MODEL)

    def _poll_catalogue(self) -> None:
        """Items that changed are held back from answers until this took them over."""
        model, what = self._models.current, "the catalogue"
        try:
            revision = self._source.catalogue()
            what = f"catalogue {revision}"
            if revision == model.catalogue_revision:
                self._accept(Part.CATALOGUE)
            elif self._may_try(Part.CATALOGUE, what):
                loaded = self._source.load(model.registry_version)
                self._swap(loaded._replace(personal=model.personal), Part.CATALOGUE)
                self._accept(Part.CATALOGUE)
        except Exception as error:  # whatever is wrong with an item: what is served stays, without those that changed
            self._refuse(Part.CATALOGUE, what, error)

    def _may_try(self, part: Part, what: str, files: Callable[[], object] = lambda: None) -> bool:
        before = self._refusals.get(part)
        if before is None or before.what != what or self._timer() - before.since >= RETRY_SECONDS:
            return True
        return files() != before.files

    def _swap(self, model: ServedModel, part: Part) -> None:
        self._models.swap(model)
        self._metrics.reloads.labels(part, "taken").inc()
        LOGGER.info("%s under policy %s is in force", model.version, model.policy_version)

    def _accept(self, part: Part) -> None:
        self._refusals.pop(part, None)
        self._metrics.reload_refused.labels(part).set(0)

    def _refuse(self, part: Part, what: str, error: Exception, files: object = None) -> None:
        refusal, before = Refusal(what, type(error).__name__, self._timer(), files), self._refusals.get(part)
        if before is None or before.what != what:  # said once, not at every poll
            LOGGER.error("%s is refused: %s", what, error)
        self._refusals[part] = refusal
        self._metrics.reloads.labels(part, "refused").inc()
        self._metrics.reload_refused.labels(part).set(1)


async def poll_forever(reloader: Reloader, seconds: float) -> None:
    """Looks every so many seconds, in a thread: a model takes long to load, and answers do not wait for it."""
    while True:
        await asyncio.sleep(seconds)
        await asyncio.to_thread(reloader.poll)
