"""The same burst and the same kill on Apache Kafka (DESIGN invariants 1-3, Z4)."""

import importlib.util
import os
import random
from pathlib import Path

import pytest
from forked import ForkingParent
from kills import CLIP, ENVIRONMENT, Plan, Run

from streams.log.kafka import KafkaLog
from streams.topics import TOPICS

# A minute of kills and restarts; the contract tests hold the transport itself in every run.
pytestmark = [pytest.mark.services, pytest.mark.slow]


def _embedded_test():
    path = Path(__file__).with_name("test_streams_exactness.py")
    spec = importlib.util.spec_from_file_location("streams_exactness", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
async def kafka():
    """Return the address of a broker without any of the platform's topics."""
    url = os.environ.get("FREEWILL_TEST_KAFKA")
    if not url:
        if os.environ.get("CI"):
            pytest.fail("FREEWILL_TEST_KAFKA is missing: CI runs the tests on Kafka too")
        pytest.skip("no Kafka (set FREEWILL_TEST_KAFKA; `make services` or `make kafka` starts one)")
    log = KafkaLog.open(url, group="freewill")
    await log.connect()
    names = {name for topic in TOPICS for name in (topic.name, topic.dead)}
    old = [name for name in log.topics() if name in names or name.startswith("freewill-")]
    if old:
        await log.admin.delete_topics(old)
    await log.close()
    return url


@pytest.mark.parametrize("store", ["rocksdb://"])
async def test_burst_counts_exactly_when_the_server_on_kafka_is_killed_in_its_middle(
    make_server, make_client, shared_dir, kafka, store
):
    """Outputs, changelog and positions are three steps on Kafka, and a kill falls between them."""
    server = make_server(FREEWILL_BROKER=kafka, FREEWILL_TABLES_STORE=store)
    await _embedded_test().count_a_burst_exactly(server, make_client, shared_dir)


async def test_counts_equal_the_ledger_when_the_server_on_kafka_is_killed_at_random_moments(
    make_server, make_client, shared_dir, kafka
):
    """The mixed load of ``test_random_kills.py``; `make soak` does more of it."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    server = make_server(FREEWILL_BROKER=kafka, FREEWILL_TABLES_STORE="rocksdb://", **ENVIRONMENT)
    with ForkingParent(server):
        plan = Plan(kills=5, seed=seed, people=6, videos=1)
        outcome = await Run(server, make_client, plan, shared_dir / CLIP).go()
    assert outcome.repeated > 0, "no kill met a request"
