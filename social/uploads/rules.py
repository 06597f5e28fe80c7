"""Limits of sizes, numbers, names and types of uploads (A4, A10, A16, A17, A31, A54, N23). Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from media.parts import MAX_PARTS, PartInfo, bare
from media.policies import UploadPolicy, extension
from media.sniff import MIME, Container
from social.uploads.model import PART_BYTES, Verdict, Wanted
from tables.errors import (
    ChecksumMismatch,
    CorruptedFile,
    FileTooLarge,
    InvalidChunkSequence,
    InvalidFormat,
    ValidationFailed,
)

MAX_NAME = 255
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BY_MIME = {mime: container for container, mime in MIME.items()} | {
    "video/x-m4v": Container.MP4,
    "video/3gpp2": Container.THREE_GP,
    "video/avi": Container.AVI,
    "video/msvideo": Container.AVI,
    "video/vnd.avi": Container.AVI,
    "video/x-ms-asf": Container.WMV,
}
_UNDECLARED = frozenset({"", "application/octet-stream", "binary/octet-stream"})


def clean_name(name: str | None) -> str | None:
    r"""Return the last component of a client's file name, for showing only (N23).

    >>> clean_name("../../etc/clip.mp4"), clean_name("C:\\films\\a.mov"), clean_name("..")
    ('clip.mp4', 'a.mov', None)

    Raises:
        ValidationFailed: VALIDATION_ERROR for control characters and lone surrogates.
    """
    last = (name or "").replace("\\", "/").rsplit("/", 1)[-1].strip()
    if any(not character.isprintable() for character in last):
        raise ValidationFailed(
            "The file name has characters that are not allowed.", details={"field": "filename"}
        )
    return None if last in {"", ".", ".."} else last[-MAX_NAME:]


def clean_mime(mime: str | None) -> str | None:
    """Return a declared type without parameters, None for "some bytes".

    >>> clean_mime("Video/MP4; codecs=avc1"), clean_mime("application/octet-stream")
    ('video/mp4', None)
    """
    bare_type = (mime or "").partition(";")[0].strip().lower()
    return None if bare_type in _UNDECLARED else bare_type[:127]


def clean_sha256(value: str | None) -> str | None:
    """Return a declared SHA-256 in lower-case hex, None without one.

    Raises:
        ValidationFailed: VALIDATION_ERROR for anything else.
    """
    if value is None:
        return None
    digest = value.strip().lower().removeprefix("sha256:")
    if not _SHA256.fullmatch(digest):
        raise ValidationFailed("A checksum is a SHA-256 in hex.", details={"field": "checksum"})
    return digest


def declared_container(wanted: Wanted) -> Container | None:
    """Return the format that a client declares, by type and else by name; None when it says nothing (A10).

    Raises:
        InvalidFormat: INVALID_FORMAT with ``details.supported`` when the policy does not take it.
    """
    mime, name = clean_mime(wanted.mime), clean_name(wanted.filename)
    if mime is not None:
        return _listed(wanted.policy, _BY_MIME.get(mime), mime)
    suffix = PurePosixPath(name or "").suffix.lower().removeprefix(".")
    if not suffix:
        return None
    by_suffix = {extension(container): container for container in wanted.policy.formats} | {
        "m4v": Container.MP4,
        "qt": Container.MOV,
        "3g2": Container.THREE_GP,
        "asf": Container.WMV,
    }
    return _listed(wanted.policy, by_suffix.get(suffix), suffix)


def _listed(policy: UploadPolicy, container: Container | None, said: str) -> Container:
    if container is None or container not in policy.formats:
        raise InvalidFormat(details={"supported": policy.supported(), "found": said, "policy": policy.name})
    return container


def check_size(size_bytes: int | None, policy: UploadPolicy) -> None:
    """Refuse a declared size that cannot be right (A4, A7, A10).

    Raises:
        ValidationFailed: VALIDATION_ERROR below zero.
        CorruptedFile: CORRUPTED_FILE for an empty file.
        FileTooLarge: FILE_TOO_LARGE over the policy's limit.
    """
    if size_bytes is None:
        return
    if size_bytes < 0:
        raise ValidationFailed(
            "A file has no fewer bytes than none.", details={"field": "size", "value": size_bytes}
        )
    if size_bytes == 0:
        raise CorruptedFile("The file is empty.", details={"field": "size"})
    policy.check_size(size_bytes)


def check_declared(policy: UploadPolicy, size_bytes: int | None, mime: str | None) -> None:
    """Check what is said of a source that comes later (A10, C16); errors as the checks of a session."""
    check_size(size_bytes, policy)
    declared_container(Wanted(provider="", policy=policy, size_bytes=size_bytes, mime=mime))


def count_parts(wanted: Wanted) -> int | None:
    """Return how many parts an upload has: announced for chunks, ceil(size / part size) for parts (A31).

    Raises:
        ValidationFailed: VALIDATION_ERROR for a number of chunks that the size cannot be cut into.
    """
    if wanted.provider == "S3_MULTIPART" and wanted.size_bytes is not None:
        return -(-wanted.size_bytes // PART_BYTES)
    count = wanted.part_count
    if count is not None and not 1 <= count <= min(MAX_PARTS, wanted.size_bytes or MAX_PARTS):
        raise ValidationFailed(
            "This number of chunks cannot be.",
            details={
                "field": "total_chunks",
                "value": count,
                "limit": min(MAX_PARTS, wanted.size_bytes or 1),
            },
        )
    return count


def check_number(number: int, count: int | None) -> None:
    """Refuse a part number outside 1 to ``count`` (A17).

    Raises:
        InvalidChunkSequence: INVALID_CHUNK_SEQUENCE with the limit.
    """
    if not 1 <= number <= (count or 0):
        raise InvalidChunkSequence(
            "There is no such part in this upload.", details={"part_number": number, "limit": count or 0}
        )


def size_of_part(number: int, size_bytes: int) -> int:
    """Return the exact size of a part of 001: all are full but the last (A31).

    >>> size_of_part(1, 5_242_881), size_of_part(2, 5_242_881)
    (5242880, 1)
    """
    return min(PART_BYTES, size_bytes - (number - 1) * PART_BYTES)


def missing_parts(numbers: Sequence[int]) -> InvalidChunkSequence:
    """Return the refusal of a completion that comes too early; it names up to 100 parts (A17)."""
    return InvalidChunkSequence(
        "Parts are missing.", details={"missing": list(numbers[:100]), "missing_count": len(numbers)}
    )


def check_total(found: int, size_bytes: int) -> None:
    """Compare what arrived with the declared size (A54).

    Raises:
        FileTooLarge: FILE_TOO_LARGE: more bytes than declared.
        ChecksumMismatch: CHECKSUM_MISMATCH: fewer bytes than declared.
    """
    details = {"field": "size", "declared": size_bytes, "found": found}
    if found > size_bytes:
        raise FileTooLarge(
            "The file has more bytes than were declared.", details=details | {"limit": size_bytes}
        )
    if found < size_bytes:
        raise ChecksumMismatch("The file has fewer bytes than were declared.", details=details)


def is_same(part: PartInfo, other: PartInfo | None) -> bool:
    """Tell whether two descriptions are of the same bytes; not every store keeps a part's SHA-256.

    >>> is_same(PartInfo(1, 3, '"a"', "ff"), PartInfo(1, 3, "a")), is_same(PartInfo(1, 3, "a"), None)
    (True, False)
    """
    return other is not None and (part.size_bytes, bare(part.etag)) == (other.size_bytes, bare(other.etag))


def are_same(parts: Sequence[PartInfo], others: Sequence[PartInfo]) -> bool:
    """Tell whether two lists, each by number, are of the same parts.

    >>> are_same([PartInfo(1, 3, "a")], [PartInfo(1, 3, "a")]), are_same([PartInfo(1, 3, "a")], [])
    (True, False)
    """
    return len(parts) == len(others) and all(
        part.number == other.number and is_same(part, other)
        for part, other in zip(parts, others, strict=True)
    )


def check_named(named: Mapping[int, str], stored: Iterable[PartInfo]) -> None:
    """Compare the list of a completion with what is stored (A29); a wrong list harms nothing stored.

    Raises:
        InvalidChunkSequence: INVALID_CHUNK_SEQUENCE: the list leaves parts out, or names others.
        ChecksumMismatch: CHECKSUM_MISMATCH: another ETag, ``details.parts``.
    """
    by_number = {part.number: part for part in stored}
    if set(named) != set(by_number):
        wrong = sorted(set(named) ^ set(by_number))
        raise InvalidChunkSequence("The list of parts is not the upload's.", details={"parts": wrong[:100]})
    other = [number for number, etag in named.items() if bare(etag) != bare(by_number[number].etag)]
    if other:
        raise ChecksumMismatch("Parts have other ETags than listed.", details={"parts": sorted(other)[:100]})


def check_verdict(found: Verdict, size_bytes: int | None, mime: str | None, sha256: str | None) -> None:
    """Compare what the bytes are with what was declared of them (A16, A54).

    Raises:
        ChecksumMismatch: CHECKSUM_MISMATCH; ``details.field`` is ``checksum``, ``size`` or ``mime``.
        FileTooLarge: FILE_TOO_LARGE.
    """
    if size_bytes is not None:
        check_total(found.size_bytes, size_bytes)
    check_sha256(found.sha256, sha256)
    if mime is not None and _BY_MIME.get(mime) != Container(found.container):
        raise ChecksumMismatch(
            "The file is not of the declared type.",
            details={"field": "mime", "declared": mime, "found": found.mime},
        )


def check_sha256(found: str, declared: str | None) -> None:
    """Compare checksums (A16).

    Raises:
        ChecksumMismatch: CHECKSUM_MISMATCH.
    """
    if declared is not None and found != declared:
        raise ChecksumMismatch(details={"field": "checksum", "declared": declared, "found": found})
