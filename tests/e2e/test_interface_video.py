"""INTERFACE.md, Video, and its settled readings of upload and media."""

import io
import re
from fractions import Fraction
from itertools import pairwise
from urllib.parse import urljoin, urlsplit
from uuid import UUID

import aiohttp
import av
import m3u8
import pytest

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
THUMBNAILS = {"small": (160, 90), "medium": (320, 180), "large": (640, 360)}  # B27
RUNGS = (360, 480, 720, 1080)  # core, by the short side
URLS = ("stream_url", "hls_url", "dash_url", "mp4_url", "poster_url", "preview_url", "storyboard_url")
FIELDS = {
    "id", "owner_id", "title", "description", "tags", "status", "fail_reason", "fail_code",
    "duration_seconds", "width", "height", "progress", "thumbnails", "playback",
    "view_count", "like_count", "comment_count", "share_count",
}  # fmt: skip
ORDER = ["UPLOADED", "TRANSCODING", "READY"]


def snake_case(value):
    """Yield every key of a JSON value that is not snake_case."""
    if isinstance(value, dict):
        for key, below in value.items():
            if not re.fullmatch(r"[a-z][a-z0-9_]*", key):
                yield key
            yield from snake_case(below)
    elif isinstance(value, list):
        for below in value:
            yield from snake_case(below)


def picture_size(data):
    with av.open(io.BytesIO(data)) as container:
        frame = next(container.decode(video=0))
        return frame.width, frame.height


async def test_video_answers_every_field_when_ready(flower, owner):
    """ "`GET /api/v1/videos/{id}` → `id, owner_id, title, ...`"."""
    video = await owner.get(f"/api/v1/videos/{flower.id}")
    assert set(video) >= FIELDS
    assert not list(snake_case(video))
    assert str(UUID(video["id"])) == video["id"]
    assert video["owner_id"] == owner.user["id"]
    assert (video["title"], video["description"], video["tags"]) == (
        "A flower",
        "It opens.",
        ["flower", "spring"],
    )
    assert (video["status"], video["fail_reason"], video["fail_code"]) == ("READY", None, None)
    assert (video["width"], video["height"], video["progress"]) == (960, 540, 100)
    assert video["duration_seconds"] == pytest.approx(5.055, abs=0.1)
    assert video["visibility"] == "PUBLIC"  # "`visibility` (H6, upper case, default PUBLIC)"
    assert MOMENT.fullmatch(video["created_at"])
    assert MOMENT.fullmatch(video["updated_at"])
    assert set(video["thumbnails"]) == set(THUMBNAILS)
    assert set(video["playback"]) >= {"ready", "qualities", *URLS}
    assert video["playback"]["ready"] is True
    assert video["playback"]["qualities"] == ["1080p", "720p", "480p", "360p"]
    for url in (*(video["playback"][name] for name in URLS), *video["thumbnails"].values()):
        assert url.startswith(owner.server.url + "/"), url  # "absolute URLs"


async def test_upload_answers_created_and_progress_never_falls_when_processed(flower):
    """ "→ 201 with `id`, `status`, `tags`", "(absolute URLs, null unless READY)", "`progress` never
    falls"."""
    assert flower.created["status"] == "UPLOADED"
    assert flower.created["tags"] == ["flower", "spring"]
    for video in flower.trace:
        ready = video["status"] == "READY"
        assert all((video["playback"][name] is not None) == ready for name in URLS), video
        assert video["playback"]["ready"] is ready
        assert (video["playback"]["qualities"] != []) is ready
        assert 0 <= video["progress"] <= 100
    progress = [video["progress"] for video in flower.trace]
    assert progress == sorted(progress)
    assert progress[-1] == 100
    steps = [ORDER.index(video["status"]) for video in flower.trace]
    assert steps == sorted(steps)
    assert any(0 < value < 100 for value in progress), "no progress was shown on the way"


