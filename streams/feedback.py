"""What viewers say about their feed, as facts on the stream (Y4, INTERFACE Feeds)."""

import time
from collections.abc import Callable

import msgspec

from streams.log.commit import LogWriter, Outgoing
from streams.log.errors import LogError
from streams.topics import USER_EVENTS
from tables.errors import PublishFailure
from tables.records import UserFact


class Feedback:
    """Records wishes about the feed; durable when a method returns."""

    def __init__(self, writer: LogWriter, clock: Callable[[], float] = time.time) -> None:
        """Args: the log to write to."""
        self._writer = writer
        self._clock = clock

    async def feedback(self, user_id: str, target: str, kind: str) -> None:
        """Record one wish about ``video:ID``, ``creator:ID`` or ``tag:NAME``.

        Raises:
            PublishFailure: PUBLISH_ERROR, nothing was recorded.
        """
        await self._record(
            UserFact(kind="feed.feedback", user_id=user_id, at=self._clock(), target=target, detail=kind)
        )

    async def reset(self, user_id: str) -> None:
        """Forget what the feed has learned about a viewer; raises PublishFailure (PUBLISH_ERROR)."""
        await self._record(UserFact(kind="feed.reset", user_id=user_id, at=self._clock()))

    async def _record(self, fact: UserFact) -> None:
        try:
            await self._writer.publish([Outgoing(USER_EVENTS.name, fact.user_id, msgspec.json.encode(fact))])
        except LogError as error:
            raise PublishFailure(retry_after_seconds=1.0) from error
