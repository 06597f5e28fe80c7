"""Wires the front: what handlers are given."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import web
from freewill.fediverse import build_federation
from freewill.neighbours import table_reader
from freewill.paths import uploads_path
from social.videos.captions import Captions
from social.views import Principal
from streams.intake import WatchedVideo
from streams.roles import SERVING
from tables.definitions import CATALOGUE, VIDEO_ENGAGEMENT
from tables.errors import ContentNotFound
from web import hops
from web.api.encoders import ENCODING
from web.api.fediverse_answers import FEDERATION
from web.app import create_app
from web.bus import RANKINGS, RELATIONS
from web.keys import Deps, WebSettings, all_here
from web.service import WebService
from web.table import TABLE

if TYPE_CHECKING:
    from freewill.node import Node
    from tables.reading import TableReader


def build_front(node: "Node") -> WebService:
    """Return the listening service of a node; it is not started."""
    settings, reader = node.settings, table_reader(node)
    serves, encodes = settings.roles & SERVING, node.desk is not None
    rows = [row for row in TABLE if serves or row.before_ready or (encodes and row.tag == ENCODING)]
    app = create_app(_deps(node, reader), rows + list(reader.routes()))
    app.cleanup_ctx.append(reader.connected)
    _forget_together(node)
    app[FEDERATION] = build_federation(node)
    return WebService(app, settings.host, settings.port)


def _web_settings(node: "Node") -> WebSettings:
    settings = node.settings
    return WebSettings(
        base_url=settings.public_url,
        upload_dir=uploads_path(settings),
        client_dir=Path(web.__file__).parent / "client" / "dist",
        cors_origins=settings.cors_origins,
        media_url=settings.media_origin,
        media_port=settings.media_port,
        media_cookie_domain=settings.media_cookie_domain,
        media_hosts=node.delivery.hosts.all(),
        rate_limits=settings.rate_limits == "on",
        hop_secret=hops.secret_from(node.keyring.tokens),
    )


def _deps(node: "Node", reader: "TableReader") -> Deps:
    return Deps(
        settings=_web_settings(node),
        clock=node.clock,
        readiness=node.readiness,
        accounts=node.accounts,
        videos=node.videos,
        captions=Captions(node.database, node.store, node.clock),
        images=node.images,
        interactions=node.interactions,
        comments=node.interactions.comments,
        graph=node.graph,
        store=node.store,
        signer=node.delivery.signer,
        delivery=node.delivery.tools,
        uploads=node.uploads,
        jobs=node.encoding.jobs,
        partials=node.encoding.partials,
        encoders=node.encoders,
        encoding=node.desk,
        feeds=node.feeds,
        trending=node.streams.trending,
        videos_of=node.catalogue.videos_of,
        engagement=node.worker.lookup(VIDEO_ENGAGEMENT.name),
        intake=node.intake,
        feedback=node.feedback,
        impressions=node.impressions.note,
        tables=reader,
        analysts=node.analysts.tools,
        hub=node.hub,
        metrics=node.metrics,
        limiter=node.shared.limiter,
        bus=node.shared.bus,
        once=node.shared.once,
        owners=node.owners or all_here,
    )


def _forget_together(node: "Node") -> None:
    """Let workers drop what a person's act made old in another one."""
    bus, remembered = node.shared.bus, node.interactions.remembered
    remembered.changed = lambda user_id: bus.send(RELATIONS, user_id.encode())
    bus.listen(RELATIONS, lambda user_id: remembered.drop(user_id.decode()))
    bus.listen(RANKINGS, lambda user_id: node.feeds.invalidate(user_id.decode()))


def find_video(node: "Node") -> Callable[[str, str], Awaitable[WatchedVideo | None]]:
    """Return the look-up of the event intake: the catalogue, and the database for what is not in it."""
    entries = node.streams.read[CATALOGUE.name]

    async def find(video_id: str, viewer_id: str) -> WatchedVideo | None:
        entry = entries.lookup(video_id)
        if entry is not None and entry.card.visibility == "PUBLIC":
            return WatchedVideo(entry.card.creator_id, entry.card.duration_seconds)
        try:
            video = await node.videos.get(video_id, Principal(viewer_id, "", "user", ""))
        except ContentNotFound:
            return None
        return WatchedVideo(video.owner_id, video.duration_seconds or 0.0)

    return find
