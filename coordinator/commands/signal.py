"""`coordinator signal`: sends a signal to the tasks of a run that wait for it."""

import click

from coordinator import connections
from coordinator.commands.answering import Given, parsed, send
from coordinator.commands.leading import OPERATOR_NAME
from coordinator.commands.shared import prepare
from coordinator.invocation import Invocation, Verb, pass_invocation
from coordinator.output import emit_json, message
from coordinator.records import Records
from coordinator.settings import Settings
from protocol.errors import NotFound
from protocol.running import run_async


@click.command("signal", cls=Verb)
@click.argument("run")
@click.argument("name")
@click.argument("value", default="null")
@pass_invocation
def command(invocation: Invocation, run: str, name: str, value: str) -> None:
    """Send the signal NAME, with a VALUE, to every task of a RUN that waits for it now.

    A signal that nobody waits for is not kept: the command fails, and can be repeated.
    """
    settings = prepare(invocation).settings
    run_async(_signal, invocation, settings, run, name, value)


async def _signal(invocation: Invocation, settings: Settings, prefix: str, name: str, value: str) -> None:
    async with (
        connections.store(settings) as store,
        connections.transport(settings, name=OPERATOR_NAME) as transport,
    ):
        records = Records(store)
        run = await records.find(prefix)
        rows = [
            row
            for row in await records.inquiries(run)
            if row.open and row.wait.kind == "signal" and row.wait.target == name
        ]
        if not rows:
            raise NotFound("task that waits for signal", name)
        for row in rows:
            await send(records, transport, run, row, Given(value=parsed(value, row)))
    if invocation.json:
        emit_json({"run": run, "signal": name, "inquiries": [row.id for row in rows]})
    else:
        message(f"signal {name} reached {len(rows):,} waiting tasks of run {run}")
