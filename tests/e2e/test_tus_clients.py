"""Real clients of tus against a running server: tuspy and tus-js-client, cut and resumed; a server killed."""

import asyncio
import contextlib
import io
import json
import os
from pathlib import Path

import aiohttp
import pytest
from tusclient.client import TusClient

from tables.lifecycle import VideoStatus

SCRIPT = Path(__file__).with_name("tus_client.mjs")
CLIENT = Path(__file__).resolve().parents[2] / "web/client/node_modules/tus-js-client"
JS_SECONDS = 120
TUS = {"Tus-Resumable": "1.0.0"}


@pytest.fixture
def clip(shared_dir):
    return shared_dir / "media/clips/flower.mp4"


def source_of(server, video_id):
    return (server.data / "objects" / "videos" / video_id / "source.mp4").read_bytes()


def python_uploader(owner, clip, **options):
    client = TusClient(f"{owner.server.url}/api/v1/tus", headers={"Authorization": f"Bearer {owner.token}"})
    # Of a path it would open the file for each chunk and close none.
    return client.uploader(file_stream=io.BytesIO(clip.read_bytes()), **options)


def last_video(uploader):
    return uploader.request.response_headers["x-video-id"]


async def test_python_client_finishes_when_its_upload_was_cut(shared_server, make_client, clip):
    """A49: tuspy in chunks with checksums, stopped, and another that knows only the URL."""
    owner = await make_client(shared_server).register()
    size = clip.stat().st_size // 4

    def send():
        said = {"filename": clip.name, "title": "By tuspy", "tags": "one,two"}
        first = python_uploader(owner, clip, chunk_size=size, metadata=said, upload_checksum=True)
        first.upload(stop_at=2 * size)
        second = python_uploader(owner, clip, chunk_size=size, url=first.url)
        assert second.offset == first.offset == 2 * size
        second.upload()
        return last_video(second)

    video = await owner.get(f"/api/v1/videos/{await asyncio.to_thread(send)}")
    assert (video["title"], video["tags"]) == ("By tuspy", ["one", "two"])
    assert source_of(shared_server, video["id"]) == clip.read_bytes()


async def test_upload_finishes_when_the_server_is_killed_in_the_middle(make_server, make_client, clip):
    """DESIGN invariant 2, A36: HEAD tells the durable offset; the rest is sent, and the bytes are equal."""
    data, server = clip.read_bytes(), make_server()
    await server.start()
    owner = await make_client(server).register()

    def begin():
        uploader = python_uploader(owner, clip, chunk_size=100_000, metadata={"title": "Killed"})
        uploader.upload(stop_at=200_000)
        return uploader.url

    url = await asyncio.to_thread(begin)

    async def half():
        yield data[200_000:300_000]
        await asyncio.sleep(0.2)
        server.kill()
        yield data[300_000:]

    headers = {**TUS, "Upload-Offset": "200000", "Content-Type": "application/offset+octet-stream"}
    with contextlib.suppress(aiohttp.ClientError):
        await owner.call("PATCH", url, data=half(), headers=headers)
    await server.start()
    await owner.call("HEAD", url, headers=TUS)
    assert 200_000 <= int(owner.headers["Upload-Offset"]) <= 300_000

    def end():
        uploader = python_uploader(owner, clip, url=url)
        uploader.upload()
        return last_video(uploader)

    video_id = await asyncio.to_thread(end)
    assert source_of(server, video_id) == data
    assert server.query("SELECT count(*) FROM videos") == [(1,)]
    assert server.files("uploads") == set()
    await owner.wait_status(video_id, VideoStatus.TRANSCODING, VideoStatus.READY)


async def run_js(owner, clip, memory, **asked):
    """Run tus-js-client in Node and return what it says."""
    if not CLIENT.is_dir():
        if os.environ.get("CI"):
            pytest.fail("tus-js-client is missing: make client installs it")
        pytest.skip("tus-js-client is not installed (make client)")
    asked = {
        "endpoint": f"{owner.server.url}/api/v1/tus",
        "token": owner.token,
        "file": str(clip),
        "memory": str(memory),
        "metadata": {"filename": clip.name, "filetype": "video/mp4"},
        "chunk": 128 * 1024,
    } | asked
    process = await asyncio.create_subprocess_exec(
        "node", str(SCRIPT), json.dumps(asked), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(JS_SECONDS):
            out, failure = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, failure.decode()
    said = json.loads(out)
    assert "error" not in said, said["error"]
    return said


@pytest.mark.parametrize(
    "asked",
    [{}, {"parallel": 3}, {"protocol": "ietf-draft-05", "source": "memory"}],
    ids=["plain", "parallel", "draft"],
)
async def test_browser_library_finishes_when_its_upload_was_cut(
    shared_server, make_client, clip, tmp_path, asked
):
    """A49, Y5: tus-js-client, also in parallel (concatenation) and in the draft's protocol, goes on."""
    owner = await make_client(shared_server).register()
    memory = tmp_path / "memory.json"
    first = await run_js(owner, clip, memory, cut=clip.stat().st_size // 3, **asked)
    assert first["cut"] < clip.stat().st_size
    second = await run_js(owner, clip, memory, **asked)
    assert second["resumed"]
    assert "HEAD" in second["requests"]
    video = await owner.get(f"/api/v1/videos/{second['video']}")
    assert (owner.status, video["title"]) == (200, "flower")
    assert source_of(shared_server, video["id"]) == clip.read_bytes()


async def test_browser_library_finishes_when_it_knows_no_length(shared_server, make_client, clip, tmp_path):
    """A49: a stream, as a camera makes one (Upload-Defer-Length)."""
    owner = await make_client(shared_server).register()
    said = await run_js(owner, clip, tmp_path / "memory.json", source="stream")
    assert source_of(shared_server, said["video"]) == clip.read_bytes()
