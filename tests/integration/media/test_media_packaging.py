"""Both forms of HLS, the first rung apart, captions, loudness: on clips made here (B22-B29, Y5-Y7)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import m3u8
import mpegdash.parser
import numpy as np
import pytest
from av.packet import Packet

from media import captions, layout, pipeline
from media.child import ChildCrashed, run_child
from media.limits import ChildLimits
from media.pipeline import MediaOutcome, MediaSettings, run_job
from media.stores import FileStore, ObjectInfo
from tables.records import MediaJob
from tests.integration.media.media_checks import RATE, make_clip

SECONDS = 7
ASS_HEADER = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, \
Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, \
MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,0

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


def with_text_track(source: Path, path: Path, cues: Sequence[tuple[float, float, str]]) -> None:
    """Copy a clip and add a text track in English, as phones and editors do."""
    with av.open(str(source)) as opened, av.open(str(path), "w", format="mp4") as output:
        track = output.add_stream("mov_text")
        track.metadata["language"] = "eng"
        track.codec_context.subtitle_header = ASS_HEADER
        copies = {stream.index: output.add_stream_from_template(stream) for stream in opened.streams.video}
        output.start_encoding()
        for packet in opened.demux(video=0):
            if packet.dts is not None:
                packet.stream = copies[packet.stream_index]
                output.mux(packet)
        for start, end, text in cues:
            packet = Packet(len(text).to_bytes(2, "big") + text.encode())
            packet.pts = packet.dts = round(start * 1000)
            packet.duration, packet.time_base, packet.stream = (
                round((end - start) * 1000),
                Fraction(1, 1000),
                track,
            )
            output.mux(packet)


@dataclass
class Job:
    """A job on the ladder of the two smallest rungs, and what was in the store when the first one played."""

    folder: Path
    playable: list[tuple[MediaOutcome, set[str]]] = field(default_factory=list)
    kind: type[FileStore] = FileStore
    removed: str = ""
    """A key that somebody deletes when the first rung plays."""

    @property
    def store(self) -> FileStore:
        """Where its objects are."""
        return self.kind(self.folder / "store")

    def path(self, key: str) -> Path:
        """Return the file of an object of the video."""
        return self.folder / "store/videos/v" / key

    def keys(self) -> set[str]:
        """Return all that the store has of the video."""
        root = self.folder / "store/videos/v"
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}

    async def run(self, source: Path, **settings: object) -> MediaOutcome:
        """Store a source and run the job."""
        key = f"videos/v/source{source.suffix}"
        await self.store.put_file(key, source, content_type="video/quicktime")

        async def note(percent: float | None, stage: str) -> None:
            return None

        async def playable(outcome: MediaOutcome) -> None:
            self.check_whole("hls/master.m3u8")
            self.check_whole("hls/master-cmaf.m3u8")
            self.playable.append((outcome, self.keys()))
            if self.removed:
                await self.store.delete(self.removed)

        job = MediaJob(job_id="j", video_id="v", source_key=key, ladder="240p+360p")
        options = MediaSettings(**{"preset": "ultrafast", "first_rung_seconds": None, **settings})  # type: ignore[arg-type]
        return await run_job(job, self.store, self.folder / "work", options, note, playable)

    def check_whole(self, master: str) -> None:
        """Check that everything that a master names is there, down to the bytes."""
        read = m3u8.load(str(self.path(master)))
        named = [each.uri for each in (*read.playlists, *read.media)]
        for uri in named:
            listed = m3u8.load(str(self.path("hls") / uri))
            assert listed.segments
            for segment in listed.segments:
                file = (self.path("hls") / uri).parent / segment.uri
                size = file.stat().st_size
                assert size
                if segment.byterange:
                    length, start = map(int, segment.byterange.split("@"))
                    assert start + length <= size


def onsets(path: Path) -> tuple[float, float, int]:
    """Return when the picture turns white, when the tone begins, and how many pictures decode."""
    white = tone = -1.0
    count = 0
    with av.open(str(path)) as opened:
        for frame in opened.decode(video=0):
            count += 1
            if white < 0 and frame.to_ndarray(format="gray").mean() > 128:
                white = float(frame.time or 0)
    with av.open(str(path)) as opened:
        for frame in opened.decode(audio=0):
            loud = np.flatnonzero(np.abs(frame.to_ndarray()[0]) > 0.1)
            if loud.size:
                tone = float(frame.time or 0) + loud[0] / frame.sample_rate
                break
    return white, tone, count


async def test_sound_starts_with_the_picture_in_both_forms_of_hls(tmp_path: Path) -> None:
    """Start offset within 10 ms of the source's, every picture decodes, both forms cut at the same places."""
    make_clip(tmp_path / "clip.mov")
    job = Job(tmp_path)
    await job.run(tmp_path / "clip.mov", loudness_lufs=None)
    assert job.playable == []
    for key in ("hls/master.m3u8", "hls/master-cmaf.m3u8", "mp4/360p.mp4"):
        white, tone, count = onsets(job.path(key))
        assert tone - white == pytest.approx(0.0, abs=0.010), key
        assert count == SECONDS * RATE, key
    ts, cmaf = (m3u8.load(str(job.path(f"hls/240p/{name}.m3u8"))) for name in ("playlist", "cmaf"))
    assert [segment.duration for segment in cmaf.segments] == [6.0, 1.0]
    assert [round(segment.duration, 3) for segment in ts.segments] == [6.0, 1.0]
    sets = mpegdash.parser.MPEGDASHParser.parse(str(job.path("dash/manifest.mpd"))).periods[0].adaptation_sets
    assert [[each.id for each in found.representations] for found in sets] == [
        ["240p", "360p"],
        ["audio"],
        ["storyboard"],
    ]
    [board] = sets[2].representations
    [tiles] = board.essential_properties
    # Four pictures of seven seconds, 160x90 each; the one sheet stands for all of the video.
    assert (tiles.scheme_id_uri, tiles.value) == ("http://dashif.org/guidelines/thumbnail_tile", "4x1")
    assert (sets[2].mime_type, board.width, board.height) == ("image/jpeg", 640, 90)
    [template] = sets[2].segment_templates
    sheet = job.path("dash") / template.media
    assert sheet.stat().st_size
    assert template.duration / template.timescale >= SECONDS


