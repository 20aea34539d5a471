"""`coordinator watch`: a run's events, as they happen."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, cast

import click

from blackboard.encoding import fields_of
from coordinator.commands.shared import stored
from coordinator.invocation import Invocation, Verb, pass_invocation
from coordinator.output import message
from coordinator.records import LATEST, Logged, Trimmed
from protocol.errors import StoreUnavailable
from protocol.running import run_async

VALUE_WIDTH = 100


@click.command("watch", cls=Verb)
@click.argument("run", default=LATEST)
@click.option(
    "--after",
    type=click.IntRange(min=0),
    default=0,
    metavar="POSITION",
    help="Only events after this position in the run's log.",
)
@pass_invocation
def command(invocation: Invocation, run: str, after: int) -> None:
    """Follow a run's events to its end; with --json one object per line.

    Each has its position: what was seen before is left out with --after.
    """
    run_async(_watch, invocation, run, after)


async def _watch(invocation: Invocation, prefix: str, after: int) -> None:
    async with stored(invocation) as records:
        run = await records.find(prefix)
        async for logged in records.follow(run, after=after, away=_say_away):
            if invocation.json:
                click.echo(json.dumps(as_json(logged), ensure_ascii=False))
            elif isinstance(logged, Trimmed):
                message(str(logged))
            else:
                click.echo(_line(logged))
        totals = await records.totals(run)
    message(f"run {run} ended {totals.status}: {totals.reason}")


def _say_away(error: StoreUnavailable) -> None:
    message(f"{error}; asking again")


def as_json(logged: Logged | Trimmed) -> dict[str, Any]:
    """An event with its position and kind; of kind `trimmed`: those from `first` to `position` are gone."""
    if isinstance(logged, Trimmed):
        return {"position": logged.last, "kind": "trimmed", "first": logged.first}
    event = logged.event
    return {"position": logged.position, "kind": event.kind, **fields_of(event)}


def _line(logged: Logged) -> str:
    event = logged.event
    time = datetime.fromtimestamp(event.at_ms / 1000).astimezone().strftime("%H:%M:%S")
    fields = fields_of(event, defaults=False)
    del fields["at_ms"]
    return f"{logged.position:>6} {time} {event.kind:<18} {'  '.join(_told(fields))}"


def _told(fields: Mapping[str, Any]) -> Iterator[str]:
    """Plain values, clipped; of nested ones only what names them."""
    for name, value in fields.items():
        match value:
            case {"id": named} | {"run": named} | {"message": named} | {"question": named}:
                text = str(named)
            case dict():
                continue
            case list():
                text = f"{len(cast('list[object]', value))} items"
            case _:
                text = " ".join(str(value).split())
        yield f"{name}={text if len(text) <= VALUE_WIDTH else text[: VALUE_WIDTH - 1] + '…'}"
