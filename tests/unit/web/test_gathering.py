"""Scans over three workers give what one table with all rows gives, or 503 (Y10, F17)."""

import time
from types import SimpleNamespace
from uuid import uuid4

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from streams.log.partitioner import partition_for
from streams.reading import plain
from streams.scans import PartScans
from tables.errors import Missing, ServiceUnavailable
from tables.reading import Row
from tables.reducers.totals import Totals
from web.app import create_app
from web.gathering import GatheringReader, merge
from web.keys import Readiness, WebSettings, all_here
from web.metrics import Metrics

PARTITIONS = 8


class Table:
    """Rows in a dict."""

    changelog_partitions = PARTITIONS

    def __init__(self):
        self.rows = {}

    def scan(self):
        return iter(self.rows.items())

    def lookup(self, key):
        return self.rows.get(key)


class Cluster:
    """Who holds which partition, by worker; ``believed`` is what a scan starts from."""

    def __init__(self, workers):
        self.held = {number: frozenset(range(number, PARTITIONS, workers)) for number in range(workers)}
        self.believed = dict(self.held)
        self.urls = {}
        self.readers = []
        self.keys = ["é+&% /?#\n", *(uuid4().hex for _ in range(99))]

    def move(self, partition, source, target):
        self.held[source] -= {partition}
        self.held[target] |= {partition}


class Side:
    """One worker's view of the cluster."""

    def __init__(self, cluster, number):
        self.cluster, self.number, self.table = cluster, number, Table()
        for key in cluster.keys:  # also rows that are not its own, as a standby has: they are never read
            held = partition_for(key.encode(), PARTITIONS) in cluster.held[number]
            self.table.rows[key] = Totals(days={1: None} if held else {})
        self.scans = PartScans({"t": self.table}, lambda name: cluster.held[number])

    def parts(self, name):
        if name == "whole":
            return None
        return {
            None if number == self.number else self.cluster.urls[number]: held
            for number, held in self.cluster.believed.items()
        }

    def page(self, name, partitions, limit, after):
        return self.scans.page(name, partitions, limit, after)

    # the own reader
    def describe(self, name):
        if name not in {"t", "whole"}:
            raise Missing

    async def rows(self, name, limit, after):
        return [Row("own", 1)], None


@pytest.fixture
async def cluster(tmp_path):
    made, servers = Cluster(3), []
    for number in range(3):
        side = Side(made, number)
        reader = GatheringReader(side, side, b"shared")
        settings = WebSettings(
            base_url="http://f", upload_dir=tmp_path, client_dir=tmp_path, hop_secret=b"shared"
        )
        deps = SimpleNamespace(
            settings=settings, clock=time.time, readiness=Readiness, metrics=Metrics(),
            owners=all_here, once=None,
        )  # fmt: skip
        app = create_app(deps, reader.routes())
        app.cleanup_ctx.append(reader.connected)
        server = TestServer(app)
        await server.start_server()
        servers.append(server)
        made.urls[number] = str(server.make_url("")).rstrip("/")
        made.readers.append(reader)
    yield made
    for server in servers:
        await server.close()


async def walk(reader, limit):
    rows, after, pages = [], None, 0
    while pages == 0 or after is not None:
        page, after = await reader.rows("t", limit, after)
        rows += page
        pages += 1
        assert len(page) <= limit
    return rows


@pytest.mark.parametrize("limit", [1, 7, 100, 500])
async def test_scan_is_whole_and_in_order_when_three_workers_hold_it(cluster, limit):
    expected = [Row(key, plain(Totals(days={1: None}))) for key in sorted(cluster.keys)]
    for reader in cluster.readers[:1] if limit == 1 else cluster.readers:
        assert [(row.key, row.value) for row in await walk(reader, limit)] == [
            (row.key, row.value) for row in expected
        ]
    assert await cluster.readers[0].rows("whole", 5, None) == ([Row("own", 1)], None)
    with pytest.raises(Missing):
        await cluster.readers[0].rows("x", 5, None)


async def test_scan_is_refused_when_a_partition_has_moved(cluster):
    """Never wrong: a worker that lost a partition, here or there, says so until all of them know."""
    cluster.move(1, 1, 2)
    for reader in cluster.readers:
        with pytest.raises(ServiceUnavailable) as refused:
            await reader.rows("t", 10, None)
        assert refused.value.retry_after_seconds
    cluster.believed = dict(cluster.held)
    cluster.move(1, 2, 1)
    with pytest.raises(ServiceUnavailable):
        await cluster.readers[2].rows("t", 10, None)
    cluster.move(1, 1, 2)
    cluster.urls[1] = "http://127.0.0.1:9"
    with pytest.raises(ServiceUnavailable):
        await cluster.readers[0].rows("t", 10, None)


async def test_there_is_nothing_when_somebody_else_asks(cluster):
    path = f"{cluster.urls[0]}/internal/tables/t/rows?partitions=0&limit=5"
    async with aiohttp.ClientSession() as session:
        for headers in ({}, {"X-FreeWill-Hop": "1 - " + "0" * 64}):
            async with session.get(path, headers=headers) as answer:
                assert answer.status == 404


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 3), max_size=30), st.integers(1, 6))
def test_pages_are_those_of_one_list_when_they_are_merged(places, limit):
    after, seen = None, []
    for _ in range(len(places) + 2):
        pages = []
        for worker in range(4):
            keys = sorted(k for k, w in places.items() if w == worker and (after is None or k > after))
            more = len(keys) > limit
            pages.append(([Row(k, worker) for k in keys[:limit]], keys[limit - 1] if more else None))
        rows, after = merge(pages, limit)
        assert len(rows) == min(limit, len(places) - len(seen))
        seen += [row.key for row in rows]
        if after is None:
            break
    assert seen == sorted(places)
