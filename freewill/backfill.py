"""The command that tells rows which are older than the telling of row changes; resumable (F20)."""

import json
from collections.abc import Callable
from pathlib import Path

from freewill.maintenance import migrate_database
from freewill.settings import Settings
from tables.relational.backfill import backfill
from tables.relational.engine import Database


async def tell_rows(settings: Settings, *, again: bool, told: Callable[[str, int], None]) -> int:
    """Write every row of the captured tables to the outbox, from where the last run came to.

    A running server, or the next, relays them. ``again`` begins anew; ``told(topic, rows)`` hears of batches.

    Returns:
        How many rows were told in this run.

    Raises:
        DatabaseFailure: DATABASE_ERROR; the next run goes on.
    """
    path = settings.data_dir / "cdc-backfill.json"
    progress: dict[str, str] = {} if again else _known(path)
    await migrate_database(settings)
    database, total = Database.open(settings.relational_url), 0
    try:
        async for topic, at, rows in backfill(database, progress):
            progress[topic], total = at, total + rows
            _keep(path, progress)
            told(topic, rows)
    finally:
        await database.close()
    return total


def _known(path: Path) -> dict[str, str]:
    try:
        known: dict[str, str] = json.loads(path.read_text())
        return known
    except FileNotFoundError:
        return {}


def _keep(path: Path, progress: dict[str, str]) -> None:
    """Replace the file at once; a crash before it only has a batch told again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(progress))
    draft.replace(path)
