"""What a server counts: for Prometheus, and for whoever looks on from the same process."""

from collections import deque
from collections.abc import Callable
from typing import Any, Literal, get_args

from .._base import require

Outcome = Literal["answered", "invalid", "refused", "expired", "failed", "left"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
RECENT = 1000  # so many of the latest batches and latencies are kept
LATENCY_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


def outcome_of(status: int) -> Outcome:
    """Return what a status says of a request."""
    special: dict[int, Outcome] = {503: "refused", 504: "expired"}
    if status in special:
        return special[status]
    return "answered" if status < 400 else "invalid" if status < 500 else "failed"


class ModelMetrics:
    """The counts of one model.

    Requests are counted where they end, on the loop's thread; batches on the worker's.
    """

    def __init__(self, name: str, registry: "Registry", queued: Callable[[], float]) -> None:
        self.counts: dict[Outcome, int] = dict.fromkeys(OUTCOMES, 0)
        self.in_flight = 0
        self.latencies_ms: deque[float] = deque(maxlen=RECENT)
        self.batch_sizes: deque[int] = deque(maxlen=RECENT)
        self.queued = queued
        self._outcomes = {o: registry.requests.labels(name, o) for o in OUTCOMES}
        self._seconds = registry.seconds.labels(name)
        self._batches = registry.batches.labels(name)
        registry.queued.labels(name).set_function(queued)
        registry.in_flight.labels(name).set_function(lambda: self.in_flight)

    def ended(self, outcome: Outcome, seconds: float) -> None:
        """Count a request; its time too, if it was answered."""
        self.counts[outcome] += 1
        self._outcomes[outcome].inc()
        if outcome == "answered":
            self.latencies_ms.append(seconds * 1000)
            self._seconds.observe(seconds)

    def ran(self, rows: int, _seconds: float) -> None:
        """Count a call of the model."""
        self.batch_sizes.append(rows)
        self._batches.observe(rows)

    def stats(self) -> dict[str, Any]:
        """Return the counts so far, and the latest batches and latencies, as plain values."""
        return {
            **{str(outcome): n for outcome, n in self.counts.items()},
            "in_flight": self.in_flight,
            "queue_length": self.queued(),
            "recent_batch_sizes": list(self.batch_sizes.copy()),
            "recent_latencies_ms": list(self.latencies_ms.copy()),
        }


class Registry:
    """The Prometheus metrics of one app; two apps in one process don't share them."""

    def __init__(self) -> None:
        prometheus = require("prometheus_client", extra="serve")
        self._registry = prometheus.CollectorRegistry()
        self._text = prometheus.generate_latest
        self.content_type: str = prometheus.CONTENT_TYPE_LATEST
        model = {"labelnames": ["model"], "registry": self._registry}
        self.requests = prometheus.Counter(
            "inferkit_requests", "Requests by how they ended.", ["model", "outcome"], registry=self._registry
        )
        self.seconds = prometheus.Histogram(
            "inferkit_request_seconds", "From a request's arrival to its answer.", buckets=LATENCY_BUCKETS_S, **model
        )
        self.batches = prometheus.Histogram(
            "inferkit_batch_rows", "Rows in a call of the model.", buckets=BATCH_BUCKETS, **model
        )
        self.queued = prometheus.Gauge("inferkit_queue_length", "Requests that wait for the model.", **model)
        self.in_flight = prometheus.Gauge("inferkit_in_flight", "Requests under way, waiting ones included.", **model)

    def text(self) -> bytes:
        """Return the metrics as Prometheus reads them."""
        text: bytes = self._text(self._registry)
        return text


def total(stats: list[dict[str, Any]]) -> dict[str, Any]:
    """Add up the counts of several models; their recent values follow each other."""
    return {name: sum((one[name] for one in stats[1:]), start=stats[0][name]) for name in stats[0]}
