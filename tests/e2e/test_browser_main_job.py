"""The main job in a real browser: sign up, upload, see progress, see READY, watch it play, like it, ask why.

EXPERIENCE.md and Q1-Q29; the hooks are the client's ``data-testid`` attributes. Screenshots go to
``artefacts/``. Whatever the page complains about, or asks of anybody else, fails the test.
"""

import asyncio
import os
import re
import secrets
import shutil
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import async_playwright, expect

pytestmark = pytest.mark.browser

ARTEFACTS = Path(__file__).resolve().parents[2] / "artefacts"
SIZES = {"phone": (390, 844), "desktop": (1440, 900)}
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PLAYS_ALONE = "--autoplay-policy=no-user-gesture-required"
PASSWORD = "correct horse battery"
READY_MS = 240_000
PAGE_MS = 60_000
UPLOAD_BYTES_PER_SECOND = 300_000  # slow enough that progress can be seen
RECORD_PROGRESS = """() => {
    window.__shown = [];
    setInterval(() => {
        const bar = document.querySelector('[data-testid="upload-progress"]');
        if (bar) window.__shown.push(Number(bar.getAttribute('aria-valuenow')));
    }, 20);
}"""
# Found and clicked in one turn of the page: READY may come at any moment.
TAP_PLAY_EARLY = """() => {
    const play = document.querySelector('[data-testid="play-disabled"]');
    if (play) play.click();
    return play !== null;
}"""


