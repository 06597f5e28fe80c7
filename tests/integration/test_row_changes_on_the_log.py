"""Row changes on the log: whoever reads ``cdc.videos`` from its start holds the videos table (F20)."""

import uuid
from types import SimpleNamespace

import msgspec
from sqlalchemy import delete, select

from streams.app import declare_topics
from streams.log import EmbeddedLog, SliceCommitter
from streams.relay import OutboxRelay
from tables.records import RowChange
from tables.relational import capture
from tables.relational.models import UserRow, VideoRow, moment

PARTITIONS = 4
NOW = moment(1_700_000_000.0)


def some_user():
    name = uuid.uuid4().hex[:12]
    return UserRow(
        id=str(uuid.uuid4()), username=name, username_key=name, email=name, email_key=name,
        password_hash="x", did=name, created_at=NOW, updated_at=NOW,
    )  # fmt: skip


async def copied(log):
    """Replay the topic; return the copy and how many records it took."""
    copy, newest, read = {}, {}, 0
    for partition in range(PARTITIONS):
        for record in await log.read("cdc.videos", partition, 0, 100_000):
            change = msgspec.json.decode(record.value, type=RowChange)
            assert change.seq > newest.get(change.key, 0), "records of a row are in the order of its changes"
            assert record.key.decode() == change.key
            newest[change.key], read = change.seq, read + 1
            if change.after is None:
                copy.pop(change.key, None)  # compaction left only its end
            else:
                copy[change.key] = change.after
    return copy, read


async def test_replaying_the_topic_gives_the_videos_table(database, tmp_path):
    """Before and after compaction, which leaves the newest record of each row."""
    log = EmbeddedLog.open(tmp_path / "log.sqlite3", upkeep_seconds=None)
    await declare_topics(log, PARTITIONS)
    relay = OutboxRelay(database, SliceCommitter(SimpleNamespace(), log))
    owner = some_user()
    async with database.transaction() as session:
        session.add(owner)
        await session.flush()
        session.add_all(
            VideoRow(id=str(uuid.uuid4()), owner_id=owner.id, title=f"no {n}", created_at=NOW, updated_at=NOW)
            for n in range(20)
        )
    for turn in range(4):
        async with database.transaction() as session:
            rows = list(await session.scalars(select(VideoRow).order_by(VideoRow.id)))
            for row in rows[turn:12]:
                row.title += f", changed {turn}"
            await session.execute(delete(VideoRow).where(VideoRow.id == rows[-1].id))
        while await relay.relay_once():
            pass
    async with database.session() as session:
        rows = list(await session.scalars(select(VideoRow)))
        table = {
            row.id: capture.image_of({name: getattr(row, name) for name in capture.COLUMNS[VideoRow]})
            for row in rows
        }
    table = msgspec.json.decode(msgspec.json.encode(table))
    copy, read = await copied(log)
    assert (len(copy), copy) == (16, table)
    assert read == 20 + 12 + 11 + 10 + 9 + 4
    assert await log.upkeep.run_once(force=True) > 0
    copy, fewer = await copied(log)
    assert copy == table
    assert fewer < read
    await log.close()
