"""From a name to a playable file, as a peer walks it (issue scope: J2, J8, J9, J46, K7, X41, X47, Y1)."""

import pytest

from federation.contexts import undefined_terms
from federation.model import Counts
from federation.validators import Parcel, would_take


async def _actor(site, name: str) -> dict:
    jrd = await site.json(f"/.well-known/webfinger?resource=acct:{name}@{site.host}", None)
    (link,) = [link for link in jrd["links"] if link["rel"] == "self"]
    assert link["type"] == "application/activity+json"
    actor = await site.json(link["href"])
    assert actor["id"] == link["href"]
    assert jrd["subject"] == f"acct:{actor['preferredUsername']}@{site.host}"
    return actor


async def test_video_is_reached_when_walked_from_a_name(site):
    user = await site.person("Ada")
    row = await site.video(user)
    actor = await _actor(site, "ada")
    assert actor["id"] == f"{site.at.base}/ap/actors/{user.did}"
    outbox = await site.json(actor["outbox"])
    assert (outbox["type"], outbox["totalItems"]) == ("OrderedCollection", 1)
    page = await site.json(outbox["first"])
    (create,) = page["orderedItems"]
    assert await site.json(create["id"]) == {"@context": page["@context"], **create}
    note = await site.json(create["object"]["id"])
    assert note["type"] == "Note"
    assert {name: value for name, value in note.items() if name != "@context"} == create["object"]
    media = await site.client.head(note["attachment"][0]["url"].removeprefix(site.at.base))
    assert media.status == 200
    assert int(media.headers["Content-Length"]) == note["attachment"][0]["size"]
    assert (await site.get(note["url"], "text/html")).status == 200
    assert row.id in note["id"]


async def test_channel_announces_a_video_when_walked_from_its_name(site):
    """Y1: PeerTube's way: Group, Announce, Video, back to the Group and its Person."""
    user = await site.person("ada")
    row = await site.video(user)
    channel = await _actor(site, "ada_channel")
    page = await site.json((await site.json(channel["outbox"]))["first"])
    (announce,) = page["orderedItems"]
    assert (await site.json(announce["id"]))["object"] == announce["object"]
    video = await site.json(announce["object"])
    assert (video["type"], video["uuid"]) == ("Video", row.id)
    assert {owner["id"] for owner in video["attributedTo"]} == {channel["id"], site.at.actor(user.did)}
    assert channel["attributedTo"][0]["id"] == site.at.actor(user.did)
    assert [rung["name"] for rung in video["attachment"]] == ["720p", "360p"]


async def test_every_link_of_a_video_answers_when_fetched(site):
    row = await site.video(await site.person("ada"))
    video = await site.json(site.at.video(row.id))
    urls = [link["href"] for link in video["url"]] + [icon["url"] for icon in video["icon"]]
    urls += [rung["url"] for rung in video["attachment"]]
    for url in urls:
        assert (await site.get(url, None)).status == 200, url
    for name in ("likes", "dislikes", "shares", "comments"):
        assert (await site.json(video[name]))["totalItems"] == 0


async def test_every_server_would_take_it_when_only_https_is_missing(site):
    """The loopback server differs from a public one in scheme and port only."""
    user = await site.person("ada")
    row = await site.video(user)
    parcel = Parcel(
        person=await site.json(site.at.actor(user.did)),
        channel=await site.json(site.at.channel(user.did)),
        create=await site.json(site.at.activity("create", row.id)),
        video=await site.json(site.at.video(row.id)),
    )
    reasons = would_take(parcel)
    assert reasons.pop("loops") == ["attachment: url is not https on port 443"]
    assert not any(reasons.values()), reasons
    for document in (parcel.person, parcel.channel, parcel.create, parcel.video):
        assert undefined_terms(document) == []


