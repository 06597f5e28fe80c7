"""Which variants an image gets, and what an upload may be (B38, H15). Pure."""

from dataclasses import dataclass
from typing import Final

from media.image_headers import ImageHeader
from tables.errors import FileTooLarge, InvalidFormat

MIB: Final = 1024 * 1024
SIDES: Final = {"small": 320, "medium": 640, "large": 1280, "original": 2048}
"""The longer side of each variant, in pixels; a picture that is smaller keeps its size."""
FORMATS: Final = {"jpg": "image/jpeg", "webp": "image/webp"}
"""Ending and type: each variant is there as JPEG, for everybody, and as WebP, with what is transparent."""


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What an upload may be: bytes, pixels of a side, and pixels in all: the photos of today's phones."""

    max_bytes: int = 32 * MIB
    max_side: int = 16_384
    max_pixels: int = 64_000_000

    def check_size(self, size_bytes: int) -> None:
        """Refuse a file that is too large.

        Raises:
            FileTooLarge: FILE_TOO_LARGE.
        """
        if size_bytes > self.max_bytes:
            raise FileTooLarge(details={"field": "file", "limit": self.max_bytes, "unit": "bytes"})

    def check(self, header: ImageHeader) -> None:
        """Refuse a picture that would take too much memory.

        Raises:
            InvalidFormat: INVALID_FORMAT with the sizes in ``details``.
        """
        width, height = header.width, header.height
        if max(width, height) > self.max_side or width * height > self.max_pixels:
            raise InvalidFormat(
                f"The picture of {width} x {height} pixels is too large.",
                details={"width": width, "height": height, "max_pixels": self.max_pixels,
                         "max_side": self.max_side},
            )  # fmt: skip


def sizes(width: int, height: int) -> dict[str, tuple[int, int]]:
    """Return width and height of every variant: the shape is kept, and nothing is enlarged.

    >>> sizes(4032, 3024)["small"], sizes(300, 10)["large"], sizes(16000, 3)["small"]
    ((320, 240), (300, 10), (320, 1))
    """
    return {name: within(side, width, height) for name, side in SIDES.items()}


def within(side: int, width: int, height: int) -> tuple[int, int]:
    """Return the size whose longer side is at most ``side``, rounded to whole pixels, at least one."""
    longer = max(width, height)
    if longer <= side:
        return width, height
    return max(1, round(width * side / longer)), max(1, round(height * side / longer))
