"""Every error that a client can meet, as one tree.

    AppError                     500 INTERNAL_ERROR
    ├── BadRequest               400 (VALIDATION_ERROR, CONTENT_TOO_LONG, INVALID_*, *_TAKEN, ...)
    ├── Unauthorized             401 (INVALID_TOKEN, TOKEN_EXPIRED, INVALID_CREDENTIALS, ...)
    ├── Forbidden                403 (NOT_CONTENT_OWNER, INSUFFICIENT_ROLE)
    ├── Missing                  404 (NOT_FOUND, CONTENT_NOT_FOUND, USER_NOT_FOUND)
    ├── Conflict                 409 (INVALID_STATE_TRANSITION, CONTENT_ALREADY_DELETED, LEASE_LOST)
    └── Failure                  5xx (DATABASE_ERROR, STORAGE_ERROR, PUBLISH_ERROR, SERVICE_UNAVAILABLE)

A class is a code: stable, documented by its docstring, with its status and a message that is safe to
show. It lives in the lowest package because every package raises from it (requirements O1-O12, O34, O38).
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar


class AppError(Exception):
    """Something failed that the caller cannot mend."""

    code: ClassVar[str] = "INTERNAL_ERROR"
    status: ClassVar[int] = 500
    message: str = "The server met an unexpected condition."

    def __init__(
        self,
        message: str | None = None,
        *,
        details: Mapping[str, Any] | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        """Keep what may be shown: a message, and details such as ``field``, ``value`` or a limit."""
        self.message = message or type(self).message
        self.details = dict(details or {})
        self.retry_after_seconds = retry_after_seconds
        super().__init__(f"{self.code}: {self.message}")


class BadRequest(AppError):
    """The request is malformed."""

    code = "BAD_REQUEST"
    status = 400
    message = "The request is malformed."


class ValidationFailed(BadRequest):
    """A body, a parameter or a cursor is malformed; ``details.field`` names it."""

    code = "VALIDATION_ERROR"
    message = "The request did not pass validation."


class ContentTooLong(BadRequest):
    """A title, description, tag list or text is over its limit; ``details`` has field and limit."""

    code = "CONTENT_TOO_LONG"
    message = "The text is longer than allowed."


class InvalidEmail(BadRequest):
    """The e-mail address has no valid form."""

    code = "INVALID_EMAIL"
    message = "This is not a valid e-mail address."


class InvalidUsername(BadRequest):
    """The user name has characters or a length that are not allowed."""

    code = "INVALID_USERNAME"
    message = "A user name has 1 to 30 letters, digits or underscores."


class InvalidVisibility(BadRequest):
    """The visibility is none of PUBLIC, FOLLOWERS_ONLY, PRIVATE (H6)."""

    code = "INVALID_VISIBILITY"
    message = "Visibility is PUBLIC, FOLLOWERS_ONLY or PRIVATE."


class DuplicateFollow(BadRequest):
    """The caller follows this user already (X33)."""

    code = "DUPLICATE_FOLLOW"
    message = "You follow this person already."


class SelfFollow(BadRequest):
    """Nobody follows themselves (O4)."""

    code = "SELF_FOLLOW"
    message = "You cannot follow yourself."


class UsernameTaken(BadRequest):
    """Another account has this user name."""

    code = "USERNAME_TAKEN"
    message = "This user name is taken."


class EmailTaken(BadRequest):
    """Another account has this e-mail address."""

    code = "EMAIL_TAKEN"
    message = "This e-mail address is taken."


class InvalidFormat(BadRequest):
    """The container is not on the policy's list; ``details.supported`` is the list (A3)."""

    code = "INVALID_FORMAT"
    message = "This file format is not supported."


class CorruptedFile(BadRequest):
    """The file cannot be opened, decoded, or holds no usable video (A7)."""

    code = "CORRUPTED_FILE"
    message = "The file is damaged or holds no video that can be decoded."


class InfectedFile(BadRequest):
    """The malware scanner found something; ``details.found`` is its name (A45)."""

    code = "INFECTED_FILE"
    message = "The malware scanner refuses this file."


