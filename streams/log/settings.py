"""How Faust has to be set for this project (DESIGN section 6, research/faust.md 1.8)."""

from pathlib import Path
from typing import Any, Final

from streams.log.recovery import PromptTableManager

#: A record topic's agent never waits for Faust's buffer, and recovery has room for two fetches.
STREAM_BUFFER: Final = 16_384


def faust_settings(
    *,
    data_dir: Path | str,
    partitions: int = 8,
    broker: str = "embedded://",
    store: str = "memory://",
    commit_seconds: float = 0.5,
) -> dict[str, Any]:
    """Return the keyword arguments of ``faust.App`` besides its id.

    ``data_dir`` holds table stores. ``store`` is ``memory://`` or ``rocksdb://``. Faust's web is off: it
    publishes every table without authentication, and the front is ours. No leader, no windows, no
    exactly_once, no standbys.
    """
    return {
        "broker": broker,
        "store": store,
        "datadir": str(data_dir),
        "topic_partitions": partitions,
        "topic_disable_leader": True,
        "topic_allow_declare": True,
        "table_standby_replicas": 0,
        "stream_buffer_maxsize": STREAM_BUFFER,
        "stream_wait_empty": True,
        "stream_recovery_delay": 0.0,
        "broker_commit_interval": commit_seconds,
        "broker_commit_every": 1_000_000,
        "broker_max_poll_interval": 300.0,
        "web_enabled": False,
        "web_tables_enabled": False,
        "web_router_enabled": False,
        "key_serializer": "raw",
        "value_serializer": "raw",
        "autodiscover": False,
        "TableManager": PromptTableManager,
    }
