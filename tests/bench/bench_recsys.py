"""What the blend is worth on real short-video positives: hit@20 of the next video, test then learn (S, E).

    .venv/bin/python tests/bench/bench_recsys.py [--tune]

Replays `recsys/kuairec_first60.csv.gz` of the shared data in time through the product's own reducers
(counters, taste, pairs) and ranks before each sampled positive with the product's candidates and signals.
With one target each, recall@20 is hit@20. Vectors come from the co-occurrence of the first 60 %, as a
stand-in for content; creators and upload times are not in the data, so those signals stay 0. Weights are
chosen on 60-80 % of the time span (`--tune` prints the grid) and reported on the last 20 %.
"""

import csv
import gzip
import itertools
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ranking.candidates import facts, gather
from ranking.catalogue import Catalogue
from ranking.profiles import BLEND, Profile, signals
from ranking.viewer import Viewer
from tables.records import Action, Card, EngagementEvent
from tables.reducers.engagement import VideoEngagement, WatchHistory, fold_engagement, fold_history
from tables.reducers.preferences import EMPTY, UserPreference
from tables.reducers.taste import step
from tables.reducers.together import CoOccurrence, Pairs, fold_pairs

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("FREEWILL_SHARED", ROOT.parent / "shared"))
DATA = SHARED / "recsys" / "kuairec_first60.csv.gz"
TOP = 20
EVERY = 3
Weights = Mapping[str, float]
SWEEP = Profile("blend", {**dict.fromkeys(BLEND.weights, 0.0), "similarity": 0.5, "together": 0.5})
ROWS: Mapping[str, Weights] = {
    "popularity (decayed 6 h)": {"engagement": 1.0},
    "taste vector alone": {"similarity": 1.0},
    "liked together alone": {"together": 1.0},
    "blend before": {"similarity": 0.45, "engagement": 0.25},
    "blend now": BLEND.weights,
}


class World:
    """The product's state, fed event by event."""

    def __init__(self, vectors: Mapping[str, NDArray[np.float32]], videos: list[str], start: float) -> None:
        """Start with all videos in the catalogue and nobody known."""
        self.catalogue = Catalogue()
        self.histories: dict[str, WatchHistory] = {}
        self.counters: dict[str, VideoEngagement] = {}
        self.tastes: dict[str, UserPreference] = {}
        self.pairs: dict[str, CoOccurrence] = {}
        self.cards = {video: _card(video, vectors.get(video), start) for video in videos}
        self.catalogue.read_together(self.pairs.get)
        for card in self.cards.values():
            self.catalogue.upsert(card)

    def learn(self, event: EngagementEvent, offset: int) -> None:
        """Fold one positive into everything."""
        deltas = fold_history(self.histories, [(event, 0, offset)])
        fold_engagement(self.counters, deltas)
        self.catalogue.set_engagement(event.video_id, self.counters[event.video_id])
        before = self.tastes.get(event.user_id, EMPTY)
        after = step(before, event, self.cards[event.video_id], event.occurred_at)
        pairs = Pairs(event.occurred_at)
        pairs.note(before, after, event, offset)
        self.tastes[event.user_id] = after
        made = pairs.deltas(0)
        fold_pairs(self.pairs, made)
        for delta in made:
            self.catalogue.set_positives(delta.content_id, self.pairs[delta.content_id])

    def ask(self, user: str, now: float) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]:
        """Return the candidates that the user has not seen and all signals of the blend."""
        viewer = Viewer.of(self.catalogue, user, self.tastes.get(user), ((), ()), now)
        allowed = viewer.may_see(self.catalogue, SWEEP)
        allowed &= ~viewer.watched(self.catalogue.columns["hash"])
        gathered = gather(self.catalogue, viewer, SWEEP, allowed)
        return gathered.numbers, signals(SWEEP, facts(self.catalogue, viewer, gathered))


def _card(video: str, vector: NDArray[np.float32] | None, created_at: float) -> Card:
    return Card(
        video_id=video, creator_id=f"by-{video}", creator_username="", title="", created_at=created_at,
        duration_seconds=10.0, width=720, height=1280, model_version="svd",
        embedding=vector.astype(np.float16).tobytes() if vector is not None else b"",
    )  # fmt: skip


