"""Ways to play a video, and what its owner decides of them (C31-C36, C39, C47, R32)."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from web.schemas.base import Answer, Body, Query, Time
from web.schemas.captions import CaptionLink
from web.schemas.videos import Playback

Region = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$")]
MAX_REGIONS = 300


class PlaybackQuery(Query):
    """In which form links are signed."""

    form: Literal["path", "query", "cookies"] = Field(
        "path",
        description="A token in the path, CloudFront's query on single files, or its cookies.",
    )


class Recommended(Answer):
    """What a device of the caller's class should do; rates in bit/s (C47)."""

    device: Literal["web", "ios", "android"]
    start_quality: str
    start_bitrate: int
    max_bitrate: int


class PlaybackAnswer(Playback):
    """How the caller can play a video now."""

    video_id: str
    form: Literal["path", "query", "cookies"]
    expires_at: Time = Field(description="When the links have to be asked for again.")
    quality_choices: list[str] = Field(description="Auto, and the rungs that exist (C39).")
    captions: list[CaptionLink]
    recommendation: Recommended | None


class ArchiveAnswer(Answer):
    """Whether a video's files can be read."""

    video_id: str
    state: Literal["live", "archived", "restoring"]


class RegionsRequest(Body):
    """Regions that a video is not shown in: ISO 3166 letters such as DE or US-CA; an empty list for none."""

    blocked: list[Region] = Field(max_length=MAX_REGIONS)
