"""The README is true: its commands run, what it names exists (and the same of the other documents)."""

import asyncio
import os
import re
import shutil
from pathlib import Path

import pytest

from freewill.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
MAX_LINES = 150
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "FEDERATION.md", "CONTRIBUTING.md")
# INTERFACE.md promises these to operators.
PROMISED = (
    "host", "port", "data_dir", "base_url", "broker", "database_url", "redis_url", "object_store",
    "allow_private_network", "rate_limits", "access_token_seconds", "tables_store",
)  # fmt: skip
# Read by the tests, not by the server.
TEST_VARIABLES = {
    "FREEWILL_TEST_KAFKA",
    "FREEWILL_TEST_POSTGRES_URL",
    "FREEWILL_TEST_REDIS_URL",
    "FREEWILL_SHARED",
}


def section(title):
    """Return the indented blocks of a section of the README, as a shell gets them."""
    body = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", README, re.S | re.M)
    assert body, title
    return "\n".join(line[4:] for line in body[1].splitlines() if line.startswith("    ") or not line)


async def run(script, folder):
    """Run lines in bash as a person would paste them; the first that fails ends it."""
    process = await asyncio.create_subprocess_exec(
        "bash", "-euo", "pipefail", "-c", script,
        cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


@pytest.fixture
def curl():
    if shutil.which("curl") is None:
        if os.environ.get("CI"):
            pytest.fail("curl is missing: CI runs the README with it")
        pytest.skip("curl is not installed")


async def test_upload_ends_ready_when_the_commands_are_pasted(
    make_server, make_client, shared_dir, tmp_path, curl
):
    """The clip goes up through ``curl`` exactly as the README prints it, and its author is found."""
    server = make_server()
    await server.start()
    host = server.url.removeprefix("http://")
    shutil.copyfile(shared_dir / "media/clips/flower.mp4", tmp_path / "clip.mp4")
    upload = section("Upload with curl").replace("127.0.0.1:8080", host)
    assert "curl" in upload
    code, out, err = await run(f"{upload}\necho; echo id=$ID", tmp_path)
    assert code == 0, err
    video_id = re.search(r"^id=(.+)$", out, re.M)[1]
    assert f'"id":"{video_id}"' in out, out  # the video itself, asked for by the last commands
    client = await make_client(server).login("ada")
    video = await client.wait_status(video_id, "READY")
    assert (video["title"], video["tags"]) == ("My first video", ["hello", "world"])
    await client.assert_playable(video)
    # Once more: the feed command now lists it.
    feed = await client.eventually("/api/v1/feed?profile=blend", lambda page: page["items"])
    assert feed["items"][0]["id"] == video_id

    find = section("Find it from the fediverse").replace("127.0.0.1:8080", host)
    code, out, err = await run(find, tmp_path)
    assert code == 0, err
    assert f'"subject":"acct:ada@{host}"' in out.replace(": ", ":")


def test_readme_is_short_when_read():
    assert len(README.splitlines()) <= MAX_LINES
    first_screen = "\n".join(README.splitlines()[:25])
    assert "make run" in first_screen


@pytest.mark.parametrize("name", DOCUMENTS)
def test_make_targets_exist_when_a_document_names_them(name):
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.M))
    text = (ROOT / name).read_text()
    named = set(re.findall(r"`make ([a-z][a-z-]*)", text)) | set(
        re.findall(r"^    make ([a-z-]+)", text, re.M)
    )
    assert named <= targets, named - targets
    phony = set(re.search(r"^\.PHONY: (.+)$", makefile, re.M)[1].split())
    assert phony <= targets


