"""Bad input and faults of upload sessions: the stated code, the stated state, nothing left (A17, A33-A56)."""

import asyncio
import itertools
from dataclasses import replace

import pytest
from sqlalchemy.orm.exc import StaleDataError

from media.policies import LONG, SHORT
from media.scanner import ScannerUnavailable
from social.uploads import Report, Wanted
from social.uploads.states import OPEN, TARGET, Operation, after
from social.videos import VideoMetadata
from tables.errors import (
    AppError,
    ChecksumMismatch,
    Conflict,
    ContentNotFound,
    CorruptedFile,
    DatabaseFailure,
    FileTooLarge,
    InfectedFile,
    InvalidChunkSequence,
    InvalidFormat,
    InvalidStateTransition,
    NotContentOwner,
    RateLimitExceeded,
    SessionExpired,
    SignatureRefused,
    ValidationFailed,
)
from tables.lifecycle import UPLOAD, UPLOAD_STRICT, UploadStatus, VideoStatus
from tables.relational.models import UploadSessionRow, VideoRow

TITLE = VideoMetadata(title="t")
U = UploadStatus
# What 001 leaves open, and what the operations add to the moves (A37, A53).
REPEATED = {(U.IN_PROGRESS, Operation.RECEIVE), (U.COMPLETED, Operation.COMPLETE)}
NOT_THIS_WAY = {(U.PAUSED, Operation.RECEIVE), (U.INITIATED, Operation.RESUME)}


# The state table


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(("status", "operation"), [*itertools.product(UploadStatus, Operation)])
def test_operation_leads_where_the_table_says(status, operation, strict):
    """A33, A34, A35, A53, X76: every state and every operation, from the table itself."""
    moves = (UPLOAD_STRICT if strict else UPLOAD)[status]
    listed = TARGET[operation] in moves and (status, operation) not in NOT_THIS_WAY
    if status is U.EXPIRED:
        with pytest.raises(SessionExpired):
            after(status, operation, strict=strict)
    elif listed or (status, operation) in REPEATED:
        assert after(status, operation, strict=strict) is TARGET[operation]
    else:
        with pytest.raises(InvalidStateTransition) as refused:
            after(status, operation, strict=strict)
        assert refused.value.details["from"] == status
        for name in refused.value.details["allowed"]:
            after(status, Operation(name), strict=strict)


def test_table_is_document_001s_when_strict():
    """A33, A34, A35: the moves that the document lists, plus expiry; what is final has none."""
    listed = {
        (U.INITIATED, U.IN_PROGRESS), (U.IN_PROGRESS, U.PAUSED), (U.PAUSED, U.IN_PROGRESS),
        (U.IN_PROGRESS, U.COMPLETED), (U.IN_PROGRESS, U.FAILED), (U.IN_PROGRESS, U.CANCELED),
        (U.PAUSED, U.CANCELED),
    }  # fmt: skip
    expiry = {(status, U.EXPIRED) for status in OPEN}
    assert {(old, new) for old, targets in UPLOAD_STRICT.items() for new in targets} == listed | expiry
    added = {(old, new) for old, targets in UPLOAD.items() for new in targets} - listed - expiry
    assert added == {(U.INITIATED, U.CANCELED)}


@pytest.mark.parametrize("strict", [False, True])
async def test_session_is_canceled_before_its_first_part_unless_the_table_is_strict(uploads, strict):
    """X76: refused with 409 then, and the session expires by itself."""
    owner = await uploads.user()
    uploads.restart(settings=replace(uploads.tools.settings, strict_transitions=strict))
    session = await uploads.in_parts(owner, 10)
    if not strict:
        assert (await uploads.service.cancel(session.id, owner)).status == "CANCELED"
        return
    with pytest.raises(InvalidStateTransition):
        await uploads.service.cancel(session.id, owner)
    uploads.clock.now += 86_401
    await uploads.service.sweep()
    assert (await uploads.service.get(session.id, owner)).status == "EXPIRED"


