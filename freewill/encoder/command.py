"""The process: a folder of its own, signals, the end."""

import asyncio
import fcntl
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

import structlog

import freewill
from freewill.encoder.link import Link
from freewill.encoder.worker import RemoteEncoder, Workplace
from media.h264 import SOFTWARE
from media.negotiation import chosen_encoder
from media.remote import Capabilities

log = structlog.get_logger(__name__)
PREFIX: Final = "freewill-encoder-"
LOCK: Final = "lock"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asks of the command."""

    server: str
    token: str
    slots: int
    workdir: Path
    max_pixels: int
    encoder: str


async def encode(wanted: Wanted) -> None:
    """Encode for a server until SIGTERM or SIGINT; what is at work then is given back.

    Raises:
        Refused: the server does not want this encoder.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    used = await chosen_encoder(wanted.encoder)
    able = Capabilities(
        hardware=() if used == SOFTWARE else (used,),
        cores=os.cpu_count() or 1,
        max_pixels=wanted.max_pixels,
        software=f"freewill {freewill.__version__}",
    )
    with own_folder(wanted.workdir) as folder:
        async with Link(wanted.server, token=wanted.token) as link:
            log.info("encoder_ready", server=wanted.server, slots=wanted.slots, encoder=used)
            await RemoteEncoder(link, Workplace(folder, wanted.slots, able, used)).run(stop)


@contextmanager
def own_folder(parent: Path) -> Iterator[Path]:
    """Give a folder for scratch, and remove those of processes that were killed: nobody locks them."""
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(PREFIX + "*"):
        with left.joinpath(LOCK).open("ab") as lock:
            if _locked(lock.fileno()):
                shutil.rmtree(left, ignore_errors=True)
    folder = Path(mkdtemp(prefix=PREFIX, dir=parent))
    with folder.joinpath(LOCK).open("ab") as lock:
        _locked(lock.fileno())
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
