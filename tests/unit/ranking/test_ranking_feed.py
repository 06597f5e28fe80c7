"""The feed engine: cold start, taste, pages, cursors, filters, cache, explanation (E1-E10, E26, E43-E53)."""

from itertools import chain

import msgspec
import pytest

from ranking.feed import FeedEngine, FeedPage, FeedRequest
from ranking.profiles import PROFILES, Profile
from tables.errors import ValidationFailed
from tables.records import Action, UserFact
from tables.reducers.preferences import apply_fact

DOCUMENTED = ("similarity", "video", "social", "hybrid")


class Feed:
    """An engine over a world, with preferences that tests set."""

    def __init__(self, world) -> None:
        self.world = world
        self.states = {}
        self.engine = FeedEngine(world.catalogue, self.states.get)

    def page(self, viewer: str | None = "u", **changes: object) -> FeedPage:
        known: dict[str, object] = {"viewer_id": viewer, "now": self.world.now}
        return self.engine.page(FeedRequest(**(known | changes)))  # type: ignore[arg-type]

    def walk(self, engine: FeedEngine | None = None, **changes: object) -> list[list[str]]:
        """Follow the cursors to the end and return the ids of each page."""
        pages, cursor = [], None
        while True:
            page = self.page(cursor=cursor, **changes)
            pages.append(ids(page))
            cursor = page.next_cursor
            if cursor is None:
                return pages


def ids(page: FeedPage) -> list[str]:
    return [item.video_id for item in page.items]


def flat(pages: list[list[str]]) -> list[str]:
    return list(chain.from_iterable(pages))


@pytest.fixture
def feed(world) -> Feed:
    return Feed(world)


def test_feed_is_trending_when_there_are_fewer_than_five_interactions(feed) -> None:
    """E3, E46: engagement first, then what is recent, with trending's reason and signals."""
    feed.world.fill(30)
    feed.world.heat("video-00020", 30.0)
    feed.world.heat("video-00010", 90.0)
    feed.world.heat("video-00005", 900.0, age_seconds=25 * 3600)
    feed.states["u"] = feed.world.watch(None, feed.world.cards[:4])
    page = feed.page()
    assert ids(page)[:4] == ["video-00010", "video-00020", "video-00000", "video-00001"]
    assert {item.reason for item in page.items} == {"trending"}
    assert set(page.items[0].signals) == {"trending", "recency"}
    assert (page.profile, page.ranked_by) == ("similarity", "trending")
    feed.states["u"] = feed.world.watch(None, feed.world.cards[:5])
    assert feed.page().ranked_by == "similarity"


@pytest.mark.parametrize("profile", [*DOCUMENTED, "blend"])
def test_kind_moves_up_when_its_clips_are_watched(feed, profile: str) -> None:
    """Watching one kind lifts the rest of it for that viewer and for nobody else."""
    feed.world.fill(60)
    kind_of = {card.video_id: card.tags[0] for card in feed.world.cards}
    watched = [card for card in feed.world.cards if card.tags[0] == "kind2"][-6:]
    feed.states["u"] = feed.world.watch(None, watched)
    mine = [kind_of[i] for i in ids(feed.page(profile=profile, limit=10))]
    theirs = [kind_of[i] for i in ids(feed.page("other", profile=profile, limit=10))]
    assert mine.count("kind2") >= 6
    assert theirs.count("kind2") <= 4


@pytest.mark.parametrize("profile", sorted(PROFILES))
@pytest.mark.parametrize("count", [0, 1, 20, 47])
def test_each_video_comes_once_when_cursors_are_followed(feed, profile: str, count: int) -> None:
    """E10, X29: every page is full except the last."""
    feed.world.fill(count)
    feed.states["u"] = feed.world.watch(None, feed.world.cards[:8])
    pages = feed.walk(profile=profile)
    assert all(len(page) == 20 for page in pages[:-1])
    assert sorted(flat(pages)) == sorted(card.video_id for card in feed.world.cards)


