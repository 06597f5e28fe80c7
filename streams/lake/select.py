"""What SQL of analysts may be: one SELECT, over the lake's views, that reads nothing else. Pure.

DuckDB's parser says what the statement is; this looks at its tree. Asking for the type of the statement is
not enough: ``WITH x AS (COPY ... TO ...) SELECT`` is a SELECT. The process has further walls (``query.py``).
"""

from collections.abc import Iterator, Mapping
from typing import Any

NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
TABLE_FUNCTIONS = frozenset({"range", "generate_series", "unnest"})
TABLE_REFERENCES = frozenset(
    {
        "BASE_TABLE", "EMPTY", "JOIN", "SUBQUERY", "TABLE_FUNCTION", "EXPRESSION_LIST", "PIVOT", "SHOW_REF",
        "COLUMN_DATA", "CTE", "DELIM_GET",
    }
)  # fmt: skip


class NotSelect(ValueError):
    """The statement is not a SELECT over the views; the text is safe to show."""


def check(tree: Mapping[str, Any]) -> None:
    """Refuse a parsed text (``json_serialize_sql``) that is not one plain SELECT.

    Raises:
        NotSelect: it is none, or several, or it does more than read the views.
    """
    if tree.get("error"):
        raise NotSelect(str(tree.get("error_message", "This cannot be parsed.")))
    statements = tree.get("statements") or []
    if len(statements) != 1:
        raise NotSelect("Exactly one SELECT statement is needed.")
    for node in _objects(statements[0]):
        kind = node.get("type")
        if isinstance(kind, str) and kind.endswith("_NODE") and kind not in NODES:
            raise NotSelect(f"Only SELECT reads here, not {kind.removesuffix('_NODE')}.")
        if kind == "TABLE_FUNCTION":
            name = str(node.get("function", {}).get("function_name", ""))
            if name.lower() not in TABLE_FUNCTIONS:
                raise NotSelect(f"The table function {name} is not available here.")
        if "from_table" in node:
            _check_source(node["from_table"])


def _check_source(source: Mapping[str, Any]) -> None:
    kind = source.get("type")
    if kind not in TABLE_REFERENCES:
        raise NotSelect(f"{kind} cannot be read from here.")
    name = str(source.get("table_name", ""))
    if any(mark in name for mark in "/\\:*"):
        raise NotSelect("Files are read through the views only.")


def _objects(tree: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every object of a JSON tree, without recursion: depth is the caller's choice."""
    waiting = [tree]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield item
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
