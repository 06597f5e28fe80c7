"""Captions of a video on a whole server: in playlists, links and for peers (Y6, Y1, C34)."""

import os
import shutil
from urllib.parse import urljoin

import m3u8
import pytest
from playwright.async_api import async_playwright, expect

ACTIVITY = {"Accept": "application/activity+json"}


def vtt(text):
    return f"WEBVTT\n\n00:00.100 --> 00:00.900\n{text}\n".encode()


async def test_captions_reach_players_and_peers_when_they_are_given_at_any_time(alice, shared_dir):
    """Y6: before the encode has ended and after it; each form of HLS, DASH, and the Video of ActivityPub."""
    created = await alice.upload(shared_dir / "media/clips/bear-vp9-odd-dimensions.webm", title="A bear")
    path = f"/api/v1/videos/{created['id']}"

    async def give(language, data, kind="text/vtt"):
        given = await alice.call(
            "PUT", f"{path}/captions/{language}", data=data, headers={"Content-Type": kind}
        )
        assert alice.status == 200, given
        return given

    async def languages(url):
        master = m3u8.loads((await alice.bytes_of(url)).decode())
        for each in master.media:
            listed = m3u8.loads((await alice.bytes_of(urljoin(url, each.uri))).decode())
            shown = await alice.bytes_of(urljoin(urljoin(url, each.uri), listed.segments[0].uri))
            assert b"X-TIMESTAMP-MAP" in shown
        return {each.language for each in master.media}

    await give("de", vtt("Ein Bär"))
    video = await alice.wait_status(created["id"], "READY")
    await alice.eventually(path, lambda body: not body["processing_more"])
    assert await languages(video["playback"]["hls_url"]) == {"de"}
    assert (await give("en", b"1\n00:00:00,100 --> 00:00:00,900\nA bear\n", "application/x-subrip"))[
        "published"
    ]
    video = await alice.get(path)
    for name in ("hls_url", "hls_cmaf_url"):
        assert await languages(video["playback"][name]) == {"de", "en"}
    manifest = (await alice.bytes_of(video["playback"]["dash_url"])).decode()
    assert "../captions/de.vtt" in manifest
    assert "thumbnail_tile" in manifest
    assert [text["language"] for text in video["captions"]] == ["de", "en"]
    assert "Ein Bär" in (await alice.bytes_of(video["captions"][0]["url"])).decode()
    for name, magic in (("preview_webp_url", b"RIFF"), ("storyboard_image_url", b"\xff\xd8")):
        assert (await alice.bytes_of(video["playback"][name])).startswith(magic)
    told = await alice.get(f"/ap/videos/{video['id']}", headers=ACTIVITY)
    assert [text["identifier"] for text in told["subtitleLanguage"]] == ["de", "en"]
    assert b"A bear" in await alice.bytes_of(told["subtitleLanguage"][1]["url"])

    await alice.call("DELETE", f"{path}/captions/de")
    assert alice.status == 204
    assert await languages(video["playback"]["hls_url"]) == {"en"}
    told = await alice.get(f"/ap/videos/{video['id']}", headers=ACTIVITY)
    assert [text["identifier"] for text in told["subtitleLanguage"]] == ["en"]


FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--autoplay-policy=no-user-gesture-required"]
SHOWN = """() => {
    const video = document.querySelector('[data-testid="feed-video"]');
    const shown = video && [...video.textTracks].filter((track) => track.mode === 'showing');
    return shown && shown.length === 1 && shown[0].cues && shown[0].cues.length === 1
        && [shown[0].language, shown[0].cues[0].text, video.muted];
}"""
HIDDEN = """() => {
    const video = document.querySelector('[data-testid="feed-video"]');
    return video && video.currentTime > 0
        && [...video.textTracks].every((track) => track.mode !== 'showing');
}"""
WATCH_POLICY = """
    window.__violations = [];
    addEventListener('securitypolicyviolation',
        (event) => window.__violations.push(event.violatedDirective + ' ' + event.blockedURI));
"""
CHOOSE = "choice => localStorage.setItem('freewill.preferences', JSON.stringify({ captions: choice }))"


SIGN_IN = "session => localStorage.setItem('freewill.session', JSON.stringify(session))"
SRT = b"1\n00:00:00,100 --> 00:00:00,400\nSalut\n"


async def give_in_studio(page, alice):
    """Sign in with a token, and give French captions to the one video that there is."""
    # Not the feed: it would read the playlist, which browsers keep for some seconds (C33).
    await page.goto(f"{alice.server.url}/healthz")
    signed_in = {"user": alice.user, "accessToken": alice.token, "refreshToken": "-", "renewAt": 4e12}
    await page.evaluate(SIGN_IN, signed_in)
    await page.goto(f"{alice.server.url}/studio")
    await page.get_by_role("button", name="Captions").click()
    listed = page.get_by_test_id("captions").get_by_role("listitem")
    await expect(listed).to_have_text(["Deutsch de"])
    await page.get_by_label("Language").fill("no language")
    file = {"name": "talk.srt", "mimeType": "", "buffer": SRT}
    await page.get_by_label("File").set_input_files(file)
    await page.get_by_role("button", name="Save captions").click()
    await expect(page.get_by_text("This is no language tag")).to_be_visible()
    await page.get_by_label("Language").fill("FR")
    await page.get_by_role("button", name="Save captions").click()
    await expect(listed).to_have_text(["Deutsch de", "Français fr"])


@pytest.mark.browser
async def test_captions_show_in_the_player_when_it_is_muted_and_not_when_they_are_off(alice, shared_dir):
    """Y6: given in the studio, shown in the language of the viewer on the page of the video."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is missing: CI plays with it")
        pytest.skip("chromium is not installed")
    created = await alice.upload(shared_dir / "media/clips/ios9.mov", title="A phone")
    path = f"/api/v1/videos/{created['id']}/captions/de"
    await alice.call("PUT", path, data=vtt("Hallo"), headers={"Content-Type": "text/vtt"})
    assert alice.status == 200
    await alice.wait_status(created["id"], "READY")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = await browser.new_page(locale="fr-CA")
        await page.add_init_script(WATCH_POLICY)
        await give_in_studio(page, alice)
        await page.goto(f"{alice.server.url}/v/{created['id']}")
        shown = await (await page.wait_for_function(SHOWN, timeout=60_000)).json_value()
        assert shown == ["fr", "Salut", True]
        assert await page.evaluate("window.__violations") == []
        await page.evaluate(CHOOSE, "off")
        await page.reload()
        await page.wait_for_function(HIDDEN, timeout=60_000)
        await browser.close()
