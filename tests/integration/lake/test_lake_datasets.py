"""What analysts find of tables, impressions and row changes: flat, documented (F10-F12, F20, N14)."""

import time

import pytest

from streams.lake.captured import FIELDS
from streams.lake.columns import DATASETS, dataset
from streams.lake.rows import FACT_ROWS, pseudonyms, table_rows
from streams.log.topics import TopicPolicy
from tables.records import DayCounts, Impressions, RowChange
from tables.reducers.together import CoOccurrence
from tables.reducers.totals import Totals
from tables.reducers.trends import ImpressionDays, TagTrend

DAY = int(time.time() // 86_400) - 1
AT, MICROS = DAY * 86_400.0, DAY * 86_400_000_000
name = pseudonyms(b"k" * 32)
ADA = name("ada")
COUNTS = DayCounts(events=5, views=3, likes=-1, watch_ms=1500, logins=2, created=1)
ROWS = {
    "creator_totals": ("bob", Totals({DAY: COUNTS})),
    "user_day": ("ada", Totals({DAY: COUNTS})),
    "co_occurrence": ("v1", CoOccurrence({"v2": 1.5}, 2.0, AT)),
    "tag_trends": ("cats", TagTrend(2.0, AT, {DAY * 24: 3, DAY * 24 + 1: 4})),
    "impression_days": ("v1", ImpressionDays(9, {DAY: 4})),
}
PAGE = Impressions(
    viewer_id="ada", at=AT, algorithm="blend", asked="blend", videos=("v1", "v2"), creators=("bob", "ada"),
    reasons=("trending", "new"), position=20,
)  # fmt: skip
VIDEO = {"owner_id": "bob", "title": "t", "tags": ["a"], "status": "READY", "created_at": AT}
COMMENT = {
    "user_id": "ada", "video_id": "v1", "parent_id": None, "text": "So good", "created_at": AT,
    "deleted_at": None,
}  # fmt: skip
CHANGES = {
    "users": ("ada", {"username": "ada", "role": "user", "created_at": AT}),
    "videos": ("v1", VIDEO),
    "follows": ("ada:bob", {"created_at": AT}),
    "likes": ("ada:v1", {"created_at": AT}),
    "comments": ("c1", COMMENT),
}


def named(kind, rows, *columns):
    """Return some columns of a dataset's rows, each of which must have a value for every column."""
    names = [column.name for column in dataset(kind).columns]
    return [tuple(dict(zip(names, row, strict=True))[column] for column in columns) for row in rows]


@pytest.mark.parametrize(
    ("table", "columns", "rows"),
    [
        ("creator_totals", ("creator_id", "day", "likes", "watch_seconds"), [("bob", MICROS, 0, 1.5)]),
        ("user_day", ("viewer", "views", "events", "logins"), [(ADA, 3, 5, 2)]),
        ("co_occurrence", ("video_id", "other_id", "weight", "since"), [("v1", "v2", 1.5, MICROS)]),
        ("tag_trends", ("tag", "hour", "count"), [("cats", MICROS, 3), ("cats", MICROS + 3_600_000_000, 4)]),
        ("impression_days", ("key", "day", "count", "total"), [("v1", MICROS, 4, 9)]),
    ],
)  # fmt: skip
def test_tables_are_flat_when_analysts_ask(table, columns, rows):
    """Y10: days, hours and pairs are rows; nothing shown is negative."""
    key, value = ROWS[table]
    kind, make = table_rows(table)
    assert type(value) is kind
    assert named(table, make(key, value, name), *columns) == rows


def test_impressions_have_a_row_for_each_video():
    """F11: viewer by pseudonym, none beside the own id and for nobody known."""
    rows = [row for _, row in FACT_ROWS["impressions"][1](PAGE, (0, 0, AT), name)]
    columns = ("viewer", "video_id", "creator_id", "reason", "position")
    assert named("impressions", rows, *columns) == [
        (ADA, "v1", "bob", "trending", 20), (None, "v2", "ada", "new", 21),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("table", "columns", "made", "gone"),
    [
        ("users", ("user_id", "username", "created_at"), ("ada", "ada", MICROS), ("ada", None, None)),
        ("videos", ("video_id", "creator_id", "tags"), ("v1", "bob", ["a"]), ("v1", None, None)),
        ("follows", ("viewer", "creator_id"), (ADA, "bob"), (ADA, "bob")),
        ("likes", ("viewer", "video_id"), (ADA, "v1"), (ADA, "v1")),
        ("comments", ("comment", "viewer", "reply", "characters", "blanked"),
         (name("c1"), ADA, False, 7, False),
         (name("c1"), None, None, None, None)),
    ],
)  # fmt: skip
def test_row_changes_name_nobody_who_acts_when_analysts_ask(table, columns, made, gone):
    """F20, N14: accounts and videos by id, acts by pseudonym; a deletion has what its key says."""
    key, after = CHANGES[table]
    for op, image, wanted in (("c", after, made), ("d", None, gone)):
        change = RowChange(op=op, table=table, key=key, at=AT, seq=7, after=image)
        rows = [row for _, row in FACT_ROWS[f"cdc_{table}"][1](change, (0, 0, AT), name)]
        assert named(f"cdc_{table}", rows, "op", "seq", *columns) == [(op, 7, *wanted)]


async def test_every_dataset_is_asked_in_one_query_when_the_lake_is_written(pond):
    """All of it is in files, documented in lake_columns; a record without a whole key is left out."""
    await pond.log.declare("events.impressions", 4)
    await pond.put("events.impressions", "ada", PAGE)
    for table, (key, after) in CHANGES.items():
        await pond.log.declare(f"cdc.{table}", 4, TopicPolicy(compact=True))
        await pond.put(f"cdc.{table}", key, RowChange(op="c", table=table, key=key, at=AT, after=after))
    await pond.put("cdc.likes", "bad", RowChange(op="c", table="likes", key="no colon", at=AT))
    for table, (key, value) in ROWS.items():
        await pond.row(table, key, value)
    await pond.lake.refresh()
    kinds = ["impressions", *FIELDS, *ROWS]
    counts = " UNION ALL ".join(f"SELECT '{kind}', count(*) FROM {kind}" for kind in kinds)
    documented = "SELECT dataset, count(*) FROM lake_columns WHERE help != '' GROUP BY 1"
    found = await pond.ask(f"SELECT 0, * FROM ({counts}) UNION ALL SELECT 1, * FROM ({documented})")
    assert {kind: rows for part, kind, rows in found if part == 0} == {
        kind: 2 if kind in {"impressions", "tag_trends"} else 1 for kind in kinds
    }
    assert {kind: rows for part, kind, rows in found if part == 1} == {
        kind.name: len(kind.columns) for kind in DATASETS
    }