@pytest.mark.parametrize("profile", ["similarity", "chronological", "blend"])
def test_walk_goes_on_when_there_are_more_videos_than_one_ranking_holds(feed, profile: str) -> None:
    """E10: 950 videos in rankings of 400; every one comes, once, and only the last page is short."""
    feed.world.fill(950)
    feed.states["u"] = feed.world.watch(None, feed.world.cards[:8])
    pages = feed.walk(profile=profile, limit=30)
    assert all(len(page) == 30 for page in pages[:-1])
    assert sorted(flat(pages)) == sorted(card.video_id for card in feed.world.cards)
    if profile == "chronological":
        assert flat(pages) == sorted(flat(pages))


@pytest.mark.parametrize("profile", [*DOCUMENTED, "blend", "chronological", "trending"])
def test_score_is_the_weighted_sum_when_explained(feed, profile: str) -> None:
    """E9: profile, signals, weights and reason of every item."""
    feed.world.fill(40)
    feed.world.heat("video-00007", 12.0, likes=3)
    feed.states["u"] = feed.world.watch(None, feed.world.cards[:8])
    feed.states["u"] = apply_fact(
        feed.states["u"],
        UserFact(kind="feed.feedback", user_id="u", at=1.0, target="tag:kind1", detail="less"),
    )
    for item in feed.page(profile=profile, limit=40).items:
        total = sum(signal["value"] * signal["weight"] for signal in item.signals.values())
        assert item.score == pytest.approx(total, abs=1e-5)
        assert item.reason
        assert set(PROFILES[profile].weights) <= set(item.signals)
        assert item.card.embedding == b""


def test_order_is_the_same_when_asked_again(feed) -> None:
    """E26, and a second engine over the same inputs agrees."""
    feed.world.fill(80)
    feed.states["u"] = feed.world.watch(None, feed.world.cards[:8])
    first = feed.walk()
    feed.engine = FeedEngine(feed.world.catalogue, feed.states.get)
    assert feed.walk() == first


def test_ties_go_to_the_newer_then_the_smaller_id_when_scores_are_equal(feed) -> None:
    """E26."""
    for number in (3, 1, 2):
        feed.world.catalogue.upsert(feed.world.card(number, created_at=feed.world.now - 50.0, embedding=b""))
    feed.world.catalogue.upsert(feed.world.card(0, created_at=feed.world.now - 10.0, embedding=b""))
    assert ids(feed.page(None)) == ["video-00000", "video-00001", "video-00002", "video-00003"]


def test_nothing_repeats_when_the_ranking_is_gone(feed) -> None:
    """E53: an expired ranking or a restart goes on from a fresh one."""
    feed.world.fill(90)
    shown: list[str] = []
    cursor = None
    for _ in range(10):
        page = feed.page(cursor=cursor)
        shown += ids(page)
        cursor = page.next_cursor
        feed.engine = FeedEngine(feed.world.catalogue, feed.states.get)
        feed.world.now += 4_000.0
        if cursor is None:
            break
    assert sorted(shown) == sorted(card.video_id for card in feed.world.cards)


def test_removed_video_is_passed_over_when_its_page_comes(feed) -> None:
    """D14: and the page is still full; a reused number shows nothing that was not ranked."""
    feed.world.fill(60)
    first = feed.page()
    later = ids(feed.page(cursor=first.next_cursor))
    feed.world.catalogue.remove(later[0])
    feed.world.catalogue.upsert(feed.world.card(500))
    second = feed.page(cursor=first.next_cursor)
    assert later[0] not in ids(second)
    assert "video-00500" not in ids(second)
    assert len(second.items) == 20


@pytest.mark.parametrize(
    ("changes", "visible_to"),
    [
        ({"visibility": "PRIVATE"}, {"owner"}),
        ({"visibility": "FOLLOWERS_ONLY"}, {"owner", "fan"}),
        ({"moderation_status": "rejected"}, set()),
        ({"moderation_status": "flagged"}, set()),
        ({}, {"owner", "fan", "stranger", None}),
    ],
)
def test_video_is_hidden_when_the_viewer_may_not_see_it(feed, changes, visible_to) -> None:
    """E5, E52."""
    feed.world.catalogue.upsert(feed.world.card(1, creator="owner", **changes))
    graph = {"fan": frozenset({"owner"})}
    for viewer in ("owner", "fan", "stranger", None):
        page = feed.page(viewer, following=graph.get(viewer or "", frozenset()))
        assert bool(page.items) == (viewer in visible_to), viewer
    assert not feed.page("fan", blocked=frozenset({"owner"})).items


