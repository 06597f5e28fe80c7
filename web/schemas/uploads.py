"""Upload sessions in the words of documents 000 (snake_case) and 001 (camelCase), C16, A18, A26-A30, A42."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from web.schemas.base import Answer, Body, Time
from web.schemas.videos import Source, Status

State = Literal["INITIATED", "IN_PROGRESS", "PAUSED", "COMPLETED", "FAILED", "CANCELED", "EXPIRED"]
State000 = Literal["active", "completed", "expired", "failed"]
PolicyName = Literal["short", "long"]
Name = Annotated[str, StringConstraints(max_length=1024)]
Mime = Annotated[str, StringConstraints(max_length=127)]
CAMEL = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True)


class Draft(Body):
    """A video whose source comes later (C16)."""

    title: str
    description: str = ""
    tags: list[str] = Field([], max_length=100)
    visibility: str = "PUBLIC"
    source_mime: Mime | None = None
    source_size_bytes: int | None = None
    policy: PolicyName = "long"
    hashtags: list[str] = Field([], max_length=100)
    content_type: str = "original"
    audio_url: str | None = None


class CamelDraft(Draft):
    """A video whose source comes later, in 001's words (C16)."""

    model_config = CAMEL


class CamelSource(Source):
    """What the source is, in 001's words."""

    model_config = CAMEL


class CamelDraftAnswer(Answer):
    """A video that waits for its source, in 001's words (C16)."""

    model_config = CAMEL

    id: str
    owner_id: str
    title: str
    description: str
    source: CamelSource
    status: Status
    created_at: Time
    updated_at: Time


class ChunkedRequest(Body):
    """Announces a file in chunks (A18); `checksum` is the SHA-256 of all of it, in hex."""

    filename: Name
    file_size: int
    total_chunks: int
    checksum: str | None = None
    policy: PolicyName = "short"
    mime: Mime | None = None


class ChunkedSession(Answer):
    """The session of a file in chunks."""

    session_id: str
    total_chunks: int
    chunk_size: int = Field(description="What all chunks but the last have when they are cut evenly.")
    expires_at: Time
    status: State000


class ChunkAnswer(Answer):
    """A chunk that is durable."""

    chunk_number: int
    size: int
    etag: str
    received: int = Field(description="How many chunks have arrived.")
    remaining: int
    status: State000


class FinalizeRequest(Body):
    """What the video is called (A12, A18)."""

    title: str
    description: str = ""
    tags: list[str] = Field([], max_length=100)
    visibility: str = "PUBLIC"
    hashtags: list[str] = Field([], max_length=100)
    content_type: str = "original"
    audio_url: str | None = None


class SessionRequest(Body):
    """Announces the source of a video, in parts (A26)."""

    source_mime: Mime | None = None
    source_size_bytes: int
    checksum: str | None = None


class CamelSessionRequest(SessionRequest):
    """Announces the source of a video, in 001's words (A26)."""

    model_config = CAMEL


class PartState(Answer):
    """A part that has arrived (A52)."""

    part_number: int
    size_bytes: int
    etag: str


class CamelPartState(PartState):
    """A part that has arrived, in 001's words."""

    model_config = CAMEL


class UploadSessionAnswer(Answer):
    """An upload session (A13, A25, A27, A52).

    `status` is in the words of the document that opened it: 000's for chunks, else 001's, which `state`
    always has.
    """

    upload_session_id: str
    session_id: str
    video_id: str | None
    provider: str
    status: State | State000
    state: State
    fail_code: str | None
    filename: str | None
    source_mime: str | None
    source_size_bytes: int | None
    bytes_uploaded: int
    part_size_bytes: int
    part_count: int | None = Field(description="Chunks or parts of the whole file.")
    received_chunks: list[int]
    parts: list[PartState]
    progress: float = Field(ge=0, le=100, description="With the bytes that are arriving (A39).")
    created_at: Time
    expires_at: Time | None


class CamelSessionAnswer(Answer):
    """An upload session in 001's words (A26, A27, A30)."""

    model_config = CAMEL

    upload_session_id: str
    video_id: str | None
    status: State
    fail_code: str | None
    bytes_uploaded: int
    part_size_bytes: int
    part_count: int | None
    parts: list[CamelPartState]
    progress: float = Field(ge=0, le=100)
    expires_at: Time | None


class PartsRequest(Body):
    """Asks where parts may be sent: one, or several at once (A28, A51)."""

    part_number: int | None = None
    part_numbers: list[int] | None = None

    @model_validator(mode="after")
    def _either(self) -> Self:
        if (self.part_number is None) == (self.part_numbers is None):
            raise ValueError("one of part_number and part_numbers is required")
        return self

    @property
    def numbers(self) -> list[int]:
        """The part numbers asked for."""
        return [self.part_number] if self.part_number is not None else self.part_numbers or []


class CamelPartsRequest(PartsRequest):
    """Asks where parts may be sent, in 001's words."""

    model_config = CAMEL


class PartTarget(Answer):
    """Where one part may be sent by PUT, with exactly this size."""

    part_number: int
    upload_url: str
    size_bytes: int
    expires_at: Time


class CamelPartTarget(PartTarget):
    """Where one part may be sent, in 001's words."""

    model_config = CAMEL


class PartsAnswer(Answer):
    """Where parts may be sent; the first fields repeat the part when one was asked for."""

    part_number: int | None
    upload_url: str | None
    expires_at: Time | None
    parts: list[PartTarget]


class CamelPartsAnswer(Answer):
    """Where parts may be sent, in 001's words."""

    model_config = CAMEL

    part_number: int | None
    upload_url: str | None
    expires_at: Time | None
    parts: list[CamelPartTarget]


class NamedPart(Body):
    """A part as the client knows it."""

    part_number: int
    etag: Annotated[str, StringConstraints(max_length=255)]


class CamelNamedPart(NamedPart):
    """A part as the client knows it, in 001's words."""

    model_config = CAMEL


class CompleteRequest(Body):
    """All parts with their ETags (A29); without a list, what has arrived is taken."""

    parts: list[NamedPart] | None = Field(None, max_length=10_000)


class CamelCompleteRequest(Body):
    """All parts with their ETags, in 001's words (A29)."""

    parts: list[CamelNamedPart] | None = Field(None, max_length=10_000)


class SignedQuery(BaseModel):
    """What a signed part URL carries (A50)."""

    model_config = ConfigDict(extra="ignore")

    size: int = Field(ge=0, lt=2**53)
    expires: int = Field(ge=0, lt=2**53)
    signature: str = Field(max_length=128)


class UploadReport(Body):
    """What the store reports of an upload (A42); signed in the header `X-Signature`."""

    model_config = CAMEL | ConfigDict(extra="ignore")

    upload_session_id: str
    video_id: str
    status: Literal["COMPLETED", "FAILED"]
    source_file_key: str | None = None
    source_size_bytes: int | None = None
    source_mime: str | None = None
