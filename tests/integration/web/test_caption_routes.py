"""Captions over HTTP: given, replaced, listed, read and taken back, before and after READY (Y6)."""

import asyncio
import io
from fractions import Fraction

import m3u8
import msgspec
import pytest

from media import captions, layout
from media.playlists import Clock, Variant, master_playlist
from streams.agents.media import apply_results
from streams.log.slices import Slice
from tables.errors import StorageFailure
from tables.records import Asset, MediaResult

VTT = b"WEBVTT\n\n00:01.000 --> 00:02.500 line:0\nHello <i>there</i>\n"
SRT = b'1\r\n00:00:01,000 --> 00:00:02,500\r\n{\\an8}<font color="red">Hallo</font> & du\r\n'
MASTER = "hls/master.m3u8"
RUNG = Variant("360p/playlist.m3u8", 800_000, 700_000, 640, 360, "avc1.64001e", Fraction(30))


@pytest.fixture
def ask(front):
    """Return a function that makes a request for somebody and returns status and body."""

    async def call(person, method, path, data=None, kind="text/vtt"):
        headers = (person.headers if person else {}) | ({"Content-Type": kind} if data is not None else {})
        body = None if data is None else io.BytesIO(data)
        response = await front.client.request(method, path, headers=headers, data=body)
        if response.content_type == "application/json":
            return response.status, await response.json()
        return response.status, (await response.read()).decode() or None

    return call


@pytest.fixture
async def ready(front, ada):
    """Return the id of a READY video with playlists of our making."""
    video_id = (await front.upload(ada))["id"]
    await front.make_ready(video_id)
    await write_playlists(front, video_id)
    return video_id


async def write_playlists(front, video_id):
    for path in (MASTER, "hls/master-cmaf.m3u8"):
        text = master_playlist([RUNG], Clock(126_000, 9.0))
        await front.deps.store.put_bytes(
            layout.prefix(video_id) + path, text.encode(), content_type="application/vnd.apple.mpegurl"
        )


async def languages_of(front, video_id, path=MASTER):
    """Return the languages that a master playlist names, each with its cues."""
    prefix = layout.prefix(video_id)
    read = m3u8.loads(await text_of(front, prefix + path))
    found = {}
    for each in read.media:
        listed = m3u8.loads(await text_of(front, f"{prefix}hls/{each.uri}"))
        found[each.language] = await text_of(front, f"{prefix}hls/captions/{listed.segments[0].uri}")
    return found


async def text_of(front, key):
    return b"".join([chunk async for chunk in front.deps.store.read(key)]).decode()


def place(video_id, language=""):
    return f"/api/v1/videos/{video_id}/captions" + (f"/{language}" if language else "")


async def test_captions_are_in_every_answer_and_playlist_when_they_are_given(front, ada, ready, ask):
    """Y6: WebVTT and SubRip; the tag in its usual form; links open; peers are told of an update."""
    status, given = await ask(ada, "PUT", place(ready, "PT-br"), VTT)
    assert (status, given["language"], given["name"], given["published"]) == (
        200, "pt-BR", "Português (Brasil)", True,
    )  # fmt: skip
    assert (await ask(ada, "PUT", place(ready, "de"), SRT, "application/x-subrip"))[0] == 200
    for path in (MASTER, "hls/master-cmaf.m3u8"):
        told = await languages_of(front, ready, path)
        assert set(told) == {"de", "pt-BR"}
        assert "Hallo &amp; du" in told["de"]
        assert "X-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:126000" in told["de"]
    _, page = await ask(None, "GET", place(ready))
    assert [item["language"] for item in page["items"]] == ["de", "pt-BR"]
    _, video = await ask(None, "GET", f"/api/v1/videos/{ready}")
    assert [caption["language"] for caption in video["captions"]] == ["de", "pt-BR"]
    for url in (video["captions"][1]["url"], given["url"]):
        status, text = await ask(None, "GET", url.removeprefix("http://front.test"))
        assert (status, text) == (200, "WEBVTT\n\n00:00:01.000 --> 00:00:02.500 line:0\nHello <i>there</i>\n")
    assert (await ask(None, "GET", place(ready, "pt-br")))[1] == text


