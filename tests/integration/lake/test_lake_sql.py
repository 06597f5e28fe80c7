"""SQL over the lake: what it answers, and what it refuses (Y10)."""

import asyncio
import io

import orjson
import pyarrow as pa
import pytest

from streams.lake.service import RUNNING, WAITING
from tables.analytics import Who
from tables.errors import InvalidSql, QueryTooLarge, ServiceUnavailable

EVE = Who("7", "eve", "analyst")
HOSTILE = [
    "",
    ";",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP VIEW events",
    "CREATE TABLE x (a INT)",
    "DROP VIEW events",
    "INSERT INTO lake_columns VALUES ('a', 'b', 'c', 'd')",
    "UPDATE lake_columns SET help = 'x'",
    "DELETE FROM lake_columns",
    "COPY (SELECT 1) TO '{lake}/x.csv'",
    "COPY events TO '/tmp/x.parquet'",
    "EXPORT DATABASE '{lake}/x'",
    "ATTACH '{lake}/x.db' AS x",
    "DETACH memory",
    "PRAGMA database_list",
    "CALL pragma_version()",
    "SET threads = 8",
    "RESET ALL",
    "SET enable_external_access = true",
    "INSTALL httpfs",
    "LOAD httpfs",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{lake}/x.csv'",
    "PREPARE p AS SELECT 1",
    "BEGIN",
    "CHECKPOINT",
    "VACUUM",
    "USE memory",
    "WITH x AS (COPY (SELECT 1) TO '{lake}/x.csv') SELECT * FROM x",
    "WITH x AS (COPY (SELECT 1) TO '{file}' (USE_TMP_FILE false)) SELECT * FROM x",
    "WITH x AS (DELETE FROM lake_columns RETURNING *) SELECT * FROM x",
    "WITH x AS (INSERT INTO lake_columns VALUES (1, 2, 3, 4) RETURNING *) SELECT * FROM x",
    "SELECT * FROM (WITH x AS (DELETE FROM lake_columns RETURNING *) SELECT * FROM x)",
    "SELECT (WITH x AS (DELETE FROM lake_columns RETURNING *) SELECT count(*) FROM x)",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_blob('{secret}')",
    "SELECT * FROM read_csv('{secret}')",
    "SELECT * FROM read_parquet('{file}')",
    "SELECT * FROM READ_TEXT('/proc/self/environ')",
    "SELECT * FROM glob('/**')",
    "SELECT * FROM '{secret}'",
    "SELECT * FROM '{file}'",
    'SELECT * FROM "/etc/passwd"',
    "SELECT (SELECT content FROM read_text('/etc/passwd'))",
    "SELECT * FROM events WHERE viewer IN (SELECT content FROM read_text('/etc/passwd'))",
    "SELECT * FROM query('SELECT * FROM read_text(''/etc/passwd'')')",
    "SELECT * FROM query_table(['events'])",
    "SELECT * FROM 'http://127.0.0.1:1/x.parquet'",
    "SELECT * FROM read_csv('http://127.0.0.1:1/x')",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM checkpoint()",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT getenv('HOME')",
    "SELECT * FROM request",
    "SELECT * FROM connection",
    "SELECT nothing FROM events",
    "\x00",
    "SELECT '\ud800'",
    "SELECT " + "(" * 20_000 + "1" + ")" * 20_000,
]


@pytest.fixture
async def lake(pond):
    await pond.watch(400)
    await pond.lake.refresh()
    return pond


@pytest.mark.parametrize("number", range(0, len(HOSTILE), 4))
async def test_statement_is_refused_when_it_is_more_than_a_select(lake, number):
    """No writing, no files, no network, no settings; the lake is as it was."""
    secret = lake.folder / "secret.csv"
    secret.write_text("token\nhunter2\n")
    files = {path: path.read_bytes() for path in (lake.folder / "lake").rglob("*.parquet")}
    for sql in HOSTILE[number : number + 4]:
        text = sql.replace("{lake}", str(lake.folder / "lake")).replace("{secret}", str(secret))
        text = text.replace("{file}", str(next(iter(files))))
        with pytest.raises((InvalidSql, QueryTooLarge)) as raised:
            await lake.ask(text)
        assert "hunter2" not in str(raised.value)
        assert "root:" not in str(raised.value)
    assert {p: p.read_bytes() for p in (lake.folder / "lake").rglob("*.parquet")} == files
    assert not [path for path in lake.folder.rglob("x*") if path.name.startswith("x.")]


