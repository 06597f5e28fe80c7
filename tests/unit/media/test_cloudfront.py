"""CloudFront's policies: a stranger's signatures open our origin, ours stand up to a stranger (C31, X19)."""

import base64
import json
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.signers import CloudFrontSigner
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from media.cloudfront import Asked, Policy, PolicySigner, decode, encode
from media.key_pairs import KeyPairs, generate_key, pair_id, public_pem
from media.urls import Audience
from tables.errors import SignatureRefused

BASES = ["https://cdn.example", "http://origin.example:8081"]
KEY = "videos/7/hls/master.m3u8"
URL = f"{BASES[0]}/media/public/{KEY}"
NOW = 1_000_000


@pytest.fixture(scope="module")
def pem() -> bytes:
    return generate_key()


@pytest.fixture(scope="module")
def other_pem() -> bytes:
    return generate_key()


@pytest.fixture
def now() -> list[float]:
    return [float(NOW)]


@pytest.fixture
def links(pem: bytes, now: list[float]) -> PolicySigner:
    return PolicySigner(KeyPairs(pem, "K1"), lambda: BASES, lambda: now[0])


def stranger(pem: bytes, key_id: str = "K1") -> CloudFrontSigner:
    """Return Amazon's own signer over our key."""
    key = serialization.load_pem_private_key(pem, None)
    return CloudFrontSigner(key_id, lambda data: key.sign(data, padding.PKCS1v15(), hashes.SHA1()))


def asked(url: str, address: str = "192.0.2.7", **cookies: str) -> Asked:
    parts = urlsplit(url)
    named = {name.replace("_", "-"): value for name, value in cookies.items()}
    return Asked(parts.path + (f"?{parts.query}" if parts.query else ""), named, address)


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def test_url_of_amazons_signer_opens_when_the_policy_is_canned(pem: bytes, links: PolicySigner) -> None:
    url = stranger(pem).generate_presigned_url(URL, date_less_than=at(NOW + 60))
    grant = links.verify("public", KEY, asked(url))
    assert (grant.video_id, grant.audience, grant.expires_at) == ("7", Audience.PUBLIC, NOW + 60)


@pytest.mark.parametrize(
    "resource", [URL, f"{BASES[0]}/media/public/videos/7/*", "http*://*/media/public/videos/7/*"]
)
def test_url_of_amazons_signer_opens_when_the_policy_is_custom(
    pem: bytes, links: PolicySigner, resource: str
) -> None:
    amazon = stranger(pem)
    policy = amazon.build_policy(
        resource, at(NOW + 60), date_greater_than=at(NOW - 60), ip_address="192.0.2.0/24"
    )
    url = amazon.generate_presigned_url(URL, policy=policy)
    assert links.verify("public", KEY, asked(url)).video_id == "7"
    with pytest.raises(SignatureRefused):
        links.verify("public", KEY, asked(url, "198.51.100.1"))


def test_url_keeps_the_query_that_was_signed(pem: bytes, links: PolicySigner) -> None:
    url = stranger(pem).generate_presigned_url(URL + "?a=1&b=%20", date_less_than=at(NOW + 60))
    assert links.verify("public", KEY, asked(url))
    with pytest.raises(SignatureRefused):
        links.verify("public", KEY, asked(url.replace("a=1", "a=2")))


def test_our_url_stands_up_to_a_strangers_check(pem: bytes, links: PolicySigner) -> None:
    """The signed bytes are Amazon's canned policy, the spelling its base64."""
    url = links.url(KEY, Audience.PUBLIC, NOW + 60)
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert query["Hash-Algorithm"] == "SHA256"
    policy = stranger(pem).build_policy(URL, at(NOW + 60))
    signature = query["Signature"].translate(str.maketrans("-_~", "+=/"))
    public = serialization.load_pem_public_key(public_pem(pem))
    public.verify(base64.b64decode(signature), policy.encode(), padding.PKCS1v15(), hashes.SHA256())
    assert links.verify("public", KEY, asked(url)).expires_at == NOW + 60


def test_cookies_open_everything_of_one_video_and_nothing_else(links: PolicySigner) -> None:
    cookies = links.cookies("7", Audience.FOLLOWERS, NOW + 60)
    assert set(cookies) >= {"CloudFront-Policy", "CloudFront-Signature", "CloudFront-Key-Pair-Id"}
    for name in ("hls/master.m3u8", "hls/480p/segment_00001.ts", "dash/manifest.mpd"):
        request = Asked(f"/media/followers/videos/7/{name}", cookies, "")
        assert links.verify("followers", f"videos/7/{name}", request).audience is Audience.FOLLOWERS
    for audience, video in (("followers", "71"), ("followers", "8"), ("owner", "7"), ("public", "7")):
        with pytest.raises(SignatureRefused):
            links.verify(
                audience, f"videos/{video}/x.ts", Asked(f"/media/{audience}/videos/{video}/x.ts", cookies, "")
            )


def test_link_opens_on_every_delivery_host_when_signed_for_one(links: PolicySigner, pem: bytes) -> None:
    """C32: the origin verifies what was signed for the CDN, and the other way round."""
    url = stranger(pem).generate_presigned_url(f"{BASES[1]}/media/public/{KEY}", date_less_than=at(NOW + 60))
    assert links.verify("public", KEY, asked(url))
    elsewhere = stranger(pem).generate_presigned_url(
        f"https://evil.example/media/public/{KEY}", date_less_than=at(NOW + 60)
    )
    with pytest.raises(SignatureRefused):
        links.verify("public", KEY, asked(elsewhere))


