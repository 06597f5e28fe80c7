"""Where poison records go: a topic beside the one they came from, to look at and to replay (O20, O39)."""

import base64
import time
from collections.abc import Callable, Sequence

import msgspec
import structlog

from streams.log.commit import LogWriter, Outgoing
from streams.topics import DEAD_SUFFIX
from tables.errors import AppError
from tables.records import Record

log = structlog.get_logger(__name__)
MESSAGE_LIMIT = 500
KEPT_BYTES = 512 * 1024
"""What is kept of an original: with base64 around it, the letter still fits where the original did."""
UNDECODABLE = "UNDECODABLE_RECORD"
"""Code of a record that is not of its topic's type."""


class DeadLetter(Record, frozen=True, kw_only=True):
    """One record that could not be handled, with why and where it stood.

    ``value`` is the original value in base64, since it may be anything; ``cut`` says that it was too large
    to be kept whole, so that it cannot be replayed.
    """

    topic: str
    partition: int
    offset: int
    key: str
    value: str
    code: str
    message: str
    at: float
    agent: str = ""
    cut: bool = False

    @property
    def original(self) -> bytes:
        """The value as it stood on its topic."""
        return base64.b64decode(self.value)


class Unrepeatable(Exception):
    """A handler's last word on a record: it goes to the dead letters at once, with this code (B9)."""

    def __init__(self, code: str, message: str) -> None:
        """Keep what the letter says."""
        self.code = code
        super().__init__(message)


def code_of(error: BaseException) -> str:
    """Return the stable code of an error.

    >>> code_of(KeyError("x"))
    'INTERNAL_ERROR'
    """
    return error.code if isinstance(error, AppError | Unrepeatable) else AppError.code


class DeadLetters:
    """Sends poison records to their dead-letter topics, and counts them."""

    def __init__(
        self,
        writer: LogWriter,
        *,
        clock: Callable[[], float] = time.time,
        counted: Callable[[str, str], None] = lambda topic, code: None,
        tried: Callable[[str], None] = lambda agent: None,
    ) -> None:
        """Args: the log, ``counted(topic, code)`` for the metrics, and ``tried(agent)`` at each try."""
        self._writer = writer
        self._clock = clock
        self._counted = counted
        self._tried = tried

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Append the letters; durable when it returns."""
        if not letters:
            return
        self._tried(letters[0].agent)
        await self._writer.publish(
            [
                Outgoing(letter.topic + DEAD_SUFFIX, letter.key, msgspec.json.encode(letter))
                for letter in letters
            ]
        )
        for letter in letters:
            self._counted(letter.topic, letter.code)
            log.error(
                "dead_letter",
                topic=letter.topic,
                partition=letter.partition,
                offset=letter.offset,
                code=letter.code,
                message=letter.message,
                agent=letter.agent,
            )

    def letter(
        self,
        place: tuple[str, int, int],
        key: bytes | str | None,
        value: bytes,
        reason: tuple[str, str],
        *,
        agent: str,
    ) -> DeadLetter:
        """Describe a poison record: ``place`` is topic, partition, offset, ``reason`` code and message."""
        topic, partition, offset = place
        code, message = reason
        return DeadLetter(
            topic=topic,
            partition=partition,
            offset=offset,
            key=key.decode("utf-8", "replace") if isinstance(key, bytes) else (key or ""),
            value=base64.b64encode(value[:KEPT_BYTES]).decode(),
            cut=len(value) > KEPT_BYTES,
            code=code,
            message=message[:MESSAGE_LIMIT],
            at=self._clock(),
            agent=agent,
        )