async def test_write_is_refused_when_another_changed_the_session_first(uploads):
    """A36: compare and set on the version."""
    session = await uploads.in_parts(await uploads.user(), 10)
    async with uploads.database.session() as reader:
        old = await reader.get(UploadSessionRow, session.id)
        reader.expunge(old)
    async with uploads.database.transaction() as writer:
        row = await writer.get(UploadSessionRow, session.id)
        row.bytes_uploaded = 1

    async def late(session):
        session.add(old)
        old.bytes_uploaded = 2

    with pytest.raises(DatabaseFailure) as refused:
        await uploads.database.run(late)
    assert isinstance(refused.value.__cause__, StaleDataError)


async def test_counts_are_exact_when_parts_arrive_at_the_same_time(uploads_on):
    """A36, A39: eight at once, some twice; a part that is arriving already is refused or waits its turn."""
    owner, data = await uploads_on.user(), bytes(range(80))
    session = await uploads_on.chunked(owner, data, 8)
    numbers = [*range(1, 9), 3, 5]

    async def send(number):
        return await uploads_on.send(session, owner, number, data[(number - 1) * 10 : number * 10])

    answers = await asyncio.gather(*map(send, numbers), return_exceptions=True)
    assert all(not isinstance(answer, Exception) or isinstance(answer, Conflict) for answer in answers)
    found = await uploads_on.service.get(session.id, owner)
    assert (found.bytes_uploaded, len(found.parts), found.missing) == (80, 8, 0)


# Parts


@pytest.mark.parametrize("number", [0, -1, 4, 10_001])
async def test_part_is_refused_when_its_number_is_out_of_range(uploads, number):
    """A17, A31."""
    owner = await uploads.user()
    session = await uploads.chunked(owner, b"abc", 3)
    with pytest.raises(InvalidChunkSequence):
        await uploads.send(session, owner, number, b"a")
    with pytest.raises(InvalidChunkSequence):
        await uploads.service.part_urls((await uploads.in_parts(owner, 9)).id, owner, [number])


async def test_chunk_is_refused_when_it_comes_again_with_other_bytes(uploads):
    """A16, A17: the same bytes again are harmless, and the first stay."""
    owner, data = await uploads.user(), b"abcdef"
    session = await uploads.chunked(owner, data, 2)
    await uploads.send(session, owner, 1, b"abc")
    assert (await uploads.send(session, owner, 1, b"abc")).received == 1
    for other in (b"abX", b"ab", b"abcd"):
        with pytest.raises(InvalidChunkSequence):
            await uploads.send(session, owner, 1, other)
    await uploads.send(session, owner, 2, b"def")
    video = await uploads.service.finalize(session.id, owner, TITLE)
    assert uploads.objects() == {f"videos/{video.id}/source.mp4": data}


async def test_stream_is_cut_when_it_has_more_bytes_than_declared(uploads):
    """A4, A58: while it arrives; no part is kept, and the right one can still come."""
    owner = await uploads.user()
    session = await uploads.chunked(owner, b"abc", 1)
    read = []

    async def endless():
        while True:
            read.append(1)
            yield b"x" * 1000

    with pytest.raises(FileTooLarge) as refused:
        await uploads.service.receive(session.id, owner, 1, endless())
    assert (len(read), refused.value.details["limit"]) == (1, 3)
    with pytest.raises(InvalidChunkSequence):
        await uploads.send(session, owner, 1, b"")
    await uploads.send(session, owner, 1, b"abc")
    assert (await uploads.service.finalize(session.id, owner, TITLE)).source_size_bytes == 3


async def test_nothing_is_kept_of_a_part_when_it_is_cut_off(uploads):
    """A36, A53: the session goes on, and the part is free to come again."""
    owner = await uploads.user()
    session = await uploads.chunked(owner, b"abc", 1)

    async def cut():
        yield b"ab"
        raise ConnectionResetError

    with pytest.raises((ConnectionResetError, AppError)):
        await uploads.service.receive(session.id, owner, 1, cut())
    found = await uploads.service.get(session.id, owner)
    assert (found.status, found.bytes_uploaded, found.bytes_arriving) == ("IN_PROGRESS", 0, 0)
    await uploads.send(session, owner, 1, b"abc")


