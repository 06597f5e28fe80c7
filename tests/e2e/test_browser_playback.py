"""Players that people use, against delivered playlists, in headless Chromium (C31, C40, N25, X19).

Media is on an origin of its own: hls.js and Shaka Player play with a token in the path on a page of
strangers, with cookies on a page of ours, see when a link has ended, and play the next one. Ended links are
signed here with the server's key, so that nothing depends on how fast the machine is.
"""

import asyncio
import json
import os
import shutil
import socket
import time
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Error, async_playwright

from media.cloudfront import PolicySigner
from media.key_pairs import pair_id, public_pem
from media.urls import Audience, MediaSigner

pytestmark = pytest.mark.browser

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required",
]  # fmt: skip
SCRIPTS = ("hls.js/dist/hls.min.js", "shaka-player/dist/shaka-player.compiled.js")
# Each player as a function that plays an address in a fresh element and resolves once a second has played.
PLAYERS = """
const played = (video, from) => new Promise((resolve, reject) => {
    const stuck = () => reject(new Error(`stuck at ${video.currentTime}, state ${video.readyState}`));
    const late = setTimeout(stuck, 30000);
    const look = () => {
        if (video.currentTime > from + 1) { clearTimeout(late); resolve(video.currentTime); }
        else setTimeout(look, 50);
    };
    look();
});
const element = () => {
    document.body.replaceChildren();
    const video = document.createElement('video');
    video.muted = true;
    document.body.append(video);
    return video;
};
window.playHls = async (url, credentials) => {
    const video = element();
    const hls = new Hls({ xhrSetup: (xhr) => { xhr.withCredentials = credentials; } });
    const failed = new Promise((_, reject) => hls.on(Hls.Events.ERROR, (_e, data) => {
        if (data.fatal) reject(new Error(`${data.details} ${data.response && data.response.code}`));
    }));
    hls.loadSource(url);
    hls.attachMedia(video);
    video.play();
    const at = await Promise.race([played(video, 0), failed]);
    hls.destroy();
    return at;
};
window.playShaka = async (url, credentials) => {
    shaka.polyfill.installAll();
    const player = new shaka.Player();
    await player.attach(element());
    player.getNetworkingEngine().registerRequestFilter((_type, request) => {
        request.allowCrossSiteCredentials = credentials;
    });
    await player.load(url);
    const video = document.querySelector('video');
    video.play();
    const at = await played(video, 0);
    await player.destroy();
    return at;
};
window.statusOf = async (url, credentials) =>
    (await fetch(url, { credentials: credentials ? 'include' : 'omit', cache: 'no-store' })).status;
"""


