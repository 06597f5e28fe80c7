"""Scenarios 1 to 3 of document 001 (T34-T36), as far as uploads go, and the crashes between their steps."""

import asyncio
import hashlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from media.policies import LONG, SHORT
from social.uploads import Wanted
from social.videos import VideoMetadata
from tables.errors import AppError, Conflict, FileTooLarge, InvalidFormat
from tables.lifecycle import VideoStatus
from tables.relational.models import UploadSessionRow, VideoRow

hundred = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
PART = 64
STEPS = ("leased", "assembled", "judged", "stored", "committed", "cleaned")
TITLE = VideoMetadata(title="t")


class Killed(BaseException):
    """The process died here."""


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Cut files at 64 bytes instead of 5 MiB."""
    for place in ("model", "rules", "opening"):
        monkeypatch.setattr(f"social.uploads.{place}.PART_BYTES", PART)


async def owner_of(uploads):
    if not hasattr(uploads, "owner"):
        uploads.owner = await uploads.user()
        from dataclasses import replace

        uploads.restart(settings=replace(uploads.tools.settings, daily=None))
    return uploads.owner


def pieces(data):
    return [data[start : start + PART] for start in range(0, len(data), PART)]


@hundred
@given(data=st.binary(min_size=1, max_size=2 * PART + 1))
async def test_source_is_stored_and_announced_when_created_sent_and_completed(uploads, data):
    """Scenario 1, A26-A29, A31, C3, C4, C16, X12: a DRAFT, its parts, its source, byte for byte."""
    owner = await owner_of(uploads)
    video_id = await uploads.draft(owner)
    assert (await uploads.videos.get(video_id, owner)).status is VideoStatus.DRAFT
    session = await uploads.in_parts(owner, len(data), video_id, mime="video/mp4")
    assert (session.status, session.part_count) == ("INITIATED", -(-len(data) // PART))
    assert (await uploads.videos.get(video_id, owner)).status is VideoStatus.UPLOADING
    numbers = list(range(1, session.part_count + 1))
    urls = await uploads.service.part_urls(session.id, owner, numbers)
    assert [url.size_bytes for url in urls] == [len(piece) for piece in pieces(data)]
    etags = {}
    for number, piece in zip(numbers, pieces(data), strict=True):
        etags[number] = (await uploads.send(session, None, number, piece)).part.etag
    done = await uploads.service.complete(session.id, owner, etags)
    assert (done.status, done.progress) == ("COMPLETED", 100.0)
    video = await uploads.videos.get(video_id, owner)
    assert (video.status, video.source_size_bytes) == (VideoStatus.UPLOADED, len(data))
    assert uploads.source(video_id) == data
    assert await uploads.facts(video_id) == [video_id]


@hundred
@given(
    size=st.one_of(st.integers(1, 3 * 1024**3), st.sampled_from([LONG.max_bytes, LONG.max_bytes + 1])),
    mime=st.sampled_from(["video/mp4", "video/quicktime", "video/x-matroska", "image/png", "text/html"]),
)
async def test_file_is_refused_before_its_first_byte_when_type_or_size_are_wrong(uploads, size, mime):
    """Scenario 2, A10, A11: at initiation, with the limit or the list; the video stays a DRAFT."""
    owner = await owner_of(uploads)
    video_id = await uploads.draft(owner)
    wanted = Wanted(provider="S3_MULTIPART", policy=LONG, size_bytes=size, video_id=video_id, mime=mime)
    if size <= LONG.max_bytes and mime in LONG.mimes():
        session = await uploads.service.create(owner, wanted)
        assert session.part_count == -(-size // PART)
        return
    with pytest.raises((FileTooLarge, InvalidFormat)) as refused:
        await uploads.service.create(owner, wanted)
    assert refused.value.details.get("limit_bytes") == LONG.max_bytes or (
        refused.value.details["supported"] == LONG.supported()
    )
    assert (await uploads.videos.get(video_id, owner)).status is VideoStatus.DRAFT


EVENTS = st.lists(
    st.tuples(st.sampled_from(["send", "cut", "pause", "restart", "early", "again"]), st.integers(0, 4)),
    max_size=3,
)


@hundred
@given(data=st.binary(min_size=PART + 1, max_size=2 * PART + 9), events=EVENTS)
async def test_upload_resumes_with_what_is_missing_when_it_was_interrupted(uploads, sending, data, events):
    """Scenario 3, A30-A32, A36, A52, A53: cuts, pauses, restarts in any order, then only what is missing."""
    owner = await owner_of(uploads)
    session = await uploads.in_parts(owner, len(data))
    sent = pieces(data)

    async def cut(piece):
        async for chunk in sending(piece[: len(piece) // 2], 8):
            yield chunk
        raise ConnectionResetError

    for event, index in events:
        number = index % len(sent) + 1
        if event in ("send", "again"):
            await uploads.send(session, owner, number, sent[number - 1])
        elif event == "cut":
            with pytest.raises((ConnectionResetError, AppError)):
                await uploads.service.receive(session.id, owner, number, cut(sent[number - 1]))
        elif event == "restart":
            uploads.restart()
            await uploads.service.sweep(everything=True)
        elif event == "early" and (await uploads.service.get(session.id, owner)).missing:
            with pytest.raises(AppError) as refused:
                await uploads.service.complete(session.id, owner)
            assert refused.value.code in ("INVALID_CHUNK_SEQUENCE", "INVALID_STATE_TRANSITION")
        elif event == "pause" and (await uploads.service.get(session.id, owner)).status == "IN_PROGRESS":
            await uploads.service.pause(session.id, owner)
            with pytest.raises(AppError) as refused:
                await uploads.send(session, owner, number, sent[number - 1])
            assert refused.value.code == "INVALID_STATE_TRANSITION"
            await uploads.service.resume(session.id, owner)
    there = {part.number for part in (await uploads.service.get(session.id, owner)).parts}
    for number in set(range(1, len(sent) + 1)) - there:
        await uploads.send(session, owner, number, sent[number - 1])
    before = await uploads.service.get(session.id, owner)
    assert (before.bytes_uploaded, before.missing) == (len(data), 0)
    done = await uploads.service.complete(session.id, owner)
    assert uploads.source(done.video_id) == data


# Crashes: each named step of completing, then a new process


async def interrupted(uploads, monkeypatch, step, kind):
    """Return an owner, a session with all bytes and the bytes, its completion killed at a step."""
    owner, data = await uploads.user(), b"0123456789" * 20
    if kind == "parts":
        session = await uploads.in_parts(owner, len(data))
        chunks = pieces(data)
    else:
        name = {"chunks": "a.mp4", "another format": "a.mov"}[kind]
        session = await uploads.chunked(owner, data, 2, filename=name)
        chunks = [data[:90], data[90:]]
    for number, chunk in enumerate(chunks, 1):
        await uploads.send(session, owner, number, chunk)

    def at(now):
        if now == step:
            raise Killed

    monkeypatch.setattr(uploads.service.completer, "_at", at)
    with pytest.raises(Killed):
        await finish(uploads, session, owner)
    uploads.restart()
    await uploads.videos.sweep_objects(everything=True)
    await uploads.service.sweep(everything=True)
    return owner, session, data


async def finish(uploads, session, owner):
    if session.provider == "S3_MULTIPART":
        return await uploads.service.complete(session.id, owner)
    await uploads.service.finalize(session.id, owner, TITLE)
    return await uploads.service.get(session.id, owner)


KINDS = ("chunks", "parts", "another format")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", KINDS)
async def test_completion_finishes_when_it_is_asked_again_after_a_crash(uploads, monkeypatch, step, kind):
    """A19, A37, A48: killed at any step, one video, its bytes, its one fact, and nothing else."""
    owner, session, data = await interrupted(uploads, monkeypatch, step, kind)
    done = await finish(uploads, session, owner)
    assert done.status == "COMPLETED"
    assert uploads.objects() == {f"videos/{done.video_id}/source.mp4": data}
    assert await uploads.facts() == [done.video_id]
    await uploads.service.sweep()
    await uploads.assert_no_orphan()
    assert uploads.waiting() == []


@pytest.mark.parametrize("end", ["cancel", "expire"])
@pytest.mark.parametrize("step", STEPS[:4])
@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_is_left_when_nobody_asks_again_after_a_crash(uploads, monkeypatch, step, kind, end):
    """A35, A41: the session's row is the note of what has to go."""
    owner, session, _ = await interrupted(uploads, monkeypatch, step, kind)
    if end == "cancel":
        await uploads.service.cancel(session.id, owner)
    else:
        uploads.clock.now += 86_401
        assert await uploads.service.sweep() == 1
    assert (uploads.objects(), uploads.waiting()) == ({}, [])
    assert await uploads.facts() == []
    (row,) = await uploads.rows(UploadSessionRow)
    assert (row.status, row.sweep_at) == ("CANCELED" if end == "cancel" else "EXPIRED", None)