async def test_document_000_shape_answers_when_posted_to_its_path(alice, shared_dir):
    """ "`POST /api/posts` ... (document 000's shape on the alias)"; "`tags` (repeated or comma separated)",
    "`visibility`", "`policy`"."""
    form = aiohttp.FormData()
    for name, value in (("tags", "one,two"), ("tags", "three"), ("title", "Bear"), ("description", "A bear."),
                        ("visibility", "PRIVATE"), ("policy", "short")):  # fmt: skip
        form.add_field(name, value)
    form.add_field(
        "file", (shared_dir / "media/clips/bear-vp9-odd-dimensions.webm").read_bytes(), filename="b.webm"
    )
    post = await alice.call("POST", "/api/posts", data=form)
    assert alice.status == 201, post
    assert set(post) >= {
        "id", "user_id", "title", "description", "tags", "duration", "status", "thumbnails", "resolutions",
        "is_federated", "origin_server", "activity_id", "like_count", "comment_count", "share_count",
        "view_count", "moderation_status", "created_at", "updated_at",
    }  # fmt: skip
    assert (post["user_id"], post["status"]) == (alice.user["id"], "processing")
    assert post["tags"] == ["one", "two", "three"]
    assert MOMENT.fullmatch(post["created_at"])
    video = await alice.get(f"/api/v1/videos/{post['id']}")
    assert (video["visibility"], video["tags"]) == ("PRIVATE", ["one", "two", "three"])
    alice.token = ""
    hidden = await alice.get(f"/api/v1/videos/{post['id']}")
    assert (alice.status, hidden["error"]["code"]) == (404, "CONTENT_NOT_FOUND")


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"title": "x" * 201}, "CONTENT_TOO_LONG", "title"),
        ({"description": "x" * 2001}, "CONTENT_TOO_LONG", "description"),
        ({"tags": ",".join(f"t{n}" for n in range(11))}, "CONTENT_TOO_LONG", "tags"),
        ({"visibility": "public"}, "INVALID_VISIBILITY", "visibility"),
        ({"visibility": "FRIENDS"}, "INVALID_VISIBILITY", "visibility"),
        ({"policy": "endless"}, "VALIDATION_ERROR", "policy"),
        ({"title": ""}, "VALIDATION_ERROR", "title"),
    ],
)
async def test_form_is_refused_when_a_field_is_wrong(alice, shared_dir, fields, code, field):
    """ "CONTENT_TOO_LONG 400 for lengths of title, description, tags and text (`details.field`)"; H6."""
    clip = shared_dir / "media/clips/bear-vp9-odd-dimensions.webm"
    body = await alice.upload(clip, **{"title": "Bear", **fields})
    assert (alice.status, body["error"]["code"]) == (400, code), body
    assert body["error"]["details"]["field"] == field


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("clips/long_1080p_lowbitrate.mp4", 400, "DURATION_EXCEEDED"),
        ("clips/sample.mkv", 400, "INVALID_FORMAT"),
        ("clips/sample.avi", 400, "INVALID_FORMAT"),  # of the policy `long` only
        ("hostile/html_renamed.webm", 400, "INVALID_FORMAT"),
        ("hostile/nested_moov_2000.mp4", 400, "CORRUPTED_FILE"),
    ],
)
async def test_source_is_refused_with_its_code_when_that_is_known_at_upload(
    alice, shared_dir, name, status, code
):
    """ "A refused source (format, size, duration, damage) answers 4xx with its O3 code at upload"."""
    body = await alice.upload(shared_dir / "media" / name)
    assert (alice.status, body["error"]["code"]) == (status, code), body
    assert (await alice.get("/api/v1/videos"))["items"] == []


async def test_empty_file_is_corrupt_when_uploaded(alice, tmp_path):
    """ "An empty file is CORRUPTED_FILE." """
    empty = tmp_path / "empty.mp4"
    empty.touch()
    body = await alice.upload(empty)
    assert (alice.status, body["error"]["code"]) == (400, "CORRUPTED_FILE")


async def test_media_plays_without_a_token_when_its_url_is_known(flower, session):
    """ "Playback URLs work without a token (they are signed)", and not without their signature."""
    playback = flower.video["playback"]
    for name in URLS:
        async with session.get(playback[name], headers={"Range": "bytes=0-9"}) as answer:
            assert answer.status == 206, name
            assert answer.headers["Content-Range"].startswith("bytes 0-9/")
            assert len(await answer.read()) == 10
        async with session.head(playback[name]) as answer:
            assert answer.status == 200
            assert int(answer.headers["Content-Length"]) > 10
    url = playback["hls_url"]
    token = urlsplit(url).path.split("/")[2]
    for other in (token[:-6] + "AAAAAA", "nonsense"):
        async with session.get(url.replace(token, other)) as answer:
            assert answer.status == 403
            assert (await answer.json())["error"]["code"] == "SIGNATURE_REFUSED"


async def test_thumbnails_have_exact_sizes_when_decoded(flower, owner):
    """ "The three thumbnails have exactly the sizes of B27 ...; `poster_url` has the video's own shape, short
    side up to 720."""
    for name, size in THUMBNAILS.items():
        assert picture_size(await owner.bytes_of(flower.video["thumbnails"][name])) == size
    width, height = picture_size(await owner.bytes_of(flower.video["playback"]["poster_url"]))
    assert width * 540 == height * 960
    assert height <= 720


async def test_renditions_keep_rate_and_keyframes_when_played(flower, owner):
    """ "Rungs go by the short side. Frame rate is the source's, constant, at most 60; keyframes at most 2 s
    plus one frame apart."
    """
    hls = flower.video["playback"]["hls_url"]
    master = m3u8.loads((await owner.bytes_of(hls)).decode(), uri=hls)
    assert sorted(min(p.stream_info.resolution) for p in master.playlists) == list(RUNGS)
    assert len({(p.stream_info.bandwidth, p.stream_info.codecs) for p in master.playlists}) == len(RUNGS)
    for playlist in master.playlists:
        video = await decoded(owner, playlist.absolute_uri)
        assert (video["width"], video["height"]) == playlist.stream_info.resolution
        assert_constant(video["times"], video["keyframes"], Fraction(30000, 1001))


