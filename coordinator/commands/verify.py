"""`coordinator verify`: whether what a run's store holds is what its events have made."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import click

from coordinator import stores
from coordinator.commands.shared import prepare
from coordinator.invocation import Invocation, Verb, pass_invocation
from coordinator.output import emit_json, message
from coordinator.records import Records
from coordinator.verification.verdict import Verdict
from coordinator.verification.verify import verify
from protocol.exits import Exit
from protocol.running import run_async


@click.command("verify", cls=Verb)
@click.argument("run")
@pass_invocation
def command(invocation: Invocation, run: str) -> Exit:
    """Read all events of a run, archived ones too, and compare what they make with what the store holds.

    Rows, statistics, artifacts, and the bodies that they name are compared; each difference is listed. The
    run may go on meanwhile. The exit code is 1 where anything differs.
    """
    found = run_async(_verified, invocation, run)
    if invocation.json:
        emit_json(as_json(found))
    else:
        _show(found)
    return Exit.OK if found.sound else Exit.FAILED


async def _verified(invocation: Invocation, prefix: str) -> Verdict:
    async with stores.store(prepare(invocation).settings) as store:
        return await verify(store, await Records(store).find(prefix))


def as_json(found: Verdict) -> Mapping[str, Any]:
    """What was compared, and every difference."""
    return {"sound": found.sound, **asdict(found)}


def _show(found: Verdict) -> None:
    for one in found.differences:
        click.echo(f"{one.what} {one.id}: {one.problem}")
    events = f"{found.events:,} events" + (
        f", {found.archived:,} of them archived," if found.archived else ""
    )
    seen = f"{found.artifacts:,} artifacts, {found.bodies:,} bodies"
    if found.proven:
        click.echo(f"compared: {events} with {found.rows:,} rows, {seen}")
    else:
        click.echo(f"compared: statistics with the tasks they count, {seen}; the log has no gap")
        message(f"the rows could not be compared with the events: {found.unproven}")
    for name in found.moving:
        message(f"not compared, as the run goes on: {name}; pause the run, or wait for its end")
    message("all is as the events have made it" if found.sound else f"{len(found.differences):,} differ")
