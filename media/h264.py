"""Encoders of H.264, and what each is told so that outputs are the same: B21, B22. Pure.

Constant bitrate with a buffer of one second, closed groups of pictures of two seconds that begin where they
are told to, two B-frames where there are any. What an encoder really does is tried before it is used
(``media.workers.negotiate``).
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

SOFTWARE: Final = "libx264"
AUTO: Final = "auto"
HARDWARE: Final = ("h264_nvenc", "h264_qsv", "h264_videotoolbox", "h264_amf", "h264_vaapi", "h264_v4l2m2m")
"""In the order in which ``auto`` prefers them."""
ENCODERS: Final = (SOFTWARE, *HARDWARE)
WITHOUT_B: Final = "/without-b"
"""Behind the name of an encoder that opens only without B-frames: older hardware has none (B22)."""
_FAST: Final = frozenset({"ultrafast", "superfast", "veryfast"})
_SLOW: Final = frozenset({"slow", "slower", "veryslow"})


@dataclass(frozen=True, slots=True)
class Coding:
    """What is wanted: bit/s, pictures in a group, x264's preset, and whether to pad to the exact rate."""

    bitrate: int
    gop: int
    preset: str
    exact: bool = False


def options(encoder: str, wanted: Coding) -> dict[str, str]:
    """Return the options of an encoder.

    >>> options("h264_nvenc", Coding(800_000, 60, "veryfast"))["rc"]
    'cbr'
    """
    bitrate = str(wanted.bitrate)
    b_frames = "0" if encoder.endswith(WITHOUT_B) else "2"
    common = {"b": bitrate, "maxrate": bitrate, "bufsize": bitrate, "g": str(wanted.gop), "bf": b_frames}
    return common | _OWN.get(codec_name(encoder), _software)(wanted)


def pixel_format(encoder: str) -> str:
    """Return the layout of pictures that an encoder takes; all are 4:2:0 with 8 bits."""
    return "nv12" if codec_name(encoder) in {"h264_qsv", "h264_amf", "h264_vaapi"} else "yuv420p"


def codec_name(encoder: str) -> str:
    """Return libav's name of an encoder."""
    return encoder.removesuffix(WITHOUT_B)


def choose(wanted: str, opens: Collection[str]) -> str:
    """Return the encoder to use: the one wanted, or the first of hardware, if it opens; else the software.

    >>> choose("auto", {"h264_qsv"}), choose("h264_nvenc", {"h264_qsv"}), choose("libx264", {"h264_qsv"})
    ('h264_qsv', 'libx264', 'libx264')
    """
    return next((name for name in candidates(wanted) if name in opens), SOFTWARE)


def candidates(wanted: str) -> tuple[str, ...]:
    """Return the encoders to try for a wish, each with B-frames first.

    >>> candidates("h264_amf")
    ('h264_amf', 'h264_amf/without-b')
    """
    names = HARDWARE if wanted == AUTO else () if wanted == SOFTWARE else (wanted,)
    return tuple(name + ending for name in names for ending in ("", WITHOUT_B))


def _software(wanted: Coding) -> dict[str, str]:
    own = {
        "preset": wanted.preset,
        "profile": "high",
        "keyint_min": str(wanted.gop),
        "sc_threshold": "0",
        "forced-idr": "1",
    }
    return own | ({"nal-hrd": "cbr"} if wanted.exact else {})


def _nvenc(wanted: Coding) -> dict[str, str]:
    preset = "p2" if wanted.preset in _FAST else "p6" if wanted.preset in _SLOW else "p4"
    own = {
        "preset": preset,
        "profile": "high",
        "rc": "cbr",
        "forced-idr": "1",
        "no-scenecut": "1",
        "strict_gop": "1",
        "b_ref_mode": "disabled",  # a B-frame that others refer to would come later than DASH waits for
    }
    return own | ({"cbr_padding": "1"} if wanted.exact else {})


def _qsv(wanted: Coding) -> dict[str, str]:
    return {
        "preset": wanted.preset if wanted.preset not in {"ultrafast", "superfast"} else "veryfast",
        "profile": "high",
        "flags": "+cgop",
        "forced_idr": "1",
        "idr_interval": "0",
        "adaptive_i": "0",
        "adaptive_b": "0",
        "b_strategy": "0",
    }


def _videotoolbox(wanted: Coding) -> dict[str, str]:
    return {"profile": "high", "constant_bit_rate": "1", "flags": "+cgop", "allow_sw": "0"}


def _amf(wanted: Coding) -> dict[str, str]:
    quality = "speed" if wanted.preset in _FAST else "quality" if wanted.preset in _SLOW else "balanced"
    own = {"usage": "transcoding", "quality": quality, "profile": "high", "rc": "cbr", "forced_idr": "1"}
    return own | ({"filler_data": "1"} if wanted.exact else {})


def _vaapi(wanted: Coding) -> dict[str, str]:
    return {"profile": "high", "rc_mode": "CBR", "idr_interval": "0", "flags": "+cgop"}


def _v4l2(wanted: Coding) -> dict[str, str]:
    return {"bf": "0"}  # the kernel's interface has no B-frames


_OWN: Final = {
    "h264_nvenc": _nvenc,
    "h264_qsv": _qsv,
    "h264_videotoolbox": _videotoolbox,
    "h264_amf": _amf,
    "h264_vaapi": _vaapi,
    "h264_v4l2m2m": _v4l2,
}
