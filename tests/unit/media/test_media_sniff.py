"""Containers by magic bytes, and the policies that list them (A1-A4, X1-X3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.policies import LONG, POLICIES, SHORT, policy_named
from media.sniff import Container, sniff
from tables.errors import FileTooLarge, InvalidFormat, ValidationFailed


def ftyp(brand: bytes) -> bytes:
    return b"\x00\x00\x00\x18ftyp" + brand + bytes(8)


def ebml(doctype: bytes) -> bytes:
    return b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82" + bytes([0x80 | len(doctype)]) + doctype


@pytest.mark.parametrize(
    ("head", "container"),
    [
        (ftyp(b"isom"), Container.MP4),
        (ftyp(b"mp42"), Container.MP4),
        (ftyp(b"qt  "), Container.MOV),
        (ftyp(b"3gp5"), Container.THREE_GP),
        (ftyp(b"3g2a"), Container.THREE_GP),
        (ftyp(b"M4A "), Container.AUDIO),
        (ftyp(b"heic"), Container.IMAGE),
        (b"\x00\x00\x00\x08wide\x00\x00\x00\x00mdat", Container.MOV),
        (ebml(b"webm"), Container.WEBM),
        (ebml(b"matroska"), Container.MATROSKA),
        (b"RIFF\x00\x00\x00\x00AVI LIST", Container.AVI),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", Container.AUDIO),
        (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), Container.WMV),
        (b"\xff\xd8\xff\xe0", Container.IMAGE),
        (b"#EXTM3U\n#EXT-X-VERSION:3\n", Container.TEXT),
        ("überall Text".encode(), Container.TEXT),
        (b"", Container.EMPTY),
        (b"\x07\x9a\x00\xe1\x13", Container.UNKNOWN),
    ],
)
def test_sniff_names_the_container_when_bytes_are_known(head: bytes, container: Container) -> None:
    """A3: the container decides, not the name."""
    assert sniff(head) is container


@given(st.binary(max_size=300))
def test_sniff_always_answers_when_bytes_are_random(head: bytes) -> None:
    assert isinstance(sniff(head), Container)


@pytest.mark.parametrize("policy", POLICIES.values())
def test_size_passes_when_exactly_at_the_limit_and_not_one_byte_more(policy: object) -> None:
    """A4, X3."""
    assert policy in (SHORT, LONG)
    for chosen in (SHORT, LONG):
        chosen.check_size(chosen.max_bytes)
        with pytest.raises(FileTooLarge) as refused:
            chosen.check_size(chosen.max_bytes + 1)
        assert refused.value.details["limit_bytes"] == chosen.max_bytes


def test_limits_are_binary_multiples_when_read_from_the_policies() -> None:
    """X3: 500 MB = 524,288,000 bytes, 1.5 GB = 1,610,612,736 bytes."""
    assert (SHORT.max_bytes, SHORT.max_seconds) == (524_288_000, 180.0)
    assert (LONG.max_bytes, LONG.max_seconds) == (1_610_612_736, None)


@pytest.mark.parametrize("container", list(Container))
def test_format_is_accepted_if_and_only_if_listed(container: Container) -> None:
    """A3, X2; property 1."""
    for policy, listed in (
        (SHORT, {"mp4", "webm", "mov"}),
        (LONG, {"mov", "mp4", "3gp", "avi", "wmv"}),
    ):
        if container.value in listed:
            policy.check_format(container)
            continue
        with pytest.raises(InvalidFormat) as refused:
            policy.check_format(container)
        assert set(refused.value.details["supported"]) == listed


def test_policy_is_refused_with_its_field_when_unknown() -> None:
    with pytest.raises(ValidationFailed) as refused:
        policy_named("huge")
    assert refused.value.details["field"] == "policy"
