"""Content types, negotiation, refusals, media and inboxes over HTTP (J9, J44, O1)."""

from datetime import timedelta

import pytest

LD = 'application/ld+json; profile="https://www.w3.org/ns/activitystreams"'
CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
MP4_BYTES = bytes(range(256)) * 40  # what the fixture stores


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "application/activity+json"),
        ("application/activity+json", "application/activity+json"),
        (LD, LD),
        ("application/json", "application/json"),
    ],
)
async def test_content_type_is_exact_when_negotiated(site, accept, content_type):
    user = await site.person("ada")
    for url in (site.at.actor(user.did), f"{site.at.actor(user.did)}/outbox", site.at.instance_actor):
        response = await site.get(url, accept)
        assert response.headers["Content-Type"] == content_type
        assert "Accept" in response.headers["Vary"]
        assert response.headers["Access-Control-Allow-Origin"] == "*"


async def test_browser_is_sent_to_the_page_when_it_opens_an_id(site):
    user = await site.person("ada")
    row = await site.video(user, stored=False)
    pages = {
        site.at.actor(user.did): "/@ada",
        site.at.channel(user.did): "/@ada",
        f"{site.at.actor(user.did)}/outbox": "/@ada",
        f"{site.at.actor(user.did)}/followers": "/@ada",
        site.at.note(row.id): f"/v/{row.id}",
        site.at.video(row.id): f"/v/{row.id}",
        site.at.activity("create", row.id): f"/v/{row.id}",
        site.at.instance_actor: "/",
    }
    for url, page in pages.items():
        response = await site.get(url, CHROME)
        assert (response.status, response.headers["Location"]) == (303, site.at.base + page)
        assert "Accept" in response.headers["Vary"]


async def test_nothing_fits_when_only_pictures_are_accepted(site):
    user = await site.person("ada")
    response = await site.get(site.at.actor(user.did), "image/png")
    assert (response.status, (await response.json())["error"]["code"]) == (406, "NOT_ACCEPTABLE")


async def test_page_urls_answer_peers_when_activity_json_is_asked(site):
    user = await site.person("ada")
    row = await site.video(user, stored=False)
    assert (await site.json("/@ada"))["id"] == site.at.actor(user.did)
    assert (await site.json("/@ADA_channel"))["id"] == site.at.channel(user.did)
    assert (await site.json(f"/v/{row.id}"))["id"] == site.at.note(row.id)
    for path in ("/@ada", f"/v/{row.id}"):
        response = await site.get(path, CHROME)
        assert (response.status, response.content_type) == (200, "text/html")
        assert "Accept" in response.headers["Vary"]
    assert (await site.get("/@nobody")).status == 404


async def test_pages_are_there_and_documents_are_not_when_still_starting(site):
    """P38: browsers get the client at once, peers are told to come back."""
    await site.person("ada")
    site.missing.append("tables")
    for path in ("/@ada", "/v/00000000-0000-4000-8000-000000000000"):
        assert (await site.get(path, CHROME)).status == 200
        refused = await site.get(path)
        assert (refused.status, (await refused.json())["error"]["code"]) == (503, "SERVICE_UNAVAILABLE")
        assert "Retry-After" in refused.headers


async def test_head_answers_like_get_when_asked(site):
    user = await site.person("ada")
    for path in (f"/ap/actors/{user.did}", f"/.well-known/webfinger?resource=acct:ada@{site.host}"):
        whole, head = await site.get(path), await site.client.head(path, headers={"Accept": LD})
        assert head.status == whole.status == 200
        assert await head.read() == b""
        assert int(head.headers["Content-Length"]) > 100


async def test_did_is_found_when_its_colons_are_escaped(site):
    user = await site.person("ada")
    actor = await site.json(f"/ap/actors/{user.did.replace(':', '%3A')}")
    assert actor["id"] == site.at.actor(user.did)


