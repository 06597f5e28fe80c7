"""Settings, their names and their masks (INTERFACE Process; N24, N31)."""

import os
import stat
from pathlib import Path

import pytest
from pydantic import ValidationError

from freewill.keyring import open_keyring
from freewill.logs import redact
from freewill.settings import Settings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith("FREEWILL_"):
            monkeypatch.delenv(name)


def shown(settings):
    return dict(settings.shown())


def test_settings_have_the_promised_defaults():
    settings = Settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.data_dir == Path.cwd() / "data", "children work in another folder"
    assert settings.public_url == "http://127.0.0.1:8080"
    assert (settings.broker, settings.object_store, settings.access_token_seconds) == (
        "embedded://",
        "file",
        900,
    )
    assert not settings.allow_private_network
    assert settings.rate_limits == "on"


def test_config_names_the_table_store_and_masks_secrets(monkeypatch):
    monkeypatch.setenv("FREEWILL_DATABASE_URL", "postgresql+asyncpg://me:hunter2@db/freewill")
    monkeypatch.setenv("FREEWILL_TABLES_STORE", "rocksdb:///var/tables")
    values = shown(Settings())
    assert values["tables.store"] == "rocksdb:///var/tables"
    assert values["database_url"] == "postgresql+asyncpg://me:***@db/freewill"
    assert "hunter2" not in str(values)


def test_empty_variable_counts_as_unset(monkeypatch):
    monkeypatch.setenv("FREEWILL_BASE_URL", "")
    monkeypatch.setenv("FREEWILL_PORT", "9000")
    assert Settings().public_url == "http://127.0.0.1:9000"


@pytest.mark.parametrize(
    ("name", "value"),
    [("BROKER", "amqp://x"), ("OBJECT_STORE", "ftp://x"), ("PORT", "http"), ("RATE_LIMITS", "maybe")],
)
def test_setting_is_refused_when_it_makes_no_sense(monkeypatch, name, value):
    monkeypatch.setenv(f"FREEWILL_{name}", value)
    with pytest.raises(ValidationError):
        Settings()


def test_keys_are_made_once_and_only_their_owner_reads_them(tmp_path):
    first, second = open_keyring(tmp_path / "keys"), open_keyring(tmp_path / "keys")
    assert first == second
    files = list((tmp_path / "keys").iterdir())
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)


def test_log_blanks_secrets():
    event = redact(None, "info", {"event": "x", "Authorization": "Bearer abc", "token": "abc", "path": "/"})
    assert event == {"event": "x", "Authorization": "[redacted]", "token": "[redacted]", "path": "/"}
