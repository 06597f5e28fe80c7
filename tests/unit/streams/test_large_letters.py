"""A poison record that is as large as the log takes still fits into its letter (O20, O39)."""

from types import SimpleNamespace

import msgspec
import pytest

from streams.dead_letters import KEPT_BYTES, DeadLetters
from streams.letters import LetterDesk
from tables.errors import Conflict

KAFKA_MESSAGE_BYTES = 1 << 20


def letter_of(size):
    return DeadLetters(None, clock=lambda: 1.0).letter(
        ("t", 0, 7), b"k", b"x" * size, ("UNDECODABLE_RECORD", "why"), agent="a"
    )


def test_letter_is_cut_when_its_record_is_huge():
    """Base64 makes a third more of it: uncut, Kafka would never take it, and its partition would stop."""
    huge, small = letter_of(3 * KAFKA_MESSAGE_BYTES), letter_of(KEPT_BYTES)
    assert len(msgspec.json.encode(huge)) < KAFKA_MESSAGE_BYTES
    assert (huge.cut, len(huge.original)) == (True, KEPT_BYTES)
    assert (small.cut, len(small.original)) == (False, KEPT_BYTES)


async def test_replay_is_refused_when_the_letter_was_cut():
    """Half a record is not sent as if it were whole; nothing is decided."""
    encoded = msgspec.json.encode(letter_of(KEPT_BYTES + 1))

    class Found(list):
        offsets, values = (0,), (encoded,)

    async def read(*place):
        return Found([encoded])

    log = SimpleNamespace(partitions=lambda topic: 1, read=read)
    with pytest.raises(Conflict, match="too large"):
        await LetterDesk(log, database=None).replay(["t/0/0"], "me")
