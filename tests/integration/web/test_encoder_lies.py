"""Encoders on other machines that lie: refused, at the cost of one try, and nothing is left (Y14, B50)."""

import asyncio
import base64
import hashlib

import pytest

from media.output_texts import is_output
from media.workers import review
from media.workers.protocol import Refused
from streams.agents import encoding
from streams.rests import REST_SECONDS
from tests.integration.media.encoder_world import LEASES, RUNGS, SECONDS, make

PLAYLIST, MASTER, MPD = "hls/360p/playlist.m3u8", "hls/master.m3u8", "dash/manifest.mpd"


async def refused(desk, gpu, video_id):
    """Check that a try was spent, nothing stored or left, and that the encoder rests."""
    await desk.handled()
    assert await gpu.tell("progress", {}) == (409, "LEASE_LOST")
    assert (desk.staged(), await desk.outputs_of(video_id)) == ([], set())
    assert (await desk.jobs.find(gpu.job["job_id"])).job.attempts == 1
    status, _ = await gpu.call("POST", "/api/v1/encoding/request", {})
    assert (status, 0 < float(gpu.retry_after) <= REST_SECONDS) == (429, True)


@pytest.fixture
async def work(ada, desk, machine, monkeypatch):
    """Return an encoder with a job, and the job's video."""
    monkeypatch.setattr(encoding, "RETRY_SECONDS", (0.0, 0.0, 0.0))
    video_id = await desk.video(ada)
    gpu = await machine()
    await gpu.take()
    return gpu, video_id


NOT_MADE = ["source.mov", "captions/../source.mov", "hls/.hidden.ts", "hls/a/b/c.ts", "thumbs/x.svg",
            "index.html", "../x", "/etc/passwd", "hls/360p/../../source.mov", "hls//master.m3u8",
            "dash/audio.mp4/x", "", "hls/a\n.ts", "hls/\u00e9.ts", "captions/.vtt",
            "thumbs/" + "a" * 65 + ".jpg"]  # fmt: skip


@pytest.mark.parametrize("name", NOT_MADE)
def test_name_is_none_of_an_output_when_no_job_makes_it(name):
    assert not is_output(name)


@pytest.mark.parametrize("name", ["%2e%2e/%2e%2e/x", "hls/360p/..%2f..%2fsource.mov", "index.html"])
async def test_name_is_refused_when_the_job_does_not_make_it(desk, work, name):
    gpu, video_id = work
    assert await gpu.put(name, b"x") in ((400, "OUTPUT_REFUSED"), (404, "NOT_FOUND"))
    assert desk.staged() == []
    if (await gpu.tell("progress", {}))[0] == 409:
        await refused(desk, gpu, video_id)


async def test_captions_of_people_are_not_written_by_encoders(front, ada, desk, machine):
    """Y6: a job may bring those of the source, and no others."""
    video_id = await desk.video(ada)
    await front.deps.store.put_bytes(
        f"videos/{video_id}/captions/de.vtt", b"WEBVTT\n", content_type="text/vtt"
    )
    gpu = await machine()
    assert {found["name"] for found in (await gpu.take())["inputs"]} == {"source", "de.vtt"}
    assert (await gpu.put("captions/en.vtt", b"WEBVTT\n"))[0] == 204
    assert await gpu.put("captions/de.vtt", b"WEBVTT\n") == (400, "OUTPUT_REFUSED")


async def test_file_is_refused_unread_when_it_is_larger_than_the_job_makes(front, desk, work):
    gpu, video_id = work
    headers = {"Content-Length": str(2**33), "Content-Digest": f"sha-256=:{'A' * 43}=:"}
    path = f"{LEASES}/{gpu.job['lease_id']}/files/mp4/360p.mp4"
    url = front.client.make_url(path)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    lines = [f"PUT {path} HTTP/1.1", "Host: x", *(f"{k}: {v}" for k, v in (gpu.headers | headers).items())]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    assert b" 400 " in await asyncio.wait_for(reader.readline(), 120)
    writer.close()
    await refused(desk, gpu, video_id)


