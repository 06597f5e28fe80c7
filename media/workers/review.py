"""Child: decide whether what an encoder elsewhere brought is what its job makes (Y14, B50).

Request: ``folder`` with the outputs, ``given`` (names of files that the store has already: captions of
people), ``ladder``, ``upscale``, ``dash``, ``per_title``, ``whole`` (false for a first rung), ``width``,
``height`` and ``seconds`` of the source as the probe found them, or null. Result: length, size and assets as
the encode child's, all read from the files themselves, and ``files``, all names that belong to the set.
Refuses with OUTPUT_REFUSED.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av.error

from media import captions, ladder
from media.image_headers import read_header
from media.ladder import Rendition
from media.layout import THUMBNAILS, AssetType
from media.output_texts import Master, read_cues, read_manifest, read_master, read_playlist, read_segments
from media.playlists import clock_of
from media.workers import audio, verify
from media.workers.fragments import read_index
from media.workers.looking import Seen, look_at_file, look_at_segment
from media.workers.packaging import CMAF, Assets, asset
from media.workers.protocol import Refused, Request, serve
from tables.errors import AppError

REFUSED = "OUTPUT_REFUSED"
TEXT_BYTES = 4 * 1024 * 1024
PICTURE_BYTES = 32 * 1024 * 1024
LONGEST_SEGMENT_SECONDS = 7.0
"""Six seconds, to whole groups of pictures at odd rates (B23)."""
OVERHEAD = 1.25
"""Bytes of a rung's segments, with sound and transport stream, over those of its pictures at most."""
SLACK_SECONDS = 0.5
"""Between what a playlist says of a segment and its pictures."""
PICTURES = (("poster", None), *((name, name) for name in THUMBNAILS))


def handle(request: Request) -> dict[str, Any]:
    """Review one set of outputs."""
    os.chdir(request["folder"])
    with _blaming("the set"):
        return Review(request).run()


@contextmanager
def _blaming(what: str) -> Iterator[None]:
    """Say which file is wrong, whatever is wrong with it."""
    try:
        yield
    except Refused as error:
        raise Refused(REFUSED, error.reason, retryable=True) from error
    except (ValueError, KeyError, OSError, AppError, av.error.FFmpegError, StopIteration) as error:
        raise Refused(REFUSED, f"{what} is not right: {error}.", retryable=True) from error


