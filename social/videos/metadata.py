"""What people say about a video, and its limits (A8, H6)."""

from collections.abc import Sequence
from dataclasses import dataclass

from tables.errors import ContentTooLong, InvalidVisibility, ValidationFailed
from tables.lifecycle import Visibility

MAX_TITLE_CHARS = 200
MAX_DESCRIPTION_CHARS = 2_000
MAX_TAGS = 10
MAX_TAG_CHARS = 50


@dataclass(frozen=True, slots=True)
class VideoMetadata:
    """Metadata that passed :func:`check_metadata`."""

    title: str
    description: str = ""
    tags: tuple[str, ...] = ()
    visibility: Visibility = Visibility.PUBLIC


def check_metadata(
    title: str | None,
    description: str = "",
    tags: Sequence[str] = (),
    visibility: str = Visibility.PUBLIC,
) -> VideoMetadata:
    """Return clean metadata: title trimmed, tags without ``#``, lower case, each once.

    Raises:
        ValidationFailed: VALIDATION_ERROR when the title is missing or a text cannot be stored.
        ContentTooLong: CONTENT_TOO_LONG with ``details.field`` and ``limit``, for each limit on its own.
        InvalidVisibility: INVALID_VISIBILITY.
    """
    clean_title = check_text("title", title or "", MAX_TITLE_CHARS)
    if not clean_title:
        raise ValidationFailed("A video needs a title.", details={"field": "title"})
    return VideoMetadata(
        title=clean_title,
        description=check_text("description", description, MAX_DESCRIPTION_CHARS),
        tags=clean_tags(tags),
        visibility=check_visibility(visibility),
    )


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


def clean_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """Return tags normalised, in the order given, each once.

    >>> clean_tags(["#Cats", "cats ", "", "Dogs"])
    ('cats', 'dogs')

    Raises:
        ContentTooLong: CONTENT_TOO_LONG for more than 10 tags, or one over 50 characters.
    """
    given = [tag.strip().lstrip("#").strip().lower() for tag in tags]
    named = [check_text("tags", tag, MAX_TAG_CHARS) for tag in given if tag]
    if len(named) > MAX_TAGS:
        raise ContentTooLong(details={"field": "tags", "limit": MAX_TAGS, "length": len(named)})
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