async def test_captions_are_replaced_and_gone_from_all_places_when_their_owner_says_so(
    front, ada, ready, ask
):
    """Y6: one file a language; nothing of what was taken back stays in the store."""
    for text in (VTT, VTT.replace(b"Hello", b"Good day")):
        assert (await ask(ada, "PUT", place(ready, "en"), text))[0] == 200
    assert "Good day" in (await languages_of(front, ready))["en"]
    assert len((await ask(ada, "GET", place(ready)))[1]["items"]) == 1
    assert (await ask(ada, "DELETE", place(ready, "EN")))[0] == 204
    assert await languages_of(front, ready) == {}
    assert (await ask(ada, "GET", place(ready)))[1]["items"] == []
    assert (await ask(ada, "DELETE", place(ready, "en")))[1]["error"]["code"] == "CONTENT_NOT_FOUND"
    assert (await ask(ada, "GET", place(ready, "en")))[0] == 404
    keys = [found.key async for found in front.deps.store.list(layout.prefix(ready))]
    assert not [key for key in keys if "caption" in key]


@pytest.mark.parametrize(
    ("language", "data", "kind", "status", "code", "field"),
    [
        ("english", VTT, "text/vtt", 400, "VALIDATION_ERROR", "language"),
        ("zz", VTT, "text/vtt", 400, "VALIDATION_ERROR", "language"),
        ("und", VTT, "text/vtt", 400, "VALIDATION_ERROR", "language"),
        ("en", b"", "text/vtt", 400, "VALIDATION_ERROR", "captions"),
        ("en", b"hello", "text/vtt", 400, "VALIDATION_ERROR", "captions"),
        ("en", VTT.replace(b"02.500", b"00.500"), "text/vtt", 400, "VALIDATION_ERROR", "captions"),
        ("en", SRT + b"\n2\nbroken --> time\nx\n", "text/plain", 400, "VALIDATION_ERROR", "captions"),
        ("en", "Hällo".encode("latin-1"), "text/plain", 400, "VALIDATION_ERROR", "captions"),
        ("en", VTT, "application/json", 415, "UNSUPPORTED_MEDIA", None),
        ("en", VTT + b"\n" * captions.MAX_BYTES, "text/vtt", 413, "FILE_TOO_LARGE", None),
    ],
)
async def test_captions_are_refused_with_their_code_when_they_are_none(
    front, ada, ready, ask, language, data, kind, status, code, field
):
    """Y6, O1: and nothing is stored."""
    found, body = await ask(ada, "PUT", place(ready, language), data, kind)
    assert (found, body["error"]["code"]) == (status, code)
    assert body["error"].get("details", {}).get("field") == field
    assert (await ask(ada, "GET", place(ready)))[1]["items"] == []
    assert [found async for found in front.deps.store.list(layout.captions_prefix(ready))] == []


async def test_captions_are_only_their_owners_to_change(front, ada, ready, ask):
    """C23, H7, O7: others read those of what they may see; a hidden video is not there for them."""
    bob = await front.person("bob")
    await ask(ada, "PUT", place(ready, "en"), VTT)
    for method, data in (("PUT", VTT), ("DELETE", None)):
        status, body = await ask(bob, method, place(ready, "en"), data)
        assert (status, body["error"]["code"]) == (403, "NOT_CONTENT_OWNER")
        assert (await ask(None, method, place(ready, "en"), data))[0] == 401
    await front.client.patch(f"/api/v1/videos/{ready}", json={"visibility": "PRIVATE"}, headers=ada.headers)
    for path in (place(ready), place(ready, "en")):
        assert (await ask(bob, "GET", path))[0] == 404
        assert (await ask(ada, "GET", path))[0] == 200
    assert (await ask(bob, "PUT", place(ready, "en"), VTT))[0] == 404


