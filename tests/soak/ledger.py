"""What 2xx answers promise, kept apart from the server: the counts that it must show in the end.

Written from INTERFACE.md (Engagement, Settled readings) and not from the reducers, so that the two can
disagree. Only answered requests are entered, each once: a request without an answer may have landed, and
is sent again with the same event ids until it is answered.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

VIEW_WINDOW_SECONDS = 24 * 3600
STEPS = {"watch_start": 0.0, "watch_25": 0.25, "watch_50": 0.5, "watch_75": 0.75, "watch_complete": 1.0}
RELATIONS = {
    "like": ("likes", True),
    "unlike": ("likes", False),
    "save": ("saves", True),
    "unsave": ("saves", False),
}
COUNTED = ("views", "likes", "comments", "shares", "saves", "completes", "watch_ms")
#: Bits of one video in a viewer's taste (table ``user_preference``).
VIEW, COMPLETE, LIKE, SHARE, COMMENT, SAVE = 1, 2, 4, 8, 16, 32


@dataclass
class Seen:
    """What one viewer saw of one video."""

    viewed_at: float
    seen_at: float
    fraction: float = 0.0
    views: int = 1
    completes: int = 0
    view_ms: int = 0  # longest watch of the view that runs
    watch_ms: int = 0  # over all views
    completed: bool = False  # the view that runs

    def watch(self, action: str, at: float, seconds: float, duration: float) -> None:
        """Enter one watch event: a view in 24 hours, its longest watch, its completion once."""
        if action == "watch_start" and at >= self.viewed_at + VIEW_WINDOW_SECONDS:
            self.views += 1
            self.viewed_at, self.view_ms, self.completed = at, 0, False
        self.fraction = max(self.fraction, STEPS[action], min(1.0, seconds / duration))
        watched = round(seconds * 1000)
        self.watch_ms += max(0, watched - self.view_ms)
        self.view_ms = max(self.view_ms, watched)
        if action == "watch_complete" and not self.completed:
            self.completes += 1
            self.completed = True
        self.seen_at = max(self.seen_at, at)


@dataclass
class Ledger:
    """Everything answered; ``durations`` are the videos' lengths in seconds."""

    durations: Mapping[str, float]
    owner: str
    seen: dict[tuple[str, str], Seen] = field(default_factory=dict)
    related: dict[str, set[tuple[str, str]]] = field(default_factory=lambda: {"likes": set(), "saves": set()})
    shares: dict[str, tuple[str, str]] = field(default_factory=dict)  # event id -> user, video
    known: set[tuple[str, str]] = field(default_factory=set)
    commented: set[tuple[str, str]] = field(default_factory=set)  # said by events: taste, and no counter
    told: Counter[str] = field(default_factory=Counter)  # events of each user that count in the user's days

    def enter(self, user: str, events: Iterable[Mapping[str, Any]]) -> None:
        """Enter one user's accepted events in order; an id that is known changes nothing."""
        for event in events:
            if (user, event["event_id"]) not in self.known:
                self.known.add((user, event["event_id"]))
                self._enter(user, event)

    def _enter(self, user: str, event: Mapping[str, Any]) -> None:
        action, video = event["action"], event["video_id"]
        if action in RELATIONS:
            self.relate(user, video, action)
            return
        self.told[user] += 1
        if action == "share":
            self.shares[event["event_id"]] = (user, video)
        elif action == "comment":
            self.commented.add((user, video))
        else:
            at, seconds = event["at"], event.get("watch_seconds", 0)
            seen = self.seen.setdefault((user, video), Seen(viewed_at=at, seen_at=at))
            seen.watch(action, at, seconds, self.durations[video])

    def relate(self, user: str, video: str, action: str) -> None:
        """Enter a like or a save, or that it was taken back: twice is once."""
        name, wanted = RELATIONS[action]
        if ((user, video) in self.related[name]) != wanted:
            self.told[user] += 1
            (self.related[name].add if wanted else self.related[name].discard)((user, video))

    # -- what follows from it

    def video(self, video: str) -> dict[str, Any]:
        """Return the counters of a video, as the table ``video_engagement`` has them."""
        seen = [entry for (_, name), entry in self.seen.items() if name == video]
        bins = Counter(min(9, int(entry.fraction * 10)) for entry in seen)
        return {
            "views": sum(entry.views for entry in seen),
            "viewers": len(seen),
            "likes": sum(name == video for _, name in self.related["likes"]),
            "comments": 0,
            "shares": sum(name == video for _, name in self.shares.values()),
            "saves": sum(name == video for _, name in self.related["saves"]),
            "completes": sum(entry.completes for entry in seen),
            "completion": round(sum(entry.fraction for entry in seen), 6),
            "watch_ms": sum(entry.watch_ms for entry in seen),
            "bins": {str(bin_): number for bin_, number in sorted(bins.items())},
        }

    def creator(self) -> dict[str, int]:
        """Return the sums over the owner's videos."""
        videos = [self.video(video) for video in self.durations]
        return {name: sum(counts[name] for counts in videos) for name in COUNTED}

    def user(self, user: str) -> dict[str, int]:
        """Return the sums of what one user did."""
        seen = [entry for (name, _), entry in self.seen.items() if name == user]
        return {
            "events": self.told[user],
            "views": sum(entry.views for entry in seen),
            "likes": sum(name == user for name, _ in self.related["likes"]),
            "comments": 0,
            "shares": sum(name == user for name, _ in self.shares.values()),
            "saves": sum(name == user for name, _ in self.related["saves"]),
            "completes": sum(entry.completes for entry in seen),
            "watch_ms": sum(entry.watch_ms for entry in seen),
        }

    def history(self, user: str) -> dict[str, dict[str, float]]:
        """Return what one user saw, by video, as the table ``watch_history`` has it."""
        return {
            video: {
                "fraction": round(entry.fraction, 6),
                "watch_ms": entry.view_ms,
                "viewed_at": entry.viewed_at,
                "seen_at": entry.seen_at,
            }
            for (name, video), entry in self.seen.items()
            if name == user
        }

    def taste(self, user: str) -> dict[str, int]:
        """Return which actions of a user stand, as bits by video."""
        bits: defaultdict[str, int] = defaultdict(int)
        for (name, video), entry in self.seen.items():
            if name == user:
                bits[video] |= VIEW | (COMPLETE if entry.completes else 0)
        stands = ((self.related["likes"], LIKE), (self.related["saves"], SAVE), (self.commented, COMMENT))
        for pairs, bit in stands:
            for name, video in pairs:
                if name == user:
                    bits[video] |= bit
        for name, video in self.shares.values():
            if name == user:
                bits[video] |= SHARE
        return dict(bits)