def test_settings_exist_when_a_document_names_them():
    """Every FREEWILL_ variable of the documents is a setting, and the promised ones are in the README."""
    known = {f"FREEWILL_{name.upper()}" for name in Settings.model_fields} | TEST_VARIABLES
    for name in (*DOCUMENTS, "docker-compose.yml", "Dockerfile", "Makefile"):
        named = set(re.findall(r"\bFREEWILL_[A-Z_]*[A-Z]\b", (ROOT / name).read_text()))
        assert named <= known, (name, named - known)
    assert set(PROMISED) <= set(Settings.model_fields)
    # "`_PRESET`, `_LADDER`" stand for the same prefix as the name before them.
    for line in README.splitlines():
        first = re.match(r"\| `(FREEWILL_[A-Z]+)_[A-Z]+`", line)
        for short in re.findall(r"`(_[A-Z]+)`", line):
            assert first, line
            assert first[1] + short in known, line


def test_defaults_are_true_when_the_readme_states_them():
    stated = dict(re.findall(r"^\| `(FREEWILL_[A-Z_]+)` \| `([^`]+)` \|", README, re.M))
    stated |= dict(re.findall(r"^\| `(FREEWILL_[A-Z_]+)` \| (\d+) \|", README, re.M))
    assert len(stated) >= 5
    for variable, default in stated.items():
        if variable == "FREEWILL_BASE_URL":
            continue  # made of host and port; see test_interface_process.py
        field = Settings.model_fields[variable.removeprefix("FREEWILL_").lower()]
        assert str(field.default) in {default, default.removeprefix("./")}, variable


async def test_commands_exist_when_the_readme_lists_them(make_server):
    listed = {
        line.split("  ")[0].split(" ")[1] for line in section("Command line").splitlines() if line.strip()
    }
    assert len(listed) >= 9
    shown = await asyncio.to_thread(make_server().run, "--help")
    assert shown.returncode == 0, shown.stderr
    for command in listed:
        assert re.search(rf"\b{command}\b", shown.stdout), command


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_resolve_when_a_document_has_them(name):
    text = (ROOT / name).read_text()
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (ROOT / target).exists(), target


def test_paths_exist_when_architecture_names_them():
    """ARCHITECTURE.md is true: modules that it names in code marks are there."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    packages = "freewill|streams|tables|media|ranking|federation|social|web|tests"
    for path in re.findall(rf"`((?:{packages})/[\w./-]+)`", text):
        assert (ROOT / path).exists(), path


def test_compose_file_is_whole_when_parsed():
    """Every service has an image or a build, what it depends on exists, and no secret is in the file."""
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    text = (ROOT / "docker-compose.yml").read_text()
    compose = yaml.safe_load(text)
    services = compose["services"]
    assert set(services) >= {"app", "kafka", "postgres", "redis", "objects"}
    assert services["app"]["build"] == "."
    assert (ROOT / "Dockerfile").is_file()
    for name, service in services.items():
        assert "build" in service or re.fullmatch(r"[\w./-]+:[\w.-]+", service["image"]), name
        assert "healthcheck" in service, name
        assert set(service.get("depends_on", {})) <= set(services)
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in compose["volumes"], volume
    variables = services["app"]["environment"]
    known = {f"FREEWILL_{name.upper()}" for name in Settings.model_fields}
    assert {name for name in variables if name.startswith("FREEWILL_")} <= known
    for name in ("POSTGRES_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY"):
        assert f"${{{name}:?" in text


async def test_services_are_of_the_versions_of_the_compose_file_when_installed():
    """`.ci/services` starts Debian's PostgreSQL and Redis: the images are of the same major versions."""
    images = dict(re.findall(r"image: (postgres|redis):([\d.]+)", (ROOT / "docker-compose.yml").read_text()))
    assert set(images) == {"postgres", "redis"}
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not installed and not shutil.which("redis-server"):
        pytest.skip("neither PostgreSQL nor Redis is installed")
    if installed:
        assert images["postgres"].split(".")[0] in {path.parts[4] for path in installed}
    if shutil.which("redis-server"):
        _, out, _ = await run("redis-server --version", ROOT)
        assert re.search(r"v=(\d+\.\d+)", out)[1] == images["redis"]
