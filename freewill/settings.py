"""Every setting, read from the environment once (N31, R3, X31).

A field ``tables_store`` is shown as ``tables.store`` and read from ``FREEWILL_TABLES_STORE``.
"""

import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal, Self, cast
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from media.h264 import AUTO, ENCODERS, SOFTWARE
from streams.roles import ALL_ROLES, Role, parse_roles

_WILDCARDS = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - compared with, not listened on
_GROUPS = ("tables", "log", "media", "uploads", "feed", "embedding", "streams", "lake")


class Settings(BaseSettings):
    """What an operator can choose."""

    model_config = SettingsConfigDict(env_prefix="FREEWILL_", frozen=True, extra="ignore")

    host: str = Field("127.0.0.1", description="Address the front listens on.")
    port: int = Field(8080, ge=0, le=65535, description="Port the front listens on.")
    base_url: str = Field("", description="Public origin in ids and links; default http://HOST:PORT.")
    data_dir: Path = Field(
        Path("data"), validate_default=True, description="Folder of everything that is kept."
    )
    secrets_dir: Path | None = Field(None, description="Folder of keys; default DATA_DIR/secrets.")
    broker: str = Field("embedded://", description="Message log: embedded:// or kafka://host:port.")
    database_url: SecretStr = Field(
        SecretStr(""), description="SQLAlchemy URL; default SQLite in the data folder."
    )
    redis_url: SecretStr = Field(SecretStr(""), description="Redis URL; empty keeps it in the process.")
    object_store: str = Field(
        "file", description="Media bytes: file (in the data folder), file:///FOLDER, or s3://bucket."
    )
    object_store_public_url: str = Field(
        "", description="Where clients reach the S3 server, to send parts there; default AWS_ENDPOINT_URL."
    )
    archive_dir: Path | None = Field(None, description="Folder of archived media; default in the store's.")
    archive_after_days: int = Field(
        90, ge=0, description="Age at which a new bucket moves media to Glacier's instant tier; 0: never."
    )
    roles: Annotated[frozenset[Role], NoDecode] = Field(
        ALL_ROLES, description="What this worker of a cluster runs: web, engagement, media."
    )
    worker_url: str = Field("", description="Where other workers reach this one; default http://HOST:PORT.")
    allow_private_network: bool = Field(
        False, description="Let outgoing federation reach loopback over plain HTTP."
    )
    rate_limits: Literal["on", "off"] = Field("on", description="Rate limits, quotas, login throttles.")
    access_token_seconds: int = Field(900, ge=1, description="Life of an access token, seconds.")
    refresh_token_seconds: int = Field(30 * 86400, ge=60, description="Life of a refresh token, seconds.")
    cors_origins: tuple[str, ...] = Field((), description="Origins that browsers may call from.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level logged.")

    log_fsync: Literal["commit", "os"] = Field(
        "commit",
        description="commit: an answered event survives power loss; os: it survives a crash of the process.",
    )
    streams_partitions: int = Field(8, ge=1, le=256, description="Partitions of every topic, fixed for life.")
    streams_stuck_seconds: float = Field(
        120.0, ge=0, description="An agent silent for so long while records wait ends the process; 0: none."
    )
    tables_store: str = Field("memory://", description="Table store: memory:// or rocksdb://PATH.")
    tables_standby_replicas: int = Field(
        1, ge=0, le=8, description="Other workers of a cluster that follow each table partition to take over."
    )
    tables_snapshot_seconds: float = Field(
        300.0, ge=0, description="Pause between two looks for tables to snapshot, seconds; 0: none are kept."
    )
    media_workers: int = Field(
        1, ge=0, le=64, description="Videos encoded here at the same time; 0: only by `freewill encoder`s."
    )
    media_lease_seconds: float = Field(
        60.0, ge=5, description="An encoder elsewhere that is silent for so long loses its job to another."
    )
    media_watchdog_seconds: float = Field(
        3600.0,
        gt=0,
        description="An encode silent for so long is queued again, once; then it fails.",
    )
    media_first_rung_seconds: float = Field(
        10.0, ge=0, description="Work, in seconds of 1080p30, from which a video plays before all is encoded."
    )
    media_loudness_lufs: float | None = Field(
        -14.0,
        ge=-40,
        le=-5,
        description="Loudness that sound is brought to (EBU R 128), LUFS; null: as it is.",
    )
    media_per_title: bool = Field(False, description="Leave out rungs that show no more than the one below.")
    media_probes: int = Field(4, ge=1, le=64, description="Uploads examined at the same time.")
    media_encoder: str = Field(
        SOFTWARE,
        pattern=f"^({AUTO}|{'|'.join(ENCODERS)})$",
        description="Encoder of H.264: libx264, auto for hardware where it works, or one such as h264_nvenc.",
    )
    media_preset: str = Field("veryfast", description="x264 preset.")
    media_ladder: Literal["core", "hd3", "reels", "full"] = Field("core", description="Rungs encoded.")
    media_url_seconds: int = Field(6 * 3600, ge=60, description="Life of a signed media URL, seconds.")
    media_url: str = Field(
        "", description="Origin of media; default the media port's, else the application's."
    )
    media_port: int = Field(0, ge=0, le=65535, description="A port that serves media only; 0: none.")
    media_cookie_domain: str = Field("", description="Domain of both origins, for cookies across host names.")
    media_hosts: tuple[str, ...] = Field(
        (), description="Origins of CDNs that deliver media, as JSON, the primary first."
    )
    media_cdn_secret: SecretStr = Field(
        SecretStr(""), description="Secret in X-Origin-Verify of a CDN that checks signatures itself."
    )
    media_purge_url: str = Field(
        "", description="Told of changed media: POST to http(s)://, or PURGE to purge+http(s)://HOST."
    )
    media_purge_token: SecretStr = Field(SecretStr(""), description="Bearer token of those requests.")
    media_regions: Path | None = Field(
        None, description="Regions of addresses: a JSON file of networks, or a MaxMind database (.mmdb)."
    )
    archive_idle_days: float = Field(
        0.0, ge=0, description="Days unwatched after which a video moves to the archive; 0: never."
    )
    uploads_session_seconds: float = Field(86_400.0, ge=60, description="Life of an upload session, seconds.")
    uploads_url_seconds: float = Field(3_600.0, ge=1, description="Life of the URL of a part, seconds.")
    uploads_daily: int = Field(100, ge=1, description="Uploads of one person in 24 hours.")
    uploads_strict_transitions: bool = Field(
        False, description="Refuse to cancel an upload before its first part, as document 001's table does."
    )
    uploads_fail_videos: bool = Field(False, description="Mark a video FAILED when its upload fails or ends.")
    uploads_webhook_secret: SecretStr = Field(
        SecretStr(""), description="Secret that signs the store's reports of uploads; empty: none is taken."
    )
    clamd_url: str = Field("", description="Malware scanner: tcp://HOST:PORT or unix:///PATH; empty: none.")
    embedding_timeout_seconds: float = Field(120.0, gt=0, description="Time an embedding may take.")
    feed_cache_seconds: float = Field(60.0, ge=0, description="Life of a cached ranking, seconds.")
    lake_seconds: int = Field(
        300, ge=0, description="Pause between two writes of the lake, seconds; 0: on demand only."
    )
    lake_retention_days: float = Field(400.0, gt=31, description="Age of the oldest months kept in the lake.")
    lake_query_seconds: float = Field(30.0, gt=0, le=300, description="Time a query may take.")
    lake_query_mb: int = Field(512, ge=64, description="Memory a query may take, MB.")
    dead_letters_alert: int = Field(10, ge=1, description="Dead letters in an hour that raise the alert.")

    @field_validator("data_dir", "secrets_dir")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        """Child processes work in a folder of their own."""
        return None if value is None else value.absolute()

    @field_validator("broker")
    @classmethod
    def _known_broker(cls, value: str) -> str:
        if urlsplit(value).scheme not in {"embedded", "kafka"}:
            raise ValueError("must be embedded:// or kafka://host:port")
        return value

    @field_validator("object_store")
    @classmethod
    def _known_store(cls, value: str) -> str:
        if value != "file" and not value.startswith(("s3://", "file:///")):
            raise ValueError("must be file, file:///FOLDER or s3://bucket")
        return value

    @field_validator("roles", mode="before")
    @classmethod
    def _known_roles(cls, value: object) -> frozenset[Role]:
        return parse_roles(value if isinstance(value, str) else cast("Iterable[str]", value))

    @model_validator(mode="after")
    def _one_process_has_all_roles(self) -> Self:
        if self.roles != ALL_ROLES and not self.on_kafka:
            raise ValueError("FREEWILL_ROLES: the embedded log has one process, which has all roles")
        return self

    @model_validator(mode="after")
    def _media_has_its_own_origin(self) -> Self:
        if self.media_url and urlsplit(self.media_url)[:2] == urlsplit(self.public_url)[:2]:
            raise ValueError("FREEWILL_MEDIA_URL has to be another origin than FREEWILL_BASE_URL")
        if self.media_port and self.media_port == self.port:
            raise ValueError("FREEWILL_MEDIA_PORT has to be another port than FREEWILL_PORT")
        return self

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, values: dict[str, object]) -> dict[str, object]:
        """Read a variable that is set but empty as not set, as compose files produce them."""
        return {name: value for name, value in values.items() if value != ""}

    @property
    def public_url(self) -> str:
        """The origin in ids and links, without a slash at its end."""
        return (self.base_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def media_origin(self) -> str:
        """The origin of media when it is not the application's, else empty."""
        own_port = f"http://{self.host}:{self.media_port}" if self.media_port else ""
        return (self.media_url or own_port).rstrip("/")

    @property
    def on_kafka(self) -> bool:
        """Whether the log is one that several workers may share."""
        return self.broker.startswith("kafka://")

    @property
    def own_url(self) -> str:
        """Where other workers reach this one; for a wildcard address by the host's name."""
        host = socket.gethostname() if self.host in _WILDCARDS else self.host
        return (self.worker_url or f"http://{host}:{self.port}").rstrip("/")

    @property
    def relational_url(self) -> str:
        """The SQLAlchemy URL in force."""
        return self.database_url.get_secret_value() or f"sqlite+aiosqlite:///{self.data_dir / 'freewill.db'}"

    @property
    def secrets_path(self) -> Path:
        """The folder of keys in force."""
        return self.secrets_dir or self.data_dir / "secrets"

    def shown(self) -> Iterator[tuple[str, str]]:
        """Yield (dotted name, value) of every setting in force, secrets masked."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            if name == "base_url":
                value = self.public_url
            elif isinstance(value, SecretStr):
                value = _masked(value.get_secret_value())
            elif name == "worker_url":
                value = self.own_url
            elif isinstance(value, tuple | frozenset):
                value = ",".join(sorted(value) if isinstance(value, frozenset) else value)
            yield _dotted(name), str(value)


def _dotted(name: str) -> str:
    group, _, rest = name.partition("_")
    return f"{group}.{rest}" if rest and group in _GROUPS and name != "log_level" else name


def _masked(url: str) -> str:
    """Hide the password of a URL, and all of a secret that is none.

    >>> _masked("postgresql+asyncpg://me:hunter2@db/freewill"), _masked("hunter2")
    ('postgresql+asyncpg://me:***@db/freewill', '***')
    """
    if url and "://" not in url:
        return "***"
    password = urlsplit(url).password
    return url.replace(f":{password}@", ":***@") if password else url
