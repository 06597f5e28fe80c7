"""What the streams of an instance count, beside the front's metrics (P37)."""

import time
from collections import deque
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from streams.agents.encoding import DISK, PAUSED, STARTING
from streams.scheduling import QueueState

ALERT_WINDOW_SECONDS = 3600.0
ENCODE_BUCKETS_SECONDS = (1, 2, 5, 10, 20, 40, 80, 160, 320, 640, 1280)


class NodeMetrics:
    """Counters of relay, encodes and dead letters on the front's registry."""

    def __init__(
        self, registry: CollectorRegistry, *, alert_at: int = 10, clock: Callable[[], float] = time.time
    ) -> None:
        """Register the metrics; ``alert_at`` dead letters within an hour raise the alert."""
        self._clock = clock
        self._recent_dead: deque[float] = deque(maxlen=alert_at)
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
        alert = Gauge(
            "freewill_dead_letters_alert",
            "1 while an hour brought at least freewill_dead_letters_alert_threshold dead letters.",
            registry=registry,
        )
        alert.set_function(self._dead_letters_alert)
        Gauge(
            "freewill_dead_letters_alert_threshold", "Dead letters in an hour that alert.", registry=registry
        ).set(alert_at)
        self._silent = Gauge(
            "freewill_agent_silent_seconds",
            "Seconds for which an agent did nothing while records wait for it; one that is stuck ends.",
            ("agent",),
            registry=registry,
        )
        self._media_waiting = Gauge(
            "freewill_media_queue_waiting", "Encodes that wait in this worker.", registry=registry
        )
        self._media_running = Gauge(
            "freewill_media_queue_running", "Encodes that were taken from this worker.", registry=registry
        )
        self._media_held = Gauge(
            "freewill_media_queue_held",
            "1 while no encode begins: reason paused (by operators), disk (too full), or starting.",
            ("reason",),
            registry=registry,
        )
        self.degraded_rankings = Counter(
            "freewill_degraded_rankings", "Rankings made without the vector index.", registry=registry
        )

    def encoded(self, outcome: str, seconds: float) -> None:
        """Observe one encode."""
        self._encodes.labels(outcome).observe(seconds)

    def agent_silent(self, agent: str, seconds: float) -> None:
        """Show for how long nothing was heard of an agent that has work."""
        self._silent.labels(agent).set(seconds)

    def media_queue(self, state: QueueState) -> None:
        """Show what waits and runs, and what holds the queue."""
        self._media_waiting.set(state.waiting)
        self._media_running.set(state.running)
        for reason in (STARTING, PAUSED, DISK):
            self._media_held.labels(reason).set(reason in state.holds)

    def dead_letter(self, topic: str, code: str) -> None:
        """Count one dead letter."""
        self._dead.labels(topic, code).inc()
        self._recent_dead.append(self._clock())

    def _dead_letters_alert(self) -> float:
        recent = self._recent_dead
        full = len(recent) == recent.maxlen
        return float(full and self._clock() - recent[0] < ALERT_WINDOW_SECONDS)
