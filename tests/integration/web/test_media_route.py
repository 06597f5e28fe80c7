"""Media behind signed URLs (C27, C31, C33, C40, N25)."""

from urllib.parse import urlsplit

import pytest


@pytest.fixture
async def playing(front, ada):
    """Return the paths of a READY video: master, mp4, and its id."""
    video = await front.upload(ada)
    await front.make_ready(video["id"])
    seen = await (await front.client.get(f"/api/v1/videos/{video['id']}")).json()
    playback = seen["playback"]
    return urlsplit(playback["hls_url"]).path, urlsplit(playback["mp4_url"]).path, video["id"]


async def test_playlist_and_file_are_served_when_the_link_is_good(front, playing):
    """C33, C40: MIME types, cache headers, validators, any origin; no token needed."""
    master, mp4, _ = playing
    playlist = await front.client.get(master)
    assert playlist.status == 200
    assert playlist.headers["Content-Type"] == "application/vnd.apple.mpegurl"
    assert playlist.headers["Cache-Control"] == "public, max-age=10"
    assert playlist.headers["Access-Control-Allow-Origin"] == "*"
    assert (await playlist.read()).startswith(b"#EXTM3U")
    file = await front.client.get(mp4)
    assert (file.headers["Content-Type"], file.headers["Accept-Ranges"]) == ("video/mp4", "bytes")
    head = await front.client.head(mp4)
    assert (head.status, head.headers["Content-Length"]) == (200, file.headers["Content-Length"])
    cached = await front.client.get(mp4, headers={"If-None-Match": file.headers["ETag"]})
    assert (cached.status, await cached.read()) == (304, b"")


async def test_parts_are_served_when_a_range_is_asked(front, playing):
    """C40, RFC 9110."""
    _, mp4, _ = playing
    whole = await (await front.client.get(mp4)).read()
    for header, part in (
        ("bytes=0-9", whole[:10]),
        ("bytes=10-", whole[10:]),
        ("bytes=-7", whole[-7:]),
        (f"bytes={len(whole) - 1}-{len(whole) + 9}", whole[-1:]),
    ):
        answer = await front.client.get(mp4, headers={"Range": header})
        assert (answer.status, await answer.read()) == (206, part)
        assert answer.headers["Content-Range"].endswith(f"/{len(whole)}")
    past = await front.client.get(mp4, headers={"Range": f"bytes={len(whole)}-"})
    assert past.status == 416
    assert past.headers["Content-Range"] == f"bytes */{len(whole)}"
    assert (await past.json())["error"]["code"] == "RANGE_NOT_SATISFIABLE"
    for ignored in ("bytes=5-2", "lines=1-2", "bytes=a-b", "bytes=0-1,4-5"):
        assert (await front.client.get(mp4, headers={"Range": ignored})).status == 200


async def test_link_is_refused_when_altered_expired_or_for_another_video(front, ada, playing):
    """C31: 403 SIGNATURE_REFUSED."""
    master, _, video = playing
    token = master.split("/")[2]
    other = await front.upload(ada)
    bad = [
        master.replace(token, token[:-6] + "AAAAAA"),
        master.replace(token, "x"),
        master.replace(token, token + "A"),
        master.replace(video, other["id"]),
    ]
    for path in bad:
        answer = await front.client.get(path)
        assert (answer.status, (await answer.json())["error"]["code"]) == (403, "SIGNATURE_REFUSED")
    front.clock.ahead = 8 * 3600
    assert (await front.client.get(master)).status == 403


async def test_nothing_else_is_reached_when_the_path_is_a_trick(front, playing):
    """N23, N25: neither the source nor anything outside the video's outputs."""
    master, _, video = playing
    token = master.split("/")[2]
    base = f"/media/{token}/videos/{video}"
    for tail in (
        "/source.mp4",
        "/hls/missing.m3u8",
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/front.db",
        "/..%2f..%2f..%2ffront.db",
        "/hls/%00master.m3u8",
        "/hls/..%5cmaster.m3u8",
        "/hls//master.m3u8",
        "/hls/" + "a" * 3000,
        "",
        "/",
    ):
        answer = await front.client.get(base + tail)
        assert answer.status in {403, 404}, tail
        assert (await answer.json())["error"]["code"] in {
            "CONTENT_NOT_FOUND",
            "SIGNATURE_REFUSED",
            "NOT_FOUND",
        }
    assert (await front.client.post(master)).status == 405
