"""What the front counts, as Prometheus text (P37)."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

# From a cached answer to an upload of half a gigabyte.
LATENCY_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)


class Metrics:
    """The front's metrics on a registry of their own, to which other parts add theirs."""

    content_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "freewill_http_requests",
            "Requests answered.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self.latency = Histogram(
            "freewill_http_request_seconds",
            "Time to answer, seconds.",
            ("route",),
            buckets=LATENCY_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self.errors = Counter(
            "freewill_http_errors", "Errors answered, by code.", ("code",), registry=self.registry
        )
        self.uploads = Counter(
            "freewill_uploads", "Form uploads, by outcome.", ("outcome",), registry=self.registry
        )
        self.upload_bytes = Counter(
            "freewill_upload_bytes", "Bytes of uploads received.", registry=self.registry
        )
        self.events = Counter(
            "freewill_client_events", "Engagement events, by outcome.", ("outcome",), registry=self.registry
        )
        self.sockets = Gauge(
            "freewill_notification_connections",
            "Open notification connections, by kind.",
            ("kind",),
            registry=self.registry,
        )
        self.redis_failures = Counter(
            "freewill_redis_failures",
            "What was done without Redis because it was away, by use.",
            ("use",),
            registry=self.registry,
        )
        self.media_bytes = Counter("freewill_media_bytes", "Bytes of media served.", registry=self.registry)

    def render(self) -> bytes:
        """Return the text of all metrics."""
        return generate_latest(self.registry)
