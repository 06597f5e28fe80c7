"""What lies in the store against what the rows know (A41): nothing owned is missing, nothing else stays.

A pure comparison. Whoever sweeps lists first and reads the rows afterwards, so that no row is older than the
listing; what is younger than the grace may belong to a request that has not written its row yet.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from media.layout import UPLOADS, is_source, owner
from media.parts import Incoming
from media.stores import ObjectInfo

GRACE_SECONDS: Final = 24 * 3600.0
"""Longer than any session may take to complete."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the rows say must be there.

    Attributes:
        sources: every video that is not deleted, with the key of its original, None while it has none.
        assets: keys of the outputs that rows name.
        sessions: ids of the upload sessions that may still receive or complete.
    """

    sources: Mapping[str, str | None]
    assets: Collection[str] = ()
    sessions: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Findings:
    """What a comparison found, each in the order of the listing.

    Attributes:
        delete: objects that nobody owns.
        abort: unfinished uploads that no session knows.
        missing: keys that rows name and the store does not have.
        strange: objects outside the layout, for a person to look at; they are never deleted.
    """

    delete: list[str] = field(default_factory=list)
    abort: list[Incoming] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)


def compare(
    found: Iterable[ObjectInfo],
    unfinished: Iterable[Incoming],
    known: Known,
    *,
    now: float,
    grace_seconds: float = GRACE_SECONDS,
) -> Findings:
    """Return what to delete and to abort, and what is missing.

    Args:
        found: every object of the store.
        unfinished: every unfinished upload of the part store.
        known: what the rows say, read after the listing.
        now: the time of the listing, in seconds since the epoch.
        grace_seconds: what is younger than this is left alone.

    >>> lost = ObjectInfo("videos/2/source.mp4", 1, "video/mp4", "", 0.0)
    >>> compare([lost], [], Known({"1": "videos/1/source.mp4"}), now=1e9)
    Findings(delete=['videos/2/source.mp4'], abort=[], missing=['videos/1/source.mp4'], strange=[])
    """
    findings = Findings()
    latest = now - grace_seconds
    there = set()
    for info in found:
        there.add(info.key)
        if info.key.startswith(UPLOADS):
            continue  # an upload's own parts: judged with the unfinished uploads
        if owner(info.key) is None:
            findings.strange.append(info.key)
        elif info.modified_at <= latest and not _owned(info.key, known):
            findings.delete.append(info.key)
    findings.abort.extend(
        upload
        for upload in unfinished
        if upload.session_id not in known.sessions and upload.begun_at <= latest
    )
    wanted = [key for key in known.sources.values() if key is not None]
    findings.missing.extend(key for key in (*wanted, *known.assets) if key not in there)
    return findings


def compare_keys(
    found: Iterable[ObjectInfo], known: Collection[str], *, now: float, grace_seconds: float = GRACE_SECONDS
) -> Findings:
    """Return what to delete, and what is missing, where rows name every object that may be there.

    Args:
        found: the objects of an area of the store, such as those of some images.
        known: the keys that the rows name, read after the listing.
        now: the time of the listing, in seconds since the epoch.
        grace_seconds: what is younger than this is left alone.

    >>> compare_keys([ObjectInfo("images/1/lost.jpg", 1, "", "", 0.0)], {"images/2/small.jpg"}, now=1e9)
    Findings(delete=['images/1/lost.jpg'], abort=[], missing=['images/2/small.jpg'], strange=[])
    """
    objects = list(found)
    there = {info.key for info in objects}
    old = (info for info in objects if info.modified_at <= now - grace_seconds)
    return Findings(
        delete=[info.key for info in old if info.key not in known],
        missing=sorted(key for key in known if key not in there),
    )


def _owned(key: str, known: Known) -> bool:
    """Return whether a row stands behind an object; of originals only the one that the row names."""
    video_id = owner(key)
    if video_id is None or video_id not in known.sources:
        return False
    return not is_source(key) or known.sources[video_id] == key
