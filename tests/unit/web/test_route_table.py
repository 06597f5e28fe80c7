"""The route table, its description, and the errors it promises (O34, Y13, X5, N3)."""

import re
from inspect import getdoc

import pytest

from tables import errors
from web import errors as shaping
from web.openapi import describe, errors_of
from web.routes import Auth
from web.table import TABLE

DESCRIPTION = describe(TABLE, "http://front.test", "1")
# What needs no token by N3: registration, login, federation, health, signed media; what is public.
OPEN = re.compile(
    r"/healthz|/readyz|/metrics|/api/openapi.json|/api/docs.*|/api/v1/auth/(register|login|refresh)"
    r"|/api/v1/users/{user_id}(/videos)?|/api/v1/uploads/policies|/api/v1/tus|/media/.*|/ap/.*|/.well-known/.*"
    r"|/nodeinfo/.*|/api/federation/inbox|/@{username}|/v/{video_id}"
    r"|/api(/v1)?/webhooks/uploads|/api/v1/uploads/{session_id}/parts/{number}"  # signed by themselves
    r"|/api/v1/encoding/leases/{lease_id}/inputs/{name}"
    r"|/api/v1/ws/notifications|/api/v1/notifications/stream|/api/v1/videos/events"
)


def test_every_row_has_its_own_name_and_place():
    names = [row.name for row in TABLE]
    places = [(row.method, row.path) for row in TABLE]
    assert len(set(names)) == len(names)
    assert len(set(places)) == len(places)
    assert all(not row.path.endswith("/") or row.path == "/" for row in TABLE)


def test_every_route_needs_a_token_when_it_is_not_public():
    """N3."""
    unguarded = [row.path for row in TABLE if row.auth is Auth.NONE and not OPEN.fullmatch(row.path)]
    assert unguarded == []


@pytest.mark.parametrize("row", [row for row in TABLE if not row.hidden], ids=lambda row: row.name)
def test_route_is_described_whole(row):
    """Y13: parameters, body, answer and every error code of every route."""
    path = re.sub(r"{(\w+):[^}]*}", r"{\1}", row.path)
    operation = DESCRIPTION["paths"][path][row.method.lower()]
    assert operation["operationId"] == row.name
    for name in re.findall(r"{(\w+)}", path):
        assert name in {p["name"] for p in operation["parameters"] if p["in"] == "path"}
    told = {code for answer in operation["responses"].values() for code in answer.get("x-codes", ())}
    assert told == {kind.code for kind in errors_of(row)}
    assert ("requestBody" in operation) == (
        row.request is not None or row.form is not None or row.body is not None
    )
    assert str(row.status) in operation["responses"]


def test_every_reference_resolves():
    found = set(re.findall(r"#/components/schemas/([\w.-]+)", str(DESCRIPTION)))
    assert found <= set(DESCRIPTION["components"]["schemas"])


@pytest.mark.parametrize("code", sorted(errors.registry()))
def test_error_class_is_mapped_and_documented(code):
    """O34: every class of the tree has a unique code, a status, words for it, and becomes the shape of O1."""
    kind = errors.registry()[code]
    assert kind.code == code
    assert getdoc(kind)
    assert kind.message
    assert DESCRIPTION["x-error-codes"][code] == {"status": kind.status, "description": getdoc(kind)}
    assert 400 <= kind.status < 600
    response = shaping.response(kind(details={"size": 1}), "r1", 0.0)
    assert response.status == kind.status
    assert b'"request_id":"r1"' in response.body


def test_codes_are_unique():
    """O34: no two classes share a code."""
    kinds = list(errors.tree())
    assert len({kind.code for kind in kinds}) == len(kinds)


def test_interface_is_served():
    """INTERFACE.md: every path it fixes for this capability is a row."""
    served = {(row.method, re.sub(r"{\w+}", "{}", row.path)) for row in TABLE}
    fixed = """
    GET /healthz|GET /readyz|GET /metrics|POST /api/v1/auth/register|POST /api/v1/auth/login
    POST /api/v1/auth/refresh|POST /api/v1/auth/logout|POST /api/posts|POST /api/v1/videos/upload
    GET /api/v1/videos/{}|POST /api/v1/events|GET /api/v1/reels/{}/analytics
    GET /api/v1/videos/{}/engagement|GET /api/feed|GET /api/v1/feed|POST /api/v1/feed/feedback
    POST /api/v1/feed/reset|GET /api/v1/tables|GET /api/v1/tables/{}|GET /api/v1/tables/{}/rows
    GET /api/v1/tables/{}/changes|POST /api/v1/analytics/query
    GET /api/v1/tables/{}/rows/{}|GET /.well-known/webfinger|GET /.well-known/nodeinfo|GET /ap/actors/{}
    GET /api/openapi.json|GET /api/docs|POST /api/v1/posts/{}/like|DELETE /api/v1/posts/{}/like
    POST /api/v1/posts/{}/comment|POST /api/v1/posts/{}/share|POST /api/v1/posts/{}/save
    DELETE /api/v1/posts/{}/save|GET /api/v1/ws/notifications|POST /api/federation/inbox
    """
    for line in re.split(r"[|\n]", fixed):
        if line.strip():
            assert tuple(line.split()) in served


def test_secrets_are_not_echoed_when_validation_fails():
    """P33: a wrong password's value is not in the answer; a wrong limit's is."""
    from pydantic import ValidationError

    from web.schemas.accounts import LoginRequest
    from web.schemas.base import Page

    for model, data, shown in (
        (LoginRequest, {"username": "a", "password": 4711}, False),
        (Page, {"limit": "4711x"}, True),
    ):
        with pytest.raises(ValidationError) as raised:
            model.model_validate(data)
        assert ("4711" in str(shaping.from_validation(raised.value).details)) is shown


def test_front_is_light_when_it_is_imported():
    """Memory: what only child processes need is not loaded by the front."""
    import subprocess
    import sys

    code = "import sys, web.app, web.service, web.table; print([m for m in HEAVY if m in sys.modules])"
    heavy = "HEAVY = ['av', 'sklearn', 'scipy', 'pandas', 'duckdb', 'pyarrow', 'faust']; "
    printed = subprocess.run([sys.executable, "-c", heavy + code], capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == "[]"
