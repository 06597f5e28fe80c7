"""The process: logging, the event loop, signals, the end."""

import asyncio
import logging
import os
import signal
import sys

import structlog
import uvloop
from rich.console import Console

from freewill.logs import configure_logging
from freewill.node import Node
from freewill.settings import Settings
from freewill.tuning import tune_process
from streams.log import LogError
from tables.errors import AppError

log = structlog.get_logger(__name__)
STARTED_AND_STOPPED = 0
FAILED = 1
STOP_LOOK_SECONDS = 0.1
"""How often an instance that is to stop looks whether its start waits for the log."""
EXPECTED = (AppError, LogError, OSError)
"""A data folder in use, a port that is taken, a disk that is full: the message says it all."""


def serve_forever(settings: Settings) -> int:
    """Run an instance until SIGTERM or SIGINT.

    Returns:
        The exit code: 0 after a clean stop, 1 when it could not start or its streams crashed.
    """
    configure_logging(settings.log_level)
    return uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_signal, stop)
    try:
        node = Node(settings)
    except EXPECTED as error:
        return _refuse(error)
    code = STARTED_AND_STOPPED
    try:
        if await _started(node, stop):
            tune_process()
            _announce(settings)
            code = await _until_stopped_or_crashed(node, stop)
    except Exception as error:
        code = _refuse(error)
    if not await node.stop():
        # Something hangs. What was answered is durable, and what was not finished is delivered again.
        logging.shutdown()
        sys.stdout.flush()
        os._exit(code)
    return code


def _refuse(error: Exception) -> int:
    """Say why the instance does not start; what an operator can mend needs no traceback."""
    log.error("start_failed", error=str(error), exc_info=not isinstance(error, EXPECTED))
    message = f"FreeWill could not start: {error}"
    Console(stderr=True, soft_wrap=True).print(message, style="red", highlight=False, markup=False)
    return FAILED


async def _started(node: Node, stop: asyncio.Event) -> bool:
    """Start the instance; False when it was told to stop while the log is away, which may be for long."""
    starting = asyncio.ensure_future(node.start())
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    while not starting.done():
        if node.readiness().missing[:1] == ("log",):
            starting.cancel()
        await asyncio.wait({starting}, timeout=STOP_LOOK_SECONDS)
    if starting.cancelled():
        return False
    starting.result()
    return True


async def _until_stopped_or_crashed(node: Node, stop: asyncio.Event) -> int:
    stopping = asyncio.ensure_future(stop.wait())
    crashing = asyncio.ensure_future(node.crashed())
    done, waiting = await asyncio.wait({stopping, crashing}, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    if crashing in done:
        log.error("streams_crashed", error=repr(crashing.result()))
        return FAILED
    return STARTED_AND_STOPPED


def _on_signal(stop: asyncio.Event) -> None:
    if stop.is_set():
        os._exit(FAILED)  # asked twice: now
    stop.set()


def _announce(settings: Settings) -> None:
    console = Console()
    console.print(f"\n  FreeWill is ready: [bold cyan]{settings.public_url}[/]", highlight=False)
    console.print(f"  API description:   {settings.public_url}/api/docs", highlight=False)
    console.print("  A living feed:     make demo (in another terminal)\n", highlight=False)