async def test_counts_come_from_the_table_when_it_has_them(site):
    """J31: what the engagement table says; the row's counters only while it says nothing."""
    user = await site.person("ada")
    row = await site.video(user, view_count=4, like_count=1)
    assert (await site.json(site.at.video(row.id)))["views"] == 4
    site.counts[row.id] = Counts(views=9, likes=5, shares=2, comments=3)
    assert (await site.json(site.at.video(row.id)))["views"] == 9
    note = await site.json(site.at.note(row.id))
    assert (note["likes"]["totalItems"], note["shares"]["totalItems"]) == (5, 2)
    assert (await site.json(note["likes"]["id"]))["totalItems"] == 5
    assert (await site.json(note["replies"]["id"]))["totalItems"] == note["replies"]["totalItems"] == 3


async def test_each_video_is_met_once_when_outbox_is_paged(site):
    user = await site.person("ada")
    # Two of a time: the id decides between them.
    rows = [await site.video(user, minutes=number // 2, stored=False) for number in range(45)]
    await site.video(await site.person("bob"), stored=False)
    head = await site.json(f"{site.at.actor(user.did)}/outbox")
    assert head["totalItems"] == 45
    seen, url = [], head["first"]
    while url:
        page = await site.json(url)
        assert page["id"] == url
        seen += [item["object"]["id"] for item in page["orderedItems"]]
        url = page.get("next")
    expected = sorted(rows, key=lambda row: (row.published_at, row.id), reverse=True)
    assert seen == [site.at.note(row.id) for row in expected]


@pytest.mark.parametrize(
    "changes",
    [
        {"visibility": "FOLLOWERS_ONLY"},
        {"visibility": "PRIVATE"},
        {"status": "TRANSCODING"},
        {"moderation_status": "flagged"},
        {"moderation_status": "rejected"},
        {"is_federated": True},
    ],
)
async def test_nothing_leaks_when_video_is_not_for_the_world(site, changes):
    """X46, X47: neither documents, nor counts, nor media."""
    user = await site.person("ada")
    row = await site.video(user, **changes)
    assert (await site.json(f"{site.at.actor(user.did)}/outbox"))["totalItems"] == 0
    assert (await site.json(f"{site.at.actor(user.did)}/outbox?page=true"))["orderedItems"] == []
    urls = [
        site.at.note(row.id), f"{site.at.note(row.id)}/likes", site.at.video(row.id),
        site.at.activity("create", row.id), site.at.activity("announce", row.id),
        site.at.mp4(row.id, "720p"), site.at.media(row.id, "hls/master.m3u8"),
    ]  # fmt: skip
    for url in urls:
        response = await site.get(url)
        assert response.status == 404, url
        assert (await response.json())["error"]["code"] == "CONTENT_NOT_FOUND"
    assert (await site.json("/nodeinfo/2.1", None))["usage"]["localPosts"] == 0


async def test_tombstone_is_answered_when_video_was_deleted(site):
    row = await site.video(await site.person("ada"))
    await site.delete(row)
    for url, former in ((site.at.note(row.id), "Note"), (site.at.video(row.id), "Video")):
        response = await site.get(url)
        assert response.status == 410
        assert response.headers["Content-Type"] == "application/activity+json"
        stone = await response.json(content_type=None)
        assert (stone["type"], stone["id"], stone["formerType"]) == ("Tombstone", url, former)
    page = await site.get(site.at.note(row.id), "text/html")
    assert (page.status, (await page.json())["error"]["code"]) == (410, "GONE")


async def test_instance_actor_is_found_when_asked_by_its_host(site):
    """Loops looks it up as acct:HOST@HOST while it verifies."""
    actor = await _actor(site, site.host)
    assert actor["type"] == "Application"
    assert actor["publicKey"]["publicKeyPem"] == site.pem
    assert (await site.json(actor["outbox"]))["totalItems"] == 0


async def test_graph_counts_are_true_when_nobody_can_follow_yet(site):
    user = await site.person("ada")
    for base in (site.at.actor(user.did), site.at.channel(user.did)):
        for name in ("followers", "following"):
            collection = await site.json(f"{base}/{name}")
            assert (collection["type"], collection["totalItems"]) == ("OrderedCollection", 0)


async def test_person_goes_first_when_a_name_looks_like_a_channel(site):
    await site.person("ada")
    impostor = await site.person("ada_channel")
    assert (await _actor(site, "ada_channel"))["id"] == site.at.actor(impostor.did)
