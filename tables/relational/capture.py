"""Row changes as records: what the topics ``cdc.*`` carry (F20).

Every session of ``Database`` writes them to the outbox, in the transaction of the change, so that no
service has to remember. A flush yields one record for each row that it changed; a ``DELETE`` statement and
the cascades of a deleted row yield theirs in one ``INSERT ... SELECT`` before it runs. Counters are left
out: they are sums of what other topics carry. So is what must not leave the store: see ``LEFT_OUT``.

Records of one row are in the order of its changes: they follow the row's own write, so that the outbox
sequence is drawn under its lock.
"""

import time
import typing
from collections.abc import Iterable
from datetime import datetime
from functools import cache
from typing import Any, Final

import msgspec
from sqlalchemy import (
    ColumnElement,
    LargeBinary,
    Table,
    and_,
    cast,
    event,
    insert,
    inspect,
    literal,
    select,
    tuple_,
)
from sqlalchemy.orm import ORMExecuteState, Session

from tables.records import RowChange
from tables.relational.models import (
    Base,
    CommentRow,
    FollowRow,
    LikeRow,
    OutboxRow,
    UserRow,
    UtcDateTime,
    VideoRow,
    moment,
    seconds,
)

#: Topic of each captured table.
TOPICS: Final[dict[type[Base], str]] = {
    UserRow: "cdc.users",
    VideoRow: "cdc.videos",
    FollowRow: "cdc.follows",
    LikeRow: "cdc.likes",
    CommentRow: "cdc.comments",
}
#: Columns that are in no record: secrets, addresses, and counters.
LEFT_OUT: Final[dict[type[Base], frozenset[str]]] = {
    UserRow: frozenset({"email", "email_key", "username_key", "password_hash"}),
    VideoRow: frozenset({"view_count", "like_count", "comment_count", "share_count", "save_count"}),
    FollowRow: frozenset(),
    LikeRow: frozenset(),
    CommentRow: frozenset(),
}
#: Columns that are in the records. A new column has to be put here or there (a test asks).
COLUMNS: Final[dict[type[Base], tuple[str, ...]]] = {
    UserRow: (
        "id", "username", "role", "role_changed_at", "display_name", "bio", "avatar_key", "did",
        "created_at", "updated_at",
    ),
    VideoRow: (
        "id", "owner_id", "title", "description", "tags", "hashtags", "visibility", "content_type",
        "audio_url", "policy", "status", "fail_code", "fail_reason", "moderation_status",
        "moderation_reason", "needs_review", "source_key", "source_size_bytes", "source_mime",
        "source_sha256", "duration_seconds", "width", "height", "is_federated", "origin_instance",
        "origin_actor_did", "activitypub_id", "embedding_state", "embedding_model", "embedding_error",
        "processing_started_at", "processing_completed_at", "published_at", "created_at", "updated_at",
    ),
    FollowRow: ("follower_id", "following_id", "created_at"),
    LikeRow: ("user_id", "video_id", "created_at"),
    CommentRow: (
        "id", "video_id", "user_id", "parent_id", "text", "created_at", "updated_at", "deleted_at",
    ),
}  # fmt: skip
_MODELS: Final[dict[Any, type[Base]]] = {model.__table__: model for model in TOPICS}
_encode = msgspec.json.Encoder().encode


@cache
def capturing_session() -> type[Session]:
    """Return the session class that captures row changes."""

    class CapturingSession(Session):
        """A session that writes what it changes to the outbox too."""

    event.listen(CapturingSession, "before_flush", _before_flush)
    event.listen(CapturingSession, "after_flush", _after_flush)
    event.listen(CapturingSession, "do_orm_execute", _before_statement)
    return CapturingSession


def key_of(row: Base) -> str:
    """Return a row's key in its topic: the columns of its primary key, joined by colons."""
    return ":".join(str(value) for value in inspect(row).mapper.primary_key_from_instance(row))


def image_of(values: dict[str, object]) -> dict[str, object]:
    """Return a row's columns as its records show them: times in seconds since the epoch."""
    return {name: seconds(value) if isinstance(value, datetime) else value for name, value in values.items()}


# -- rows


def _before_flush(session: Session, _context: Any, _instances: Any) -> None:
    for row in session.deleted:
        if type(row) in TOPICS:
            table = _table(type(row))
            key = zip(table.primary_key, inspect(row).mapper.primary_key_from_instance(row), strict=True)
            _cascade(session, table, and_(*(column == value for column, value in key)))


