"""What operators see: Prometheus metrics in a registry of the app's own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

LATENCY_BUCKETS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
AGE_BUCKETS = (1.0, 60.0, 3600.0, 6 * 3600.0, 86_400.0, 2 * 86_400.0, 7 * 86_400.0, 30 * 86_400.0, 90 * 86_400.0)


class Metrics:
    """All metrics of one worker."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.latency = Histogram(
            "recsys_request_seconds",
            "Time to answer",
            ["route", "status"],
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.stages = Histogram(
            "recsys_stage_seconds", "Time per stage", ["stage"], buckets=LATENCY_BUCKETS, registry=self.registry
        )
        self.modes = Counter("recsys_answers", "Answers by mode", ["mode"], registry=self.registry)
        self.empty = Counter("recsys_empty_placements", "Placements without an item", registry=self.registry)
        self.removals = Counter(
            "recsys_policy_removals", "Candidates removed, by rule", ["rule"], registry=self.registry
        )
        self.shed = Counter("recsys_shed", "Requests refused because too many were in progress", registry=self.registry)
        self.admitted = Gauge(
            "recsys_admitted",
            "How many answers may be in progress now: fewer while more is asked than can be answered",
            registry=self.registry,
            multiprocess_mode="livemin",
        )
        self.events = Counter("recsys_events", "Events by result", ["status"], registry=self.registry)
        self.failures = Counter(
            "recsys_dependency_failures", "Failed calls of a dependency", ["dependency"], registry=self.registry
        )
        self.up = Gauge(
            "recsys_dependency_up",
            "0 while a dependency counts as down",
            ["dependency"],
            registry=self.registry,
            multiprocess_mode="livemin",
        )
        self.model = Gauge(
            "recsys_model_info",
            "The model and the policy that are served",
            ["version", "policy"],
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        self.reloads = Counter(
            "recsys_reloads", "Reloads of the champion and the policy", ["part", "result"], registry=self.registry
        )
        self.reload_refused = Gauge(
            "recsys_reload_refused",
            "1 while what is new cannot be taken",
            ["part"],
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        self.violations = Counter(
            "recsys_violations", "Items that the last look found unlawful, and took out: 0", registry=self.registry
        )
        self.feature_age = Histogram(
            "recsys_feature_age_seconds",
            "How old the features of answers were, by view",
            ["view"],
            buckets=AGE_BUCKETS,
            registry=self.registry,
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
