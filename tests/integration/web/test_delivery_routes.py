"""Delivery over HTTP: who may have a file now, in which form, from where (C27, C31-C38, R32, X16, X19)."""

import asyncio
from datetime import UTC, datetime
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from botocore.signers import CloudFrontSigner
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from media.archive import archive_video
from media.layout import master_key
from media.stores import FileStore
from media.urls import generate_key
from social.videos.standing import Standings
from tables.relational.models import VideoRow
from tables.relational.watching import on_availability

BASE = "http://front.test"
LARGE = bytes(range(256)) * 8192


@pytest.fixture
async def video(front, ada):
    """Return the id of a READY, public video of ada's with a rung's file of 2 MB."""
    made = await front.upload(ada)
    await front.make_ready(made["id"])
    key = f"videos/{made['id']}/hls/360p/segment_00000.ts"
    await front.deps.store.put_bytes(key, LARGE, content_type="video/mp2t")
    return made["id"]


async def playback_of(front, video, person=None, **query):
    answer = await front.client.get(
        f"/api/v1/videos/{video}/playback", params=query, headers=person.headers if person else {}
    )
    assert answer.status == 200, await answer.text()
    return await answer.json()


def path_of(url):
    parts = urlsplit(url)
    return parts.path + (f"?{parts.query}" if parts.query else "")


async def code_of(answer):
    return answer.status, (await answer.json())["error"]["code"]


async def change(front, video, **columns):
    async with front.database.transaction() as session:
        row = await session.get(VideoRow, video)
        for name, value in columns.items():
            setattr(row, name, value)


async def change_and_fail(front, video):
    async with front.database.transaction() as session:
        (await session.get(VideoRow, video)).visibility = "PRIVATE"
        await session.flush()
        raise ZeroDivisionError


async def test_link_made_before_stops_when_the_video_is_hidden_flagged_or_deleted(front, ada, video):
    """C37, C38: by the change itself, not by time; the owner's new link opens."""
    end = on_availability(front.deps.delivery.standings.forget)
    try:
        path = path_of((await playback_of(front, video))["hls_url"])
        assert (await front.client.get(path)).status == 200
        for columns in ({"visibility": "PRIVATE"}, {"moderation_status": "flagged"}):
            await change(front, video, **columns)
            assert await code_of(await front.client.get(path)) == (404, "CONTENT_NOT_FOUND")
            own = path_of((await playback_of(front, video, ada))["hls_url"])
            answer = await front.client.get(own)
            assert (answer.status, answer.headers["Cache-Control"]) == (200, "private, max-age=10")
            assert (await front.client.get(f"/api/v1/videos/{video}/playback")).status == 404
            await change(front, video, visibility="PUBLIC", moderation_status="pending")
            assert (await front.client.get(path)).status == 200
        await change(front, video, visibility="FOLLOWERS_ONLY")
        assert (await front.client.get(path)).status == 404
        assert (await front.client.delete(f"/api/v1/videos/{video}", headers=ada.headers)).status == 204
        assert (await front.client.get(own)).status == 404
    finally:
        end()


async def test_hidden_video_is_served_for_a_window_at_most_when_nobody_tells(front, video):
    """C37: another worker's change, while the bus is away."""
    path = path_of((await playback_of(front, video))["hls_url"])
    assert (await front.client.get(path)).status == 200
    await change(front, video, visibility="PRIVATE")
    assert (await front.client.get(path)).status == 200
    front.clock.ahead = 5.1
    assert (await front.client.get(path)).status == 404


async def test_standing_read_before_a_change_is_not_remembered_after_it(database):
    """A read that began before the change must not bring back what was forgotten."""
    reading, go_on = asyncio.Event(), asyncio.Event()

    class Slow:
        async def read(self, work):
            found = await database.read(work)
            reading.set()
            await go_on.wait()
            return found

    standings = Standings(Slow(), lambda: 0.0)
    asked = asyncio.create_task(standings.of(str(uuid4())))
    await reading.wait()
    standings.forget("any")
    go_on.set()
    assert await asked is None
    assert not standings._known


async def test_nobody_is_told_when_only_counters_change_or_the_change_is_taken_back(front, video):
    told = []
    end = on_availability(told.append)
    try:
        await change(front, video, view_count=7, title="Other")
        with pytest.raises(ZeroDivisionError):
            await change_and_fail(front, video)
        assert told == []
        await change(front, video, visibility="PRIVATE")
        assert told == [video]
    finally:
        end()
    await change(front, video, visibility="PUBLIC")
    assert told == [video]


