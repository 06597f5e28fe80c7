"""Every index has a query that it serves, and no query of a service reads a whole table (R11, R16, X59)."""

import re

import pytest
from sqlalchemy import event, text

from tables.lifecycle import VideoStatus

# Plans of empty tables say nothing on PostgreSQL: it prefers to scan them.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

# Small by nature: what waits to be sent, or to be removed.
QUEUES = {"outbox", "object_removals"}


@pytest.fixture
def statements(world):
    """Collect what the services send to the database."""
    sent: dict[str, object] = {}

    def note(connection, cursor, statement, parameters, context, executemany):
        sent[statement] = parameters[0] if executemany else parameters

    engines = [world.database._readers.sync_engine, world.database._writers.sync_engine]
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    yield sent
    for engine in engines:
        event.remove(engine, "before_cursor_execute", note)


async def plans(world, statements) -> list[str]:
    """Return the plan lines of all collected statements."""
    lines: list[str] = []
    async with world.database.session() as session:
        connection = await session.connection()
        for statement, parameters in list(statements.items()):
            if statement.split()[0] in ("SELECT", "UPDATE", "DELETE"):
                plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                lines += [row[3] for row in plan]
    return lines


async def test_no_table_is_read_whole_when_services_work(world, statements, report):
    """The whole life of videos and interactions, then a look at every plan."""
    owner, viewer = await world.user(), await world.user()
    video = await world.ready(owner)
    _, done = await world.encoding(owner)
    await world.videos.apply_progress(report(done.job_id, done.video_id, "progress", progress=5.0))
    await world.videos.requeue_job(done.job_id, "x", "x")
    await world.videos.apply_failed(report(done.job_id, done.video_id, "failed"))
    await world.videos.retry(done.video_id, owner)
    page = await world.videos.list_own(owner, None, None, 1)
    await world.videos.list_own(owner, VideoStatus.READY, page.next_cursor, 1)
    await world.videos.list_public(owner.user_id)
    await world.videos.encoding_job(video.id, owner)
    await world.interactions.like(viewer, video.id)
    await world.interactions.unlike(viewer, video.id)
    await world.interactions.save(viewer, video.id)
    await world.interactions.saves(viewer)
    await world.interactions.share(viewer, video.id)
    await world.interactions.relations(viewer.user_id, [video.id])
    await world.interactions.forget_old_events()
    comment = await world.interactions.comments.add(viewer, video.id, "hello")
    await world.interactions.comments.add(viewer, video.id, "reply", comment.id)
    await world.interactions.comments.listing(viewer, video.id)
    await world.interactions.comments.listing(viewer, video.id, parent_id=comment.id)
    await world.interactions.comments.remove(viewer, comment.id)
    await world.videos.sweep_objects()
    await world.videos.delete(video.id, owner)
    assert len(statements) > 40
    scans = [line for line in await plans(world, statements) if re.match(r"SCAN (?!CONSTANT)", line)]
    assert [line for line in scans if line.split()[1] not in QUEUES] == []


@pytest.mark.parametrize(
    ("index", "query"),
    [
        (
            "idx_videos_owner_created",
            "SELECT id FROM videos WHERE owner_id = 'o' ORDER BY created_at DESC, id DESC",
        ),
        (
            "idx_videos_status_visibility",
            "SELECT id FROM videos WHERE status = 'READY' AND visibility = 'PUBLIC'",
        ),
        ("idx_videos_views_count", "SELECT id FROM videos ORDER BY view_count DESC LIMIT 20"),
        ("idx_videos_created_at", "SELECT id FROM videos ORDER BY created_at DESC LIMIT 20"),
        ("idx_videos_duration", "SELECT id FROM videos WHERE duration_seconds < 60.0"),
        ("idx_saves_user_created", "SELECT video_id FROM saves WHERE user_id = 'u' ORDER BY created_at DESC"),
        (
            "idx_comments_video_id",
            "SELECT id FROM comments WHERE video_id = 'v' ORDER BY created_at DESC, id DESC",
        ),
        (
            "idx_comments_owner_created",
            "SELECT id FROM comments WHERE user_id = 'u' ORDER BY created_at DESC",
        ),
        ("idx_comments_parent_id", "SELECT id FROM comments WHERE parent_id = 'c'"),
        ("idx_likes_video_id", "SELECT user_id FROM likes WHERE video_id = 'v'"),
        ("idx_sessions_revoked_at", "SELECT id FROM sessions WHERE revoked_at > '2026-01-01'"),
        ("idx_users_role_changed_at", "SELECT id FROM users WHERE role_changed_at > '2026-01-01'"),
        ("idx_encoding_jobs_status", "SELECT id FROM encoding_jobs WHERE status IN ('queued', 'processing')"),
        (
            "idx_upload_sessions_sweep_at",
            "SELECT id FROM upload_sessions WHERE sweep_at < '2026-01-01' ORDER BY sweep_at",
        ),
        (
            "idx_upload_sessions_owner_created",
            "SELECT count(*) FROM upload_sessions WHERE owner_id = 'o' AND created_at > '2026-01-01'",
        ),
    ],
)
async def test_index_is_used_when_its_query_runs(world, statements, index, query):
    """R11, R14, R15: sorted by the index too, no temporary B-tree."""
    async with world.database.session() as session:
        plan = " ".join(row[3] for row in await session.execute(text(f"EXPLAIN QUERY PLAN {query}")))
    assert index in plan
    assert "TEMP B-TREE" not in plan
