"""Agent that pushes notifications to the sockets that are open now (I2, I7)."""

from collections.abc import Callable

from streams.log.slices import Slice
from tables.records import Notification


async def push(batch: Slice[Notification], send: Callable[[str, str, dict[str, object]], object]) -> None:
    """Send each frame to its recipient's connections; nobody connected is no failure."""
    for note in batch.records:
        send(note.recipient_id, note.event, note.data)