async def test_upload_is_aborted_when_its_session_went_with_its_video(uploads):
    """A41, C25: what no row knows is found in the store itself."""
    owner = await uploads.user()
    session = await uploads.in_parts(owner, 10)
    await uploads.send(session, owner, 1, b"0123456789")
    await uploads.videos.delete(session.video_id, owner)
    assert uploads.waiting() != []
    uploads.clock.now += 400_000_000  # the store dates uploads by the machine's clock
    assert await uploads.service.sweep() == 1
    assert uploads.waiting() == []


# Two at once


async def test_both_hear_the_same_when_two_complete_at_once(uploads_on):
    """A37, A48: in one process and over two."""
    owner, data = await uploads_on.user(), b"abc"
    session = await uploads_on.chunked(owner, data, 1)
    await uploads_on.send(session, owner, 1, data)
    first = uploads_on.service
    second = uploads_on.restart()
    answers = await asyncio.gather(
        *(service.finalize(session.id, owner, TITLE) for service in (first, first, second, second))
    )
    assert len({video.id for video in answers}) == 1
    assert len(await uploads_on.rows(VideoRow)) == 1
    assert await uploads_on.facts() == [answers[0].id]


async def test_one_wins_when_two_sessions_of_a_video_complete(uploads_on):
    """A48: the other is refused, and the source is the winner's."""
    owner = await uploads_on.user()
    video_id = await uploads_on.draft(owner)
    sessions = [await uploads_on.in_parts(owner, 3, video_id) for _ in range(2)]
    for session, data in zip(sessions, (b"one", b"two"), strict=True):
        await uploads_on.send(session, owner, 1, data)
    answers = await asyncio.gather(
        *(uploads_on.service.complete(session.id, owner) for session in sessions), return_exceptions=True
    )
    won = [index for index, answer in enumerate(answers) if not isinstance(answer, AppError)]
    assert len(won) == 1
    assert isinstance(answers[1 - won[0]], Conflict)
    assert uploads_on.objects() == {f"videos/{video_id}/source.mp4": (b"one", b"two")[won[0]]}
    await uploads_on.service.cancel(sessions[1 - won[0]].id, owner)
    await uploads_on.assert_no_orphan()


