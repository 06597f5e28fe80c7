"""The object store on S3 or anything that speaks it (B40, X18)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from media.delivery import content_type
from media.stores import ObjectInfo, check_key
from tables.errors import AppError, ContentNotFound, StorageFailure

READ_BYTES = 256 * 1024
BATCH = 1000
"""DeleteObjects takes a thousand keys."""
_ABSENT = frozenset({"404", "NoSuchKey", "NotFound"})
_PRESENT = frozenset({"BucketAlreadyOwnedByYou", "BucketAlreadyExists"})
_PAST_END = "InvalidRange"


class S3Store:
    """Objects in one bucket, optionally under a prefix. Use as an async context manager.

    An S3 write is durable and atomic once it is answered, so nothing more is needed here.
    """

    def __init__(self, bucket: str, *, endpoint_url: str | None = None, prefix: str = "") -> None:
        """Take the bucket; credentials and region come from the usual AWS variables."""
        self._bucket = bucket
        self._endpoint_url = endpoint_url
        self._prefix = prefix
        self._client: Any = None
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Open the client. aioboto3 is imported here: an embedded server never needs its memory."""
        import aioboto3

        session = aioboto3.Session()
        self._client = await self._stack.enter_async_context(
            session.client("s3", endpoint_url=self._endpoint_url)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the client."""
        await self._stack.aclose()

    async def create_bucket(self) -> None:
        """Create the bucket when there is none, for a first start on one's own S3 server."""
        from botocore.exceptions import ClientError

        try:
            await self._client.create_bucket(Bucket=self._bucket)
        except ClientError as error:
            if _code(error) not in _PRESENT:
                raise StorageFailure(details={"cause": _code(error)}) from error

    async def put_file(self, key: str, path: Path, *, content_type: str, move: bool = False) -> None:
        """Store a file, in parallel parts when it is large."""
        with _failures():
            await self._client.upload_file(
                str(path), self._bucket, self._name(key), ExtraArgs={"ContentType": content_type}
            )
        if move:
            await asyncio.to_thread(path.unlink, missing_ok=True)

    async def put_bytes(self, key: str, data: bytes, *, content_type: str) -> None:
        """Store bytes."""
        with _failures():
            await self._client.put_object(
                Bucket=self._bucket, Key=self._name(key), Body=data, ContentType=content_type
            )

    async def stat(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, None when there is none."""
        try:
            with _failures():
                found = await self._client.head_object(Bucket=self._bucket, Key=self._name(key))
        except ContentNotFound:
            return None
        return ObjectInfo(
            key,
            found["ContentLength"],
            found.get("ContentType", "application/octet-stream"),
            found["ETag"],
            found["LastModified"].timestamp(),
        )

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield bytes from ``start`` to before ``end``."""
        if end is not None and end <= start:
            return
        last = "" if end is None else str(end - 1)
        with _failures():
            try:
                found = await self._client.get_object(
                    Bucket=self._bucket, Key=self._name(key), Range=f"bytes={start}-{last}"
                )
            except Exception as error:
                if _code(error) == _PAST_END:
                    return
                raise
            async with found["Body"] as body:
                async for chunk in body.content.iter_chunked(READ_BYTES):
                    yield chunk

    async def fetch(self, key: str, path: Path) -> None:
        """Copy an object to a local file."""
        with _failures():
            await self._client.download_file(self._bucket, self._name(key), str(path))

    def local_path(self, key: str) -> Path | None:
        """Return None: objects are not on this machine."""
        check_key(key)
        return None

    async def delete(self, key: str) -> None:
        """Delete an object; S3 does not mind when there is none."""
        with _failures():
            await self._client.delete_object(Bucket=self._bucket, Key=self._name(key))

    async def delete_prefix(self, prefix: str) -> int:
        """Delete every object below a prefix, a thousand a request."""
        check_key(prefix.rstrip("/"))
        keys = [self._name(info.key) async for info in self.list(prefix.rstrip("/") + "/")]
        for start in range(0, len(keys), BATCH):
            names = [{"Key": name} for name in keys[start : start + BATCH]]
            with _failures():
                await self._client.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": names, "Quiet": True}
                )
        return len(keys)

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Yield the objects below a prefix, in key order. The listing knows no content types."""
        with _failures():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            async for page in pages:
                for found in page.get("Contents", ()):
                    key = found["Key"].removeprefix(self._prefix)
                    yield ObjectInfo(
                        key,
                        found["Size"],
                        content_type(key),
                        found["ETag"],
                        found["LastModified"].timestamp(),
                    )

    def _name(self, key: str) -> str:
        return self._prefix + check_key(key)


@contextlib.contextmanager
def _failures() -> Any:
    """Turn a missing object into ContentNotFound and everything else of the client into StorageFailure."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except AppError:
        raise
    except (BotoCoreError, ClientError, OSError) as error:
        if _code(error) in _ABSENT:
            raise ContentNotFound from error
        raise StorageFailure(details={"cause": _code(error) or type(error).__name__}) from error


def _code(error: BaseException) -> str:
    """Return S3's own error code, empty when the request did not get an answer."""
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))
