"""What encoded rungs become for players: playlists, masters, manifest, and their assets (B23-B26, B33, Y6).

Rungs are added as they are finished, in one folder or two; each ``finish`` writes what names all so far.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from media import captions, ladder
from media.layout import AssetType
from media.mpd import Track, manifest
from media.playlists import (
    Clock,
    Segment,
    Sound,
    Tiles,
    Variant,
    image_playlist,
    master_playlist,
    media_playlist,
    with_subtitles,
)
from media.workers import audio, verify
from media.workers.fragments import Index, read_index
from media.workers.outputs import DASH_OFFSET_FRAMES, Plan, RungEncoder, write_dash_audio
from media.workers.protocol import Refused

Assets = list[dict[str, Any]]
TICKS = 90_000
CMAF = "cmaf.m3u8"


def asset(kind: AssetType, key: str, container: str, **shape: Any) -> dict[str, Any]:
    """Describe a finished output of the working folder."""
    size = Path(key).stat().st_size
    return {"type": kind.value, "key": key, "container": container, "size_bytes": size, **shape}


@dataclass(slots=True)
class Package:
    """The rungs that are finished, and what all of them share."""

    plan: Plan
    seconds: float
    cues: captions.CuesOf
    language: str | None = None
    variants: list[Variant] = field(default_factory=list)
    tracks: list[Track] = field(default_factory=list)
    sound: Track | None = None
    start_seconds: float = 0.0

    def add(self, encoders: Sequence[RungEncoder]) -> Assets:
        """Check finished rungs in the working folder and write their playlists over libav's own."""
        made: Assets = []
        for encoder in encoders:
            made += self._add_rung(encoder)
        if self.plan.dash:
            if self.plan.audio is not None and self.sound is None:
                self._add_sound(self.plan.audio)
            self.tracks += [self._add_fragments(encoder) for encoder in encoders]
        return made

    def finish(self, tiles: Tiles | None = None) -> Assets:
        """Write the masters and the manifest of all rungs so far, with captions and storyboard."""
        made: Assets = []
        if tiles is not None:
            Path("hls", tiles.uri).write_text(image_playlist(tiles, "../thumbs/storyboard.jpg"))
        key = captions.MASTERS["ts"]
        self._master("ts", key, self.variants, None, tiles)
        made.append(asset(AssetType.HLS_MASTER, key, "m3u8"))
        if self.plan.dash:
            key = captions.MASTERS["cmaf"]
            fragmented = [_as_cmaf(variant) for variant in self.variants]
            sound = Sound(f"audio/{CMAF}", self.language) if self.sound else None
            self._master("cmaf", key, fragmented, sound, tiles)
            made.append(asset(AssetType.HLS_MASTER, key, "fmp4"))
            self._manifest(tiles)
            made.append(asset(AssetType.DASH_MANIFEST, captions.MANIFEST, "mpd"))
        return made

    def _add_rung(self, encoder: RungEncoder) -> Assets:
        rendition, quality = encoder.rendition, encoder.rendition.rung.name
        playlist = Path(f"hls/{quality}/playlist.m3u8")
        segments = verify.check_rendition(playlist, self.seconds, self.plan.segment_seconds)
        playlist.write_text(media_playlist(segments))
        if not self.variants:
            self.start_seconds = verify.start_of(playlist.parent / segments[0].name)
        self.variants.append(self._variant(encoder, segments))
        shape = {"width": rendition.width, "height": rendition.height, "quality": quality}
        shape |= {"bandwidth": rendition.rung.bitrate, "codec": self.variants[-1].codecs}
        made = [asset(AssetType.HLS_RENDITION, str(playlist), "ts", **shape)]
        if encoder.progressive:
            mp4 = f"mp4/{quality}.mp4"
            verify.check_mp4(Path(mp4), self.seconds, self.plan.segment_seconds)
            made.append(asset(AssetType.MP4, mp4, "mp4", **shape))
        return made

    def _variant(self, encoder: RungEncoder, segments: list[Segment]) -> Variant:
        """Describe a rung: the declared bandwidth is the ladder's (B25), the average is measured."""
        rendition, folder = encoder.rendition, Path(f"hls/{encoder.rendition.rung.name}")
        size = sum((folder / segment.name).stat().st_size for segment in segments)
        average = round(size * 8 / sum(segment.seconds for segment in segments))
        return Variant(
            uri=f"{rendition.rung.name}/playlist.m3u8",
            bandwidth=rendition.rung.bitrate,
            # A short clip may use its second of buffer on top; the average is never above the peak.
            average_bandwidth=min(average, rendition.rung.bitrate),
            width=rendition.width,
            height=rendition.height,
            codecs=encoder.codecs + (f",{audio.CODECS}" if self.plan.audio else ""),
            frame_rate=self.plan.rate,
            upscaled=rendition.upscaled,
        )

    def _add_fragments(self, encoder: RungEncoder) -> Track:
        """Write the playlist of a rung's fragmented file: as many fragments as a ``.ts`` segment has GOPs."""
        rendition, name = encoder.rendition, encoder.rendition.rung.name
        index = self._playlist(f"{name}.mp4", name)
        return index.track(
            f"{name}.mp4", rendition.rung.bitrate, encoder.codecs, (rendition.width, rendition.height)
        )

    def _add_sound(self, source: Path) -> None:
        """Write the one sound of all rungs (B24)."""
        write_dash_audio(source, float(DASH_OFFSET_FRAMES / self.plan.rate))
        track = self._playlist("audio.mp4", "audio").track("audio.mp4", ladder.AUDIO_BITRATE, audio.CODECS)
        self.sound = replace(track, language=self.language)

    def _playlist(self, file: str, folder: str) -> Index:
        index = read_index(Path("dash") / file)
        # Sound may be one frame of its codec longer or shorter than the picture.
        if abs(index.seconds - self.seconds) > self.plan.segment_seconds:
            reason = f"dash/{file} lasts {index.seconds:.2f} of {self.seconds:.2f} s"
            raise Refused("TRANSCODE_ERROR", f"An output is not right: {reason}.", retryable=True)
        uri = f"../../dash/{file}"
        path = Path(f"hls/{folder}/{CMAF}")
        path.parent.mkdir(parents=True, exist_ok=True)
        segments = index.segments(uri, self.plan.gops_per_segment)
        path.write_text(media_playlist(segments, index.header(uri)))
        return index

    def _master(
        self, form: str, key: str, variants: list[Variant], sound: Sound | None, tiles: Tiles | None
    ) -> None:
        start = self.start_seconds if form == "ts" else float(DASH_OFFSET_FRAMES / self.plan.rate)
        clock = Clock(round(start * TICKS), self.seconds)
        for path, text in captions.rendition_files(self.cues, form, clock).items():
            file = Path("hls") / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        text = master_playlist(variants, clock, sound, tiles)
        Path(key).write_text(with_subtitles(text, captions.subtitles(self.cues, form)))

    def _manifest(self, tiles: Tiles | None) -> None:
        """Write the manifest over the indexed files."""
        offset = float(DASH_OFFSET_FRAMES / self.plan.rate)
        text = manifest(
            self.tracks, self.sound, tiles, seconds=self.seconds, rate=self.plan.rate, offset=offset
        )
        Path(captions.MANIFEST).write_text(captions.in_manifest(text, self.cues))


def _as_cmaf(variant: Variant) -> Variant:
    """Return the same rung in its other form."""
    return replace(variant, uri=f"{variant.uri.partition('/')[0]}/{CMAF}")