def read() -> list[tuple[str, str, float]]:
    """Return (user, video, time) in time order."""
    with gzip.open(DATA, "rt", newline="") as lines:
        rows = [(r["user_id"], r["item_id"], float(r["timestamp"])) for r in csv.DictReader(lines)]
    return sorted(rows, key=lambda row: row[2])


def embed(rows: list[tuple[str, str, float]]) -> dict[str, NDArray[np.float32]]:
    """Return unit vectors, float32[512], of the positive pointwise mutual information of videos."""
    users = {user: n for n, user in enumerate(dict.fromkeys(row[0] for row in rows))}
    videos = {video: n for n, video in enumerate(dict.fromkeys(row[1] for row in rows))}
    watched = np.zeros((len(users), len(videos)), np.float32)
    watched[[users[row[0]] for row in rows], [videos[row[1]] for row in rows]] = 1.0
    scaled = watched / np.sqrt(np.maximum(watched.sum(1, keepdims=True), 1.0))
    together = scaled.T @ scaled
    np.fill_diagonal(together, 0.0)
    share = np.maximum(together.sum(1), 1e-9)
    mutual = np.log(np.maximum(together * together.sum() / np.outer(share, share), 1e-9))
    left, strength, _ = np.linalg.svd(np.maximum(mutual, 0.0))
    found = np.zeros((len(videos), 512), np.float32)
    width = min(64, len(strength))
    found[:, :width] = left[:, :width] * np.sqrt(strength[:width])
    norms = np.linalg.norm(found, axis=1, keepdims=True)
    return {video: found[n] / norms[n] for video, n in videos.items() if norms[n] > 1e-6}


def grid() -> Iterator[Weights]:
    """Yield ways to share the 0.7 that the measurable signals of the blend have."""
    for similar, together in itertools.product(range(8), repeat=2):
        if similar + together <= 7:
            rest = 7 - similar - together
            yield {"similarity": similar / 10, "together": together / 10, "engagement": rest / 10}


def main() -> int:
    """Replay and print; return 1 when the blend is worse than the blend before."""
    if not DATA.is_file():
        print(f"no data at {DATA}")
        return 0
    rows = read()
    tune, test = int(len(rows) * 0.6), int(len(rows) * 0.8)
    begun = time.perf_counter()
    vectors = {} if "--no-vectors" in sys.argv else embed(rows[:tune])
    world = World(vectors, list(dict.fromkeys(row[1] for row in rows)), rows[0][2] - 30 * 86_400.0)
    ways = {**ROWS, **({str(dict(w)): w for w in grid()} if "--tune" in sys.argv else {})}
    hits = {name: [0, 0] for name in ways}
    asked = [0, 0]
    for offset, (user, video, at) in enumerate(rows):
        event = EngagementEvent(
            event_id=str(offset), user_id=user, video_id=video, action=Action.WATCH_COMPLETE, occurred_at=at
        )
        seen = video in world.histories[user].videos if user in world.histories else False
        if offset >= tune and offset % EVERY == 0 and not seen:
            part = int(offset >= test)
            asked[part] += 1
            numbers, values = world.ask(user, at)
            place = np.flatnonzero(numbers == world.catalogue.number(video))
            if len(place):
                for name, weights in ways.items():
                    score = sum(weight * values[signal] for signal, weight in weights.items() if weight)
                    hits[name][part] += int((score > score[place[0]]).sum() < TOP)  # type: ignore[index]
        world.learn(event, offset)
    took = time.perf_counter() - begun
    print(f"{len(rows):,} positives, {asked[0]:,} rankings to tune on, {asked[1]:,} to test; {took:.0f} s")
    print(f"  {'hit@20':<60}{'60-80 %':>9}{'80-100 %':>9}")
    for name, (early, late) in sorted(hits.items(), key=lambda pair: pair[1][0]):
        print(f"  {name:<60}{early / asked[0]:>9.4f}{late / asked[1]:>9.4f}")
    return 0 if hits["blend now"][1] >= hits["blend before"][1] else 1


if __name__ == "__main__":
    sys.exit(main())
