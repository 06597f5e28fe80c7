"""Real embeddings of real and generated clips (D2-D5, D23-D25, D28; issue: kinds must separate)."""

import wave
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from ranking.catalogue import Catalogue
from ranking.embedding import EmbeddingError, embed_file
from ranking.features import audio, combine, text, visual
from ranking.feed import FeedEngine, FeedRequest
from ranking.workers import embed as worker
from tables.records import Card

FRAMES, FPS, WIDTH, HEIGHT = 36, 12, 192, 144
Picture = NDArray[np.uint8]
YS, XS = np.mgrid[0:HEIGHT, 0:WIDTH]


def ocean(rng: np.random.Generator) -> Callable[[int], Picture]:
    """Blue and teal waves under a bright sky."""
    phase, tint, horizon = rng.uniform(0, 6), rng.uniform(-20, 20), rng.integers(40, 65)

    def draw(t: int) -> Picture:
        wave_height = 30 * np.sin(YS / 4 + XS / 15 + phase + t / 3)
        water = np.stack([20 + wave_height / 3, 90 + tint + wave_height, 160 + wave_height], -1)
        sky = np.broadcast_to([150 + tint, 200, 240], water.shape)
        return np.where((horizon > YS)[..., None], sky, water).clip(0, 255).astype(np.uint8)

    return draw


