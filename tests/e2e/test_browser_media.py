"""What an encode makes, in the players that people use: pictures, sound, captions, rungs (B23, B24, Y6).

A small clip is encoded once and served by a plain file server; hls.js, Shaka Player and dash.js play it in
headless Chromium to its end.
"""

import os
import shutil
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from playwright.async_api import async_playwright

from media.layout import caption_key
from media.pipeline import MediaSettings, run_job
from media.stores import FileStore
from tables.records import MediaJob
from tests.integration.media.media_checks import RATE, make_clip

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
MODULES = ROOT / "web/client/node_modules"
SCRIPTS = (
    "hls.js/dist/hls.min.js",
    "shaka-player/dist/shaka-player.compiled.js",
    "dashjs/dist/modern/umd/dash.all.min.js",
)
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--autoplay-policy=no-user-gesture-required"]
SECONDS = 8
FRAMES = SECONDS * RATE - 1
PLAYS = 3
CAPTIONS = b"WEBVTT\n\n00:00.500 --> 00:07.500\nHallo\n"
# Each player as a function that plays an address to its end and tells what came of it.
PLAYERS = """
const element = () => {
    document.body.replaceChildren();
    const video = document.createElement('video');
    video.muted = true;
    document.body.append(video);
    return video;
};
const told = (video, errors, more) => new Promise((resolve) => {
    let gaps = 0;
    const finish = (ended) => resolve({
        ended, gaps, errors, at: video.currentTime,
        frames: video.getVideoPlaybackQuality().totalVideoFrames,
        sound: video.webkitAudioDecodedByteCount, ...more(),
    });
    const late = setTimeout(() => finish(false), 120000);
    const look = setInterval(() => { gaps = Math.max(gaps, video.buffered.length - 1); }, 20);
    video.addEventListener('ended', () => { clearTimeout(late); clearInterval(look); finish(true); });
});
window.playHls = async (url, switching) => {
    const video = element(), errors = [], levels = new Set();
    const hls = new Hls({ startLevel: 0, maxBufferLength: 4, maxMaxBufferLength: 4 });
    hls.on(Hls.Events.ERROR, (_e, data) => { if (data.fatal) errors.push(data.details); });
    // Before there is sound and picture, hls.js takes the choice back.
    hls.once(Hls.Events.FRAG_BUFFERED, () => { hls.subtitleDisplay = true; hls.subtitleTrack = 0; });
    hls.on(Hls.Events.FRAG_CHANGED, (_e, data) => {
        if (data.frag.type !== 'main') return;
        levels.add(data.frag.level);
        if (switching) hls.nextLoadLevel = 1 - data.frag.level;
    });
    hls.loadSource(url);
    hls.attachMedia(video);
    video.play();
    const cues = () => [...video.textTracks].flatMap((track) => [...(track.cues || [])]);
    const found = await told(video, errors, () => ({
        levels: levels.size, cues: cues().map((cue) => [cue.text, cue.startTime]),
    }));
    hls.destroy();
    return found;
};
window.playShaka = async (url) => {
    shaka.polyfill.installAll();
    const video = element(), errors = [], player = new shaka.Player();
    player.addEventListener('error', (event) => errors.push(event.detail.code));
    await player.attach(video);
    await player.load(url);
    video.play();
    const images = await player.getImageTracks();
    const tile = images.length ? await player.getThumbnails(images[0].id, 7) : null;
    const found = await told(video, errors, () => ({
        texts: player.getTextTracks().map((track) => track.language), images: images.length,
        tile: tile && [tile.uris[0], tile.positionX, tile.positionY, tile.width, tile.height],
    }));
    await player.destroy();
    return found;
};
window.playDash = async (url) => {
    const video = element(), errors = [], player = dashjs.MediaPlayer().create();
    player.on('error', (event) => errors.push(event.error.message || String(event.error)));
    player.initialize(video, url, true);
    let tile = null;
    const found = await told(video, errors, () => {
        player.provideThumbnail(7, (found) => { tile = found; });
        return {
            texts: player.getTracksFor('text').map((track) => track.lang),
            images: player.getTracksFor('image').length,
            tile: tile && [tile.url, tile.x, tile.y, tile.width, tile.height],
        };
    });
    player.destroy();
    return found;
};
"""


