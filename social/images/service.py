"""The image service: the only writer of an image's status (B38, H15)."""

import asyncio
from collections.abc import Sequence
from functools import partial

import structlog
from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from media.image_headers import MIME, ImageHeader, read_header
from media.images import Rendered, Variant
from media.layout import image_prefix
from media.scanner import ScannerUnavailable
from social.ids import canonical, new_id
from social.images.model import Image, ImageTools, NewImage
from social.images.objects import ImageObjects, schedule, withdraw
from social.videos.metadata import check_text
from social.views import Principal
from tables.errors import (
    AppError,
    ContentNotFound,
    InfectedFile,
    RateLimitExceeded,
    StorageFailure,
    UserNotFound,
)
from tables.lifecycle import ImageStatus
from tables.records import ImageJob, Notification
from tables.relational.models import (
    MAX_ALT_TEXT,
    ImageRow,
    ImageVariantRow,
    UserRow,
    moment,
    seconds,
)
from tables.relational.outbox import enqueue

log = structlog.get_logger(__name__)
WAITING_RETRY_SECONDS = 30.0
LOST_SECONDS = 900.0
"""An image that is PENDING for so long is asked for again."""
MAX_ASKED = 5
AT_ONCE = 100


class ImageService:
    """Images from upload to deletion."""

    def __init__(self, tools: ImageTools) -> None:
        """Take what it works with."""
        self._tools = tools
        self._database = tools.database
        self._clock = tools.clock
        self.objects = ImageObjects(tools.database, tools.store, tools.clock)
        self.limits = tools.limits

    async def create(self, owner: Principal, upload: NewImage) -> Image:
        """Store an upload and make it an image in PENDING, or leave neither object nor row.

        Raises:
            ContentTooLong: CONTENT_TOO_LONG for the alternative text.
            FileTooLarge, InvalidFormat, CorruptedFile: what its header says is no image that is taken.
            InfectedFile: INFECTED_FILE.
            RateLimitExceeded: RATE_LIMIT_EXCEEDED while too many of the owner's images wait.
            UserNotFound: USER_NOT_FOUND when the owner's account is gone.
            StorageFailure, DatabaseFailure: STORAGE_ERROR, DATABASE_ERROR.
        """
        alt_text = check_alt_text(upload.alt_text)
        await self._check_waiting(owner.user_id)
        header = await asyncio.to_thread(self._look, upload)
        await self._scan(upload)
        image_id = new_id()
        key = f"{image_prefix(image_id)}source.{header.kind}"
        row = ImageRow(id=image_id, owner_id=owner.user_id, source_key=key, alt_text=alt_text, asked=1)
        # Once it is stored a client that hangs up stops nothing: half a commit is no state.
        return await asyncio.shield(self._store(row, upload, MIME[header.kind]))

    async def get(self, image_id: str, viewer: Principal) -> Image:
        """Return an image to its owner, or an operator.

        Raises:
            ContentNotFound: CONTENT_NOT_FOUND, also for somebody else's (O7).
        """
        return await self._database.read(partial(_shown, image_id=image_id, viewer=viewer))

    async def describe(self, image_id: str, caller: Principal, alt_text: str) -> Image:
        """Change the alternative text.

        Raises:
            ContentTooLong: CONTENT_TOO_LONG.
            ContentNotFound: CONTENT_NOT_FOUND.
        """
        text, now = check_alt_text(alt_text), moment(self._clock())

        async def write(session: AsyncSession) -> Image:
            row = await _own(session, image_id, caller, lock=True)
            row.alt_text, row.updated_at = text, now
            await session.flush()
            return await _shown(session, row.id, caller)

        return await self._database.run(write)

    async def delete(self, image_id: str, caller: Principal) -> None:
        """Delete rows, then objects.

        Raises:
            ContentNotFound: CONTENT_NOT_FOUND, also the second time.
        """
        now = self._clock()

        async def write(session: AsyncSession) -> str:
            row = await _own(session, image_id, caller, lock=True)
            await schedule(session, row.id, now)
            await session.delete(row)
            return row.id

        # The note stays until the sweep has been here once more: a worker may still write.
        await self.objects.discard(await self._database.run(write))

    async def of_owner(self, owner_id: str) -> Sequence[str]:
        """Return ids of some of a person's images, none when there are none left."""
        query = select(ImageRow.id).where(ImageRow.owner_id == owner_id).limit(AT_ONCE)
        return await self._database.read(partial(_ids, query=query))

    async def upload_of(self, image_id: str) -> str | None:
        """Return the key of the upload that waits for its variants, None when nothing does."""
        row = await self._database.read(lambda session: session.get(ImageRow, image_id))
        return row.source_key if row is not None and row.status == ImageStatus.PENDING else None

    async def finish(self, image_id: str, made: Rendered) -> bool:
        """Move PENDING to READY with its variants; False when that changes nothing."""
        now = self._clock()

        async def write(session: AsyncSession) -> str | None:
            row = await _pending(session, image_id)
            if row is None:
                return None
            row.status, row.width, row.height = ImageStatus.READY, made.width, made.height
            row.placeholder, row.colour = made.placeholder, made.colour
            for variant in made.variants:
                session.add(_variant_row(image_id, variant))
            return _close(session, row, now)

        return await self._settle(image_id, await self._database.run(write))

    async def fail(self, image_id: str, code: str, reason: str) -> bool:
        """Move PENDING to FAILED with its code and reason; False when that changes nothing."""
        now = self._clock()

        async def write(session: AsyncSession) -> str | None:
            row = await _pending(session, image_id)
            if row is None:
                return None
            row.status, row.fail_code, row.fail_reason = ImageStatus.FAILED, code[:64], reason
            return _close(session, row, now)

        return await self._settle(image_id, await self._database.run(write))

    async def rescue(self) -> int:
        """Ask again for images that nobody has finished; after five times they fail. Returns how many."""
        lost = ImageRow.updated_at <= moment(self._clock() - LOST_SECONDS)
        query = select(ImageRow.id).where(ImageRow.status == ImageStatus.PENDING, lost).limit(AT_ONCE)
        waiting = await self._database.read(partial(_ids, query=query))
        for image_id in waiting:
            if not await self._ask_again(image_id):
                await self.fail(image_id, "TRANSCODE_ERROR", "The image could not be processed.")
        return len(waiting)

    async def _ask_again(self, image_id: str) -> bool:
        now = self._clock()

        async def write(session: AsyncSession) -> bool:
            row = await _pending(session, image_id)
            if row is None:
                return True
            if row.asked >= MAX_ASKED:
                return False
            row.asked, row.updated_at = row.asked + 1, moment(now)
            _ask(session, image_id, now)
            return True

        return await self._database.run(write)

    def _look(self, upload: NewImage) -> ImageHeader:
        """Judge an upload by its header; blocks."""
        self.limits.check_size(upload.path.stat().st_size)
        header = read_header(upload.path.read_bytes())
        self.limits.check(header)
        return header

    async def _scan(self, upload: NewImage) -> None:
        """Refuse what is infected. When nobody can say: of the bytes none will be served to anybody."""
        try:
            name = await self._tools.scanner.scan(upload.path)
        except ScannerUnavailable as error:
            log.warning("malware_scanner_unavailable", error=str(error))
            return
        if name is not None:
            log.warning("malware_found", name=name)
            raise InfectedFile(details={"found": name})

    async def _check_waiting(self, owner_id: str) -> None:
        mine = (ImageRow.owner_id == owner_id) & (ImageRow.status == ImageStatus.PENDING)
        query = select(func.count()).select_from(ImageRow).where(mine)
        waiting = await self._database.read(lambda session: session.scalar(query)) or 0
        if self._tools.waiting is not None and waiting >= self._tools.waiting:
            raise RateLimitExceeded(
                "Too many of your images are still being processed.",
                details={"limit": self._tools.waiting, "scope": "pending_images"},
                retry_after_seconds=WAITING_RETRY_SECONDS,
            )

    async def _store(self, row: ImageRow, upload: NewImage, mime: str) -> Image:
        now = self._clock()
        image_id, key = row.id, row.source_key or ""
        await self._database.run(lambda session: schedule(session, image_id, now))
        try:
            await self._tools.store.put_file(key, upload.path, content_type=mime, move=True)
            return await self._database.run(partial(self._commit, row=row, now=now))
        except OSError as error:
            await self.objects.discard(image_id)
            raise StorageFailure from error
        except AppError:
            await self.objects.discard(image_id)
            raise

    async def _commit(self, session: AsyncSession, row: ImageRow, now: float) -> Image:
        if not await withdraw(session, row.id):
            raise StorageFailure("Storing the file took too long.")
        if await session.get(UserRow, row.owner_id) is None:
            raise UserNotFound
        row.status = ImageStatus.PENDING
        row.created_at = row.updated_at = moment(now)
        row = await session.merge(row)  # a copy: the transaction may be tried again
        await session.flush()
        _ask(session, row.id, now)
        return _image(row, ())

    async def _settle(self, image_id: str, upload: str | None) -> bool:
        """Remove what an outcome leaves over: the upload, or everything where the image is gone."""
        if upload is not None:
            await self.objects.drop(upload)
        elif canonical(image_id):
            await self.objects.discard(image_id)
        return upload is not None


