"""Encoding jobs: what operators see and decide, what owners ask for, what outside workers report."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from web.schemas.base import Answer, Body, Page, Time

JobState = Literal["queued", "processing", "completed", "failed"]
Priority = Annotated[int, Field(ge=-100, le=100, description="The highest waiting one is next.")]


class JobAnswer(Answer):
    """A job; the numbers are measured, never guessed."""

    id: str
    video_id: str
    owner_id: str
    title: str
    video_status: str
    status: JobState
    priority: int
    progress: float
    stage: str | None
    ladder: str
    qualities: list[str] = Field(description="What was asked for, when it is not the ladder.")
    preset: str | None
    outputs: list[str] = Field(description="Rungs that are finished.")
    attempts: int
    error_code: str | None
    error: str | None
    notes: list[str] = Field(description="What is not as expected of what was made, such as damaged sound.")
    created_at: Time
    started_at: Time | None
    completed_at: Time | None


class JobWhole(JobAnswer):
    """A job with what is left of its last failed try, for a week."""

    partial: dict[str, Any] | None = Field(description="Why, what the encoder said, files that it had made.")


class JobList(Answer):
    """A page of jobs, newest first."""

    items: list[JobAnswer]
    next_cursor: str | None


class JobQuery(Page):
    """Which jobs."""

    status: JobState | None = None
    owner_id: str | None = Field(None, max_length=64)


class PriorityRequest(Body):
    """How urgent a job is."""

    priority: Priority


class QueueRequest(Body):
    """What to change; what is left out stays."""

    paused: bool | None = None
    reason: str = Field("", max_length=255, description="Why it is paused.")
    slots: int | None = Field(None, ge=0, le=64, description="Jobs at once in a worker; 0: its own setting.")


class QueueAnswer(Answer):
    """The queue of all workers."""

    paused: bool
    reason: str
    slots: int | None
    queued: int
    processing: int


class EncodingRequest(Body):
    """What a READY video is to be encoded to, beside what it has."""

    qualities: list[str] = Field([], max_length=7, description="Rungs; none: those of the ladder.")
    ladder: str = Field("core", max_length=16)
    preset: str = Field("", max_length=16, description="Of the encoder; empty: the server's.")
    priority: int | None = Field(None, description="Operators choose it.")


class _Reported(BaseModel):
    """The reports are document 001's, in camel case; what they have beside is passed over."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")


class ReportedAsset(_Reported):
    """One stored output."""

    type: str = Field(max_length=32)
    quality: str | None = Field(None, max_length=32)
    bandwidth: int | None = Field(None, ge=0)
    width: int | None = Field(None, ge=0)
    height: int | None = Field(None, ge=0)
    codec: str | None = Field(None, max_length=127)
    container: str | None = Field(None, max_length=32)
    file_key: str = Field(max_length=512)


class TranscodingReport(_Reported):
    """What an outside worker reports of a video: READY with its assets, or FAILED with a reason."""

    video_id: str = Field(max_length=64)
    status: Literal["READY", "FAILED"]
    duration_seconds: float | None = Field(None, ge=0)
    width: int | None = Field(None, ge=0)
    height: int | None = Field(None, ge=0)
    assets: list[ReportedAsset] = Field([], max_length=200)
    fail_reason: str | None = Field(None, max_length=2000)