async def test_captions_wait_for_the_playlists_when_the_video_is_not_ready(front, ada, ask):
    """Y6: given before READY and while the encode writes, they are published when it has ended."""
    video_id = (await front.upload(ada))["id"]
    status, given = await ask(ada, "PUT", place(video_id, "en"), VTT)
    assert (status, given["published"]) == (200, False)
    await front.deps.videos.enqueue_encoding(video_id)
    (job,) = await front.deps.videos.unfinished_jobs()
    await write_playlists(front, video_id)  # as the encode stores them: it began before these captions
    assert (await ask(ada, "PUT", place(video_id, "fr"), VTT))[1]["published"] is False
    assert await languages_of(front, video_id) == {}
    made = (
        Asset(type="HLS_MASTER", key=layout.master_key(video_id), container="m3u8"),
        Asset(type="CAPTIONS", key=layout.caption_key(video_id, "en"), quality="en", container="vtt"),
    )
    done = MediaResult(job_id=job.job_id, video_id=video_id, outcome="completed", at=1.0, assets=made)
    reports = Slice("media.results", 0, [done], [video_id], [0], [0.0])
    await apply_results(reports, front.deps.videos, front.deps.captions, None)
    assert set(await languages_of(front, video_id)) == {"en", "fr"}
    _, video = await ask(ada, "GET", f"/api/v1/videos/{video_id}")
    assert (video["status"], [text["language"] for text in video["captions"]]) == ("READY", ["en", "fr"])


async def test_captions_stay_when_a_video_is_encoded_again(front, ada, ready, ask):
    """B44, Y6: the outputs are others, what people gave is still there."""
    await ask(ada, "PUT", place(ready, "en"), VTT)
    again = await front.client.post(f"/api/v1/videos/{ready}/encoding", json={}, headers=ada.headers)
    assert again.status == 202
    (job,) = await front.deps.videos.unfinished_jobs()
    assert (await ask(ada, "PUT", place(ready, "de"), VTT))[1]["published"] is False
    master = Asset(type="HLS_MASTER", key=layout.master_key(ready), container="m3u8")
    done = MediaResult(job_id=job.job_id, video_id=ready, outcome="completed", at=1.0, assets=(master,))
    await write_playlists(front, ready)
    reports = Slice("media.results", 0, [done, msgspec.structs.replace(done)], [ready] * 2, [0, 1], [0.0] * 2)
    await apply_results(reports, front.deps.videos, front.deps.captions, None)
    assert set(await languages_of(front, ready)) == {"de", "en"}
    assert len((await ask(ada, "GET", place(ready)))[1]["items"]) == 2


async def test_none_is_lost_when_many_languages_are_given_at_once(front, ada, ready, ask):
    """Each of them rewrites the same playlists."""
    tags = ["de", "en", "es", "fr", "it", "pt", "nl", "pl"]
    answers = await asyncio.gather(*(ask(ada, "PUT", place(ready, tag), VTT) for tag in tags))
    assert [status for status, _ in answers] == [200] * len(tags)
    assert set(await languages_of(front, ready)) == set(tags)
    await asyncio.gather(*(ask(ada, "DELETE", place(ready, tag)) for tag in tags[:4]))
    assert set(await languages_of(front, ready)) == set(tags[4:])
    texts = [VTT.replace(b"Hello", b"Hello %d" % number) for number in range(4)]
    answers = await asyncio.gather(*(ask(ada, "PUT", place(ready, "en"), text) for text in texts))
    assert [status for status, _ in answers] == [200] * 4
    _, kept = await ask(ada, "GET", place(ready, "en"))
    assert kept.splitlines()[3] in (await languages_of(front, ready))["en"]
    assert len((await ask(ada, "GET", place(ready)))[1]["items"]) == 5