async def test_other_session_is_refused_while_one_of_the_video_is_completed(uploads):
    """A48: before it can store anything at the source's key; a judged upload takes no part any more."""
    owner = await uploads.user()
    video_id = await uploads.draft(owner)
    first, second = [await uploads.in_parts(owner, 3, video_id) for _ in range(2)]
    for session, data in ((first, b"one"), (second, b"two")):
        await uploads.send(session, owner, 1, data)

    def at(step):
        if step == "stored":
            raise Killed

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(uploads.service.completer, "_at", at)
        with pytest.raises(Killed):
            await uploads.service.complete(first.id, owner)
    for leased in (True, False):  # by its lease, then by its verdict
        if not leased:
            uploads.restart()
            await uploads.service.sweep(everything=True)
        with pytest.raises(Conflict) as refused:
            await uploads.service.complete(second.id, owner)
        assert refused.value.details == {"upload_session_id": first.id}
        with pytest.raises(Conflict) as refused:
            await uploads.send(first, owner, 1, b"new")
        assert refused.value.code == "CONFLICT"
    assert uploads.source(video_id) == b"one"
    await uploads.service.cancel(first.id, owner)
    assert uploads.objects() == {}
    await uploads.service.complete(second.id, owner)
    assert uploads.source(video_id) == b"two"


async def test_completion_goes_on_when_its_client_goes_away(uploads, monkeypatch):
    """A48: large files are checked for longer than a client may wait."""
    owner = await uploads.user()
    session = await uploads.chunked(owner, b"abc", 1)
    await uploads.send(session, owner, 1, b"abc")
    reached, go = asyncio.Event(), asyncio.Event()
    probe = uploads.tools.probe

    async def slow(path, policy, *, filename=""):
        reached.set()
        await go.wait()
        return await probe(path, policy, filename=filename)

    uploads.restart(probe=slow)
    request = asyncio.create_task(uploads.service.finalize(session.id, owner, TITLE))
    await reached.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    go.set()
    video = await uploads.service.finalize(session.id, owner, TITLE)
    assert hashlib.sha256(uploads.source(video.id)).hexdigest() == session.sha256
    assert len(await uploads.rows(VideoRow)) == 1
    assert SHORT.name == session.policy