@pytest.fixture(scope="session")
def chromium():
    """Return the path of Chromium; in CI its absence is an error."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is missing: CI drives the client with it")
        pytest.skip("chromium is not installed")
    return path


class Watched:
    """A page with a record of everything that should not happen."""

    def __init__(self, page, origin):
        self.page, self.origin = page, origin
        self.complaints = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(f"exception: {error}"))
        page.on("request", self._on_request)
        page.on("response", self._on_response)

    def _on_console(self, message):
        if message.type in {"error", "warning"}:
            self.complaints.append(f"console {message.type}: {message.text}")

    def _on_request(self, request):
        scheme, host = urlsplit(request.url)[:2]
        if scheme in {"http", "https", "ws", "wss"} and host != urlsplit(self.origin).netloc:
            self.complaints.append(f"third party: {request.url}")

    def _on_response(self, response):
        if response.status >= 400:
            self.complaints.append(f"{response.status}: {response.request.method} {response.url}")

    def by(self, name):
        return self.page.get_by_test_id(name).and_(self.page.locator(":visible")).first

    def active(self, name):
        """Return an element of the video that is shown."""
        return self.page.locator('[data-testid="feed-item"][data-active="true"]').get_by_test_id(name)

    async def open(self, path):
        await self.page.goto(self.origin + path, wait_until="load")

    async def shoot(self, name):
        ARTEFACTS.mkdir(exist_ok=True)
        await self.page.screenshot(path=ARTEFACTS / f"{name}.png", animations="disabled")

    async def violations(self):
        return await self.page.evaluate("window.__violations")


@asynccontextmanager
async def browsing(chromium, origin, size, *flags):
    """Open a browser of a size and watch its page; at the end nothing may have been complained about."""
    width, height = SIZES[size]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=[*FLAGS, *flags])
        try:
            context = await browser.new_context(
                viewport={"width": width, "height": height},
                has_touch=size == "phone",
                is_mobile=size == "phone",
                base_url=origin,
            )
            context.set_default_timeout(PAGE_MS)
            await context.add_init_script(
                "window.__violations = [];"
                "addEventListener('securitypolicyviolation',"
                " (e) => window.__violations.push(e.violatedDirective + ' ' + e.blockedURI));"
            )
            watched = Watched(await context.new_page(), origin)
            yield watched
            assert await watched.violations() == []
            assert watched.complaints == []
        finally:
            await browser.close()


async def sign_up(web, name):
    await web.open("/signup")
    await web.by("signup-username").fill(name)
    await web.by("signup-email").fill(f"{name}@example.org")
    await web.by("signup-password").fill(PASSWORD)
    await web.by("signup-submit").click()
    await expect(web.page).not_to_have_url(re.compile("/signup"), timeout=PAGE_MS)


async def upload(web, clip, title):
    """Upload through the form over a slow line; returns the percentages that were shown."""
    await web.by("nav-upload").click()
    await web.page.get_by_test_id("upload-file").set_input_files(clip)
    await web.by("upload-title").fill(title)
    await web.shoot(f"upload-{web.page.viewport_size['width']}")
    line = await web.page.context.new_cdp_session(web.page)
    limits = {"offline": False, "latency": 0, "downloadThroughput": -1}
    await line.send(
        "Network.emulateNetworkConditions", {**limits, "uploadThroughput": UPLOAD_BYTES_PER_SECOND}
    )
    await web.page.evaluate(RECORD_PROGRESS)
    await web.by("upload-submit").click()
    await web.page.get_by_test_id("processing").wait_for(timeout=READY_MS)
    await line.send("Network.emulateNetworkConditions", {**limits, "uploadThroughput": -1})
    return await web.page.evaluate("window.__shown")


async def see_processing(web, size):
    """Q21-Q26: the words, the measured progress, the play button that says why it does not."""
    screen = web.page.get_by_test_id("processing")
    text = await screen.inner_text()
    assert await web.page.evaluate(TAP_PLAY_EARLY), "READY came before the screen was looked at"
    await expect(web.page.get_by_text("Video is still processing")).to_be_visible()
    await web.shoot(f"processing-{size}")
    assert re.search("Video processing|Generating playable version", text), text
    assert "This may take a few minutes" in text
    assert "check later" in text
    await expect(web.page.get_by_test_id("processing-ready")).to_be_visible(timeout=READY_MS)
    await web.shoot(f"ready-{size}")


async def advances(video):
    """Wait until a video element plays by more than a second of its own time."""
    await expect(video).to_have_count(1)
    start = await video.evaluate("v => v.currentTime")
    await video.evaluate(
        """(v, start) => new Promise((resolve, reject) => {
            const deadline = setTimeout(() => reject(new Error(
                `stuck at ${v.currentTime} of ${v.duration}, ready state ${v.readyState}, `
                + `paused ${v.paused}, error ${v.error && v.error.message}`)), 45000);
            let played = 0, last = start;
            const look = () => {
                const step = v.currentTime - last;
                if (step > 0) played += step;   // a loop to the start is no step back
                last = v.currentTime;
                if (played > 1) { clearTimeout(deadline); resolve(); } else setTimeout(look, 50);
            };
            look();
        })""",
        start,
    )
    assert await video.evaluate("v => v.videoWidth > 0 && v.error === null")


async def go_to(web, video_id):
    """Open the feed and walk down by keyboard until a video is the active one.

    A feed that was put together before the video's card was there ends without it, and is opened again.
    """
    async with asyncio.timeout(READY_MS / 1000):
        while True:
            await web.open("/")
            item = web.page.locator('[data-testid="feed-item"][data-active="true"]')
            await expect(item).to_have_count(1)
            active = await item.get_attribute("data-video-id")
            while active not in {video_id, None}:
                active = await next_active(web, "j")
            if active == video_id:
                return


async def next_active(web, key):
    """Press a key and return the id of the video that becomes active, None at the end of the feed."""
    item = web.page.locator('[data-testid="feed-item"][data-active="true"]')
    before = await item.get_attribute("data-video-id") if await item.count() else None
    await web.page.keyboard.press(key)
    await web.page.wait_for_function(
        """before => {
            const item = document.querySelector('[data-testid="feed-item"][data-active="true"]');
            const end = document.querySelector('[data-testid="feed-end"]');
            return item === null ? before !== null && end !== null : item.dataset.videoId !== before;
        }""",
        arg=before,
    )
    return await item.get_attribute("data-video-id") if await item.count() else None


@pytest.mark.parametrize("size", list(SIZES))
async def test_clip_is_uploaded_processed_and_watched_when_somebody_new_comes(
    chromium, shared_server, flower, alice, shared_dir, size
):
    name = f"w{secrets.token_hex(4)}"
    async with browsing(chromium, shared_server.url, size, PLAYS_ALONE) as web:
        await web.open("/")
        await expect(web.page.get_by_test_id("feed")).to_be_visible()
        await sign_up(web, name)
        shown = await upload(web, shared_dir / "media/clips/chaplin.mp4", f"Chaplin on a {size}")
        assert shown == sorted(shown)
        assert [value for value in shown if 0 < value < 100], "no byte progress was seen"
        video_id = urlsplit(web.page.url).path.rpartition("/")[2]
        await see_processing(web, size)
        await web.page.get_by_test_id("play-ready").click()
        await advances(web.page.locator("video").first)

        await go_to(web, video_id)
        await advances(web.active("feed-video"))
        await expect(web.page.get_by_test_id("player-error")).to_have_count(0)
        await web.shoot(f"feed-{size}")
        await like(web, alice, video_id)
        await ask_why(web, size)

        assert await next_active(web, "j") != video_id
        assert await next_active(web, "k") == video_id
        await stay_signed_in(web, name)


async def like(web, reader, video_id):
    """The counter follows at once, and the server agrees."""
    await expect(web.active("like-count")).to_have_text("0")
    await web.active("like-button").click()
    await expect(web.active("like-count")).to_have_text("1")
    await reader.eventually(f"/api/v1/videos/{video_id}/engagement", lambda body: body["likes"] == 1)


async def ask_why(web, size):
    await web.active("why-chip").click()
    panel = web.page.get_by_test_id("why-panel")
    await expect(panel).to_be_visible()
    await expect(panel).not_to_be_empty()
    await web.shoot(f"why-{size}")
    await web.page.keyboard.press("Escape")
    await expect(panel).to_have_count(0)


async def stay_signed_in(web, name):
    """Reloading keeps the session; signing out ends it."""
    await web.page.reload()
    await web.open("/settings")
    await expect(web.page.get_by_text(name).first).to_be_attached()
    await web.by("signout").click()
    await expect(web.page).to_have_url(web.origin + "/")
    await web.open("/upload")
    await expect(web.page.get_by_test_id("upload-submit")).to_have_count(0)
    await expect(web.page.get_by_text("Upload needs an account")).to_be_visible()


async def test_watching_is_counted_when_the_video_is_somebody_elses(chromium, shared_server, flower, alice):
    """F1: whoever is new watches from the feed, and the video has a view more."""
    path = f"/api/v1/videos/{flower.id}/engagement"
    views = (await alice.get(path))["views"]
    async with browsing(chromium, shared_server.url, "desktop", PLAYS_ALONE) as web:
        await sign_up(web, f"w{secrets.token_hex(4)}")
        await go_to(web, flower.id)
        await advances(web.active("feed-video"))
        await web.open("/settings")  # leaving sends what is still kept
        await alice.eventually(path, lambda body: body["views"] > views)


# Removed at any moment in which its element may still read the file.
REMOVE_AS_SOON_AS_SHOWN = """() => new Promise((resolve) => {
    const look = () => {
        const remove = document.querySelector('[aria-label^="Remove "]');
        if (remove === null) return requestAnimationFrame(look);
        setTimeout(() => { remove.click(); resolve(); }, Math.random() * 50);
    };
    look();
})"""


async def test_file_is_asked_for_no_more_when_its_preview_is_gone(chromium, shared_server, shared_dir):
    """Q1: a person who takes a clip back at once sees no error, and neither does the browser's console."""
    clip = shared_dir / "media/clips/chaplin.mp4"
    async with browsing(chromium, shared_server.url, "desktop") as web:
        await sign_up(web, f"w{secrets.token_hex(4)}")
        await web.by("nav-upload").click()
        for _ in range(30):
            await web.page.get_by_test_id("upload-file").set_input_files(clip)
            await web.page.evaluate(REMOVE_AS_SOON_AS_SHOWN)
            await expect(web.page.get_by_test_id("upload-title")).to_have_count(0)


