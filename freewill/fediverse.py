"""Wires what other servers see of a node."""

from typing import TYPE_CHECKING

from federation.addresses import Addresses
from federation.directory import Directory
from federation.keys import public_pem
from federation.model import Counts
from federation.site import Federation
from freewill import __version__
from tables.definitions import VIDEO_ENGAGEMENT

if TYPE_CHECKING:
    from freewill.node import Node


def build_federation(node: "Node") -> Federation:
    """Return the fediverse side of a node: documents from the database, counters from the tables (J31)."""
    lookup = node.worker.lookup(VIDEO_ENGAGEMENT.name)

    def counts(video_id: str) -> Counts | None:
        state = lookup(video_id)
        return state and Counts(state.views, state.likes, state.shares, state.comments)

    addresses = Addresses.of(node.settings.public_url)
    return Federation(
        addresses=addresses,
        directory=Directory(node.database, addresses, counts),
        instance_key_pem=public_pem(node.keyring.instance),
        software_version=__version__,
    )
