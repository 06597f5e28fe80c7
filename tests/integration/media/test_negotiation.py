"""Hardware is used where it works, and nothing is lost where it does not (B21, B22, B48)."""

from pathlib import Path
from typing import Any

import av
import pytest

from media import negotiation, pipeline
from media.child import ChildCrashed
from media.limits import ENCODE_CHILD, ChildLimits
from media.pipeline import MediaSettings, run_job
from media.stores import FileStore
from media.workers import review
from tables.records import MediaJob
from tests.integration.media.media_checks import make_clip


async def test_only_what_keeps_to_the_promise_is_taken_when_encoders_are_tried() -> None:
    """B21, B22: keyframes where they are wanted, H.264, in time, at the rate."""
    tried = ("libx264rgb", "mpeg2video", "no_such_encoder", "libx264", "libx264/without-b")
    assert await negotiation._opening(tried) == ["libx264", "libx264/without-b"]


async def test_outputs_are_whole_when_the_encoder_has_no_b_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B22, B48: they pass the same review as all that comes from elsewhere."""

    async def without_b(wanted: str) -> str:
        return "libx264/without-b"

    monkeypatch.setattr(pipeline, "chosen_encoder", without_b)
    found = await made_by(tmp_path, "240p")
    asked = {"ladder": "240p", "upscale": True, "dash": True, "per_title": False, "whole": True, "given": []}
    request = asked | {"folder": str(found), "width": 320, "height": 180, "seconds": 1.0}
    monkeypatch.chdir(tmp_path)
    assert "hls/240p/playlist.m3u8" in review.handle(request)["files"]
    with av.open(str(found / "mp4/240p.mp4")) as opened:
        assert all(packet.pts == packet.dts for packet in opened.demux(video=0) if packet.size)


async def made_by(folder: Path, ladder: str) -> Path:
    """Encode a clip of a second; returns the folder of its outputs."""
    make_clip(folder / "clip.mov", seconds=1.0)
    store = FileStore(folder / "store")
    await store.put_file("videos/v/source.mov", folder / "clip.mov", content_type="")
    job = MediaJob(job_id="j", video_id="v", source_key="videos/v/source.mov", ladder=ladder)

    async def silent(percent: float | None, stage: str) -> None:
        pass

    await run_job(job, store, folder / "work", MediaSettings(encoder="auto", preset="ultrafast"), silent)
    return folder / "store/videos/v"


async def test_others_are_tried_when_one_crashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver takes its own child down and no other."""
    asked = []

    async def crashing(worker: str, request: Any, limits: ChildLimits, note: Any) -> None:
        asked.append(list(request["candidates"]))
        for name in request["candidates"]:
            if name == "bad":
                raise ChildCrashed("signal 11", "")
            await note({"kind": "tried", "encoder": name, "why": None if name == "good" else "no device"})

    monkeypatch.setattr(negotiation, "run_child", crashing)
    assert await negotiation._opening(("none", "bad", "good", "bad")) == ["good"]
    assert asked == [["none", "bad", "good", "bad"], ["good", "bad"]]


async def test_software_encodes_when_what_was_asked_for_is_not_there() -> None:
    """Tried once: the second answer is remembered."""
    assert await negotiation.chosen_encoder("h264_nothing") == "libx264"
    assert negotiation._chosen["h264_nothing"] == "libx264"
    assert await negotiation.chosen_encoder("libx264") == "libx264"


def test_addresses_are_not_limited_when_hardware_encodes() -> None:
    """Drivers map whole address spaces; the software's limit stays."""
    assert negotiation.limits_for("libx264", ENCODE_CHILD) == ENCODE_CHILD
    more = negotiation.limits_for("h264_nvenc", ENCODE_CHILD)
    assert more.address_space_bytes > 100 * ENCODE_CHILD.address_space_bytes
    assert more.cpu_seconds == ENCODE_CHILD.cpu_seconds


async def test_job_succeeds_when_hardware_fails_in_the_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B48: an encoder that opened once may have no session left: the software does it, in the same try."""
    monkeypatch.setattr(pipeline, "chosen_encoder", _always_nvenc)
    make_clip(tmp_path / "clip.mov", seconds=1.0)
    store = FileStore(tmp_path / "store")
    await store.put_file("videos/v/source.mov", tmp_path / "clip.mov", content_type="")
    job = MediaJob(job_id="j", video_id="v", source_key="videos/v/source.mov", ladder="240p")
    settings = MediaSettings(encoder="auto", preset="ultrafast")
    told: list[float] = []

    async def progress(percent: float | None, stage: str) -> None:
        told.append(percent or 0.0)

    outcome = await run_job(job, store, tmp_path / "work", settings, progress)
    assert "videos/v/hls/master.m3u8" in {asset.key for asset in outcome.assets}
    assert told == sorted(told)


async def _always_nvenc(wanted: str) -> str:
    return "h264_no_session"
