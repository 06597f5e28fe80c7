"""INTERFACE.md, Process: commands, settings, health, roles. The line a test holds to is quoted in it."""

import asyncio
import os
import signal
import subprocess
import time

import aiohttp
import psutil
import pytest

STOP_SECONDS = 20
ROLES = ("user", "creator", "operator", "analyst", "service")  # N11


async def test_make_run_stops_cleanly_when_terminated(make_server):
    """ "`make run` is the foreground process (or its parent): SIGTERM to it stops everything cleanly within
    20 seconds", and it "reads the environment"."""
    server = make_server()
    with server.log.open("ab") as log:
        # -o setup: what is installed stays as it is, also when the clock of the checkout says otherwise.
        server.process = subprocess.Popen(
            ["make", "-o", "setup", "run"],
            cwd=server.root,
            env=server.environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    await server.wait_ready()
    assert (server.data / "freewill.db").is_file()  # FREEWILL_DATA_DIR
    family = [server.process.pid, *(p.pid for p in psutil.Process(server.process.pid).children(True))]
    started = time.monotonic()
    await asyncio.to_thread(server.stop)
    assert time.monotonic() - started < STOP_SECONDS
    assert not [pid for pid in family if psutil.pid_exists(pid)]
    with pytest.raises(ProcessLookupError):
        os.killpg(server.process.pid, 0)
    assert "Traceback" not in server.tail(200)


async def test_serve_ends_with_zero_when_terminated_or_interrupted(make_server):
    """ "SIGTERM to it stops everything cleanly", and so does Ctrl-C."""
    server = make_server()
    for number in (signal.SIGTERM, signal.SIGINT):
        await server.start()
        server.process.send_signal(number)
        assert await asyncio.to_thread(server.process.wait, STOP_SECONDS) == 0


async def test_readyz_says_what_is_missing_when_the_server_starts(make_server):
    """ "`GET /healthz` 200 as soon as the process answers; `GET /readyz` 200 only when tables are recovered,
    migrations applied and the front serves, else 503 with what is missing."
    """
    server = make_server()
    server.launch()
    before = []
    async with aiohttp.ClientSession() as session:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                async with session.get(server.url + "/readyz") as answer:
                    body = await answer.json()
            except aiohttp.ClientError:
                await asyncio.sleep(0.005)
                continue
            if answer.status == 200:
                break
            before.append(body)
            assert answer.status == 503
            assert body["missing"], body
            async with session.get(server.url + "/healthz") as health:
                assert health.status == 200
            async with session.get(server.url + "/api/v1/feed") as early:
                assert early.status in {200, 503}  # ready may have come in between
                if early.status == 503:
                    refused = await early.json()
                    assert refused["error"]["code"] == "SERVICE_UNAVAILABLE"
                    assert refused["error"]["details"]["missing"]
        assert before, "the front was not there before the tables"
        assert (body["status"], body["missing"]) == ("ready", [])


async def test_metrics_are_prometheus_text_when_asked(alice):
    """ "`GET /metrics` Prometheus text." """
    text = await alice.get("/metrics")
    assert alice.status == 200
    assert alice.headers["Content-Type"].startswith("text/plain; version=")
    assert "# TYPE " in text
    for line in text.splitlines():
        if line and not line.startswith("#"):
            float(line.rsplit(" ", 1)[1])


async def test_settings_are_in_force_when_the_environment_names_them(make_server, make_client):
    """ "`FREEWILL_BASE_URL` (the public origin in ids and links", "`FREEWILL_ACCESS_TOKEN_SECONDS` (default
    900) is the life of an access token", and "HOST in WebFinger and ids is the full `host[:port]` of the
    base URL"."""
    server = make_server(FREEWILL_BASE_URL="https://video.example:8443/", FREEWILL_ACCESS_TOKEN_SECONDS="2")
    await server.start()
    client = make_client(server)
    body = await client.post(
        "/api/v1/auth/register",
        {"username": "ada", "email": "ada@example.org", "password": "correct horse battery"},
    )
    assert body["expires_in"] == 2
    assert body["user"]["actor_url"].startswith("https://video.example:8443/ap/actors/did:")
    jrd = await client.get("/.well-known/webfinger?resource=acct:ada@video.example:8443")
    assert (client.status, jrd["subject"]) == (200, "acct:ada@video.example:8443")
    await client.get("/.well-known/webfinger?resource=acct:ada@video.example")
    assert client.status == 404
    description = await client.get("/api/openapi.json")
    assert description["servers"][0]["url"] == "https://video.example:8443"

    client.token = body["access_token"]
    await client.get("/api/v1/users/me")
    assert client.status in {200, 401}  # two seconds may be over on a busy machine
    await asyncio.sleep(2.1)
    expired = await client.get("/api/v1/users/me")
    assert (client.status, expired["error"]["code"]) == (401, "TOKEN_EXPIRED")
    await client.get("/healthz")
    assert client.status == 200


async def test_config_show_prints_every_setting_when_secrets_are_set(make_server):
    """ "`freewill config show` prints one `name = value` a line, secrets masked, `tables.store` among
    them (`memory://`, or `rocksdb://PATH`)", and the defaults of the first line."""
    server = make_server(FREEWILL_DATABASE_URL="postgresql+asyncpg://me:hunter2@db/freewill")
    shown = await asyncio.to_thread(server.run, "config", "show")
    assert (shown.returncode, shown.stderr) == (0, "")
    lines = [line.split(" = ", 1) for line in shown.stdout.splitlines()]
    assert all(len(line) == 2 for line in lines), shown.stdout
    values = dict(lines)
    assert values["tables.store"] == "memory://"
    assert values["broker"] == "embedded://"
    assert values["object_store"] == "file"
    assert values["host"] == "127.0.0.1"
    assert values["access_token_seconds"] == "900"
    assert values["allow_private_network"] == "False"
    assert values["base_url"] == server.url  # default http://HOST:PORT
    assert "hunter2" not in shown.stdout
    assert values["database_url"] == "postgresql+asyncpg://me:***@db/freewill"
    server.configure(FREEWILL_TABLES_STORE=f"rocksdb://{server.data}/tables")
    shown = await asyncio.to_thread(server.run, "config", "show")
    assert f"tables.store = rocksdb://{server.data}/tables" in shown.stdout.splitlines()


async def test_doctor_warns_when_limits_are_off_or_private_networks_allowed(make_server):
    """ "off by default, and `freewill doctor` warns about it" of both settings."""
    server = make_server(FREEWILL_ALLOW_PRIVATE_NETWORK="true")  # the harness switches limits off
    shown = await asyncio.to_thread(server.run, "doctor")
    warnings = [line for line in shown.stdout.splitlines() if "warning" in line.lower()]
    assert any("FREEWILL_ALLOW_PRIVATE_NETWORK" in line for line in warnings), shown.stdout
    assert any("FREEWILL_RATE_LIMITS" in line for line in warnings), shown.stdout
    server.configure(FREEWILL_ALLOW_PRIVATE_NETWORK="", FREEWILL_RATE_LIMITS="on")
    shown = await asyncio.to_thread(server.run, "doctor")
    warnings = [line for line in shown.stdout.splitlines() if "warning" in line.lower()]
    assert not any("PRIVATE_NETWORK" in line or "RATE_LIMITS" in line for line in warnings), shown.stdout


async def test_user_command_creates_and_promotes_when_the_server_runs(shared_server, make_client):
    """ "`freewill user create NAME --email E --password-stdin [--role R]`, `freewill user role NAME ROLE`
    with the roles of N11"."""
    name = f"op{os.urandom(4).hex()}"
    made = await asyncio.to_thread(
        shared_server.run,
        "user", "create", name, "--email", f"{name}@example.org", "--password-stdin", "--role", "operator",
        stdin="correct horse battery\n",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    client = await make_client(shared_server).login(name)
    assert client.user["role"] == "operator"
    for role in ROLES:
        changed = await asyncio.to_thread(shared_server.run, "user", "role", name, role)
        assert changed.returncode == 0, changed.stderr
    assert (await client.login(name)).user["role"] == "service"
    for arguments in (("role", name, "king"), ("role", f"{name}x", "user")):
        refused = await asyncio.to_thread(shared_server.run, "user", *arguments)
        assert refused.returncode != 0
        assert "Traceback" not in refused.stderr
    again = await asyncio.to_thread(
        shared_server.run, "user", "create", name, "--email", "x@example.org", "--password-stdin",
        stdin="correct horse battery\n",
    )  # fmt: skip
    assert again.returncode != 0
    assert "Traceback" not in again.stderr


async def test_commands_list_topics_and_tables_when_the_server_runs(shared_server, flower):
    """Names that operators rely on: "Table names are those of DESIGN.md section 4"."""
    topics = await asyncio.to_thread(shared_server.run, "topics")
    for name in ("video.uploaded", "media.jobs", "media.results", "events.engagement", "engagement.deltas",
                 "events.content", "catalogue.changes", "notifications"):  # fmt: skip
        assert name in topics.stdout, topics.stderr
    tables = await asyncio.to_thread(shared_server.run, "tables")
    for name in ("video_engagement", "watch_history", "user_preference", "catalogue"):
        assert name in tables.stdout, tables.stderr


async def wrong_logins(client, most):
    """Sign in with a wrong password until that is limited; return the statuses."""
    statuses = []
    while len(statuses) < most and 429 not in statuses:
        await client.post("/api/v1/auth/login", {"username": "nobody_here", "password": "wrong horse"})
        statuses.append(client.status)
    return statuses


async def test_limits_hold_unless_they_are_switched_off(make_server, make_client, shared_server):
    """ "`FREEWILL_RATE_LIMITS=off` switches rate limits, quotas and login throttles off"; on by default."""
    server = make_server(FREEWILL_RATE_LIMITS="")  # set but empty is not set
    await server.start()
    client = make_client(server)
    statuses = await wrong_logins(client, 40)
    assert statuses[0] == 401
    assert statuses[-1] == 429, statuses
    assert int(client.headers["Retry-After"]) >= 1
    assert set(await wrong_logins(make_client(shared_server), len(statuses) + 5)) == {401}
