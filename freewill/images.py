"""Wires images: who looks at uploads, who makes variants, which limits hold."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from freewill.paths import work_path
from freewill.settings import Settings
from media.images import ImageMaker
from media.scanner import scanner_for
from media.stores import ObjectStore
from social.images import ImageService, ImageTools
from streams.agents.images import ImageWork
from tables.relational.engine import Database

if TYPE_CHECKING:
    from freewill.node import Node

WAITING = 50
"""Images of one person that may be on their way at once: a few posts of several pictures each."""


def build_images(
    settings: Settings, database: Database, store: ObjectStore, clock: Callable[[], float]
) -> ImageService:
    """Return the image service; nothing starts."""
    waiting = WAITING if settings.rate_limits == "on" else None
    return ImageService(ImageTools(database, store, scanner_for(settings.clamd_url), clock, waiting=waiting))


def image_work(node: "Node") -> ImageWork:
    """Return what the agent of images works with."""
    make = ImageMaker(node.store, work_path(node.settings), node.images.limits)
    return ImageWork(node.images, make, asyncio.Semaphore(node.settings.media_workers))
