"""The feed engine: a request in, a page of explained videos out; nothing is awaited and no model runs.

A ranking is made once, kept, and cut into pages, so that following its cursors visits each video once
(E10, X29). The first page is served from the kept ranking for up to 60 s (E8), unless the viewer's
preference or the catalogue changed meanwhile.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ranking import cursor as cursors
from ranking.catalogue import Catalogue
from ranking.cursor import Cursor
from ranking.profiles import PROFILES, Profile
from ranking.ranked import Asked, Ranking, rank
from ranking.viewer import Viewer
from tables.errors import ValidationFailed
from tables.records import Card
from tables.reducers.preferences import UserPreference, interactions

MAX_LIMIT: Final = 50  # X28
CACHE_SECONDS: Final = 60.0
TRENDING_CACHE_SECONDS: Final = 5.0  # everybody shares it, and it is cheap to make
NEW_CONTENT_SECONDS: Final = 2.0
"""A kept ranking is older than this before a change of the catalogue replaces it: many changes a second
must not mean a ranking a request."""
RANKING_SECONDS: Final = 1_800.0
MAX_RANKINGS: Final = 2_000  # about 25 kB each
MAX_REMEMBERED: Final = 4_000
"""Videos that a long walk does not repeat while the server runs; 32 kB in the ranking it has reached."""

PreferenceReader = Callable[[str], UserPreference | None]


@dataclass(frozen=True, slots=True)
class FeedRequest:
    """One page asked for. ``now`` is epoch seconds; ``following`` and ``blocked`` are creator ids.

    ``session_seed`` chooses the exploration slots; the same seed gives the same page. ``tag`` keeps only
    videos with that tag (E49), ``creators`` only videos of these creators (E30).
    """

    viewer_id: str | None
    now: float
    profile: str = "similarity"
    limit: int = 20
    cursor: str | None = None
    session_seed: int = 0
    tag: str | None = None
    following: frozenset[str] = frozenset()
    blocked: frozenset[str] = frozenset()
    creators: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class FeedItem:
    """One video of a page: why it is there, and every signal with its weight; the card has no vector."""

    video_id: str
    card: Card
    score: float
    reason: str
    signals: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class FeedPage:
    """A page. ``profile`` is the one asked for, ``ranked_by`` the one in effect (cold start: trending)."""

    items: tuple[FeedItem, ...]
    next_cursor: str | None
    profile: str
    ranked_by: str
    degraded: bool
    cache_hit: bool
    candidates: int
    position: int = 0
    """Place of the first item in the walk that this page belongs to."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A ranking, whose it is, what was shown before it, and the state of the world it was made in."""

    id: str
    owner: str
    ranking: Ranking
    made_at: float
    preference_version: int
    catalogue_version: int
    shown: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    shown_width: int = 8


