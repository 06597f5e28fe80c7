"""Compaction and retention."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streams.log.store import EmbeddedLog


class Upkeep:
    """Placeholder."""

    def __init__(self, log: "EmbeddedLog") -> None:
        self._log = log

    def start(self, s: float) -> None:
        """Start."""

    def stop(self) -> None:
        """Stop."""
