"""Feeds (INTERFACE Feeds, E27, E29, Y4)."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from web.schemas.base import Answer, Body, Limit, Page, Query, Time
from web.schemas.videos import Creator, Playback, Thumbnails

Profile = Annotated[
    str,
    Field(max_length=50, description="similarity, video, social, hybrid, blend, chronological or trending."),
]


class FeedQuery(Page):
    """Which feed: ``profile`` wins over ``algo`` (``ch`` is social, ``time`` chronological; E25)."""

    profile: Profile | None = None
    algo: Literal["ch", "time"] | None = None
    tag: Annotated[str | None, Field(min_length=1, max_length=50, description="Only with this tag.")] = None

    def chosen(self) -> str:
        """Return the profile in force; without either it is social (E25)."""
        return self.profile or ("chronological" if self.algo == "time" else "social")


class TrendingQuery(FeedQuery):
    """Which trends: ``category`` is the tag that videos carry (E32, E49)."""

    category: Annotated[str | None, Field(min_length=1, max_length=50, description="As `tag`.")] = None

    def chosen_tag(self) -> str | None:
        """Return the tag in force."""
        return self.category or self.tag


class TrendingTagsQuery(Query):
    """How many tags."""

    limit: Limit = 20


class TagHour(Answer):
    """Views and actions of one hour."""

    hour: Time = Field(description="Start of the hour.")
    count: int


class TrendingTag(Answer):
    """One tag that moves."""

    tag: str
    score: float = Field(description="Engagement that halves every six hours, squashed to 0..1 (F22).")
    events_24h: int = Field(description="Views and actions of public videos with it, last 24 hours.")
    videos: int = Field(description="Public videos with it.")
    hours: list[TagHour] = Field(description="Hours with anything in them, last 24, oldest first (F31).")


class TrendingTags(Answer):
    """Tags that move, hottest first (E37)."""

    items: list[TrendingTag]
    next_cursor: None = None
    as_of: Time


class Signal(Answer):
    """One number behind a place in the feed."""

    value: float
    weight: float


class FeedItem(Answer):
    """A playable video and why it is here."""

    id: str
    title: str
    description: str
    tags: list[str]
    creator: Creator
    duration_seconds: float
    width: int
    height: int
    created_at: Time
    thumbnails: Thumbnails
    playback: Playback
    view_count: int
    like_count: int
    comment_count: int
    share_count: int
    liked: bool
    saved: bool
    score: float
    reason: str
    signals: dict[str, Signal]


class FeedAnswer(Answer):
    """A page of a feed."""

    items: list[FeedItem]
    next_cursor: str | None
    profile: str
    ranked_by: str = Field(description="The profile in effect: trending for a newcomer.")
    degraded: bool = Field(description="Whether a fallback made this page (O33).")


class SimilarityAnswer(Answer):
    """Document 000's page."""

    videos: list[FeedItem]
    cursor: str | None


class FeedbackRequest(Body):
    """What the caller wants of the feed: about exactly one of video, creator, tag."""

    video_id: str | None = None
    creator_id: str | None = None
    tag: str | None = Field(None, min_length=1, max_length=100)
    kind: Literal["not_interested", "less", "more"]

    @model_validator(mode="after")
    def _one_target(self) -> "FeedbackRequest":
        if len(self.named()) != 1:
            raise ValueError("name exactly one of video_id, creator_id, tag")
        return self

    def named(self) -> list[tuple[str, str]]:
        """Return what it is about: kind and name."""
        asked = (("video", self.video_id), ("creator", self.creator_id), ("tag", self.tag))
        return [(kind, name) for kind, name in asked if name is not None]
