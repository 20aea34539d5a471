"""Decorated output. The one module that imports rich; loaded only on a terminal."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


class RichLive:
    """A spinner with a changing text on standard error, and lines above it."""

    def __init__(self, console: Console, status: Status) -> None:
        self._console = console
        self._status = status

    def line(self, text: str) -> None:
        self._console.print(Text(text))

    def status(self, text: str) -> None:
        self._status.update(Text(text))


@contextmanager
def live_status() -> Generator[RichLive]:
    console = Console(stderr=True)
    with console.status("") as status:
        yield RichLive(console, status)