@pytest.mark.parametrize("target", ["video:video-00000", "creator:creator-0", "tag:KIND0"])
def test_target_is_gone_when_not_interested(feed, target: str) -> None:
    """Y4: at once, also from a ranking that is being paged."""
    feed.world.fill(30)
    feed.states["u"] = feed.world.watch(None, feed.world.cards[1:8])
    first = feed.page(limit=5)
    fact = UserFact(
        kind="feed.feedback", user_id="u", at=feed.world.now, target=target, detail="not_interested"
    )
    feed.states["u"] = apply_fact(feed.states["u"], fact)
    left = [
        card
        for page in (feed.page(limit=50), feed.page(limit=50, cursor=first.next_cursor))
        for card in page.items
    ]
    assert left
    for item in left:
        assert item.video_id != "video-00000"
        assert target != f"creator:{item.card.creator_id}"
        assert target.lower() != f"tag:{item.card.tags[0]}"


def test_creator_moves_when_less_or_more_is_wished(feed) -> None:
    """Y4: a wish is a signal of its own, and the documented weights stay."""
    feed.world.fill(30)
    feed.states["u"] = feed.world.watch(None, feed.world.cards[:8])
    target = feed.page().items[0]
    for kind, sign in (("less", -1), ("more", 1)):
        fact = UserFact(
            kind="feed.feedback",
            user_id="u",
            at=sign + 5.0,
            target=f"creator:{target.card.creator_id}",
            detail=kind,
        )
        feed.states["u"] = apply_fact(feed.states["u"], fact)
        item = next(i for i in feed.page(limit=50).items if i.video_id == target.video_id)
        assert item.signals["wishes"]["value"] * sign > 0
        assert (item.score - target.score) * sign > 0


def test_creator_share_is_limited_when_others_are_left(feed) -> None:
    """E6: at most half a page of one creator, and pages stay full when only that one is left."""
    for number in range(40):
        creator = "flood" if number < 30 else f"other-{number}"
        feed.world.catalogue.upsert(feed.world.card(number, creator=creator))
    pages = feed.walk(profile="hybrid")
    creators = [feed.world.catalogue.get(video).creator_id for video in pages[0]]
    assert creators.count("flood") == 20  # cold start: trending has no share limit
    feed.states["u"] = feed.world.watch(None, [feed.world.card(n, creator="else") for n in range(900, 906)])
    first = feed.page(profile="hybrid")
    assert [item.card.creator_id for item in first.items].count("flood") == 10
    assert sorted(len(page) for page in feed.walk(profile="hybrid")) == [20, 20]


def test_first_page_is_kept_for_a_minute_when_nothing_changed(feed) -> None:
    """E8, E43; a new preference, a new video or an invalidation ends it."""
    feed.world.fill(30)
    feed.states["u"] = feed.world.watch(None, feed.world.cards[:8])
    assert not feed.page().cache_hit
    assert feed.page(now=feed.world.now + 59).cache_hit
    assert not feed.page(now=feed.world.now + 61).cache_hit
    assert feed.page(now=feed.world.now + 62).cache_hit
    feed.states["u"] = feed.world.watch(feed.states["u"], feed.world.cards[8:9], Action.LIKE)
    assert not feed.page(now=feed.world.now + 62).cache_hit
    feed.engine.invalidate("u")
    assert not feed.page(now=feed.world.now + 62).cache_hit
    feed.world.catalogue.upsert(feed.world.card(700, created_at=feed.world.now))
    page = feed.page(now=feed.world.now + 65, limit=50)
    assert not page.cache_hit
    assert "video-00700" in ids(page)