class DurationExceeded(BadRequest):
    """The video is longer than the policy allows (A5)."""

    code = "DURATION_EXCEEDED"
    message = "The video is too long."


class FileTooLarge(BadRequest):
    """The file has more bytes than the policy allows (A4)."""

    code = "FILE_TOO_LARGE"
    status = 413
    message = "The file is too large."


class InvalidChunkSequence(BadRequest):
    """A chunk or part is missing, out of range, or there with other bytes; ``details`` names them (A17)."""

    code = "INVALID_CHUNK_SEQUENCE"
    message = "Chunks are missing, repeated with other bytes, or out of range."


class ChecksumMismatch(BadRequest):
    """The bytes that arrived are not those that were declared (A17, A54)."""

    code = "CHECKSUM_MISMATCH"
    message = "The bytes that arrived are not the ones that were declared."


class ChunkChecksumMismatch(ChecksumMismatch):
    """The bytes of one request are not those of its checksum; none of them was kept (tus, Checksum)."""

    code = "CHUNK_CHECKSUM_MISMATCH"
    status = 460


class UnsupportedVersion(BadRequest):
    """The request is of no supported version of the protocol; ``Tus-Version`` names those (tus, Core)."""

    code = "UNSUPPORTED_VERSION"
    status = 412
    message = "This version of the protocol is not supported."


class PayloadTooLarge(BadRequest):
    """The body of a request that is no file upload is over its limit; ``details.limit`` in bytes."""

    code = "PAYLOAD_TOO_LARGE"
    status = 413
    message = "The request body is too large."


class RangeNotSatisfiable(BadRequest):
    """The byte range lies outside the object (RFC 9110 section 15.5.17)."""

    code = "RANGE_NOT_SATISFIABLE"
    status = 416
    message = "This byte range does not exist."


class UnsupportedMedia(BadRequest):
    """The content type of the request is not one that the route reads (O38)."""

    code = "UNSUPPORTED_MEDIA"
    status = 415
    message = "This content type is not supported here."


class NotAcceptable(BadRequest):
    """None of the accepted content types can be produced."""

    code = "NOT_ACCEPTABLE"
    status = 406
    message = "None of the accepted content types can be produced."


class MethodNotAllowed(BadRequest):
    """The route exists, the method does not (O38)."""

    code = "METHOD_NOT_ALLOWED"
    status = 405
    message = "This method is not allowed here."


class InvalidSql(BadRequest):
    """The text is not one SELECT over the lake's views, or cannot be run (Y10)."""

    code = "INVALID_SQL"
    message = "This is not a SELECT over the lake's views."


class QueryTooLarge(BadRequest):
    """The query needs more time or memory than a query may have; `details.limit` says which (Y10)."""

    code = "QUERY_TOO_LARGE"
    message = "The query needs more time or memory than a query may have."


class OutputRefused(BadRequest):
    """An encoder's output is not what its job makes; the try has failed, `details.reason` says why (Y14)."""

    code = "OUTPUT_REFUSED"
    message = "This is not what the job makes."


class RateLimitExceeded(BadRequest):
    """Too many requests; ``Retry-After`` says when to come back (X32)."""

    code = "RATE_LIMIT_EXCEEDED"
    status = 429
    message = "Too many requests."


class Unauthorized(AppError):
    """The caller is not known."""

    code = "UNAUTHORIZED"
    status = 401
    message = "Sign in to do this."


class MissingAuthHeader(Unauthorized):
    """No ``Authorization`` header on a route that needs one (N4)."""

    code = "MISSING_AUTH_HEADER"


class InvalidToken(Unauthorized):
    """The token is malformed, forged, of the wrong kind, or its session has ended (N4)."""

    code = "INVALID_TOKEN"
    message = "The token is not valid."


class TokenExpired(Unauthorized):
    """The token was good once (N4)."""

    code = "TOKEN_EXPIRED"
    message = "The token has expired."


class ReportNotSigned(Unauthorized):
    """The report is not signed with the shared secret (A42)."""

    code = "REPORT_NOT_SIGNED"
    message = "This report is not signed with the shared secret."


class InvalidCredentials(Unauthorized):
    """User name or password is wrong; which one is not said (N4)."""

    code = "INVALID_CREDENTIALS"
    message = "User name or password is wrong."


