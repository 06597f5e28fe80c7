"""The upload panel in a real browser: cut lines, reloads, a killed server, another tab (Q1-Q8, A32, A39).

Bytes that were confirmed are never sent again, and what the server stores is what was chosen.
"""

import asyncio
import hashlib
import os
import re
import shutil
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import async_playwright, expect

pytestmark = pytest.mark.browser

ARTEFACTS = Path(__file__).resolve().parents[2] / "artefacts"
PASSWORD = "correct horse battery"
PART = 5 * 1024 * 1024
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
WAIT_MS = 60_000
BYTES_PER_SECOND = 1_000_000  # slow enough to break it in the middle, on a busy machine too
SIZES = {"phone": (390, 844), "desktop": (1440, 900)}


@pytest.fixture
def chromium():
    """Return the path of Chromium; in CI its absence is an error."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is missing: CI drives the client with it")
        pytest.skip("chromium is not installed")
    return path


@pytest.fixture
def film(shared_dir, tmp_path):
    """Return a clip with 12 MB of padding in a `free` box (ISO 14496-12 section 8.1.2): three parts."""
    clip = (shared_dir / "media/clips/flower.mp4").read_bytes()
    padding = os.urandom(12_000_000)
    path = tmp_path / "film.mp4"
    path.write_bytes(clip + (len(padding) + 8).to_bytes(4, "big") + b"free" + padding)
    return path


class Panel:
    """The upload page of one tab, and everything it complains about."""

    def __init__(self, page, origin):
        self.page, self.origin = page, origin
        self.complaints = []
        self.parts = []
        self.cdp = None
        page.on("pageerror", lambda error: self.complaints.append(f"exception: {error}"))
        page.on("console", self._on_console)
        page.on("dialog", lambda dialog: dialog.accept())
        page.on("requestfinished", self._on_finished)

    def _on_console(self, message):
        # The browser itself reports lines that were cut; nothing else may appear.
        cut = "Failed to load resource" in message.text or "WebSocket connection" in message.text
        if message.type in {"error", "warning"} and not cut:
            self.complaints.append(f"console {message.type}: {message.text}")

    def _on_finished(self, request):
        if request.method == "PUT" and "/chunks/" in request.url:
            self.parts.append(int(request.url.rsplit("/", 1)[1]))

    def by(self, name):
        return self.page.get_by_test_id(name)

    async def open(self, path="/upload"):
        await self.page.goto(self.origin + path)

    async def line(self, *, offline=False, speed=BYTES_PER_SECOND):
        self.cdp = self.cdp or await self.page.context.new_cdp_session(self.page)
        limits = {"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": speed}
        await self.cdp.send("Network.emulateNetworkConditions", limits)

    async def choose(self, path):
        await self.by("upload-file").set_input_files(path)
        await self.by("upload-submit").click()

    async def status(self, word):
        await expect(self.by("upload-status")).to_have_text(word, timeout=WAIT_MS)

    async def reach(self, percent):
        """Wait until the bar shows at least so much."""
        await self.page.wait_for_function(
            """(least) => {
                const bar = document.querySelector('[data-testid="upload-progress"]');
                return bar === null || Number(bar.getAttribute('aria-valuenow')) >= least;
            }""",
            arg=percent,
            timeout=WAIT_MS,
        )

    async def bar(self):
        return int(await self.by("upload-progress").get_attribute("aria-valuenow"))

    async def finish(self):
        """Return the id of the video whose processing screen follows the last byte."""
        await expect(self.page).to_have_url(re.compile("/v/.*uploaded"), timeout=WAIT_MS)
        return re.search(r"/v/([^?]+)", self.page.url)[1]

    async def shoot(self, name):
        ARTEFACTS.mkdir(exist_ok=True)
        await self.page.screenshot(path=ARTEFACTS / f"uploads-{name}.png", animations="disabled")


@asynccontextmanager
async def browsing(chromium, origin, size="desktop"):
    """Open a context and its first tab, signed in as somebody new."""
    width, height = SIZES[size]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        try:
            context = await browser.new_context(viewport={"width": width, "height": height})
            panel = Panel(await context.new_page(), origin)
            await panel.open("/signup?next=/upload")
            name = f"u{os.urandom(5).hex()}"
            await panel.by("signup-username").fill(name)
            await panel.by("signup-email").fill(f"{name}@example.org")
            await panel.by("signup-password").fill(PASSWORD)
            await panel.by("signup-submit").click()
            await expect(panel.by("upload-file")).to_be_attached(timeout=WAIT_MS)
            yield panel
        finally:
            await browser.close()


def stored(server, video_id):
    return hashlib.sha256((server.data / "objects/videos" / video_id / "source.mp4").read_bytes()).hexdigest()


async def test_upload_finishes_when_line_page_and_server_break(make_server, chromium, film):
    """Q3-Q8: offline and back, paused and resumed, reloaded, the server killed: the bytes are the file's."""
    server = make_server()
    await server.start()
    async with browsing(chromium, server.url, "phone") as panel:
        await panel.line()
        await panel.choose(film)
        await panel.status("UPLOADING")
        await expect(panel.by("upload-resume")).to_be_disabled()
        await panel.reach(50)
        await panel.line(offline=True)
        await panel.status("RETRYING")
        await expect(panel.page.get_by_text("You are offline")).to_be_visible()
        await panel.shoot("retrying-phone")
        assert (
            40 <= await panel.bar() < 100
        )  # the part that arrived still counts, the one that broke does not
        await panel.line(speed=300_000)
        await panel.reach(50)
        await panel.by("upload-pause").click()
        await panel.status("PAUSED")
        await expect(panel.by("upload-pause")).to_be_disabled()
        await panel.shoot("paused-phone")
        await panel.by("upload-resume").click()
        await panel.status("UPLOADING")
        assert panel.parts[0] == 1

        await panel.page.reload()
        await panel.line(speed=300_000)
        await panel.status("UPLOADING")
        server.kill()
        await panel.status("RETRYING")
        assert 40 <= await panel.bar() < 100
        await server.start()
        await panel.line()
        video_id = await panel.finish()
        assert stored(server, video_id) == hashlib.sha256(film.read_bytes()).hexdigest()
        # What was confirmed was not sent again.
        assert panel.parts == [1, 2, 3]
        assert panel.complaints == []


