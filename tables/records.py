"""What flows on the topics: one record type each, encoded with msgspec.

Pure data, no behaviour: reducers and agents share it, so it lives below both. Times are seconds since
the epoch, UTC; durations carry their unit in the name. Fields are only ever added, with a default: old
records stay readable (Z3, F2, DESIGN section 8).
"""

from enum import StrEnum
from typing import Annotated

import msgspec

#: Seconds since the epoch before 2100, and lengths of at most a year: what lies outside is no time, and is
#: refused where it is decoded, before it can spoil a sum.
Moment = Annotated[float, msgspec.Meta(ge=0, le=4_102_444_800)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=366 * 86_400)]


class Action(StrEnum):
    """What a viewer did (F2)."""

    WATCH_START = "watch_start"
    WATCH_25 = "watch_25"
    WATCH_50 = "watch_50"
    WATCH_75 = "watch_75"
    WATCH_COMPLETE = "watch_complete"
    LIKE = "like"
    UNLIKE = "unlike"
    SHARE = "share"
    COMMENT = "comment"
    UNCOMMENT = "uncomment"
    SAVE = "save"
    UNSAVE = "unsave"
    NOT_INTERESTED = "not_interested"


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The base of all records.

    Records and the rows of hot tables are trees, in which nothing refers back: the garbage collector need
    not walk through millions of them (``gc=False``), which would stop the loop for as long.
    """


class VideoUploaded(Record, frozen=True, kw_only=True):
    """A source is stored and ready to process. Topic ``video.uploaded``, key video id (A22, A47)."""

    video_id: str
    owner_id: str
    source_key: str
    size_bytes: int
    mime: str
    policy: str
    at: float


class MediaJob(Record, frozen=True, kw_only=True):
    """One encode to do. Topic ``media.jobs``, key video id (B2).

    ``ladder`` names a selection, or rungs with ``+`` between them; ``preset`` is the encoder's, empty for the
    server's own (B44). Of waiting jobs the highest ``priority`` is next, and among the people who wait with
    it whoever was served least. ``pixels`` of a picture of the source, 0 where it is not known.
    """

    job_id: str
    video_id: str
    source_key: str
    ladder: str
    title: str = ""
    attempt: int = 0
    owner_id: str = ""
    priority: int = 0
    preset: str = ""
    pixels: int = 0


class Asset(Record, frozen=True, kw_only=True):
    """One stored output of an encode (B33). Sizes in pixels, bandwidth in bit/s."""

    type: str
    key: str
    quality: str | None = None
    bandwidth: int | None = None
    width: int | None = None
    height: int | None = None
    codec: str | None = None
    container: str | None = None
    size_bytes: int | None = None


class MediaResult(Record, frozen=True, kw_only=True):
    """Progress or outcome of a job. Topic ``media.results``, key video id (B5, B35, B49)."""

    job_id: str
    video_id: str
    outcome: str  # "progress", "playable" (a first rung, more to come), "completed" or "failed"
    at: float
    progress: float | None = None  # 0..100, None when it cannot be known
    stage: str = ""  # "probing", "transcoding", "packaging", "pictures", "storing"
    duration_seconds: float | None = None
    width: int | None = None
    height: int | None = None
    assets: tuple[Asset, ...] = ()
    fail_code: str | None = None
    fail_reason: str | None = None
    notes: tuple[str, ...] = ()  # what the owner should know of what was made


class ImageJob(Record, frozen=True, kw_only=True):
    """An image whose variants are to be made. Topic ``media.images``, key image id (B38)."""

    image_id: str
    at: float


class EngagementEvent(Record, frozen=True, kw_only=True):
    """One thing a user did to a video. Topic ``events.engagement``, key user id (F1, F2).

    ``duration_seconds`` and ``owner_id`` are the video's, resolved at the edge, so that folding needs no
    look-up. ``relation_seq`` is the outbox sequence of a fact born in the database (likes, saves,
    comments), None for client events. ``more`` makes the record an envelope: the further events of the
    same user that came with it, in order (F3); ``events_of`` takes it apart.
    """

    event_id: str
    user_id: str
    video_id: str
    action: Action
    occurred_at: Moment
    owner_id: str = ""
    duration_seconds: Seconds = 0.0
    watch_seconds: Seconds = 0.0
    bitrate: str = ""
    device: str = ""
    relation_seq: int | None = None
    federated: bool = False
    more: tuple["EngagementEvent", ...] = ()

    def __post_init__(self) -> None:
        """Refuse an envelope whose events are not of one user and one origin, or that nests.

        Raises:
            ValueError: it could not be counted under one key and one offset.
        """
        for event in self.more:
            if event.more or event.user_id != self.user_id or event.federated != self.federated:
                raise ValueError("the events of an envelope are of one user and one origin, one level deep")


def events_of(record: EngagementEvent) -> tuple[EngagementEvent, ...]:
    """Return the events of a record in order; a record without ``more`` is its own only event."""
    return (record, *record.more) if record.more else (record,)


class EngagementDelta(Record, frozen=True, kw_only=True):
    """What stage one decided really changed. Topic ``engagement.deltas``, key content id.

    ``origin_partition`` and ``origin_offset`` name the source event, so that stage two can skip a delta
    that was emitted again after a crash (DESIGN invariant 1). So one source record makes at most one delta
    per content: what an envelope changed in other hours is in ``more``, guarded by the outer origin.
    """

    content_id: str
    origin_partition: int
    origin_offset: int
    at: float
    views: int = 0
    viewers: int = 0
    likes: int = 0
    comments: int = 0
    shares: int = 0
    saves: int = 0
    completes: int = 0
    completion: float = 0.0  # change of the sum over viewers of the best fraction reached, 0..1 each
    watch_ms: int = 0
    federated: bool = False
    switches: int = 0  # changes of the rung within a view (F23)
    bins: dict[int, int] = {}  # change of viewers by tenth of the video reached, 0..9 (F9)
    more: tuple["EngagementDelta", ...] = ()


class DayCounts(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What happened in one day; changes may be negative (an unlike), sums shown are not."""

    events: int = 0
    views: int = 0
    likes: int = 0
    comments: int = 0
    shares: int = 0
    saves: int = 0
    completes: int = 0
    watch_ms: int = 0
    logins: int = 0
    created: int = 0


