"""Delivery of a node: hosts and their health, purges, rotation of keys, the archive (C31-C33, R32)."""

import asyncio
import shutil
import time
from types import SimpleNamespace
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr, ValidationError

from freewill import delivery
from freewill.delivery import MediaDelivery
from freewill.keyring import open_keyring
from freewill.settings import Settings
from media.archive import ArchiveState, archive_state, restore_video
from media.layout import master_key, picture_key
from media.stores import FileStore
from social.views import Principal
from tables.errors import SignatureRefused
from tables.reducers.engagement import VideoEngagement
from tables.relational.engine import Database
from tables.relational.models import UserRow, VideoRow, moment
from web.bus import STANDINGS, LocalBus

DAY = 86_400.0


@pytest.fixture
async def bare(_sqlite_template, tmp_path):
    """Return an empty database on SQLite."""
    shutil.copyfile(_sqlite_template, tmp_path / "d.db")
    database = Database.open(f"sqlite+aiosqlite:///{tmp_path}/d.db", synchronous="NORMAL")
    yield database
    await database.close()


def node(tmp_path, database=None, engagement=None, bus=None, **settings):
    """Return what delivery reads of a node."""
    return SimpleNamespace(
        settings=Settings(data_dir=tmp_path, **settings),
        keyring=open_keyring(tmp_path / "secrets"),
        clock=time.time,
        database=database,
        store=FileStore(tmp_path / "objects"),
        shared=SimpleNamespace(bus=bus or LocalBus()),
        worker=SimpleNamespace(lookup=lambda table: (engagement or {}).get),
    )


@pytest.fixture
async def listener():
    """Return a server that keeps what it is told, and answers as its list of statuses says, then 200."""
    told, statuses = [], []

    async def take(request):
        told.append((request.method, request.path, dict(request.headers), await request.text()))
        return web.Response(status=statuses.pop(0) if statuses else 200)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", take)
    async with TestServer(app) as server:
        yield SimpleNamespace(url=str(server.make_url("")).rstrip("/"), told=told, statuses=statuses)


async def test_webhook_is_told_again_until_it_has_heard(tmp_path, listener, monkeypatch):
    """C33."""
    monkeypatch.setattr(delivery, "PURGE_PAUSES", (0.0, 0.0))
    listener.statuses += [500, 503]
    media = MediaDelivery(
        node(tmp_path, media_purge_url=listener.url + "/hook", media_purge_token=SecretStr("t"))
    )
    await media.purge("7", "operator")
    assert [line[:2] for line in listener.told] == [("POST", "/hook")] * 3
    _, _, headers, body = listener.told[-1]
    assert headers["Authorization"] == "Bearer t"
    assert '"tag": "video-7"' in body
    listener.statuses += [500] * 9
    await media.purge("7", "operator")  # given up and logged: it never raises
    assert len(listener.told) == 6


async def test_purge_request_names_paths_and_tag(tmp_path, listener):
    media = MediaDelivery(node(tmp_path, media_purge_url="purge+" + listener.url))
    await media.purge("7", "changed")
    method, path, headers, _ = listener.told[0]
    assert (method, path, headers["Surrogate-Key"]) == ("PURGE", "/media/*/videos/7/*", "video-7")


async def test_change_is_told_to_the_cdn_and_to_other_workers(tmp_path, listener):
    """C33, C37."""
    exchange = []
    heard, bus = LocalBus(exchange), LocalBus(exchange)
    others = []
    heard.listen(STANDINGS, others.append)
    media = MediaDelivery(node(tmp_path, bus=bus, media_purge_url=listener.url))
    media.tools.changed("7")
    assert others == [b"7"]
    for _ in range(200):
        if listener.told:
            break
        await asyncio.sleep(0.01)
    assert '"reason": "changed"' in listener.told[0][3]
    await media.stop()


