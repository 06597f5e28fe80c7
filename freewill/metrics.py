"""What the streams of an instance count, beside the front's metrics (P37)."""

from prometheus_client import CollectorRegistry, Counter, Histogram

ENCODE_BUCKETS_SECONDS = (1, 2, 5, 10, 20, 40, 80, 160, 320, 640, 1280)


class NodeMetrics:
    """Counters of relay, encodes and dead letters on the front's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics."""
        self.relayed = Counter("freewill_outbox_rows", "Outbox rows moved to the log.", registry=registry)
        self._encodes = Histogram(
            "freewill_encode_seconds",
            "Time of one encode, seconds, by outcome.",
            ("outcome",),
            buckets=ENCODE_BUCKETS_SECONDS,
            registry=registry,
        )
        self._dead = Counter(
            "freewill_dead_letters",
            "Records that went to the dead letters.",
            ("topic", "code"),
            registry=registry,
        )

        self.degraded_rankings = Counter(
            "freewill_degraded_rankings", "Rankings made without the vector index.", registry=registry
        )

    def encoded(self, outcome: str, seconds: float) -> None:
        """Observe one encode."""
        self._encodes.labels(outcome).observe(seconds)

    def dead_letter(self, topic: str, code: str) -> None:
        """Count one dead letter."""
        self._dead.labels(topic, code).inc()