class FeedEngine:
    """Ranks for any viewer and profile; owned by one event loop."""

    def __init__(
        self,
        catalogue: Catalogue,
        preferences: PreferenceReader,
        profiles: Mapping[str, Profile] = PROFILES,
        cache_seconds: float = CACHE_SECONDS,
        on_failure: Callable[[Exception], None] = lambda error: None,
    ) -> None:
        """Rank what is in the catalogue, by preferences read at each request.

        ``on_failure`` hears of each ranking that had to do without the index.
        """
        self._on_failure = on_failure
        self._catalogue = catalogue
        self._preferences = preferences
        self._profiles = profiles
        self._cache_seconds = cache_seconds
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._latest: OrderedDict[str, str] = OrderedDict()
        self._made = 0

    def page(self, request: FeedRequest) -> FeedPage:
        """Return a page of exactly ``limit`` items, or fewer when it is the last (E10, E27).

        Raises:
            ValidationFailed: An unknown profile, a limit below 1 or a malformed cursor, named in
                ``details.field``.
        """
        profile = self._profiles.get(request.profile)
        if profile is None:
            raise ValidationFailed("There is no such profile.", details={"field": "profile"})
        if request.limit < 1:
            raise ValidationFailed("A page has at least one item.", details={"field": "limit"})
        request = replace(request, limit=min(request.limit, MAX_LIMIT))
        position = cursors.decode(request.cursor) if request.cursor else None
        viewer = self._viewer(request)
        kept, offset, hit = self._resume(request, viewer, profile, position)
        return self._cut(request, viewer, profile, kept, (offset, hit))

    def invalidate(self, viewer_id: str) -> None:
        """Drop a viewer's kept first pages; cursors already given out go on (E8, E43)."""
        for key in [key for key in self._latest if key.startswith(f"{viewer_id}|")]:
            del self._latest[key]

    def _viewer(self, request: FeedRequest) -> Viewer:
        state = self._preferences(request.viewer_id) if request.viewer_id else None
        graph = (request.following, request.blocked)
        return Viewer.of(self._catalogue, request.viewer_id, state, graph, request.now)

    def _resume(
        self, request: FeedRequest, viewer: Viewer, profile: Profile, position: Cursor | None
    ) -> tuple[_Kept, int, bool]:
        """Return the ranking to cut, where to start, and whether it was there already."""
        if position is None:
            kept = self._fresh_enough(request, viewer, profile)
            return (kept, 0, True) if kept else (self._rank(request, viewer, profile, None), 0, False)
        kept = self._kept.get(position.ranking_id)
        if kept and kept.owner == _owner(request) and request.now - kept.made_at <= RANKING_SECONDS:
            if kept.ranking.complete or position.offset + request.limit < len(kept.ranking.numbers):
                return kept, position.offset, True
            # At the end of a ranking that left videos out: the rest is ranked, without what was shown.
            position = replace(position, width=kept.shown_width, shown=_shown(kept, position.offset))
        return self._rank(request, viewer, profile, position), 0, False

    def _fresh_enough(self, request: FeedRequest, viewer: Viewer, profile: Profile) -> _Kept | None:
        kept = self._kept.get(self._latest.get(_cache_key(request, profile), ""))
        if kept is None:
            return None
        trending = kept.ranking.profile == "trending"
        lifetime = min(self._cache_seconds, TRENDING_CACHE_SECONDS if trending else self._cache_seconds)
        if not 0 <= request.now - kept.made_at <= lifetime:
            return None
        if kept.preference_version != _version(viewer):
            return None
        changed = kept.catalogue_version != self._catalogue.version
        return None if changed and request.now - kept.made_at > NEW_CONTENT_SECONDS else kept

    def _rank(self, request: FeedRequest, viewer: Viewer, profile: Profile, after: Cursor | None) -> _Kept:
        allowed = self._allowed(request, viewer, profile)
        if after is not None:
            allowed &= ~after.was_shown(self._catalogue.columns["hash"])
        cold = interactions(viewer.state, request.now) < profile.cold_below
        ranking = rank(
            self._catalogue, viewer, Asked(profile, request.limit, request.session_seed, allowed, cold)
        )
        if ranking.failure is not None:
            self._on_failure(ranking.failure)
        owner = _owner(request)
        self._made += 1
        unique = f"{owner}|{request.now}|{self._made}".encode()
        kept = _Kept(
            id=blake2b(unique, digest_size=9).hexdigest(),
            owner=owner,
            ranking=ranking,
            made_at=request.now,
            preference_version=_version(viewer),
            catalogue_version=self._catalogue.version,
        )
        if after is not None:
            kept = replace(kept, shown=after.shown, shown_width=after.width)
        self._keep(kept, _cache_key(request, profile) if after is None else None)
        return kept

    def _allowed(self, request: FeedRequest, viewer: Viewer, profile: Profile) -> NDArray[np.bool_]:
        allowed = viewer.may_see(self._catalogue, profile)
        if request.tag is not None:
            allowed &= self._catalogue.with_tag(request.tag)
        if request.creators is not None:
            numbers = self._catalogue.columns.creators.find(request.creators)
            allowed &= np.isin(self._catalogue.columns["creator"], numbers)
        return allowed

    def _keep(self, kept: _Kept, cache_key: str | None) -> None:
        self._kept[kept.id] = kept
        if cache_key is not None:
            self._latest[cache_key] = kept.id
            self._latest.move_to_end(cache_key)
        while len(self._kept) > MAX_RANKINGS:
            self._kept.popitem(last=False)
        while len(self._latest) > MAX_RANKINGS:
            self._latest.popitem(last=False)

    def _cut(
        self, request: FeedRequest, viewer: Viewer, profile: Profile, kept: _Kept, start: tuple[int, bool]
    ) -> FeedPage:
        offset, hit = start
        ranking = kept.ranking
        left = ranking.numbers[offset:]
        # What was removed, hidden or became private since the ranking is passed over (D14, E5).
        live = viewer.may_see(self._catalogue, profile, left)
        live &= self._catalogue.columns.take(left)["hash"] == ranking.hashes[offset:]
        places = np.flatnonzero(live) + offset
        chosen = places[: request.limit].tolist()
        more = len(places) > len(chosen)
        return FeedPage(
            items=tuple(self._item(ranking, place) for place in chosen),
            next_cursor=_next(request.profile, kept, chosen[-1] + 1) if more else None,
            profile=request.profile,
            ranked_by=ranking.profile,
            degraded=ranking.failure is not None,
            cache_hit=hit,
            candidates=len(ranking.numbers),
            position=len(kept.shown) + offset,
        )

    def _item(self, ranking: Ranking, place: int) -> FeedItem:
        card = self._catalogue.shown(int(ranking.numbers[place]))
        assert card is not None, "a live row has a card"
        return FeedItem(
            video_id=card.video_id,
            card=card,
            score=float(ranking.scores[place]),
            reason=ranking.reasons[place],
            signals=ranking.signals(place),
        )


def _shown(kept: _Kept, offset: int) -> NDArray[np.uint64]:
    """Return what a walk has shown up to a position, in the width that its start is known in."""
    here = cursors.shorten(kept.ranking.hashes[:offset], kept.shown_width)
    return np.concatenate([kept.shown, here])[-MAX_REMEMBERED:]


def _next(profile: str, kept: _Kept, offset: int) -> str:
    return cursors.encode(profile, kept.id, offset, _shown(kept, offset), kept.shown_width)


def _version(viewer: Viewer) -> int:
    return viewer.state.version if viewer.state else -1


def _owner(request: FeedRequest) -> str:
    """Return whom and what a ranking was made for; a cursor goes on only in its own."""
    creators = hash(request.creators) if request.creators is not None else ""
    return f"{request.viewer_id or ''}|{request.profile}|{request.tag or ''}|{creators}"


def _cache_key(request: FeedRequest, profile: Profile) -> str:
    """Return what else a kept first page depends on, beside the state of the world (X31)."""
    seed = request.session_seed if profile.exploration else 0
    return f"{_owner(request)}|{seed}|{hash((request.following, request.blocked))}"
