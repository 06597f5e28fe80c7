"""Headers of tus and of the IETF's draft: what is read out of them, and what is refused (A49)."""

import base64
import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.policies import LONG, SHORT
from tables.errors import ValidationFailed
from web import tus

KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=","), min_size=1)


@settings(max_examples=30)
@given(pairs=st.dictionaries(KEYS, st.binary(max_size=30), max_size=5))
def test_metadata_comes_back_when_it_was_encoded(pairs):
    header = ",".join(f"{key} {base64.b64encode(value).decode()}" for key, value in pairs.items())
    assert tus.parse_metadata(header) == pairs


@settings(max_examples=50)
@given(header=st.text(max_size=40))
def test_any_header_is_read_or_refused_when_it_is_hostile(header):
    for parse in (tus.described, tus.parse_checksum, tus.parse_concat):
        with contextlib.suppress(ValidationFailed):
            parse(header)
    tus.disposition_name(header)


@pytest.mark.parametrize("header", ["a YQ==,a YQ==", "a YQ==,", "ä YQ==", "a b c", "a Y"])
def test_metadata_is_refused_when_it_is_malformed(header):
    with pytest.raises(ValidationFailed):
        tus.parse_metadata(header)


def test_title_is_the_name_of_the_file_when_none_is_said():
    assert tus.Described(filename="holiday.in.rome.mp4").metadata().title == "holiday.in.rome"
    assert tus.Described(filename="x" * 300 + ".mp4").metadata().title == "x" * 200
    with pytest.raises(ValidationFailed):
        tus.Described().metadata()


def test_piece_may_have_the_size_of_any_policy_when_it_names_none():
    """X1: the file that it belongs to says which."""
    assert tus.Described().limits(partial=True) is LONG
    assert tus.Described().limits(partial=False) is SHORT
    assert tus.Described(policy=SHORT).limits(partial=True) is SHORT


@pytest.mark.parametrize("header", ["", "partial;x", "final", "final;", "final;/api/v1/tus/7", "whole"])
def test_concat_is_refused_when_it_is_malformed(header):
    with pytest.raises(ValidationFailed):
        tus.parse_concat(header)
