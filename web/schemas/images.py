"""Images (B38, H15)."""

from typing import Literal

from pydantic import BaseModel, Field

from web.schemas.base import Answer, Body, Time

MAX_ALT_CHARS = 1500


class ImageForm(BaseModel):
    """The multipart form; parts may come in any order."""

    file: bytes = Field(
        description="JPEG, PNG, WebP, GIF, AVIF or HEIC, up to 32 MiB.",
        json_schema_extra={"format": "binary"},
    )
    alt_text: str = Field("", max_length=MAX_ALT_CHARS, description="What is to be seen, for who cannot.")


class ImagePatch(Body):
    """What is to be said of an image from now on."""

    alt_text: str = Field(description="Up to 1,500 characters.")


class ImageVariant(Answer):
    """One form of an image; it is never larger than the upload."""

    variant: Literal["small", "medium", "large", "original"]
    mime: Literal["image/jpeg", "image/webp"]
    width: int
    height: int
    size_bytes: int
    url: str = Field(description="Signed, for some hours.")


class ImageAnswer(Answer):
    """An image: its variants once it is READY, or why it FAILED."""

    id: str
    status: Literal["PENDING", "READY", "FAILED"]
    alt_text: str
    fail_code: str | None
    fail_reason: str | None
    width: int | None = Field(description="Of the upload, upright.")
    height: int | None
    placeholder: str | None = Field(description="A BlurHash, to be drawn until the picture is there.")
    dominant_color: str | None = Field(description="As #rrggbb.")
    variants: list[ImageVariant]
    created_at: Time
    updated_at: Time
