"""What the image service is given and answers. Times are seconds since the epoch, UTC."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from media.image_variants import ImageLimits
from media.images import Variant
from media.scanner import MalwareScanner
from media.stores import ObjectStore
from tables.lifecycle import ImageStatus
from tables.relational.engine import Database


@dataclass(frozen=True, slots=True)
class Image:
    """An image (B38). ``variants`` is empty unless READY; ``fail_code`` says why it FAILED.

    ``width`` and ``height`` are the upload's, upright; ``placeholder`` is a BlurHash, ``colour`` #rrggbb.
    """

    id: str
    owner_id: str
    status: ImageStatus
    alt_text: str
    fail_code: str | None
    fail_reason: str | None
    width: int | None
    height: int | None
    placeholder: str | None
    colour: str | None
    variants: tuple[Variant, ...]
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class NewImage:
    """An upload that lies at ``path``, which is gone once it is stored."""

    path: Path
    alt_text: str = ""


@dataclass(frozen=True, slots=True)
class ImageTools:
    """What the image service works with; ``waiting`` is how many of a person's images may be PENDING."""

    database: Database
    store: ObjectStore
    scanner: MalwareScanner
    clock: Callable[[], float]
    limits: ImageLimits = field(default_factory=ImageLimits)
    waiting: int | None = 50
