"""Encoders on other machines: who they are, and what they and the server agree on (Y14, B48).

A token is shown once, when it is made, and opens nothing but encoding. What is done with jobs is behind
``EncodingDesk``, which the process that has the queue implements.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol
from uuid import uuid4

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from media.remote import Capabilities, Failure, Offer, Upload
from media.staging import KnownSource
from tables.errors import InvalidToken, Missing, SignatureRefused, ValidationFailed
from tables.relational.engine import Database
from tables.relational.models import MAX_ENCODER_NAME, EncoderRow, VideoRow, moment, seconds, seconds_or_none

TOKEN_PREFIX: Final = "fwe_"  # noqa: S105 - tells scanners of leaked secrets what it is
REMEMBER_SECONDS: Final = 5.0
"""How long a token that was good is not looked up again; one revoked in another process works for so long."""
MAX_REMEMBERED: Final = 1_000
LEASES: Final = "/api/v1/encoding/leases"
LINK_SECONDS: Final = 24 * 3600
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

Count = Literal["done", "failed", "refused"]


@dataclass(frozen=True, slots=True)
class Encoder:
    """An encoder; times in seconds since the epoch."""

    id: str
    name: str
    capabilities: Mapping[str, Any]
    done: int
    failed: int
    refused: int
    created_at: float
    seen_at: float | None
    revoked_at: float | None


class EncodingDesk(Protocol):
    """Gives jobs to encoders elsewhere and takes what they made.

    Whoever does not hold a lease gets LeaseLost (LEASE_LOST), whatever was asked.
    """

    @property
    def lease_seconds(self) -> float:
        """How long nothing may be heard of a holder."""

    def holding(self, encoder: Encoder) -> tuple[str, ...]:
        """Return the ids of the jobs that an encoder holds, of this worker's queue."""

    async def take(
        self, encoder: Encoder, able: Capabilities, wait_seconds: float, resume: str = ""
    ) -> Offer | None:
        """Give out the next job that the encoder is able to do, waiting for one; None when there is none.

        With ``resume``, from an older offer, it is that job or none.

        Raises:
            RateLimitExceeded: RATE_LIMIT_EXCEEDED: its results were refused, it rests a while.
        """

    def input_key(self, lease_id: str, name: str, expires_at: int, signature: str) -> str:
        """Return the object behind a signed address of an input (SIGNATURE_REFUSED)."""

    async def progress(self, encoder: Encoder, lease_id: str, percent: float | None, stage: str) -> bool:
        """Extend the lease and note how far the job is; False when nobody wants it any more."""

    async def put(self, encoder: Encoder, lease_id: str, name: str, upload: Upload) -> None:
        """Take an output; the same name again replaces it.

        Raises:
            OutputRefused: OUTPUT_REFUSED: no name, size or number of files of this job, whose try has failed.
            ChecksumMismatch: CHECKSUM_MISMATCH: it was damaged on its way; send it again.
        """

    async def playable(self, encoder: Encoder, lease_id: str, notes: tuple[str, ...]) -> None:
        """Publish what is there as a first rung, once it is verified (OUTPUT_REFUSED)."""

    async def finish(self, encoder: Encoder, lease_id: str, notes: tuple[str, ...]) -> None:
        """Verify, store and publish what is there; again after success changes nothing (OUTPUT_REFUSED)."""

    async def fail(self, encoder: Encoder, lease_id: str, failure: Failure) -> None:
        """Take a failed try back; whether there is another is the queue's decision (B9)."""

    async def give_back(self, encoder: Encoder, lease_id: str) -> None:
        """Put the job back in its place, as if it had not been taken."""


class InputLinks:
    """Makes and checks addresses of what jobs read: each opens one file while its lease holds.

    They are relative: the encoder knows best under which name it reaches the server.
    """

    def __init__(self, key: bytes, clock: Callable[[], float]) -> None:
        """Take the key that signs, and the clock."""
        self._key = key
        self._clock = clock

    def url(self, lease_id: str, name: str) -> str:
        """Return the address of an input."""
        expires_at = int(self._clock()) + LINK_SECONDS
        signature = self._sign(lease_id, name, expires_at)
        return f"{LEASES}/{lease_id}/inputs/{name}?expires={expires_at}&signature={signature}"

    def check(self, lease_id: str, name: str, expires_at: int, signature: str) -> None:
        """Refuse what was not signed, or is over.

        Raises:
            SignatureRefused: SIGNATURE_REFUSED.
        """
        expected = self._sign(lease_id, name, expires_at)
        if not hmac.compare_digest(expected.encode(), signature.encode(errors="replace")):
            raise SignatureRefused
        if self._clock() >= expires_at:
            raise SignatureRefused("This link has expired.")

    def ticket(self, encoder_id: str, job_id: str, attempt: int) -> str:
        """Return what shows that an encoder had a try of a job."""
        return f"{job_id}.{attempt}.{self._sign(encoder_id, job_id, attempt)}"

    def claimed(self, encoder_id: str, ticket: str) -> tuple[str, int]:
        """Return the job and the try that an encoder had.

        Raises:
            SignatureRefused: SIGNATURE_REFUSED: it had not.
        """
        job_id, _, rest = ticket.partition(".")
        attempt, _, signature = rest.partition(".")
        known = attempt.isascii() and attempt.isdigit() and len(attempt) < 9
        expected = self._sign(encoder_id, job_id, int(attempt)) if known else ""
        if not expected or not hmac.compare_digest(expected.encode(), signature.encode(errors="replace")):
            raise SignatureRefused
        return job_id, int(attempt)

    def _sign(self, lease_id: str, name: str, expires_at: int) -> str:
        text = f"freewill-input\n{lease_id}\n{name}\n{expires_at}"
        return hmac.new(self._key, text.encode(errors="replace"), hashlib.sha256).hexdigest()


