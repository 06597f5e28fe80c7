"""Accept parsing and exact content types (J44, RFC 9110 section 12.5.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.negotiation import CONTENT_TYPES, Form, choose, wants_activity

LD = 'application/ld+json; profile="https://www.w3.org/ns/activitystreams"'
MASTODON = f"application/activity+json, {LD}, text/html;q=0.1"
CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (None, Form.ACTIVITY),
        ("", Form.ACTIVITY),
        ("*/*", Form.ACTIVITY),
        ("application/*", Form.ACTIVITY),
        ("application/activity+json", Form.ACTIVITY),
        ("APPLICATION/Activity+JSON; charset=utf-8", Form.ACTIVITY),
        (LD, Form.LD),
        ("application/ld+json", Form.LD),
        ('application/ld+json; profile="https://other.example/"', None),
        ("application/json", Form.JSON),
        ("text/html", Form.HTML),
        ("application/xhtml+xml", Form.HTML),
        (CHROME, Form.HTML),
        ("text/html;q=0.5, application/activity+json;q=0.9", Form.ACTIVITY),
        ("application/activity+json;q=0, application/json", Form.JSON),
        ("*/*;q=0.5, application/activity+json;q=0", Form.LD),
        ("image/png", None),
        ("application/activity+json;q=0", None),
        ("garbage", None),
        ("application/json;q=high", Form.JSON),
    ],
)
def test_form_follows_accept_when_negotiated(accept, form):
    assert choose(accept) == form


def test_activity_is_answered_when_mastodon_asks():
    assert choose(MASTODON) in (Form.ACTIVITY, Form.LD)


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [(None, False), ("*/*", False), (CHROME, False), (LD, True), (MASTODON, True), ("text/html", False)],
)
def test_pages_stay_pages_when_json_is_not_named(accept, wanted):
    assert wants_activity(accept) is wanted


def test_content_types_are_exact_when_loops_compares_them():
    """Loops and Pixelfed take three strings, letter by letter."""
    assert CONTENT_TYPES[Form.ACTIVITY] == "application/activity+json"
    assert CONTENT_TYPES[Form.LD] == LD


@given(st.text(max_size=200))
def test_choice_never_fails_when_header_is_arbitrary(accept):
    assert choose(accept) in {*Form, None}
