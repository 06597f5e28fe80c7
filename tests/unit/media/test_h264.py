"""Encoders of H.264: which one is used, and that each is told the same (B21, B22, B48)."""

import av
import pytest

from media.h264 import (
    ENCODERS,
    HARDWARE,
    SOFTWARE,
    WITHOUT_B,
    Coding,
    candidates,
    choose,
    codec_name,
    options,
    pixel_format,
)

WANTED = Coding(bitrate=5_000_000, gop=60, preset="veryfast")


@pytest.mark.parametrize("encoder", ENCODERS)
def test_rate_and_keyframes_are_the_same_whatever_encodes(encoder: str) -> None:
    """B22: constant bitrate by a buffer of one second, two seconds between keyframes, two B-frames."""
    told = options(encoder, WANTED)
    assert told["b"] == told["maxrate"] == told["bufsize"] == "5000000"
    assert told["g"] == "60"
    assert told["bf"] == ("0" if encoder == "h264_v4l2m2m" else "2")
    assert pixel_format(encoder) in {"yuv420p", "nv12"}


@pytest.mark.parametrize("encoder", [name for name in ENCODERS if name in av.codecs_available])
def test_every_option_is_one_that_the_encoder_knows(encoder: str) -> None:
    """libav passes over what it does not know, and with it the promise."""
    codec = av.CodecContext.create(encoder, "w").supported_options
    known = {
        option.name: {choice.name for choice in option.choices} for option in (*codec.generic, *codec.private)
    }
    for preset in ("ultrafast", "medium", "slow"):
        for name, value in options(encoder, Coding(800_000, 60, preset, exact=True)).items():
            assert name in known
            assert value.isdigit() or not known[name] or value.removeprefix("+") in known[name], (name, value)


@pytest.mark.parametrize(
    ("wanted", "opens", "used"),
    [
        ("auto", set(), SOFTWARE),
        ("auto", {"h264_qsv", "h264_nvenc"}, "h264_nvenc"),
        ("auto", {"h264_v4l2m2m"}, "h264_v4l2m2m"),
        ("auto", {"h264_amf/without-b", "h264_vaapi"}, "h264_amf/without-b"),
        ("h264_amf", {"h264_amf/without-b", "h264_amf"}, "h264_amf"),
        ("auto", {"libx264"}, SOFTWARE),
        ("libx264", set(HARDWARE), SOFTWARE),
        ("h264_qsv", {"h264_qsv", "h264_nvenc"}, "h264_qsv"),
        ("h264_qsv", {"h264_nvenc"}, SOFTWARE),
    ],
)
def test_hardware_is_used_where_it_opens(wanted: str, opens: set[str], used: str) -> None:
    """B48: from a table of what opens; nothing but what was asked for is tried."""
    assert choose(wanted, opens) == used
    assert used == SOFTWARE or used in candidates(wanted)


@pytest.mark.parametrize("encoder", HARDWARE)
def test_b_frames_are_left_out_where_they_do_not_work(encoder: str) -> None:
    """B22: all else is as with them."""
    with_b, without_b = options(encoder, WANTED), options(encoder + WITHOUT_B, WANTED)
    assert without_b == with_b | {"bf": "0"}
    assert pixel_format(encoder + WITHOUT_B) == pixel_format(encoder)
    assert codec_name(encoder + WITHOUT_B) == encoder
