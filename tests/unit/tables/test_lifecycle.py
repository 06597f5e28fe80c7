"""The transition tables, tested from the documents' own rows (C1-C11, A33-A35, X10, X76, B51, C2, X7-X9)."""

from itertools import product

import pytest

from tables import lifecycle
from tables.errors import InvalidStateTransition
from tables.lifecycle import JobStatus, ModerationStatus, UploadStatus, VideoStatus

# Written out again here from the requirements, so that a slip in the table shows.
VIDEO_MOVES = {
    ("DRAFT", "UPLOADING"),  # C3
    ("UPLOADING", "UPLOADED"),  # C4
    ("UPLOADED", "TRANSCODING"),  # C5
    ("TRANSCODING", "READY"),  # C6
    ("TRANSCODING", "FAILED"),  # C7
    ("UPLOADING", "FAILED"),  # C8
    ("FAILED", "TRANSCODING"),  # C9
    ("FAILED", "UPLOADING"),  # X10
}
SESSION_MOVES = {
    ("INITIATED", "IN_PROGRESS"),
    ("IN_PROGRESS", "PAUSED"),
    ("PAUSED", "IN_PROGRESS"),
    ("IN_PROGRESS", "COMPLETED"),
    ("IN_PROGRESS", "FAILED"),
    ("IN_PROGRESS", "CANCELED"),
    ("PAUSED", "CANCELED"),  # A33
    ("INITIATED", "EXPIRED"),
    ("IN_PROGRESS", "EXPIRED"),
    ("PAUSED", "EXPIRED"),  # A35
}
JOB_MOVES = {
    ("queued", "processing"),
    ("processing", "completed"),
    ("processing", "failed"),
    ("failed", "queued"),  # B51
}
CASES = [
    *[(lifecycle.VIDEO, VideoStatus, VIDEO_MOVES, a, b) for a, b in product(VideoStatus, repeat=2)],
    *[
        (lifecycle.UPLOAD, UploadStatus, SESSION_MOVES | {("INITIATED", "CANCELED")}, a, b)  # X76
        for a, b in product(UploadStatus, repeat=2)
    ],
    *[
        (lifecycle.UPLOAD_STRICT, UploadStatus, SESSION_MOVES, a, b)
        for a, b in product(UploadStatus, repeat=2)
    ],
    *[(lifecycle.JOB, JobStatus, JOB_MOVES, a, b) for a, b in product(JobStatus, repeat=2)],
]


@pytest.mark.parametrize(("table", "states", "moves", "old", "new"), CASES)
def test_move_is_taken_only_when_the_documents_list_it(table, states, moves, old, new):
    """C11, A34: every pair of states is tried against every table."""
    assert set(table) == set(states)
    if (old, new) in moves:
        lifecycle.check(table, old, new)
        return
    with pytest.raises(InvalidStateTransition) as caught:
        lifecycle.check(table, old, new)
    assert caught.value.details["from"] == old
    assert caught.value.details["to"] == new
    assert caught.value.status == 409


def test_ready_never_goes_back_when_anything_is_reported():
    """C10: READY has no way out, and no final state of a session or job has one."""
    assert not lifecycle.VIDEO[VideoStatus.READY]
    assert not lifecycle.UPLOAD[UploadStatus.COMPLETED]
    assert not lifecycle.UPLOAD[UploadStatus.CANCELED]
    assert not lifecycle.JOB[JobStatus.COMPLETED]


@pytest.mark.parametrize(
    ("status", "in_000", "in_002", "in_004"),
    [
        (VideoStatus.DRAFT, "processing", "uploading", None),
        (VideoStatus.UPLOADING, "processing", "uploading", None),
        (VideoStatus.UPLOADED, "processing", "processing", "queued"),
        (VideoStatus.TRANSCODING, "processing", "processing", "processing"),
        (VideoStatus.READY, "ready", "published", "completed"),
        (VideoStatus.FAILED, "failed", "failed", "failed"),
    ],
)
def test_status_reads_in_every_vocabulary_when_asked(status, in_000, in_002, in_004):
    """C2, X7; X8: a rejected video shows as such whatever its state."""
    for moderation in ModerationStatus:
        rejected = moderation is ModerationStatus.REJECTED
        assert lifecycle.status_000(status, moderation) == ("rejected" if rejected else in_000)
        assert lifecycle.status_002(status, moderation) == ("failed" if rejected else in_002)
    assert lifecycle.job_status_004(status) == in_004


def test_session_reads_in_document_000_when_asked():
    """X9."""
    assert [lifecycle.session_000(status) for status in UploadStatus] == [
        "active",
        "active",
        "active",
        "completed",
        "failed",
        "failed",
        "expired",
    ]
