"""The mark between workers: only theirs, only for its request, only for a minute (F17)."""

import pytest
from aiohttp.test_utils import make_mocked_request

from web import hops

SECRET = hops.secret_from(b"t" * 32)
PATH = "/api/v1/feed?limit=3&tag=%C3%A9"


def asked(mark, method="GET", path=PATH):
    return make_mocked_request(method, path, headers={hops.HEADER: mark})


def test_mark_is_read_when_a_worker_signed_it():
    mark = hops.mark(SECRET, "GET", PATH, "r1", "10.1.2.3", 100.0)
    assert hops.read(SECRET, asked(mark), "r1", 130.0) == hops.Hop("10.1.2.3")


@pytest.mark.parametrize(
    ("secret", "request_id", "method", "path", "now"),
    [
        (b"another", "r1", "GET", PATH, 100.0),
        (SECRET, "r2", "GET", PATH, 100.0),
        (SECRET, "r1", "POST", PATH, 100.0),
        (SECRET, "r1", "GET", PATH + "1", 100.0),
        (SECRET, "r1", "GET", PATH, 100.0 + hops.LIFETIME_SECONDS + 1),
        (SECRET, "r1", "GET", PATH, 100.0 - hops.LIFETIME_SECONDS - 1),
    ],
    ids=["secret", "request id", "method", "target", "stale", "from the future"],
)
def test_mark_is_none_when_it_does_not_fit(secret, request_id, method, path, now):
    mark = hops.mark(SECRET, "GET", PATH, "r1", "10.1.2.3", 100.0)
    assert hops.read(secret, asked(mark, method, path), request_id, now) is None


@pytest.mark.parametrize("mark", ["", "x", "1 2 3", "nan 10.1.2.3 é", "100.000 10.9.9.9 " + "0" * 64])
def test_mark_is_none_when_a_client_made_it_up(mark):
    assert hops.read(SECRET, asked(mark), "r1", 100.0) is None


def test_address_is_not_believed_when_it_was_changed():
    at, _, signature = hops.mark(SECRET, "GET", PATH, "r1", "10.1.2.3", 100.0).split()
    assert hops.read(SECRET, asked(f"{at} 10.9.9.9 {signature}"), "r1", 100.0) is None
