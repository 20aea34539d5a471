"""`coordinator signal`: sends a signal to the tasks of a run that wait for it."""

import click

from coordinator.commands.acting import operating
from coordinator.commands.answering import answerer, json_or_text
from coordinator.invocation import Invocation, Verb, pass_invocation
from coordinator.output import emit_json, message
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
    run_async(_signal, invocation, run, name, value)


async def _signal(invocation: Invocation, prefix: str, name: str, text: str) -> None:
    async with operating(invocation) as operator:
        run = await operator.records.find(prefix)
        reached = await operator.signal(run, name, json_or_text(text), answerer())
    if invocation.json:
        emit_json({"run": run, "signal": name, "inquiries": list(reached)})
    else:
        message(f"signal {name} reached {len(reached):,} waiting tasks of run {run}")
