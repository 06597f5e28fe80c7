"""WebFinger → actor → outbox → Create → Note and Video → mp4, walked with ``curl`` as an operator would.

INTERFACE.md, Fediverse, with its settled readings; J9, J44, J46, X41, Y1.
"""

import asyncio
import json
import os
import shutil
from urllib.parse import quote, urlsplit

import pytest

ACTIVITY = "application/activity+json"
# Mastodon and others name the charset too; parsers take the media type.
JRD = ("application/jrd+json", "application/jrd+json; charset=utf-8")
LD = 'application/ld+json; profile="https://www.w3.org/ns/activitystreams"'


@pytest.fixture(scope="module")
def curl():
    """Return how to fetch a URL with curl: status, headers in lower case, body."""
    binary = shutil.which("curl")
    if binary is None:
        if os.environ.get("CI"):
            pytest.fail("curl is missing: CI walks the fediverse with it")
        pytest.skip("curl is not installed")

    async def fetch(url, accept=None, *more):
        given = ["-H", f"Accept: {accept}"] if accept else []
        process = await asyncio.create_subprocess_exec(
            binary, "-sS", "-i", "--path-as-is", "--max-time", "60", *given, *more, url,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        head, _, body = out.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        return int(first.split()[1]), headers, body

    return fetch


@pytest.fixture
def get(curl):
    """Return how to fetch an ActivityPub document; it has its exact type and says that it varies."""

    async def fetch(url, accept=ACTIVITY):
        status, headers, body = await curl(url, accept)
        assert status == 200, (url, body)
        assert headers["content-type"] in (ACTIVITY, f"{ACTIVITY}; charset=utf-8")
        assert "accept" in headers["vary"].lower()
        document = json.loads(body)
        assert document["id"] == url  # an id is dereferenceable, and is itself
        return document

    return fetch


async def find(curl, server, username):
    """WebFinger: "HOST in WebFinger and ids is the full `host[:port]` of the base URL"."""
    host = urlsplit(server.url).netloc
    account = f"acct:{username}@{host}"
    for resource in (account, quote(account)):
        status, headers, body = await curl(f"{server.url}/.well-known/webfinger?resource={resource}")
        assert status == 200, body
        assert headers["content-type"] in JRD
        assert headers["access-control-allow-origin"] == "*"
        jrd = json.loads(body)
        assert jrd["subject"] == account
    return next(link for link in jrd["links"] if link["rel"] == "self" and link["type"] == ACTIVITY)["href"]


async def test_author_and_video_are_found_when_walked_with_curl(shared_server, flower, curl, get):
    actor_url = await find(curl, shared_server, flower.username)
    # "actors at `/ap/actors/{did}`"; "DIDs stand in URLs with plain colons."
    assert actor_url.startswith(f"{shared_server.url}/ap/actors/did:key:z")
    actor = await get(actor_url)
    assert (actor["type"], actor["preferredUsername"]) == ("Person", flower.username)
    assert actor["alsoKnownAs"] == [actor_url.rpartition("/")[2]]
    assert actor["url"] == f"{shared_server.url}/@{flower.username}"
    assert actor["publicKey"]["owner"] == actor_url
    assert actor["publicKey"]["publicKeyPem"].startswith("-----BEGIN PUBLIC KEY-----")
    assert actor["endpoints"]["sharedInbox"] == f"{shared_server.url}/api/federation/inbox"

    outbox = await get(actor["outbox"])
    assert (outbox["type"], outbox["totalItems"]) == ("OrderedCollection", 1)
    page = await get(outbox["first"])
    assert (page["type"], page["partOf"]) == ("OrderedCollectionPage", outbox["id"])
    create = page["orderedItems"][0]
    assert (create["type"], create["actor"]) == ("Create", actor_url)
    note_id = create["object"]["id"] if isinstance(create["object"], dict) else create["object"]
    note = await get(note_id)
    assert_note(note, actor_url, flower)
    await assert_mp4(curl, note["attachment"][0]["url"])
    assert (await get(create["id"]))["type"] == "Create"
    for name in ("followers", "following"):
        assert (await get(actor[name]))["totalItems"] == 0


def assert_note(note, actor_url, flower):
    """ "The `Note` carries one mp4 attachment with `name`, `mediaType`, `duration`"."""
    assert (note["type"], note["attributedTo"]) == ("Note", actor_url)
    assert "A flower" in note["content"]
    assert {tag["name"] for tag in note["tag"] if tag["type"] == "Hashtag"} == {"#flower", "#spring"}
    assert "https://www.w3.org/ns/activitystreams#Public" in note["to"]
    assert note["published"].endswith("Z")
    assert len(note["attachment"]) == 1
    film = note["attachment"][0]
    assert (film["mediaType"], film["duration"]) == ("video/mp4", "PT5S")
    assert film["name"]


async def assert_mp4(curl, url):
    """A public file that stays: no token, ranges honoured, HEAD says its size."""
    status, headers, body = await curl(url)
    assert (status, headers["content-type"]) == (200, "video/mp4")
    assert body[4:8] == b"ftyp"
    assert int(headers["content-length"]) == len(body)
    status, head, nothing = await curl(url, None, "--head")
    assert (status, head["content-length"], nothing) == (200, headers["content-length"], b"")
    status, headers, part = await curl(url, None, "--range", "4-7")
    assert (status, part) == (206, b"ftyp")


async def test_video_object_carries_every_rung_when_walked_from_the_channel(shared_server, flower, curl, get):
    """ "the `Video` carries every rung"; a Group channel announces it (Y1)."""
    channel_url = await find(curl, shared_server, f"{flower.username}_channel")
    channel = await get(channel_url)
    assert channel["type"] == "Group"
    page = await get((await get(channel["outbox"]))["first"])
    announce = page["orderedItems"][0]
    assert announce["type"] == "Announce"
    target = announce["object"]
    video = await get(target if isinstance(target, str) else target["id"])
    assert (video["type"], video["name"], video["duration"]) == ("Video", "A flower", "PT5S")
    films = [link for link in _links(video["url"]) if link.get("mediaType") == "video/mp4"]
    assert films
    playlists = [link for link in _links(video["url"]) if link.get("mediaType") == "application/x-mpegURL"]
    offered = {link["height"] for link in [*films, *playlists] if "height" in link}
    assert offered == {360, 480, 720, 1080}, video["url"]
    for film in films:
        await assert_mp4(curl, film["href"])
    for playlist in playlists:
        status, _, body = await curl(playlist["href"])
        assert (status, body[:7]) == (200, b"#EXTM3U")


def _links(links):
    """Yield links and those below them: PeerTube nests a playlist's files in its tags."""
    for link in links:
        yield link
        yield from _links(link.get("tag", []))


async def test_document_is_negotiated_when_the_accept_header_differs(shared_server, flower, curl):
    """ "exact content types"; browsers are led to the page of the same thing (J44)."""
    actor_url = await find(curl, shared_server, flower.username)
    for accept in (ACTIVITY, LD, f"{ACTIVITY}, {LD};q=0.9", "application/json", "*/*"):
        status, headers, body = await curl(actor_url, accept)
        assert status == 200, accept
        kind = headers["content-type"].removesuffix("; charset=utf-8")
        assert kind == {LD: LD, "application/json": "application/json"}.get(accept, ACTIVITY), accept
        assert json.loads(body)["id"] == actor_url
        status, head, nothing = await curl(actor_url, accept, "--head")
        assert (status, head["content-type"], nothing) == (200, headers["content-type"], b"")
    status, headers, _ = await curl(actor_url, "text/html,application/xhtml+xml,*/*;q=0.8")
    assert status in {302, 303}
    assert headers["location"].endswith(f"/@{flower.username}")
    # "`@NAME@HOST` profiles answer browsers at `/@NAME`"
    status, headers, page = await curl(f"{shared_server.url}/@{flower.username}", "text/html")
    assert (status, headers["content-type"].split(";")[0]) == (200, "text/html")
    assert b"<!doctype html>" in page[:200].lower()


async def test_nodeinfo_is_found_in_both_versions_when_asked(shared_server, curl):
    """ "`/.well-known/nodeinfo` → 2.0 and 2.1"."""
    status, _, body = await curl(f"{shared_server.url}/.well-known/nodeinfo")
    assert status == 200
    links = {link["rel"].rpartition("/")[2]: link["href"] for link in json.loads(body)["links"]}
    assert set(links) == {"2.0", "2.1"}
    for version, url in links.items():
        status, headers, body = await curl(url)
        assert status == 200
        profile = f"http://nodeinfo.diaspora.software/ns/schema/{version}#"
        assert headers["content-type"] == f'application/json; profile="{profile}"'
        info = json.loads(body)
        assert (info["version"], info["software"]["name"]) == (version, "freewill")
        assert "activitypub" in info["protocols"]
        assert set(info["usage"]["users"]) == {"total", "activeMonth", "activeHalfyear"}


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("resource=acct:nobody@HOST", 404, "USER_NOT_FOUND"),
        ("resource=acct:nobody@elsewhere.example", 404, "USER_NOT_FOUND"),
        ("resource=nonsense", 400, "VALIDATION_ERROR"),
        ("resource=", 400, "VALIDATION_ERROR"),
        ("", 400, "VALIDATION_ERROR"),
    ],
)
async def test_webfinger_refuses_when_nobody_is_meant(shared_server, curl, query, status, code):
    host = urlsplit(shared_server.url).netloc
    found, _, body = await curl(f"{shared_server.url}/.well-known/webfinger?{query.replace('HOST', host)}")
    error = json.loads(body)["error"]
    assert (found, error["code"]) == (status, code)
    if status == 400:
        assert error["details"]["field"] == "resource"


async def test_private_video_is_nobodys_when_peers_ask(shared_server, alice, shared_dir, curl):
    """PRIVATE never leaves (X47): neither Note nor Video nor mp4, and the outbox does not count it."""
    clip = shared_dir / "media/clips/bear-vp9-odd-dimensions.webm"
    video = await alice.upload(clip, title="Mine", visibility="PRIVATE")
    await alice.wait_status(video["id"], "READY")
    for path in (f"/ap/objects/{video['id']}", f"/ap/videos/{video['id']}",
                 f"/ap/activities/create-{video['id']}",
                 f"/ap/media/{video['id']}/{video['id']}-720p.mp4"):  # fmt: skip
        status, _, body = await curl(shared_server.url + path, ACTIVITY)
        assert (status, json.loads(body)["error"]["code"]) == (404, "CONTENT_NOT_FOUND"), path
    actor_url = await find(curl, shared_server, alice.user["username"])
    _, _, body = await curl(f"{actor_url}/outbox", ACTIVITY)
    assert json.loads(body)["totalItems"] == 0
    # Its author still plays it, signed.
    await alice.assert_playable(await alice.get(f"/api/v1/videos/{video['id']}"))