async def many(route):
    """Answer a page of the feed with its first video six times, under other ids."""
    answer = await route.fetch()
    body = await answer.json()
    items = [body["items"][0] | {"id": f"{number:08}-0000-4000-8000-000000000000"} for number in range(6)]
    await route.fulfill(response=answer, json=body | {"items": items, "next_cursor": None})


# The end of a scroll that a further press replaced may be told after that press.
PRESS_AROUND_A_LATE_END = """() => {
    const press = () => document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'j', bubbles: true}));
    press();
    press();
    document.querySelector('[data-testid="feed"]').dispatchEvent(new Event('scrollend'));
    press();
}"""


async def test_presses_add_up_when_the_feed_still_scrolls(chromium, shared_server, flower):
    """EXPERIENCE, feed by keyboard: three quick presses go three videos on, whatever ends in between."""
    async with browsing(chromium, shared_server.url, "desktop") as web:
        await web.page.route("**/api/v1/feed?**", many)
        await web.open("/")
        item = web.page.locator('[data-testid="feed-item"][data-active="true"]')
        await expect(item).to_have_attribute("data-video-id", re.compile("^00000000-"))
        await web.page.evaluate(PRESS_AROUND_A_LATE_END)
        await expect(item).to_have_attribute("data-video-id", re.compile("^00000003-"), timeout=PAGE_MS)


async def test_feed_starts_muted_when_the_browser_allows_no_sound(chromium, shared_server, flower):
    """EXPERIENCE: "muted start with one clear tap for sound", also under the browser's own policy."""
    async with browsing(chromium, shared_server.url, "desktop") as web:
        await web.open("/")
        video = web.active("feed-video")
        await advances(video)
        assert await video.evaluate("v => v.muted")
        await web.by("sound-toggle").click()
        await web.page.wait_for_function(
            "() => document.querySelector('[data-testid=\"feed-video\"]').muted === false"
        )
        await advances(video)


async def test_page_says_so_when_an_address_or_a_name_is_wrong(chromium, shared_server, alice):
    """Errors keep what was typed and say what is wrong (Q13-Q19)."""
    async with browsing(chromium, shared_server.url, "phone") as web:
        await web.open("/signup")
        await web.by("signup-username").fill(alice.user["username"])
        await web.by("signup-email").fill("somebody@example.org")
        await web.by("signup-password").fill(PASSWORD)
        await web.by("signup-submit").click()
        await expect(web.page.get_by_text("This user name is taken")).to_be_visible()
        await expect(web.by("signup-username")).to_have_value(alice.user["username"])
        await web.open("/v/00000000-0000-0000-0000-000000000000")
        await expect(web.page.locator("main, #app, body").first).to_contain_text(re.compile("not|gone", re.I))
        refused = [line for line in web.complaints if re.search(r"\b40[04]\b", line)]
        assert refused  # the browser itself logs each answer of 4xx
        web.complaints = [line for line in web.complaints if line not in refused]