def test_link_is_refused_when_expired_or_too_early(pem: bytes, links: PolicySigner, now: list[float]) -> None:
    amazon = stranger(pem)
    canned = amazon.generate_presigned_url(URL, date_less_than=at(NOW + 60))
    later = amazon.generate_presigned_url(
        URL, policy=amazon.build_policy(URL, at(NOW + 60), date_greater_than=at(NOW + 30))
    )
    with pytest.raises(SignatureRefused):
        links.verify("public", KEY, asked(later))
    now[0] = NOW + 31
    assert links.verify("public", KEY, asked(later))
    now[0] = NOW + 60
    for url in (canned, later):
        with pytest.raises(SignatureRefused):
            links.verify("public", KEY, asked(url))


def test_link_is_refused_when_any_part_is_altered(pem: bytes, links: PolicySigner) -> None:
    url = stranger(pem).generate_presigned_url(URL, date_less_than=at(NOW + 60))
    signature = parse_qs(urlsplit(url).query)["Signature"][0]
    for altered in (
        url.replace(f"Expires={NOW + 60}", f"Expires={NOW + 61}"),
        url.replace(f"Expires={NOW + 60}", f"Expires=0{NOW + 60}"),
        url.replace("Key-Pair-Id=K1", "Key-Pair-Id=K2"),
        url.replace(signature, signature[:40] + ("A" if signature[40] != "A" else "B") + signature[41:]),
        url.replace(signature, signature + "A"),
        url + "&Hash-Algorithm=SHA256",
        url + "&Hash-Algorithm=MD5",
        url + f"&Expires={NOW + 999}",
        url + "&extra=1",
        url.replace("&Key-Pair-Id=K1", ""),
        url.split("?")[0],
    ):
        with pytest.raises(SignatureRefused):
            links.verify("public", KEY, asked(altered))


def test_link_is_refused_when_another_pair_signed_it(other_pem: bytes, links: PolicySigner) -> None:
    for key_id in ("K1", "K2"):
        url = stranger(other_pem, key_id).generate_presigned_url(URL, date_less_than=at(NOW + 60))
        with pytest.raises(SignatureRefused):
            links.verify("public", KEY, asked(url))


def test_both_pairs_open_while_one_is_retired(pem: bytes, other_pem: bytes, now: list[float]) -> None:
    """C31: rotation. New links are the new pair's, old ones open until they expire."""
    old_id, new_id = pair_id(public_pem(pem)), pair_id(public_pem(other_pem))
    keys = KeyPairs(other_pem, new_id, {old_id: public_pem(pem)})
    links = PolicySigner(keys, lambda: BASES, lambda: now[0])
    old = stranger(pem, old_id).generate_presigned_url(URL, date_less_than=at(NOW + 60))
    new = links.url(KEY, Audience.PUBLIC, NOW + 60)
    assert f"Key-Pair-Id={new_id}" in new
    assert links.verify("public", KEY, asked(old)) == links.verify("public", KEY, asked(new))


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"Statement": []},
        {"Statement": [{"Resource": "*", "Condition": {}}]},
        {"Statement": [{"Resource": "*", "Condition": {"DateLessThan": {"AWS:EpochTime": "9999999999"}}}]},
        {"Statement": [{"Resource": "*", "Condition": {"DateLessThan": {"AWS:EpochTime": True}}}]},
        {
            "Statement": [
                {"Resource": "*", "Condition": {"DateLessThan": {"AWS:EpochTime": 9999999999}, "Other": {}}}
            ]
        },
        {"Statement": [{"Resource": "*", "Condition": {"DateLessThan": {"AWS:EpochTime": 9999999999}}}] * 2},
        [],
        7,
    ],
)
def test_signed_policy_is_refused_when_it_says_what_we_do_not_know(
    pem: bytes, links: PolicySigner, document: object
) -> None:
    """What a condition asks for and nobody checks must not open anything."""
    data = json.dumps(document).encode()
    cookies = {
        "CloudFront-Policy": encode(data),
        "CloudFront-Signature": encode(KeyPairs(pem, "K1").sign(data)),
        "CloudFront-Key-Pair-Id": "K1",
        "CloudFront-Hash-Algorithm": "SHA256",
    }
    with pytest.raises(SignatureRefused):
        links.verify("public", KEY, Asked(f"/media/public/{KEY}", cookies, ""))


@pytest.mark.parametrize("text", ["a", "++++", "AA", "Pz5=", "A" * 5])
def test_base64_is_refused_when_not_canonical(text: str) -> None:
    with pytest.raises(SignatureRefused):
        decode(text)


def test_custom_policy_is_amazons_to_the_byte(pem: bytes) -> None:
    ours = Policy(URL, NOW, NOW - 5, "10.0.0.0/8").document().decode()
    assert json.loads(ours) == json.loads(
        stranger(pem).build_policy(URL, at(NOW), date_greater_than=at(NOW - 5), ip_address="10.0.0.0/8")
    )
