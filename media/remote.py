"""What a server and an encoder on another machine say to each other (Y14, B48). Plain data."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

CODEC: Final = "h264"
"""What every output is (B21): an encoder has to make it."""
SOURCE: Final = "source"
"""Name of the input that is encoded; the others are caption files by their language, such as ``en.vtt``."""


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What an encoder says of itself: codecs that it makes, what makes them, processors, largest picture."""

    codecs: tuple[str, ...] = ("h264",)
    hardware: tuple[str, ...] = ()
    cores: int = 1
    max_pixels: int = 8192 * 4352
    software: str = ""


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a job reads: its name, its size, and where it is until the lease ends."""

    name: str
    size_bytes: int
    url: str


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A job under a lease.

    ``settings`` are the fields of ``media.pipeline.MediaSettings`` that decide on the outputs; ``playable``
    asks for a first rung as soon as there is one (Y5); ``resume`` is what its holder shows to have it again
    after the lease ran out.
    """

    lease_id: str
    lease_seconds: float
    job_id: str
    video_id: str
    attempt: int
    ladder: str
    preset: str
    playable: bool
    settings: dict[str, Any]
    inputs: tuple[Input, ...]
    resume: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job cannot be done, in an encoder's words; ``said`` is what its child said, for operators."""

    code: str
    reason: str
    retryable: bool
    said: str = ""


@dataclass(frozen=True, slots=True)
class Upload:
    """A body on its way: its size in bytes, its SHA-256 and its chunks."""

    size_bytes: int
    sha256: bytes
    body: AsyncIterator[bytes]
