"""The quality ladder: seven rungs, named selections, and each rung's size for a source (B19, X13, X14)."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

AUDIO_BITRATE: Final = 96_000
AUDIO_RATE: Final = 48_000
MAX_ASPECT: Final = 4
"""A panorama wider than this keeps its shape but gets fewer lines: encoders and players have levels."""
MIN_SIDE: Final = 16


@dataclass(frozen=True, slots=True)
class Rung:
    """One rung: its name, its short side in pixels, its video bitrate in bit/s."""

    name: str
    short_side: int
    bitrate: int


LADDER: Final = (
    Rung("240p", 240, 400_000),
    Rung("360p", 360, 800_000),
    Rung("480p", 480, 1_400_000),
    Rung("720p", 720, 2_800_000),
    Rung("1080p", 1080, 5_000_000),
    Rung("1440p", 1440, 10_000_000),
    Rung("2160p", 2160, 20_000_000),
)
RUNGS: Final[Mapping[str, Rung]] = {rung.name: rung for rung in LADDER}
SELECTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "core": ("360p", "480p", "720p", "1080p"),
    "hd3": ("480p", "720p", "1080p"),
    "reels": ("360p", "480p", "720p"),
    "full": tuple(RUNGS),
}
NEVER_UPSCALED: Final = frozenset({"1440p", "2160p"})


@dataclass(frozen=True, slots=True)
class Rendition:
    """A rung applied to a source: even width and height in pixels, and whether pixels were invented."""

    rung: Rung
    width: int
    height: int
    upscaled: bool


def rungs(selection: str) -> tuple[Rung, ...]:
    """Return the rungs of a selection, lowest first: its name, or names of rungs with ``+`` between them.

    >>> [rung.name for rung in rungs("1080p+240p")], len(rungs("core"))
    (['240p', '1080p'], 4)

    Raises:
        KeyError: There is no such selection.
    """
    names = SELECTIONS.get(selection) or selection.split("+")
    return tuple(sorted({RUNGS[name] for name in names}, key=lambda rung: rung.short_side))


def renditions(selection: str, width: int, height: int, *, upscale: bool = True) -> tuple[Rendition, ...]:
    """Return the renditions of a selection for a source of a displayed size, lowest first.

    Without ``upscale`` the ladder ends at the first rung at or above the source (X14).

    >>> [(r.rung.name, r.width, r.height) for r in renditions("reels", 720, 1280)]
    [('360p', 360, 640), ('480p', 480, 854), ('720p', 720, 1280)]

    Raises:
        KeyError: There is no such selection.
    """
    short = min(width, height)
    chosen: list[Rung] = []
    for rung in rungs(selection):
        if rung.name in NEVER_UPSCALED and short < rung.short_side:
            continue
        if not upscale and chosen and chosen[-1].short_side >= short:
            break
        chosen.append(rung)
    return tuple(Rendition(rung, *size(rung, width, height), rung.short_side > short) for rung in chosen)


def size(rung: Rung, width: int, height: int) -> tuple[int, int]:
    """Return the even pixel size of a rung for a displayed size: the short side is the rung's.

    >>> size(RUNGS["480p"], 1920, 1080)
    (854, 480)
    """
    return fit(rung.short_side, width, height)


def fit(short_side: int, width: int, height: int) -> tuple[int, int]:
    """Scale a displayed size so that its short side is ``short_side``, both even, aspect kept."""
    aspect = Fraction(max(width, height), min(width, height))
    long = short_side * aspect
    short = Fraction(short_side)
    if aspect > MAX_ASPECT:
        long = Fraction(short_side * MAX_ASPECT)
        short = long / aspect
    big, small = even(long), even(short)
    return (big, small) if width >= height else (small, big)


def even(value: Fraction) -> int:
    """Return the nearest even number, at least 16: 4:2:0 pictures have even sides.

    >>> even(Fraction(2560, 3))
    854
    """
    return max(MIN_SIDE, 2 * round(value / 2))


def poster_rung(available: tuple[Rendition, ...]) -> Rendition:
    """Return the best rung up to 720p: it gives the progressive mp4, the poster and the pictures."""
    return max(
        available,
        key=lambda r: (r.rung.short_side <= RUNGS["720p"].short_side, _closeness(r)),
    )


def _closeness(rendition: Rendition) -> int:
    """Order rungs by size up to 720p; above it, the smaller is the better."""
    short = rendition.rung.short_side
    return short if short <= RUNGS["720p"].short_side else -short
