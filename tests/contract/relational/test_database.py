"""What both dialects promise: transactions, retries, checks, migrations, outbox (R5, R22, O11-O16)."""

import asyncio
import sqlite3
import threading

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from tables.errors import ContentNotFound, DatabaseFailure, ValidationFailed
from tables.records import ContentFact
from tables.relational import outbox
from tables.relational.engine import ATTEMPTS, Database, is_transient
from tables.relational.migrate import current_revision, head_revision, migrate
from tables.relational.models import Base, OutboxRow, TombstoneRow, moment


def locked() -> OperationalError:
    return OperationalError("BEGIN IMMEDIATE", {}, sqlite3.OperationalError("database is locked"))


async def tombstones(database: Database) -> int:
    async with database.session() as session:
        return await session.scalar(text("SELECT count(*) FROM tombstones")) or 0


def tombstone(name: str) -> TombstoneRow:
    return TombstoneRow(id=name, kind="video", deleted_at=moment(1.5))


async def test_models_equal_migrations_when_compared(database_url):
    """R5: nothing is missing from the migrations, and nothing is in them that the models do not know."""

    def differences(connection):
        from alembic.autogenerate import compare_metadata
        from alembic.migration import MigrationContext

        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return compare_metadata(context, Base.metadata)

    engine = create_async_engine(database_url)
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


async def test_named_indexes_exist_when_migrated(database):
    """R11."""
    name = "indexname FROM pg_indexes" if database.dialect == "postgresql" else "name FROM sqlite_master"
    async with database.session() as session:
        found = set(await session.scalars(text(f"SELECT {name}")))
    assert found >= {
        "idx_videos_owner_created",
        "idx_videos_status_visibility",
        "idx_videos_views_count",
        "idx_videos_created_at",
        "idx_videos_duration",
        "idx_likes_video_id",
        "idx_comments_video_id",
        "idx_comments_owner_created",
        "idx_comments_parent_id",
    }


async def test_migrating_again_changes_nothing_when_at_head(database_url):
    """R5: repeatable, and the current version can be asked."""
    assert await current_revision(database_url) == head_revision()
    await asyncio.gather(migrate(database_url), migrate(database_url))
    assert await current_revision(database_url) == head_revision()


async def test_revision_is_none_when_never_migrated(tmp_path):
    """R5."""
    assert await current_revision(f"sqlite+aiosqlite:///{tmp_path / 'new.db'}") is None


async def test_work_is_kept_or_dropped_whole_when_the_block_ends(database):
    """Commits on exit, rolls back when the block raises, and lets the service's own error through."""
    async with database.transaction() as session:
        session.add(tombstone("a"))

    async def fail() -> None:
        async with database.transaction() as session:
            session.add(tombstone("b"))
            await session.flush()
            raise ContentNotFound

    with pytest.raises(ContentNotFound):
        await fail()
    async with database.session() as session:
        session.add(tombstone("c"))
        await session.flush() if database.dialect == "postgresql" else None
    assert await tombstones(database) == 1


async def test_times_keep_zone_and_microseconds_when_stored(database):
    """Times are UTC with their zone, whatever the dialect keeps."""
    at = 1_700_000_000.123456
    async with database.transaction() as session:
        session.add(TombstoneRow(id="t", kind="video", deleted_at=moment(at)))
    async with database.session() as session:
        row = await session.get_one(TombstoneRow, "t")
    assert row.deleted_at.utcoffset().total_seconds() == 0
    assert row.deleted_at.timestamp() == pytest.approx(at, abs=1e-6)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE users SET role = 'king'",
        "INSERT INTO sessions (id, user_id, created_at, expires_at) "
        "VALUES ('s', 'nobody', CURRENT_TIMESTAMP, CURRENT_TIMESTAMP)",
    ],
)
async def test_broken_rule_names_the_constraint_when_no_service_expected_it(database, statement):
    """R22, R18, O11, O16: enumerations and references are checked in the database."""
    async with database.transaction() as session:
        await session.execute(
            text(
                "INSERT INTO users (id, username, username_key, email, email_key, password_hash, role, "
                "display_name, bio, did, created_at, updated_at) VALUES ('u', 'u', 'u', 'e', 'e', 'x', "
                "'user', '', '', 'did', CURRENT_TIMESTAMP, CURRENT_TIMESTAMP)"
            )
        )
    with pytest.raises(ValidationFailed) as caught:
        async with database.transaction() as session:
            await session.execute(text(statement))
    assert caught.value.details["constraint"]