class Encoders:
    """Makes, knows and revokes encoders."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        """Take the rows and the clock."""
        self._database = database
        self._clock = clock
        self._known: dict[str, tuple[float, Encoder]] = {}

    async def issue(self, name: str) -> tuple[Encoder, str]:
        """Make an encoder, or give one a new token: the old one opens nothing then.

        Returns:
            The encoder, and the token, which nobody can read again.

        Raises:
            ValidationFailed: VALIDATION_ERROR for a name beyond 64 letters, digits, dots, dashes.
        """
        if len(name) > MAX_ENCODER_NAME or not _NAME.fullmatch(name):
            raise ValidationFailed(
                f"A name has 1 to {MAX_ENCODER_NAME} letters, digits, dots, dashes or underscores.",
                details={"field": "name", "value": name[:MAX_ENCODER_NAME]},
            )
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)

        async def write(session: AsyncSession) -> Encoder:
            row = await _named(session, name)
            if row is None:
                row = EncoderRow(id=str(uuid4()), name=name, capabilities={}, done=0, failed=0, refused=0,
                                 created_at=moment(self._clock()))  # fmt: skip
                session.add(row)
            row.token_hash, row.revoked_at = _hash(token), None
            return _view(row)

        made = await self._database.run(write)
        self._known.clear()
        return made, token

    async def revoke(self, name: str) -> Encoder:
        """End an encoder: its token opens nothing any more, and its jobs go to others.

        Raises:
            Missing: NOT_FOUND.
        """

        async def write(session: AsyncSession) -> Encoder:
            row = await _named(session, name)
            if row is None:
                raise Missing("There is no such encoder.")
            row.revoked_at = row.revoked_at or moment(self._clock())
            return _view(row)

        revoked = await self._database.run(write)
        self._known.clear()
        return revoked

    async def list(self) -> Sequence[Encoder]:
        """Return all encoders by name, revoked ones too."""

        async def read(session: AsyncSession) -> Sequence[Encoder]:
            return [_view(row) for row in await session.scalars(select(EncoderRow).order_by(EncoderRow.name))]

        return await self._database.read(read)

    async def authenticate(self, token: str) -> Encoder:
        """Return whose token it is.

        Raises:
            InvalidToken: INVALID_TOKEN: nobody's, or revoked.
        """
        if not token.startswith(TOKEN_PREFIX):
            raise InvalidToken
        hashed, now = _hash(token), self._clock()
        at, known = self._known.get(hashed, (float("-inf"), None))
        if known is not None and now - at < REMEMBER_SECONDS:
            return known
        found = await self._database.read(lambda session: _holder(session, hashed))
        if found is None:
            raise InvalidToken
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        self._known[hashed] = (now, found)
        return found

    async def seen(self, encoder: Encoder, able: Capabilities) -> None:
        """Note that an encoder asked for work, and what it says of itself."""

        async def write(session: AsyncSession) -> None:
            row = await session.get(EncoderRow, encoder.id)
            if row is not None:
                row.seen_at, row.capabilities = moment(self._clock()), msgspec.to_builtins(able)

        await self._database.run(write)

    async def source(self, video_id: str) -> KnownSource | None:
        """Return what the probe found of a video's source; None when the video is gone."""
        row = await self._database.read(lambda session: session.get(VideoRow, video_id))
        return None if row is None else KnownSource(row.width, row.height, row.duration_seconds)

    async def count(self, encoder: Encoder, what: Count) -> None:
        """Count a job of an encoder by its outcome."""

        async def write(session: AsyncSession) -> None:
            row = await session.get(EncoderRow, encoder.id, with_for_update=True)
            if row is not None:
                setattr(row, what, getattr(row, what) + 1)

        await self._database.run(write)


def _hash(token: str) -> str:
    """Return what is kept of a token: 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


async def _named(session: AsyncSession, name: str) -> EncoderRow | None:
    return (await session.scalars(select(EncoderRow).where(EncoderRow.name == name))).first()


async def _holder(session: AsyncSession, hashed: str) -> Encoder | None:
    query = select(EncoderRow).where(EncoderRow.token_hash == hashed, EncoderRow.revoked_at.is_(None))
    row = (await session.scalars(query)).first()
    return None if row is None else _view(row)


def _view(row: EncoderRow) -> Encoder:
    return Encoder(
        id=row.id,
        name=row.name,
        capabilities=row.capabilities,
        done=row.done,
        failed=row.failed,
        refused=row.refused,
        created_at=seconds(row.created_at),
        seen_at=seconds_or_none(row.seen_at),
        revoked_at=seconds_or_none(row.revoked_at),
    )
