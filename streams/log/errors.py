"""What can go wrong with the log, as one tree.

    LogError
    ├── LogClosed             used after close
    ├── LogLocked             another process has the log open
    ├── LogCorrupt            the file is damaged; nothing was dropped
    ├── LogWriteFailed        an append was rolled back; nothing of it is in the log
    ├── UnknownTopic          the topic was never declared
    ├── LogUnreachable        Kafka does not answer
    ├── PartitionLost         another worker took a partition while this one was writing to it
    ├── WorkerExpelled        the consumer group does not take this worker
    ├── PartitionMismatch     declared with another partition count than at first creation
    └── RecoveryStalled       table recovery makes no progress and could not be repaired

These are faults of the node, never of a client: the edge turns them into PUBLISH_ERROR (O9).
"""


class LogError(Exception):
    """Something is wrong with the message log."""


class LogClosed(LogError):
    """The log was closed, or is closing."""


class LogLocked(LogError):
    """Another process has this log open for writing."""


class LogCorrupt(LogError):
    """The log file is damaged. It is left exactly as found: restore it, or move it away."""


class LogWriteFailed(LogError):
    """An append failed and was rolled back as a whole."""


class LogUnreachable(LogError):
    """Kafka does not answer, or answers with an error."""


class PartitionLost(LogError):
    """A rebalance gave a partition to another worker while a slice of it was still at work here."""


class WorkerExpelled(LogError):
    """The consumer does not take part in its group any more, so nothing reaches this worker."""


class UnknownTopic(LogError):
    """No such topic: every topic is declared before it is used."""

    def __init__(self, topic: str) -> None:
        super().__init__(f"topic {topic!r} was never declared in this log")
        self.topic = topic


class PartitionMismatch(LogError):
    """A topic was declared with another number of partitions than it has."""

    def __init__(self, topic: str, existing: int, wanted: int) -> None:
        super().__init__(
            f"topic {topic!r} has {existing} partitions, fixed when it was created, but {wanted} are"
            f" declared now: set the partition count back to {existing}, or start with a new log"
        )
        self.topic = topic
        self.existing = existing
        self.wanted = wanted


class RecoveryStalled(LogError):
    """A table's recovery made no progress, and dropping its local store did not help."""