async def test_cookies_open_a_whole_playlist_and_nothing_when_absent(front, ada, video):
    """C31, X19: bare addresses, and cookies for the folder of this video alone."""
    answer = await front.client.get(f"/api/v1/videos/{video}/playback?form=cookies")
    playing = await answer.json()
    assert playing["hls_url"] == f"{BASE}/media/public/videos/{video}/hls/master.m3u8"
    cookies = {name: morsel.value for name, morsel in answer.cookies.items()}
    assert {morsel["path"] for morsel in answer.cookies.values()} == {f"/media/public/videos/{video}/"}
    assert all(morsel["httponly"] and morsel["samesite"] == "Lax" for morsel in answer.cookies.values())
    front.client.session.cookie_jar.clear()
    segment = f"/media/public/videos/{video}/hls/360p/segment_00000.ts"
    for path in (path_of(playing["hls_url"]), segment):
        assert await code_of(await front.client.get(path)) == (403, "SIGNATURE_REFUSED")
        opened = await front.client.get(path, cookies=cookies)
        assert opened.status == 200
        # Caches do not go by cookies, so none between may keep it.
        assert opened.headers["Cache-Control"].startswith("private")
    other = await front.upload(ada)
    await front.make_ready(other["id"])
    wrong = path_of(playing["hls_url"]).replace(video, other["id"])
    assert (await front.client.get(wrong, cookies=cookies)).status == 403
    front.clock.ahead = 7 * 3600
    assert (await front.client.get(segment, cookies=cookies)).status == 403


async def test_query_form_and_amazons_own_urls_open(front, video):
    """C31: our canned policy, and one by botocore with the same key."""
    playing = await playback_of(front, video, form="query")
    opened = await front.client.get(path_of(playing["mp4_url"]))
    assert (opened.status, opened.headers["Cache-Control"]) == (200, "public, max-age=3600")
    assert (await front.client.get(path_of(playing["mp4_url"]) + "0")).status == 403
    key = front.deps.signer.keys._key
    amazon = CloudFrontSigner("K1", lambda data: key.sign(data, padding.PKCS1v15(), hashes.SHA1()))
    bare = playing["hls_url"].partition("?")[0]
    url = amazon.generate_presigned_url(bare, date_less_than=datetime.fromtimestamp(front.clock() + 60, UTC))
    assert (await front.client.get(path_of(url))).status == 200
    stolen = serialization.load_pem_private_key(generate_key(), None)
    thief = CloudFrontSigner("K1", lambda data: stolen.sign(data, padding.PKCS1v15(), hashes.SHA1()))
    url = thief.generate_presigned_url(bare, date_less_than=datetime.fromtimestamp(front.clock() + 60, UTC))
    assert await code_of(await front.client.get(path_of(url))) == (403, "SIGNATURE_REFUSED")


