"""One contract for every part store: a folder, and a bucket of a real S3 server (A28, A41, A49, A52, A54)."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from media.parts import Incoming, PartInfo, PartStore
from tables.errors import (
    ChecksumMismatch,
    Conflict,
    ContentNotFound,
    FileTooLarge,
    InvalidChunkSequence,
    InvalidStateTransition,
)
from tests.contract.media.conftest import Side

pytestmark = pytest.mark.asyncio(loop_scope="session")

KEY = "videos/1/source.mp4"
TYPE = "video/mp4"
LIMIT = 1 << 20


class Cut(Exception):
    """What a body raises when its sender goes away."""


async def body(*chunks: bytes, cut: bool = False) -> AsyncIterator[bytes]:
    """Yield chunks, and then end or break off."""
    for chunk in chunks:
        yield chunk
        await asyncio.sleep(0)
    if cut:
        raise Cut


@pytest.fixture
def parts(side: Side) -> PartStore:
    return side.parts


@pytest_asyncio.fixture(loop_scope="session")
async def upload(parts: PartStore) -> Incoming:
    return await parts.begin("s-1", KEY, content_type=TYPE)


async def put(parts: PartStore, upload: Incoming, number: int, data: bytes) -> PartInfo:
    return await parts.put(upload, number, body(data), max_bytes=LIMIT)


async def stored(side: Side) -> bytes:
    return b"".join([chunk async for chunk in side.objects.read(KEY)])


async def nothing_left(side: Side) -> None:
    """Check that no unfinished upload has anything stored, here or there."""
    assert [each async for each in side.parts.unfinished()] == []
    assert [info.key async for info in side.objects.list("uploads/")] == []
    assert not side.uploads.exists() or list(side.uploads.iterdir()) == []


async def test_parts_stand_in_order_when_they_came_in_any(
    side: Side, upload: Incoming, tmp_path: Path
) -> None:
    """A16, A52: whatever their order and size, the bytes are the declared ones."""
    second = await put(side.parts, upload, 2, b"world")
    first = await put(side.parts, upload, 1, b"hello ")
    known = await side.parts.parts(upload)
    assert [(part.number, part.size_bytes, part.etag) for part in known] == [
        (1, 6, first.etag),
        (2, 5, second.etag),
    ]
    assert first.sha256 == hashlib.sha256(b"hello ").hexdigest()
    assert await side.objects.stat(KEY) is None
    whole = b"hello world"
    assert await side.parts.assemble(upload, known, tmp_path / "x") == hashlib.sha256(whole).hexdigest()
    assert (tmp_path / "x").read_bytes() == whole
    assert b"".join([chunk async for chunk in side.parts.read(upload, known)]) == whole
    info = await side.parts.complete(upload, known)
    assert (info.key, info.size_bytes, info.content_type) == (KEY, len(whole), TYPE)
    assert await stored(side) == whole
    assert (tmp_path / "x").read_bytes() == whole
    await nothing_left(side)


async def test_single_part_stands_when_completed_without_assembling(side: Side, upload: Incoming) -> None:
    part = await put(side.parts, upload, 1, b"alone")
    info = await side.parts.complete(upload, [part])
    assert (info.size_bytes, info.content_type) == (5, TYPE)
    assert await stored(side) == b"alone"


async def test_part_is_replaced_when_its_number_comes_again(side: Side, upload: Incoming) -> None:
    """A16: a part that is sent again is harmless, and the later bytes count."""
    old = await put(side.parts, upload, 1, b"old")
    new = await put(side.parts, upload, 1, b"newer")
    assert [part.etag for part in await side.parts.parts(upload)] == [new.etag]
    with pytest.raises(ChecksumMismatch):
        await side.parts.complete(upload, [old])
    await side.parts.complete(upload, [new])
    assert await stored(side) == b"newer"


async def test_upload_is_the_same_when_begun_again(parts: PartStore, upload: Incoming) -> None:
    await put(parts, upload, 1, b"kept")
    again = await parts.begin("s-1", KEY, content_type=TYPE)
    assert again.provider_upload_id == upload.provider_upload_id
    assert len(await parts.parts(again)) == 1


@pytest.mark.parametrize("number", [0, -1, 10_001])
async def test_part_is_refused_when_its_number_is_out_of_range(
    parts: PartStore, upload: Incoming, number: int
) -> None:
    """A17: INVALID_CHUNK_SEQUENCE."""
    with pytest.raises(InvalidChunkSequence):
        await put(parts, upload, number, b"x")
    with pytest.raises(InvalidChunkSequence):
        await parts.sign_put(upload, number, size_bytes=1, expires_seconds=60)


async def test_nothing_of_a_part_is_kept_when_it_is_too_long_or_cut(
    parts: PartStore, upload: Incoming
) -> None:
    """A4, A36: the limit itself passes, one byte more does not, and no half part counts."""
    first = await parts.put(upload, 1, body(b"12", b"345"), max_bytes=5)
    with pytest.raises(FileTooLarge) as refusal:
        await parts.put(upload, 1, body(b"12", b"345", b"6"), max_bytes=5)
    assert refusal.value.details["limit"] == 5
    with pytest.raises(Cut):
        await parts.put(upload, 2, body(b"half", cut=True), max_bytes=LIMIT)
    assert [(part.number, part.etag) for part in await parts.parts(upload)] == [(1, first.etag)]


async def test_completion_is_refused_when_its_list_is_wrong(side: Side, upload: Incoming) -> None:
    """A29, A54: each fault by its code, and the upload can go on after each."""
    one, two = await put(side.parts, upload, 1, b"one"), await put(side.parts, upload, 2, b"two")
    missing = PartInfo(3, 1, one.etag)
    for wrong in ([two], [two, one], [one, one], [one, two, missing]):
        with pytest.raises(InvalidChunkSequence):
            await side.parts.complete(upload, wrong)
    for part in (PartInfo(1, 3, two.etag), PartInfo(1, 4, one.etag)):
        with pytest.raises(ChecksumMismatch):
            await side.parts.complete(upload, [part, two])
    with pytest.raises(InvalidChunkSequence):
        await side.parts.complete(upload, [])
    assert await side.objects.stat(KEY) is None
    unquoted = PartInfo(1, 3, one.etag.strip('"'))
    await side.parts.complete(upload, [unquoted, two])
    assert await stored(side) == b"onetwo"


async def test_completions_agree_when_repeated_or_at_once(side: Side, upload: Incoming) -> None:
    """A48: the second answers what the first did."""
    known = [await put(side.parts, upload, 1, b"one"), await put(side.parts, upload, 2, b"two")]
    first, second = await asyncio.gather(
        side.parts.complete(upload, known), side.parts.complete(upload, known)
    )
    third = await side.parts.complete(upload, known)
    assert first.size_bytes == second.size_bytes == third.size_bytes == 6
    assert await stored(side) == b"onetwo"
    await nothing_left(side)


async def test_upload_refuses_everything_when_it_was_aborted(
    side: Side, upload: Incoming, tmp_path: Path
) -> None:
    """A41: no orphan, and no way back."""
    part = await put(side.parts, upload, 1, b"gone")
    await side.parts.abort(upload)
    await side.parts.abort(upload)
    await nothing_left(side)
    for refused in (
        put(side.parts, upload, 1, b"late"),
        side.parts.append(upload, 0, body(b"late"), max_bytes=LIMIT),
        side.parts.parts(upload),
        side.parts.offset(upload),
        side.parts.assemble(upload, [part], tmp_path / "x"),
        side.parts.complete(upload, [part]),
        side.parts.complete(upload, []),
    ):
        with pytest.raises(InvalidStateTransition):
            await refused
    await nothing_left(side)
    assert await side.objects.stat(KEY) is None


async def test_object_stays_when_a_completed_upload_is_aborted(side: Side, upload: Incoming) -> None:
    part = await put(side.parts, upload, 1, b"kept")
    await side.parts.complete(upload, [part])
    await side.parts.abort(upload)
    assert await stored(side) == b"kept"


@pytest.mark.parametrize("way", ["put", "append"])
async def test_nothing_is_left_when_aborted_with_bytes_in_flight(
    side: Side, upload: Incoming, way: str
) -> None:
    """A41: the part is refused at its end."""
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"first"
        begun.set()
        await go.wait()
        yield b"second"

    if way == "put":
        work: asyncio.Task[object] = asyncio.ensure_future(side.parts.put(upload, 1, slow(), max_bytes=LIMIT))
    else:
        work = asyncio.ensure_future(side.parts.append(upload, 0, slow(), max_bytes=LIMIT))
    await begun.wait()
    await side.parts.abort(upload)
    go.set()
    with pytest.raises(InvalidStateTransition):
        await work
    await nothing_left(side)


async def test_bytes_grow_when_appended(side: Side, upload: Incoming, tmp_path: Path) -> None:
    """A49: each append ends at the next offset."""
    assert await side.parts.offset(upload) == 0
    assert await side.parts.append(upload, 0, body(b"he", b"llo"), max_bytes=5) == 5
    assert await side.parts.append(upload, 5, body(), max_bytes=6) == 5
    assert await side.parts.append(upload, 5, body(b" world"), max_bytes=6) == 11
    assert await side.parts.offset(upload) == 11
    assert await side.parts.parts(upload) == []
    digest = hashlib.sha256(b"hello world").hexdigest()
    assert await side.parts.assemble(upload, [], tmp_path / "x") == digest
    assert (tmp_path / "x").read_bytes() == b"hello world"
    assert b"".join([chunk async for chunk in side.parts.read(upload, [])]) == b"hello world"
    info = await side.parts.complete(upload, [])
    assert (info.size_bytes, info.content_type) == (11, TYPE)
    assert await stored(side) == b"hello world"
    assert (await side.parts.complete(upload, [])).size_bytes == 11
    await nothing_left(side)


async def test_append_is_refused_when_its_offset_is_another(parts: PartStore, upload: Incoming) -> None:
    """RFC draft and tus: 409, with the offset that is right."""
    await parts.append(upload, 0, body(b"abc"), max_bytes=LIMIT)
    for wrong in (0, 2, 4):
        with pytest.raises(Conflict) as refusal:
            await parts.append(upload, wrong, body(b"x"), max_bytes=LIMIT)
        assert refusal.value.details["offset"] == 3
    assert await parts.offset(upload) == 3


async def test_what_arrived_counts_when_an_append_is_cut(side: Side, upload: Incoming) -> None:
    """Y5, A49: the client goes on where the server stopped hearing it."""
    with pytest.raises(Cut):
        await side.parts.append(upload, 0, body(b"abc", b"def", cut=True), max_bytes=LIMIT)
    assert await side.parts.offset(upload) == 6
    with pytest.raises(FileTooLarge):
        await side.parts.append(upload, 6, body(b"gh", b"over"), max_bytes=3)
    assert await side.parts.offset(upload) == 8
    assert await side.parts.append(upload, 8, body(b"i"), max_bytes=1) == 9
    await side.parts.complete(upload, [])
    assert await stored(side) == b"abcdefghi"


async def test_what_arrived_counts_when_the_request_is_cancelled(parts: PartStore, upload: Incoming) -> None:
    arrived = asyncio.Event()

    async def stalling() -> AsyncIterator[bytes]:
        yield b"abc"
        arrived.set()
        await asyncio.Event().wait()

    work = asyncio.ensure_future(parts.append(upload, 0, stalling(), max_bytes=LIMIT))
    await arrived.wait()
    with pytest.raises(Conflict):
        await parts.append(upload, 0, body(b"other"), max_bytes=LIMIT)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert await parts.offset(upload) == 3


async def test_unfinished_uploads_are_found_when_no_row_knows_them(
    parts: PartStore, upload: Incoming
) -> None:
    """A41: what a crash left can be found and aborted by its session alone."""
    other = await parts.begin("s-2", "videos/2/source.mov", content_type="video/quicktime")
    await put(parts, other, 1, b"x")
    found = [each async for each in parts.unfinished()]
    assert [each.session_id for each in found] == ["s-1", "s-2"]
    assert all(each.begun_at > 1_600_000_000 for each in found)
    for each in found:
        await parts.abort(each)
    assert [each async for each in parts.unfinished()] == []


@pytest.mark.parametrize("session", ["../s", "", "a/b", ".gone-x", "s" * 65])
async def test_session_is_refused_when_it_could_lead_out(parts: PartStore, session: str) -> None:
    with pytest.raises(ContentNotFound):
        await parts.begin(session, KEY, content_type=TYPE)
    with pytest.raises(ContentNotFound):
        await parts.abort(Incoming(session, KEY, "", TYPE))
