"""INTERFACE.md, first paragraph: "The API description generated from the code must agree with it"."""

import jsonschema
import pytest

PROMISED = {
    "/healthz": "get", "/readyz": "get", "/metrics": "get",
    "/api/v1/auth/register": "post", "/api/v1/auth/login": "post", "/api/v1/auth/refresh": "post",
    "/api/v1/auth/logout": "post", "/api/posts": "post", "/api/v1/videos/upload": "post",
    "/api/v1/videos/{}": "get", "/api/v1/events": "post", "/api/v1/reels/{}/analytics": "get",
    "/api/v1/videos/{}/engagement": "get", "/api/feed": "get", "/api/v1/feed": "get",
    "/api/v1/feed/feedback": "post", "/api/v1/feed/reset": "post", "/api/v1/tables": "get",
    "/api/v1/tables/{}": "get", "/api/v1/tables/{}/rows": "get", "/api/v1/tables/{}/rows/{}": "get",
    "/.well-known/webfinger": "get", "/.well-known/nodeinfo": "get", "/ap/actors/{}": "get",
    "/api/v1/posts/{}/like": "post", "/api/federation/inbox": "post",
}  # fmt: skip


@pytest.fixture
async def description(alice):
    body = await alice.get("/api/openapi.json")
    assert (alice.status, body["openapi"]) == (200, "3.1.0")
    return body


def shape(path):
    """Return a path with its parameters unnamed."""
    return "/".join("{}" if part.startswith("{") else part for part in path.split("/"))


def test_description_has_every_promised_path_when_generated(description):
    described = {shape(path): methods for path, methods in description["paths"].items()}
    for path, method in PROMISED.items():
        assert method in described.get(path, {}), path


def test_description_is_browsable_and_consistent_when_generated(description):
    """ "browsable at `/api/docs`"; operation ids are unique, references resolve."""
    operations = [
        row["operationId"]
        for methods in description["paths"].values()
        for method, row in methods.items()
        if method in {"get", "post", "put", "patch", "delete"}
    ]
    assert len(operations) == len(set(operations))
    for reference in _references(description):
        at = description
        for part in reference.removeprefix("#/").split("/"):
            at = at[part]


def _references(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for below in value.values():
            yield from _references(below)
    elif isinstance(value, list):
        for below in value:
            yield from _references(below)


async def test_answers_fit_their_description_when_given(description, alice, flower):
    """What the server answers is what it says it answers."""
    await alice.become("analyst")
    asked = {
        "/healthz": None, "/readyz": None, "/api/v1/users/me": None, "/api/v1/uploads/policies": None,
        "/api/v1/videos/{}": f"/api/v1/videos/{flower.id}",
        "/api/v1/videos/{}/encoding": f"/api/v1/videos/{flower.id}/encoding",
        "/api/v1/videos/{}/engagement": f"/api/v1/videos/{flower.id}/engagement",
        "/api/v1/reels/{}/analytics": f"/api/v1/reels/{flower.id}/analytics",
        "/api/v1/posts/{}/comments": f"/api/v1/posts/{flower.id}/comments",
        "/api/v1/users/{}/videos": f"/api/v1/users/{flower.video['owner_id']}/videos",
        "/api/v1/feed": None, "/api/feed": None, "/api/v1/trending": None, "/api/v1/tables": None,
        "/api/v1/tables/{}": "/api/v1/tables/catalogue",
        "/api/v1/tables/{}/rows": "/api/v1/tables/catalogue/rows",
        "/api/v1/tables/{}/rows/{}": f"/api/v1/tables/catalogue/rows/{flower.id}",
    }  # fmt: skip
    described = {shape(path): methods for path, methods in description["paths"].items()}
    for path, real in asked.items():
        body = await alice.get(real or path)
        assert alice.status == 200, (path, body)
        content = described[path]["get"]["responses"]["200"]["content"]["application/json"]
        _fits(body, content["schema"], description)


async def test_errors_fit_their_description_when_given(description, alice):
    """Every error of every route has one shape, and its status is among those described."""
    described = {shape(path): methods for path, methods in description["paths"].items()}
    nobody = "00000000-0000-0000-0000-000000000000"
    for path, real, status in (
        ("/api/v1/videos/{}", f"/api/v1/videos/{nobody}", 404),
        ("/api/v1/feed", "/api/v1/feed?limit=0", 400),
        ("/api/v1/tables", "/api/v1/tables", 403),
        ("/.well-known/webfinger", "/.well-known/webfinger?resource=acct:nobody@127.0.0.1", 404),
    ):
        body = await alice.get(real)
        assert alice.status == status
        content = described[path]["get"]["responses"][str(status)]["content"]["application/json"]
        _fits(body, content["schema"], description)


def _fits(body, schema, description):
    # The components go along so that "#/components/..." resolves inside the schema itself.
    jsonschema.Draft202012Validator({**schema, "components": description["components"]}).validate(body)


async def test_docs_page_asks_nobody_else_when_opened(alice):
    page = await alice.get("/api/docs")
    assert alice.status == 200
    assert alice.headers["Content-Type"].startswith("text/html")
    assert "http://" not in page.replace(alice.server.url, "")
    assert "https://" not in page
