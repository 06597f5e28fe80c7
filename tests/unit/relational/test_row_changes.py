"""Row changes: what the topics ``cdc.*`` say is what the tables hold (F20)."""

import asyncio
import uuid

import msgspec
import pytest
from sqlalchemy import delete, insert, select, update

from tables.records import RowChange
from tables.relational import capture
from tables.relational.backfill import BATCH_ROWS, DONE, backfill
from tables.relational.engine import Database
from tables.relational.models import (
    Base,
    CommentRow,
    FollowRow,
    LikeRow,
    OutboxRow,
    SaveRow,
    UserRow,
    VideoRow,
    moment,
)
from tables.relational.outbox import payload_of

NOW = moment(1_700_000_000.0)


def user(name: str) -> UserRow:
    return UserRow(
        id=str(uuid.uuid4()), username=name, username_key=name, email=f"{name}@example.org",
        email_key=f"{name}@example.org", password_hash="$argon2id$secret", did=f"did:key:z{name}",
        created_at=NOW, updated_at=NOW,
    )  # fmt: skip


def video(owner: UserRow, title: str) -> VideoRow:
    return VideoRow(id=str(uuid.uuid4()), owner_id=owner.id, title=title, created_at=NOW, updated_at=NOW)


async def changes(database: Database, topic: str | None = None) -> list[RowChange]:
    async with database.session() as session:
        rows = list(await session.scalars(select(OutboxRow).order_by(OutboxRow.id)))
    return [
        msgspec.json.decode(payload_of(row), type=RowChange)
        for row in rows
        if row.topic.startswith("cdc.") and topic in (None, row.topic)
    ]


def replayed(told: list[RowChange]) -> dict[str, dict[str, object]]:
    """Return what a copy of the table holds; records may come twice."""
    copy: dict[str, dict[str, object]] = {}
    for change in [*told, *told[-3:]]:
        if change.after is None:
            copy.pop(change.key, None)
        else:
            copy[change.key] = change.after
    return copy


async def held(database: Database, model: type) -> dict[str, dict[str, object]]:
    async with database.session() as session:
        rows = list(await session.scalars(select(model)))
        plain = {
            capture.key_of(row): capture.image_of(
                {name: getattr(row, name) for name in capture.COLUMNS[model]}
            )
            for row in rows
        }
    return msgspec.json.decode(msgspec.json.encode(plain), type=dict[str, dict[str, object]])


async def test_copy_equals_the_tables_when_records_are_replayed(database: Database) -> None:
    """Rows added, changed, deleted by hand, by statement and by cascade."""
    ann, bob, eve = user("ann"), user("bob"), user("eve")
    async with database.transaction() as session:
        session.add_all([ann, bob, eve])
    first, second, third = video(ann, "one"), video(ann, "two"), video(bob, "three")
    async with database.transaction() as session:
        session.add_all([first, second, third])
        await session.flush()
        session.add_all(LikeRow(user_id=who.id, video_id=what.id, created_at=NOW)
                        for who in (ann, bob, eve) for what in (first, second, third))  # fmt: skip
        session.add_all(SaveRow(user_id=who.id, video_id=first.id, created_at=NOW) for who in (ann, bob))
        session.add_all(
            FollowRow(follower_id=who.id, following_id=ann.id, created_at=NOW) for who in (bob, eve)
        )
        session.add_all(
            CommentRow(id=str(uuid.uuid4()), video_id=what.id, user_id=eve.id, text='"Well" seen',
                       created_at=NOW, updated_at=NOW) for what in (first, second)
        )  # fmt: skip
    async with database.transaction() as session:
        row = await session.get_one(VideoRow, second.id)
        row.title, row.tags = "two, again", ["a", "b"]
        await session.execute(
            delete(LikeRow).where(LikeRow.user_id == ann.id, LikeRow.video_id.in_([third.id]))
        )
        await session.execute(update(VideoRow).where(VideoRow.owner_id == bob.id).values(status="READY"))
    async with database.transaction() as session:
        await session.delete(await session.get_one(VideoRow, first.id))
    async with database.transaction() as session:
        await session.execute(delete(UserRow).where(UserRow.id == bob.id))
    for model, topic in capture.TOPICS.items():
        told = await changes(database, topic)
        rows = await held(database, model)
        assert replayed(told) == rows, topic
        assert [change.seq for change in told] == sorted({change.seq for change in told})
        assert {change.table for change in told} == {topic.removeprefix("cdc.")}
    assert len(await held(database, LikeRow)) == 2
    assert (await held(database, VideoRow))[second.id]["title"] == "two, again"


