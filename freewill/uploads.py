"""Wires uploads: where bytes wait, who looks at them, which limits hold."""

import asyncio
import hmac
from pathlib import Path
from typing import TYPE_CHECKING

from freewill.paths import parts_path, uploads_path
from freewill.settings import Settings
from media.parts import parts_for
from media.policies import UploadPolicy
from media.probe import SourceInfo, probe_file
from media.scanner import scanner_for
from social.uploads import UploadLinks, UploadSessions, UploadSettings, UploadTools
from social.uploads.tools import Probe

if TYPE_CHECKING:
    from freewill.node import Node


def build_uploads(node: "Node") -> UploadSessions:
    """Return the upload service of a node; nothing starts."""
    settings = node.settings
    # Derived, so that workers who share the key of tokens take each other's URLs.
    key = hmac.digest(node.keyring.tokens, b"freewill upload parts", "sha256")
    secret = settings.uploads_webhook_secret.get_secret_value().encode()
    return UploadSessions(
        UploadTools(
            database=node.database,
            videos=node.videos,
            store=node.store,
            parts=parts_for(node.store, parts_path(settings)),
            probe=bounded(probe_file, settings.media_probes),
            links=UploadLinks(key, settings.public_url, node.clock, secret),
            clock=node.clock,
            folder=uploads_path(settings),
            scanner=scanner_for(settings.clamd_url),
            live=node.shared.live,
            notify=node.hub.push,
            settings=_settings(settings),
        )
    )


def _settings(settings: Settings) -> UploadSettings:
    return UploadSettings(
        session_seconds=settings.uploads_session_seconds,
        url_seconds=settings.uploads_url_seconds,
        daily=settings.uploads_daily if settings.rate_limits == "on" else None,
        strict_transitions=settings.uploads_strict_transitions,
        fail_videos=settings.uploads_fail_videos,
    )


def bounded(probe: Probe, at_once: int) -> Probe:
    """Let only so many probes run at once: each is a process, and uploads come in bursts."""
    slots = asyncio.Semaphore(at_once)

    async def run(path: Path, policy: UploadPolicy, *, filename: str = "") -> SourceInfo:
        async with slots:
            return await probe(path, policy, filename=filename)

    return run