async def test_session_stays_open_when_parts_are_missing(uploads):
    """A17, A54: the answer names them."""
    owner = await uploads.user()
    session = await uploads.chunked(owner, b"abcdef", 3)
    with pytest.raises(InvalidChunkSequence) as refused:
        await uploads.service.finalize(session.id, owner, TITLE)
    assert refused.value.details["missing"] == [1, 2, 3]
    await uploads.send(session, owner, 2, b"cd")
    with pytest.raises(InvalidChunkSequence) as refused:
        await uploads.service.finalize(session.id, owner, TITLE)
    assert refused.value.details["missing"] == [1, 3]
    assert (await uploads.service.get(session.id, owner)).status == "IN_PROGRESS"
    bare = await uploads.in_parts(owner, 10)
    with pytest.raises(InvalidStateTransition):
        await uploads.service.complete(bare.id, owner)


@pytest.mark.parametrize("named", [{}, {1: "x", 2: "y"}, {2: "x"}, {1: "wrong"}])
async def test_list_of_parts_is_refused_when_it_is_not_the_uploads(uploads, named):
    """A29: the list is wrong, not the bytes, so the session stays open."""
    owner = await uploads.user()
    session = await uploads.in_parts(owner, 3)
    etag = (await uploads.send(session, owner, 1, b"abc")).part.etag
    with pytest.raises((InvalidChunkSequence, ChecksumMismatch)):
        await uploads.service.complete(session.id, owner, named)
    done = await uploads.service.complete(session.id, owner, {1: etag.strip('"')})
    assert done.status == "COMPLETED"


FAULTY = [
    ({"sha256": "0" * 64}, b"abc", ChecksumMismatch),
    ({"size_bytes": 4}, b"abc", ChecksumMismatch),
    ({"mime": "video/webm"}, b"abc", ChecksumMismatch),
]


@pytest.mark.parametrize(("said", "data", "error"), FAULTY)
@pytest.mark.parametrize("policy_fails", [False, True])
async def test_session_fails_when_the_bytes_are_not_what_was_declared(
    uploads, said, data, error, policy_fails
):
    """A17, A54, C8, X10: its code in the session; a new one may be opened, and nothing of the old is left."""
    owner = await uploads.user()
    uploads.restart(settings=replace(uploads.tools.settings, fail_videos=policy_fails))
    video_id = await uploads.draft(owner)
    session = await uploads.in_parts(owner, said.get("size_bytes", 3), video_id, **said)
    await uploads.send(session, owner, 1, data)
    with pytest.raises(error):
        await uploads.service.complete(session.id, owner)
    found = await uploads.service.get(session.id, owner)
    assert (found.status, found.fail_code) == ("FAILED", error.code)
    video = await uploads.videos.get(video_id, owner)
    assert video.status is (VideoStatus.FAILED if policy_fails else VideoStatus.UPLOADING)
    assert uploads.waiting() == []
    with pytest.raises(InvalidStateTransition):
        await uploads.service.complete(session.id, owner)
    again = await uploads.in_parts(owner, 3, video_id)
    await uploads.send(again, owner, 1, b"abc")
    assert (await uploads.service.complete(again.id, owner)).status == "COMPLETED"
    with pytest.raises(InvalidStateTransition):
        await uploads.in_parts(owner, 3, video_id)


async def test_session_stays_open_when_the_fault_is_ours(uploads):
    """O9: the store was down while it completed; asked again, it is done."""
    owner = await uploads.user()
    session = await uploads.chunked(owner, b"abc", 1)
    await uploads.send(session, owner, 1, b"abc")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(uploads.store, "place", lambda *_, **__: (_ for _ in ()).throw(OSError("gone")))
        with pytest.raises(AppError) as refused:
            await uploads.service.finalize(session.id, owner, TITLE)
    assert refused.value.code == "STORAGE_ERROR"
    assert (await uploads.service.get(session.id, owner)).status == "IN_PROGRESS"
    assert (await uploads.service.finalize(session.id, owner, TITLE)).source_size_bytes == 3


# Who, when, how often


async def test_session_is_refused_to_everybody_but_its_owner_and_operators(uploads):
    """A55: read, feed, pause, resume, complete, cancel; and an unknown id says so."""
    owner, other, operator = await uploads.user(), await uploads.user(), await uploads.user("operator")
    session = await uploads.in_parts(owner, 3)
    service = uploads.service
    asked = [
        lambda who: service.get(session.id, who),
        lambda who: service.part_urls(session.id, who, [1]),
        lambda who: uploads.send(session, who, 1, b"abc"),
        lambda who: service.pause(session.id, who),
        lambda who: service.resume(session.id, who),
        lambda who: service.complete(session.id, who),
    ]
    for ask in [*asked, lambda who: service.cancel(session.id, who)]:
        with pytest.raises(NotContentOwner):
            await ask(other)
    with pytest.raises(ContentNotFound):  # nobody else sees a video that has no source yet
        await uploads.in_parts(other, 3, session.video_id)
    for ask in asked:
        await ask(operator)
    for unknown in ("x", "../../etc/passwd", "00000000-0000-0000-0000-000000000000"):
        with pytest.raises(ContentNotFound):
            await service.get(unknown, owner)