async def test_no_record_holds_a_secret_or_an_address(database: Database) -> None:
    async with database.transaction() as session:
        session.add(user("ann"))
    (told,) = await changes(database)
    assert told.op == "c"
    assert told.after is not None
    assert set(told.after) == set(capture.COLUMNS[UserRow])
    text = msgspec.json.encode(told)
    assert b"argon2id" not in text
    assert b"example.org" not in text
    for model in capture.TOPICS:
        known = set(capture.COLUMNS[model]) | capture.LEFT_OUT[model]
        assert known == {column.key for column in model.__table__.columns}, "decide about new columns"
        assert not set(capture.COLUMNS[model]) & capture.LEFT_OUT[model]


async def test_nothing_is_told_when_nothing_was_committed_or_changed(database: Database) -> None:
    """Change and record are one; counters are no change."""

    async def failing() -> None:
        async with database.transaction() as session:
            session.add(user("ann"))
            await session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await failing()
    assert await changes(database) == []
    async with database.transaction() as session:
        owner = user("bob")
        session.add(owner)
        await session.flush()
        one = video(owner, "one")
        session.add(one)
    before = await changes(database)
    async with database.transaction() as session:
        row = await session.get_one(VideoRow, one.id)
        row.title = "one"
        row.like_count = 7
        await session.execute(update(VideoRow).values(view_count=VideoRow.view_count + 1))
    assert await changes(database) == before


async def test_insert_statements_are_refused_because_they_would_go_unnoticed(database: Database) -> None:
    statement = insert(LikeRow).values(user_id="u", video_id="v", created_at=NOW)
    async with database.session() as session:
        with pytest.raises(TypeError, match="add rows of likes"):
            await session.execute(statement)


async def silently(database: Database, *rows: Base) -> None:
    """Add rows as a version did that told of none."""
    async with database.transaction() as session:
        session.add_all(rows)
        await session.flush()
        await session.execute(delete(OutboxRow))


async def told_by(database: Database, progress: dict[str, str], batches: int = 1000) -> int:
    """Backfill for some batches, as a command that is ended then."""
    told = 0
    async for topic, at, rows in backfill(database, progress):
        progress[topic], told, batches = at, told + rows, batches - 1
        if not batches:
            break
    return told


async def test_rows_from_before_are_told_once_when_a_backfill_is_resumed(database: Database) -> None:
    """Ended after any batch it goes on; the copy equals the tables; changes made meanwhile are newer."""
    ann = user("ann")
    await silently(database, ann)
    videos = [video(ann, f"no {number}") for number in range(BATCH_ROWS + 20)]
    await silently(database, *videos)
    await silently(
        database, *(LikeRow(user_id=ann.id, video_id=one.id, created_at=NOW) for one in videos[:7])
    )
    progress: dict[str, str] = {}
    assert await told_by(database, progress, batches=2) == 1 + BATCH_ROWS
    async with database.transaction() as session:
        for one in sorted(videos, key=lambda video: video.id)[:: BATCH_ROWS + 10]:  # told, and not told yet
            (await session.get_one(VideoRow, one.id)).title = "changed meanwhile"
    assert await told_by(database, progress) == 20 + 7
    assert set(progress.values()) == {DONE}
    assert await told_by(database, progress) == 0
    for model, topic in capture.TOPICS.items():
        found = await changes(database, topic)
        assert replayed(found) == await held(database, model), topic
    assert {change.op for change in await changes(database)} == {"r", "u"}
    assert len(await changes(database)) == 1 + len(videos) + 7 + 2


async def test_backfill_waits_for_a_change_under_way(database: Database) -> None:
    """The record of a row never holds what a change with a lower sequence has replaced."""
    ann = user("ann")
    await silently(database, ann)
    async with database.transaction() as session:
        (await session.get_one(UserRow, ann.id)).bio = "new"
        await session.flush()
        telling = asyncio.create_task(told_by(database, {}))
        await asyncio.sleep(0.2)
        assert not telling.done()
    assert await telling == 1
    first, second = await changes(database)
    assert (first.op, second.op, second.after["bio"]) == ("u", "r", "new")
    assert first.seq < second.seq