async def test_damaged_file_is_taken_when_it_is_sent_again(desk, work, made):
    """A54: no try is spent for a bad line; nor for a request that is none."""
    gpu, _ = work
    name, data = "hls/master.m3u8", made.files["hls/master.m3u8"]
    assert await gpu.put(name, data[:-1], hashlib.sha256(data).digest()) == (400, "CHECKSUM_MISMATCH")
    assert await gpu.put(name, data, headers={"Content-Digest": "md5=:x:"}) == (400, "VALIDATION_ERROR")

    async def pieces():
        yield data

    digest = hashlib.sha256(data).digest()
    where = f"{LEASES}/{gpu.job['lease_id']}/files/{name}"
    headers = {"Content-Digest": f"sha-256=:{base64.b64encode(digest).decode()}:"}
    assert (await gpu.call("PUT", where, data=pieces(), headers=headers))[0] == 400
    assert await gpu.put(name, data) == (204, None)
    assert len(desk.staged()) == 1


def one_rung(files):
    """Leave only the lowest rung in the texts that name rungs."""
    kept = dict(files)
    for name in (MASTER, "hls/master-cmaf.m3u8"):
        lines = files[name].decode().splitlines()
        at = next(n for n, line in enumerate(lines) if line.startswith("360p/"))
        kept[name] = "\n".join(line for n, line in enumerate(lines) if n not in (at, at - 1)).encode()
    return kept


def swap(name, change):
    """Return a lie about one file: its text after ``change``."""

    def lie(files):
        return files | {name: change(files[name])}

    return lie


def text(name, old, new):
    return swap(name, lambda data: data.replace(old.encode(), new.encode(), 1))


def without(name):
    return lambda files: {known: data for known, data in files.items() if known != name}


