"""The front's own rows while another worker holds, or nobody holds, what they read (F17, Z8)."""

import re

import pytest

from tables.definitions import TABLES
from tables.errors import ServiceUnavailable
from web.table import TABLE

KEYED = [row for row in TABLE if row.keyed_by is not None]


class Nobody:
    """Ownership while partitions move; keeps what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def __call__(self, table: str, key: str) -> str | None:
        self.asked.append((table, key))
        raise ServiceUnavailable(retry_after_seconds=1)


@pytest.mark.parametrize("row", KEYED, ids=lambda row: row.name)
def test_keyed_row_names_a_table_or_takes_its_name_from_the_path(row):
    names = re.findall(r"{(\w+)}", row.keyed_by.table)
    assert all(f"{{{name}}}" in row.path for name in names)
    assert names or row.keyed_by.table in {table.name for table in TABLES}


def test_rows_that_read_a_key_say_so():
    """What reads a partitioned table by key, by name; scans and changes are gathered or read the log."""
    assert {row.name for row in KEYED} == {
        "get_feed", "get_similarity_feed", "get_trending", "get_following_feed", "list_reels",
        "post_feedback", "reset_feed", "invalidate_feed",
        "get_engagement", "get_analytics", "get_my_analytics", "get_row",
    }  # fmt: skip


async def test_feeds_are_degraded_when_nobody_holds_the_taste(build):
    """DESIGN invariant 7."""
    owners = Nobody()
    front = await build({"owners": owners})
    ada = await front.person("ada")
    for path in ("/api/v1/feed", "/api/v1/trending", "/api/v1/feed/following"):
        async with front.client.get(path, headers=ada.headers) as answer:
            assert answer.status == 200
            assert (await answer.json())["degraded"] is True
    async with front.client.get("/api/v1/feed") as answer:
        assert (await answer.json())["degraded"] is False
    async with front.client.post("/api/v1/feed/reset", headers=ada.headers) as answer:
        assert answer.status == 204
    assert owners.asked == [("user_preference", ada.id)] * 4


async def test_point_reads_are_503_when_nobody_holds_the_row(build):
    owners = Nobody()
    front = await build({"owners": owners})
    ada, eve = await front.person("ada"), await front.person("eve", "analyst")
    asked = {
        f"/api/v1/tables/watch_history/rows/{ada.id}": ("watch_history", ada.id),
        "/api/v1/me/analytics": ("creator_totals", eve.id),
    }
    for path in asked:
        async with front.client.get(path, headers=eve.headers) as answer:
            assert answer.status == 503
            assert answer.headers["Retry-After"] == "1"
            assert (await answer.json())["error"]["code"] == "SERVICE_UNAVAILABLE"
    assert owners.asked == list(asked.values())


async def test_counters_come_from_the_copy_when_nobody_holds_the_row(build):
    """Z8: by the id as the table has it, however it was written."""
    owners = Nobody()
    front = await build({"owners": owners})
    ada = await front.person("ada")
    video = (await front.upload(ada))["id"]
    for path in (f"/api/v1/videos/{video.upper()}/engagement", f"/api/v1/reels/{video}/analytics"):
        async with front.client.get(path, headers=ada.headers) as answer:
            assert answer.status == 200
    assert owners.asked == [("video_engagement", video)] * 2
    async with front.client.get("/api/v1/videos/no-id/engagement") as answer:
        assert answer.status == 404
