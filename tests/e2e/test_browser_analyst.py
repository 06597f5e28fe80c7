"""The analysts' page in a real browser: tables, rows, a query with its chart; closed for others (Y10)."""

import os
import shutil
import time
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
from playwright.async_api import async_playwright, expect

from streams.log import EmbeddedLog
from tables.records import Action, EngagementEvent

pytestmark = pytest.mark.browser
ARTEFACTS = Path(__file__).resolve().parents[2] / "artefacts"
PASSWORD = "correct horse battery"


@pytest.fixture
async def page():
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is missing: CI drives the client with it")
        pytest.skip("chromium is not installed")
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        opened = await browser.new_page(viewport={"width": 1280, "height": 900})
        opened.complaints = []
        opened.on("pageerror", lambda error: opened.complaints.append(str(error)))
        yield opened
        await browser.close()


async def sign_in(page, server, name):
    await page.goto(f"{server.url}/login?next=/analyst")
    await page.get_by_label("User name or e-mail").fill(name)
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await page.locator("form button[type=submit]").click()


async def test_analyst_asks_and_sees_when_signed_in(make_server, make_client, page):
    """Tables with their freshness, rows of one, SQL with rows and bars, an error of the database in words."""
    server = make_server()
    await server.start()
    eve = await make_client(server).register()
    assert server.stop() == 0
    log = EmbeddedLog.open(server.data / "log" / "log.db", upkeep_seconds=None)
    for number in range(40):
        event = EngagementEvent(
            event_id=str(uuid4()), user_id=f"u{number % 9}", video_id=f"v{number % 4}", owner_id="o",
            action=Action.WATCH_50, occurred_at=time.time() - 3600,
        )  # fmt: skip
        key = event.user_id.encode()
        place = log.partition_for("events.engagement", key)
        await log.append("events.engagement", place, [msgspec.json.encode(event)], keys=[key])
    await log.close()
    await server.start()

    await sign_in(page, server, eve.user["username"])
    await expect(page.get_by_text("This page is for analysts")).to_be_visible()
    await page.evaluate("localStorage.clear()")
    assert server.run("user", "role", eve.user["username"], "analyst").returncode == 0
    await sign_in(page, server, eve.user["username"])

    tables = page.get_by_test_id("tables")
    table = tables.get_by_role("button", name="video_engagement")
    await expect(table).to_contain_text("4 rows · as of")
    await table.click()
    await expect(page.get_by_test_id("rows").get_by_role("row")).to_have_count(5)
    editor = page.get_by_test_id("sql")
    await editor.fill("SELECT video_id, count(*) AS events FROM events GROUP BY ALL ORDER BY ALL")
    await page.get_by_test_id("run").click()
    await expect(page.get_by_test_id("result").get_by_role("row")).to_have_count(5)
    await expect(page.get_by_test_id("result-line")).to_contain_text("4 rows")
    await expect(page.get_by_test_id("chart").get_by_role("listitem")).to_have_count(4)
    ARTEFACTS.mkdir(exist_ok=True)
    await page.screenshot(path=ARTEFACTS / "analyst-desktop.png", full_page=True)
    await editor.fill("DROP VIEW events")
    await editor.press("Control+Enter")
    await expect(page.get_by_text("Only SELECT")).to_be_visible()
    await page.set_viewport_size({"width": 390, "height": 844})
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await page.screenshot(path=ARTEFACTS / "analyst-phone.png")
    assert page.complaints == []