def check_alt_text(value: str) -> str:
    """Return alternative text trimmed (CONTENT_TOO_LONG above 1,500 characters, VALIDATION_ERROR)."""
    return check_text("alt_text", value, MAX_ALT_TEXT)


def _ask(session: AsyncSession, image_id: str, at: float) -> None:
    enqueue(session, "media.images", image_id, ImageJob(image_id=image_id, at=at), at=at)


def _close(session: AsyncSession, row: ImageRow, at: float) -> str:
    """Note the end of processing and tell the owner; returns the key of the upload, which has to go."""
    upload, row.source_key, row.updated_at = row.source_key or "", None, moment(at)
    data: dict[str, object] = {"image_id": row.id, "status": str(row.status)}
    if row.fail_code:
        data |= {"fail_code": row.fail_code, "fail_reason": row.fail_reason}
    note = Notification(recipient_id=row.owner_id, event="image_status", data=data, at=at)
    enqueue(session, "notifications", row.owner_id, note, at=at)
    return upload


async def _pending(session: AsyncSession, image_id: str) -> ImageRow | None:
    """Return an image that waits for its outcome, locked: the first outcome counts."""
    row = await session.get(ImageRow, image_id, with_for_update=True)
    return row if row is not None and row.status == ImageStatus.PENDING else None