async def test_first_rung_plays_before_the_others_and_stays_part_of_the_whole(tmp_path: Path) -> None:
    """Y5: what the first set names is whole when it is told; nothing of it is lost or encoded twice."""
    make_clip(tmp_path / "clip.mov", seconds=3)
    job = Job(tmp_path)
    outcome = await job.run(tmp_path / "clip.mov", first_rung_seconds=0.0)
    [(first, stored)] = job.playable
    assert (first.duration_seconds, first.width, first.height) == (3.0, 320, 180)
    assert not any("360p" in key for key in stored)
    assert {asset.key.removeprefix("videos/v/") for asset in first.assets} <= stored
    kinds = {asset.type for asset in first.assets}
    assert kinds >= {"HLS_MASTER", "HLS_RENDITION", "DASH_MANIFEST", "MP4", "POSTER", "THUMBNAIL"}
    identity = {(asset.type, asset.quality, asset.container) for asset in outcome.assets}
    assert len(identity) == len(outcome.assets)
    assert {(asset.type, asset.quality, asset.container) for asset in first.assets} <= identity
    assert stored <= job.keys()
    for name in ("master", "master-cmaf"):
        job.check_whole(f"hls/{name}.m3u8")
        read = m3u8.load(str(job.path(f"hls/{name}.m3u8")))
        assert {each.uri.split("/")[0] for each in read.playlists} == {"240p", "360p"}
        assert onsets(job.path(f"hls/{name}.m3u8"))[2] == 3 * RATE
    for asset in outcome.assets:
        assert job.path(asset.key.removeprefix("videos/v/")).stat().st_size == asset.size_bytes
    best = layout.primary(outcome.assets, layout.AssetType.MP4)
    assert best is not None
    assert best.quality == "360p"


