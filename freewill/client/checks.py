"""The checks before the first byte: the server's own, by magic bytes and size (A10, Q1).

What reads the file blocks: for threads.
"""

import hashlib
from pathlib import Path

import msgspec

from freewill.client.errors import FileRefused
from freewill.client.models import Limits, Policy, Words
from media.sniff import HEAD_BYTES, MIME, Container, sniff

VISIBILITIES = ("PUBLIC", "FOLLOWERS_ONLY", "PRIVATE")


class FileMark(msgspec.Struct, frozen=True):
    """What tells whether a file is still the one that an upload began with; ``sha256`` in hex."""

    size: int
    modified_ns: int
    sha256: str


class Checked(msgspec.Struct, frozen=True):
    """A file that may be sent: its mark, the policy that takes it, the type to declare."""

    mark: FileMark
    policy: str
    mime: str | None


def choose_policy(size: int, container: Container, limits: Limits, name: str | None = None) -> Policy:
    """Return the policy asked for, or the first that takes the file.

    Raises:
        FileRefused: CORRUPTED_FILE for an empty file, INVALID_FORMAT, FILE_TOO_LARGE; of the first policy
            when none takes it. VALIDATION_ERROR for a policy that does not exist.
    """
    asked = [policy for policy in limits.items if name in (None, policy.name)]
    if not asked:
        raise FileRefused("VALIDATION_ERROR", f"There is no policy {name}.")
    problems = [_problem(size, container, policy) for policy in asked]
    for policy, problem in zip(asked, problems, strict=True):
        if problem is None:
            return policy
    raise problems[0] or FileRefused("INVALID_FORMAT", "No policy takes it.")


def _problem(size: int, container: Container, policy: Policy) -> FileRefused | None:
    if size == 0:
        return FileRefused("CORRUPTED_FILE", "The file is empty.")
    if container.value not in policy.formats:
        formats = ", ".join(policy.formats)
        return FileRefused("INVALID_FORMAT", f"This is {container.value}; accepted are {formats}.")
    if size > policy.max_bytes:
        return FileRefused("FILE_TOO_LARGE", f"The file has {size} bytes; the limit is {policy.max_bytes}.")
    return None


def check_words(words: Words, limits: Limits) -> None:
    """Refuse words that the server would refuse after all bytes were sent.

    Raises:
        FileRefused: VALIDATION_ERROR without a title; INVALID_VISIBILITY; CONTENT_TOO_LONG.
    """
    if words.visibility not in VISIBILITIES:
        raise FileRefused("INVALID_VISIBILITY", f"Visibility is one of {', '.join(VISIBILITIES)}.")
    if not words.title.strip():
        raise FileRefused("VALIDATION_ERROR", "A title is needed.")
    for field, length, limit in (
        ("title", len(words.title), limits.max_title),
        ("description", len(words.description), limits.max_description),
        ("tags", len(words.tags), limits.max_tags),
    ):
        if length > limit:
            raise FileRefused("CONTENT_TOO_LONG", f"{field} has {length}; the limit is {limit}.")


def check_file(path: Path, limits: Limits, policy: str | None, known: FileMark | None = None) -> Checked:
    """Return what has to be told of a file before it is sent; one that is known and untouched is not read.

    Raises:
        FileRefused: see ``choose_policy``; UNREADABLE when there is no such file, or it may not be read.
    """
    try:
        with path.open("rb") as file:
            container = sniff(file.read(HEAD_BYTES))
        chosen = choose_policy(path.stat().st_size, container, limits, policy)
        return Checked(_mark(path, known), chosen.name, MIME.get(container))
    except OSError as error:
        raise FileRefused("UNREADABLE", f"The file cannot be read: {error.strerror}.") from error


def _mark(path: Path, known: FileMark | None) -> FileMark:
    found = path.stat()
    if known is not None and (known.size, known.modified_ns) == (found.st_size, found.st_mtime_ns):
        return known
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    return FileMark(found.st_size, found.st_mtime_ns, digest.hexdigest())


def read_part(path: Path, start: int, end: int) -> bytes:
    """Return the bytes of one part.

    Raises:
        FileRefused: CORRUPTED_FILE for a file that is shorter now, UNREADABLE for one that went away.
    """
    try:
        with path.open("rb") as file:
            file.seek(start)
            data = file.read(end - start)
    except OSError as error:
        raise FileRefused("UNREADABLE", f"The file cannot be read: {error.strerror}.") from error
    if len(data) != end - start:
        raise FileRefused("CORRUPTED_FILE", "The file became shorter while it was sent.")
    return data
