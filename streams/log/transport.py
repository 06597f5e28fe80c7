"""The ``embedded://`` transport: Faust on an ``EmbeddedLog``, for one process."""

import asyncio
from pathlib import Path
from typing import Any, Final

from faust.transport import base
from faust.transport.drivers import TRANSPORTS

from streams.log.consumer import Consumer
from streams.log.flow import SteadyFlow
from streams.log.ports import MessageLog
from streams.log.producer import Producer
from streams.log.store import EmbeddedLog

SCHEME: Final = "embedded"


def register() -> None:
    """Make Faust know the scheme ``embedded://``. Idempotent."""
    TRANSPORTS.aliases[SCHEME] = "streams.log.transport:Transport"


def use_log(app: Any, log: MessageLog) -> None:
    """Give an app the log to run on, before it starts; whoever opened it closes it after the app stopped."""
    app.message_log = log
    app.flow_control = SteadyFlow()


class Transport(base.Transport):  # type: ignore[misc]
    """Faust's transport over the log given by ``use_log``, or opened from ``embedded:///path/to/file``."""

    Consumer = Consumer
    Producer = Producer

    default_port = 0
    driver_version = "embedded"

    def __init__(self, url: Any, app: Any, loop: asyncio.AbstractEventLoop | None = None) -> None:
        super().__init__(url, app, loop)
        self._own: EmbeddedLog | None = None

    @property
    def log(self) -> EmbeddedLog:
        """The log; opened on first use when it was not given."""
        given: EmbeddedLog | None = getattr(self.app, "message_log", None)
        if given is not None:
            return given
        if self._own is None:
            path = self.url[0].path.rstrip("/")
            if not path:
                raise ValueError("no log: call use_log(app, log), or name a file as embedded:///path/to/file")
            self._own = EmbeddedLog.open(Path(path))
            self.app.message_log = self._own
        return self._own

    async def close(self) -> None:
        """Close the log if this transport opened it."""
        if self._own is not None:
            await self._own.close()
