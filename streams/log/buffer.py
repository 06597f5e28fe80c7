"""The producer buffer that can be trusted: flush means delivered, and a lost record ends the worker.

Faust's own gives up after 0.1 s without progress, after which offsets are committed past changelog records
that were never sent, and it only logs a failed send (research/faust.md section 3, rows 3 and 4).
"""

import asyncio
from typing import Any, Final

from faust.transport.producer import ProducerBuffer

#: Above this many undelivered records the conductor waits before it hands out more events. Faust's 100
#: makes every event of a busy agent wait.
MAX_BUFFERED: Final = 10_000


class DurableBuffer(ProducerBuffer):  # type: ignore[misc]
    """Counts a record from ``put`` until the log acknowledged it."""

    max_messages = MAX_BUFFERED

    def __post_init__(self) -> None:
        super().__post_init__()
        self.undelivered = 0
        self.failure: BaseException | None = None
        self._moved = asyncio.Event()

    def put(self, fut: Any) -> None:
        """Queue a record; it counts as undelivered from here on."""
        self.undelivered += 1
        fut.add_done_callback(self._settled)
        super().put(fut)

    def _settled(self, fut: Any) -> None:
        # Faust runs the record's own callback (persisted offsets) before futures' done callbacks
        self.undelivered -= 1
        failure = RuntimeError("a send was cancelled") if fut.cancelled() else fut.exception()
        if failure is not None:
            self.fail(failure)
        self._moved.set()

    def fail(self, failure: BaseException) -> None:
        """Remember that a record is lost, and end the worker: no offset may be committed any more."""
        if self.failure is None:
            self.failure = failure
            app: Any = self.app
            asyncio.ensure_future(app.crash(failure))  # noqa: RUF006 - the app outlives it
        self._moved.set()

    async def _send_pending(self, fut: Any) -> None:
        try:
            await super()._send_pending(fut)
        except Exception as exc:
            if not fut.done():
                fut.set_exception(exc)

    async def flush(self) -> None:
        """Wait until everything that was put is delivered.

        While the app stops after a lost record it returns at once: the consumer commits nothing any more,
        and the other services still have to be stopped.

        Raises:
            BaseException: a record could not be delivered (the send's own error).
        """
        app: Any = self.app
        if self.failure is None or not app.should_stop:
            await self._wait_below(1)

    async def flush_atmost(self, max_messages: int | None) -> int:
        """Wait until everything is delivered; Faust's limit is about its own polling."""
        before = self.undelivered
        await self.flush()
        return before

    async def wait_until_ebb(self) -> None:
        """Hold back the conductor while too much is undelivered."""
        if self.undelivered > self.max_messages:
            await self._wait_below(self.max_messages // 2)

    async def _wait_below(self, limit: int) -> None:
        while self.undelivered >= limit or self.failure is not None:
            if self.failure is not None:
                raise self.failure
            if self.state != "running":
                raise RuntimeError(
                    f"the producer is {self.state} with {self.undelivered} records undelivered"
                )
            self._moved.clear()
            await self._moved.wait()
