"""The malware scanner: clamd's protocol against a real clamd and against servers that misbehave (A45, L9)."""

import asyncio
import os
from contextlib import asynccontextmanager

import pytest

from media.scanner import Clamd, NoScanner, ScannerUnavailable, scanner_for

MARKER = b"FREEWILL-MALWARE-TEST-MARKER"  # the one signature of .ci/clamd


@pytest.fixture
def clamd():
    url = os.environ.get("FREEWILL_TEST_CLAMD_URL")
    if not url:
        if os.environ.get("CI"):
            pytest.fail("FREEWILL_TEST_CLAMD_URL is missing: CI runs the scanner against a real clamd")
        pytest.skip("no clamd (set FREEWILL_TEST_CLAMD_URL; `make services` starts one)")
    return Clamd(url)


@pytest.fixture
def file(tmp_path):
    def make(data):
        path = tmp_path / "upload"
        path.write_bytes(data)
        return path

    return make


async def test_file_is_clean_or_named_when_the_real_clamd_is_asked(clamd, file):
    """A45: also when what is looked for lies across two chunks of the stream."""
    assert await clamd.scan(file(b"a good film" * 1000)) is None
    assert await clamd.scan(file(b"")) is None
    for before in (0, 256 * 1024 - 10, 700_000):
        found = await clamd.scan(file(b"x" * before + MARKER + b"y" * 100))
        assert "FreeWill.Test.Marker" in (found or ""), before


@asynccontextmanager
async def server(answer, *, reads=True):
    """Stand for a clamd that answers so; None: it never does."""

    async def serve(reader, writer):
        try:
            if reads:
                await reader.readuntil(b"\0\0\0\0")
            if answer is None:
                await asyncio.sleep(30)
            writer.write(answer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"tcp://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()


@pytest.mark.parametrize(
    ("answer", "found"),
    [(b"stream: OK\0", None), (b"stream: Win.Test EICAR.A FOUND\0", "Win.Test EICAR.A")],
)
async def test_answer_is_understood(file, answer, found):
    """clamd(8), INSTREAM."""
    async with server(answer) as url:
        assert await Clamd(url).scan(file(b"abc")) == found


@pytest.mark.parametrize("answer", [b"INSTREAM size limit exceeded. ERROR\0", b"", b"nonsense\0"])
@pytest.mark.parametrize("reads", [True, False])
async def test_scanner_is_unavailable_when_it_does_not_say(file, answer, reads):
    """X46: nobody knows what the file is; large files cut off by clamd's own limit too."""
    async with server(answer, reads=reads) as url:
        with pytest.raises(ScannerUnavailable):
            await Clamd(url).scan(file(b"a" * 2_000_000))


async def test_scanner_is_unavailable_when_it_is_slow_or_gone(file, tmp_path):
    """L9."""
    async with server(None) as url:
        with pytest.raises(ScannerUnavailable):
            await Clamd(url, seconds=0.2).scan(file(b"abc"))
    for url in ("tcp://127.0.0.1:1", f"unix://{tmp_path}/none.sock"):
        with pytest.raises(ScannerUnavailable):
            await Clamd(url).scan(file(b"abc"))


async def test_every_file_is_clean_when_there_is_no_scanner(file):
    """Z11."""
    assert isinstance(scanner_for(""), NoScanner)
    assert await scanner_for("").scan(file(MARKER)) is None
    assert scanner_for("tcp://host:3310") == Clamd("tcp://host:3310")
