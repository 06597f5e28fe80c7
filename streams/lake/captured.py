"""Row changes (``cdc.*``) as flat rows of the lake: their columns, and where values come from (F20). Pure.

People are pseudonyms where the row says what somebody did (likes, follows, comments), and ids where it says
what everybody sees (accounts, videos). No row has both of one person, or the pseudonym would be none (N14).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Kind = Literal["VARCHAR", "BIGINT", "DOUBLE", "BOOLEAN", "TIMESTAMPTZ", "VARCHAR[]"]
Named = Callable[[str], str]
Value = Callable[[str, Mapping[str, Any], Named], Any]
"""From a row's key, its columns (none when it is gone) and the pseudonyms of people."""


@dataclass(frozen=True, slots=True)
class Field:
    """One column of a dataset of row changes."""

    name: str
    kind: Kind
    help: str
    value: Value


def _of(column: str) -> Value:
    return lambda key, after, name: after.get(column)


def _moment(column: str) -> Value:
    def value(key: str, after: Mapping[str, Any], name: Named) -> int | None:
        seconds = after.get(column)
        return None if seconds is None else round(seconds * 1_000_000)

    return value


def _key(part: int = 0) -> Value:
    return lambda key, after, name: key.split(":")[part]


def _person(part: int = 0) -> Value:
    return lambda key, after, name: name(key.split(":")[part])


def _author(key: str, after: Mapping[str, Any], name: Named) -> str | None:
    return name(after["user_id"]) if "user_id" in after else None


def _characters(key: str, after: Mapping[str, Any], name: Named) -> int | None:
    return len(after["text"] or "") if "text" in after else None


def _is_set(column: str) -> Value:
    return lambda key, after, name: after[column] is not None if column in after else None


_VIEWER: Final = "Keyed pseudonym, as in events."
FIELDS: Final[Mapping[str, tuple[Field, ...]]] = {
    "cdc_users": (
        Field("user_id", "VARCHAR", "The account.", _key()),
        Field("username", "VARCHAR", "Its name.", _of("username")),
        Field("role", "VARCHAR", "user, creator, operator, analyst or service.", _of("role")),
        Field("created_at", "TIMESTAMPTZ", "When it was opened.", _moment("created_at")),
    ),
    "cdc_videos": (
        Field("video_id", "VARCHAR", "The video.", _key()),
        Field("creator_id", "VARCHAR", "Its owner.", _of("owner_id")),
        Field("title", "VARCHAR", "Title.", _of("title")),
        Field("tags", "VARCHAR[]", "Tags.", _of("tags")),
        Field("visibility", "VARCHAR", "PUBLIC, ...", _of("visibility")),
        Field("status", "VARCHAR", "UPLOADING, ..., READY, FAILED.", _of("status")),
        Field("fail_code", "VARCHAR", "Why it FAILED.", _of("fail_code")),
        Field("moderation_status", "VARCHAR", "What moderation decided.", _of("moderation_status")),
        Field("duration_seconds", "DOUBLE", "Length.", _of("duration_seconds")),
        Field("source_size_bytes", "BIGINT", "Bytes of the uploaded file.", _of("source_size_bytes")),
        Field("source_mime", "VARCHAR", "Type of the uploaded file.", _of("source_mime")),
        Field("embedding_model", "VARCHAR", "Encoder of its embedding (F19).", _of("embedding_model")),
        Field("created_at", "TIMESTAMPTZ", "When it was uploaded.", _moment("created_at")),
    ),
    "cdc_follows": (
        Field("viewer", "VARCHAR", "Who follows: " + _VIEWER, _person()),
        Field("creator_id", "VARCHAR", "Who is followed.", _key(1)),
        Field("created_at", "TIMESTAMPTZ", "Since when.", _moment("created_at")),
    ),
    "cdc_likes": (
        Field("viewer", "VARCHAR", "Who likes: " + _VIEWER, _person()),
        Field("video_id", "VARCHAR", "The video.", _key(1)),
        Field("created_at", "TIMESTAMPTZ", "Since when.", _moment("created_at")),
    ),
    "cdc_comments": (
        # the id itself leads to the author's name
        Field("comment", "VARCHAR", "The comment: a keyed pseudonym of its id.", _person()),
        Field("viewer", "VARCHAR", "Who wrote it: " + _VIEWER, _author),
        Field("video_id", "VARCHAR", "The video.", _of("video_id")),
        Field("reply", "BOOLEAN", "Whether it answers another.", _is_set("parent_id")),
        Field("characters", "BIGINT", "Length of its text.", _characters),
        Field("blanked", "BOOLEAN", "Whether it was deleted but has replies.", _is_set("deleted_at")),
        Field("created_at", "TIMESTAMPTZ", "When it was written.", _moment("created_at")),
    ),
}


def values_of(dataset: str, key: str, after: Mapping[str, Any] | None, name: Named) -> tuple[Any, ...]:
    """Return the values of a dataset's fields for one change; ``after`` None leaves what the key says."""
    return tuple(field.value(key, after or {}, name) for field in FIELDS[dataset])
