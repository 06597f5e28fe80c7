"""Which encoder of H.264 is used on this machine: tried once, in a child (B48)."""

import logging
from dataclasses import replace
from typing import Final

from media.child import ChildCrashed, ChildError, Message, run_child
from media.h264 import SOFTWARE, candidates, choose
from media.limits import ChildLimits

log = logging.getLogger(__name__)
WORKER: Final = "media.workers.negotiate"
HARDWARE_SPACE: Final = 1 << 46
"""Drivers map far more addresses than they use memory, so addresses cannot bound memory where they work."""
TRY_CHILD: Final = ChildLimits(address_space_bytes=HARDWARE_SPACE, cpu_seconds=60, wall_seconds=60.0)
_chosen: dict[str, str] = {}


async def chosen_encoder(wanted: str) -> str:
    """Return the encoder to use for a wish: ``auto``, or a name; the software where no other works.

    Each is tried in a child of its own, so that a driver that crashes does not hide the next.
    """
    if wanted not in _chosen:
        opens = [name for name in candidates(wanted) if await _works(name)]
        _chosen[wanted] = choose(wanted, opens)
        log.info("h264 is encoded by %s", _chosen[wanted])
    return _chosen[wanted]


def limits_for(encoder: str, limits: ChildLimits) -> ChildLimits:
    """Return the limits of a child that encodes with it."""
    return limits if encoder == SOFTWARE else replace(limits, address_space_bytes=HARDWARE_SPACE)


async def _works(name: str) -> bool:
    try:
        found: Message = await run_child(WORKER, {"candidates": [name]}, TRY_CHILD, _ignore)
    except (ChildCrashed, ChildError) as error:
        log.warning("trying %s ended with %s", name, error)
        return False
    log.info("%s: %s", name, found["why"].get(name, "works"))
    return name in found["opens"]


async def _ignore(message: Message) -> None:
    pass
