"""Signed media URLs (C31, N18, X19)."""

import pytest
from cryptography.hazmat.primitives import serialization

from media.urls import MediaSigner, generate_key
from tables.errors import SignatureRefused

KEY = "videos/abc/hls/720p/segment_00001.ts"


@pytest.fixture(scope="module")
def pem() -> bytes:
    return generate_key()


@pytest.fixture
def now() -> list[float]:
    return [1_000_000.0]


@pytest.fixture
def signer(pem: bytes, now: list[float]) -> MediaSigner:
    return MediaSigner(pem, "k1", "http://127.0.0.1:8080/", 3600.0, clock=lambda: now[0])


def token_of(url: str) -> str:
    return url.split("/")[4]


def test_token_opens_every_object_of_its_video_when_fresh(signer: MediaSigner) -> None:
    url = signer.url("videos/abc/hls/master.m3u8")
    assert url.startswith("http://127.0.0.1:8080/media/")
    assert url == signer.prefix_url("abc") + "hls/master.m3u8"
    assert signer.verify(token_of(url), KEY).expires_at > 1_000_000


def test_url_stays_the_same_within_a_window_and_on_every_replica(
    signer: MediaSigner, pem: bytes, now: list[float]
) -> None:
    """C33: a CDN can only cache a URL that does not change on every request."""
    first = signer.prefix_url("abc")
    now[0] += 60
    other = MediaSigner(pem, "k1", "http://127.0.0.1:8080", 3600.0, clock=lambda: now[0])
    assert first == signer.prefix_url("abc") == other.prefix_url("abc")


def test_url_lives_at_least_half_its_lifetime_when_just_made(signer: MediaSigner, now: list[float]) -> None:
    expiry = signer.verify(token_of(signer.prefix_url("abc")), KEY).expires_at
    assert 1800 <= expiry - now[0] <= 3600


def test_token_is_refused_when_expired(signer: MediaSigner, now: list[float]) -> None:
    token = token_of(signer.prefix_url("abc"))
    with pytest.raises(SignatureRefused):
        signer.verify(token, KEY, now=signer.verify(token, KEY).expires_at)


@pytest.mark.parametrize(
    "key",
    [
        "videos/abcd/hls/master.m3u8",
        "videos/ab/c",
        "videos/abc/../xyz/source.mp4",
        "videos/abc",
        "other/abc/x",
    ],
)
def test_token_is_refused_when_the_object_is_another_videos(signer: MediaSigner, key: str) -> None:
    with pytest.raises(SignatureRefused):
        signer.verify(token_of(signer.prefix_url("abc")), key)


def test_token_is_refused_when_any_one_letter_is_altered(signer: MediaSigner) -> None:
    token = token_of(signer.prefix_url("abc"))
    for at in [*range(0, len(token), 7), len(token) - 1]:
        altered = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        with pytest.raises(SignatureRefused):
            signer.verify(altered, KEY)


@pytest.mark.parametrize("token", ["", "a", "=", "🎬", "A" * 5000, "Li4u"])
def test_token_is_refused_when_malformed(signer: MediaSigner, token: str) -> None:
    with pytest.raises(SignatureRefused):
        signer.verify(token, KEY)


def test_token_of_a_retired_key_opens_until_it_expires(
    signer: MediaSigner, pem: bytes, now: list[float]
) -> None:
    private = serialization.load_pem_private_key(pem, None)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    token = token_of(signer.prefix_url("abc"))
    new_pem = generate_key()
    with_old = MediaSigner(new_pem, "k2", "http://x", clock=lambda: now[0], retired_keys={"k1": public})
    without = MediaSigner(new_pem, "k2", "http://x", clock=lambda: now[0])
    assert with_old.verify(token, KEY) == signer.verify(token, KEY)
    with pytest.raises(SignatureRefused):
        without.verify(token, KEY)
