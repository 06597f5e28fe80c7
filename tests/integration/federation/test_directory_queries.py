"""The directory's queries on both dialects (J9, X46, X47)."""

from datetime import timedelta

import pytest

from federation.addresses import Addresses
from federation.directory import Directory
from federation.discovery import Usage
from tables.errors import ValidationFailed

AT = Addresses.of("https://video.example")


@pytest.fixture
def directory(seeds) -> Directory:
    return Directory(seeds.database, AT)


async def test_person_is_found_when_asked_by_did_or_by_name_in_any_case(seeds, directory):
    row = await seeds.person("Ada")
    for found in (await directory.by_did(row.did), await directory.by_username("aDA")):
        assert found is not None
        assert (found.user_id, found.username, found.public_key_pem) == (row.id, "Ada", seeds.pem)
        assert found.created_at == seeds.now


@pytest.mark.parametrize("name", ["", "a\x00b", "\ud800", "x" * 5000, "ada%", "'; --"])
async def test_nobody_is_found_when_name_cannot_exist(seeds, directory, name):
    """PostgreSQL refuses NUL and lone surrogates: such names never reach it."""
    await seeds.person("ada")
    assert await directory.by_username(name) is None
    assert await directory.by_did(name) is None
    assert await directory.video(name) is None
    assert await directory.deleted_at(name) is None
    assert await directory.media_key(name, "hls/master.m3u8") is None


async def test_pages_cover_every_video_once_when_times_are_equal(seeds, directory):
    user = await seeds.person("ada")
    rows = [await seeds.video(user, minutes=number // 4, stored=False) for number in range(9)]
    unpublished = await seeds.video(user, published_at=None, stored=False)
    author = await directory.by_username("ada")
    seen, cursor = [], None
    while True:
        page = await directory.page(author, cursor, size=4)
        seen += [video.video_id for video in page.videos]
        if page.following is None:
            break
        cursor = page.following
    published = {row.id: row.published_at for row in rows} | {unpublished.id: unpublished.created_at}
    expected = sorted(published, key=lambda video_id: (published[video_id], video_id), reverse=True)
    assert seen == expected
    assert await directory.count(author) == 10


async def test_new_video_does_not_shift_pages_when_published_meanwhile(seeds, directory):
    user = await seeds.person("ada")
    for number in range(4):
        await seeds.video(user, minutes=number, stored=False)
    author = await directory.by_username("ada")
    first = await directory.page(author, None, size=2)
    await seeds.video(user, minutes=9, stored=False)
    second = await directory.page(author, first.following, size=2)
    assert len({video.video_id for video in first.videos + second.videos}) == 4


async def test_cursor_is_refused_when_malformed(seeds, directory):
    await seeds.person("ada")
    author = await directory.by_username("ada")
    with pytest.raises(ValidationFailed):
        await directory.page(author, "9" * 30 + "-00000000-0000-4000-8000-000000000000")


async def test_usage_counts_people_once_when_they_sign_in_often(seeds, directory):
    ada, bob = await seeds.person("ada"), await seeds.person("bob")
    await seeds.signed_in(ada, seeds.now - timedelta(days=1))
    await seeds.signed_in(ada, seeds.now - timedelta(days=2))
    await seeds.signed_in(bob, seeds.now - timedelta(days=31))
    await seeds.video(ada, stored=False)
    await seeds.video(ada, visibility="PRIVATE", stored=False)
    assert await directory.usage(seeds.now) == Usage(2, 1, 2, posts=1, comments=0)


async def test_media_key_names_the_object_when_video_is_public(seeds, directory):
    row = await seeds.video(await seeds.person("ada"), stored=False)
    prefix = f"videos/{row.id}"
    assert await directory.media_key(row.id, f"{row.id}-720p.mp4") == f"{prefix}/mp4/720p.mp4"
    assert (
        await directory.media_key(row.id, "hls/720p/segment_00000.ts")
        == f"{prefix}/hls/720p/segment_00000.ts"
    )
    assert await directory.media_key(row.id, "captions/en.vtt") == f"{prefix}/captions/en.vtt"
    for path in ("source.mp4", "hls/../source.mp4", "dash/manifest.mpd", ""):
        assert await directory.media_key(row.id, path) is None
    hidden = await seeds.video(await seeds.person("bob"), visibility="PRIVATE", stored=False)
    assert await directory.media_key(hidden.id, "hls/master.m3u8") is None
