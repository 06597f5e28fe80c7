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
    """Return the encoder to use for a wish: ``auto``, or a name; the software where no other works."""
    if wanted == SOFTWARE:
        return SOFTWARE
    if wanted not in _chosen:
        _chosen[wanted] = choose(wanted, await _opening(candidates(wanted)))
        log.info("h264 is encoded by %s", _chosen[wanted])
    return _chosen[wanted]


def limits_for(encoder: str, limits: ChildLimits) -> ChildLimits:
    """Return the limits of a child that encodes with it."""
    return limits if encoder == SOFTWARE else replace(limits, address_space_bytes=HARDWARE_SPACE)


async def _opening(names: tuple[str, ...]) -> list[str]:
    """Try encoders in a child; where one crashes it, the next child goes on behind that one."""
    opens: list[str] = []
    left = list(names)

    async def note(message: Message) -> None:
        left.remove(message["encoder"])
        log.info("%s: %s", message["encoder"], message["why"] or "works")
        if message["why"] is None:
            opens.append(message["encoder"])

    while left:
        try:
            await run_child(WORKER, {"candidates": [*left]}, TRY_CHILD, note)
        except (ChildCrashed, ChildError) as error:
            log.warning("trying %s ended with %s", left.pop(0), error)
    return opens
