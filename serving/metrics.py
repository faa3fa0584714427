"""What operators see: Prometheus metrics in a registry of the app's own."""

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

LATENCY_BUCKETS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
AGE_BUCKETS = (1.0, 60.0, 3600.0, 6 * 3600.0, 86_400.0, 2 * 86_400.0, 7 * 86_400.0, 30 * 86_400.0, 90 * 86_400.0)


class Metrics:
    """All metrics of one worker."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._of_requests()
        self._of_answers()
        self._of_what_they_stand_on()

    def _of_requests(self) -> None:
        counter, gauge, times = self._makers()
        self.latency = times("recsys_request_seconds", "Time to answer", ["route", "status"], buckets=LATENCY_BUCKETS)
        self.stages = times("recsys_stage_seconds", "Time per stage", ["stage"], buckets=LATENCY_BUCKETS)
        self.shed = counter("recsys_shed", "Requests refused because too many were in progress")
        self.admitted = gauge(
            "recsys_admitted",
            "How many answers may be in progress now: fewer while more is asked than can be answered",
            multiprocess_mode="livemin",
        )
        self.events = counter("recsys_events", "Events by result", ["status"])

    def _of_answers(self) -> None:
        counter, _, times = self._makers()
        self.modes = counter("recsys_answers", "Answers by mode", ["mode"])
        self.empty = counter("recsys_empty_placements", "Placements without an item")
        self.removals = counter("recsys_policy_removals", "Candidates removed, by rule", ["rule"])
        self.violations = counter("recsys_violations", "Items that the last look found unlawful, and took out: 0")
        self.feature_age = times(
            "recsys_feature_age_seconds", "How old the features of answers were, by view", ["view"], buckets=AGE_BUCKETS
        )

    def _of_what_they_stand_on(self) -> None:
        counter, gauge, _ = self._makers()
        self.failures = counter("recsys_dependency_failures", "Failed calls of a dependency", ["dependency"])
        self.up = gauge(
            "recsys_dependency_up",
            "0 while a dependency counts as down",
            ["dependency"],
            multiprocess_mode="livemin",
        )
        self.model = gauge(
            "recsys_model_info",
            "The model and the policy that are served",
            ["version", "policy"],
            multiprocess_mode="livemax",
        )
        self.reloads = counter("recsys_reloads", "Reloads of the champion and the policy", ["part", "result"])
        self.reload_refused = gauge(
            "recsys_reload_refused", "1 while what is new cannot be taken", ["part"], multiprocess_mode="livemax"
        )

    def _makers(self) -> "tuple[partial[Counter], partial[Gauge], partial[Histogram]]":
        registry = self.registry
        return (
            partial(Counter, registry=registry),
            partial(Gauge, registry=registry),
            partial(Histogram, registry=registry),
        )


class StageTimes:
    """How long each stage of one request took, several visits together.

    Args:
        metrics: get the sums.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._stages = metrics.stages
        self._seconds: dict[str, float] = {}

    def once(self, stage: str, seconds: float) -> None:
        """The only visit."""
        self._stages.labels(stage).observe(seconds)

    def add(self, stage: str, seconds: float) -> None:
        """One visit."""
        self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds

    def tell(self) -> None:
        """Hands the sums over, once the request is answered."""
        for stage, seconds in self._seconds.items():
            self._stages.labels(stage).observe(seconds)