class Review:
    """Looks at one set of outputs in the working folder."""

    def __init__(self, request: Request) -> None:
        """Take the request."""
        self._request = request
        self._files: set[str] = set()
        self._assets: Assets = []
        self._sound = False
        self._count: dict[str, int] = {}

    def run(self) -> dict[str, Any]:
        """Look at everything that the master playlists name, and at the pictures."""
        name = captions.MASTERS["ts"]
        with _blaming(name):
            text = self._text(name)
            master, seconds = read_master(text, name), self._seconds(text)
        best = max(master.rungs.values(), key=lambda told: told.width * told.height)
        size = self._request["width"] or best.width, self._request["height"] or best.height
        renditions = self._renditions(master, size)
        self._assets.append(asset(AssetType.HLS_MASTER, name, "m3u8"))
        seen = {}
        for rendition in renditions:
            with _blaming(f"hls/{rendition.rung.name}"):
                seen[rendition.rung.name] = self._rung(rendition, master, seconds)
        self._sound = all(found.sound for found in seen.values())
        self._named(master.names)
        self._progressive(renditions, seconds)
        if self._request["dash"]:
            self._fragmented(renditions, master, seconds)
        self._captions(master)
        self._pictures()
        return {
            "duration_seconds": seconds,
            "width": size[0],
            "height": size[1],
            "assets": self._assets,
            "files": sorted(self._files),
        }

    def _seconds(self, master: str) -> float:
        told = clock_of(master).seconds
        known = self._request["seconds"] or told
        if abs(told - known) > 1.0:
            raise ValueError(f"it lasts {told:.2f} of {known:.2f} s")
        return float(known)

    def _renditions(self, master: Master, size: tuple[int, int]) -> list[Rendition]:
        """Return the rungs that the set has; they are those that the ladder gives for the source (B19)."""
        request = self._request
        wanted = ladder.renditions(request["ladder"], *size, upscale=request["upscale"])
        chosen = [rendition for rendition in wanted if rendition.rung.name in master.rungs]
        missing = len(chosen) < len(wanted) and request["whole"] and not request["per_title"]
        if missing or len(chosen) < len(master.rungs):
            names = "+".join(rendition.rung.name for rendition in wanted)
            raise ValueError(f"it has the rungs {'+'.join(sorted(master.rungs))} instead of {names}")
        return chosen

    def _rung(self, rendition: Rendition, master: Master, seconds: float) -> Seen:
        """Check playlist and segments of a rung: sizes, rates, keyframes, lengths (B21-B23, B25)."""
        name = rendition.rung.name
        playlist = f"hls/{name}/playlist.m3u8"
        segments = read_segments(self._text(playlist))
        verify.check_rendition(Path(playlist), seconds, LONGEST_SEGMENT_SECONDS)
        if max(segment.seconds for segment in segments) > LONGEST_SEGMENT_SECONDS:
            raise ValueError("a segment is too long")
        paths = [self._own(f"hls/{name}/{segment.name}") for segment in segments]
        seen = [look_at_segment(path) for path in paths]
        total = sum(path.stat().st_size for path in paths) * 8
        declared = rendition.rung.bitrate + ladder.AUDIO_BITRATE
        if total > OVERHEAD * declared * (seconds + 1.0):
            raise ValueError(f"it needs {total / seconds / 1e6:.1f} Mbit/s")
        codecs = seen[0].codecs + (f",{audio.CODECS}" if seen[0].sound else "")
        told = master.rungs[name]
        for found, segment in zip(seen, segments, strict=True):
            self._same(found, rendition, codecs)
            if abs(found.seconds - segment.seconds) > SLACK_SECONDS:
                raise ValueError(f"{segment.name} lasts {found.seconds:.2f} of {segment.seconds:.2f} s")
        self._count[name] = sum(found.pictures for found in seen)
        if (told.width, told.height) != (rendition.width, rendition.height) or told.codecs != codecs:
            raise ValueError("the master playlist says something else of it")
        if told.bandwidth != rendition.rung.bitrate:
            raise ValueError(f"the master playlist says {told.bandwidth} bit/s of it")
        shape = self._shape(rendition, codecs)
        self._assets.append(asset(AssetType.HLS_RENDITION, playlist, "ts", **shape))
        return seen[0]

    def _same(self, found: Seen, rendition: Rendition, codecs: str) -> None:
        if (found.width, found.height) != (rendition.width, rendition.height):
            raise ValueError(f"pictures are {found.width}x{found.height}")
        if found.codecs != codecs.partition(",")[0]:
            raise ValueError(f"pictures are {found.codecs}")

    def _same_pictures(self, found: Seen, rendition: Rendition, codecs: str) -> None:
        """Check that a file has all the pictures of a rung's segments."""
        self._same(found, rendition, codecs)
        wanted = self._count[rendition.rung.name]
        if found.pictures != wanted:
            raise ValueError(f"it has {found.pictures} of {wanted} pictures")

    def _shape(self, rendition: Rendition, codecs: str) -> dict[str, Any]:
        return {
            "width": rendition.width,
            "height": rendition.height,
            "quality": rendition.rung.name,
            "bandwidth": rendition.rung.bitrate,
            "codec": codecs,
        }

    def _progressive(self, renditions: list[Rendition], seconds: float) -> None:
        """Check the progressive mp4: that of the best rung up to 720p, and of a first rung's own (B26)."""
        best = ladder.poster_rung(tuple(renditions))
        for rendition in renditions:
            name = f"mp4/{rendition.rung.name}.mp4"
            if rendition is not best and not Path(name).exists():
                continue
            with _blaming(name):
                path = self._own(name)
                verify.check_mp4(path, seconds, LONGEST_SEGMENT_SECONDS)
                found = look_at_file(path)
                self._same_pictures(found, rendition, found.codecs)
                if found.sound != self._sound:
                    raise ValueError("it has not the sound of the others")
            codecs = found.codecs + (f",{audio.CODECS}" if found.sound else "")
            self._assets.append(asset(AssetType.MP4, name, "mp4", **self._shape(rendition, codecs)))

    def _fragmented(self, renditions: list[Rendition], master: Master, seconds: float) -> None:
        """Check the DASH set and its other names in HLS (B24)."""
        name = captions.MASTERS["cmaf"]
        with _blaming(name):
            other = read_master(self._text(name), name)
            if (other.rungs, other.languages) != (master.rungs, master.languages):
                raise ValueError("it says something else than the other master playlist")
        for rendition in renditions:
            with _blaming(f"dash/{rendition.rung.name}.mp4"):
                path = self._track(rendition.rung.name, seconds)
                self._same_pictures(look_at_file(path), rendition, master.rungs[rendition.rung.name].codecs)
        if self._sound:
            with _blaming("dash/audio.mp4"):
                self._track("audio", seconds)
        with _blaming(captions.MANIFEST):
            self._named(read_manifest(self._text(captions.MANIFEST), captions.MANIFEST))
        self._named(other.names)
        self._assets.append(asset(AssetType.HLS_MASTER, name, "fmp4"))
        self._assets.append(asset(AssetType.DASH_MANIFEST, captions.MANIFEST, "mpd"))

    def _track(self, track: str, seconds: float) -> Path:
        """Check a fragmented file against its index, and the playlist of its byte ranges."""
        name, playlist = f"dash/{track}.mp4", f"hls/{track}/{CMAF}"
        path = self._own(name)
        names, lasts, end = read_playlist(self._text(playlist), playlist)
        if names != {name} or end > path.stat().st_size:
            raise ValueError("its playlist is of something else")
        if max(abs(lasts - seconds), abs(read_index(path).seconds - seconds)) > LONGEST_SEGMENT_SECONDS:
            raise ValueError(f"it lasts {lasts:.2f} of {seconds:.2f} s")
        return path

    def _named(self, names: frozenset[str]) -> None:
        """Take files into the set that its texts name."""
        for name in sorted(names.difference(self._request["given"])):
            self._own(name)

    def _captions(self, master: Master) -> None:
        """Check the captions that the masters name, and those of the source itself (Y6)."""
        for tag in sorted(master.languages):
            for form in captions.FORMS[: 1 + self._request["dash"]]:
                stem = f"{tag}-{form}"
                playlist = f"hls/captions/{stem}.m3u8"
                with _blaming(playlist):
                    if read_playlist(self._text(playlist), playlist)[0] != {f"hls/captions/{stem}.vtt"}:
                        raise ValueError("it names something else")
                    lines = self._text(f"hls/captions/{stem}.vtt").splitlines(keepends=True)
                    plain = [line for line in lines if not line.startswith("X-TIMESTAMP-MAP=")]
                    captions.parse("".join(plain).encode())
            own = f"captions/{tag}.vtt"
            if Path(own).exists():
                with _blaming(own):
                    captions.parse(self._text(own).encode())
                self._assets.append(asset(AssetType.CAPTIONS, own, "vtt", quality=tag))

    def _pictures(self) -> None:
        """Check poster and thumbnails, and with a whole set the others (B27-B31)."""
        for name, quality in PICTURES:
            wanted = THUMBNAILS.get(name)
            self._picture(AssetType.THUMBNAIL if wanted else AssetType.POSTER, f"{name}.jpg", quality, wanted)
        if not self._request["whole"]:
            return
        for path in sorted(Path("thumbs").glob("timeline_[0-9][0-9].jpg")):
            self._picture(AssetType.TIMELINE, path.name, path.stem[-2:], shaped=False)
        self._picture(AssetType.PREVIEW, "preview.gif")
        self._picture(AssetType.PREVIEW, "preview.webp")
        with _blaming("the storyboard"):
            sheet, playlist, cues = "thumbs/storyboard.jpg", "hls/storyboard.m3u8", "thumbs/storyboard.vtt"
            named = read_playlist(self._text(playlist), playlist)[0] | read_cues(self._text(cues), cues)
            if named != {sheet}:
                raise ValueError("it names something else")
        self._assets.append(asset(AssetType.STORYBOARD, "thumbs/storyboard.vtt", "vtt"))
        self._picture(AssetType.STORYBOARD, "storyboard.jpg")

    def _picture(
        self,
        kind: AssetType,
        file: str,
        quality: str | None = None,
        size: tuple[int, int] | None = None,
        *,
        shaped: bool = True,
    ) -> None:
        name = f"thumbs/{file}"
        with _blaming(name):
            path = self._own(name)
            if path.stat().st_size > PICTURE_BYTES:
                raise ValueError("it is too large")
            header = read_header(path.read_bytes())
            if header.kind != file.rpartition(".")[2] or (size and (header.width, header.height) != size):
                raise ValueError(f"it is {header.kind} of {header.width}x{header.height}")
        shape: dict[str, Any] = {"width": header.width, "height": header.height} if shaped else {}
        if quality is not None:
            shape["quality"] = quality
        self._assets.append(asset(kind, name, file.rpartition(".")[2], **shape))

    def _text(self, name: str) -> str:
        path = self._own(name)
        if path.stat().st_size > TEXT_BYTES:
            raise ValueError(f"{name} is too large")
        return path.read_text(encoding="utf-8")

    def _own(self, name: str) -> Path:
        """Return a file of the set, which belongs to it from now on."""
        path = Path(name)
        if not path.is_file() or path.is_symlink():
            raise ValueError(f"{name} is missing")
        self._files.add(name)
        return path


if __name__ == "__main__":
    serve(handle)
