"""Which log it is, decided by the broker's URL: the only place that knows both."""

from pathlib import Path
from typing import Any

from streams.log.commit import LogWriter, SliceCommitter
from streams.log.kafka import KafkaCommitter, KafkaLog
from streams.log.kafka import transport as kafka
from streams.log.ports import MessageLog
from streams.log.schema import Fsync
from streams.log.store import EmbeddedLog
from streams.log.transport import register


def open_log(
    broker: str, path: Path, *, group: str, fsync: Fsync = "commit", read_only: bool = False
) -> MessageLog:
    """Return the log of ``embedded://`` (the file at ``path``) or of ``kafka://host:port``.

    ``group`` is the consumer group whose positions Kafka is asked for. ``connect`` it before use.

    Raises:
        LogError: the embedded log cannot be opened.
    """
    if broker.startswith("kafka://"):
        return KafkaLog.open(broker, group=group)
    return EmbeddedLog.open(path, fsync=fsync, read_only=read_only)


def shared_log(log: MessageLog) -> KafkaLog | None:
    """Return a log that several processes may share, None when it is this process's own."""
    return log if isinstance(log, KafkaLog) else None


def register_transports() -> None:
    """Make Faust know our ``embedded://`` and ``kafka://``. Idempotent."""
    register()
    kafka.register()


def broker_of(log: MessageLog) -> str:
    """Return Faust's broker setting for a log."""
    return log.url if isinstance(log, KafkaLog) else "embedded://"


def committer_for(app: Any, log: MessageLog) -> LogWriter:
    """Return what agents of an app write through."""
    if isinstance(log, KafkaLog):
        return KafkaCommitter(app, log)
    if isinstance(log, EmbeddedLog):
        return SliceCommitter(app, log)
    raise TypeError(f"no writer for {type(log).__name__}")
