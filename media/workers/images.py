"""Child: an uploaded image to its variants (B38).

Request: ``path``, ``out`` (an empty folder), ``images`` (fields of ``ImageLimits``). Result: the fields of
``media.images.Rendered``: ``width`` and ``height`` upright, ``placeholder``, ``colour``, and ``variants``,
each ``{variant, file, mime, width, height, size_bytes}``.

Turned, in sRGB with 8 bits, and encoded anew: of the upload's bytes nothing is left, so neither is what it
said of place and time. Large pictures are made small first, and everything else is done to the small one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from av.codec import CodecContext
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorTrc, Interpolation
from numpy.typing import NDArray

from media import heif
from media.image_headers import ImageHeader, ImageKind, read_header
from media.image_variants import FORMATS, SIDES, ImageLimits, sizes, within
from media.workers import icc
from media.workers.placeholder import SIDE, blurhash, dominant
from media.workers.protocol import Refused, Request, serve
from media.workers.source import BROKEN
from tables.errors import AppError

Pixels = NDArray[np.uint8]
DECODERS: Final = {
    ImageKind.JPEG: "mjpeg",
    ImageKind.PNG: "png",
    ImageKind.WEBP: "webp",
    ImageKind.GIF: "gif",
}
STRICT: Final = "crccheck+bitstream+buffer+explode"
"""A picture of which a part cannot be read is refused: grey stripes are not what somebody wanted to show."""
OPEN_SECONDS: Final = 10.0
JPEG_QUALITY: Final = "3"
WEBP: Final = {"quality": "80", "compression_level": "2"}
"""Two and a half times as fast as libwebp's own level 4, for 1 % more bytes."""
SHRINK: Final = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)
PLAIN_PRIMARIES: Final = frozenset({ColorPrimaries.BT709, ColorPrimaries.UNSPECIFIED})
PLAIN_CURVES: Final = frozenset(
    {ColorTrc.BT709, ColorTrc.UNSPECIFIED, ColorTrc.SMPTE170M, ColorTrc.IEC61966_2_1}
)
"""Tags of pictures that are sRGB: cameras write the video's curve and mean this one."""
WHITE: Final = 255
BAND_ROWS: Final = 64
_TURNS: Final = {3: 2, 4: 2, 5: 3, 6: 3, 7: 1, 8: 1}
"""Quarters against the clock, by EXIF's orientation; those of ``_MIRRORED`` are mirrored afterwards."""
_MIRRORED: Final = frozenset({2, 4, 5, 7})


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture, uint8[h, w, 3] in sRGB; with ``alpha``, uint8[h, w], its colours are multiplied by it."""

    colours: Pixels
    alpha: Pixels | None = None


def render(path: Path, out: Path, limits: ImageLimits) -> dict[str, Any]:
    """Decode an upload and write its variants; raises Refused with an O3 code."""
    try:
        limits.check_size(path.stat().st_size)
        header = read_header(path.read_bytes())
        limits.check(header)
    except AppError as error:
        raise Refused(error.code, error.message, error.details) from error
    picture = _upright(_decoded(path, header, limits), header.orientation)
    width, height = header.upright
    variants = list(_variants(picture, sizes(width, height), out))
    small = _flat(_shrunk(picture, *within(SIDE, width, height)))
    return {
        "width": width,
        "height": height,
        "placeholder": blurhash(small),
        "colour": dominant(small),
        "variants": variants,
    }


def _decoded(path: Path, header: ImageHeader, limits: ImageLimits) -> Picture:
    """Return the picture as stored, no larger than the largest variant."""
    size = within(max(SIDES.values()), header.width, header.height)
    try:
        if header.items is None:
            picture = _small(_first_frame(header, limits), size)
        elif len(header.items.tiles) == 1:
            picture = _small_item(path, header, header.items, limits, size)
        else:
            picture = _small(_grid(path, header, header.items, limits), size)
    except BROKEN as error:
        raise Refused("CORRUPTED_FILE", "The image is damaged, or not all of it is there.") from error
    return Picture(icc.to_srgb(picture.colours, header.profile), picture.alpha)


def _first_frame(header: ImageHeader, limits: ImageLimits) -> VideoFrame:
    """Decode a file of which the decoder itself reads the whole."""
    codec = CodecContext.create(DECODERS[header.kind], "r")
    assert isinstance(codec, VideoCodecContext)
    codec.thread_count = 1
    codec.options = _options(limits)
    frames = [*codec.decode(Packet(header.picture)), *codec.decode(None)]
    return _checked(frames[0] if frames else None, header.width, header.height)


def _options(limits: ImageLimits) -> dict[str, str]:
    return {"max_pixels": str(limits.max_pixels), "err_detect": STRICT}


def _checked(frame: VideoFrame | None, width: int, height: int) -> VideoFrame:
    """Refuse a file whose header lies: every bound was judged by it."""
    if frame is None:
        raise Refused("CORRUPTED_FILE", "The image holds no picture.")
    if (frame.width, frame.height) != (width, height):
        raise Refused("CORRUPTED_FILE", "The picture is not of the size that its header says.")
    return frame


def _items(path: Path, limits: ImageLimits) -> Iterator[tuple[int, VideoFrame]]:
    """Yield number and picture of the coded items of a HEIF file."""
    options = {"protocol_whitelist": "file", "max_pixels": str(limits.max_pixels)}
    with av.open(str(path), format="mov", timeout=OPEN_SECONDS, options=options) as opened:
        for stream in opened.streams.video:
            stream.codec_context.thread_count = 1
            stream.codec_context.options = _options(limits)
        for packet in opened.demux(*opened.streams.video):
            for frame in packet.decode():
                if isinstance(frame, VideoFrame):
                    yield packet.stream.id, frame


def _small_item(
    path: Path, header: ImageHeader, items: heif.Items, limits: ImageLimits, size: tuple[int, int]
) -> Picture:
    """Decode the primary item, and the one that holds its alpha plane."""
    found = {
        item: _checked(frame, header.width, header.height)
        for item, frame in _items(path, limits)
        if item in (items.tiles[0], items.alpha)
    }
    if items.tiles[0] not in found:
        raise Refused("CORRUPTED_FILE", "The image holds no picture.")
    picture = _small(found[items.tiles[0]], size, tagged=not header.profile)
    if items.alpha not in found:
        return picture
    alpha = _array(found[items.alpha].reformat(*size, format="gray", interpolation=SHRINK))
    _fade(picture.colours, alpha)
    return Picture(picture.colours, alpha)


def _grid(path: Path, header: ImageHeader, items: heif.Items, limits: ImageLimits) -> VideoFrame:
    """Put the tiles of a grid together, row by row; those at the right and the bottom stand over."""
    places = {item: place for place, item in enumerate(items.tiles)}
    canvas = np.zeros((header.height, header.width, 3), np.uint8)
    for item, frame in _items(path, limits):
        if item not in places:
            continue
        columns, rows = -(-header.width // frame.width), -(-header.height // frame.height)
        if columns * rows != len(items.tiles):
            raise Refused("CORRUPTED_FILE", "The picture is not of the size that its header says.")
        row, column = divmod(places.pop(item), columns)
        tile = _rgb(frame, (frame.width, frame.height), tagged=not header.profile)
        part = canvas[row * frame.height :, column * frame.width :][: frame.height, : frame.width]
        part[:] = tile[: part.shape[0], : part.shape[1]]
    if places:
        raise Refused("CORRUPTED_FILE", "Tiles of the picture are missing.")
    return VideoFrame.from_ndarray(canvas, format="rgb24")


def _small(frame: VideoFrame, size: tuple[int, int], *, tagged: bool = False) -> Picture:
    """Return a frame in a size, in 8 bits; what is transparent fades before it is made small."""
    if frame.format.name == "pal8" or any(part.is_alpha for part in frame.format.components):
        whole = frame.reformat(format="rgba")
        plane = whole.planes[0]
        shape, strides = (whole.height, whole.width, 4), (plane.line_size, 4, 1)
        # The frame's own memory: what is changed here is what is made small below.
        pixels = np.ndarray(shape, np.uint8, memoryview(plane), strides=strides)
        if pixels[..., 3].min() < 255:
            _fade(pixels[..., :3], pixels[..., 3])
            faded = _array(whole.reformat(*size, format="rgba", interpolation=SHRINK))
            return Picture(np.minimum(faded[..., :3], faded[..., 3:]), faded[..., 3])
    return Picture(_rgb(frame, size, tagged=tagged))


def _rgb(frame: VideoFrame, size: tuple[int, int], *, tagged: bool) -> Pixels:
    """Return a frame as uint8[h, w, 3]; where its tags are ``tagged`` as the truth, in sRGB."""
    other = tagged and (frame.color_primaries not in PLAIN_PRIMARIES or frame.color_trc not in PLAIN_CURVES)
    srgb = {"dst_color_primaries": ColorPrimaries.BT709, "dst_color_trc": ColorTrc.IEC61966_2_1}
    if other:
        frame = frame.reformat(format="rgb48le", **srgb)
    return _array(frame.reformat(*size, format="gbrp", interpolation=SHRINK))


def _array(frame: VideoFrame) -> Pixels:
    return np.asarray(frame.to_ndarray(), np.uint8)


def _fade(colours: Pixels, alpha: Pixels) -> None:
    """Multiply colours by an alpha plane of the same size, in place; in bands, which stay in the cache."""
    for top in range(0, len(colours), BAND_ROWS):
        factor = alpha[top : top + BAND_ROWS].astype(np.uint16)
        for channel in range(3):
            band = colours[top : top + BAND_ROWS, :, channel]
            band[:] = (band * factor + 127) // 255


def _upright(picture: Picture, orientation: int) -> Picture:
    """Turn a picture as EXIF says (EXIF 3.0, tag 274)."""
    return Picture(
        _turned(picture.colours, orientation),
        None if picture.alpha is None else _turned(picture.alpha, orientation),
    )


def _turned(plane: Pixels, orientation: int) -> Pixels:
    turned = np.rot90(plane, _TURNS.get(orientation, 0))
    return np.ascontiguousarray(turned[:, ::-1] if orientation in _MIRRORED else turned)


def _variants(picture: Picture, wanted: Mapping[str, tuple[int, int]], out: Path) -> Iterator[dict[str, Any]]:
    """Write the variants, equal ones encoded once, and describe them."""
    encoded: dict[tuple[int, int], dict[str, bytes]] = {}
    for variant, size in wanted.items():
        if size not in encoded:
            small = _shrunk(picture, *size)
            encoded[size] = {"jpg": _jpeg(_flat(small)), "webp": _webp(small)}
        for extension, data in encoded[size].items():
            name = f"{variant}.{extension}"
            (out / name).write_bytes(data)
            yield {
                "variant": variant,
                "file": name,
                "mime": FORMATS[extension],
                "width": size[0],
                "height": size[1],
                "size_bytes": len(data),
            }


def _shrunk(picture: Picture, width: int, height: int) -> Picture:
    if picture.colours.shape[:2] == (height, width):
        return picture
    if picture.alpha is None:
        return Picture(
            _rgb(VideoFrame.from_ndarray(picture.colours, format="rgb24"), (width, height), tagged=False)
        )
    both = VideoFrame.from_ndarray(np.dstack([picture.colours, picture.alpha]), format="rgba")
    small = _array(both.reformat(width, height, format="rgba", interpolation=SHRINK))
    return Picture(np.minimum(small[..., :3], small[..., 3:]), small[..., 3])


def _flat(picture: Picture) -> Pixels:
    """Return a picture on white."""
    if picture.alpha is None:
        return picture.colours
    return picture.colours + (WHITE - picture.alpha)[..., np.newaxis]


def _jpeg(colours: Pixels) -> bytes:
    frame = VideoFrame.from_ndarray(colours, format="rgb24")
    frame = frame.reformat(format="yuvj420p", dst_colorspace="ITU601", interpolation=SHRINK)
    return _encoded("mjpeg", frame, {"qmin": JPEG_QUALITY, "qmax": JPEG_QUALITY})


def _webp(picture: Picture) -> bytes:
    if picture.alpha is None:
        frame = VideoFrame.from_ndarray(picture.colours, format="rgb24").reformat(format="bgra")
    else:
        frame = VideoFrame.from_ndarray(_straight(picture.colours, picture.alpha), format="bgra")
    return _encoded("libwebp", frame, WEBP)


def _straight(colours: Pixels, alpha: Pixels) -> Pixels:
    """Return BGRA whose colours are not multiplied by alpha any more."""
    straight = np.empty((*alpha.shape, 4), np.uint8)
    divisor = np.maximum(alpha, 1).astype(np.uint16)
    for channel in range(3):
        whole = (colours[..., channel] * np.uint16(255) + divisor // 2) // divisor
        straight[..., 2 - channel] = np.minimum(whole, 255)
    straight[..., 3] = alpha
    return straight


def _encoded(name: str, frame: VideoFrame, options: Mapping[str, str]) -> bytes:
    """Encode one picture; ``bitexact`` leaves out the encoder's own name."""
    codec = CodecContext.create(name, "w")
    assert isinstance(codec, VideoCodecContext)
    codec.width, codec.height, codec.pix_fmt = frame.width, frame.height, frame.format.name
    codec.time_base = Fraction(1, 25)
    codec.sample_aspect_ratio = Fraction(1)
    codec.options = {**options, "flags": "+bitexact"}
    frame.pts, frame.time_base, frame.pict_type = 0, codec.time_base, 0
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])


def handle(request: Request) -> dict[str, Any]:
    """Answer one request."""
    return render(Path(request["path"]), Path(request["out"]), ImageLimits(**request["images"]))


if __name__ == "__main__":
    serve(handle)
