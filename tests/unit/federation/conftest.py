"""One person and one clip, as the directory would hand them over."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from federation.addresses import Addresses
from federation.model import Author, Counts, Mp4, Picture, PublicVideo, Rung
from federation.multikey import ed25519_multibase
from federation.validators import Parcel
from federation.vocabulary import channel, create, person, video

VIDEO_ID = "0b7c7c1e-3b55-4a4e-9d6d-0a4f3a1c2b3d"


@pytest.fixture(scope="session")
def pem() -> str:
    key = rsa.generate_private_key(65537, 2048).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.fixture
def at() -> Addresses:
    return Addresses.of("https://video.example")


@pytest.fixture
def ada(pem: str) -> Author:
    return Author(
        user_id="5f0e9a39-29a7-4f6e-8d0f-0c1d2e3f4a5b",
        did="did:key:" + ed25519_multibase(bytes(range(32))),
        username="ada",
        display_name="Ada",
        public_key_pem=pem,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        summary="I film engines.",
    )


@pytest.fixture
def clip(at: Addresses, ada: Author) -> PublicVideo:
    media = at.media(VIDEO_ID, "")
    return PublicVideo(
        video_id=VIDEO_ID,
        author=ada,
        title="The engine <runs>",
        published_at=datetime(2026, 2, 3, 4, 5, 6, 789000, tzinfo=UTC),
        updated_at=datetime(2026, 2, 3, 5, 0, tzinfo=UTC),
        duration_seconds=90.4,
        width=1080,
        height=1920,
        description="It turns.\n\nSee https://engine.example/a?b=1&c=2.",
        tags=("steam", "x"),
        files=(Mp4("720p", at.mp4(VIDEO_ID, "720p"), 720, 1280, 4_000_000),),
        rungs=(
            Rung("1080p", media + "hls/1080p/playlist.m3u8", 1080, 1920, 5_000_000),
            Rung("360p", media + "hls/360p/playlist.m3u8", 360, 640, 800_000),
        ),
        hls_url=media + "hls/master.m3u8",
        pictures=(Picture(media + "thumbs/poster.jpg", "image/jpeg", 720, 1280),),
        counts=Counts(views=7, likes=3, shares=2, comments=1),
    )


@pytest.fixture
def parcel(at: Addresses, clip: PublicVideo) -> Parcel:
    return parcel_of(at, clip)


@pytest.fixture
def pack(at: Addresses, clip: PublicVideo):
    """Return a function that packs the clip with some of its values replaced."""
    return lambda **changes: parcel_of(at, replace(clip, **changes))


def parcel_of(at: Addresses, clip: PublicVideo) -> Parcel:
    return Parcel(
        person=person(at, clip.author),
        channel=channel(at, clip.author),
        create=create(at, clip),
        video=video(at, clip),
    )