async def _own(session: AsyncSession, image_id: str, caller: Principal, *, lock: bool = False) -> ImageRow:
    known = canonical(image_id)
    row = await session.get(ImageRow, known, with_for_update=lock) if known else None
    if row is None or (row.owner_id != caller.user_id and not caller.is_operator):
        raise ContentNotFound
    return row


async def _shown(session: AsyncSession, image_id: str, viewer: Principal) -> Image:
    row = await _own(session, image_id, viewer)
    query = select(ImageVariantRow).where(ImageVariantRow.image_id == row.id)
    found = await session.scalars(query.order_by(ImageVariantRow.width, ImageVariantRow.key))
    return _image(row, [_variant(variant) for variant in found])


async def _ids(session: AsyncSession, query: Select[str]) -> list[str]:
    return list(await session.scalars(query))


def _image(row: ImageRow, variants: Sequence[Variant]) -> Image:
    return Image(
        id=row.id,
        owner_id=row.owner_id,
        status=ImageStatus(row.status),
        alt_text=row.alt_text,
        fail_code=row.fail_code,
        fail_reason=row.fail_reason,
        width=row.width,
        height=row.height,
        placeholder=row.placeholder,
        colour=row.colour,
        variants=tuple(variants),
        created_at=seconds(row.created_at),
        updated_at=seconds(row.updated_at),
    )


def _variant(row: ImageVariantRow) -> Variant:
    return Variant(row.variant, row.key, row.mime, row.width, row.height, row.size_bytes)


def _variant_row(image_id: str, made: Variant) -> ImageVariantRow:
    return ImageVariantRow(
        key=made.key,
        image_id=image_id,
        variant=made.variant,
        mime=made.mime,
        width=made.width,
        height=made.height,
        size_bytes=made.size_bytes,
    )