async def test_other_tab_goes_on_when_the_sending_one_closes(shared_server, chromium, film, shared_dir):
    """One uploader a browser (Q7); the file is asked for again, and only that file is taken."""
    async with browsing(chromium, shared_server.url) as panel:
        await panel.line(speed=500_000)
        await panel.choose(film)
        await panel.reach(5)
        await panel.line(speed=300_000)
        second = Panel(await panel.page.context.new_page(), panel.origin)
        await second.open()
        await expect(second.page.get_by_text("Another tab of this browser sends it")).to_be_visible()
        await second.by("upload-pause").click()
        await panel.status("PAUSED")
        await second.status("PAUSED")
        await panel.page.close()
        await expect(second.page.get_by_text("Another tab")).to_have_count(0, timeout=WAIT_MS)
        # The line is each tab's own: at full speed all would be there before the file is taken away.
        await second.line(speed=300_000)
        await second.by("upload-resume").click()
        await second.status("UPLOADING")
        await second.page.evaluate(
            """() => new Promise((done) => {
                const asked = indexedDB.open('freewill');
                asked.onsuccess = () => {
                    const work = asked.result.transaction('files', 'readwrite');
                    work.objectStore('files').clear();
                    work.oncomplete = () => done();
                };
            })"""
        )
        await second.page.reload()
        await second.line()
        again = second.by("upload-file-again")
        await again.set_input_files(shared_dir / "media/clips/flower.mp4")
        await expect(second.page.get_by_text("has another size")).to_be_visible()
        await second.shoot("file-again-desktop")
        await again.set_input_files(film)
        video_id = await second.finish()
        assert stored(shared_server, video_id) == hashlib.sha256(film.read_bytes()).hexdigest()
        assert panel.complaints + second.complaints == []


async def test_cancel_leaves_nothing_when_it_is_not_undone(shared_server, chromium, film, tmp_path):
    """Q1, Q6: what cannot be sent is refused before a byte; cancel can be undone, and then cannot."""
    text = tmp_path / "notes.mp4"
    text.write_text("no video at all")
    async with browsing(chromium, shared_server.url) as panel:
        await panel.by("upload-file").set_input_files(text)
        await expect(panel.page.get_by_text("not a video file")).to_be_visible()
        await expect(panel.by("upload-submit")).to_have_count(0)
        await panel.line(speed=500_000)
        await panel.choose(film)
        await panel.reach(3)
        await panel.by("upload-cancel").click()
        await expect(panel.by("upload-card")).to_have_count(0)
        await panel.page.get_by_role("button", name="Undo").click()
        await panel.status("UPLOADING")
        sessions = "SELECT status FROM upload_sessions ORDER BY created_at DESC LIMIT 1"
        async with asyncio.timeout(120):
            await panel.by("upload-cancel").click()
            while shared_server.query(sessions) != [("CANCELED",)]:
                await asyncio.sleep(0.2)
        await expect(panel.by("upload-card")).to_have_count(0)
        assert panel.complaints == []
