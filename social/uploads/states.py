"""What may be asked of an upload session in which state (A30, A33-A35, A53, X76). Pure.

The moves themselves stand in ``tables.lifecycle``. What this adds is that an operation leads to one state
only, from the states that its row names: sending a part does not resume a paused session, though
PAUSED -> IN_PROGRESS is a move.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from tables.errors import InvalidStateTransition, SessionExpired
from tables.lifecycle import UPLOAD, UPLOAD_STRICT, UploadStatus, may

U = UploadStatus


class Operation(StrEnum):
    """What a client, the store or the sweep does to a session."""

    RECEIVE = "receive"
    """Ask for the URL of a part, or send one."""
    PAUSE = "pause"
    RESUME = "resume"
    COMPLETE = "complete"
    CANCEL = "cancel"
    FAIL = "fail"
    EXPIRE = "expire"


OPEN: Final = frozenset({U.INITIATED, U.IN_PROGRESS, U.PAUSED})
"""The states of a session that may still become COMPLETED."""
TARGET: Final[Mapping[Operation, UploadStatus]] = MappingProxyType(
    {
        Operation.RECEIVE: U.IN_PROGRESS,
        Operation.PAUSE: U.PAUSED,
        Operation.RESUME: U.IN_PROGRESS,
        Operation.COMPLETE: U.COMPLETED,
        Operation.CANCEL: U.CANCELED,
        Operation.FAIL: U.FAILED,
        Operation.EXPIRE: U.EXPIRED,
    }
)
# IN_PROGRESS -> IN_PROGRESS is the second part; COMPLETED -> COMPLETED the repeated complete (A37).
_STAYS: Final = frozenset({(Operation.RECEIVE, U.IN_PROGRESS), (Operation.COMPLETE, U.COMPLETED)})
# Two operations lead to IN_PROGRESS, each from its own state (A53).
_NOT_FROM: Final = frozenset({(Operation.RECEIVE, U.PAUSED), (Operation.RESUME, U.INITIATED)})


def after(status: UploadStatus, operation: Operation, *, strict: bool = False) -> UploadStatus:
    """Return the state that an operation leads to.

    Args:
        status: the state now.
        operation: what is asked.
        strict: only document 001's own table holds: INITIATED cannot be canceled (X76).

    Raises:
        SessionExpired: SESSION_EXPIRED, whatever is asked of an expired session (A17).
        InvalidStateTransition: INVALID_STATE_TRANSITION with ``from``, ``to`` and the operations that are
            allowed (A34).
    """
    if status is U.EXPIRED:
        raise SessionExpired
    if not _allowed(status, operation, strict):
        allowed = sorted(other for other in Operation if _allowed(status, other, strict))
        raise InvalidStateTransition(
            f"An upload that is {status} cannot do this: {operation}.",
            details={"from": str(status), "to": str(TARGET[operation]), "allowed": allowed},
        )
    return TARGET[operation]


def _allowed(status: UploadStatus, operation: Operation, strict: bool) -> bool:
    if (operation, status) in _STAYS:
        return True
    table = UPLOAD_STRICT if strict else UPLOAD
    return (operation, status) not in _NOT_FROM and may(table, status, TARGET[operation])
