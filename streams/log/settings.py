"""How Faust has to be set for this project (DESIGN section 6, research/faust.md 1.8)."""

from pathlib import Path
from typing import Any, Final

from streams.log.recovery import PromptTableManager

#: A record topic's agent never waits for Faust's buffer, and recovery has room for two fetches.
STREAM_BUFFER: Final = 16_384
#: How long Kafka waits for a silent worker before others take its partitions. Heartbeats come from a
#: thread, so a busy loop is not silence.
SESSION_SECONDS: Final = 10.0


def faust_settings(
    *,
    data_dir: Path | str,
    partitions: int = 8,
    broker: str = "embedded://",
    store: str = "memory://",
    commit_seconds: float = 0.5,
    instance_id: str | None = None,
    standbys: int = 0,
    url: str = "",
) -> dict[str, Any]:
    """Return the keyword arguments of ``faust.App`` besides its id.

    ``data_dir`` holds table stores. ``store`` is ``memory://`` or ``rocksdb://``. Faust's web is off: it
    publishes every table without authentication, and the front is ours. No leader, no windows, no
    exactly_once.

    ``instance_id`` names this worker for Kafka: one that comes back under its name within the session gets
    its partitions again at once, without a rebalance. No two that run may share it.

    ``standbys`` is how many other workers, if there are as many, follow each table partition to take it
    over. ``url`` is where this worker's front is reached by others: they learn it with the assignment.
    """
    return {
        "broker": broker,
        "store": store,
        "datadir": str(data_dir),
        "topic_partitions": partitions,
        "topic_disable_leader": True,
        "topic_allow_declare": True,
        "table_standby_replicas": standbys,
        "stream_buffer_maxsize": STREAM_BUFFER,
        "stream_wait_empty": True,
        "stream_recovery_delay": 0.0,
        "broker_commit_interval": commit_seconds,
        "broker_commit_every": 1_000_000,
        "broker_max_poll_interval": 300.0,
        "broker_session_timeout": SESSION_SECONDS,
        "broker_heartbeat_interval": SESSION_SECONDS / 4,
        "consumer_group_instance_id": instance_id,
        "consumer_auto_offset_reset": "earliest",
        "web_enabled": False,
        "web_tables_enabled": False,
        "web_router_enabled": False,
        "key_serializer": "raw",
        "value_serializer": "raw",
        "autodiscover": False,
        "TableManager": PromptTableManager,
        **({"canonical_url": url} if url else {}),
    }
