"""Nonsense at every route: each answer is one of ours and never a 5xx (O2, N10, N25)."""

import io
import re

import pytest

from web.errors import SHOWN_VALUE_CHARACTERS
from web.table import TABLE

NASTY_NAMES = [
    "%00",
    "..%2f..%2fetc%2fpasswd",
    "'; DROP TABLE users; --",
    "%F0%9F%92%A9",
    "a" * 2000,
    "%0d%0aX: y",
]
NASTY_QUERIES = [
    "limit=1e9&cursor=%00",
    "limit=" + "9" * 5000,
    "cursor=" + "A" * 5000,
    "cursor=eyJhIjoxfQ",
    "profile=%F0%9F%92%A9&tag=%00",
    "status=x&limit=&parent_id=%00",
    "limit=1&limit=-5",
    "%ff=%ff",
]
NASTY_BODIES = [
    b"",
    b"null",
    b"{}",
    b'{"__proto__": {}, "username": null}',
    b'{"username": "\\u0000", "email": "\\u0000@x.y", "password": "\\u00001234567"}',
    b'{"text": "\\ud800", "kind": "less", "tag": "\\u0000"}',
    b'{"events": [null, 1, "x", [], {"event_id": {}}, {"action": 1e400}]}',
    b'{"username": 1e400, "refresh_token": NaN}',
    b'{"text": "' + b"x" * 5000 + b'", "parent_id": "\\u0000"}',
    b'{"refresh_token": "\\u0000\xc3\xa9"}',
    b"{" * 2000,
    b"\xff\xfe\x00",
]
ROWS = [row for row in TABLE if row.tag != "fediverse" and not row.hidden and row.status != 101]


def paths(row):
    names = re.findall(r"{(\w+)[^}]*}", row.path)
    if not names:
        return [row.path]
    return [re.sub(r"{[^}]*}", name, row.path) for name in NASTY_NAMES]


async def check(response, row):
    assert response.status < 500, (row.name, await response.text())
    if response.status >= 400 and response.method != "HEAD":
        body = await response.json()
        assert set(body) == {"error", "request_id", "timestamp"}, row.name
        shown = body["error"]["details"].get("value", "")
        assert len(str(shown)) <= max(SHOWN_VALUE_CHARACTERS, 400)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_answer_is_ours_when_the_request_is_nonsense(front, row):
    """Every route, with paths, queries and bodies that break naive code."""
    if row.media_type == "text/event-stream":
        pytest.skip("an open stream is not an answer")
    eve = await front.person("eve", "operator")
    for path in paths(row):
        for query in NASTY_QUERIES if row.query else [""]:
            asked = f"{path}?{query}" if query else path
            bodies = NASTY_BODIES if row.method == "POST" else [b""]
            for raw in bodies:
                headers = eve.headers | {"Content-Type": "application/json"}
                if row.name == "logout":
                    headers["Authorization"] = "Bearer \u00e9"
                response = await front.client.request(
                    row.method, asked, data=io.BytesIO(raw) if raw else None, headers=headers
                )
                await check(response, row)
    assert (await front.client.get("/healthz")).status == 200
