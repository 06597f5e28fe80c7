"""Unfinished uploads in an S3 bucket (A28, A41, A52, A54).

uploads/{session}/whole               the multipart upload that signed URLs feed; while it is open, so is
                                      the upload
                  parts/00001         a part that the server received, of any size
                  appended/00001      a piece of an appended upload; all but the last have the same size
                  joined-{digest}     received parts put together, until the upload is complete

Parts of a multipart upload can be neither read nor shorter than 5 MiB. So what the server receives is kept in
objects of its own, and the multipart upload is for those that clients send to the store themselves.
"""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, cast
from weakref import WeakValueDictionary

from media.layout import UPLOADS, upload_prefix
from media.parts import (
    MIN_PART_BYTES,
    Incoming,
    PartInfo,
    check_number,
    check_session,
    ended,
    match_parts,
    wrong_offset,
)
from media.receiving import Feed, Receiver, spooled
from media.s3 import S3Store
from media.s3_errors import failures
from media.stores import ObjectInfo, check_key, run_blocking
from tables.errors import Conflict, ContentNotFound, InvalidChunkSequence, InvalidStateTransition

PIECE_BYTES = 8 * 1024 * 1024
"""Appended bytes are kept in objects of this size, so that they join without passing through here again."""
COPIES = 4
"""Server-side copies of parts at a time."""


