"""What a service counts, for Prometheus: in a registry of its own, so that two services in one process do not meet."""

import time
from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assets.serving.retrieval.admission import Admission
from assets.serving.retrieval.follower import Follower

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
OTHER: Final = "other"


class Meters:
    """Requests by path and status, their seconds, and the state of the index."""

    def __init__(self, follower: Follower, admission: Admission) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("thaw_requests", "Requests answered.", ["path", "status"], registry=self.registry)
        self.seconds = Histogram(
            "thaw_request_seconds", "Seconds to answer.", ["path"], registry=self.registry, buckets=SECONDS
        )
        self.registry.register(_IndexState(follower))
        self.registry.register(_QueueState(admission))


class _IndexState(Collector):
    """Read when somebody asks."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower

    def collect(self) -> Iterator[Metric]:
        follower, retriever = self._follower, self._follower.retriever
        yield GaugeMetricFamily("thaw_ready", "Whether an index is loaded.", value=float(retriever is not None))
        yield CounterMetricFamily("thaw_deltas_applied", "Updates of the index seen.", value=follower.deltas)
        yield CounterMetricFamily("thaw_refresh_errors", "Failed looks for updates.", value=follower.errors)
        if retriever is not None:
            yield GaugeMetricFamily("thaw_index_items", "Items in the index.", value=retriever.size)
            yield GaugeMetricFamily("thaw_index_seq", "Number of the last delta seen.", value=retriever.version.seq)
            yield GaugeMetricFamily("thaw_index_lag", "Deltas written and not seen yet.", value=retriever.lag)


class _QueueState(Collector):
    """Read when somebody asks."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("thaw_queries_running", "Queries computed now.", value=self._admission.running)
        yield GaugeMetricFamily("thaw_queries_waiting", "Queries that wait for a turn.", value=self._admission.waiting)
        yield CounterMetricFamily("thaw_queries_refused", "Queries refused: too many.", value=self._admission.refused)


class MeteredApp:
    """ASGI middleware: counts requests to ``paths``, and all others together, lest a path per typo is kept."""

    def __init__(self, app: ASGIApp, meters: Meters, paths: frozenset[str]) -> None:
        self._app, self._meters, self._paths = app, meters, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in self._paths else OTHER
        status, started = 500, time.perf_counter()

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            self._meters.requests.labels(path, str(status)).inc()
            self._meters.seconds.labels(path).observe(time.perf_counter() - started)
