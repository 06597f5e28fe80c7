"""Encoders on other machines: what operators see of them, and the protocol that they speak (Y14)."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from web.schemas.base import Answer, Body, Query, Time

PLAIN = r"^[^\x00-\x1f\x7f]*$"
Words = Annotated[str, Field(max_length=64)]


class EncoderAnswer(Answer):
    """An encoder, what it last said of itself, and how its jobs ended."""

    name: str
    capabilities: dict[str, Any]
    jobs: list[str] = Field(description="That it holds of the asked worker's queue.")
    done: int
    failed: int
    refused: int = Field(description="Results that were not what the job makes.")
    created_at: Time
    seen_at: Time | None
    revoked_at: Time | None


class EncoderList(Answer):
    """All encoders, by name."""

    items: list[EncoderAnswer]


class EncoderRequest(Body):
    """Which encoder to make; a known one gets a new token."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")


class EncoderMade(Answer):
    """An encoder with its token, which is not shown again."""

    encoder: EncoderAnswer
    token: str


class WorkRequest(Body):
    """What an encoder is able to do, and how long it waits for a job."""

    codecs: list[Words] = Field(["h264"], max_length=32, description="Has to name h264.")
    hardware: list[Words] = Field([], max_length=32, description="Encoders beside libx264 that open.")
    cores: int = Field(1, ge=1, le=4096)
    max_pixels: int = Field(8192 * 4352, ge=1, description="Of a picture of the source, at most.")
    software: str = Field("", max_length=128)
    resume: str = Field("", max_length=256, description="Of an older offer: that job again, or none.")
    wait_seconds: float = Field(0.0, ge=0, le=25, description="How long to wait when there is none.")


class InputAnswer(Answer):
    """A file to read: `source`, or captions by language."""

    name: str
    size_bytes: int
    url: str = Field(description="Relative, signed; ranges are honoured; opens while the lease holds.")


class OfferAnswer(Answer):
    """A job under a lease that ends without a sign of life."""

    lease_id: str
    lease_seconds: float
    job_id: str
    video_id: str
    attempt: int
    ladder: str
    preset: str
    playable: bool = Field(description="Whether a first rung is welcome before the others.")
    settings: dict[str, Any]
    inputs: list[InputAnswer]
    resume: str = Field(description="Shows that this encoder had it, when the lease is lost.")


class WorkAnswer(Answer):
    """The next job, or none."""

    job: OfferAnswer | None


class ProgressRequest(Body):
    """How far it is; every request about a lease extends it."""

    percent: float | None = Field(None, ge=0, le=100)
    stage: str = Field("", max_length=32, pattern=r"^[a-z]*$")


class ProgressAnswer(Answer):
    """Whether to go on."""

    wanted: bool = Field(description="False: stop, nobody wants it any more; the lease has ended.")
    lease_seconds: float


class MadeRequest(Body):
    """What the owner should know of what was made; all else is read from the files."""

    notes: list[Annotated[str, Field(max_length=300, pattern=PLAIN)]] = Field([], max_length=8)


class FailureRequest(Body):
    """Why it cannot be done."""

    code: str = Field("TRANSCODE_ERROR", max_length=64, pattern=r"^[A-Z][A-Z_]*$")
    reason: str = Field(max_length=500, pattern=PLAIN, description="For the owner.")
    retryable: bool = True
    said: str = Field("", max_length=4000, description="For operators.")


class InputQuery(Query):
    """The signature of an address."""

    expires: int = Field(ge=0, le=2**40)
    signature: str = Field(max_length=128)


class FileHeaders(BaseModel):
    """Of an output on its way."""

    digest: str = Field(
        alias="Content-Digest",
        max_length=128,
        pattern=r"^sha-256=:[A-Za-z0-9+/]{43}=:$",
        description="SHA-256 of the body (RFC 9530).",
    )