async def decoded(client, url):
    """Return size and times of the first video stream of an HLS rendition, read packet by packet."""
    rendition = m3u8.loads((await client.bytes_of(url)).decode(), uri=url)
    data = b"".join([await client.bytes_of(urljoin(url, segment.uri)) for segment in rendition.segments])
    with av.open(io.BytesIO(data), format="mpegts") as container:
        stream = container.streams.video[0]
        packets = [p for p in container.demux(stream) if p.pts is not None]
        return {
            "width": stream.codec_context.width,
            "height": stream.codec_context.height,
            "times": sorted(float(p.pts * p.time_base) for p in packets),
            "keyframes": sorted(float(p.pts * p.time_base) for p in packets if p.is_keyframe),
        }


def assert_constant(times, keyframes, rate):
    frame = 1 / float(rate)
    gaps = [after - before for before, after in pairwise(times)]
    assert max(gaps) == pytest.approx(frame, abs=0.001)  # a tick of MPEG-TS is 0.000011 s
    assert min(gaps) == pytest.approx(frame, abs=0.001)
    assert keyframes[0] == times[0]
    ends = [*keyframes[1:], times[-1]]
    assert all(end - start <= 2 + frame + 0.001 for start, end in zip(keyframes, ends, strict=True))


async def test_mp4_and_dash_carry_picture_and_sound_when_opened(flower, owner):
    """One progressive mp4 that every player takes, with its index in front; DASH beside HLS."""
    data = await owner.bytes_of(flower.video["playback"]["mp4_url"])
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(io.BytesIO(data)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.audio[0].codec_context.name == "aac"
        longest = max(float(s.duration * s.time_base) for s in container.streams)
    assert longest == pytest.approx(flower.video["duration_seconds"], abs=0.1)
    manifest = (await owner.bytes_of(flower.video["playback"]["dash_url"])).decode()
    assert manifest.count("<Representation") >= len(RUNGS)


def longest_stream(path):
    with av.open(str(path)) as container:
        return max(float(s.duration * s.time_base) for s in container.streams if s.type in {"video", "audio"})


async def test_odd_sources_end_ready_with_their_own_shape_when_uploaded(
    shared_server, make_client, shared_dir
):
    """ "A source that decodes ends READY, whatever its codec or size within the policy"; "other shapes are
    padded"; "`duration_seconds` is the longest stream's"; rate "the source's, constant"."""
    client = await make_client(shared_server).register()
    upright = await client.upload(shared_dir / "media/clips/ios9.mov", title="Upright")
    slow = await client.upload(shared_dir / "media/clips/sample_12_5fps_720p_1s.mp4", title="Slow")
    films = await client.upload(
        shared_dir / "media/clips/bbb_176x144_128kbps_15fps_h263.3gp", title="Old", policy="long"
    )
    upright = await client.wait_status(upright["id"], "READY", "FAILED")
    assert upright["status"] == "READY"
    assert (upright["width"], upright["height"]) == (720, 1280)  # as it is seen, not as it is coded
    assert upright["playback"]["qualities"] == ["1080p", "720p", "480p", "360p"]
    for name, size in THUMBNAILS.items():
        assert picture_size(await client.bytes_of(upright["thumbnails"][name])) == size
    assert picture_size(await client.bytes_of(upright["playback"]["poster_url"])) == (720, 1280)

    for video, name in ((upright, "ios9.mov"), (slow, "sample_12_5fps_720p_1s.mp4")):
        video = await client.wait_status(video["id"], "READY", "FAILED")
        expected = longest_stream(shared_dir / "media/clips" / name)
        assert video["duration_seconds"] == pytest.approx(expected, abs=0.05), name

    slow = await client.wait_status(slow["id"], "READY", "FAILED")
    hls = slow["playback"]["hls_url"]
    master = m3u8.loads((await client.bytes_of(hls)).decode(), uri=hls)
    video = await decoded(client, master.playlists[-1].absolute_uri)
    assert_constant(video["times"], video["keyframes"], Fraction(25, 2))

    films = await client.wait_status(films["id"], "READY", "FAILED")
    assert (films["status"], films["policy"]) == ("READY", "long")
    assert {item["status"] for item in await client.pages("/api/v1/videos")} == {"READY"}


async def test_own_videos_list_in_pages_when_limited(owner, flower, shared_dir):
    """ "Lists answer `{items, next_cursor}`"; "`limit` and `cursor` are query parameters"."""
    body = await owner.get("/api/v1/videos?limit=1")
    assert set(body) == {"items", "next_cursor"}
    assert [item["id"] for item in body["items"]] == [flower.id]
    assert body["next_cursor"] is None
    assert (await owner.get("/api/v1/videos?status=FAILED"))["items"] == []
    refused = await owner.get("/api/v1/videos?status=DONE")
    assert (owner.status, refused["error"]["details"]["field"]) == (400, "status")


async def test_source_is_never_served_when_asked_for(flower, session):
    """Playback is of what was made, the original is nobody's to fetch (C13)."""
    hls = flower.video["playback"]["hls_url"]
    for name in ("source.mp4", "../source.mp4", "%2e%2e/source.mp4", "hls/../source.mp4"):
        async with session.get(hls.replace("hls/master.m3u8", name)) as answer:
            assert answer.status in {403, 404}, name