async def test_request_can_be_repeated_when_the_store_failed_in_the_middle(
    front, ada, ready, ask, monkeypatch
):
    """O1, Y6: 5xx with its code, and the same request again makes it whole."""
    store, failing = front.deps.store, [MASTER]
    put = store.put_bytes

    async def flaky(key, data, *, content_type):
        if failing and key.endswith(failing[0]):
            raise StorageFailure
        await put(key, data, content_type=content_type)

    monkeypatch.setattr(store, "put_bytes", flaky)
    assert (await ask(ada, "PUT", place(ready, "en"), VTT))[1]["error"]["code"] == "STORAGE_ERROR"
    failing.clear()
    assert (await ask(ada, "PUT", place(ready, "en"), VTT))[0] == 200
    assert set(await languages_of(front, ready)) == {"en"}
    failing.append(MASTER)
    assert (await ask(ada, "DELETE", place(ready, "en")))[1]["error"]["code"] == "STORAGE_ERROR"
    failing.clear()
    assert (await ask(ada, "DELETE", place(ready, "en")))[0] == 204
    assert await languages_of(front, ready) == {}


async def test_captions_are_refused_when_the_video_is_archived_or_has_too_many(
    front, ada, ready, ask, monkeypatch
):
    """R32: playlists that cannot be read cannot be brought up to date."""
    from social.videos import captions as service

    monkeypatch.setattr(service, "MAX_LANGUAGES", 1)
    assert (await ask(ada, "PUT", place(ready, "en"), VTT))[0] == 200
    assert (await ask(ada, "PUT", place(ready, "en"), SRT))[0] == 200, "replacing is no further language"
    status, body = await ask(ada, "PUT", place(ready, "de"), VTT)
    assert (status, body["error"]["details"]["field"]) == (400, "language")
    await front.deps.store.archive(layout.master_key(ready))
    for method, data in (("PUT", VTT), ("DELETE", None)):
        assert (await ask(ada, method, place(ready, "en"), data))[1]["error"]["code"] == "CONTENT_ARCHIVED"


async def test_playback_has_every_form_when_the_video_has_them(front, ada, ready, ask):
    """C34, B29, Y7: every form of HLS, preview and storyboard, and captions, in every signature."""
    await ask(ada, "PUT", place(ready, "en"), VTT)
    video = await front.deps.videos.get(ready, None)
    further = (
        Asset(type="HLS_MASTER", key=f"videos/{ready}/hls/master-cmaf.m3u8", container="fmp4"),
        Asset(type="PREVIEW", key=f"videos/{ready}/thumbs/preview.gif", container="gif"),
        Asset(type="PREVIEW", key=f"videos/{ready}/thumbs/preview.webp", container="webp"),
        Asset(type="STORYBOARD", key=f"videos/{ready}/thumbs/storyboard.vtt", container="vtt"),
        Asset(type="STORYBOARD", key=f"videos/{ready}/thumbs/storyboard.jpg", container="jpg"),
    )
    again = await front.client.post(f"/api/v1/videos/{ready}/encoding", json={}, headers=ada.headers)
    assert again.status == 202
    (job,) = await front.deps.videos.unfinished_jobs()
    kept = tuple(asset for asset in video.assets if asset.type != "CAPTIONS")
    done = MediaResult(
        job_id=job.job_id, video_id=ready, outcome="completed", at=1.0, assets=(*kept, *further)
    )
    assert await front.deps.videos.apply_completed(done)
    names = {
        "hls_url": MASTER, "hls_cmaf_url": "hls/master-cmaf.m3u8", "preview_url": "thumbs/preview.gif",
        "preview_webp_url": "thumbs/preview.webp", "storyboard_url": "thumbs/storyboard.vtt",
        "storyboard_image_url": "thumbs/storyboard.jpg",
    }  # fmt: skip
    _, shown = await ask(None, "GET", f"/api/v1/videos/{ready}")
    for name, path in names.items():
        assert shown["playback"][name].endswith(f"/videos/{ready}/{path}")
    for form in ("path", "query", "cookies"):
        _, playing = await ask(None, "GET", f"/api/v1/videos/{ready}/playback?form={form}")
        for name, path in names.items():
            assert f"/videos/{ready}/{path}" in playing[name]
        (text,) = playing["captions"]
        assert f"/videos/{ready}/captions/en.vtt" in text["url"]
        assert ("?" in text["url"]) == (form == "query")
