"""`coordinator doctor`: checks everything that a swarm needs."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict

import click

from coordinator.commands.shared import prepare
from coordinator.doctor import local, servers, swarm
from coordinator.doctor.check import Check
from coordinator.embedded.programs import find_nats_server, find_redis_server
from coordinator.embedded.servers import embedded_servers
from coordinator.invocation import Invocation, Verb, pass_invocation
from coordinator.output import emit_json, message
from coordinator.settings import Settings, load, wants_embedded
from protocol.errors import OperatorError
from protocol.exits import Exit
from protocol.running import run_async

MARKS = {"ok": "ok     ", "warning": "warning", "failed": "FAILED ", "skipped": "skipped"}


@click.command("doctor", cls=Verb)
@pass_invocation
def command(invocation: Invocation) -> Exit:
    """Check servers, versions, permissions, disk, clock, model and stranded tasks, and print the fix for each
    failure.

    Where no servers are named and none run, the embedded ones are started for the length of the checks.
    """
    checks = run_async(examine, invocation)
    failed = any(check.status == "failed" for check in checks)
    if invocation.json:
        emit_json({"ok": not failed, "checks": [asdict(check) for check in checks]})
    else:
        for check in checks:
            click.echo(f"{MARKS[check.status]}  {check.name}: {' '.join(check.detail.split())}")
            if check.fix:
                click.echo(f"         fix: {check.fix}")
        message("something failed: see the fixes" if failed else "all is well")
    return Exit.FAILED if failed else Exit.OK


async def examine(invocation: Invocation) -> Sequence[Check]:
    """Every check, in an order in which the first failure explains the later ones."""
    loaded = prepare(invocation)
    settings = loaded.settings
    checks = [local.check_python(), local.check_full_text_search()]
    if not wants_embedded(loaded):
        checks += await _check_servers(settings)
    else:
        checks += [
            local.check_program("nats-server", find_nats_server),
            local.check_program("redis-server", find_redis_server),
            local.check_disk(settings.data_folder),
        ]
        try:
            async with _embedded(invocation, settings) as (found, embedded):
                checks += [found, *await _check_servers(embedded)]
        except OperatorError as error:
            checks.append(Check("embedded servers", "failed", str(error), "see what is said above"))
    return [*checks, await local.check_model(settings.model)]


async def _check_servers(settings: Settings) -> Sequence[Check]:
    found = [*await servers.check_nats(settings), *await servers.check_redis(settings)]
    return [*found, await servers.check_providers(settings), *await swarm.check_tasks(settings)]


@asynccontextmanager
async def _embedded(invocation: Invocation, settings: Settings) -> AsyncGenerator[tuple[Check, Settings]]:
    async with embedded_servers(settings.data_folder, durable=settings.embedded.durable) as instance:
        detail = "started, and stopped again after these checks" if instance.owned else "running"
        yield (
            Check("embedded servers", "ok", f"{detail}: {instance.folder.path}"),
            load(invocation.flags, connection=instance.connection).settings,
        )
