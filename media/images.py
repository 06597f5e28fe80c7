"""Make the variants of a stored image in a bounded child, and store them (B38)."""

import asyncio
import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from media.child import ChildCrashed, ChildError, run_child
from media.image_variants import FORMATS, SIDES, ImageLimits
from media.layout import image_prefix
from media.limits import IMAGE_CHILD, ChildLimits
from media.pipeline import TRANSCODE_ERROR, MediaError
from media.stores import ObjectStore
from tables.errors import AppError, ContentNotFound

log = logging.getLogger(__name__)
WORKER: Final = "media.workers.images"


@dataclass(frozen=True, slots=True)
class Variant:
    """One stored variant: its name, key and type, its size in pixels and bytes."""

    variant: str
    key: str
    mime: str
    width: int
    height: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Rendered:
    """What was made of an image: its upright size, a BlurHash, its dominant colour ``#rrggbb``, variants."""

    width: int
    height: int
    placeholder: str
    colour: str
    variants: tuple[Variant, ...]


@dataclass(frozen=True, slots=True)
class ImageMaker:
    """Makes variants; ``workdir`` is scratch space."""

    store: ObjectStore
    workdir: Path
    limits: ImageLimits = field(default_factory=ImageLimits)
    child: ChildLimits = IMAGE_CHILD

    async def __call__(self, image_id: str, source_key: str) -> Rendered:
        """Make and store the variants of an image; a rerun overwrites them with the same.

        Raises:
            MediaError: with code, reason and whether a retry can help.
        """
        folder = self.workdir / f"image-{image_id}-{uuid4().hex[:8]}"
        try:
            await asyncio.to_thread((folder / "out").mkdir, parents=True)
            source = await self._local(source_key, folder)
            found = await self._render(image_id, source, folder / "out")
            variants = [await self._keep(image_id, folder / "out", about) for about in found["variants"]]
        except AppError as error:
            raise MediaError(error.code, error.message, retryable=error.status >= 500) from error
        except OSError as error:
            reason = f"The work disk failed: {error.strerror}."
            raise MediaError("STORAGE_ERROR", reason, retryable=True) from error
        finally:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, True))
        return Rendered(
            found["width"], found["height"], found["placeholder"], found["colour"], tuple(variants)
        )

    async def _local(self, key: str, folder: Path) -> Path:
        local = await asyncio.to_thread(self.store.local_path, key)
        if local is not None:
            return local
        try:
            await self.store.fetch(key, folder / "source")
        except ContentNotFound as error:
            raise MediaError("CORRUPTED_FILE", "The upload is not in the store.", retryable=False) from error
        return folder / "source"

    async def _render(self, image_id: str, source: Path, out: Path) -> dict[str, Any]:
        request = {"path": str(source), "out": str(out), "images": asdict(self.limits)}
        try:
            return await run_child(WORKER, request, self.child)
        except ChildError as error:
            if error.code != "UNEXPECTED":
                raise MediaError(error.code, error.reason, retryable=error.retryable) from error
            log.error("image %s failed unexpectedly: %s", image_id, error.details.get("traceback"))
            reason = "The image could not be processed."
            raise MediaError(TRANSCODE_ERROR, reason, retryable=True) from error
        except ChildCrashed as error:
            log.error("image %s ended with %s: %s", image_id, error.cause, error.stderr_tail)
            # A limit was met, or a decoder died: that is the file's doing, and would happen again.
            bounds = error.cause.startswith("signal")
            code = "CORRUPTED_FILE" if bounds else TRANSCODE_ERROR
            reason = "The image could not be processed within bounds."
            raise MediaError(code, reason, retryable=not bounds) from error

    async def _keep(self, image_id: str, out: Path, about: Mapping[str, Any]) -> Variant:
        """Store one file; the child has read hostile bytes, so it names only what is known."""
        extension = str(about["file"]).rpartition(".")[2]
        name = f"{about['variant']}.{extension}"
        path = out / name
        if about["variant"] not in SIDES or extension not in FORMATS or path.is_symlink():
            raise MediaError(TRANSCODE_ERROR, "The image could not be processed.", retryable=False)
        key, mime = image_prefix(image_id) + name, FORMATS[extension]
        await self.store.put_file(key, path, content_type=mime, move=True)
        return Variant(about["variant"], key, mime, about["width"], about["height"], about["size_bytes"])
