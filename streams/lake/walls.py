"""Walls around a query's process: it cannot change a file or reach the network, whatever DuckDB would do."""

import ctypes
import struct
import sys

_CREATE_RULESET, _RESTRICT_SELF, _SET_NO_NEW_PRIVS = 444, 446, 38
_WRITES = 1 << 1 | sum(1 << bit for bit in range(4, 13))  # write, remove, make of every kind
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_TCP = 0b11  # bind, connect


def forbid_changes_and_network() -> bool:
    """Take from this process, for good, the right to write or make files and to use TCP (Landlock).

    Reading stays as it is. Files that are open for writing, such as stdout, stay usable.

    Returns:
        False where the kernel has no Landlock; then the other limits have to do.
    """
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, 0, 1)
    if version < 1:
        return False
    rights = _WRITES | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    attributes = struct.pack("QQ", rights, _TCP) if version >= 4 else struct.pack("Q", rights)
    ruleset = libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    if ruleset < 0:
        return False
    libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return bool(libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