async def test_expired_session_says_so_when_anything_is_asked(uploads):
    """A17, A35: before the sweep and after it; nothing is left of it."""
    owner = await uploads.user()
    session = await uploads.in_parts(owner, 3)
    await uploads.send(session, owner, 1, b"abc")
    uploads.clock.now += 86_400
    for swept in (False, True):
        if swept:
            assert await uploads.service.sweep() == 1
        for ask in (uploads.service.pause, uploads.service.cancel, uploads.service.complete):
            with pytest.raises(SessionExpired):
                await ask(session.id, owner)
        with pytest.raises(SessionExpired):
            await uploads.send(session, owner, 1, b"abc")
    assert (await uploads.service.get(session.id, owner)).status == "EXPIRED"
    assert uploads.waiting() == []
    assert await uploads.service.sweep() == 0


async def test_nothing_is_left_when_a_session_is_canceled_while_a_part_arrives(uploads):
    """A41: and the part is refused."""
    owner = await uploads.user()
    session = await uploads.chunked(owner, b"abcdef", 2)
    await uploads.send(session, owner, 1, b"abc")
    reached, go = asyncio.Event(), asyncio.Event()

    async def slow():
        yield b"d"
        reached.set()
        await go.wait()
        yield b"ef"

    part = asyncio.create_task(uploads.service.receive(session.id, owner, 2, slow()))
    await reached.wait()
    with pytest.raises(Conflict):
        await uploads.send(session, owner, 2, b"def")
    assert (await uploads.service.cancel(session.id, owner)).status == "CANCELED"
    go.set()
    with pytest.raises(InvalidStateTransition):
        await part
    assert uploads.waiting() == []
    for ask in (uploads.service.resume, uploads.service.complete, uploads.service.cancel):
        with pytest.raises(InvalidStateTransition):
            await ask(session.id, owner)


async def test_upload_is_refused_after_the_last_of_the_day(uploads_on):
    """A24: the 101st, with Retry-After; a day later there is room again."""
    owner, other = await uploads_on.user(), await uploads_on.user()
    for _ in range(100):
        await uploads_on.chunked(owner, b"abc", 1)
        uploads_on.clock.now += 1
    with pytest.raises(RateLimitExceeded) as refused:
        await uploads_on.chunked(owner, b"abc", 1)
    assert refused.value.retry_after_seconds == pytest.approx(86_400 - 100)
    await uploads_on.chunked(other, b"abc", 1)
    uploads_on.clock.now += refused.value.retry_after_seconds
    await uploads_on.chunked(owner, b"abc", 1)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"size_bytes": 0}, CorruptedFile),
        ({"size_bytes": -1}, ValidationFailed),
        ({"part_count": 0}, ValidationFailed),
        ({"part_count": 4}, ValidationFailed),
        ({"sha256": "xyz"}, ValidationFailed),
        ({"filename": "a.mkv"}, InvalidFormat),
        ({"filename": "a\0.mp4"}, ValidationFailed),
        ({"mime": "video/x-matroska"}, InvalidFormat),
        ({"mime": "text/html", "filename": "a.mp4"}, InvalidFormat),
        ({"policy": LONG, "mime": "video/webm"}, InvalidFormat),
        ({"size_bytes": SHORT.max_bytes + 1, "part_count": 1}, FileTooLarge),
    ],
)
async def test_session_is_refused_when_what_is_declared_makes_no_sense(uploads, said, error):
    """A10, A11, X2: before a byte is sent; no row remains."""
    with pytest.raises(error):
        await uploads.chunked(await uploads.user(), b"abc", said.pop("part_count", 1), **said)
    assert await uploads.rows(UploadSessionRow) == []


