"""Bounds on child processes and on what a source may ask of them.

The numbers come from measurements on 94 hostile files: the largest bounded run took 8.65 s and 432 MB,
the ladder of a 4K source at preset veryfast 650 MB resident in 1.3 GB of address space.
"""

from dataclasses import asdict, dataclass, field

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class ChildLimits:
    """What the kernel and the parent allow one child: bytes, seconds, counts.

    ``silent_seconds`` is how long it may say nothing, None for any time.
    """

    address_space_bytes: int = 2 * GIB
    cpu_seconds: int = 30
    file_bytes: int = 64 * 1024 * 1024
    open_files: int = 64
    wall_seconds: float = 30.0
    nice: int = 0
    silent_seconds: float | None = None

    def as_json(self) -> dict[str, float | None]:
        """Return the limits as a plain mapping for the request line."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class SourceLimits:
    """What a source may hold before it is refused, whatever the policy says about bytes and length.

    ``max_gap_seconds`` bounds one jump of the timestamps: constant-rate output repeats frames across it,
    so a 2 kB file with a 24 h jump would become hours of video.
    """

    max_streams: int = 16
    min_side: int = 16
    max_side: int = 8192
    max_pixels: int = 8192 * 4352
    max_gap_seconds: float = 60.0
    max_seconds: float = 12 * 3600.0
    max_decode_errors: int = 200


@dataclass(frozen=True, slots=True)
class ProbeLimits:
    """The bounds of one probe."""

    child: ChildLimits = field(default_factory=ChildLimits)
    source: SourceLimits = field(default_factory=SourceLimits)


ENCODE_CHILD = ChildLimits(
    address_space_bytes=6 * GIB,
    cpu_seconds=6 * 3600,
    file_bytes=16 * GIB,
    open_files=256,
    wall_seconds=6 * 3600.0,
    # The front shares the machine: a request must win over an encode.
    nice=5,
    # It tells of every eighth picture; sound alone, without a word in between, takes a minute an hour.
    silent_seconds=900.0,
)

IMAGE_CHILD = ChildLimits(
    # A picture of 64 million pixels, its copy that fades what is transparent, and the interpreter.
    address_space_bytes=3 * GIB // 2,
    cpu_seconds=40,
    file_bytes=32 * 1024 * 1024,
    open_files=64,
    # Processor time is what bounds a hostile file; this bounds a machine that gives none.
    wall_seconds=300.0,
    nice=5,
)
