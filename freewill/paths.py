"""Where everything lies in the data folder."""

from pathlib import Path
from uuid import uuid4

from freewill.settings import Settings

APP_ID = "freewill"
"""Id of the stream application: part of its changelogs' names and of its group's, so it never changes."""


def log_path(settings: Settings) -> Path:
    """The embedded log."""
    return settings.data_dir / "log" / "log.db"


def objects_path(settings: Settings) -> Path:
    """The local object store: in the data folder, or a folder that workers share."""
    shared = settings.object_store.removeprefix("file").removeprefix("://")
    return Path(shared) if shared else settings.data_dir / "objects"


def partials_path(settings: Settings) -> Path:
    """Return where is kept what failed encodes left, for operators."""
    return settings.data_dir / "encoding-failures"


def uploads_path(settings: Settings) -> Path:
    """Form uploads while they arrive."""
    return settings.data_dir / "tmp" / "uploads"


def parts_path(settings: Settings) -> Path:
    """Parts of unfinished uploads: on the store's file system, where completing is a rename."""
    if settings.object_store.startswith("file:///"):
        return objects_path(settings) / ".uploads"  # shared as the store is; its keys never begin with a dot
    return settings.data_dir / "uploads"


def work_path(settings: Settings) -> Path:
    """Work folders of encodes."""
    return settings.data_dir / "tmp" / "work"


def remote_path(settings: Settings) -> Path:
    """What encoders elsewhere bring, until it is verified: among work folders, which a start empties."""
    return work_path(settings) / "remote"


def snapshots_path(settings: Settings) -> Path:
    """Snapshots of memory tables; a saving at start, they may be removed at any time."""
    return settings.data_dir / "snapshots"


def lake_path(settings: Settings) -> Path:
    """The analysts' Parquet files."""
    return settings.data_dir / "lake"


def audit_path(settings: Settings) -> Path:
    """The append-only record of what analysts read."""
    return settings.data_dir / "audit" / "analysts.jsonl"


def changelog(table: str) -> str:
    """Name of a table's changelog topic.

    >>> changelog("video_engagement")
    'freewill-video_engagement-changelog'
    """
    return f"{APP_ID}-{table}-changelog"


def worker_name(settings: Settings) -> str:
    """Name of the process on this data folder among those that share a Kafka; made at its first start."""
    path = settings.data_dir / "worker"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(uuid4().hex[:12])
    return f"{APP_ID}-{path.read_text().strip()}"
