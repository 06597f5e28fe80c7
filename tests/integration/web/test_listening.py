"""Starting and stopping the front (T-stop within seconds, clear bind errors)."""

import asyncio
import time

import pytest
from aiohttp import ClientSession

from web.app import create_app
from web.service import WebService


async def test_reason_is_clear_when_the_port_is_taken(front):
    first = WebService(create_app(front.deps), "127.0.0.1", 0)
    await first.start()
    second = WebService(create_app(front.deps), "127.0.0.1", first.port)
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{first.port}"):
        await second.start()
    await first.stop()
    await first.stop()  # once more changes nothing


async def test_stop_ends_soon_when_sockets_and_uploads_are_open(build):
    """INTERFACE Process: SIGTERM ends everything within 20 s; the front takes its few seconds of it."""
    front = await build(shutdown_seconds=0.5)
    ada = await front.person("ada")
    service = WebService(create_app(front.deps), "127.0.0.1", 0)
    await service.start()
    url = f"http://127.0.0.1:{service.port}"
    async with ClientSession(headers=ada.headers) as session:
        socket = await session.ws_connect(f"{url}/api/v1/ws/notifications")
        await socket.receive_json()
        stream = await session.get(f"{url}/api/v1/notifications/stream")
        _, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(
            f"POST /api/v1/videos/upload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ada.token}\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 9000000\r\n\r\n"
            '--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nvideo'.encode()
        )
        await writer.drain()
        for _ in range(300):
            if list((front.folder / "uploads").iterdir()):
                break
            await asyncio.sleep(0.01)
        started = time.monotonic()
        await asyncio.wait_for(service.stop(), 120)
        assert time.monotonic() - started < 15
        writer.close()
        stream.close()
        await socket.close()
    assert list((front.folder / "uploads").iterdir()) == []
