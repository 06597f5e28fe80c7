"""The catalogue: cards, vectors, counters, and what a removal leaves (D6, D7, D14, D18, D27, E19)."""

import numpy as np
import pytest

from tables.reducers.engagement import Counters, VideoEngagement


def test_vector_and_card_come_back_when_stored(world) -> None:
    """D7."""
    card = world.card(1)
    world.catalogue.upsert(card)
    assert world.catalogue.get("video-00001") == card
    stored = np.frombuffer(card.embedding, np.float16).astype(np.float32)
    assert np.allclose(world.catalogue.vector("video-00001"), stored, atol=1e-3)
    assert np.linalg.norm(world.catalogue.vector("video-00001")) == pytest.approx(1.0, abs=1e-6)


def test_nearest_is_at_most_100_and_best_first_when_asked(world) -> None:
    """D18."""
    world.fill(300)
    ids, similarities = world.catalogue.nearest(world.catalogue.vector("video-00000"))
    assert ids[0] == "video-00000"
    assert len(ids) == 100
    assert list(similarities) == sorted(similarities, reverse=True)
    assert all(int(video_id[-5:]) % 3 == 0 for video_id in ids)


def test_video_is_gone_at_once_when_removed(world) -> None:
    """D14; its number serves the next video without inheriting anything."""
    world.fill(10)
    world.heat("video-00003", 50.0)
    number = world.catalogue.number("video-00003")
    vector = world.catalogue.vector("video-00003")
    world.catalogue.remove("video-00003")
    world.catalogue.remove("video-00003")
    assert world.catalogue.get("video-00003") is None
    assert "video-00003" not in world.catalogue.nearest(vector)[0]
    assert not world.catalogue.with_tag("kind0")[number]
    world.catalogue.upsert(world.card(99, kind=1))
    assert world.catalogue.number("video-00099") == number
    assert world.catalogue.columns["decayed"][number] == 0.0
    assert len(world.catalogue) == 10


def test_vector_stays_when_a_newer_card_has_none(world) -> None:
    """A change of title must not take a video out of similarity; a re-embedding replaces (D8)."""
    world.catalogue.upsert(world.card(1))
    before = world.catalogue.vector("video-00001")
    world.catalogue.upsert(world.card(1, embedding=b"", title="Other"))
    assert np.array_equal(world.catalogue.vector("video-00001"), before)
    world.catalogue.upsert(world.card(1, kind=2))
    assert not np.allclose(world.catalogue.vector("video-00001"), before, atol=0.01)


@pytest.mark.parametrize(
    "embedding",
    [
        b"xx",
        bytes(1024),
        np.full(512, np.nan, np.float16).tobytes(),
        np.full(512, np.inf, np.float16).tobytes(),
    ],
)
def test_card_is_kept_without_vector_when_its_embedding_is_broken(world, embedding: bytes) -> None:
    """Bad data stops nobody (DESIGN invariant 5), and the consistency check names it (D27)."""
    world.catalogue.upsert(world.card(1, embedding=embedding))
    assert world.catalogue.get("video-00001") is not None
    assert world.catalogue.vector("video-00001") is None
    assert world.catalogue.inconsistencies() == (["video-00001"], [])


def test_counters_are_read_when_a_card_comes_after_its_engagement(world) -> None:
    """The order in which tables recover must not matter."""
    from ranking.catalogue import Catalogue

    state = VideoEngagement(local=Counters(likes=4), decayed=8.0, decayed_at=world.now)
    catalogue = Catalogue(engagement={"video-00001": state}.get)
    catalogue.set_engagement("video-00001", state)
    catalogue.upsert(world.card(1))
    assert catalogue.columns["likes"][0] == 4.0
    catalogue.upsert(world.card(1, title="Again"))
    assert catalogue.columns["likes"][0] == 4.0


def test_columns_grow_when_there_are_many_videos(world) -> None:
    world.fill(2_500)
    assert len(world.catalogue) == 2_500
    assert world.catalogue.inconsistencies() == ([], [])
    for number in (0, 1_023, 1_024, 2_499):
        vector = world.catalogue.vector(f"video-{number:05d}")
        assert world.catalogue.nearest(vector, 1)[0] == [f"video-{number:05d}"]


def test_tags_are_found_when_case_differs(world) -> None:
    """E49; more tags than a row holds are still found."""
    tags = tuple(f"Tag{n}" for n in range(30))
    world.catalogue.upsert(world.card(1, tags=tags))
    assert world.catalogue.with_tag("tAG29")[0]
    assert world.catalogue.with_tag("other").sum() == 0
