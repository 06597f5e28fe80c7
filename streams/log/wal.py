"""Has SQLite's write-ahead log lost something that was acknowledged?

After a crash SQLite replays the WAL up to its first frame with a wrong checksum and forgets the rest. That
is right for a torn tail: a transaction whose COMMIT never returned. But damage in the middle would drop
acknowledged transactions without a word. The two can be told apart: with synchronous=FULL a transaction
starts only after the one before was fsynced, so behind a torn tail there is at most the commit frame of
that same transaction; two or more mean that acknowledged ones are gone.
"""

import struct
import sys
from pathlib import Path
from typing import Final

_HEADER: Final = struct.Struct(">8I")
_FRAME: Final = struct.Struct(">6I")
_MAGIC: Final = (0x377F0682, 0x377F0683)
#: Offset of mxFrame, the last valid frame, in the header of the wal-index (SQLite file format, 2.3).
_MX_FRAME_AT: Final = 16


def commit_frames(path: Path) -> list[int]:
    """Return the numbers (from 1) of the frames that end a transaction in the newest WAL of this file."""
    wal = path.with_name(path.name + "-wal")
    found: list[int] = []
    if not wal.is_file():
        return found
    with wal.open("rb") as file:
        head = file.read(_HEADER.size)
        if len(head) < _HEADER.size:
            return found
        magic, _, page_size, _, *salts = _HEADER.unpack(head)[:6]
        if magic not in _MAGIC:
            return found
        number = 0
        while len(frame := file.read(_FRAME.size)) == _FRAME.size:
            _, pages_after, *frame_salts = _FRAME.unpack(frame)[:4]
            if frame_salts != salts:  # left over from before the WAL was restarted
                break
            number += 1
            if pages_after:
                found.append(number)
            file.seek(page_size, 1)
    return found


def replayed_frames(path: Path) -> int:
    """Return the last frame that SQLite accepted, once a connection has read the file."""
    index = path.with_name(path.name + "-shm")
    with index.open("rb") as file:
        file.seek(_MX_FRAME_AT)
        return int.from_bytes(file.read(4), sys.byteorder)
