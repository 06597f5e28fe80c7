"""One contract for both indexes, and the build, swap and delta of the approximate one (D11-D14)."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from ranking import index as index_module
from ranking.catalogue import Catalogue
from ranking.index import AnnoyIndex, ExactIndex, IndexRefused, VectorIndex
from ranking.vectors import Vector, VectorStore

ROWS = 1_200


def vectors(count: int, seed: int = 3) -> Vector:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(12, 512))[rng.integers(0, 12, count)] + 0.8 * rng.normal(size=(count, 512))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(params=["exact", "annoy"])
async def index(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[VectorStore, VectorIndex]:
    store = VectorStore()
    for number, row in enumerate(vectors(ROWS)):
        store.put(number, row)
    if request.param == "exact":
        return store, ExactIndex(store)
    annoy = AnnoyIndex(store, tmp_path)
    assert await annoy.rebuild(now=1.0) >= 0.9
    assert annoy.delta_rows == 0
    return store, annoy


async def test_search_finds_the_nearest_best_first_when_asked(index) -> None:
    store, searched = index
    query = store.rows(np.array([7]))[0]
    numbers, similarities = searched.search(query, 100)
    assert numbers[0] == 7
    assert similarities[0] == pytest.approx(1.0, abs=1e-3)
    assert len(numbers) == 100 == len(set(numbers.tolist()))
    assert (np.diff(similarities) <= 1e-6).all()
    exact = set(ExactIndex(store).search(query, 100)[0].tolist())
    assert len(exact & set(numbers.tolist())) >= 90


async def test_new_vector_is_found_when_added_after_the_build(index) -> None:
    """D11: nothing is invisible."""
    store, searched = index
    row = vectors(1, seed=99)[0]
    store.put(ROWS + 5, row)
    searched.changed(ROWS + 5)
    assert searched.search(row, 3)[0][0] == ROWS + 5


async def test_vector_is_gone_or_moved_when_dropped_or_replaced(index) -> None:
    """D14, D8."""
    store, searched = index
    old = store.rows(np.array([7]))[0]
    store.put(7, -old)
    searched.changed(7)
    assert 7 not in searched.search(old, 50)[0]
    assert searched.search(-old, 1)[0][0] == 7
    store.drop(7)
    searched.changed(7)
    assert 7 not in searched.search(-old, 50)[0]


async def test_search_is_short_when_there_are_few_rows() -> None:
    store = VectorStore()
    assert len(ExactIndex(store).search(vectors(1)[0], 10)[0]) == 0
    store.put(3, vectors(1)[0])
    assert ExactIndex(store).search(vectors(1)[0], 10)[0].tolist() == [3]


async def test_old_index_stays_when_recall_is_too_low(tmp_path: Path, monkeypatch) -> None:
    """A bad build is refused before the swap; its files are gone."""
    store = VectorStore()
    for number, row in enumerate(vectors(ROWS)):
        store.put(number, row)
    annoy = AnnoyIndex(store, tmp_path)
    await annoy.rebuild(now=1.0)
    monkeypatch.setattr(index_module, "MIN_RECALL", 1.1)
    with pytest.raises(IndexRefused, match="recall"):
        await annoy.rebuild(now=2.0)
    assert annoy.built_at == 1.0
    assert annoy.search(store.rows(np.array([7]))[0], 1)[0][0] == 7
    assert [path.name for path in tmp_path.iterdir()] == ["videos.ann"]


async def test_changes_are_kept_when_made_during_a_build(tmp_path: Path) -> None:
    """D13: readers and writers go on during the build; a second build is refused meanwhile."""
    store = VectorStore()
    for number, row in enumerate(vectors(ROWS)):
        store.put(number, row)
    annoy = AnnoyIndex(store, tmp_path)
    building = asyncio.create_task(annoy.rebuild(now=1.0))
    await asyncio.sleep(0.05)
    with pytest.raises(IndexRefused, match="running"):
        await annoy.rebuild(now=1.0)
    row = vectors(1, seed=5)[0]
    store.put(ROWS, row)
    annoy.changed(ROWS)
    store.drop(3)
    annoy.changed(3)
    await building
    assert annoy.delta_rows == 2
    assert annoy.search(row, 1)[0][0] == ROWS
    assert 3 not in annoy.search(vectors(ROWS)[3], 50)[0]


async def test_catalogue_moves_to_the_approximate_index_when_it_has_grown(world, tmp_path: Path) -> None:
    """D11, D12: exact before the first build, and the same answers after it."""
    world.catalogue = Catalogue(tmp_path, exact_up_to=500)
    world.fill(400)
    assert not await world.catalogue.maintain(world.now)
    world.fill(300)
    assert await world.catalogue.maintain(world.now)
    assert not await world.catalogue.maintain(world.now)
    assert world.catalogue.index_recall is not None
    ids, _ = world.catalogue.nearest(world.catalogue.vector("video-00601"), 10)
    assert ids[0] == "video-00601"
    assert world.catalogue.inconsistencies() == ([], [])
