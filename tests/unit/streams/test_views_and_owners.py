"""Copies of tables, and who holds a key (F17): without a broker."""

from types import SimpleNamespace

import msgspec
import pytest
from faust.types import TP

from freewill.settings import Settings
from streams.log.partitioner import partition_for
from streams.ownership import Ownership
from streams.roles import ALL_ROLES, Role, parse_roles
from streams.views import TableCopy
from tables.errors import Missing, ServiceUnavailable

TOPIC = "freewill-counts-changelog"
PARTITIONS = 4


class Count(msgspec.Struct):
    n: int


def a_table():
    codec = SimpleNamespace(decode=msgspec.json.Decoder(Count).decode)
    topic = SimpleNamespace(get_topic_name=lambda: TOPIC)
    return SimpleNamespace(name="counts", codec=codec, changelog_topic=topic)


def test_copy_holds_what_the_changelog_says_when_rows_come_change_and_go():
    """Whoever is told hears of each change; a row that cannot be read is none until a newer one comes."""
    copy, key = TableCopy(a_table(), PARTITIONS), "one"
    partition = partition_for(key.encode(), PARTITIONS)
    assert list(copy.apply(partition, {b"one": b'{"n": 1}'})) == [(key, Count(1))]
    assert list(copy.apply(partition, {b"one": b'{"n": 2}'})) == [(key, Count(2))]
    assert (copy.lookup(key), copy.count(), dict(copy.scan())) == (Count(2), 1, {key: Count(2)})
    assert list(copy.apply(partition, {b"one": b"rot"})) == [(key, None)]
    assert copy.lookup(key) is None
    list(copy.apply(partition, {b"one": b'{"n": 3}'}))
    assert copy.lookup(key) == Count(3)
    assert list(copy.apply(partition, {b"one": None})) == [(key, None)]
    assert copy.count() == 0


class Cluster:
    """What Faust tells one worker; ``held`` are the partitions of each URL."""

    def __init__(self, held, active=(), recovered=True):
        completed = SimpleNamespace(is_set=lambda: recovered)
        recovery = SimpleNamespace(in_recovery=not recovered, completed=completed)
        tables = SimpleNamespace(recovery=recovery, values=lambda: [a_table()])
        self.told = {url: {TOPIC: list(partitions)} for url, partitions in held.items()}
        assignor = SimpleNamespace(is_active=lambda tp: tp in {TP(TOPIC, n) for n in active})
        assignor.changelog_distribution = self.told
        self.app = SimpleNamespace(rebalancing=False, tables=tables, assignor=assignor)
        self.log = SimpleNamespace(
            partition_for=lambda topic, key: partition_for(key, PARTITIONS),
            partitions=lambda topic: PARTITIONS,
        )

    def owners(self, url="http://a"):
        return Ownership(self.app, self.log, url, member=True)


def key_of(partition):
    return next(f"k{n}" for n in range(1000) if partition_for(f"k{n}".encode(), PARTITIONS) == partition)


def test_owner_is_the_worker_that_the_assignor_names():
    """None means here; an unknown table is NOT_FOUND; a new assignment counts at once."""
    cluster = Cluster({"http://a": (0, 1), "http://b": (2, 3)}, active=(0, 1))
    owners = cluster.owners()
    assert [owners("counts", key_of(n)) for n in range(4)] == [None, None, "http://b", "http://b"]
    assert owners.holds("counts", key_of(1))
    assert not owners.holds("counts", key_of(2))
    with pytest.raises(Missing):
        owners("nothing", "k")
    cluster.app.assignor.changelog_distribution = {"http://b": {TOPIC: [0, 1, 2, 3]}}
    assert owners("counts", key_of(0)) == "http://b"


@pytest.mark.parametrize("state", ["nobody", "recovering", "rebalancing", "fenced"])
def test_nobody_holds_a_key_while_its_partition_moves(state):
    """503 and Retry-After, never a row that may be old (DESIGN section 7)."""
    held = {"http://b": (1, 2, 3)} if state == "nobody" else {"http://a": (0, 1, 2, 3)}
    active = () if state == "fenced" else range(PARTITIONS)
    cluster = Cluster(held, active=active, recovered=state != "recovering")
    cluster.app.rebalancing = state == "rebalancing"
    owners = cluster.owners()
    with pytest.raises(ServiceUnavailable) as refused:
        owners("counts", key_of(0))
    assert refused.value.retry_after_seconds
    assert not owners.holds("counts", key_of(0))


def test_roles_are_read_and_refused_when_a_worker_is_configured(tmp_path, monkeypatch):
    """One process has all roles on the embedded log; a wildcard address is no URL for others."""
    for name in ("FREEWILL_ROLES", "FREEWILL_BROKER"):
        monkeypatch.delenv(name, raising=False)
    assert Settings().roles == ALL_ROLES
    cluster = Settings(broker="kafka://k:1", roles="web, media", host="0.0.0.0", port=81)
    assert cluster.roles == {Role.WEB, Role.MEDIA}
    assert cluster.own_url.endswith(":81")
    assert "0.0.0.0" not in cluster.own_url
    with pytest.raises(ValueError, match="embedded log"):
        Settings(roles="web")
    with pytest.raises(ValueError, match="at least one"):
        parse_roles(" ,")
