"""How loud sound is, and what brings it to a target (EBU R 128, ITU-R BS.1770).

Two passes: the whole sound is measured, then one gain is applied to all of it, so that its own quiet and loud
passages stay what they are. A limiter catches the peaks that the gain would lift over full scale.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

import av
import av.error
import av.filter
from av.audio.frame import AudioFrame

from media.ladder import AUDIO_RATE

QUIETEST_LUFS = -50.0
"""What is quieter is silence, or the noise of an empty room: it stays so."""
MAX_BOOST_DB = 12.0
MAX_CUT_DB = 20.0
PEAK_DBFS = -1.0
"""AAC overshoots a little: one decibel stays free (EBU R 128)."""
UNCHANGED_DB = 0.1
LAYOUT = f"time_base=1/{AUDIO_RATE}:sample_rate={AUDIO_RATE}:sample_fmt=fltp:channel_layout=stereo"


@dataclass(frozen=True, slots=True)
class Loudness:
    """Integrated loudness in LUFS (-inf for silence, or less than 0.4 s) and true peak in dBFS."""

    integrated: float
    peak: float


def measure(frames: Iterable[AudioFrame]) -> Loudness:
    """Measure stereo float sound at 48 kHz."""
    graph = av.filter.Graph()
    source, meter = graph.add("abuffer", LAYOUT), graph.add("ebur128", "peak=true:metadata=1")
    sink = graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    told: dict[str, str] = {}
    for frame in chain(frames, [None]):
        source.push(frame)
        while True:
            try:
                told = sink.pull().metadata or told
            except (av.error.BlockingIOError, av.error.EOFError):
                break
    peak = float(told.get("lavfi.r128.true_peak", 0.0))
    integrated = float(told.get("lavfi.r128.I", -math.inf))
    return Loudness(integrated, 20 * math.log10(peak) if peak > 0 else -math.inf)


def gain(found: Loudness, target_lufs: float) -> float:
    """Return the decibels that bring sound to a target, in bounds.

    >>> gain(Loudness(-24.0, -9.0), -14.0), gain(Loudness(-40.0, -30.0), -14.0)
    (10.0, 12.0)
    >>> gain(Loudness(-70.0, -60.0), -14.0), gain(Loudness(-6.0, 0.0), -14.0)
    (0.0, -8.0)
    """
    if found.integrated < QUIETEST_LUFS:
        return 0.0
    wanted = min(MAX_BOOST_DB, max(-MAX_CUT_DB, target_lufs - found.integrated))
    return wanted if abs(wanted) >= UNCHANGED_DB else 0.0


def filters(found: Loudness, target_lufs: float) -> list[tuple[str, str]]:
    """Return the filters, name and arguments each, that bring sound to a target; none when it is there."""
    decibels = gain(found, target_lufs)
    steps = [("volume", f"volume={decibels:.3f}dB:precision=float")] if decibels else []
    if decibels > 0 and found.peak + decibels > PEAK_DBFS:
        limit = 10 ** (PEAK_DBFS / 20)
        # Without its own levelling, and without the delay of its look-ahead.
        steps.append(("alimiter", f"limit={limit:.4f}:attack=5:release=50:level=false:latency=true"))
    return steps