def stripes(rng: np.random.Generator) -> Callable[[int], Picture]:
    """Red and yellow diagonal stripes that run fast."""
    width, speed = rng.integers(10, 16), rng.integers(3, 7)

    def draw(t: int) -> Picture:
        on = ((XS + YS + speed * t) // width) % 2 == 0
        return np.where(on[..., None], [210, 30, 30], [240, 210, 40]).astype(np.uint8)

    return draw


def night(rng: np.random.Generator) -> Callable[[int], Picture]:
    """A dark sky with few small lights."""
    places = rng.integers(0, (HEIGHT, WIDTH), (60, 2))

    def draw(t: int) -> Picture:
        picture = np.full((HEIGHT, WIDTH, 3), 8, np.uint8)
        picture[places[:, 0], (places[:, 1] + t // 4) % WIDTH] = 220
        return picture

    return draw


def meadow(rng: np.random.Generator) -> Callable[[int], Picture]:
    """Green texture with flowers, nearly still."""
    grass = rng.integers(0, 70, (HEIGHT, WIDTH))
    flowers = rng.integers(0, (HEIGHT - 4, WIDTH - 4), (25, 2))

    def draw(t: int) -> Picture:
        picture = np.stack([40 + grass / 2, 110 + grass, 30 + grass / 3], -1).astype(np.uint8)
        for y, x in flowers:
            picture[y : y + 4, x : x + 4] = (230, 120, 200)
        return np.roll(picture, t // 6, axis=1)

    return draw


KINDS = {"ocean": ocean, "stripes": stripes, "night": night, "meadow": meadow}


def write(path: Path, draw: Callable[[int], Picture], *, codec: str = "libx264", **size: int) -> Path:
    """Encode three seconds of a generated clip."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS)
        stream.width, stream.height = size.get("width", WIDTH), size.get("height", HEIGHT)
        stream.pix_fmt = "yuv420p"
        for t in range(size.get("frames", FRAMES)):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(draw(t)), "rgb24")
            container.mux(stream.encode(frame.reformat(stream.width, stream.height)))
        container.mux(stream.encode())
    return path


def vector_of(path: Path, *words: str) -> NDArray[np.float32]:
    """Embed in this process: what the child does, without its start."""
    frames, following = worker.sample_frames(str(path))
    seen = visual.features(np.stack(frames), np.stack(following))
    heard = audio.features(worker.read_audio(str(path)))
    return combine.combine(seen, heard, text.features(" ".join(words), "", ()) if words else None)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[NDArray[np.float32]]]:
    """Four clips of each kind, all different, embedded."""
    folder = tmp_path_factory.mktemp("kinds")
    return {
        kind: [vector_of(write(folder / f"{kind}{n}.mp4", make(np.random.default_rng(n)))) for n in range(4)]
        for kind, make in KINDS.items()
    }


def test_kinds_are_apart_when_clips_are_generated(generated) -> None:
    """D25: the least similar pair of one kind is closer than the most similar pair of two."""
    pairs = [
        (float(a @ b), one == other)
        for one, ones in generated.items()
        for other, others in generated.items()
        for i, a in enumerate(ones)
        for j, b in enumerate(others)
        if (one, i) < (other, j)
    ]
    within = [cosine for cosine, same in pairs if same]
    across = [cosine for cosine, same in pairs if not same]
    assert min(within) > max(across) + 0.1


def test_watched_kind_moves_up_when_embeddings_are_real(generated, world) -> None:
    """Two ocean clips watched: the other two lead that viewer's feed, and not another's."""
    catalogue, cards = Catalogue(), []
    for kind, vectors in generated.items():
        for n, vector in enumerate(vectors):
            card = world.card(len(cards), video_id=f"{kind}-{n}", tags=(), creator=f"maker-{n}")
            cards.append(_with_vector(card, vector))
            catalogue.upsert(cards[-1])
    by_kind = {kind: [c for c in cards if c.video_id.startswith(kind)] for kind in generated}
    states = {kind: world.watch(None, by_kind[kind][:2] * 3) for kind in ("ocean", "night")}
    from tables.records import Action

    states = {kind: world.watch(state, by_kind[kind][:2], Action.LIKE) for kind, state in states.items()}
    states = {kind: world.watch(state, by_kind[kind][:1], Action.SAVE) for kind, state in states.items()}
    engine = FeedEngine(catalogue, states.get)
    for kind in states:
        for profile in ("similarity", "blend", "social"):
            page = engine.page(FeedRequest(kind, world.now, profile))
            order = [item.video_id for item in page.items]
            unwatched = [video for video in order if video not in {f"{kind}-0", f"{kind}-1"}]
            assert set(unwatched[:2]) == {f"{kind}-2", f"{kind}-3"}, (kind, profile, order)


def test_vector_survives_when_a_clip_is_encoded_again(tmp_path: Path, generated) -> None:
    """D25: another codec, size and length of the same clip is nearer than any other clip."""
    draw = ocean(np.random.default_rng(0))
    again = vector_of(write(tmp_path / "again.webm", draw, codec="libvpx", width=128, height=96, frames=24))
    assert float(again @ generated["ocean"][0]) > 0.9
    assert max(float(again @ vector) for vector in generated["meadow"]) < 0.6


def test_same_film_is_closest_when_clips_are_real(shared_dir: Path) -> None:
    """D25 on the fixed sample set: Big Buck Bunny in other codecs, shapes and cuts finds itself."""
    clips = shared_dir / "media" / "clips"
    names = {
        "bbb-vp9": "bbb_642x642_768kbps_30fps_vp9.webm",
        "bbb-avc": "bbb_800x640_768kbps_30fps_avc_2b_firstpts_10_sec.mp4",
        "bbb-30s": "big_buck_bunny_0_30.webm",
        "cars": "car-detection.mp4",
        "chaplin": "chaplin.mp4",
        "flower": "flower.mp4",
        "friday": "friday.mp4",
        "people": "internal_emulator_transformer_output.mp4",
    }
    vectors = {name: vector_of(clips / file) for name, file in names.items()}
    bunnies = [name for name in names if name.startswith("bbb")]
    for one in bunnies:
        others = {name: float(vectors[one] @ vectors[name]) for name in names if name not in bunnies}
        same = min(float(vectors[one] @ vectors[name]) for name in bunnies)
        assert same > max(others.values()) + 0.1, (one, same, others)


async def test_embedding_is_a_unit_vector_and_repeats_when_run_in_the_child(tmp_path: Path) -> None:
    """D3, D4, D24: no sound, and the same input gives the same bits."""
    path = write(tmp_path / "clip.mp4", stripes(np.random.default_rng(1)))
    first = await embed_file(path, title="Stripes", tags=("art",))
    second = await embed_file(path, title="Stripes", tags=("art",))
    assert first.vector.shape == (512,)
    assert first.vector.dtype == np.float32
    assert np.linalg.norm(first.vector) == pytest.approx(1.0, abs=1e-5)
    assert np.array_equal(first.vector, second.vector)
    assert first.model_version == combine.MODEL_VERSION
    assert len(first.as_bytes()) == 1_024
    assert not np.array_equal(first.vector, (await embed_file(path)).vector)


async def test_embedding_is_refused_when_the_file_is_no_video(tmp_path: Path) -> None:
    """D9: one error class, whatever the reason; nothing hangs."""
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"\0" * 4_096)
    with pytest.raises(EmbeddingError):
        await embed_file(bad)
    with pytest.raises(EmbeddingError):
        await embed_file(tmp_path / "missing.mp4")
    sound = tmp_path / "sound.wav"
    with wave.open(str(sound), "wb") as out:
        out.setparams((1, 2, 16_000, 0, "NONE", ""))
        out.writeframes(bytes(32_000))
    with pytest.raises(EmbeddingError, match="no video"):
        await embed_file(sound)


async def test_child_is_ended_when_time_runs_out(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.mp4", night(np.random.default_rng(1)))
    with pytest.raises(EmbeddingError, match="after"):
        await embed_file(path, timeout_seconds=0.01)


@pytest.mark.parametrize("level", [0, 255])
@pytest.mark.parametrize("words", [None, "a quiet night"])
def test_vector_is_valid_when_the_picture_is_one_colour(level: int, words: str | None) -> None:
    """D28: black frames, with and without text; one frame alone is enough (D23)."""
    frame = np.full((1, visual.SIDE, visual.SIDE, 3), level, np.uint8)
    said = text.features(words, "", ()) if words else None
    vector = combine.combine(visual.features(frame, frame), None, said)
    assert np.isfinite(vector).all()
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)


def test_vector_is_fixed_when_there_is_nothing_at_all() -> None:
    empty = np.zeros((0, visual.SIDE, visual.SIDE, 3), np.uint8)
    one = combine.combine(visual.features(empty, empty), None, None)
    assert np.linalg.norm(one) == pytest.approx(1.0, abs=1e-5)
    assert np.array_equal(one, combine.combine(visual.features(empty, empty), None, None))


def test_words_bring_clips_together_when_they_are_shared() -> None:
    """D5."""
    cats = text.features("My cat plays piano", "", ("cats", "music"))
    kitten = text.features("Cats and music", "a cat on the keys", ("cats",))
    cars = text.features("Engine repair lesson", "", ("cars",))
    assert float(cats @ kitten) > float(cats @ cars) + 0.3
    assert text.features("  ", "", ()) is None
    assert np.isfinite(
        text.features(
            "\u3053\u3093\u306b\u3061\u306f \ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
            "",
            (),
        )
    ).all()


def test_sounds_are_apart_when_they_differ() -> None:
    """D2: a tone, the same tone softer, and noise; silence counts as no sound (D4)."""
    seconds = np.arange(3 * audio.RATE) / audio.RATE
    tone = 0.5 * np.sin(2 * np.pi * 440 * seconds).astype(np.float32)
    noise = np.random.default_rng(1).normal(0, 0.2, len(tone)).astype(np.float32)
    vectors = [audio.features(samples) for samples in (tone, 0.5 * tone, noise)]
    assert float(vectors[0] @ vectors[1]) > float(vectors[0] @ vectors[2]) + 0.3
    assert audio.features(np.zeros(audio.RATE, np.float32)) is None
    assert audio.features(np.zeros(10, np.float32)) is None


def test_long_clip_is_sampled_by_seeking_when_decoding_all_would_take_long(shared_dir: Path) -> None:
    """D23: bounded for long ones; 363 s of video give 48 frames at most."""
    frames, following = worker.sample_frames(
        str(shared_dir / "media" / "clips" / "long_1080p_lowbitrate.mp4")
    )
    assert 1 < len(frames) <= worker.MAX_SAMPLES
    assert len(frames) == len(following)


def _with_vector(card: Card, vector: NDArray[np.float32]) -> Card:
    import msgspec

    return msgspec.structs.replace(card, embedding=vector.astype(np.float16).tobytes())
