"""What is said of a READY video reaches feeds, links and peers when it is edited (C19, C37, C40, H6)."""

import asyncio
import os
import shutil

import pytest

FEED = "/api/v1/feed?profile=trending&limit=50"


@pytest.fixture
def curl(tmp_path):
    """Return how to fetch a URL with curl: its status and bytes."""
    binary = shutil.which("curl")
    if binary is None:
        if os.environ.get("CI"):
            pytest.fail("curl is missing: CI fetches ranges with it")
        pytest.skip("curl is not installed")
    body = tmp_path / "body"

    async def fetch(url, *more):
        process = await asyncio.create_subprocess_exec(
            binary, "-sS", "-o", str(body), "-w", "%{http_code}", "--max-time", "60", *more, url,
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await process.communicate()
        return int(out), body.read_bytes() if body.exists() else b""

    return fetch


async def test_edit_is_seen_everywhere_when_a_video_plays(
    shared_server, alice, make_client, shared_dir, curl, tmp_path
):
    """C19: feeds show the new title; hidden, it leaves feeds and peers, and links made before end."""
    created = await alice.upload(shared_dir / "media/clips/bear-vp9-odd-dimensions.webm", title="Old words")
    video = await alice.wait_status(created["id"], "READY")
    other = await make_client(shared_server).register()

    def titles(body):
        return {item["id"]: item["title"] for item in body["items"]}

    await other.eventually(FEED, lambda body: titles(body).get(video["id"]) == "Old words")
    path = f"/api/v1/videos/{video['id']}"
    await alice.get(path)
    tag = {"If-Match": alice.headers["ETag"]}
    edited = await alice.call("PATCH", path, json={"title": "New words"}, headers=tag)
    assert (alice.status, edited["title"]) == (200, "New words")
    refused = await alice.call("PATCH", path, json={"title": "Lost words"}, headers=tag)
    assert (alice.status, refused["error"]["code"]) == (412, "PRECONDITION_FAILED")
    await other.eventually(FEED, lambda body: titles(body).get(video["id"]) == "New words")

    url = video["playback"]["mp4_url"]
    status, whole = await curl(url)
    assert (status, whole[4:8]) == (200, b"ftyp")
    for wanted, expected in (("0-99", whole[:100]), ("100-", whole[100:]), ("-50", whole[-50:])):
        assert await curl(url, "-r", wanted) == (206, expected)
    (tmp_path / "body").write_bytes(whole[:1000])
    status, _ = await curl(url, "-C", "-")  # a download that was cut goes on
    assert (status, (tmp_path / "body").read_bytes()) == (206, whole)

    await alice.call("PATCH", path, json={"visibility": "PRIVATE"})
    assert alice.status == 200
    assert (await curl(url))[0] == 404  # at once: the change was made by this process
    await other.eventually(FEED, lambda body: video["id"] not in titles(body))
    await other.get(f"/ap/videos/{video['id']}", headers={"Accept": "application/activity+json"})
    assert other.status == 404
    await alice.assert_playable(await alice.get(path))
