"""The front as something that is started and stopped: it listens before the tables are recovered."""

import asyncio
import time

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_server import Server

from tables.errors import AppError, BadRequest
from web import errors
from web.keys import DEPS
from web.uploads import sweep

log = structlog.get_logger("web.service")

# Cookies and tokens are small; what is larger is an attack or a loop.
MAX_HEADER_BYTES = 16 * 1024
KEEPALIVE_SECONDS = 75.0
# Of a body that nobody reads, twice this and one read of its socket are held: a thousand fit into memory.
BUFFER_BYTES = 32 * 1024


class JsonRequestHandler(RequestHandler):
    """Answers requests that are not even HTTP in the one error shape, with the connection closed (O2)."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Turn a parse failure into BAD_REQUEST; aiohttp's own text would show what was sent."""
        if isinstance(exc, ConnectionError):
            log.debug("client went away", error=repr(exc))
        elif status >= 500:
            log.error("request handling failed", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer is on its way already")
        error = BadRequest("This is not an HTTP request that can be read.") if status < 500 else AppError()
        response = errors.response(error, "-", time.time())
        response.force_close()
        return response


class FrontServer(Server):
    """Makes our request handlers."""

    def __call__(self) -> RequestHandler:
        """Make the handler of one connection."""
        return JsonRequestHandler(self, loop=self._loop, **self._kwargs)


class FrontRunner(web.AppRunner):
    """Runs an application behind ``FrontServer``."""

    async def _make_server(self) -> Server:
        # aiohttp has no parameter for the class of its request handlers.
        made = await super()._make_server()
        return FrontServer(
            made.request_handler, request_factory=made.request_factory, loop=made._loop, **made._kwargs
        )


class WebService:
    """The listening front of one process."""

    def __init__(self, app: web.Application, host: str, port: int) -> None:
        """Take an application from ``web.app.create_app``; port 0 lets the system choose.

        A port of media's own (``WebSettings.media_port``) is listened on too; ``web.media_origin`` tells
        them apart.
        """
        self._app, self._deps = app, app[DEPS]
        self._host, self._port = host, port
        self._runner: FrontRunner | None = None

    async def start(self) -> None:
        """Listen; raises ``OSError`` that names the address when it is taken."""
        await asyncio.to_thread(sweep, self._deps.settings.upload_dir)
        self._runner = FrontRunner(
            self._app,
            access_log=None,
            keepalive_timeout=KEEPALIVE_SECONDS,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            read_bufsize=BUFFER_BYTES,
            shutdown_timeout=self._deps.settings.shutdown_seconds,
        )
        await self._runner.setup()
        media_port = self._deps.settings.media_port
        for port in (self._port, media_port) if media_port else (self._port,):
            await self._listen(port)
        log.info("listening", host=self._host, port=self.port)

    async def _listen(self, port: int) -> None:
        assert self._runner is not None
        try:
            await web.TCPSite(self._runner, self._host, port, reuse_address=True, backlog=1024).start()
        except OSError as error:
            await self._runner.cleanup()
            reason = f"cannot listen on {self._host}:{port}: {error.strerror}"
            raise OSError(error.errno, reason) from error

    @property
    def port(self) -> int:
        """The port that is listened on, also when 0 was asked for."""
        assert self._runner is not None
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening, close sockets, and give running requests ``shutdown_seconds``."""
        if self._runner is None:
            return
        self._deps.hub.close_all()
        runner, self._runner = self._runner, None
        await runner.cleanup()
