"""What Prometheus asks for: requests as they were answered, and how the server is at the moment."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from flask import Flask, Response, current_app, g, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from fedflow.federation.rounds import Status
from fedflow.server.api import current
from fedflow.server.api.problems import PROBLEMS
from fedflow.server.services import audit_looks, system
from fedflow.server.services.jobs import QUEUED, RUNNING
from fedflow.server.store import Store

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
TEXT = {"description": "Prometheus's text format.", "content": {"text/plain": {}}}
EXTENSION = "fedflow_metrics"

blueprint = APIBlueprint(
    "metrics", __name__, abp_tags=[Tag(name="health")], abp_responses=PROBLEMS, abp_security=[{"bearer": []}]
)


class Requests:
    """Counts of this process, by endpoint, so that no identifier in an address makes a series of its own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.answered = Counter(
            "fedflow_requests", "Requests answered.", ("endpoint", "method", "status"), registry=registry
        )
        self.seconds = Histogram(
            "fedflow_request_seconds", "Time until an answer.", ("endpoint",), buckets=BUCKETS_S, registry=registry
        )

    def note(self, endpoint: str, method: str, status: int, seconds: float) -> None:
        """One more."""
        self.answered.labels(endpoint, method, status).inc()
        self.seconds.labels(endpoint).observe(seconds)


class Now(Collector):
    """The server at the moment that it is asked."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """As prometheus_client asks."""
        now = system.system(self._store)
        yield _gauge(
            "fedflow_runs", "Runs by status.", {(status,): now.runs.get(status, 0) for status in Status}, "status"
        )
        yield CounterMetricFamily("fedflow_runs_failed", "How often runs have failed.", now.runs_failed)
        yield _gauge(
            "fedflow_jobs",
            "Jobs by kind and status.",
            {(pile.kind, pile.status): pile.count for pile in now.jobs},
            "kind",
            "status",
        )
        yield _gauge(
            "fedflow_oldest_job_seconds",
            "Time since the oldest job that is not done was asked for, by kind and status.",
            {(pile.kind, pile.status): pile.oldest_s for pile in now.jobs if pile.status in (QUEUED, RUNNING)},
            "kind",
            "status",
        )
        yield _gauge(
            "fedflow_store_bytes", "Stored files.", {(kind,): n for kind, n in now.store_bytes.items()}, "kind"
        )
        for name, help_, value in (
            ("fedflow_disk_free_bytes", "Free on the store's disk.", now.disk_free_bytes),
            ("fedflow_database_bytes", "Size of the database.", now.database_bytes or 0),
            ("fedflow_uploads_bytes", "Of uploads that are not complete.", now.uploads_bytes),
            ("fedflow_devices_seen", "Devices that called within two minutes.", now.devices_seen),
            ("fedflow_members", "Members of all federations.", now.members),
            ("fedflow_people", "Accounts.", now.people),
        ):
            yield _gauge(name, help_, {(): value})
        faults = audit_looks.faults(self._store)
        yield _gauge(
            "fedflow_audit_faults",
            "Faults that the last look at the audit log found.",
            {} if faults is None else {(): len(faults)},
        )


@blueprint.get("/metrics", responses={200: TEXT})
def metrics() -> Response:
    """Figures for Prometheus; it asks with the token of an administrator."""
    registry = CollectorRegistry()
    registry.register(Now(current.store()))
    text = generate_latest(current_app.extensions[EXTENSION]) + generate_latest(registry)
    return Response(text, content_type=CONTENT_TYPE_LATEST)


def set_up(app: Flask) -> None:
    """Count every request of `app`."""
    registry = CollectorRegistry()
    requests = Requests(registry)
    app.extensions[EXTENSION] = registry

    def note(response: Response) -> Response:
        seconds = time.perf_counter() - g.begun if "begun" in g else 0.0
        requests.note(request.endpoint or "none", request.method, response.status_code, seconds)
        return response

    app.after_request(note)


def _gauge(name: str, text: str, values: Mapping[tuple[str, ...], float], *labels: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family
