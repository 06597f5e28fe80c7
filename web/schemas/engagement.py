"""Events, interactions, counters (INTERFACE Engagement, F2, F8, H12, H13)."""

from datetime import date

from pydantic import Field, RootModel

from tables.records import Action
from web.schemas.base import Answer, Body, Page, Query, Time
from web.schemas.videos import Creator


class ClientEvent(Body):
    """One thing the caller did. ``event_id`` is the idempotency key; see ``rejected`` for what is wrong."""

    event_id: str = Field(description="UUID.")
    video_id: str
    action: Action = Field(description="`watch_25%` and the like are accepted too.")
    watch_seconds: float | None = None
    bitrate: str | None = Field(None, description="Rung shown, such as 720p.")
    device: str | None = Field(None, description="web, ios or android.")
    occurred_at: Time | None = None


class EventBatch(Body):
    """Up to 1,000 events."""

    events: list[ClientEvent] = Field(max_length=1000)


class EventsRequest(RootModel[ClientEvent | EventBatch]):
    """One event or a batch."""


class RejectedEvent(Answer):
    """An event of the batch that was refused."""

    index: int
    code: str
    message: str


class EventsAnswer(Answer):
    """What became of the events; what is accepted survives a crash."""

    accepted: int
    duplicates: int
    rejected: list[RejectedEvent]


class EngagementAnswer(Answer):
    """Public counters of a video, from the table."""

    video_id: str
    views: int
    likes: int
    comments: int
    shares: int
    saves: int
    completion_rate: float | None = Field(description="Mean over viewers, two decimals, null without views.")
    as_of: Time


class Audience(Answer):
    """Who watches; empty when nobody said (X58)."""

    top_countries: list[str] = Field(default_factory=list)
    top_interests: list[str] = Field(default_factory=list)
    age_distribution: dict[str, float] = Field(default_factory=dict)


class HourCount(Answer):
    """Views and actions within one hour."""

    hour: Time = Field(description="Start of the hour.")
    count: int


class AnalyticsAnswer(Answer):
    """F8: what the owner may know."""

    video_id: str
    view_count: int
    like_count: int
    share_count: int
    comment_count: int
    save_count: int
    completion_rate: float | None
    avg_watch_seconds: float | None
    trending_score: float
    impression_count: int = Field(description="How often a feed showed it (E39, F11).")
    bitrate_switches_per_1000_views: float | None = Field(
        description="Changes of the rung within a view, null without views (F23)."
    )
    audience: Audience
    completion_distribution: list[int] = Field(
        description="Viewers by the best tenth of the video that they reached, ten numbers (F9)."
    )
    trajectory: list[HourCount] = Field(description="Hours with anything in them, newest seven days (F9).")
    as_of: Time


class DayTotals(Answer):
    """One day, UTC, of what happened to the caller's videos."""

    date: date
    views: int
    likes: int
    comments: int
    shares: int
    saves: int
    completes: int
    impressions: int
    watch_seconds: float


class TopContent(Answer):
    """One of the caller's videos and its views in the days asked for."""

    video_id: str
    title: str
    views: int


class MyAnalyticsQuery(Query):
    """How far back."""

    days: int = Field(30, ge=1, le=90, description="Days up to today, UTC.")


class MyAnalyticsAnswer(Answer):
    """What happened to the caller's videos (F13, F14)."""

    days: int
    total_views: int
    total_likes: int
    total_comments: int
    total_shares: int
    total_saves: int
    total_completes: int
    total_impressions: int = Field(description="How often feeds showed the caller's videos.")
    watch_seconds: float
    by_day: list[DayTotals] = Field(description="Days with anything in them, oldest first.")
    top_content: list[TopContent] = Field(description="At most ten videos, most views in these days first.")
    as_of: Time


class LikeAnswer(Answer):
    """The relation after the call; calling twice is once (H3, X33)."""

    video_id: str
    liked: bool
    like_count: int


class SaveAnswer(Answer):
    """The relation after the call."""

    video_id: str
    saved: bool
    save_count: int


class ShareRequest(Body):
    """A share; the same event id is the same share."""

    event_id: str | None = Field(None, description="UUID; one is made when it is missing.")


class ShareAnswer(Answer):
    """A recorded share."""

    video_id: str
    event_id: str
    share_count: int
    url: str


class CommentRequest(Body):
    """A comment (H4, H5)."""

    text: str
    parent_id: str | None = None


class CommentAnswer(Answer):
    """A comment."""

    id: str
    video_id: str
    author: Creator
    text: str
    parent_id: str | None = None
    deleted: bool = False
    created_at: Time


class CommentQuery(Page):
    """Which comments: with ``parent_id`` only the replies to that one."""

    parent_id: str | None = None


class CommentList(Answer):
    """A page of comments."""

    items: list[CommentAnswer]
    next_cursor: str | None