async def test_large_files_and_ranges_arrive_whole_over_one_connection(front, video):
    """C40: sent by the kernel; HEAD, If-Range, multiple ranges, 416 and the validators beside it."""
    path = f"/media/{front.deps.signer.token(video)}/videos/{video}/hls/360p/segment_00000.ts"
    answer = await front.client.get(path)
    assert await answer.read() == LARGE
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert answer.headers["Surrogate-Key"] == f"video-{video}"
    etag, date = answer.headers["ETag"], answer.headers["Last-Modified"]
    for first, last in ((0, len(LARGE) - 1), (1, 200_000), (70_000, 70_000), (100, 900_000)):
        part = await front.client.get(path, headers={"Range": f"bytes={first}-{last}", "If-Range": etag})
        assert (part.status, await part.read()) == (206, LARGE[first : last + 1])
    whole = await front.client.get(path, headers={"Range": "bytes=0-1", "If-Range": '"other"'})
    assert (whole.status, await whole.read()) == (200, LARGE)
    several = await front.client.get(path, headers={"Range": "bytes=0-1,7-9"})
    assert (several.status, len(await several.read())) == (200, len(LARGE))
    head = await front.client.head(path, headers={"Range": "bytes=5-9"})
    assert (head.status, head.headers["Content-Length"], await head.read()) == (206, "5", b"")
    for validator in ({"If-None-Match": etag}, {"If-Modified-Since": date}):
        assert (await front.client.get(path, headers=validator)).status == 304
    older = {"If-Modified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}
    assert (await front.client.get(path, headers=older)).status == 200
    assert (await front.client.get(path, headers={"Range": f"bytes={len(LARGE)}-"})).status == 416


async def test_client_that_leaves_in_the_middle_stops_nothing(front, video):
    path = f"/media/{front.deps.signer.token(video)}/videos/{video}/hls/360p/segment_00000.ts"
    for _ in range(5):
        answer = await front.client.get(path)
        await answer.content.readexactly(1000)
        answer.close()
    assert await (await front.client.get(path)).read() == LARGE


async def test_short_names_lead_to_the_canonical_ones(front, video):
    """X16: with the same token, and only for who has one."""
    token = front.deps.signer.token(video)
    for short, full in (
        ("master.m3u8", "hls/master.m3u8"),
        ("renditions/360p.m3u8", "hls/360p/playlist.m3u8"),
        ("renditions/360p/playlist.m3u8", "hls/360p/playlist.m3u8"),
        ("segments/360p/segment_00000.ts", "hls/360p/segment_00000.ts"),
        ("manifest.mpd", "dash/manifest.mpd"),
    ):
        answer = await front.client.get(f"/media/{token}/videos/{video}/{short}", allow_redirects=False)
        assert (answer.status, answer.headers["Location"]) == (302, f"/media/{token}/videos/{video}/{full}")
    assert (await front.client.get(f"/media/x/videos/{video}/master.m3u8")).status == 403


async def test_region_that_is_blocked_gets_no_bytes_and_is_told_why(build):
    """C36: 451 for bytes and manifests, the reason in the playback answer; other regions play."""
    where = {"region": "US-CA"}
    front = await build()
    ada = await front.person("ada")
    made = await front.upload(ada)
    await front.make_ready(made["id"])
    object.__setattr__(front.deps.delivery, "region_of", lambda address: where["region"])
    path = path_of((await playback_of(front, made["id"]))["hls_url"])
    put = f"/api/v1/videos/{made['id']}/regions"
    stranger = await front.person("bob")
    for headers, wanted in ((stranger.headers, 403), ({}, 401)):
        assert (await front.client.put(put, json={"blocked": []}, headers=headers)).status == wanted
    bad = await front.client.put(put, json={"blocked": ["Germany"]}, headers=ada.headers)
    assert await code_of(bad) == (400, "VALIDATION_ERROR")
    ok = await front.client.put(put, json={"blocked": ["US", "FR"]}, headers=ada.headers)
    assert ok.status == 204
    assert await code_of(await front.client.get(path)) == (451, "GEO_BLOCKED")
    playing = await playback_of(front, made["id"])
    assert (playing["ready"], playing["state"], playing["hls_url"]) == (False, "geo_blocked", None)
    manifest = f"/api/v1/reels/{made['id']}/manifest.m3u8"
    assert await code_of(await front.client.get(manifest)) == (451, "GEO_BLOCKED")
    where["region"] = "DE"
    assert (await front.client.get(path)).status == 200
    where["region"] = "FR"
    await front.client.put(put, json={"blocked": []}, headers=ada.headers)
    assert (await front.client.get(path)).status == 200


async def test_archived_video_says_so_and_plays_when_it_was_restored(front, ada, video):
    """R32: the answer explains, bytes say 409, the owner asks for it back."""
    path = path_of((await playback_of(front, video))["hls_url"])
    await archive_video(front.deps.store, video)
    assert (await playback_of(front, video))["state"] == "ready"  # remembered for a minute
    front.deps.delivery.archive.forget(video)  # as the move to the archive does
    playing = (await (await front.client.get(f"/api/v1/videos/{video}")).json())["playback"]
    assert (playing["ready"], playing["state"], playing["hls_url"]) == (False, "archived", None)
    assert playing["poster_url"]
    assert await code_of(await front.client.get(path)) == (409, "CONTENT_ARCHIVED")
    manifest = await front.client.get(f"/api/v1/reels/{video}/manifest.m3u8")
    assert await code_of(manifest) == (409, "CONTENT_ARCHIVED")
    bob = await front.person("bob")
    restore = f"/api/v1/videos/{video}/restore"
    assert await code_of(await front.client.post(restore, headers=bob.headers)) == (403, "NOT_CONTENT_OWNER")
    answer = await front.client.post(restore, headers=ada.headers)
    assert (answer.status, (await answer.json())["state"]) == (202, "live")
    assert (await front.client.get(path)).status == 200
    assert (await playback_of(front, video))["state"] == "ready"


async def test_store_is_not_asked_when_videos_are_listed_and_once_a_minute_for_a_page(
    front, ada, monkeypatch
):
    """C34, C44: what lists and pages say of READY videos stands in rows."""
    videos = [(await front.upload(ada))["id"] for _ in range(4)]
    for video in videos:
        await front.make_ready(video)
    asked, stat = [], FileStore.stat

    async def counted(store, key):
        asked.append(key)
        return await stat(store, key)

    monkeypatch.setattr(FileStore, "stat", counted)
    for path in ("/api/v1/videos", f"/api/v1/users/{ada.id}/videos"):
        listed = await (await front.client.get(path, params={"limit": 20}, headers=ada.headers)).json()
        assert [item["playback"]["state"] for item in listed["items"]] == ["ready"] * 4
    assert asked == []
    for _ in range(3):
        answer = await front.client.get(f"/api/v1/videos/{videos[0]}", headers=ada.headers)
        assert (await answer.json())["playback"]["state"] == "ready"
    assert asked == [master_key(videos[0])]


async def test_operator_purges_and_nobody_else_may(build):
    """C33: the CDN is told, and what is remembered here is dropped."""
    told = []

    async def purge(video_id, reason):
        told.append((video_id, reason))

    front = await build()
    object.__setattr__(front.deps.delivery, "purge", purge)
    ada, op = await front.person("ada"), await front.person("op", "operator")
    made = await front.upload(ada)
    path = f"/api/v1/videos/{made['id']}/purge"
    assert await code_of(await front.client.post(path, headers=ada.headers)) == (403, "INSUFFICIENT_ROLE")
    assert (await front.client.post(path, headers=op.headers)).status == 204
    assert told == [(made["id"], "operator")]
    missing = await front.client.post(f"/api/v1/videos/{uuid4()}/purge", headers=op.headers)
    assert await code_of(missing) == (404, "CONTENT_NOT_FOUND")


async def test_licence_is_part_of_the_answer_when_a_system_for_rights_is_there(front, video):
    """C35: a port, empty by default."""
    assert (await playback_of(front, video))["drm"] is None

    async def licences(video, viewer):
        return {"system": "com.widevine.alpha", "licence_url": f"https://rights.test/{video.id}"}

    object.__setattr__(front.deps.delivery, "licences", licences)
    assert (await playback_of(front, video))["drm"]["licence_url"].endswith(video)


async def test_media_has_an_origin_of_its_own_when_one_is_set(build):
    """N12, N25: that origin serves media and nothing else, the application's sends on and allows it."""
    front = await build(media_url="http://media.test", media_hosts=("http://media.test",))
    ada = await front.person("ada")
    made = await front.upload(ada)
    await front.make_ready(made["id"])
    path = path_of((await playback_of(front, made["id"]))["hls_url"])
    there = {"Host": "media.test"}
    assert (await front.client.get(path, headers=there)).status == 200
    assert (await front.client.get("/media/health", headers=there)).status == 200
    for other in ("/", "/api/v1/feed", "/healthz", f"/api/v1/videos/{made['id']}", "/media"):
        assert (await front.client.get(other, headers=there)).status == 404
    moved = await front.client.get(path, allow_redirects=False)
    assert (moved.status, moved.headers["Location"]) == (308, "http://media.test" + path)
    policy = (await front.client.get("/")).headers["Content-Security-Policy"]
    assert "media-src 'self' blob: data: http://front.test http://media.test;" in policy


async def test_players_of_our_pages_may_send_cookies_and_others_may_not(build):
    front = await build(cors_origins=("https://player.test",))
    ada = await front.person("ada")
    made = await front.upload(ada)
    await front.make_ready(made["id"])
    path = path_of((await playback_of(front, made["id"]))["hls_url"])
    for origin, allowed in (
        (BASE, BASE),
        ("https://player.test", "https://player.test"),
        ("https://else.test", "*"),
    ):
        for asked, status in ((path, 200), (path.replace("/media/", "/media/x"), 403)):
            answer = await front.client.get(asked, headers={"Origin": origin})
            assert answer.status == status  # players renew a link when they can see that it has ended
            assert answer.headers["Access-Control-Allow-Origin"] == allowed
            assert ("Access-Control-Allow-Credentials" in answer.headers) == (allowed != "*")
            assert "Origin" in answer.headers["Vary"]
        wish = {"Origin": origin, "Access-Control-Request-Method": "GET"}
        preflight = await front.client.options(path, headers=wish)
        assert preflight.headers["Access-Control-Allow-Methods"] == "GET"


async def test_cdn_that_checks_itself_needs_the_secret(front, video):
    """C32: its origin fetches carry no signature."""
    path = f"/media/public/videos/{video}/hls/master.m3u8"
    object.__setattr__(front.deps.delivery, "cdn_secret", "between us")
    assert (await front.client.get(path)).status == 403
    assert (await front.client.get(path, headers={"X-Origin-Verify": "between"})).status == 403
    opened = await front.client.get(path, headers={"X-Origin-Verify": "between us"})
    assert (opened.status, opened.headers["Cache-Control"]) == (200, "public, max-age=10")
