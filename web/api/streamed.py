"""Uploads that grow at their end, over HTTP: what tus 1.0 and the IETF's draft share (A36, A49, A55).

Both speak to the same sessions at the same URLs: an upload that was opened in one may go on in the other.
"""

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aiohttp import hdrs, web

from media.policies import policy_named
from social.uploads import Wanted
from social.videos.metadata import plain
from tables.errors import AppError, ContentNotFound, Gone
from tables.lifecycle import UploadStatus
from web import tus
from web.api.uploads import counted
from web.http import deps, principal
from web.keys import TOLD
from web.schemas.base import uuid_or

if TYPE_CHECKING:
    from social.uploads import UploadSession
    from social.views import Video

ROOT: Final = "/api/v1/tus"
PROVIDER: Final = "TUS"
_OVER: Final = frozenset({UploadStatus.CANCELED, UploadStatus.FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What the headers of a creation say; ``pieces`` are sessions to be joined, instead of bytes."""

    described: tus.Described
    size_bytes: int | None
    partial: bool = False
    pieces: tuple[str, ...] = ()
    echoes: Mapping[str, str] | None = None
    """Headers that are repeated to whoever asks for the upload."""


def tell(request: web.Request, headers: Mapping[str, str]) -> None:
    """Put headers on the answer, also when it will be an error."""
    request.setdefault(TOLD, {hdrs.CACHE_CONTROL: "no-store"}).update(headers)


def place(session_id: str) -> str:
    """Return the URL of an upload."""
    return f"{ROOT}/{session_id}"


def wanted_of(opening: Opening) -> Wanted:
    """Turn a creation into what the service opens.

    Raises:
        ValidationFailed, ContentTooLong, InvalidVisibility: the metadata, before the first byte; a piece
            needs none.
    """
    said = opening.described
    about: dict[str, Any] = dict(opening.echoes or {})
    if not opening.partial:
        about |= plain(said.metadata())
    return Wanted(
        provider=PROVIDER,
        policy=said.limits(partial=opening.partial),
        size_bytes=opening.size_bytes,
        mime=said.mime,
        filename=said.filename,
        about=about,
        partial=opening.partial,
    )


async def open_upload(request: web.Request, opening: Opening) -> "UploadSession":
    """Open a session, or join pieces; the answer names it."""
    uploads, owner, wanted = deps(request).uploads, principal(request), wanted_of(opening)
    if opening.pieces:
        session = await uploads.concatenate(owner, wanted, opening.pieces)
    else:
        session = await uploads.create(owner, wanted)
    tell(request, {hdrs.LOCATION: place(session.id)})
    return session


async def session_of(request: web.Request) -> "UploadSession":
    """Return the caller's session of the path (A55).

    Raises:
        Gone: GONE: canceled or failed; ``details.fail_code`` says why.
        SessionExpired, ContentNotFound, NotContentOwner.
    """
    session_id = uuid_or(ContentNotFound, request.match_info["session_id"])
    session = await deps(request).uploads.get(session_id, principal(request))
    if session.status in _OVER:
        details = {"status": str(session.status), "fail_code": session.fail_code}
        raise Gone("This upload has ended.", details=details)
    if session.part_count is not None:
        raise ContentNotFound  # it takes numbered parts, and has other URLs
    return session


def max_bytes(session: "UploadSession") -> int:
    """Return the most bytes that an upload may have."""
    return session.size_bytes or policy_named(session.policy).max_bytes


async def append(
    request: web.Request, session: "UploadSession", offset: int, body: AsyncIterator[bytes]
) -> int:
    """Add a body; the answer has the offset, also that of a refusal."""
    services, owner = deps(request), principal(request)
    try:
        end = await services.uploads.append(session.id, owner, offset, body)
    except AppError:
        with contextlib.suppress(AppError):  # the first failure is the one to answer
            tell(request, {tus.OFFSET: str(await services.uploads.offset(session.id, owner))})
        raise
    services.metrics.upload_bytes.inc(end - offset)
    tell(request, {tus.OFFSET: str(end)})
    return end


async def finish(request: web.Request, session: "UploadSession") -> "Video":
    """Make a session whose bytes are all here a video; the answer names it.

    Raises:
        The O3 errors of the bytes, and what ``UploadSessions.finalize`` has besides.
    """
    with counted(request):
        video = await deps(request).uploads.finalize(session.id, principal(request))
    tell(request, {tus.VIDEO_ID: video.id, hdrs.CONTENT_LOCATION: f"/api/v1/videos/{video.id}"})
    return video