def _after_flush(session: Session, _context: Any) -> None:
    # the session still tells new, changed and deleted rows apart, and values have their defaults
    now = time.time()
    told = [("c", row) for row in session.new if type(row) in TOPICS]
    told += [("u", row) for row in session.dirty if type(row) in TOPICS and _changed(row)]
    told += [("d", row) for row in session.deleted if type(row) in TOPICS]
    if told:
        records = [
            record_of(type(row), op, key_of(row), now, None if op == "d" else _values(row))
            for op, row in told
        ]
        session.connection().execute(insert(_table(OutboxRow)), records)


def _changed(row: Base) -> bool:
    state = inspect(row)
    touched = state.committed_state.keys() & COLUMNS[type(row)]
    return any(state.attrs[name].history.has_changes() for name in touched)


def _values(row: Base) -> dict[str, object]:
    return {name: getattr(row, name) for name in COLUMNS[type(row)]}


def record_of(
    model: type[Base], op: str, key: str, now: float, values: dict[str, object] | None
) -> dict[str, object]:
    """Return the outbox row of a change; ``values`` are the row's, None when it is gone."""
    after = None if values is None else image_of(values)
    change = RowChange(op=op, table=model.__tablename__, key=key, at=now, after=after)
    return {"topic": TOPICS[model], "key": key, "payload": _encode(change), "created_at": moment(now)}


def _table(model: type[Base]) -> Table:
    return typing.cast(Table, model.__table__)


# -- statements


def _before_statement(execution: ORMExecuteState) -> Any:
    if not (execution.is_delete or execution.is_update or execution.is_insert):
        return None
    mapper = execution.bind_mapper
    model = mapper.class_ if mapper is not None else None
    if model not in TOPICS:
        return None
    statement: Any = execution.statement
    if execution.is_insert:
        raise TypeError(f"add rows of {model.__tablename__} to the session: an INSERT leaves no row changes")
    if execution.is_update:
        return _update(execution, model, statement)
    _tell_deleted(execution.session, _table(model), statement.whereclause)
    return None


def _update(execution: ORMExecuteState, model: type[Base], statement: Any) -> Any:
    """Run an UPDATE, and write the rows that it changed to the outbox."""
    names = {getattr(column, "key", column) for column in statement._values or ()}
    if names <= LEFT_OUT[model]:
        return None
    session, table, now = execution.session, _table(model), time.time()
    columns, where = list(table.primary_key), statement.whereclause
    chosen = select(*columns) if where is None else select(*columns).where(where)
    keys = session.connection().execute(chosen.with_for_update()).all()
    result = execution.invoke_statement()
    rows = select(*(table.c[name] for name in COLUMNS[model])).where(tuple_(*columns).in_(keys))
    records = []
    for row in session.connection().execute(rows) if keys else ():
        values = dict(row._mapping)
        key = ":".join(str(values[column.name]) for column in columns)
        records.append(record_of(model, "u", key, now, values))
    if records:
        session.connection().execute(insert(_table(OutboxRow)), records)
    return result


def _tell_deleted(session: Session, table: Table, where: ColumnElement[bool] | None) -> None:
    """Write the deletion of the rows that match to the outbox, and of what goes with them."""
    chosen = where if where is not None else literal(True)
    _cascade(session, table, chosen)
    now, columns = time.time(), list(table.primary_key)
    key: Any = columns[0]
    for column in columns[1:]:
        key = key + ":" + column
    # keys are UUIDs: they need no escapes
    start, end = f'{{"op":"d","table":"{table.name}","key":"', f'","at":{now!r}}}'
    rows = select(
        literal(TOPICS[_MODELS[table]]),
        key,
        cast(literal(start) + key + literal(end), LargeBinary),
        literal(moment(now), UtcDateTime),
    ).where(chosen)
    names = ["topic", "key", "payload", "created_at"]
    session.connection().execute(insert(_table(OutboxRow)).from_select(names, rows.order_by(*columns)))


def _cascade(session: Session, table: Table, where: ColumnElement[bool]) -> None:
    """Tell of the rows that the database deletes with those of ``table`` that match."""
    for child, column, parent in _children(table):
        _tell_deleted(session, child, column.in_(select(parent).where(where)))


def _children(table: Table) -> Iterable[tuple[Table, Any, Any]]:
    for child in _MODELS:
        for link in child.foreign_keys:
            # a comment that has replies is blanked, never deleted: no cascade inside a table
            if link.column.table is table and link.ondelete == "CASCADE" and child is not table:
                yield child, link.parent, link.column