async def test_captions_of_people_and_of_the_source_are_in_every_playlist(tmp_path: Path) -> None:
    """Y6: given ones win over the source's in the same language; markup in a source's track is only text."""
    make_clip(tmp_path / "clip.mov", seconds=3)
    with_text_track(
        tmp_path / "clip.mov", tmp_path / "told.mp4", [(0.5, 1.5, "a <b> & c"), (2.0, 2.5, "end")]
    )
    job = Job(tmp_path)
    given = b"WEBVTT\n\n00:00.000 --> 00:01.000\nHallo\n"
    await job.store.put_bytes(layout.caption_key("v", "de"), given, content_type="text/vtt")
    await job.store.put_bytes(layout.caption_key("v", "fr"), b"not webvtt", content_type="text/vtt")
    outcome = await job.run(tmp_path / "told.mp4")
    assert [a.quality for a in outcome.assets if a.type == "CAPTIONS"] == ["en"]
    assert job.path("captions/de.vtt").read_bytes() == given
    own = captions.parse(job.path("captions/en.vtt").read_bytes())
    assert [(cue.start, cue.end, cue.text) for cue in own] == [
        (0.5, 1.5, "a &lt;b&gt; &amp; c"),
        (2.0, 2.5, "end"),
    ]
    for form, master in captions.MASTERS.items():
        job.check_whole(master)
        read = m3u8.load(str(job.path(master)))
        found = [(e.language, e.name) for e in read.media if e.type == "SUBTITLES"]
        assert found == [("de", "Deutsch"), ("en", "English")]
        told = job.path(f"hls/captions/en-{form}.vtt").read_text()
        with av.open(str(job.path("hls/240p/segment_00000.ts"))) as opened:
            start = min(p.pts for p in opened.demux(video=0) if p.pts is not None)
        assert f"MPEGTS:{start if form == 'ts' else 6000}\n" in told
    assert "../captions/de.vtt" in job.path("dash/manifest.mpd").read_text()

    await job.store.delete(layout.caption_key("v", "en"))
    again = await job.run(tmp_path / "told.mp4", source_captions=False)
    assert not [a for a in again.assets if a.type == "CAPTIONS"], "what was taken back stays away"
    assert [e.language for e in m3u8.load(str(job.path(master))).media if e.type == "SUBTITLES"] == ["de"]


async def test_captions_of_the_source_stay_as_their_owner_wants_them_while_rungs_are_added(
    tmp_path: Path,
) -> None:
    """Y6: they come with the first rung; what is changed or taken back from then on stays so."""
    make_clip(tmp_path / "clip.mov", seconds=3)
    with_text_track(tmp_path / "clip.mov", tmp_path / "told.mp4", [(0.5, 1.5, "a")])
    en = layout.caption_key("v", "en")
    job = Job(tmp_path, removed=en)
    await job.run(tmp_path / "told.mp4", first_rung_seconds=0.0)
    [(first, stored)] = job.playable
    assert "captions/en.vtt" in stored
    assert [asset.quality for asset in first.assets if asset.type == "CAPTIONS"] == ["en"]
    assert await job.store.stat(en) is None

    given = b"WEBVTT\n\n00:00.000 --> 00:01.000\nBetter\n"

    class Late(FileStore):
        """Captions are given just after the job looked for them."""

        async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
            async for found in super().list(prefix):
                yield found
            await self.put_bytes(en, given, content_type="text/vtt")

    whole = Job(tmp_path / "whole", kind=Late)
    await whole.run(tmp_path / "told.mp4")
    assert whole.path("captions/en.vtt").read_bytes() == given


