"""Chooses the object store by its setting."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from freewill.paths import objects_path
from freewill.settings import Settings
from media.stores import FileStore, ObjectStore


def is_local(settings: Settings) -> bool:
    """Tell whether objects lie in a folder."""
    return settings.object_store.startswith("file")


def object_store(settings: Settings) -> ObjectStore:
    """Return the store; one in a bucket is not connected yet."""
    if is_local(settings):
        return FileStore(objects_path(settings), settings.archive_dir)
    from media.s3 import S3Store  # loads botocore, which only this mode needs

    bucket, _, prefix = settings.object_store.removeprefix("s3://").rstrip("/").partition("/")
    return S3Store(
        bucket,
        endpoint_url=os.environ.get("AWS_ENDPOINT_URL"),
        prefix=prefix,
        public_url=settings.object_store_public_url or None,
    )


@asynccontextmanager
async def opened_store(settings: Settings) -> AsyncIterator[ObjectStore]:
    """Return the store for as long as the block runs, connected."""
    store = object_store(settings)
    if isinstance(store, FileStore):
        yield store
        return
    async with store as remote:  # type: ignore[attr-defined]
        yield remote