@pytest.mark.parametrize(
    "name",
    ["../../../etc/cron.d/x.mp4", "..\\..\\x.mp4", "/etc/passwd.mp4", "a" * 900 + ".mp4", ".mp4", ".."],
)
async def test_name_is_no_part_of_any_path(uploads, name):
    """N23: path tricks in names end in a label."""
    owner = await uploads.user()
    session = await uploads.chunked(owner, b"abc", 1, filename=name)
    assert not set("/\\") & set(session.filename or "")
    await uploads.send(session, owner, 1, b"abc")
    video = await uploads.service.finalize(session.id, owner, TITLE)
    assert list(uploads.objects()) == [f"videos/{video.id}/source.mp4"]
    known = {"objects", "parts", "tmp", "uploads.db", "uploads.db-wal", "uploads.db-shm"}
    assert {path.name for path in uploads.folder.iterdir()} <= known


# Signed URLs, reports, scanner, progress, streams


async def test_signed_url_is_refused_when_anything_in_it_is_altered(uploads):
    """A50: session, number, size, expiry, signature; and when its time has passed."""
    session = await uploads.in_parts(await uploads.user(), 3)
    links, until = uploads.service.links, round(uploads.clock.now) + 60
    signature = links.url(session.id, 1, 3, until).rpartition("signature=")[2]
    links.check(session.id, 1, 3, until, signature)
    for altered in (
        ("x", 1, 3, until, signature),
        (session.id, 2, 3, until, signature),
        (session.id, 1, 4, until, signature),
        (session.id, 1, 3, until + 1, signature),
        (session.id, 1, 3, until, signature[:-1] + "x"),
        (session.id, 1, 3, until, "é"),
    ):
        with pytest.raises(SignatureRefused):
            links.check(*altered)
    uploads.clock.now = float(until)
    with pytest.raises(SignatureRefused):
        links.check(session.id, 1, 3, until, signature)


async def test_part_is_refused_when_it_is_not_of_its_size(uploads):
    """A31, A50: all parts are full but the last."""
    owner = await uploads.user()
    session = await uploads.in_parts(owner, 3)
    for size in (2, 4):
        with pytest.raises((SignatureRefused, FileTooLarge)):
            await uploads.service.receive(session.id, None, 1, iter_bytes(b"x" * size), size)
    assert (await uploads.service.get(session.id, owner)).parts == ()


async def iter_bytes(data):
    yield data


async def test_report_completes_a_session_once_and_is_ignored_when_it_is_too_late(uploads):
    """A37, A42, X67: repeated reports and reports of ended sessions change nothing and are no error."""
    owner = await uploads.user()
    session = await uploads.in_parts(owner, 3)
    await uploads.send(session, owner, 1, b"abc")
    report = Report(session.id, session.video_id, "COMPLETED", f"videos/{session.video_id}/source.mp4", 3)
    with pytest.raises(ContentNotFound):
        await uploads.service.reported(replace(report, video_id="another"))
    with pytest.raises(ValidationFailed):
        await uploads.service.reported(replace(report, size_bytes=4))
    for _ in range(2):
        await uploads.service.reported(report)
        assert await uploads.facts() == [session.video_id]
    await uploads.service.reported(replace(report, status="FAILED"))
    assert (await uploads.service.get(session.id, owner)).status == "COMPLETED"
    other = await uploads.in_parts(owner, 3)
    await uploads.service.cancel(other.id, owner)
    await uploads.service.reported(Report(other.id, other.video_id, "COMPLETED"))
    assert (await uploads.service.get(other.id, owner)).status == "CANCELED"


class Scanner:
    """Says what it is told to say."""

    def __init__(self, *answers):
        self.answers = list(answers)

    async def scan(self, path):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_bytes_are_removed_when_the_scanner_finds_malware(uploads):
    """A45, L11."""
    owner = await uploads.user()
    uploads.restart(scanner=Scanner("Eicar-Test"))
    session = await uploads.chunked(owner, b"abc", 1)
    await uploads.send(session, owner, 1, b"abc")
    with pytest.raises(InfectedFile) as refused:
        await uploads.service.finalize(session.id, owner, TITLE)
    assert refused.value.details == {"found": "Eicar-Test"}
    assert (await uploads.service.get(session.id, owner)).fail_code == "INFECTED_FILE"
    assert (uploads.objects(), uploads.waiting()) == ({}, [])