async def test_select_is_answered_when_it_only_reads(lake):
    """Joins, windows, CTEs, DESCRIBE, comments and a semicolon at the end."""
    for sql in (
        "SELECT 1;",
        "SELECT 1 -- really",
        "WITH a AS (SELECT video_id, count(*) AS n FROM events GROUP BY ALL) SELECT * FROM a ORDER BY n DESC",
        "SELECT *, row_number() OVER (PARTITION BY video_id ORDER BY occurred_at) FROM events QUALIFY true",
        "FROM events LIMIT 1",
        "DESCRIBE events",
        "SUMMARIZE events",
        "SHOW TABLES",
        "SELECT * FROM range(3)",
        "SELECT unnest([1, 2])",
        "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT * FROM t",
        "SELECT video_id FROM events EXCEPT SELECT video_id FROM catalogue",
    ):
        assert await lake.ask(sql), sql
    columns = {(row[0], row[1]) for row in await lake.ask('SELECT dataset, "column" FROM lake_columns')}
    assert ("events", "fraction") in columns


async def test_values_are_json_when_they_are_of_any_type(lake):
    """Times are RFC 3339 UTC, NaN is null, large integers and blobs are text."""
    sql = (
        "SELECT TIMESTAMPTZ '2026-01-02 03:04:05+01', DATE '2026-01-02', TIME '10:00', INTERVAL 90 SECOND,"
        " 'nan'::DOUBLE, 1.50::DECIMAL(5, 2), 'ab'::BLOB, [1, 2], {'a': [1]}, MAP {'k': 1}, NULL,"
        " 170141183460469231731687303715884105727::HUGEINT, true"
    )
    assert await lake.ask(sql) == [
        [
            "2026-01-02T02:04:05Z", "2026-01-02", "10:00:00", 90.0, None, 1.5, "YWI=", [1, 2], {"a": [1]},
            {"k": 1}, None, "170141183460469231731687303715884105727", True,
        ]
    ]  # fmt: skip


async def test_answer_is_cut_and_says_so_when_there_are_more_rows(lake):
    """The limit holds in every form; duplicate names stay apart."""
    answer = await lake.lake.query(EVE, "SELECT 1 AS a, 2 AS a FROM range(50)", "json", 10)
    body = orjson.loads(answer.body)
    assert (len(body["rows"]), body["truncated"], body["columns"]) == (10, True, ["a", "a_1"])
    answer = await lake.lake.query(EVE, "SELECT range FROM range(50)", "csv", 10)
    assert answer.body.decode().splitlines() == ["range", *map(str, range(10))]
    answer = await lake.lake.query(EVE, "SELECT * FROM events", "arrow", 399)
    assert pa.ipc.open_stream(io.BytesIO(answer.body)).read_all().num_rows == 399
    assert (answer.rows, answer.truncated) == (399, True)
    whole = await lake.lake.query(EVE, "SELECT range FROM range(10)", "json", 10)
    assert (whole.rows, whole.truncated) == (10, False)


async def test_empty_lake_has_all_its_columns_when_nothing_was_written(pond):
    """Queries work before the first write, with no rows."""
    assert await pond.ask("SELECT * FROM events JOIN catalogue USING (video_id)") == []
    assert {row[0] for row in await pond.ask("SHOW TABLES")} >= {"events", "deltas", "video_engagement"}


async def test_query_ends_when_it_needs_too_much_memory_or_time(lake):
    """128 MB in these tests; no spilling to disk either."""
    with pytest.raises(QueryTooLarge) as raised:
        await lake.ask("SELECT string_agg(range::VARCHAR, '') FROM range(100000000)")
    assert raised.value.details["limit"] == "memory"
    object.__setattr__(lake.lake.settings, "query_seconds", 1.0)
    with pytest.raises(QueryTooLarge) as raised:
        await lake.ask("SELECT sum(hash(range) % 7) FROM range(1000000000000)")
    assert raised.value.details["limit"] == "time"


async def test_query_is_told_to_come_back_when_too_many_run(lake):
    """A crowd of analysts takes one process at a time."""
    asked = [lake.ask("SELECT 1") for _ in range(RUNNING + WAITING + 3)]
    found = await asyncio.gather(*asked, return_exceptions=True)
    refused = [item for item in found if isinstance(item, ServiceUnavailable)]
    assert len(refused) == 3
    assert [item for item in found if item not in refused] == [[[1]]] * (RUNNING + WAITING)


async def test_every_query_is_audited_when_it_is_answered_or_refused(lake):
    """Y10: who, what, outcome, rows, milliseconds; the question is kept before it is answered."""
    lake.notes.kept.clear()
    await lake.ask("SELECT 1")
    with pytest.raises(InvalidSql):
        await lake.ask("DROP VIEW events")
    asked, done, _, refused = lake.notes.kept
    assert asked == (EVE, "sql.asked", {"sql": "SELECT 1"})
    assert (done[1], done[2]["outcome"], done[2]["rows"]) == ("sql.done", "OK", 1)
    assert done[2]["ms"] > 0
    assert (refused[2]["sql"], refused[2]["outcome"]) == ("DROP VIEW events", "INVALID_SQL")
