"""Generated clips: what a clone without footage shows and tests with."""

from pathlib import Path

import av
import numpy as np
import pytest

from media.generate import KINDS, generate_clip
from media.policies import SHORT
from media.probe import probe_file


def mean_colour(path: Path) -> np.ndarray:
    with av.open(str(path)) as opened:
        frames = [frame.reformat(32, 56, "rgb24").to_ndarray() for frame in opened.decode(video=0)]
    return np.stack(frames).astype(float)


async def test_every_kind_is_an_acceptable_upload_and_looks_like_no_other(tmp_path: Path) -> None:
    looks = {}
    for kind in KINDS:
        path = tmp_path / f"{kind}.mp4"
        await generate_clip(path, kind, seconds=0.5, size=(180, 320), seed=1)
        info = await probe_file(path, SHORT)
        assert (info.width, info.height, info.video_codec, info.audio_codec) == (180, 320, "h264", "aac")
        assert info.duration_seconds == pytest.approx(0.5, abs=0.1)
        looks[kind] = mean_colour(path)
        assert looks[kind].std() > 10
    for one in KINDS:
        for other in KINDS:
            if one < other:
                assert np.abs(looks[one] - looks[other]).mean() > 20, (one, other)


async def test_seed_varies_a_clip_and_repeats_it(tmp_path: Path) -> None:
    async def make(name: str, seed: int) -> np.ndarray:
        await generate_clip(tmp_path / name, "plasma", seconds=0.2, size=(180, 320), seed=seed)
        return mean_colour(tmp_path / name)

    first, same, other = await make("a.mp4", 1), await make("b.mp4", 1), await make("c.mp4", 2)
    assert np.array_equal(first, same)
    assert np.abs(first - other).mean() > 1


@pytest.mark.parametrize(("kind", "size"), [("none", (180, 320)), ("waves", (181, 320)), ("waves", (2, 2))])
async def test_clip_is_refused_when_asked_for_the_impossible(
    tmp_path: Path, kind: str, size: tuple[int, int]
) -> None:
    with pytest.raises(ValueError, match=r"kind|sides"):
        await generate_clip(tmp_path / "x.mp4", kind, size=size)
