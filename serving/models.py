"""The model that is in force: one reference, which a reload replaces as a whole."""

from threading import Lock
from typing import Final

from recsys.decisions.catalogue import Catalogue
from serving.loading import ServedModel
from serving.metrics import Metrics

KEPT_CATALOGUES: Final = 8
"""Earlier catalogues whose decisions can be paged through."""


class ModelHolder:
    """Holds the model in force.

    Who takes more than one step reads `current` once and goes on with what he got: so no answer mixes two models.
    """

    def __init__(self, model: ServedModel, metrics: Metrics) -> None:
        self._current = model
        self._metrics = metrics
        self._lock = Lock()
        self._catalogues = {model.catalogue_version: model.pipeline.catalogue}
        metrics.model.labels(model.version, model.policy_version).set(1)

    @property
    def current(self) -> ServedModel:
        """What is served now."""
        return self._current

    def catalogue(self, version: str) -> Catalogue | None:
        """The catalogue of a version that is served, or was a short time ago."""
        return self._catalogues.get(version)

    def swap(self, model: ServedModel) -> None:
        """Serves another model from the next request on; requests in progress end with the one that they began with."""
        with self._lock:
            before, self._current = self._current, model
            earlier = [pair for pair in self._catalogues.items() if pair[0] != model.catalogue_version]
            kept = [*earlier[1 - KEPT_CATALOGUES :], (model.catalogue_version, model.pipeline.catalogue)]
            self._catalogues = dict(kept)
            self._metrics.model.labels(before.version, before.policy_version).set(0)
            self._metrics.model.labels(model.version, model.policy_version).set(1)