async def test_urls_name_the_backup_while_the_primary_is_away(tmp_path, listener, monkeypatch):
    """C32: probes over HTTP; then the origin, when none is left."""
    monkeypatch.setattr(delivery, "PROBE_SECONDS", 0.005)
    listener.statuses += [200] + [502] * 3
    media = MediaDelivery(node(tmp_path, media_hosts=(listener.url, "http://127.0.0.1:9")))
    key = "videos/7/hls/master.m3u8"
    assert media.signer.url(key).startswith(listener.url)
    seen = set()
    tasks = media.start()
    try:
        for _ in range(2000):
            seen.add(urlsplit(media.signer.url(key)).netloc)
            if len(seen) > 1 and media.hosts.best() == listener.url:
                break
            await asyncio.sleep(0.005)
    finally:
        for task in tasks:
            task.cancel()
        await media.stop()
    assert "127.0.0.1:8080" in seen, "the origin delivers while no host does"
    assert media.hosts.best() == listener.url
    assert listener.told[0][:2] == ("GET", "/media/health")


def test_links_of_the_old_key_open_after_it_was_renamed(tmp_path):
    """C31: rotation is renaming ``media.pem`` and starting again."""
    key = "videos/7/hls/master.m3u8"
    old = MediaDelivery(node(tmp_path)).signer.url(key)
    token = old.split("/")[4]
    (tmp_path / "secrets/media.pem").rename(tmp_path / "secrets/media.2026.pem")
    now = MediaDelivery(node(tmp_path))
    assert now.signer.url(key) != old
    assert now.signer.verify(token, key).video_id == "7"
    (tmp_path / "secrets/media.2026.pem").unlink()
    with pytest.raises(SignatureRefused):
        MediaDelivery(node(tmp_path)).signer.verify(token, key)


async def ready_video(database, store, owner, at):
    """Insert a READY video with a playlist and a picture."""
    video_id = str(uuid4())
    async with database.transaction() as session:
        row = VideoRow(
            id=video_id,
            owner_id=owner,
            title="t",
            status="READY",
            created_at=moment(at),
            updated_at=moment(at),
        )
        session.add(row)
    for key in (master_key(video_id), picture_key(video_id, "small.jpg")):
        await store.put_bytes(key, b"x", content_type="x")
    return video_id


async def test_only_what_nobody_watched_or_wanted_is_archived(tmp_path, bare):
    """R32: by the engagement table's days; what was asked back stays for the same time again."""
    now, owner = time.time(), str(uuid4())
    async with bare.transaction() as session:
        names = {"username": "ada", "username_key": "ada", "email": "a@x.org", "email_key": "a@x.org"}
        times = {"created_at": moment(now), "updated_at": moment(now)}
        session.add(UserRow(id=owner, password_hash="-", did="did:key:z", **names, **times))
    engagement = {}
    parts = node(tmp_path, bare, engagement, archive_idle_days=30)
    watched, idle, new, unseen = [
        await ready_video(bare, parts.store, owner, now - age * DAY) for age in (90, 90, 3, 90)
    ]
    today = int(now // DAY)
    engagement[watched] = VideoEngagement(daily={today - 80: 3, today - 10: 1})
    engagement[idle] = VideoEngagement(daily={today - 40: 9})
    media = MediaDelivery(parts)
    await media.archive_idle()
    states = {video: await archive_state(parts.store, video) for video in (watched, idle, new, unseen)}
    assert [states[video] for video in (watched, idle, new, unseen)] == [
        ArchiveState.LIVE,
        ArchiveState.ARCHIVED,
        ArchiveState.LIVE,
        ArchiveState.ARCHIVED,
    ]
    assert (await parts.store.stat(picture_key(idle, "small.jpg"))).archived is False
    await media.standings.want(idle, Principal(owner, "ada", "user", "s"))
    await restore_video(parts.store, idle)
    await media.archive_idle()
    assert await archive_state(parts.store, idle) is ArchiveState.LIVE


async def test_nothing_is_archived_when_no_age_is_set(tmp_path, bare):
    parts = node(tmp_path, bare)
    parts.store = None
    await MediaDelivery(parts).archive_idle()


@pytest.mark.parametrize(
    "settings",
    [
        {"media_url": "http://127.0.0.1:8080"},
        {"media_url": "https://app.example/media", "base_url": "https://app.example"},
        {"media_port": 8080},
    ],
)
def test_origin_of_media_is_refused_when_it_is_the_applications(settings):
    """N12, N25."""
    with pytest.raises(ValidationError):
        Settings(**settings)


def test_origin_of_media_is_the_media_port_unless_it_is_named():
    assert Settings().media_origin == ""
    assert Settings(media_port=8081).media_origin == "http://127.0.0.1:8081"
    assert Settings(media_port=8081, media_url="https://m.example/").media_origin == "https://m.example"