class S3Parts:
    """Uploads below ``uploads/`` of the bucket that they are completed in."""

    direct: ClassVar[bool] = True

    def __init__(self, store: S3Store, folder: Path) -> None:
        """Take the open store, and a folder for what is on its way to it."""
        self._store = store
        self._folder = folder
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def begin(self, session_id: str, key: str, *, content_type: str) -> Incoming:
        """Open the multipart upload, or find the one that was opened before."""
        session = check_session(session_id)
        check_key(key)
        async for name, upload_id, begun_at in self._store.multiparts(upload_prefix(session)):
            if name == _whole(session):
                return Incoming(session, key, upload_id, content_type, begun_at)
        opened = await self._open(_whole(session), content_type)
        return Incoming(session, key, opened, content_type)

    async def put(
        self, upload: Incoming, number: int, body: AsyncIterator[bytes], *, max_bytes: int
    ) -> PartInfo:
        """Receive a part to disk and store it as an object, which S3 compares with its hash."""
        key = _part(upload, check_number(number))
        await self._check_open(upload)
        async with spooled(self._folder, max_bytes) as receiver:
            await receiver.take(body)
            etag = await self._send(key, receiver)
            await self._still_open(upload)
            return PartInfo(number, receiver.size_bytes, etag, receiver.digest.hexdigest())

    async def append(
        self, upload: Incoming, offset: int, body: AsyncIterator[bytes], *, max_bytes: int
    ) -> int:
        """Cut the body into pieces; a short last piece is read back and filled by the next append."""
        lock = self._lock(upload)
        if lock.locked():
            raise Conflict("Another request is sending to this upload.", retry_after_seconds=1.0)
        async with lock:
            await self._check_open(upload)
            stored = await self.offset(upload)
            if stored != offset:
                raise wrong_offset(stored)
            feed = Feed(body, max_bytes)
            while not feed.ended:
                stored = await self._append_piece(upload, stored, feed)
            await self._still_open(upload)
            return stored

    async def offset(self, upload: Incoming) -> int:
        """Return the size of the pieces from the first to the first short one."""
        size = sum(piece.size_bytes for piece in await self._pieces(upload))
        if size == 0:
            await self._check_open(upload)
        return size

    async def sign_put(
        self, upload: Incoming, number: int, *, size_bytes: int, expires_seconds: int
    ) -> str | None:
        """Return a signed UploadPart: S3 checks number, size and expiry, and that the upload is open."""
        check_number(number)
        place = self._place(upload) | {"PartNumber": number, "ContentLength": size_bytes}
        with failures():
            url = await self._store.signer.generate_presigned_url(
                "upload_part", Params=place, ExpiresIn=expires_seconds
            )
        return str(url)

    async def parts(self, upload: Incoming) -> list[PartInfo]:
        """Return what the server received and what clients sent to S3; the former comes first."""
        direct = await self._direct(upload)
        received = await self._received(upload)
        merged = {part.number: part for part in (*direct, *received)}
        return [merged[number] for number in sorted(merged)]

    async def read(self, upload: Incoming, parts: Sequence[PartInfo]) -> AsyncIterator[bytes]:
        """Yield the bytes of the objects that make up the upload."""
        for key, _ in await self._sources(upload, parts):
            async for chunk in self._store.read(key):
                yield chunk

    async def assemble(self, upload: Incoming, parts: Sequence[PartInfo], path: Path) -> str:
        """Close the multipart upload when clients fed it, then read everything."""
        async with self._lock(upload):
            with await run_blocking(cast("Callable[..., BinaryIO]", path.open), "wb") as out:
                receiver = Receiver(out)
                await receiver.take(self.read(upload, parts))
        return receiver.digest.hexdigest()

    async def complete(self, upload: Incoming, parts: Sequence[PartInfo]) -> ObjectInfo:
        """Join what has to be joined inside S3, copy it to the key, and remove the rest."""
        size = sum(part.size_bytes for part in parts)
        async with self._lock(upload):
            try:
                sources = await self._sources(upload, parts)
                size = sum(part.size_bytes for _, part in sources)
                await self._copy(await self._joined(upload, sources), upload)
            except (InvalidStateTransition, ContentNotFound):
                pass  # completed before, if the object says so
            found = await self._store.stat(upload.key)
            if found is None or (size and found.size_bytes != size):
                raise ended()
            await self.abort(upload)
            return found

    async def abort(self, upload: Incoming) -> None:
        """Abort every multipart upload of the session and delete its objects."""
        prefix = upload_prefix(check_session(upload.session_id))
        async for name, upload_id, _ in self._store.multiparts(prefix):
            await self._store.abort_multipart(name, upload_id)
        await self._store.delete_prefix(prefix)

    async def unfinished(self) -> AsyncIterator[Incoming]:
        """Yield the sessions that have a multipart upload or objects; S3 does not tell their keys."""
        found: dict[str, Incoming] = {}
        async for name, upload_id, begun_at in self._store.multiparts(UPLOADS):
            session = _session(name)
            if name == _whole(session) or session not in found:
                found[session] = Incoming(session, "", upload_id, "", begun_at)
        async for info in self._store.list(UPLOADS):
            session = _session(info.key)
            found.setdefault(session, Incoming(session, "", "", "", info.modified_at))
        for session in sorted(found):
            yield found[session]

    def _lock(self, upload: Incoming) -> asyncio.Lock:
        return self._locks.setdefault(upload.session_id, asyncio.Lock())

    def _place(self, upload: Incoming) -> dict[str, Any]:
        """Return what names the upload's multipart upload in a request."""
        key = self._store.name(_whole(check_session(upload.session_id)))
        return {"Bucket": self._store.bucket, "Key": key, "UploadId": upload.provider_upload_id}

    async def _open(self, key: str, content_type: str) -> str:
        with failures():
            opened = await self._store.client.create_multipart_upload(
                Bucket=self._store.bucket, Key=self._store.name(key), ContentType=content_type
            )
        return str(opened["UploadId"])

    async def _check_open(self, upload: Incoming) -> None:
        with failures():
            await self._store.client.list_parts(**self._place(upload), MaxParts=1)

    async def _still_open(self, upload: Incoming) -> None:
        """Take back what arrived while the upload was aborted."""
        try:
            await self._check_open(upload)
        except InvalidStateTransition:
            await self._store.delete_prefix(upload_prefix(upload.session_id))
            raise

    async def _direct(self, upload: Incoming) -> list[PartInfo]:
        found = []
        with failures():
            pages = self._store.client.get_paginator("list_parts").paginate(**self._place(upload))
            async for page in pages:
                found += [
                    PartInfo(each["PartNumber"], each["Size"], each["ETag"]) for each in page.get("Parts", ())
                ]
        return found

    async def _received(self, upload: Incoming, folder: str = "parts") -> list[PartInfo]:
        prefix = f"{upload_prefix(check_session(upload.session_id))}{folder}/"
        return [
            PartInfo(int(info.key.removeprefix(prefix)), info.size_bytes, info.etag)
            async for info in self._store.list(prefix)
        ]

    async def _pieces(self, upload: Incoming) -> list[PartInfo]:
        """Return the appended pieces up to the first short one: behind it, nothing was confirmed."""
        pieces: list[PartInfo] = []
        for piece in await self._received(upload, "appended"):
            if piece.number != len(pieces) + 1 or (pieces and pieces[-1].size_bytes < PIECE_BYTES):
                break
            pieces.append(piece)
        return pieces

    async def _append_piece(self, upload: Incoming, stored: int, feed: Feed) -> int:
        """Fill one piece from the body, as far as it goes, and return the new offset."""
        number, have = stored // PIECE_BYTES + 1, stored % PIECE_BYTES
        key = _piece(upload, number)
        async with spooled(self._folder) as receiver:
            if have:
                await receiver.take(self._store.read(key, 0, have))
            try:
                await receiver.take(feed.up_to(PIECE_BYTES - have))
            finally:
                if receiver.size_bytes > have:
                    await self._send(key, receiver)
            return stored - have + receiver.size_bytes

    async def _send(self, key: str, receiver: Receiver) -> str:
        """Store what was received as an object, if it arrives there unchanged; returns its ETag."""
        with failures():
            stored = await self._store.client.put_object(
                Bucket=self._store.bucket,
                Key=self._store.name(key),
                Body=await receiver.rewound(),
                ContentLength=receiver.size_bytes,
                ChecksumSHA256=base64.b64encode(receiver.digest.digest()).decode(),
            )
        return str(stored["ETag"])

    async def _sources(self, upload: Incoming, parts: Sequence[PartInfo]) -> Sequence[tuple[str, PartInfo]]:
        """Return the objects that make up the upload, in order; the multipart upload becomes one of them."""
        if not parts:
            pieces = await self._pieces(upload)
            if not pieces:
                await self._check_open(upload)
                raise InvalidChunkSequence(details={"missing": [1], "parts": 0})
            return [(_piece(upload, piece.number), piece) for piece in pieces]
        try:
            direct = {part.number: part for part in await self._direct(upload)}
        except InvalidStateTransition:
            return [await self._closed(upload, sum(part.size_bytes for part in parts))]
        received = {part.number: part for part in await self._received(upload)}
        matched = match_parts(parts, [*(direct | received).values()])
        if all(part.number in received for part in matched):
            return [(_part(upload, part.number), part) for part in matched]
        copies = [(_part(upload, part.number), part) for part in matched if part.number in received]
        place = self._place(upload)
        etags = {part.number: part.etag for part in matched} | await self._copy_parts(place, copies)
        await self._close(place, etags)
        return [await self._closed(upload, sum(part.size_bytes for part in matched))]

    async def _closed(self, upload: Incoming, size_bytes: int) -> tuple[str, PartInfo]:
        """Return the object that the multipart upload became."""
        key = _whole(upload.session_id)
        found = await self._store.stat(key)
        if found is None or found.size_bytes != size_bytes:
            raise ended()
        return key, PartInfo(1, found.size_bytes, found.etag)

    async def _close(self, place: Mapping[str, Any], etags: Mapping[int, str]) -> None:
        listed = [{"PartNumber": number, "ETag": etags[number]} for number in sorted(etags)]
        with failures():
            await self._store.client.complete_multipart_upload(**place, MultipartUpload={"Parts": listed})

    async def _joined(self, upload: Incoming, sources: Sequence[tuple[str, PartInfo]]) -> str:
        """Return the key of one object with all bytes."""
        if len(sources) == 1:
            return sources[0][0]
        names = "".join(part.etag for _, part in sources)
        key = f"{upload_prefix(upload.session_id)}joined-{hashlib.sha256(names.encode()).hexdigest()}"
        opened = await self._open(key, upload.content_type)
        place = {"Bucket": self._store.bucket, "Key": self._store.name(key), "UploadId": opened}
        if all(part.size_bytes >= MIN_PART_BYTES for _, part in sources[:-1]):
            etags = await self._copy_parts(place, sources)
        else:
            etags = await self._regroup(place, [key for key, _ in sources])
        await self._close(place, etags)
        return key

    async def _copy_parts(
        self, place: Mapping[str, Any], sources: Sequence[tuple[str, PartInfo]]
    ) -> dict[int, str]:
        """Copy objects into a multipart upload inside S3, and return the ETags of its parts."""
        turn = asyncio.Semaphore(COPIES)

        async def copy(key: str, number: int) -> tuple[int, str]:
            source = {"Bucket": self._store.bucket, "Key": self._store.name(key)}
            async with turn:
                with failures():
                    done = await self._store.client.upload_part_copy(
                        **place, PartNumber=number, CopySource=source
                    )
            return number, str(done["CopyPartResult"]["ETag"])

        return dict(await asyncio.gather(*(copy(key, part.number) for key, part in sources)))

    async def _regroup(self, place: Mapping[str, Any], keys: Sequence[str]) -> dict[int, str]:
        """Pass objects that are too short for a multipart upload through here, as pieces that are not."""
        feed = Feed(_chain([self._store.read(key) for key in keys]))
        etags: dict[int, str] = {}
        while not feed.ended:
            async with spooled(self._folder) as receiver:
                await receiver.take(feed.up_to(PIECE_BYTES))
                if receiver.size_bytes:
                    etags[len(etags) + 1] = await self._send_part(place, len(etags) + 1, receiver)
        return etags

    async def _send_part(self, place: Mapping[str, Any], number: int, receiver: Receiver) -> str:
        with failures():
            stored = await self._store.client.upload_part(
                **place,
                PartNumber=number,
                Body=await receiver.rewound(),
                ContentLength=receiver.size_bytes,
            )
        return str(stored["ETag"])

    async def _copy(self, key: str, upload: Incoming) -> None:
        source = {"Bucket": self._store.bucket, "Key": self._store.name(key)}
        with failures():
            await self._store.client.copy_object(
                Bucket=self._store.bucket,
                Key=self._store.name(upload.key),
                CopySource=source,
                ContentType=upload.content_type,
                MetadataDirective="REPLACE",
            )


async def _chain(bodies: Sequence[AsyncIterator[bytes]]) -> AsyncIterator[bytes]:
    for body in bodies:
        async for chunk in body:
            yield chunk


def _whole(session_id: str) -> str:
    return f"{upload_prefix(session_id)}whole"


def _part(upload: Incoming, number: int) -> str:
    return f"{upload_prefix(check_session(upload.session_id))}parts/{number:05d}"


def _piece(upload: Incoming, number: int) -> str:
    return f"{upload_prefix(check_session(upload.session_id))}appended/{number:05d}"


def _session(key: str) -> str:
    return key.removeprefix(UPLOADS).partition("/")[0]
