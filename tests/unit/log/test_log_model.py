"""The log against a model: dicts and lists (DESIGN section 6)."""

import asyncio
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from streams.log import Batch, EmbeddedLog, TopicPolicy

KEYS = st.sampled_from([b"a", b"b", b"c", b"d", None])
RECORDS = st.lists(st.tuples(KEYS, st.one_of(st.none(), st.binary(max_size=8))), min_size=1, max_size=6)
PLACES = st.tuples(st.sampled_from(["plain", "compact"]), st.sampled_from([0, 1]))


class LogMachine(RuleBasedStateMachine):
    """Appends, commits, compacts and reopens; what is read must be what the model holds."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.loop = asyncio.new_event_loop()
        self.model: dict[Any, list[tuple[int, bytes | None, bytes | None]]] = defaultdict(list)
        self.ends: dict[Any, int] = defaultdict(int)
        self.positions: dict[Any, int] = {}
        self.open()

    def open(self) -> None:
        self.log = EmbeddedLog.open(Path(self.folder.name) / "log.db", fsync="os", upkeep_seconds=None)

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    @initialize()
    def declare(self) -> None:
        self.run(self.log.declare("plain", 2))
        self.run(self.log.declare("compact", 2, TopicPolicy(compact=True)))

    @rule(parts=st.lists(st.tuples(PLACES, RECORDS), min_size=1, max_size=3))
    def append(self, parts: Any) -> None:
        batches = [
            Batch(place[0], place[1], [k for k, _ in records], [v for _, v in records], 1.0)
            for place, records in parts
        ]
        bases = self.run(self.log.transact(batches))
        for (place, records), base in zip(parts, bases, strict=True):
            assert base == self.ends[place]
            for key, value in records:
                self.model[place].append((self.ends[place], key, value))
                self.ends[place] += 1

    @rule(place=PLACES, group=st.sampled_from(["g", "h"]), position=st.integers(0, 50))
    def commit(self, place: Any, group: str, position: int) -> None:
        self.run(self.log.commit_offsets(group, {place: position}))
        self.positions[group, place] = position

    @rule()
    def compact(self) -> None:
        self.run(self.log.upkeep.run_once(force=True))

    @rule()
    def reopen(self) -> None:
        self.run(self.log.close())
        self.open()

    @rule(place=PLACES, offset=st.integers(0, 30), limit=st.integers(1, 10))
    def read_part(self, place: Any, offset: int, limit: int) -> None:
        chunk = self.run(self.log.read(*place, offset, limit))
        everything = list(self.run(self.log.read(*place, 0, 10_000)))
        assert list(chunk) == [record for record in everything if record.offset >= offset][:limit]

    @invariant()
    def agrees(self) -> None:
        for place, expected in self.model.items():
            found = [(r.offset, r.key, r.value) for r in self.run(self.log.read(*place, 0, 10_000))]
            assert self.log.highwater(*place) == self.ends[place]
            if place[0] == "plain":
                assert found == expected
                continue
            assert set(found) <= set(expected)
            assert found[-1:] == expected[-1:]
            assert [item for item in found if item[1] is None] == [i for i in expected if i[1] is None]
            assert _table(found) == _table(expected)
        for (group, place), position in self.positions.items():
            assert self.log.committed(group, *place) == position

    def teardown(self) -> None:
        self.run(self.log.close())
        self.loop.close()
        self.folder.cleanup()


def _table(records: Any) -> dict[bytes, bytes]:
    state = {key: value for _, key, value in records if key is not None}
    return {key: value for key, value in state.items() if value is not None}


TestLogModel = LogMachine.TestCase
TestLogModel.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
