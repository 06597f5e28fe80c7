"""Wires encoders on other machines: who they are, and the desk that gives them jobs (Y14)."""

import hmac
from typing import TYPE_CHECKING

from freewill.paths import remote_path
from freewill.worker import media_settings
from social.encoders import Encoders, InputLinks
from streams.agents.encoding import EncodeTools
from streams.remote import RemoteEncoding

if TYPE_CHECKING:
    from freewill.node import Node


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
