"""Captions of a job: files that people gave, and text that the source carries itself (Y6)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from av.container import InputContainer
from av.stream import Stream
from av.subtitles.subtitle import AssSubtitle

from media import captions
from media.captions import Cue
from media.languages import language
from media.layout import AssetType
from media.workers import source as src
from media.workers.frames import Source
from media.workers.packaging import Assets, asset
from tables.errors import ValidationFailed

DRAWING = "{\\p"
LAST_SECONDS = 4.0
"""How long a caption without an end of its own stays."""


@dataclass(frozen=True, slots=True)
class Texts:
    """All captions of a job by language, and which languages are the source's own: those are outputs."""

    cues: dict[str, list[Cue]]
    own: tuple[str, ...]

    def write(self) -> Assets:
        """Write the source's own captions into the working folder, and describe them.

        Files that people gave are left alone: they may have given newer ones meanwhile.
        """
        made = Assets()
        for tag in self.own:
            path = Path(f"captions/{tag}.vtt")
            path.parent.mkdir(exist_ok=True)
            path.write_text(captions.write(self.cues[tag]))
            made.append(asset(AssetType.CAPTIONS, str(path), "vtt", quality=tag))
        return made


def collect(source: Source, folder: Path, *, embedded: bool) -> Texts:
    """Return the captions in ``folder``, and if ``embedded`` those of the source in other languages."""
    found: dict[str, list[Cue]] = {}
    for path in sorted(folder.glob("*.vtt")):
        try:
            found[path.stem] = captions.parse(path.read_bytes())
        except ValidationFailed:
            # It was checked when it came; a video never fails for its captions.
            continue
    own = {tag: cues for tag, cues in _embedded(source) if cues and tag not in found} if embedded else {}
    return Texts(found | own, tuple(own))


def _embedded(source: Source) -> Iterator[tuple[str, list[Cue]]]:
    """Yield language and cues of each text track of the source, as far as it can be read."""
    for track in source.info["subtitles"]:
        try:
            with src.open_source(source.path, source.container, source.limits) as opened:
                cues = list(_cues(opened, opened.streams[track["index"]], source))
        except src.BROKEN:
            continue
        yield language(track["language"]), _ended(cues, source.seconds)


def _cues(opened: InputContainer, stream: Stream, source: Source) -> Iterator[Cue]:
    for count, packet in enumerate(src.packets(opened, stream)):
        if packet.pts is None or packet.time_base is None or count > captions.MAX_CUES:
            continue
        start = float(packet.pts * packet.time_base) - source.info["start"]
        length = float((packet.duration or 0) * packet.time_base)
        text = "\n".join(_lines(packet.decode()))
        if text and 0 <= start < source.seconds:
            yield Cue(start, start + length, text)


def _lines(decoded: Iterable[object]) -> Iterator[str]:
    """Yield the plain text of what a subtitle decoder gave: libav makes ASS of every kind."""
    for subtitle in decoded:
        if isinstance(subtitle, AssSubtitle) and DRAWING not in subtitle.ass.decode(errors="replace"):
            text = subtitle.dialogue.decode(errors="replace").replace("\\N", "\n").strip()
            # What a track says is text, never markup.
            yield text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _ended(cues: list[Cue], seconds: float) -> list[Cue]:
    """Give those without an end the start of the next, or a few seconds."""
    cues = sorted(cues, key=lambda cue: cue.start)
    ends = [*(cue.start for cue in cues[1:]), seconds]
    return [
        cue if cue.end > cue.start else Cue(cue.start, min(following, cue.start + LAST_SECONDS), cue.text)
        for cue, following in zip(cues, ends, strict=True)
        if cue.end > cue.start or following > cue.start
    ]