class Forbidden(AppError):
    """The caller is known and may not do this."""

    code = "FORBIDDEN"
    status = 403
    message = "You may not do this."


class NotContentOwner(Forbidden):
    """Only the owner may do this (H7)."""

    code = "NOT_CONTENT_OWNER"
    message = "Only the owner may do this."


class InsufficientRole(Forbidden):
    """The caller's role does not include this (N11)."""

    code = "INSUFFICIENT_ROLE"
    message = "Your role does not include this."


class SignatureRefused(Forbidden):
    """A signed media URL is altered, expired or for another object (C31)."""

    code = "SIGNATURE_REFUSED"
    message = "This link is not valid any more."


class GeoBlocked(Forbidden):
    """The content is not shown in the region of the caller's address (C36)."""

    code = "GEO_BLOCKED"
    status = 451
    message = "This is not available in your region."


class Missing(AppError):
    """There is nothing here: an unknown route, or an object of no listed kind."""

    code = "NOT_FOUND"
    status = 404
    message = "There is nothing here."


class ContentNotFound(Missing):
    """No such content, or the caller may not see it (O7)."""

    code = "CONTENT_NOT_FOUND"
    message = "This content does not exist."


class UserNotFound(Missing):
    """No such user (O7)."""

    code = "USER_NOT_FOUND"
    message = "This user does not exist."


class Gone(AppError):
    """It existed and was deleted (X34)."""

    code = "GONE"
    status = 410
    message = "This was deleted."


class SessionExpired(Gone):
    """The upload session has expired (A17)."""

    code = "SESSION_EXPIRED"
    message = "The upload session has expired."


class Conflict(AppError):
    """The state of the object does not allow this."""

    code = "CONFLICT"
    status = 409
    message = "The current state does not allow this."


class LeaseLost(Conflict):
    """The encoder does not hold the job: the lease ran out, the job ended, or it never had it (Y14)."""

    code = "LEASE_LOST"
    message = "You do not hold this job any more."


class InvalidStateTransition(Conflict):
    """The move is not in the transition table (C42)."""

    code = "INVALID_STATE_TRANSITION"


class ContentAlreadyDeleted(Conflict):
    """The content is deleted (O8)."""

    code = "CONTENT_ALREADY_DELETED"
    message = "This content was deleted."


class ContentArchived(Conflict):
    """The bytes are in the archive and have to be restored before they can be read (R32)."""

    code = "CONTENT_ARCHIVED"
    message = "This is in the archive and has to be restored first."


class PreconditionFailed(AppError):
    """The content is not what ``If-Match`` expects: somebody changed it meanwhile (C19, RFC 9110 13.1.1)."""

    code = "PRECONDITION_FAILED"
    status = 412
    message = "This was changed meanwhile. Read it again."


class Failure(AppError):
    """Something that the server depends on failed."""

    code = "FAILURE"


class DatabaseFailure(Failure):
    """The relational store failed (O9)."""

    code = "DATABASE_ERROR"
    message = "The database did not answer."


class StorageFailure(Failure):
    """The object store failed (O9)."""

    code = "STORAGE_ERROR"
    message = "The media store did not answer."


class PublishFailure(Failure):
    """The message log did not take the record (O9)."""

    code = "PUBLISH_ERROR"
    message = "The event could not be recorded."


class ServiceUnavailable(Failure):
    """The server is starting, stopping or overloaded; try again (O38)."""

    code = "SERVICE_UNAVAILABLE"
    status = 503
    message = "The server is not ready. Try again shortly."


class StorageFull(ServiceUnavailable):
    """A disk of the server is full: nothing of the request was kept; send it again later (O38)."""

    code = "INSUFFICIENT_STORAGE"
    message = "The server has no space left for this. Try again later."


def tree(root: type[AppError] = AppError) -> Iterator[type[AppError]]:
    """Yield the root and every class below it, parents first."""
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


def registry() -> dict[str, type[AppError]]:
    """Return every code with its class.

    >>> registry()["FILE_TOO_LARGE"].status
    413
    """
    return {error.code: error for error in tree()}