class TotalsChange(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one source record, at ``offset``, changed of somebody's days."""

    offset: int
    days: dict[int, DayCounts]


class TotalsDelta(Record, frozen=True, kw_only=True):
    """Changes by day since the epoch (UTC). Topics ``creator.deltas`` and ``user.deltas``, key the person.

    The origin is that of the first source record; what later ones of its slice changed is in ``more``, each
    with its own offset, in order.
    """

    key: str
    origin_partition: int
    origin_offset: int
    days: dict[int, DayCounts]
    more: tuple[TotalsChange, ...] = ()


class TagChange(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one source record, at ``offset``, changed of a tag in one hour: decayed weight, and actions."""

    offset: int
    at: float
    weight: float
    amount: int


class TagDelta(Record, frozen=True, kw_only=True):
    """What a slice of events changed of one tag. Topic ``tag.deltas``, key tag in lower case (E37, F31).

    Changes are in the order of their offsets in ``origin_partition``, and all of one offset stand together,
    so that a slice that comes again, however it is cut, is known change by change.
    """

    tag: str
    origin_partition: int
    changes: tuple[TagChange, ...]


class Shown(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How often one page, at ``offset``, showed something on a day since the epoch (UTC)."""

    offset: int
    day: int
    count: int


class ImpressionDelta(Record, frozen=True, kw_only=True):
    """What a slice of pages showed of a video, or of a creator. Topic ``impression.deltas``, key its id.

    The offsets are guarded as with ``TagDelta``.
    """

    key: str
    origin_partition: int
    changes: tuple[Shown, ...]


class Impressions(Record, frozen=True, kw_only=True):
    """One page of a feed as it was shown. Topic ``events.impressions``, key viewer id (E39, F11).

    ``position`` is the place of the first video in the walk, ``viewer_id`` empty for somebody anonymous;
    ``algorithm`` is the profile in effect, ``reasons`` and ``creators`` go with ``videos``.
    """

    viewer_id: str
    at: float
    algorithm: str
    videos: tuple[str, ...]
    creators: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    position: int = 0
    asked: str = ""


class PairChange(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one source record, at ``offset``, paired with a video; as the fields of ``PairDelta``."""

    offset: int
    at: float
    positives: float
    partners: dict[str, float]


class PairDelta(Record, frozen=True, kw_only=True):
    """Videos that viewers found good together. Topic ``pairs.deltas``, key content id.

    ``positives`` counts whether the viewer found this one good just now, ``partners`` the pairs with it.
    The origin is that of the first source record; what later ones of its slice paired is in ``more``, each
    with its own offset, in order.
    """

    content_id: str
    origin_partition: int
    origin_offset: int
    at: float
    positives: float = 0.0
    partners: dict[str, float] = {}
    more: tuple[PairChange, ...] = ()


class Card(Record, frozen=True, kw_only=True):
    """What ranking and feeds know of a playable video (table ``catalogue``).

    ``embedding`` is float16[512] as bytes, unit length, empty while the embedding is not there yet.
    """

    video_id: str
    creator_id: str
    creator_username: str
    title: str
    created_at: float
    duration_seconds: float
    width: int
    height: int
    description: str = ""
    tags: tuple[str, ...] = ()
    visibility: str = "PUBLIC"
    moderation_status: str = "pending"
    qualities: tuple[str, ...] = ()
    embedding: bytes = b""
    model_version: str = ""


class CatalogueChange(Record, frozen=True, kw_only=True):
    """A card, or the tombstone of one. Topic ``catalogue.changes``, key video id."""

    video_id: str
    at: float
    seq: int = 0  # outbox sequence: a card never replaces one with a higher sequence
    card: Card | None = None


class ContentFact(Record, frozen=True, kw_only=True):
    """A fact about content. Topic ``events.content``, key video id (Z12, C43)."""

    kind: str  # "video.status", "video.ready", "video.updated", "video.deleted"
    video_id: str
    owner_id: str
    at: float
    status: str = ""
    fail_code: str | None = None
    fail_reason: str | None = None


class UserFact(Record, frozen=True, kw_only=True):
    """A fact about a person or the graph. Topic ``events.user``, key user id (Z12)."""

    kind: str
    """user.registered, user.logged_in (``detail``: the session), user.created (``target``: the video),
    user.followed, user.unfollowed, feed.reset, feed.feedback."""
    user_id: str
    at: float
    target: str = ""
    detail: str = ""


class RowChange(Record, frozen=True, kw_only=True):
    """A row of the relational store changed. Topics ``cdc.*``, key ``key`` (F20).

    ``op`` is "c", "u", "d", or "r" for a row that was there before changes were told; ``after`` is the row
    without secrets and counters, None when it is gone. ``seq`` is the outbox sequence: of two records of one
    key the one with the higher is newer.
    """

    op: str
    table: str
    key: str
    at: float
    seq: int = 0
    after: dict[str, object] | None = None


class Notification(Record, frozen=True, kw_only=True):
    """One frame for the recipient's sockets. Topic ``notifications``, key recipient id (I2)."""

    recipient_id: str
    event: str
    data: dict[str, object]
    at: float
