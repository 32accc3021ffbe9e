"""What is counted of a server, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Counters:
    """Figures of one server, in a registry of its own.

    Attributes:
        requests: by route, method and status.
        request_seconds: by route.
        images: that were looked at.
        failed: images that the detector failed on.
        batch_images: how many images were looked at together.
        detect_seconds: of each batch.
        lost_lines: of the log, which nobody read in time.
    """

    def __init__(self) -> None:
        self.registry = own = CollectorRegistry()
        ProcessCollector(registry=own)
        self.requests = Counter(
            "fcos_requests", "Requests answered", ("route", "method", "status"), registry=own
        )
        self.request_seconds = Histogram(
            "fcos_request_seconds",
            "From the head of a request to its answer",
            ("route",),
            registry=own,
            buckets=_SECONDS,
        )
        self.images = Counter("fcos_images", "Images looked at", registry=own)
        self.failed = Counter("fcos_failed_images", "Images the detector failed on", registry=own)
        self.batch_images = Histogram(
            "fcos_batch_images", "Images of a batch", registry=own, buckets=(1, 2, 4, 8, 16, 32, 64)
        )
        self.detect_seconds = Histogram(
            "fcos_detect_seconds", "Of a batch in the detector", registry=own, buckets=_SECONDS
        )
        self.lost_lines = Counter("fcos_lost_log_lines", "Lines nobody read", registry=own)

    def watch(self, name: str, about: str, value: Callable[[], float]) -> None:
        """Ask for a figure whenever somebody asks for all."""
        Gauge(name, about, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """Return all in Prometheus' text format."""
        return generate_latest(self.registry)