def test_feed_is_by_recency_and_says_so_when_the_index_fails(feed, monkeypatch) -> None:
    """O25."""
    feed.world.fill(30)
    feed.states["u"] = feed.world.watch(None, feed.world.cards[:8])

    def broken(*_: object) -> None:
        raise RuntimeError("index file is gone")

    monkeypatch.setattr(feed.world.catalogue, "nearest_numbers", broken)
    heard: list[Exception] = []
    feed.engine = FeedEngine(feed.world.catalogue, feed.states.get, on_failure=heard.append)
    page = feed.page()
    assert page.degraded
    assert "index file is gone" in str(heard)
    assert ids(page) == [f"video-{number:05d}" for number in range(20)]


def test_watched_videos_follow_when_the_profile_demotes_them(feed) -> None:
    """E45, Y4."""
    feed.world.fill(30)
    feed.states["u"] = feed.world.watch(None, feed.world.cards[:8])
    order = [video for page in feed.walk(profile="blend") for video in page]
    assert sorted(order[-8:]) == [f"video-{number:05d}" for number in range(8)]
    excluding = {"similarity": Profile("similarity", PROFILES["similarity"].weights, watched="exclude")}
    feed.engine = FeedEngine(feed.world.catalogue, feed.states.get, excluding)
    assert len(flat(feed.walk())) == 22


def test_exploration_follows_the_seed_when_blending(feed) -> None:
    """Y4: a tenth of the first page, the same inside a session, another in another session."""
    feed.world.fill(200)
    feed.states["u"] = feed.world.watch(None, feed.world.cards[:8])
    pages = {seed: feed.page(profile="blend", session_seed=seed) for seed in (1, 2)}
    again = feed.page(profile="blend", session_seed=1)
    assert ids(again) == ids(pages[1])
    explored = {
        seed: [item.video_id for item in page.items if item.reason == "exploration"]
        for seed, page in pages.items()
    }
    assert len(explored[1]) == len(explored[2]) == 2
    assert explored[1] != explored[2]
    assert len(set(flat(feed.walk(profile="blend", session_seed=1)))) == 200


def test_only_tagged_videos_come_when_a_tag_is_asked(feed) -> None:
    """E32, E49."""
    feed.world.fill(30)
    page = feed.page(None, profile="trending", tag="Kind1", limit=50)
    assert {item.card.tags for item in page.items} == {("kind1",)}
    assert len(page.items) == 10
    assert not feed.page(None, tag="nothing").items


def test_unfollowed_creators_are_left_out_when_creators_are_given(feed) -> None:
    """E30: the following surface is chronological over the followed."""
    feed.world.fill(30)
    page = feed.page(profile="chronological", creators=frozenset({"creator-1", "creator-2"}))
    assert {item.card.creator_id for item in page.items} == {"creator-1", "creator-2"}
    assert ids(page) == sorted(ids(page))
    assert not feed.page(profile="chronological", creators=frozenset()).items


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"profile": "best"}, "profile"), ({"limit": 0}, "limit"), ({"cursor": "zz"}, "cursor")],
)
def test_request_is_refused_when_malformed(feed, changes, field: str) -> None:
    feed.world.fill(3)
    with pytest.raises(ValidationFailed) as caught:
        feed.page(**changes)
    assert caught.value.details["field"] == field


def test_cursor_of_another_viewer_shows_nothing_of_theirs_when_used(feed) -> None:
    """A cursor is bound to its viewer: used by another it goes on in that one's own ranking."""
    feed.world.fill(30)
    feed.world.catalogue.upsert(feed.world.card(31, creator="u", visibility="PRIVATE"))
    cursor = feed.page("u", limit=5).next_cursor
    assert "video-00031" in ids(feed.page("u", limit=50, cursor=cursor))
    assert "video-00031" not in ids(feed.page("v", limit=50, cursor=cursor))


def test_state_survives_encoding_when_stored() -> None:
    """Z4: a table value is rebuilt bit-equal from its changelog record."""
    from tables.reducers.preferences import EMPTY, UserPreference

    assert msgspec.json.decode(msgspec.json.encode(EMPTY), type=UserPreference) == EMPTY
