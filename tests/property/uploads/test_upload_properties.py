"""Properties 1 to 7 of document 000 (T14): format, size, duration, session, chunks, metadata, whole."""

import hashlib
import random
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from media.policies import LONG, POLICIES, SHORT
from media.sniff import sniff_file
from social.uploads import Arrived, Wanted
from social.videos import VideoMetadata, check_metadata
from tables.errors import (
    AppError,
    ContentTooLong,
    DurationExceeded,
    FileTooLarge,
    InvalidFormat,
    StorageFailure,
    UserNotFound,
)
from tables.lifecycle import VideoStatus
from tables.relational.models import UploadSessionRow, VideoRow

# One instance serves all examples: each has an owner and sessions of its own.
hundred = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
CLIPS = (
    "sample_fragmented.mp4",
    "bear-vp9-odd-dimensions.webm",
    "dolbyVision-hdr.MOV",
    "bbb_176x144_128kbps_15fps_h263.3gp",
    "sample.avi",
    "sample.mkv",
)


async def owner_of(uploads):
    """Return the one person of a test."""
    if not hasattr(uploads, "owner"):
        uploads.owner = await uploads.user()
        uploads.restart(settings=replace(uploads.tools.settings, daily=None))
    return uploads.owner


@hundred
@given(name=st.sampled_from(CLIPS), policy=st.sampled_from(list(POLICIES.values())), chunks=st.integers(1, 9))
async def test_file_is_accepted_exactly_when_its_format_is_listed(
    uploads, real_probe, shared_dir, name, policy, chunks
):
    """Property 1, A3: the bytes decide, and the answer to a refusal is the list (A11)."""
    owner = await owner_of(uploads)
    uploads.restart(probe=real_probe)
    data = (shared_dir / "media/clips" / name).read_bytes()
    listed = sniff_file(shared_dir / "media/clips" / name) in policy.formats
    session = await uploads.chunked(owner, data, chunks if chunks < 3 else 1, policy=policy)
    half = len(data) // 2 if session.part_count == 2 else len(data)
    await uploads.send(session, owner, 1, data[:half])
    if half < len(data):
        await uploads.send(session, owner, 2, data[half:])
    if listed:
        video = await uploads.service.finalize(session.id, owner, VideoMetadata(title="t"))
        assert uploads.source(video.id, _ending(name)) == data
        await uploads.videos.delete(video.id, owner)
        return
    with pytest.raises(InvalidFormat) as refused:
        await uploads.service.finalize(session.id, owner, VideoMetadata(title="t"))
    assert refused.value.details["supported"] == policy.supported()
    assert (await uploads.service.get(session.id, owner)).fail_code == "INVALID_FORMAT"
    await uploads.assert_no_orphan()


def _ending(name: str) -> str:
    return Path(name).suffix.lower().removeprefix(".")


sizes = st.one_of(
    st.integers(1, 2 * LONG.max_bytes),
    st.sampled_from([limit.max_bytes + step for limit in (SHORT, LONG) for step in (-1, 0, 1)]),
)


@hundred
@given(size=sizes, policy=st.sampled_from(list(POLICIES.values())))
async def test_size_is_accepted_exactly_up_to_the_limit(uploads, size, policy):
    """Property 2, A4, X3: 524,288,000 and 1,610,612,736 bytes pass, one more does not."""
    assert (SHORT.max_bytes, LONG.max_bytes) == (524_288_000, 1_610_612_736)
    owner = await owner_of(uploads)
    wanted = Wanted(provider="API_CHUNKS", policy=policy, size_bytes=size, part_count=1)
    if size <= policy.max_bytes:
        assert (await uploads.service.create(owner, wanted)).size_bytes == size
        return
    with pytest.raises(FileTooLarge) as refused:
        await uploads.service.create(owner, wanted)
    assert refused.value.details["limit_bytes"] == policy.max_bytes


@hundred
@given(margin=st.one_of(st.just(0.0), st.floats(-0.9, 5.0)))
async def test_duration_is_accepted_exactly_up_to_the_limit(uploads, real_probe, clip, margin):
    """Property 3, A5: measured on the stored file; the limit itself passes."""
    assert SHORT.max_seconds == 180
    owner = await owner_of(uploads)
    measured = (await real_probe(clip, SHORT)).duration_seconds
    uploads.restart(probe=real_probe)
    limit = round(measured + margin, 3)
    path = uploads.scratch / "form"
    path.write_bytes(clip.read_bytes())
    arrived = Arrived(path, hashlib.sha256(path.read_bytes()).hexdigest(), replace(SHORT, max_seconds=limit))
    if measured <= limit:
        video = await uploads.service.take(owner, arrived, VideoMetadata(title="t"))
        assert video.duration_seconds == measured
    else:
        with pytest.raises(DurationExceeded):
            await uploads.service.take(owner, arrived, VideoMetadata(title="t"))
    path.unlink(missing_ok=True)


@hundred
@given(
    size=st.integers(1, SHORT.max_bytes),
    chunks=st.integers(1, 10_000),
    life=st.floats(60, 10 * 86_400),
    at=st.floats(1_600_000_000, 2_000_000_000),
)
async def test_session_has_its_own_id_and_a_later_expiry_when_opened(uploads, size, chunks, life, at):
    """Property 4, A14, A56."""
    owner = await owner_of(uploads)
    uploads.clock.now = at
    uploads.restart(settings=replace(uploads.tools.settings, session_seconds=life, daily=None))
    wanted = Wanted(provider="API_CHUNKS", policy=SHORT, size_bytes=size, part_count=min(chunks, size))
    sessions = [await uploads.service.create(owner, wanted) for _ in range(2)]
    assert len({session.id for session in sessions}) == 2
    for session in sessions:
        assert session.expires_at > session.created_at
        assert session.expires_at - session.created_at == pytest.approx(life, abs=1e-3)