async def test_writers_queue_when_many_come_at_once(database):
    """O14: nobody sees a lock; a read-modify-write loses nothing."""
    async with database.transaction() as session:
        session.add(
            outbox.enqueue(session, "t", "0", ContentFact(kind="k", video_id="v", owner_id="o", at=0), at=0)
        )

    async def add(_: int) -> None:
        async def work(session):
            row = (await session.execute(text("SELECT id, key FROM outbox" + lock))).one()
            await asyncio.sleep(0)
            await session.execute(text("UPDATE outbox SET key = :k"), {"k": str(int(row.key) + 1)})

        await database.run(work)

    lock = " FOR UPDATE" if database.dialect == "postgresql" else ""
    await asyncio.gather(*(add(number) for number in range(30)))
    async with database.session() as session:
        assert (await outbox.pending(session, 1))[0].key == "30"


async def test_writers_queue_when_another_process_writes_too(database, database_url):
    """O14: `freewill user create` beside a running server; read-modify-write in two pools loses nothing."""
    async with database.transaction() as session:
        outbox.enqueue(session, "t", "0", ContentFact(kind="k", video_id="v", owner_id="o", at=0), at=0)
    other = Database.open(database_url)
    lock = " FOR UPDATE" if database.dialect == "postgresql" else ""

    async def work(session):
        row = (await session.execute(text("SELECT id, key FROM outbox" + lock))).one()
        await asyncio.sleep(0.005)
        await session.execute(text("UPDATE outbox SET key = :k"), {"k": str(int(row.key) + 1)})

    await asyncio.gather(*(opened.run(work) for opened in (database, other) for _ in range(5)))
    await other.close()
    async with database.session() as session:
        assert (await outbox.pending(session, 1))[0].key == "10"


async def test_readers_see_the_last_commit_when_a_writer_is_busy(database):
    """WAL and MVCC: a long write stops no reader."""
    async with database.transaction() as session:
        session.add(tombstone("a"))
        await session.flush()
        assert await asyncio.wait_for(tombstones(database), 120) == 0
    assert await tombstones(database) == 1


async def test_work_runs_again_when_the_failure_is_transient(database):
    """O13, O14: up to three times more, and only what committed counts."""
    tries = 0

    async def work(session):
        nonlocal tries
        tries += 1
        session.add(tombstone(f"try{tries}"))
        await session.flush()
        if tries < ATTEMPTS:
            raise locked()

    await database.run(work)
    assert tries == ATTEMPTS
    assert await tombstones(database) == 1


async def test_work_gives_up_when_the_failure_stays(database):
    """O14, O9."""
    tries = 0

    async def work(session):
        nonlocal tries
        tries += 1
        raise locked()

    with pytest.raises(DatabaseFailure) as caught:
        await database.run(work)
    assert tries == ATTEMPTS
    assert caught.value.code == "DATABASE_ERROR"


async def test_work_runs_once_when_the_failure_is_lasting(database):
    """O15: a wrong statement is not repeated."""
    tries = 0

    async def work(session):
        nonlocal tries
        tries += 1
        await session.execute(text("SELECT nothing FROM nowhere"))

    with pytest.raises(DatabaseFailure):
        await database.run(work)
    assert tries == 1


async def test_work_runs_once_when_the_commit_may_have_happened(database, monkeypatch):
    """O15: writes fail fast; done twice would be worse than reported failed."""
    tries = 0

    async def broken(self):
        raise DBAPIError("COMMIT", {}, Exception("connection lost"), connection_invalidated=True)

    async def work(session):
        nonlocal tries
        tries += 1

    monkeypatch.setattr(AsyncSession, "commit", broken)
    with pytest.raises(DatabaseFailure):
        await database.run(work)
    assert tries == 1