@pytest.fixture(scope="module")
def chromium():
    """Return the path of Chromium; in CI its absence is an error."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is missing: CI plays with it")
        pytest.skip("chromium is not installed")
    return path


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def made():
    """Return what the first test keeps for the others: the id of the video."""
    return {}


@pytest.fixture
async def film(module_server, made, make_client, shared_dir):
    """Return a server with media on a port of its own, somebody without a token, and a READY video."""
    person = make_client(module_server)
    if not made:
        module_server.configure(
            FREEWILL_MEDIA_PORT=str(free_port()),
            FREEWILL_MEDIA_LADDER="reels",
        )
        await module_server.start()
        await person.register()
        made.update(await person.upload(shared_dir / "media/clips/flower.mp4"))
        await person.wait_status(made["id"], "READY", "FAILED")
        person.token = ""
    return module_server, person, made["id"]


def ended(server, url):
    """Return what signs as the server did a day ago, for both forms of links."""
    pem = (server.data / "secrets/media.pem").read_bytes()
    origin = url.partition("/media/")[0]
    signer = MediaSigner(pem, pair_id(public_pem(pem)), origin, clock=lambda: time.time() - 86_400)
    return signer, PolicySigner(signer.keys, lambda: [origin])


@asynccontextmanager
async def page_at(chromium, server, url):
    """Open a page that has the players, ours without its own policy so that they can be put there."""
    modules = server.root / "web/client/node_modules"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        try:
            context = await browser.new_context(bypass_csp=True)
            page = await context.new_page()
            await page.goto(url)
            for script in SCRIPTS:
                await page.add_script_tag(path=modules / script)
            await page.add_script_tag(content=PLAYERS)
            yield page
        finally:
            await browser.close()


async def test_players_of_strangers_play_by_the_path_until_the_link_ends(chromium, film):
    """C31, C40, INTERFACE: no token, no cookie; 403 after the end, and the next link plays."""
    server, person, video = film
    # Another origin than ours and the media's; a name that is not of this machine may not ask for loopback.
    async with page_at(chromium, server, server.url.replace("127.0.0.1", "localhost") + "/login") as page:
        playing = await person.get(f"/api/v1/videos/{video}/playback")
        assert urlsplit(playing["hls_url"]).netloc != urlsplit(server.url).netloc
        assert await page.evaluate("url => playHls(url, false)", playing["hls_url"]) > 1
        playing = await person.get(f"/api/v1/videos/{video}/playback")
        assert await page.evaluate("url => playShaka(url, false)", playing["dash_url"]) > 1
        signer, _ = ended(server, playing["hls_url"])
        old = signer.url(f"videos/{video}/hls/master.m3u8")
        assert await page.evaluate("url => statusOf(url, false)", old) == 403
        with pytest.raises(Error, match="403"):
            await page.evaluate("url => playHls(url, false)", old)
        fresh = (await person.get(f"/api/v1/videos/{video}/playback"))["hls_url"]
        assert await page.evaluate("url => playHls(url, false)", fresh) > 1


async def test_players_of_our_pages_play_by_cookies_and_go_on_when_they_are_renewed(chromium, film):
    """X19: bare addresses that stay the same, and cookies that end by themselves."""
    server, _, video = film
    renew = f"fetch('/api/v1/videos/{video}/playback?form=cookies').then((answer) => answer.json())"
    async with page_at(chromium, server, server.url + "/login") as page:
        playing = await page.evaluate(renew)
        assert "?" not in playing["hls_url"]
        assert "/media/public/" in playing["hls_url"]
        assert await page.evaluate("url => playHls(url, true)", playing["hls_url"]) > 1
        assert await page.evaluate("url => statusOf(url, false)", playing["hls_url"]) == 403
        await page.evaluate(renew)
        assert await page.evaluate("url => playShaka(url, true)", playing["dash_url"]) > 1
        signer, links = ended(server, playing["hls_url"])
        old = links.cookies(video, Audience.PUBLIC, signer.expiry())
        path, host = f"/media/public/videos/{video}/", "127.0.0.1"
        await page.context.add_cookies(
            [{"name": name, "value": value, "domain": host, "path": path} for name, value in old.items()]
        )
        assert await page.evaluate("url => statusOf(url, true)", playing["hls_url"]) == 403
        again = await page.evaluate(renew)
        assert again["hls_url"] == playing["hls_url"]
        assert await page.evaluate("url => playShaka(url, true)", playing["hls_url"]) > 1


async def test_our_client_plays_from_the_origin_of_media_when_there_is_one(chromium, film):
    """N12: its own policy allows that origin, and curl gets ranges there but no page."""
    server, person, video = film
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        try:
            page = await browser.new_page()
            broken = []
            page.on("console", lambda line: broken.append(line.text) if line.type == "error" else None)
            await page.goto(f"{server.url}/v/{video}")
            await page.wait_for_function(
                "() => { const v = document.querySelector('video'); return v && v.currentTime > 1; }"
            )
            assert broken == []
        finally:
            await browser.close()
    mp4 = (await person.get(f"/api/v1/videos/{video}/playback"))["mp4_url"]
    whole = await person.bytes_of(mp4)
    assert await curl("-r", "100-299", mp4) == whole[100:300]
    assert await curl("-r", "-50", mp4) == whole[-50:]
    origin = mp4.partition("/media/")[0]
    assert json.loads(await curl(f"{origin}/api/v1/feed"))["error"]["code"] == "NOT_FOUND"


async def curl(*arguments):
    process = await asyncio.create_subprocess_exec("curl", "-s", *arguments, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output
