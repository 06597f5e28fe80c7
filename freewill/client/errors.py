"""What can go wrong for a client: the server's refusals, no answer, a file that need not be sent."""

from collections.abc import Mapping
from typing import Any

NETWORK = "NETWORK"
QUOTA_SECONDS = 600.0
"""A limit that lasts longer is a quota: nobody waits for it with a file in hand."""
_PASSING = frozenset({408, 425, 429})


class RequestFailed(Exception):
    """A refusal of the server in the shape O1, or no answer at all: code NETWORK, status 0."""

    def __init__(
        self,
        code: str,
        message: str,
        status: int = 0,
        details: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        """Take what the answer says; ``retry_after`` in seconds."""
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.details = dict(details or {})
        self.retry_after = retry_after

    @property
    def is_network(self) -> bool:
        """Tell whether there was no answer."""
        return self.code == NETWORK

    @property
    def is_passing(self) -> bool:
        """Tell whether the same request may succeed a little later."""
        if (self.retry_after or 0.0) > QUOTA_SECONDS:
            return False
        return self.is_network or self.status in _PASSING or self.status >= 500 or self.code == "CONFLICT"


class FileRefused(Exception):
    """A file that the server would refuse; nothing of it was sent (A10). ``code`` is the server's (O3)."""

    def __init__(self, code: str, message: str) -> None:
        """Take the code and a sentence."""
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class UploadStopped(Exception):
    """The upload was paused or cancelled while it ran; ``how`` is ``pause`` or ``cancel``."""

    def __init__(self, how: str) -> None:
        """Take what stopped it."""
        super().__init__(f"the upload was stopped: {how}")
        self.how = how
