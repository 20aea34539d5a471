"""What commands print: data on standard output, messages on standard error, decoration only on a terminal."""

import json
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Protocol

import click


def emit_json(value: object) -> None:
    """One JSON object, on one line where a program reads it, indented for a person."""
    click.echo(json.dumps(value, ensure_ascii=False, default=str, indent=2 if sys.stdout.isatty() else None))


def emit_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table: on a terminal fitted to its width, elsewhere aligned columns that are never cut or wrapped."""
    cells = [[_cell(value) for value in row] for row in rows]
    if sys.stdout.isatty():
        import_module("coordinator.terminal").print_table(columns, cells)
        return
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for row in ([name.upper() for name in columns], *cells):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def message(text: str) -> None:
    """Something for the person rather than for the next program."""
    click.echo(text, err=True)


def _cell(value: object) -> str:
    return "" if value is None else " ".join(str(value).split())


class Live(Protocol):
    """A status that changes in place, with lines above it."""

    def line(self, text: str) -> None: ...

    def status(self, text: str) -> None: ...


class PlainLive:
    """A log: lines one by one, and no status, which would only repeat them."""

    def line(self, text: str) -> None:
        message(text)

    def status(self, text: str) -> None: ...


@contextmanager
def live_line() -> Generator[Live]:
    """A live display on standard error where that is a terminal; a plain log elsewhere."""
    if not sys.stderr.isatty():
        yield PlainLive()
        return
    with import_module("coordinator.terminal").live_status() as live:
        yield live