@pytest.fixture(scope="module")
def encoded():
    """Return what the first test keeps for the others: the folder of the encode."""
    return {}


@pytest.fixture
async def folder(encoded, tmp_path_factory):
    """Return the folder of objects of one video with captions, in two rungs."""
    if not encoded:
        base = tmp_path_factory.mktemp("media")
        make_clip(base / "clip.mov", seconds=SECONDS)
        store = FileStore(base / "store")
        await store.put_file("videos/v/source.mov", base / "clip.mov", content_type="video/quicktime")
        await store.put_bytes(caption_key("v", "de"), CAPTIONS, content_type="text/vtt")

        async def note(percent, stage):
            return None

        job = MediaJob(job_id="j", video_id="v", source_key="videos/v/source.mov", ladder="240p+360p")
        await run_job(job, store, base / "work", MediaSettings(preset="ultrafast"), note)
        encoded["folder"] = base / "store/videos/v"
    return encoded["folder"]


@asynccontextmanager
async def page_with(folder):
    """Serve a folder and open a page there that has the players."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is missing: CI plays with it")
        pytest.skip("chromium is not installed")

    async def blank(request):
        return web.Response(text="<!doctype html><title>player</title>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", blank)
    app.router.add_static("/v", folder)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            page = await browser.new_page()
            await page.goto(address + "/")
            for script in SCRIPTS:
                await page.add_script_tag(path=MODULES / script)
            await page.add_script_tag(content=PLAYERS)
            yield page, address + "/v"
            await browser.close()
    finally:
        await runner.cleanup()


async def played(page, script, url):
    """Play an address; again when pictures are missing, which a browser drops that has no time for them."""
    for _ in range(PLAYS):
        found = await page.evaluate(script, url)
        if found["frames"] >= FRAMES:
            break
    return found


def check(found):
    """Check that all was played without an error."""
    assert found["errors"] == []
    assert found["ended"], found
    assert found["gaps"] == 0
    assert found["frames"] >= FRAMES
    assert found["sound"] > 0


async def test_fragments_play_to_the_end_while_rungs_change_and_captions_show(folder):
    """B23, Y6: hls.js takes the byte ranges of the DASH files, from one rung to the other without a gap."""
    async with page_with(folder) as (page, address):
        found = await played(page, "url => playHls(url, true)", f"{address}/hls/master-cmaf.m3u8")
    check(found)
    assert found["levels"] == 2
    # The first picture is up to two frames after the player's 0.
    assert found["cues"] == [["Hallo", pytest.approx(0.5, abs=0.1)]]


@pytest.mark.slow
async def test_segments_play_to_the_end_while_rungs_change_and_captions_show(folder):
    async with page_with(folder) as (page, address):
        found = await played(page, "url => playHls(url, true)", f"{address}/hls/master.m3u8")
    check(found)
    assert found["levels"] == 2
    # The first picture is up to two frames after the player's 0.
    assert found["cues"] == [["Hallo", pytest.approx(0.5, abs=0.1)]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("player", "path"),
    [
        ("playDash", "dash/manifest.mpd"),
        ("playShaka", "dash/manifest.mpd"),
        ("playShaka", "hls/master.m3u8"),
        ("playShaka", "hls/master-cmaf.m3u8"),
    ],
)
async def test_every_form_plays_to_the_end_with_captions_in_other_players(folder, player, path):
    """B24, Y6, Y7."""
    async with page_with(folder) as (page, address):
        found = await played(page, f"url => {player}(url)", f"{address}/{path}")
    check(found)
    assert found["texts"] == ["de"]
    assert found["images"] == 1
    url, x, y, width, height = found["tile"]
    assert url.endswith("/thumbs/storyboard.jpg")
    # Four pictures of two seconds each stand in a row.
    assert (x, y, width, height) == (3 * 160, 0, 160, 90)
