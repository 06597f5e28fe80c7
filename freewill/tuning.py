"""What a serving process asks of the interpreter, so that its loop is never away for long (S)."""

import gc
import sys
from typing import Final

#: A full collection walks through everything that lives: seldom, and rows and records are not among it.
GC_THRESHOLDS: Final = (20_000, 20, 50)
#: The log's threads give the interpreter back to the loop after this long, not after 5 ms.
SWITCH_SECONDS: Final = 0.0005


STARTING_THRESHOLD: Final = 500_000
"""Objects between collections while modules are read: nearly all stay, and a fifth of the time goes."""


def begin_process() -> None:
    """Collect garbage seldom until ``tune_process``; to be called before commands import what they need."""
    gc.set_threshold(STARTING_THRESHOLD)


def tune_process() -> None:
    """Leave out of garbage collection what is there after a start, and let threads take turns quickly."""
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    sys.setswitchinterval(SWITCH_SECONDS)
