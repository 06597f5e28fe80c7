"""Make short clips of clearly different kinds, for the demo and for tests without real footage."""

from pathlib import Path

from media.child import run_child
from media.limits import GIB, ChildLimits

WORKER = "media.workers.generate"
KINDS = ("waves", "plasma", "bars", "noise", "spectrum", "mandelbrot", "cellular", "stars")
"""Each kind has its own motion, palette family and sound; a seed varies the clip within its kind."""
LIMITS = ChildLimits(address_space_bytes=4 * GIB, cpu_seconds=600, file_bytes=GIB, wall_seconds=300.0, nice=5)


async def generate_clip(
    path: Path, kind: str, seconds: float = 6.0, size: tuple[int, int] = (720, 1280), seed: int = 0
) -> None:
    """Write an H.264/AAC mp4 of one kind; the same arguments give the same pictures.

    Args:
        path: Where to write, absolute; its folder exists.
        kind: One of ``KINDS``.
        seconds: Length.
        size: Width and height in pixels, even.
        seed: Varies palette, speed and sound.

    Raises:
        ValueError: There is no such kind, or a side is odd.
        ChildError: The clip could not be made.
    """
    if kind not in KINDS:
        raise ValueError(f"no kind {kind!r}; there are {', '.join(KINDS)}")
    if size[0] % 2 or size[1] % 2 or min(size) < 16:
        raise ValueError("both sides must be even and at least 16")
    request = {"path": str(path), "scene": kind, "seconds": seconds, "size": list(size), "seed": seed}
    await run_child(WORKER, request, LIMITS)
