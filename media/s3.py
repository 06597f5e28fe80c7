"""The object store on S3 or anything that speaks it (B40, X18)."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

from media.delivery import content_type
from media.layout import UPLOADS
from media.s3_bucket import create_bucket
from media.s3_errors import error_code, failures
from media.stores import RESTORED_DAYS, STALE_SECONDS, ObjectInfo, check_key, run_blocking
from tables.errors import ContentNotFound, InvalidStateTransition

READ_BYTES = 256 * 1024
CONNECT_SECONDS = 5.0
READ_SECONDS = 120.0
"""A server-side copy of the largest upload answers when it is done."""
CONNECTIONS = 64
ATTEMPTS = 3
ARCHIVE_DAYS = 90
BATCH = 1000
"""DeleteObjects takes a thousand keys."""
_PAST_END = "InvalidRange"
_ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Storage classes whose objects cannot be read before they are restored; GLACIER_IR can."""
_ARCHIVE = "GLACIER"


class S3Store:
    """Objects in one bucket, optionally under a prefix. Use as an async context manager.

    An S3 write is durable and atomic once it is answered, so nothing more is needed here.
    """

    def __init__(
        self, bucket: str, *, endpoint_url: str | None = None, prefix: str = "", public_url: str | None = None
    ) -> None:
        """Take the bucket; credentials and region come from the usual AWS variables.

        Args:
            bucket: its name.
            endpoint_url: the S3 server, None for Amazon's.
            prefix: a folder of the bucket that everything lies in.
            public_url: where clients reach the same server, when that is not ``endpoint_url``.
        """
        self.bucket = bucket
        self._endpoint_url = endpoint_url
        self._public_url = public_url
        self.prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.client: Any = None
        self.signer: Any = None
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Open the clients. aioboto3 is imported here: an embedded server never needs its memory."""
        self.client = await self._connect(self._endpoint_url)
        self.signer = await self._connect(self._public_url) if self._public_url else self.client
        return self

    async def _connect(self, endpoint_url: str | None) -> Any:
        import aioboto3
        from botocore.config import Config

        # Servers of one's own have no host name per bucket.
        addressing = {"addressing_style": "path" if endpoint_url else "auto"}
        config = Config(
            signature_version="s3v4",
            s3=addressing,
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            max_pool_connections=CONNECTIONS,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        )
        client = aioboto3.Session().client("s3", endpoint_url=endpoint_url, config=config)
        return await self._stack.enter_async_context(client)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the client."""
        await self._stack.aclose()

    async def create_bucket(self, *, archive_days: int = ARCHIVE_DAYS, origins: Sequence[str] = ()) -> None:
        """Create the bucket when there is none, private, with its lifecycle (R33).

        Args:
            archive_days: age at which objects move to the archive tier; 0 for never.
            origins: web origins whose pages may send parts to signed URLs.
        """
        await create_bucket(self.client, self.bucket, self.prefix, archive_days, origins)

    async def put_file(self, key: str, path: Path, *, content_type: str, move: bool = False) -> None:
        """Store a file, in parallel parts when it is large."""
        with failures():
            await self.client.upload_file(
                str(path), self.bucket, self.name(key), ExtraArgs={"ContentType": content_type}
            )
        if move:
            await asyncio.to_thread(path.unlink, missing_ok=True)

    async def put_bytes(self, key: str, data: bytes, *, content_type: str) -> None:
        """Store bytes."""
        with failures():
            await self.client.put_object(
                Bucket=self.bucket, Key=self.name(key), Body=data, ContentType=content_type
            )

    async def stat(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, None when there is none."""
        try:
            with failures():
                found = await self.client.head_object(Bucket=self.bucket, Key=self.name(key))
        except ContentNotFound:
            return None
        restoring, back = _restoration(found.get("Restore", ""))
        return ObjectInfo(
            key,
            found["ContentLength"],
            found.get("ContentType", "application/octet-stream"),
            found["ETag"],
            found["LastModified"].timestamp(),
            archived=found.get("StorageClass") in _ARCHIVES and not back,
            restoring=restoring,
        )

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield bytes from ``start`` to before ``end``."""
        if end is not None and end <= start:
            return
        last = "" if end is None else str(end - 1)
        with failures():
            try:
                found = await self.client.get_object(
                    Bucket=self.bucket, Key=self.name(key), Range=f"bytes={start}-{last}"
                )
            except Exception as error:
                if error_code(error) == _PAST_END:
                    return
                raise
            async with found["Body"] as body:
                async for chunk in body.content.iter_chunked(READ_BYTES):
                    yield chunk

    async def fetch(self, key: str, path: Path) -> None:
        """Copy an object to a local file."""
        body = self.read(key)
        first = await anext(body, b"")  # what there is to refuse is refused before there is a file
        with await run_blocking(cast("Callable[..., BinaryIO]", path.open), "wb") as out:
            await run_blocking(out.write, first)
            async for chunk in body:
                await run_blocking(out.write, chunk)

    def local_path(self, key: str) -> Path | None:
        """Return None: objects are not on this machine."""
        check_key(key)
        return None

    def open_local(self, key: str) -> None:
        """Return None: objects are not on this machine."""
        check_key(key)

    async def delete(self, key: str) -> None:
        """Delete an object; S3 does not mind when there is none."""
        with failures():
            await self.client.delete_object(Bucket=self.bucket, Key=self.name(key))

    async def delete_prefix(self, prefix: str) -> int:
        """Delete every object below a prefix, a thousand a request."""
        check_key(prefix.rstrip("/"))
        keys = [self.name(info.key) async for info in self.list(prefix.rstrip("/") + "/")]
        for start in range(0, len(keys), BATCH):
            names = [{"Key": name} for name in keys[start : start + BATCH]]
            with failures():
                await self.client.delete_objects(Bucket=self.bucket, Delete={"Objects": names, "Quiet": True})
        return len(keys)

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Yield the objects below a prefix, in key order.

        The listing knows no content types, and not whether an archived object was restored.
        """
        with failures():
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.prefix + prefix
            )
            async for page in pages:
                for found in page.get("Contents", ()):
                    key = found["Key"].removeprefix(self.prefix)
                    yield ObjectInfo(
                        key,
                        found["Size"],
                        content_type(key),
                        found["ETag"],
                        found["LastModified"].timestamp(),
                        archived=found.get("StorageClass") in _ARCHIVES,
                    )

    async def archive(self, key: str) -> None:
        """Copy an object onto itself in the archive's storage class."""
        found = await self.stat(key)
        if found is None:
            raise ContentNotFound
        if found.archived:
            return
        source = {"Bucket": self.bucket, "Key": self.name(key)}
        with failures():
            await self.client.copy_object(
                Bucket=self.bucket, Key=self.name(key), CopySource=source, StorageClass=_ARCHIVE
            )

    async def restore(self, key: str, *, days: int = RESTORED_DAYS) -> None:
        """Ask for a readable copy, which lasts so many days from the moment it is there."""
        found = await self.stat(key)
        if found is None:
            raise ContentNotFound
        if found.archived and not found.restoring:
            with failures():
                await self.client.restore_object(
                    Bucket=self.bucket, Key=self.name(key), RestoreRequest={"Days": days}
                )

    async def tidy(self, older_seconds: float = STALE_SECONDS) -> int:
        """Abort multipart uploads of large files; those of unfinished uploads are not this method's."""
        latest, count = time.time() - older_seconds, 0
        async for key, upload_id, begun_at in self.multiparts(""):
            if begun_at <= latest and not key.startswith(UPLOADS):
                await self.abort_multipart(key, upload_id)
                count += 1
        return count

    async def multiparts(self, prefix: str) -> AsyncIterator[tuple[str, str, float]]:
        """Yield key, id and beginning of the multipart uploads below a prefix."""
        with failures():
            pages = self.client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self.bucket, Prefix=self.prefix + prefix
            )
            async for page in pages:
                for each in page.get("Uploads", ()):
                    yield (
                        each["Key"].removeprefix(self.prefix),
                        each["UploadId"],
                        each["Initiated"].timestamp(),
                    )

    async def abort_multipart(self, key: str, upload_id: str) -> None:
        """Abort a multipart upload; no error when somebody else was faster."""
        with contextlib.suppress(InvalidStateTransition), failures():
            await self.client.abort_multipart_upload(
                Bucket=self.bucket, Key=self.name(key), UploadId=upload_id
            )

    def name(self, key: str) -> str:
        """Return an object's name in the bucket."""
        return self.prefix + check_key(key)


def _restoration(header: str) -> tuple[bool, bool]:
    """Read ``x-amz-restore``: whether a restoration goes on, and whether a restored copy is there.

    >>> _restoration('ongoing-request="true"'), _restoration('ongoing-request="false", expiry-date="..."')
    ((True, False), (False, True))
    """
    return 'ongoing-request="true"' in header, 'ongoing-request="false"' in header
