"""However a source comes in, the same is told of it, once (A46, A47, B1, F12)."""

import base64
import hashlib

import msgspec
import pytest
from aiohttp import FormData
from sqlalchemy import select

from tables.relational.models import OutboxRow

DATA = b"video" + bytes(range(256)) * 4
DIGEST = hashlib.sha256(DATA).hexdigest()
NAME = base64.b64encode(b"A clip.mp4").decode()


async def ask(front, person, method, path, **options):
    """Make a request that succeeds; return its JSON body and its headers."""
    headers = person.headers | options.pop("headers", {})
    path = path.removeprefix("http://front.test")
    async with front.client.request(method, path, headers=headers, **options) as answer:
        assert answer.status < 300, await answer.text()
        empty = answer.status == 204 or answer.content_type != "application/json"
        return {} if empty else await answer.json(), answer.headers


async def by_form(front, person, path, field):
    form = FormData()
    form.add_field("title", "A clip")
    form.add_field(field, DATA, filename="a.mp4", content_type="video/mp4")
    body, _ = await ask(front, person, "POST", path, data=form)
    return body.get("id") or body["video_id"]


async def by_chunks(front, person):
    said = {"filename": "a.mp4", "file_size": len(DATA), "total_chunks": 1, "checksum": DIGEST}
    session, _ = await ask(front, person, "POST", "/api/v1/uploads", json=said)
    path = f"/api/v1/uploads/{session['session_id']}"
    await ask(front, person, "PUT", f"{path}/chunks/1", data=DATA)
    for _ in range(2):  # A37: the second time changes nothing
        video, _ = await ask(front, person, "POST", f"{path}/finalize", json={"title": "A clip"})
    return video["id"]


async def by_parts(front, person):
    said = {"source_mime": "video/mp4", "source_size_bytes": len(DATA)}
    video, _ = await ask(front, person, "POST", "/api/v1/videos", json={"title": "A clip", **said})
    session, _ = await ask(front, person, "POST", f"/api/v1/videos/{video['id']}/uploads", json=said)
    path = f"/api/v1/uploads/{session['upload_session_id']}"
    target, _ = await ask(front, person, "POST", f"{path}/parts", json={"part_number": 1})
    _, headers = await ask(front, person, "PUT", target["upload_url"], data=DATA)
    named = {"parts": [{"part_number": 1, "etag": headers["ETag"]}]}
    for _ in range(2):
        await ask(front, person, "POST", f"{path}/complete", json=named)
    return video["id"]


async def by_tus(front, person):
    tus = {"Tus-Resumable": "1.0.0"}
    said = tus | {"Upload-Length": str(len(DATA)), "Upload-Metadata": f"filename {NAME}"}
    _, headers = await ask(front, person, "POST", "/api/v1/tus", headers=said)
    said = tus | {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    _, headers = await ask(front, person, "PATCH", headers["Location"], headers=said, data=DATA)
    return headers["X-Video-Id"]


async def by_draft(front, person):
    said = {
        "Upload-Draft-Interop-Version": "8",
        "Upload-Complete": "?1",
        "Content-Type": "video/mp4",
        "Content-Disposition": 'inline; filename="A clip.mp4"',
    }
    video, _ = await ask(front, person, "POST", "/api/v1/tus", headers=said, data=DATA)
    return video["id"]


WAYS = {
    "form": lambda front, person: by_form(front, person, "/api/v1/videos/upload", "file"),
    "form of 000": lambda front, person: by_form(front, person, "/api/posts", "file"),
    "form of 002": lambda front, person: by_form(front, person, "/api/v1/reels/upload", "video"),
    "chunks": by_chunks,
    "parts": by_parts,
    "tus": by_tus,
    "draft of the IETF": by_draft,
}


@pytest.mark.parametrize("way", WAYS)
async def test_agents_and_the_owners_day_are_told_once_when_a_source_arrives(front, ada, way):
    """A46, B1, F12: one ``video.uploaded`` and one ``user.created``, of the bytes that arrived."""
    video_id = await WAYS[way](front, ada)
    async with front.database.transaction() as session:
        rows = list(await session.scalars(select(OutboxRow).order_by(OutboxRow.id)))
    told = [(row.topic, row.key, msgspec.json.decode(row.payload)) for row in rows]
    [(_, key, fact)] = [line for line in told if line[0] == "video.uploaded"]
    assert (key, fact["video_id"], fact["owner_id"]) == (video_id, video_id, ada.id)
    assert (fact["size_bytes"], fact["mime"]) == (len(DATA), "video/mp4")
    assert await front.deps.store.stat(fact["source_key"])
    made = [line for line in told if line[2].get("kind") == "user.created"]
    [(topic, key, fact)] = made
    assert (topic, key, fact["target"]) == ("events.user", ada.id, video_id)