async def test_jrd_has_its_headers_when_found(site):
    user = await site.person("ada")
    for resource in (
        f"acct:ADA@{site.host}",
        f"@ada@{site.host}",
        site.at.profile("ada"),
        site.at.actor(user.did),
        user.did,
    ):
        response = await site.client.get("/.well-known/webfinger", params={"resource": resource})
        assert response.status == 200, resource
        assert response.headers["Content-Type"] == "application/jrd+json; charset=utf-8"
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert (await response.json(content_type=None))["subject"] == f"acct:ada@{site.host}"


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("", 400, "VALIDATION_ERROR"),
        ("?resource=", 400, "VALIDATION_ERROR"),
        ("?resource=ada", 400, "VALIDATION_ERROR"),
        ("?resource=acct:nobody@{host}", 404, "USER_NOT_FOUND"),
        ("?resource=acct:nobody_channel@{host}", 404, "USER_NOT_FOUND"),
        ("?resource=acct:ada@elsewhere.example", 404, "USER_NOT_FOUND"),
        ("?resource=acct:%00@{host}", 404, "USER_NOT_FOUND"),
        ("?resource=acct:a'%20OR%201=1@{host}", 400, "VALIDATION_ERROR"),
        ("?resource=https://[/@ada", 400, "VALIDATION_ERROR"),
        ("?resource=did:key:z6Mk", 404, "USER_NOT_FOUND"),
    ],
)
async def test_webfinger_refuses_when_resource_is_wrong(site, query, status, code):
    """O1 shape, with details.field for what is malformed."""
    await site.person("ada")
    response = await site.get("/.well-known/webfinger" + query.format(host=site.host))
    error = (await response.json())["error"]
    assert (response.status, error["code"]) == (status, code)
    if status == 400:
        assert error["details"]["field"] == "resource"


@pytest.mark.parametrize(
    "path",
    [
        "/ap/actors/did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK",
        "/ap/actors/nobody",
        "/ap/actors/%00/outbox",
        "/ap/channels/x",
        "/ap/objects/not-a-uuid",
        "/ap/objects/00000000-0000-4000-8000-000000000000",
        "/ap/videos/%F0%9F%98%80",
        "/ap/activities/create-17",
        "/ap/activities/explode-17",
        "/nodeinfo/3.0",
    ],
)
async def test_unknown_things_are_404_when_asked(site, path):
    response = await site.get(path)
    assert response.status == 404
    assert (await response.json())["error"]["code"] in {"USER_NOT_FOUND", "CONTENT_NOT_FOUND", "NOT_FOUND"}


@pytest.mark.parametrize(
    "cursor",
    ["x", "1", "-", "1-2", "99999999999999999999999-00000000-0000-4000-8000-000000000000", "²-x", "1" * 500],
)
async def test_cursor_is_refused_when_malformed(site, cursor):
    user = await site.person("ada")
    url = f"/ap/actors/{user.did}/outbox?page=true&cursor={cursor}"
    response = await site.get(url)
    error = (await response.json())["error"]
    assert (response.status, error["code"], error["details"]["field"]) == (400, "VALIDATION_ERROR", "cursor")


async def test_nodeinfo_counts_are_real_when_people_come_and_go(site):
    """J9: people, active people, videos, from the database."""
    index = await site.client.get("/.well-known/nodeinfo")
    links = (await index.json())["links"]
    now = site.now
    ada, bob, _ = [await site.person(name) for name in ("ada", "bob", "cy")]
    await site.signed_in(ada, now - timedelta(days=2))
    await site.signed_in(ada, now - timedelta(days=1))
    await site.signed_in(bob, now - timedelta(days=90))
    await site.video(ada, stored=False)
    for link in links:
        response = await site.get(link["href"], None)
        version = link["rel"].rpartition("/")[2]
        assert response.headers["Content-Type"] == (
            f'application/json; profile="http://nodeinfo.diaspora.software/ns/schema/{version}#"'
        )
        document = await response.json()
        assert document["version"] == version
        assert document["software"]["name"] == "freewill"
        assert document["usage"] == {
            "users": {"total": 3, "activeMonth": 1, "activeHalfyear": 2},
            "localPosts": 1,
            "localComments": 0,
        }


async def test_host_meta_is_xrd_when_asked(site):
    response = await site.client.get("/.well-known/host-meta")
    assert response.headers["Content-Type"] == "application/xrd+xml; charset=utf-8"
    assert "webfinger?resource={uri}" in await response.text()


