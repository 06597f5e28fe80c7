"""Who is stuck, and who only waits (O39, research/faust.md section 3, rows 10 and 11)."""

import threading
from types import SimpleNamespace

import pytest
from faust.types import TP

from streams import liveness
from streams.liveness import AgentStuck, Liveness, LoopGuard
from streams.reading import Progress

LIMIT = 5.0


class Log:
    """Positions of one topic."""

    def __init__(self):
        self.start, self.end, self.position = 0, 0, None

    def committed(self, group, topic, partition):
        return self.position

    def earliest(self, topic, partition):
        return self.start

    def highwater(self, topic, partition):
        return self.end


@pytest.fixture
def world():
    log, progress = Log(), Progress()
    app = SimpleNamespace(
        rebalancing=False,
        should_stop=False,
        conf=SimpleNamespace(id="g"),
        tables=SimpleNamespace(recovery=SimpleNamespace(in_recovery=False)),
        consumer=SimpleNamespace(assignment=lambda: {TP("t", 0), TP("other", 1)}),
    )
    watched = Liveness(log, progress, LIMIT)
    watched.watch("a", app, "t")
    return SimpleNamespace(log=log, app=app, liveness=watched, progress=progress)


def look(world, times):
    for _ in range(times):
        world.liveness.check(1.0)


def test_agent_is_stuck_when_nothing_is_heard_while_records_wait(world):
    world.log.end = 3
    look(world, 5)
    assert world.liveness.silent() == {"a": 4.0}
    with pytest.raises(
        AgentStuck, match=r"'a' did nothing for 5 s while records of 't' wait in partitions \[0\]"
    ):
        look(world, 1)


def test_agent_lives_when_nothing_waits_or_retention_took_it(world):
    look(world, 20)
    world.log.end = world.log.start = 9
    look(world, 20)
    assert world.liveness.silent() == {}


def test_agent_lives_when_its_position_moves(world):
    world.log.end = 1000
    for position in range(20):
        world.log.position = position
        look(world, 1)
    for offset in range(20, 40):  # folded, while the commit waits for a full disk
        world.progress.note("a", SimpleNamespace(partition=0, last_offset=offset, timestamps=[1.0]))
        look(world, 1)


def test_agent_lives_when_it_tries_again_and_again(world):
    world.log.end = 1
    for _ in range(20):
        world.liveness.heard("a")
        look(world, 3)


@pytest.mark.parametrize("state", ["rebalancing", "should_stop", "in_recovery"])
def test_agent_is_not_judged_while_partitions_move(world, state):
    world.log.end = 1
    setattr(world.app.tables.recovery if state == "in_recovery" else world.app, state, True)
    look(world, 20)


def test_process_ends_when_the_loop_stands_still(monkeypatch):
    monkeypatch.setattr(liveness, "CHECK_SECONDS", 0.01)
    ended = threading.Event()
    codes = []
    guard = LoopGuard(0.05, lambda code: (codes.append(code), ended.set()))
    guard.tick()
    guard.start()
    assert ended.wait(20)
    assert codes == [1]
