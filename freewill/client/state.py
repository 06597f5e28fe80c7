"""What is remembered of an upload so that it goes on after the process died. Blocks: for threads.

The file only says which session belongs to which bytes; what of them has arrived, the server says (A27).
"""

import hashlib
import os
from pathlib import Path

import msgspec

from freewill.client.checks import FileMark


class State(msgspec.Struct, frozen=True):
    """A session that was opened; all parts but the last have ``part_size`` bytes."""

    server: str
    mark: FileMark
    session_id: str
    part_size: int


def default_path(server: str, path: Path) -> Path:
    """Return where the state of an upload is kept: under XDG_STATE_HOME, one file for server and path."""
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    name = hashlib.sha256(f"{server}\n{path.resolve()}".encode()).hexdigest()[:32]
    return home / "freewill" / "uploads" / f"{name}.json"


def load(path: Path, server: str) -> State | None:
    """Return what was remembered, None for nothing, for damage, and for another server's."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=State)
    except (OSError, msgspec.DecodeError):
        return None
    return found if found.server == server else None


def save(path: Path, state: State) -> None:
    """Write the state whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.write_bytes(msgspec.json.encode(state))
    fresh.replace(path)
