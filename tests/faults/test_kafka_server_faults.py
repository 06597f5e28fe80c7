"""The server when Kafka is not there: it says so, keeps trying, refuses, goes on (P38, O9)."""

import asyncio
import importlib.util
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from tables.errors import PublishFailure

pytestmark = [pytest.mark.services, pytest.mark.slow]
HERE = Path(__file__).parent


def _load(name: str, path: Path) -> ModuleType:
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


kafka: Any = _load("faults_kafka_cluster", HERE / "kafka_cluster.py")
e2e: Any = _load("faults_e2e_conftest", HERE.parent / "e2e" / "conftest.py")


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[tuple[Any, Any, Any]]:
    """Return a proxy that listens on nothing yet, a cluster behind it, and a server that goes through it."""
    kafka.need_brokers()
    proxy = kafka.Proxy()
    await proxy.reserve()
    cluster = kafka.Cluster(tmp_path / "kafka", told=proxy.port)
    server = e2e.Server(tmp_path / "data", FREEWILL_BROKER=f"kafka://127.0.0.1:{proxy.port}")
    yield proxy, cluster, server
    server.kill()
    await proxy.close()
    await cluster.stop()


async def _readiness(server: Any) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(server.url + "/readyz") as answer:
        return answer.status, await answer.text()


async def test_server_says_what_it_waits_for_and_starts_when_the_broker_comes(
    parts: tuple[Any, Any, Any],
) -> None:
    proxy, cluster, server = parts
    server.launch()

    async def waits() -> bool:
        try:
            status, text = await _readiness(server)
        except aiohttp.ClientError:
            return False
        return status == 503 and '"log"' in text and '"database"' not in text

    await kafka.until(waits, 40, "/readyz names the log")
    assert server.stop() == 0  # told to stop while it waits, it does
    server.launch()
    await kafka.until(waits, 40, "/readyz names the log again")
    await cluster.start()
    await proxy.listen(cluster.port(1))
    await server.wait_ready()
    assert server.stop() == 0


async def test_events_are_refused_with_a_retry_after_and_taken_later_when_the_broker_goes_away(
    parts: tuple[Any, Any, Any], shared_dir: Path
) -> None:
    """Nothing answered 2xx is lost, what was refused is taken under its id, and the server goes on."""
    proxy, cluster, server = parts
    await cluster.start()
    await proxy.listen(cluster.port(1))
    await server.start()
    async with aiohttp.ClientSession() as session:
        owner = await e2e.Client(server, session).register()
        clip = min((shared_dir / "media" / "clips").rglob("*.mp4"), key=lambda path: path.stat().st_size)
        video = await owner.upload(clip)
        await owner.wait_status(video["id"], "READY")
        fan = await e2e.Client(server, session).register()
        taken = await _share(fan, video["id"], str(uuid4()))
        assert taken == 202
        cluster.signal(1, signal.SIGSTOP)
        event, began = str(uuid4()), time.monotonic()
        assert await _watch(fan, video["id"], event) == PublishFailure.status
        assert fan.headers["Retry-After"]
        assert time.monotonic() - began < 30
        cluster.signal(1, signal.SIGCONT)
        while await _watch(fan, video["id"], event) != 202:
            await asyncio.sleep(0.5)
            assert time.monotonic() - began < 120
        await owner.eventually(
            f"/api/v1/videos/{video['id']}/engagement",
            lambda body: (body["views"], body["shares"]) == (1, 1),
            seconds=90,
        )
    assert server.stop() == 0


async def _share(client: Any, video_id: str, event_id: str) -> int:
    return await _send(client, {"event_id": event_id, "video_id": video_id, "action": "share"})


async def _watch(client: Any, video_id: str, event_id: str) -> int:
    return await _send(client, {"event_id": event_id, "video_id": video_id, "action": "watch_complete"})


async def _send(client: Any, event: dict[str, str]) -> int:
    await client.post("/api/v1/events", event)
    status: int = client.status
    return status