@st.composite
def cut_files(draw):
    """Return bytes, the places where they are cut, and an order with repetitions."""
    data = draw(st.binary(min_size=1, max_size=3_000))
    count = draw(st.integers(1, min(4, len(data))))
    cuts = (
        sorted(draw(st.sets(st.integers(1, len(data) - 1), min_size=count - 1, max_size=count - 1)))
        if (count > 1)
        else []
    )
    order = draw(st.permutations(range(count)))
    return data, [0, *cuts, len(data)], [*order, *draw(st.lists(st.sampled_from(range(count)), max_size=1))]


@hundred
@given(cut=cut_files(), damage=st.booleans())
async def test_bytes_are_the_original_when_chunks_come_in_any_order(uploads, cut, damage):
    """Property 5, A16: by SHA-256, chunks repeated too; another checksum than declared is refused (A17)."""
    data, cuts, order = cut
    owner = await owner_of(uploads)
    declared = hashlib.sha256(data + b"!" if damage else data).hexdigest()
    session = await uploads.chunked(owner, data, len(cuts) - 1, sha256=declared)
    for index in order:
        done = await uploads.send(session, owner, index + 1, data[cuts[index] : cuts[index + 1]])
    assert (done.received, done.remaining) == (len(cuts) - 1, 0)
    if damage:
        with pytest.raises(AppError) as refused:
            await uploads.service.finalize(session.id, owner, VideoMetadata(title="t"))
        assert refused.value.code == "CHECKSUM_MISMATCH"
        assert (await uploads.service.get(session.id, owner)).status == "FAILED"
        return
    video = await uploads.service.finalize(session.id, owner, VideoMetadata(title="t"))
    stored = uploads.source(video.id)
    assert hashlib.sha256(stored).hexdigest() == declared
    assert stored == data


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)


@hundred
@given(
    title=st.sampled_from([1, 2, 199, 200, 201, 400]),
    description=st.sampled_from([0, 1, 1_999, 2_000, 2_001, 5_000]),
    tags=st.sampled_from([0, 1, 9, 10, 11, 40]),
    seed=st.integers(0, 2**32),
)
async def test_metadata_is_accepted_exactly_within_its_limits(title, description, tags, seed):
    """Property 6, A8, O10: each over-limit case is refused on its own, and named."""
    letters = random.Random(seed)
    said = {
        "title": "".join(letters.choices("aé水", k=title)),
        "description": "".join(letters.choices("aé水", k=description)),
        "tags": [f"tag{number}" for number in range(tags)],
    }
    over = [name for name, over in (("title", title > 200), ("description", description > 2_000),
                                    ("tags", tags > 10)) if over]  # fmt: skip
    if not over:
        assert check_metadata(**said).title == said["title"]
        return
    with pytest.raises(ContentTooLong) as refused:
        check_metadata(**said)
    assert refused.value.details["field"] in over


FAULTS = ("none", "store down", "store full", "account gone")


@hundred
@given(fault=st.sampled_from(FAULTS), form=st.booleans(), data=st.binary(min_size=1, max_size=200))
async def test_file_and_row_both_exist_or_neither_when_something_fails(uploads, fault, form, data):
    """Property 7, A19: and the same upload succeeds when the fault has passed."""
    owner = await uploads.user()
    title = VideoMetadata(title="t")
    path = uploads.scratch / "form"

    async def upload():
        if not form:
            return await uploads.service.finalize(session.id, owner, title)
        path.write_bytes(data)
        arrived = Arrived(path, hashlib.sha256(data).hexdigest(), SHORT)
        return await uploads.service.take(owner, arrived, title)

    if not form:
        session = await uploads.chunked(owner, data, 1)
        await uploads.send(session, owner, 1, data)
    before = len(await uploads.rows(VideoRow))
    with pytest.MonkeyPatch.context() as patched:
        if fault == "store down":
            patched.setattr(uploads.store, "place", _raises(OSError("the disk is gone")))
            patched.setattr(uploads.store, "_put_file", _raises(OSError("the disk is gone")), raising=False)
        elif fault == "store full":
            patched.setattr(uploads.store, "place", _raises(OSError(28, "No space left on device")))
            patched.setattr(uploads.store, "_put_file", _raises(OSError(28, "full")), raising=False)
        elif fault == "account gone":
            patched.setattr("social.videos.uploads.video_row", _raises(UserNotFound()))
        if fault == "none":
            await upload()
        else:
            with pytest.raises((StorageFailure, UserNotFound)):
                await upload()
    path.unlink(missing_ok=True)
    made = len(await uploads.rows(VideoRow)) - before
    assert made == (fault == "none")
    if fault != "none":
        # The session that still is open keeps what it stored until it ends: its row is the note of it.
        if not form:
            await uploads.service.cancel(session.id, owner)
        await uploads.assert_no_orphan()


def _raises(error):
    def raise_it(*_, **__):
        raise error

    return raise_it


async def test_video_waits_for_processing_when_any_upload_is_complete(uploads):
    """A46, X75: queued at UPLOADED, once."""
    owner = await owner_of(uploads)
    session = await uploads.chunked(owner, b"abc", 1)
    await uploads.send(session, owner, 1, b"abc")
    video = await uploads.service.finalize(session.id, owner, VideoMetadata(title="t"))
    assert video.status is VideoStatus.UPLOADED
    assert await uploads.facts() == [video.id]
    with suppress(AppError):
        await uploads.service.finalize(session.id, owner, VideoMetadata(title="again"))
    assert await uploads.facts() == [video.id]
    (row,) = await uploads.rows(UploadSessionRow)
    assert (row.status, row.video_id, row.sweep_at) == ("COMPLETED", video.id, None)
