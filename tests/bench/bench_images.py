"""Variants of images, beside Pillow doing the same work in the same run.

    .venv/bin/python tests/bench/bench_images.py [--runs N] [--method N]

Real frames of 1 to 12 megapixels, as JPEG and PNG. Each makes eight variants: four sizes, JPEG and WebP.
``ours`` is the function that the child runs; ``pillow`` decodes (a JPEG at the scale that is needed), turns,
resizes bicubic, and encodes JPEG at 85 and WebP at 80, by Pillow's own method 4 or another. Runs are
interleaved; processor time is compared, and how near the small JPEG of each is to the upload made small
without loss. ``child`` is the whole job: a process, the work, the store.

Target: at most 1.0 of Pillow's processor time in the median of the pictures.
"""

import argparse
import asyncio
import io
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageOps

from media.image_variants import SIDES, ImageLimits, sizes
from media.images import ImageMaker
from media.stores import FileStore
from media.workers.images import render

CLIPS = ("car-detection.mp4", "portrait_4k60.mp4", "sample_12_5fps_720p_1s.mp4")
MOST = 1.0


def material(shared: Path) -> dict[str, bytes]:
    """Return uploads by name: frames of clips, one enlarged to a phone's 12 megapixels."""
    frames = {}
    for name in CLIPS:
        with av.open(str(shared / "media" / "clips" / name)) as clip:
            frames[name.partition(".")[0]] = next(clip.decode(video=0)).to_image()
    tall = frames["portrait_4k60"]
    frames["phone_12mp"] = tall.resize((3000, 4000), Image.Resampling.LANCZOS)
    said = Image.Exif()
    said[0x0112] = 6
    made = {f"{name}.jpg": saved(frame, "JPEG", quality=92, exif=said) for name, frame in frames.items()}
    made["car-detection.png"] = saved(frames["car-detection"], "PNG")
    return made


def saved(picture: Image.Image, form: str, **options: object) -> bytes:
    """Return a picture as a file."""
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


def pillow(data: bytes, out: Path, method: int) -> None:
    """Make the same variants with Pillow."""
    picture = Image.open(io.BytesIO(data))
    turned = picture.getexif().get(0x0112, 1) >= 5
    width, height = reversed(picture.size) if turned else picture.size
    picture.draft("RGB", (max(SIDES.values()), max(SIDES.values())))
    picture = ImageOps.exif_transpose(picture).convert("RGB")
    source = picture
    for name, size in reversed(sizes(width, height).items()):
        source = source.resize(size, Image.Resampling.BICUBIC)
        (out / f"{name}.jpg").write_bytes(saved(source, "JPEG", quality=85))
        (out / f"{name}.webp").write_bytes(saved(source, "WEBP", quality=80, method=method))


def ours(data: bytes, out: Path) -> None:
    """Make the variants as the child does."""
    upload = out.parent / "upload"
    upload.write_bytes(data)
    render(upload, out, ImageLimits())


def cpu(work: Callable[[], None]) -> float:
    """Return the processor time that a call takes, of all threads."""
    before = os.times()
    work()
    after = os.times()
    return (after.user - before.user) + (after.system - before.system)


def psnr(data: bytes, folder: Path) -> float:
    """Return the fidelity of the small JPEG, in dB, to the upload made small without loss."""
    small = Image.open(folder / "small.jpg")
    reference = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    wanted = np.asarray(reference.resize(small.size, Image.Resampling.BICUBIC, reducing_gap=None), float)
    error = float(((np.asarray(small, float) - wanted) ** 2).mean())
    return 10 * float(np.log10(255**2 / max(error, 1e-9)))


async def jobs(uploads: dict[str, bytes], folder: Path) -> float:
    """Return the seconds of a whole job, the mean over the uploads."""
    store = FileStore(folder / "objects")
    (folder / "work").mkdir()
    make = ImageMaker(store, folder / "work")
    began = time.monotonic()
    for number, data in enumerate(uploads.values()):
        await store.put_bytes(f"images/{number}/source.bin", data, content_type="")
        await make(str(number), f"images/{number}/source.bin")
    return (time.monotonic() - began) / len(uploads)


def compare(name: str, data: bytes, folder: Path, asked: argparse.Namespace) -> float:
    """Print one upload's figures; returns the median ratio of processor time."""
    mine, theirs = folder / "ours", folder / "pillow"
    mine.mkdir(exist_ok=True)
    theirs.mkdir(exist_ok=True)
    pairs = []
    for run in range(asked.runs + 1):
        pair = cpu(lambda: ours(data, mine)), cpu(lambda: pillow(data, theirs, asked.method))
        pairs += [pair] if run else []  # the first loads codecs
    ratio = statistics.median(one / max(other, 1e-3) for one, other in pairs)
    took = statistics.median(one for one, _ in pairs)
    size = [sum(path.stat().st_size for path in place.iterdir()) // 1024 for place in (mine, theirs)]
    print(
        f"{name:32} {len(data) // 1024:6} kB  {8 / took:6.1f} variants/s of a core"
        f"  ratio {ratio:.2f}  psnr {psnr(data, mine):.1f} / {psnr(data, theirs):.1f} dB"
        f"  bytes {size[0]} / {size[1]} kB"
    )
    return ratio


def main() -> int:
    """Run the comparison; 1 when the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--method", type=int, default=4, help="of Pillow's WebP")
    asked = parser.parse_args()
    shared = Path(os.environ.get("FREEWILL_SHARED", Path(__file__).resolve().parents[2].parent / "shared"))
    uploads = material(shared)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Pillow {Image.__version__}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        ratios = [compare(name, data, folder, asked) for name, data in uploads.items()]
        whole = asyncio.run(jobs(uploads, folder))
    middle = statistics.median(ratios)
    met = middle <= MOST
    print(f"median ratio {middle:.2f}, target at most {MOST}: {'met' if met else 'MISSED'}")
    print(f"whole job with its child and the store: {whole:.2f} s an upload, {8 / whole:.1f} variants/s")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