LIES = {
    "nothing at all": lambda files: {},
    "no master": without("hls/master.m3u8"),
    "a segment is missing": without("hls/360p/segment_00000.ts"),
    "a segment is empty": swap("hls/360p/segment_00000.ts", lambda data: b""),
    "a segment is noise": swap("hls/360p/segment_00000.ts", lambda data: b"\x47" + b"\x00" * 187 * 40),
    "a segment is cut": swap("hls/360p/segment_00000.ts", lambda data: data[: len(data) // 3 // 188 * 188]),
    "a rung is another one": lambda files: files | {
        "hls/360p/segment_00000.ts": files["hls/240p/segment_00000.ts"]},
    "a rung is not there": one_rung,
    "a playlist leads away": text(PLAYLIST, "segment_00000.ts", "https://evil.example/x.ts"),
    "a playlist has a key": text(
        PLAYLIST, "#EXTINF", '#EXT-X-KEY:METHOD=AES-128,URI="https://evil.example/k"\n#EXTINF'),
    "a playlist climbs": text(PLAYLIST, "segment_00000.ts", "../../../x/segment_00000.ts"),
    "a playlist lies about its length": text(PLAYLIST, "#EXTINF:2", "#EXTINF:60"),
    "a playlist has no end": text(PLAYLIST, "#EXT-X-ENDLIST", ""),
    "a master leads away": text(MASTER, "360p/playlist.m3u8", "https://evil.example/x.m3u8"),
    "a master lies about a size": text(MASTER, "RESOLUTION=640x360", "RESOLUTION=1920x1080"),
    "a master lies about a rate": text(MASTER, "BANDWIDTH=800000", "BANDWIDTH=8000"),
    "a master lies about its length": text(MASTER, 'seconds",VALUE="2', 'seconds",VALUE="9'),
    "a master names captions elsewhere": text(
        MASTER, "#EXT-X-STREAM-INF", '#EXT-X-MEDIA:TYPE=SUBTITLES,URI="https://e.example"\n#EXT-X-STREAM-INF'),
    "a manifest leads away": text(MPD, "<BaseURL>360p.mp4", "<BaseURL>https://evil.example/360p.mp4"),
    "a manifest has entities": text(MPD, "<MPD ", '<!DOCTYPE MPD [<!ENTITY x "y">]>\n<MPD '),
    "a fragmented file is cut": swap("dash/360p.mp4", lambda data: data[: len(data) * 2 // 3]),
    "the mp4 is cut": swap("mp4/360p.mp4", lambda data: data[: len(data) * 2 // 3]),
    "the sound is cut": swap("dash/audio.mp4", lambda data: data[: len(data) // 2]),
    "a fragmented file is noise": swap("dash/360p.mp4", lambda data: data[:100]),
    "byte ranges are beyond the end": swap("hls/360p/cmaf.m3u8", lambda data: data.replace(b"@", b"@9")),
    "the mp4 is another rung": lambda files: files | {"mp4/360p.mp4": files["dash/240p.mp4"]},
    "a picture is a page": swap("thumbs/small.jpg", lambda data: b"<html><script>alert(1)</script>"),
    "a picture has another size": lambda files: files | {"thumbs/small.jpg": files["thumbs/large.jpg"]},
    "a picture is another kind": lambda files: files | {"thumbs/poster.jpg": files["thumbs/preview.gif"]},
    "a storyboard leads away": text("thumbs/storyboard.vtt", "storyboard.jpg", "https://evil.example/s.jpg"),
    "a text is no text": swap(MASTER, lambda data: b"\xff\xfe" * 100),
}  # fmt: skip


def write(folder, files):
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    known = {"ladder": RUNGS, "upscale": True, "dash": True, "per_title": False, "whole": True, "given": []}
    return known | {"folder": str(folder), "width": 640, "height": 360, "seconds": SECONDS}


def test_result_is_taken_when_nothing_is_a_lie(tmp_path, monkeypatch, made):
    monkeypatch.chdir(tmp_path)
    found = review.handle(write(tmp_path, made.files))
    assert set(found["files"]) == set(made.files)


def test_captions_of_people_are_named_when_the_store_has_them(tmp_path, monkeypatch):
    """Y6: playlists and the manifest name them; the file itself is not the encoder's to bring."""
    for name in ("work", "made"):
        (tmp_path / name).mkdir()
    found = make(tmp_path / "made", captions=True).files
    monkeypatch.chdir(tmp_path)
    request = write(tmp_path / "work", found)
    with pytest.raises(Refused, match=r"captions/de.vtt is missing"):
        review.handle(request)
    reviewed = review.handle(request | {"given": ["captions/de.vtt"]})
    assert set(reviewed["files"]) == set(found)
    assert "hls/captions/de-ts.vtt" in found


def test_file_is_left_out_when_nothing_names_it(tmp_path, monkeypatch, made):
    """What no playlist names never becomes an object."""
    monkeypatch.chdir(tmp_path)
    more = {"hls/360p/segment_00001.ts": b"x", "hls/captions/en-ts.vtt": b"x", "captions/en.vtt": b"x"}
    found = review.handle(write(tmp_path, made.files | more))
    assert set(found["files"]) == set(made.files)


@pytest.mark.parametrize("lie", LIES)
def test_result_is_refused_when(tmp_path, monkeypatch, made, lie):
    """Y14, B50: every playlist parses, each file is there and what it should be, lengths and sizes agree."""
    monkeypatch.chdir(tmp_path)
    changed = LIES[lie](made.files)
    assert changed != made.files, "the lie has to be one"
    with pytest.raises(Refused) as raised:
        review.handle(write(tmp_path, changed))
    assert raised.value.code == review.REFUSED, raised.value


async def test_try_is_spent_when_the_result_is_a_lie(desk, work, made):
    """The whole way: the child refuses, nothing is stored, the queue decides what follows."""
    gpu, video_id = work
    await gpu.put_all(LIES["a playlist leads away"](made.files))
    assert await gpu.tell("finish") == (400, "OUTPUT_REFUSED")
    assert desk.outcomes == []
    await refused(desk, gpu, video_id)
    assert "segments are not numbered" in (await desk.partials.find(gpu.job["job_id"]))["said"]


async def test_rest_grows_and_ends_when_results_were_refused(front, desk, work):
    gpu, _ = work
    for times in (1, 2):
        assert await gpu.put("index.html", b"x") == (400, "OUTPUT_REFUSED")
        await desk.handled()
        (again,) = await front.deps.videos.unfinished_jobs()
        desk.deliver(again)
        assert (await gpu.call("POST", "/api/v1/encoding/request", {}))[0] == 429
        assert REST_SECONDS * times - 2 < float(gpu.retry_after) <= REST_SECONDS * times
        front.clock.ahead += REST_SECONDS * times
        assert await gpu.take(wait_seconds=25) is not None
    assert (await front.deps.encoders.list())[0].refused == 2
