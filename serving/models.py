"""The model that is in force: one reference, which a reload replaces as a whole."""

from threading import Lock

from serving.loading import ServedModel
from serving.metrics import Metrics


class ModelHolder:
    """Holds the model in force.

    Who takes more than one step reads `current` once and goes on with what he got: so no answer mixes two models.
    """

    def __init__(self, model: ServedModel, metrics: Metrics) -> None:
        self._current = model
        self._metrics = metrics
        self._lock = Lock()
        metrics.model.labels(model.version, model.policy_version).set(1)

    @property
    def current(self) -> ServedModel:
        """What is served now."""
        return self._current

    def swap(self, model: ServedModel) -> None:
        """Serves another model from the next request on; requests in progress end with the one that they began with."""
        with self._lock:
            before, self._current = self._current, model
            self._metrics.model.labels(before.version, before.policy_version).set(0)
            self._metrics.model.labels(model.version, model.policy_version).set(1)
