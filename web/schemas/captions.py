"""Captions of videos (Y6)."""

from pydantic import Field

from web.schemas.base import Answer, Time


class CaptionLink(Answer):
    """Captions in one language."""

    language: str = Field(description="A BCP 47 tag.")
    name: str = Field(description="The language in itself.")
    url: str = Field(description="The WebVTT file, signed.")


class CaptionAnswer(CaptionLink):
    """Captions in one language, as their owner gave them."""

    size_bytes: int
    updated_at: Time


class CaptionGiven(CaptionAnswer):
    """What became of captions that were given."""

    published: bool = Field(
        description="Whether players get them from now on; else when the encode to come or at work ends."
    )


class CaptionList(Answer):
    """The captions of a video, by language; there is one page."""

    items: list[CaptionAnswer]
    next_cursor: str | None = None