async def test_file_is_served_whole_and_in_parts_when_public(site):
    """Loops: HEAD 200 with a length, no redirect; players: ranges, and any origin."""
    row = await site.video(await site.person("ada"))
    url = site.at.mp4(row.id, "720p")
    whole = await site.get(url, None)
    assert (whole.status, whole.content_type) == (200, "video/mp4")
    assert whole.headers["Access-Control-Allow-Origin"] == "*"
    assert await whole.read() == MP4_BYTES
    part = await site.get(url, None, headers={"Range": "bytes=100-199"})
    assert (part.status, await part.read()) == (206, MP4_BYTES[100:200])
    assert part.headers["Content-Range"] == f"bytes 100-199/{len(MP4_BYTES)}"
    beyond = await site.get(url, None, headers={"Range": "bytes=999999-"})
    assert beyond.status == 416
    head = await site.client.head(url.removeprefix(site.at.base))
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(MP4_BYTES)))
    again = await site.get(url, None, headers={"If-None-Match": whole.headers["ETag"]})
    assert again.status == 304


@pytest.mark.parametrize("remote", [False, True])
async def test_file_is_the_same_when_store_is_remote(site, monkeypatch, remote):
    """A bucket has no local file: the bytes are streamed, with the same answers."""
    row = await site.video(await site.person("ada"))
    url = site.at.mp4(row.id, "720p")
    if remote:
        monkeypatch.setattr(site.store, "local_path", lambda key: None)
    whole = await site.get(url, None)
    assert (whole.status, await whole.read()) == (200, MP4_BYTES)
    assert whole.headers["Content-Type"] == "video/mp4"
    part = await site.get(url, None, headers={"Range": "bytes=-10"})
    assert (part.status, await part.read()) == (206, MP4_BYTES[-10:])
    assert (await site.get(url, None, headers={"Range": "bytes=999999-"})).status == 416
    again = await site.get(url, None, headers={"If-None-Match": whole.headers["ETag"]})
    assert again.status == 304
    stale = await site.get(url, None, headers={"Range": "bytes=0-9", "If-Range": '"old"'})
    assert (stale.status, len(await stale.read())) == (200, len(MP4_BYTES))
    head = await site.client.head(url.removeprefix(site.at.base))
    assert head.headers["Content-Length"] == str(len(MP4_BYTES))


@pytest.mark.parametrize(
    "path",
    [
        "source.mp4",
        "mp4/720p.mp4",
        "hls/..%2Fsource.mp4",
        "hls/%2e%2e/source.mp4",
        "hls/",
        "hls//master.m3u8",
        "hls/none.ts",
        "thumbs/.hidden",
        "{id}-1080p.mp4",
        "%00",
    ],
)
async def test_nothing_else_is_served_when_video_is_public(site, path):
    """The source is never served, and no path leads out of the video's folder."""
    row = await site.video(await site.person("ada"))
    response = await site.get(f"/ap/media/{row.id}/{path.format(id=row.id)}", None)
    assert response.status == 404


async def test_media_ends_when_video_is_deleted_or_hidden(site):
    row = await site.video(await site.person("ada"))
    url = site.at.mp4(row.id, "720p")
    assert (await site.get(url, None)).status == 200
    await site.delete(row)
    assert (await site.get(url, None)).status == 404


async def test_inbox_says_come_back_when_activities_arrive(site):
    """Peers retry after 503, and give up after 4xx."""
    user = await site.person("ada")
    actor = await site.json(site.at.actor(user.did))
    for url in (actor["inbox"], actor["endpoints"]["sharedInbox"], f"{site.at.channel(user.did)}/inbox"):
        body = b'{"type": "Follow"}'
        headers = {"Content-Type": "application/activity+json"}
        response = await site.client.post(url.removeprefix(site.at.base), data=body, headers=headers)
        assert (response.status, (await response.json())["error"]["code"]) == (503, "SERVICE_UNAVAILABLE")
        assert int(response.headers["Retry-After"]) >= 60
