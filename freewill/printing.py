"""Tables on the command line, for eyes and for pipes."""

from collections.abc import Container

from rich.console import Console
from rich.table import Table

PIPED_COLUMNS = 10_000


def print_table(columns: list[str], rows: list[tuple[str, ...]], right: Container[int] = ()) -> None:
    """Print rows; the columns numbered in ``right`` are set to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    out = Console()
    # Piped to another program a row is one line: an id that is folded cannot be copied or parsed.
    (out if out.is_terminal else Console(width=PIPED_COLUMNS)).print(table)