@pytest.mark.parametrize(("failures", "marked"), [(1, False), (2, True)])
async def test_video_is_marked_for_review_when_the_scanner_does_not_answer(uploads, failures, marked):
    """L9, X46: one retry, then it is taken with the mark."""
    owner = await uploads.user()
    uploads.restart(scanner=Scanner(*[ScannerUnavailable("down")] * failures, None))
    session = await uploads.chunked(owner, b"abc", 1)
    await uploads.send(session, owner, 1, b"abc")
    await uploads.service.finalize(session.id, owner, TITLE)
    (row,) = await uploads.rows(VideoRow)
    assert row.needs_review is marked


async def test_owner_hears_of_progress_when_parts_arrive(uploads):
    """A38, A39, A40: finished parts and what is arriving, over all; nothing of it in the video's row."""
    owner = await uploads.user()
    session = await uploads.in_parts(owner, 8, await uploads.draft(owner))
    updated = (await uploads.videos.get(session.video_id, owner)).updated_at
    uploads.clock.now += 5
    await uploads.send(session, owner, 1, b"12345678")
    told = [data for _, event, data in uploads.told if event == "upload_progress"]
    assert (told[-1]["progress"], told[-1]["bytes_uploaded"], told[-1]["video_id"]) == (
        100.0, 8, session.video_id,
    )  # fmt: skip
    assert {user for user, _, _ in uploads.told} == {owner.user_id}
    assert (await uploads.videos.get(session.video_id, owner)).updated_at == updated


async def test_stream_grows_at_its_offset_and_keeps_what_came_before_a_cut(uploads):
    """A49: append, offset, completion; another offset is refused with the right one."""
    owner = await uploads.user()
    wanted = Wanted(provider="TUS", policy=SHORT, size_bytes=None, about={"title": "said before"})
    session = await uploads.service.create(owner, wanted)
    assert await uploads.service.offset(session.id, owner) == 0
    assert await uploads.service.append(session.id, owner, 0, iter_bytes(b"abc")) == 3

    async def cut():
        yield b"de"
        raise ConnectionResetError

    with pytest.raises((ConnectionResetError, AppError)):
        await uploads.service.append(session.id, owner, 3, cut())
    uploads.restart()
    assert await uploads.service.offset(session.id, owner) == 5
    with pytest.raises(Conflict) as refused:
        await uploads.service.append(session.id, owner, 3, iter_bytes(b"f"))
    assert refused.value.details["offset"] == 5
    with pytest.raises(InvalidChunkSequence):
        await uploads.service.finalize(session.id, owner)
    await uploads.service.set_length(session.id, owner, 6)
    with pytest.raises(FileTooLarge):
        await uploads.service.append(session.id, owner, 5, iter_bytes(b"fg"))
    offset = await uploads.service.offset(session.id, owner)
    await uploads.service.append(session.id, owner, offset, iter_bytes(b"f"[: 6 - offset]))
    video = await uploads.service.finalize(session.id, owner)
    assert (video.title, uploads.objects()) == ("said before", {f"videos/{video.id}/source.mp4": b"abcdef"})


async def test_pieces_become_one_upload_when_they_are_joined(uploads):
    """A49: partial uploads end when the upload that they are joined into is a video, and not before."""
    owner = await uploads.user()
    pieces = []
    for data in (b"abc", b"def"):
        wanted = Wanted(provider="TUS", policy=SHORT, size_bytes=3, partial=True)
        piece = await uploads.service.create(owner, wanted)
        pieces.append(piece.id)
        if data == b"def":
            with pytest.raises(InvalidChunkSequence):
                await uploads.service.concatenate(owner, replace(wanted, partial=False), pieces)
        await uploads.service.append(piece.id, owner, 0, iter_bytes(data))
    whole = await uploads.service.concatenate(
        owner, Wanted(provider="TUS", policy=SHORT, size_bytes=None, about={"title": "t"}), pieces
    )
    assert await uploads.service.offset(pieces[0], owner) == 3
    video = await uploads.service.finalize(whole.id, owner)
    for piece in pieces:
        with pytest.raises(InvalidStateTransition):
            await uploads.service.offset(piece, owner)
    assert uploads.objects() == {f"videos/{video.id}/source.mp4": b"abcdef"}
    assert uploads.waiting() == []
