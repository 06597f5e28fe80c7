"""Wires encoders on other machines: who they are, and the desk that gives them jobs (Y14)."""

import hmac
import time
from typing import TYPE_CHECKING, Final

from freewill.paths import remote_path
from freewill.settings import Settings
from freewill.worker import media_settings
from social.encoders import Encoders, InputLinks
from streams.agents.encoding import EncodeTools
from streams.remote import RemoteEncoding
from tables.relational.engine import Database
from tables.relational.migrate import current_revision, head_revision

if TYPE_CHECKING:
    from freewill.node import Node


AWAY_SECONDS: Final = 120.0
"""An encoder that waits for work asks every half minute."""


async def unattended(settings: Settings) -> str | None:
    """Return what is wrong where only encoders elsewhere encode, None when there is one (Y12)."""
    if settings.media_workers or await current_revision(settings.relational_url) != head_revision():
        return None
    database = Database.open(settings.relational_url)
    try:
        known = [encoder for encoder in await Encoders(database, time.time).list() if not encoder.revoked_at]
    finally:
        await database.close()
    if not known:
        return "nothing encodes here, and there is no encoder: freewill encoder-token NAME"
    if all(time.time() - (encoder.seen_at or 0.0) > AWAY_SECONDS for encoder in known):
        return "nothing encodes here, and no encoder has asked for work lately: videos wait"
    return None


def build_desk(node: "Node", encoders: Encoders) -> RemoteEncoding | None:
    """Return the desk over a worker's queue; None where it has none."""
    if not node.encoding.works:
        return None
    settings = node.settings
    tools = EncodeTools(
        store=node.store,
        workdir=remote_path(settings),
        settings=media_settings(settings),
        writer=node.streams.writer,
        videos=node.videos,
        queue=node.encoding.queue,
        clock=node.clock,
        observed=node.node_metrics.encoded,
    )
    key = hmac.digest(node.keyring.tokens, b"freewill encoding inputs", "sha256")
    links = InputLinks(key, node.clock)
    return RemoteEncoding(tools, encoders, links, remote_path(settings), settings.media_lease_seconds)
