"""Cursors of ranked feeds (X29, E53)."""

import numpy as np
import pytest

from ranking.cursor import MAX_SHOWN, decode, encode
from tables.errors import ValidationFailed


@pytest.mark.parametrize("count", [0, 1, 189, 190, 191, 400, 1_000])
def test_cursor_remembers_what_was_shown_when_decoded(count: int) -> None:
    hashes = np.random.default_rng(count).integers(0, 2**63, count).astype(np.uint64)
    text = encode("similarity", "abcdef123456789012", 40, hashes)
    cursor = decode(text)
    assert len(text) < 1_600
    assert (cursor.profile, cursor.ranking_id, cursor.offset) == ("similarity", "abcdef123456789012", 40)
    assert cursor.was_shown(hashes[-MAX_SHOWN:]).all()


def test_cursor_carries_over_when_it_has_to_get_shorter() -> None:
    """What an earlier cursor remembered in four bytes is still known in two."""
    hashes = np.random.default_rng(1).integers(0, 2**63, 300).astype(np.uint64)
    first = decode(encode("blend", "x", 100, hashes[:100]))
    second = decode(encode("blend", "y", 20, np.concatenate([first.shown, hashes[100:]]), first.width))
    assert second.was_shown(hashes).all()


@pytest.mark.parametrize(
    "text",
    ["", "x", "!!!!", "bm90IGpzb24", "e30", "W10", "é", "A" * 5_000, "eyJ2IjoxfQ", "eyJ2IjoyLCJwIjoiYSJ9"],
)
def test_cursor_is_refused_when_malformed(text: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        decode(text)
    assert caught.value.details["field"] == "cursor"
