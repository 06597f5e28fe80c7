"""Which host delivers media: primary, backup, or the server itself (C32, X18). Pure; others do the asking."""

from collections.abc import Sequence
from dataclasses import dataclass, field

FAILURES_TO_OPEN = 3
SUCCESSES_TO_CLOSE = 2


@dataclass(slots=True)
class Circuit:
    """What probes have shown of one host: some failures in a row open it, some successes close it again."""

    is_open: bool = False
    _streak: int = field(default=0, repr=False)

    def note(self, worked: bool) -> bool:
        """Take a probe's result; True when that opened or closed the circuit.

        >>> circuit = Circuit()
        >>> [circuit.note(worked) for worked in (False, False, True, False, False, False)]
        [False, False, False, False, False, True]
        """
        against = worked == self.is_open
        self._streak = self._streak + 1 if against else 0
        if self._streak < (SUCCESSES_TO_CLOSE if self.is_open else FAILURES_TO_OPEN):
            return False
        self.is_open, self._streak = not self.is_open, 0
        return True


class DeliveryHosts:
    """The hosts that may deliver, best first; the origin is the last and is always taken to work."""

    def __init__(self, hosts: Sequence[str], origin: str) -> None:
        """Take origins such as ``https://cdn.example`` without a path."""
        self.origin = origin.rstrip("/")
        self.circuits = {host.rstrip("/"): Circuit() for host in hosts}

    def best(self) -> str:
        """Return the host that URLs handed out now point to."""
        return next((host for host, circuit in self.circuits.items() if not circuit.is_open), self.origin)

    def all(self) -> tuple[str, ...]:
        """Return every host whose URLs are ours, the one in use first."""
        best = self.best()
        return (best, *(host for host in (*self.circuits, self.origin) if host != best))
