"""Child process: decode a bounded sample of a media file and print its embedding.

``python -m ranking.workers.embed`` reads one JSON request on stdin (``path``, ``title``, ``description``,
``tags``, ``limits``) and writes one JSON answer on stdout: ``{"vector": base64 float32[512], ...}`` or
``{"error": text}``. It limits itself before it opens the file, because the file may be hostile.
"""

import base64
import itertools
import json
import os
import resource
import sys
from collections.abc import Iterator
from typing import Any, Final

import av
import av.error
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from ranking.features import audio, combine, text, visual
from ranking.workers.parent import die_with_parent

MAX_SAMPLES: Final = 48
SAMPLE_SECONDS: Final = 1.0
DECODE_ALL_FRAMES: Final = 900
"""Longer files are sampled by seeking: decoding every frame of minutes of video takes too long."""
MAX_AUDIO_SECONDS: Final = 60
SCAN_PACKETS: Final = 200_000

Samples = tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]


def main() -> None:
    """Answer one request."""
    die_with_parent()
    request = json.load(sys.stdin)
    limit(request["limits"])
    try:
        answer = embed(request)
    except (av.error.FFmpegError, ValueError, MemoryError, OSError, StopIteration) as error:
        answer = {"error": f"{type(error).__name__}: {error}"[:500]}
    json.dump(answer, sys.stdout)
    sys.stdout.flush()
    # Not sys.exit: freeing decoders with threads at interpreter shutdown can deadlock.
    os._exit(0)


def limit(limits: dict[str, int]) -> None:
    """Bound memory, processor time and files; no core dump of somebody's private video."""
    bounds = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_AS: limits["address_space_bytes"],
        resource.RLIMIT_CPU: limits["cpu_seconds"],
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: 64,
    }
    for name, value in bounds.items():
        ceiling = resource.getrlimit(name)[1]
        top = value if ceiling == resource.RLIM_INFINITY else min(value, ceiling)
        resource.setrlimit(name, (top, top))
    os.nice(5)


def embed(request: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to a request: vector, and which parts it is made of."""
    frames, following = sample_frames(request["path"])
    seen = visual.features(_stacked(frames), _stacked(following))
    heard = audio.features(read_audio(request["path"]))
    said = text.features(request["title"], request["description"], request["tags"])
    vector = combine.combine(seen, heard, said)
    return {
        "vector": base64.b64encode(vector.tobytes()).decode(),
        "model_version": combine.MODEL_VERSION,
        "frames": len(frames),
        "has_audio": heard is not None,
        "has_text": said is not None,
    }


def sample_frames(path: str) -> Samples:
    """Return about one frame a second, at least one, at most 48, each with the frame after it (D23).

    Raises:
        ValueError: There is no video in the file, or no frame of it can be decoded.
    """
    with _open(path) as container:
        if not container.streams.video:
            raise ValueError("no video stream")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        seconds = _seconds(container)
        rate = float(stream.average_rate or stream.guessed_rate or 30)
        long = seconds is not None and seconds * min(rate, 120.0) > DECODE_ALL_FRAMES
        samples = _by_seeking(container, seconds) if long and seconds else ([], [])
        if not samples[0]:
            container.seek(0)
            samples = _in_order(container)
    if not samples[0]:
        raise ValueError("no frame can be decoded")
    return samples


def _in_order(container: InputContainer) -> Samples:
    """Take one frame a second while decoding everything; a file without end is cut at the bound."""
    frames: list[NDArray[np.uint8]] = []
    following: list[NDArray[np.uint8]] = []
    due, waiting, last = 0.0, False, None
    for frame in itertools.islice(_decoded(container), 2 * DECODE_ALL_FRAMES):
        at = frame.time if frame.time is not None else due
        last = frame
        if waiting:
            following.append(_picture(frame))
            waiting = False
        elif (at >= due or not frames) and len(frames) < MAX_SAMPLES:
            frames.append(_picture(frame))
            due, waiting = max(at, due) + SAMPLE_SECONDS, True
    if waiting and last is not None:
        following.append(_picture(last))
    return frames, following


def _by_seeking(container: InputContainer, seconds: float) -> Samples:
    """Take frames spread over the whole file, each the keyframe before its place and the one after it."""
    frames: list[NDArray[np.uint8]] = []
    following: list[NDArray[np.uint8]] = []
    start = (container.start_time or 0) / av.time_base
    count = int(min(MAX_SAMPLES, max(1, seconds // SAMPLE_SECONDS)))
    taken: set[int | None] = set()
    for place in range(count):
        at = start + seconds * (place + 0.5) / count
        try:
            container.seek(int(at * av.time_base), backward=True)
            pair = list(itertools.islice(_decoded(container), 2))
        except av.error.FFmpegError:
            continue
        if pair and pair[0].pts not in taken:
            taken.add(pair[0].pts)
            frames.append(_picture(pair[0]))
            following.append(_picture(pair[-1]))
    return frames, following


def _decoded(container: InputContainer) -> Iterator[av.VideoFrame]:
    """Yield frames, passing over what cannot be decoded."""
    for packet in itertools.islice(container.demux(container.streams.video[0]), SCAN_PACKETS):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            continue


def _picture(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Return a frame as uint8[96, 96, 3] RGB, upright."""
    small = frame.reformat(visual.SIDE, visual.SIDE, "rgb24", interpolation="AREA").to_ndarray()
    turned: NDArray[np.uint8] = np.rot90(small, round((frame.rotation or 0) / 90) % 4)
    return turned


def read_audio(path: str) -> NDArray[np.float32]:
    """Return up to a minute of the first audio stream, mono 16 kHz; empty when there is none (D4)."""
    chunks: list[NDArray[np.float32]] = []
    have = 0
    with _open(path) as container:
        if not container.streams.audio:
            return np.empty(0, np.float32)
        resampler = av.AudioResampler(format="flt", layout="mono", rate=audio.RATE)
        try:
            for frame in container.decode(container.streams.audio[0]):
                for part in resampler.resample(frame):
                    chunks.append(part.to_ndarray().ravel().astype(np.float32))
                    have += len(chunks[-1])
                if have >= MAX_AUDIO_SECONDS * audio.RATE:
                    break
        except (av.error.FFmpegError, ValueError):
            # Damaged sound is as good as none from here on: the frames carry the vector.
            pass
    samples = np.concatenate(chunks) if chunks else np.empty(0, np.float32)
    return np.clip(np.nan_to_num(samples[: MAX_AUDIO_SECONDS * audio.RATE]), -1.0, 1.0).astype(np.float32)


def _open(path: str) -> InputContainer:
    # Only the file itself: a playlist inside must not make libav open anything else.
    return av.open(path, options={"protocol_whitelist": "file"}, metadata_errors="replace")


def _seconds(container: InputContainer) -> float | None:
    return container.duration / av.time_base if container.duration and container.duration > 0 else None


def _stacked(pictures: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    return np.stack(pictures)


if __name__ == "__main__":
    main()
