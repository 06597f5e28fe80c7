"""Starting and stopping a Faust app inside a loop of our own."""

import asyncio
import logging
from time import monotonic
from typing import Any

from streams.log.errors import LogError

logger = logging.getLogger(__name__)


async def start_app(app: Any) -> None:
    """Start a Faust app; returns when its tables are recovered and its agents run.

    Raises:
        Exception: what crashed it on the way, such as PartitionMismatch or RecoveryStalled.
    """
    await app.start()
    raise_if_crashed(app)


def raise_if_crashed(app: Any) -> None:
    """Raise what crashed the app, if it did."""
    if app.crashed:
        raise app.crash_reason or LogError("the stream worker crashed")


async def wait_for_crash(app: Any) -> BaseException:
    """Return what crashed the app, once it does: a supervisor's cue to end the process."""
    await app._crashed.wait()
    return app.crash_reason or LogError("the stream worker crashed")


async def stop_app(app: Any, deadline_seconds: float = 10.0) -> bool:
    """Stop a Faust app within a deadline.

    Agents may finish the slice they are at for most of the time; events of record topics, and what is
    stuck, are cancelled and redelivered at the next start. Returns False when something did not end in
    time: positions are then frozen and nothing of it counts as done, so the process may simply exit.
    """
    consumer = app._consumer
    if consumer is not None:
        consumer.stop_deadline = monotonic() + deadline_seconds * 0.6
    stopping = asyncio.ensure_future(app.stop())
    # wait_for would hang: Faust swallows the cancellation
    done, _ = await asyncio.wait({stopping}, timeout=deadline_seconds)
    if done:
        stopping.result()
        return True
    if consumer is not None:
        consumer.frozen = True
    logger.error(
        "the stream worker did not stop within %.1f s:\n%s", deadline_seconds, app.agents.human_tracebacks()
    )
    stopping.cancel()
    for agent in app.agents.values():
        for actor in agent._actors:
            if actor.actor_task is not None:
                actor.actor_task.cancel()
    return False