async def test_captions_taken_back_stay_away_when_hardware_fails_after_the_first_rung(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B48, Y6: the software does the whole again, but not what the owner undid meanwhile."""
    make_clip(tmp_path / "clip.mov", seconds=3)
    with_text_track(tmp_path / "clip.mov", tmp_path / "told.mp4", [(0.5, 1.5, "a")])
    encoders = []

    async def failing(wanted: str) -> str:
        return "h264_fails_late"

    async def run(worker: str, request: dict[str, Any], limits: ChildLimits, note: Any) -> dict[str, Any]:
        encoders.append(request["encoder"])
        done = await run_child(worker, request | {"encoder": "libx264"}, limits, note)
        if request["encoder"] == "h264_fails_late":
            raise ChildCrashed("signal 11", "")
        return done

    monkeypatch.setattr(pipeline, "chosen_encoder", failing)
    monkeypatch.setattr(pipeline, "run_child", run)
    en, fr = layout.caption_key("v", "en"), layout.caption_key("v", "fr")
    given = b"WEBVTT\n\n00:00.000 --> 00:01.000\nBonjour\n"
    job = Job(tmp_path, removed=en)
    await job.store.put_bytes(fr, given, content_type="text/vtt")
    outcome = await job.run(tmp_path / "told.mp4", encoder="auto", first_rung_seconds=0.0)
    assert encoders == ["h264_fails_late", "libx264"]
    [(_, stored)] = job.playable
    assert "captions/en.vtt" in stored
    assert await job.store.stat(en) is None
    assert job.path("captions/fr.vtt").read_bytes() == given
    assert not [asset for asset in outcome.assets if asset.type == "CAPTIONS"]
    master = m3u8.load(str(job.path("hls/master.m3u8")))
    assert [each.language for each in master.media if each.type == "SUBTITLES"] == ["fr"]
    assert len(master.playlists) == 2
    job.check_whole("hls/master.m3u8")


async def test_pictures_move_and_seek_bars_have_their_sheet(tmp_path: Path) -> None:
    """B29, Y7: the WebP is the small form of the preview; the sheet's tiles cover the video."""
    make_clip(tmp_path / "clip.mov", seconds=5)
    job = Job(tmp_path)
    await job.run(tmp_path / "clip.mov")
    gif, webp = job.path("thumbs/preview.gif"), job.path("thumbs/preview.webp").read_bytes()
    assert webp[:4] == b"RIFF"
    assert webp[8:16] == b"WEBPVP8X"
    assert webp.count(b"ANMF") > 1
    with av.open(str(gif)) as opened:
        assert sum(1 for _ in opened.decode(video=0)) == 30
    [tiles] = m3u8.load(str(job.path("hls/storyboard.m3u8"))).data["tiles"]
    columns, rows = map(int, tiles["layout"].split("x"))
    assert columns * rows * tiles["duration"] >= 5
    sheet = job.path("thumbs/storyboard.jpg")
    with av.open(str(sheet)) as opened:
        frame = next(opened.decode(video=0))
    assert (frame.width, frame.height) == (columns * 160, rows * 90)
    # Three tiles stand for 5 s: none is from the white second, 1 to 2 s, except the middle of the first.
    levels = [frame.to_ndarray(format="gray")[45, 80 + 160 * n] for n in range(columns)]
    assert levels[-1] < 40


def loudness_of(path: Path) -> tuple[float, float]:
    """Return integrated loudness in LUFS and true peak as a share of full scale."""
    graph = av.filter.Graph()
    with av.open(str(path)) as opened:
        stream = opened.streams.audio[0]
        source, meter = graph.add_abuffer(template=stream), graph.add("ebur128", "peak=true:metadata=1")
        sink = graph.add("abuffersink")
        source.link_to(meter)
        meter.link_to(sink)
        graph.configure()
        told: dict[str, str] = {}
        for frame in [*opened.decode(stream), None]:
            source.push(frame)
            while True:
                try:
                    told = sink.pull().metadata or told
                except (av.error.BlockingIOError, av.error.EOFError):
                    break
    return float(told["lavfi.r128.I"]), float(told["lavfi.r128.true_peak"])


@pytest.mark.parametrize(
    ("level", "layout_name", "target", "expected"),
    [
        (0.08, "stereo", -14.0, -14.0),
        (0.9, "mono", -23.0, -23.0),
        (0.9, "5.1", -14.0, -14.0),
        (0.001, "stereo", -14.0, None),
        (0.0, "stereo", -14.0, None),
    ],
)
async def test_sound_is_brought_to_the_target_and_silence_stays_silence(
    tmp_path: Path, level: float, layout_name: str, target: float, expected: float | None
) -> None:
    """Quiet sound is lifted, loud sound lowered, nothing clips, an empty room stays as it is."""
    from media.limits import SourceLimits
    from media.sniff import Container
    from media.workers import audio

    make_clip(tmp_path / "clip.mov", seconds=3, level=level, channels=layout_name)
    track = tmp_path / "audio.nut"
    sound = audio.Sound(tmp_path / "clip.mov", Container.MOV, SourceLimits(), 1, 0.0, 3.0)
    await asyncio.to_thread(audio.encode, sound, track, target)
    found, peak = loudness_of(track)
    assert peak <= 1.0
    if expected is None:
        assert found <= -50
    else:
        assert found == pytest.approx(expected, abs=1.0)
