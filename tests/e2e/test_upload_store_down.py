"""A store that dies while bytes come, and while they are put together (A36, A48, A54, O9).

An S3 server of the test's own is killed and started again over the same objects.
"""

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

CACHES = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "freewill"
CLIP = "media/clips/bear-vp9-odd-dimensions.webm"
CHUNKS = 3


class Gateway:
    """An S3 server whose buckets are folders."""

    def __init__(self, binary, home):
        self._binary, self._home = binary, home
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.bucket = home / "objects" / "media"
        self.bucket.mkdir(parents=True)
        self.keys = {
            "AWS_ACCESS_KEY_ID": secrets.token_hex(8),
            "AWS_SECRET_ACCESS_KEY": secrets.token_hex(16),
        }
        self.process = None

    def start(self):
        command = [self._binary, "--quiet", "--port", f"127.0.0.1:{self.port}", "posix", self.bucket.parent]
        root = dict(zip(("ROOT_ACCESS_KEY", "ROOT_SECRET_KEY"), self.keys.values(), strict=True))
        with (self._home / "log").open("ab") as log:
            self.process = subprocess.Popen(command, env=os.environ | root, stdout=log, stderr=log)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        pytest.fail(f"the S3 server did not start: {(self._home / 'log').read_text()}")

    def freeze(self):
        """Let it take connections and answer none."""
        self.process.send_signal(signal.SIGSTOP)

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def objects(self):
        """Return what is stored, unfinished uploads too, past the server."""
        files = (path for path in self.bucket.rglob("*") if path.is_file())
        return sorted(str(path.relative_to(self.bucket)) for path in files)


@pytest.fixture
def gateway(tmp_path):
    binaries = sorted(CACHES.glob("versitygw-*/versitygw"))
    if not binaries:
        if os.environ.get("CI"):
            pytest.fail("no S3 server: CI builds one")
        pytest.skip("no S3 server (`make services` builds one)")
    home = tmp_path / "s3"
    home.mkdir()
    server = Gateway(binaries[-1], home)
    server.start()
    yield server
    server.kill()


async def test_an_upload_goes_on_when_the_store_was_killed_in_a_part_and_in_completing(
    gateway, make_server, make_client, shared_dir
):
    """STORAGE_ERROR both times, the session stays open with what it had, and the end leaves one object."""
    data = (shared_dir / CLIP).read_bytes()
    server = make_server(
        FREEWILL_OBJECT_STORE="s3://media",
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{gateway.port}",
        AWS_DEFAULT_REGION="us-east-1",
        **gateway.keys,
    )
    await server.start()
    client = await make_client(server).register()
    said = {"filename": "a.webm", "file_size": len(data), "total_chunks": CHUNKS}
    path = f"/api/v1/uploads/{(await client.post('/api/v1/uploads', said))['session_id']}"
    size = -(-len(data) // CHUNKS)
    chunks = [data[at : at + size] for at in range(0, len(data), size)]

    async def cut(chunk):
        yield chunk[: len(chunk) // 2]
        await asyncio.sleep(0.2)
        gateway.kill()
        yield chunk[len(chunk) // 2 :]

    async def send(number, body):
        length = {"Content-Length": str(len(chunks[number - 1]))}
        return await client.call("PUT", f"{path}/chunks/{number}", data=body, headers=length)

    await send(1, chunks[0])
    refused = await send(2, cut(chunks[1]))
    assert (client.status, refused["error"]["code"]) == (500, "STORAGE_ERROR"), refused
    seen = await client.get(path)
    assert (client.status, seen["state"], seen["received_chunks"]) == (200, "IN_PROGRESS", [1])

    gateway.start()
    for number in (2, 3):
        done = await send(number, chunks[number - 1])
        assert client.status == 200, done
    gateway.freeze()
    completing = asyncio.create_task(client.post(f"{path}/finalize", {"title": "A clip"}))
    await asyncio.sleep(0.5)
    assert not completing.done()
    gateway.kill()
    refused = await completing
    assert (client.status, refused["error"]["code"]) == (500, "STORAGE_ERROR"), refused
    seen = await client.get(path)
    assert (seen["state"], seen["received_chunks"]) == ("IN_PROGRESS", [1, 2, 3])
    assert server.query("SELECT count(*) FROM videos") == [(0,)]

    gateway.start()
    video = await client.post(f"{path}/finalize", {"title": "A clip"})
    assert client.status == 201, video
    place = f"videos/{video['id']}/"  # what is encoded comes there, too
    assert [name for name in gateway.objects() if not name.startswith(place)] == []
    assert (gateway.bucket / place / "source.webm").read_bytes() == data
