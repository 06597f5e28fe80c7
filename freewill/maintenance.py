"""What an operator does to an instance from the command line."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from freewill.accounts import build_accounts
from freewill.images import build_images
from freewill.keyring import open_keyring
from freewill.settings import Settings
from freewill.stores import opened_store
from social.accounts import Accounts
from social.graph import Graph
from social.interactions import Interactions
from social.leaving import Leaving
from social.videos import VideoService
from social.videos.reconciler import Finding, Reconciler
from tables.errors import UserNotFound
from tables.relational.engine import Database
from tables.relational.migrate import current_revision, head_revision, migrate


async def migrate_database(settings: Settings) -> tuple[str | None, str]:
    """Bring the database to the newest schema (R5).

    Returns:
        The revision before (None for an empty database) and after.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    before = await current_revision(settings.relational_url)
    await migrate(settings.relational_url)
    return before, head_revision()


async def reconcile(settings: Settings, *, dry_run: bool) -> list[Finding]:
    """Find drift between videos, rows and objects, and repair it unless it is a dry run (C41)."""
    await migrate_database(settings)
    database = Database.open(settings.relational_url)
    try:
        async with opened_store(settings) as store:
            videos = VideoService(database, store, time.time)
            reconciler = Reconciler(database, store, videos, time.time)
            images = build_images(settings, database, store, time.time)
            return [
                *await reconciler.unfinished(dry_run=dry_run),
                *await reconciler.objects(dry_run=dry_run),
                *await images.objects.reconcile(dry_run=dry_run),
            ]
    finally:
        await database.close()


@asynccontextmanager
async def _accounts(settings: Settings) -> AsyncIterator[Accounts]:
    await migrate_database(settings)
    database = Database.open(settings.relational_url)
    accounts = build_accounts(settings, open_keyring(settings.secrets_path), database, time.time)
    try:
        yield accounts
    finally:
        accounts.close()
        await database.close()


async def create_user(settings: Settings, name: str, email: str, password: str, role: str) -> str:
    """Create an account with a role and return its id; errors are those of ``Accounts.register``."""
    async with _accounts(settings) as accounts:
        session = await accounts.register(name, email, password, role=role)
        return session.user.id


async def set_role(settings: Settings, name: str, role: str) -> None:
    """Give an account another role; errors are those of ``Accounts.set_role``."""
    async with _accounts(settings) as accounts:
        await accounts.set_role(name, role)


async def delete_user(settings: Settings, name: str) -> None:
    """Delete an account with all that is its own (C25).

    Raises:
        UserNotFound: USER_NOT_FOUND.
    """
    async with _accounts(settings) as accounts, opened_store(settings) as store:
        user = await accounts.find_by_username(name)
        if user is None:
            raise UserNotFound
        database = Database.open(settings.relational_url)
        try:
            videos, clock = VideoService(database, store, time.time), time.time
            images = build_images(settings, database, store, clock)
            interactions, graph = Interactions(database, clock), Graph(database, clock)
            leaving = Leaving(database, videos, interactions, graph, images, clock)
            await leaving.delete(user.id)
        finally:
            await database.close()
