"""What people say about a video, and its limits (A8, H6)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from tables.errors import ContentTooLong, InvalidVisibility, ValidationFailed
from tables.lifecycle import Visibility
from tables.relational.models import CONTENT_TYPES

MAX_TITLE_CHARS = 200
MAX_DESCRIPTION_CHARS = 2_000
MAX_TAGS = 10
MAX_TAG_CHARS = 50
MAX_URL_CHARS = 2_048
ORIGINAL = CONTENT_TYPES[0]


@dataclass(frozen=True, slots=True)
class VideoMetadata:
    """Metadata that passed :func:`check_metadata`."""

    title: str
    description: str = ""
    tags: tuple[str, ...] = ()
    visibility: Visibility = Visibility.PUBLIC
    hashtags: tuple[str, ...] = ()
    content_type: str = ORIGINAL
    audio_url: str | None = None


@dataclass(frozen=True, slots=True)
class Further:
    """What else may be said of a video, as it came (A9)."""

    hashtags: Sequence[str] = ()
    content_type: str = ORIGINAL
    audio_url: str | None = None


NOTHING_FURTHER = Further()


def plain(metadata: VideoMetadata) -> dict[str, Any]:
    """Return metadata as JSON can carry it; :func:`from_plain` reads it back."""
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in asdict(metadata).items()
    }


def from_plain(said: Mapping[str, Any]) -> VideoMetadata:
    """Return metadata that :func:`plain` wrote, also before it knew all the fields of now."""
    known = {name: said[name] for name in EDITABLE if name in said}
    return VideoMetadata(
        **known
        | {"tags": tuple(said.get("tags", ())), "hashtags": tuple(said.get("hashtags", ()))}
        | {"visibility": Visibility(said.get("visibility", Visibility.PUBLIC))}
    )


def check_metadata(
    title: str | None,
    description: str = "",
    tags: Sequence[str] = (),
    visibility: str = Visibility.PUBLIC,
    further: Further = NOTHING_FURTHER,
) -> VideoMetadata:
    """Return clean metadata: title trimmed, tags without ``#``, lower case, each once.

    Raises:
        ValidationFailed: VALIDATION_ERROR when the title is missing or a text cannot be stored.
        ContentTooLong: CONTENT_TOO_LONG with ``details.field`` and ``limit``, for each limit on its own.
        InvalidVisibility: INVALID_VISIBILITY.
    """
    said = {
        "title": title or "",
        "description": description,
        "tags": tags,
        "visibility": visibility,
        "hashtags": further.hashtags,
        "content_type": further.content_type,
        "audio_url": further.audio_url,
    }
    return VideoMetadata(**check_fields(said))


def check_fields(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return some fields of a video clean, by name: those of an edit have the limits of an upload (A8, A9).

    Raises:
        ValidationFailed, ContentTooLong, InvalidVisibility: as :func:`check_metadata`.
    """
    return {name: _CHECKS[name](value) for name, value in said.items()}


def check_title(value: str) -> str:
    """Return the title trimmed; errors as :func:`check_text`, and VALIDATION_ERROR without one."""
    title = check_text("title", value, MAX_TITLE_CHARS)
    if not title:
        raise ValidationFailed("A video needs a title.", details={"field": "title"})
    return title


def check_text(field: str, value: str, limit: int) -> str:
    """Return the text trimmed.

    Raises:
        ValidationFailed: VALIDATION_ERROR for characters that no database text can hold.
        ContentTooLong: CONTENT_TOO_LONG.
    """
    text = value.strip()
    # NUL is no character to PostgreSQL; lone surrogates, which JSON can carry, have no UTF-8.
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValidationFailed("The text has characters that are not allowed.", details={"field": field})
    if len(text) > limit:
        raise ContentTooLong(details={"field": field, "limit": limit, "length": len(text)})
    return text


def clean_tags(tags: Sequence[str], field: str = "tags") -> tuple[str, ...]:
    """Return tags normalised, in the order given, each once.

    >>> clean_tags(["#Cats", "cats ", "", "Dogs"])
    ('cats', 'dogs')

    Raises:
        ContentTooLong: CONTENT_TOO_LONG for more than 10 tags, or one over 50 characters.
    """
    given = [tag.strip().lstrip("#").strip().lower() for tag in tags]
    named = [check_text(field, tag, MAX_TAG_CHARS) for tag in given if tag]
    if len(named) > MAX_TAGS:
        raise ContentTooLong(details={"field": field, "limit": MAX_TAGS, "length": len(named)})
    return tuple(dict.fromkeys(named))


def check_visibility(value: str) -> Visibility:
    """Return the visibility (H6).

    Raises:
        InvalidVisibility: INVALID_VISIBILITY.
    """
    try:
        return Visibility(value)
    except ValueError:
        raise InvalidVisibility(details={"field": "visibility", "allowed": list(Visibility)}) from None


def check_content_type(value: str) -> str:
    """Return the content type (A9).

    Raises:
        ValidationFailed: VALIDATION_ERROR.
    """
    if value not in CONTENT_TYPES:
        details = {"field": "content_type", "value": value[:50], "allowed": list(CONTENT_TYPES)}
        raise ValidationFailed("There is no such content type.", details=details)
    return value


def check_audio_url(value: str | None) -> str | None:
    """Return where the sound is from, None for nowhere (A9).

    Raises:
        ValidationFailed: VALIDATION_ERROR unless it is an http or https URL.
        ContentTooLong: CONTENT_TOO_LONG.
    """
    url = check_text("audio_url", value or "", MAX_URL_CHARS)
    if not url:
        return None
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and " " not in url
    except ValueError:  # brackets that are no IPv6 address
        good = False
    if not good:
        raise ValidationFailed("This is no URL of the web.", details={"field": "audio_url"})
    return url


_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "title": check_title,
    "description": lambda value: check_text("description", value, MAX_DESCRIPTION_CHARS),
    "tags": clean_tags,
    "visibility": check_visibility,
    "hashtags": partial(clean_tags, field="hashtags"),
    "content_type": check_content_type,
    "audio_url": check_audio_url,
}
EDITABLE = tuple(_CHECKS)
