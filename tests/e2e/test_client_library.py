"""The client library and ``freewill upload`` over a real server: both are killed in the middle (Q28, A36)."""

import asyncio
import contextlib
import hashlib
import math
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from freewill import client as library
from tables.lifecycle import VideoStatus

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "correct horse battery"
SECONDS = 120


@pytest.fixture
def film(shared_dir, tmp_path):
    """Return a clip with 26 MB of padding in a `free` box (ISO 14496-12 section 8.1.2): six parts."""
    padding = os.urandom(26_000_000)
    path = tmp_path / "film.mp4"
    clip = (shared_dir / "media/clips/flower.mp4").read_bytes()
    path.write_bytes(clip + (len(padding) + 8).to_bytes(4, "big") + b"free" + padding)
    return path


class Line:
    """A line that stands still when so many bytes went up: what is killed then is in the middle."""

    def __init__(self, server):
        self.server, self.left, self.url = server, math.inf, ""

    @asynccontextmanager
    async def stand(self):
        relay = await asyncio.start_server(self._relay, "127.0.0.1")
        self.url = f"http://127.0.0.1:{relay.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            self.left = math.inf
            relay.close()
            await relay.wait_closed()

    async def _relay(self, reader, writer):
        with contextlib.suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.server.port)
            await asyncio.gather(self._up(reader, far_writer), self._down(far_reader, writer))
        writer.close()

    async def _up(self, reader, writer):
        try:
            while data := await reader.read(65_536):
                while self.left <= 0:
                    await asyncio.sleep(0.01)
                self.left -= len(data)
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()

    async def _down(self, reader, writer):
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()


class Command:
    """Runs of ``freewill upload`` of one file for one person."""

    def __init__(self, line, name, film, home):
        self.arguments = ["upload", str(film), "--server", line.url, "--user", name, "--title", "A film"]
        self.environment = line.server.environment | {"XDG_STATE_HOME": str(home)}

    async def start(self, *more):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "freewill.cli", *self.arguments, *more,
            cwd=ROOT, env=self.environment, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        process.stdin.write(PASSWORD.encode() + b"\n")
        await process.stdin.drain()
        process.stdin.close()
        return process


def confirmed(server):
    """Return how many parts the server has confirmed, of all uploads."""
    return server.query("SELECT count(*) FROM upload_parts")[0][0]


async def until(holds):
    async with asyncio.timeout(SECONDS):
        while not holds():
            await asyncio.sleep(0.005)


async def test_file_arrives_when_client_and_server_are_killed_in_the_middle(
    make_server, make_client, film, tmp_path
):
    """Q7, A36: the same command again sends what is missing; no byte is lost and no session left."""
    server = make_server()
    await server.start()
    owner = await make_client(server).register()
    async with Line(server).stand() as line:
        command = Command(line, owner.user["username"], film, tmp_path / "state")
        line.left = 12_000_000
        first = await command.start()
        await until(lambda: confirmed(server) == 2)
        first.send_signal(signal.SIGKILL)
        await first.communicate()

        line.left = 12_000_000
        second = await command.start("--no-wait")
        await until(lambda: confirmed(server) >= 3)
        server.kill()
        line.left = math.inf
        await server.start()
        out, said = await asyncio.wait_for(second.communicate(), SECONDS)
    assert second.returncode == 0, said.decode()
    video_id = out.decode().strip().rpartition("/v/")[2]
    stored = (server.data / "objects/videos" / video_id / "source.mp4").read_bytes()
    assert hashlib.sha256(stored).digest() == hashlib.sha256(film.read_bytes()).digest()
    # One session from the first byte to the last: what was confirmed was not sent to another.
    assert server.query("SELECT status FROM upload_sessions") == [("COMPLETED",)]
    assert server.files("uploads") == set()
    assert list((tmp_path / "state").rglob("*.json")) == []


async def test_person_uploads_and_hears_of_it_when_only_the_library_is_used(
    shared_server, shared_dir, tmp_path
):
    """Q12, Q28: register, a part at a time, pause, refresh, go on, wait until it plays."""
    clip = shared_dir / "media/clips/flower.mp4"
    name = f"l{os.urandom(5).hex()}"
    async with library.Client(shared_server.url) as client:
        tokens = await client.register(name, f"{name}@example.org", PASSWORD)
        with pytest.raises(library.RequestFailed, match="USERNAME_TAKEN"):
            await client.register(name, f"x{name}@example.org", PASSWORD)
        words = library.Words("By the library", tags=("one", "two"), visibility="PRIVATE")
        upload = library.Upload(client, clip, words, state_file=tmp_path / "state.json")
        told = []
        upload.on_progress = told.append
        running = asyncio.create_task(upload.run())
        await until(lambda: (tmp_path / "state.json").exists())
        await upload.pause()
        with pytest.raises(library.UploadStopped):
            await running
        assert (await client.refresh(tokens.refresh_token)).user.username == name
        video = await upload.run()
        assert [progress.phase for progress in told][-1] is library.Phase.COMPLETED
        assert (video.title, video.tags) == ("By the library", ("one", "two"))
        seen = []
        video = await client.wait_video(video.id, seen.append)
        assert (video.status, video.playback.ready) == (VideoStatus.READY, True)
        progress = [one.progress for one in seen]
        assert progress == sorted(progress)

        await client.put_captions(video.id, "de", b"1\n00:00:00,000 --> 00:00:01,000\nHallo\n")
        (given,) = await client.captions(video.id)
        assert (given.language, given.name) == ("de", "Deutsch")
        with pytest.raises(library.RequestFailed, match="VALIDATION_ERROR"):
            await client.put_captions(video.id, "no/language", b"WEBVTT\n")
        await client.delete_captions(video.id, "de")
        assert await client.captions(video.id) == ()