async def test_query_runs_again_when_it_timed_out(database):
    """O15: reads are retried after a timeout, writes are not."""
    tries = 0

    async def work(session):
        nonlocal tries
        tries += 1
        if tries == 1:
            raise TimeoutError
        return await session.scalar(text("SELECT 7"))

    assert await database.read(work) == 7
    tries = 0
    with pytest.raises(DatabaseFailure):
        await database.run(work)
    assert tries == 1


async def test_failure_is_ours_when_the_server_is_away(tmp_path):
    """O9, O14: no driver's exception leaves the package."""
    for url in (
        "postgresql+asyncpg://nobody@127.0.0.1:9/none",
        f"sqlite+aiosqlite:///{tmp_path}/missing/folder/x.db",
    ):
        database = Database.open(url)
        with pytest.raises(DatabaseFailure):
            await database.read(lambda session: session.scalar(text("SELECT 1")))
        await database.close()
    # The driver's thread answers a failed connection once more on its way out: it needs the loop for that.
    for _ in range(500):
        if not any("_connection_worker_thread" in thread.name for thread in threading.enumerate()):
            break
        await asyncio.sleep(0.01)


def test_transient_failures_are_known_when_classified():
    """O13, O14."""
    deadlock = type("Deadlock", (Exception,), {"sqlstate": "40P01"})()
    assert is_transient(locked())
    assert is_transient(PoolTimeout("pool"))
    assert is_transient(ConnectionResetError())
    assert is_transient(DBAPIError("x", {}, deadlock))
    assert is_transient(DBAPIError("x", {}, Exception("gone"), connection_invalidated=True))
    assert not is_transient(DBAPIError("x", {}, Exception("syntax")))
    assert not is_transient(ValueError())
    assert not is_transient(None)


async def test_sequence_never_comes_back_when_rows_are_deleted(database):
    """DESIGN invariant 1: reducers order facts by the outbox sequence for ever."""
    fact = ContentFact(kind="video.status", video_id="v", owner_id="o", at=0.0)
    seen: list[int] = []
    for _ in range(3):
        async with database.transaction() as session:
            row = await outbox.enqueue_numbered(session, "events.content", "v", lambda seq: fact, at=1.0)
            plain = outbox.enqueue(session, "events.content", "v", fact, at=1.0)
            await session.flush()
            seen += [row.id, plain.id]
        async with database.transaction() as session:
            rows = await outbox.pending(session, 100)
            assert [row.id for row in rows] == seen[-2:]
            await outbox.delete(session, [row.id for row in rows])
    assert seen == sorted(set(seen))


async def test_outbox_row_is_gone_when_its_transaction_fails(database):
    """DESIGN invariant 2: fact and change are one."""
    fact = ContentFact(kind="video.status", video_id="v", owner_id="o", at=0.0)

    async def fail() -> None:
        async with database.transaction() as session:
            outbox.enqueue(session, "events.content", "v", fact, at=1.0)
            raise ContentNotFound

    with pytest.raises(ContentNotFound):
        await fail()
    async with database.session() as session:
        assert await outbox.pending(session, 10) == []


async def test_numbered_record_carries_its_own_sequence_when_read_back(database):
    """The payload is msgspec JSON of the record."""
    async with database.transaction() as session:
        row = await outbox.enqueue_numbered(
            session,
            "events.content",
            "v",
            lambda seq: ContentFact(kind=str(seq), video_id="v", owner_id="o", at=0.0),
            at=1.0,
        )
    async with database.session() as session:
        stored = await session.get_one(OutboxRow, row.id)
    assert f'"kind":"{row.id}"'.encode() in stored.payload


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_sqlite_keeps_to_its_pragmas_when_opened(database):
    """WAL, foreign keys and a busy timeout, on every connection."""
    for opened in (database.session, database.transaction):
        async with opened() as session:
            values = [
                await session.scalar(text(f"PRAGMA {name}"))
                for name in ("journal_mode", "foreign_keys", "busy_timeout", "synchronous")
            ]
        assert values == ["wal", 1, 5000, 1]
