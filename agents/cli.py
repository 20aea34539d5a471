"""The `worker` command: offers agents to the coordinators of a bus, and runs what they dispatch.

Settings and the worker itself are imported when they are needed, so that help is instant.
"""

import json
import sys
from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise
from typing import Any

import click

from protocol import logs
from protocol.errors import SwarmError
from protocol.exits import Exit, as_json, exit_code, first_swarm_error, remedy

LEVELS = {0: None, 1: "info"}


@click.command("worker", context_settings={"show_default": False})
@click.option(
    "--agents",
    multiple=True,
    metavar="WHAT",
    help="Agents to offer: module, module:attribute, or an entry point's name. May be repeated.",
)
@click.option(
    "--build", metavar="BUILD", help="Build of agents that declare none; else a digest of the source."
)
@click.option(
    "--compatible",
    multiple=True,
    metavar="BUILD",
    help="A build whose journals these agents go on from; * for all. May be repeated.",
)
@click.option("--concurrency", type=click.IntRange(min=1), help="Tasks at the same time.")
@click.option("--name", metavar="NAME", help="Name on the bus, one per worker.")
@click.option(
    "--nats-url", metavar="URL", help="The bus; by default that of embedded servers on this machine."
)
@click.option(
    "--nats-user", metavar="USER", help="User of the bus; its password is SWARMBOARD_NATS_PASSWORD."
)
@click.option("--data", metavar="FOLDER", help="Data folder of the embedded servers to join.")
@click.option("--log-format", type=click.Choice(["text", "json"]), help="Form of messages.")
@click.option("-v", "--verbose", count=True, help="Say more; twice for everything.")
@click.version_option(package_name="swarmboard")
def command(verbose: int, **flags: Any) -> int:  # noqa: ANN401 - click's own signature
    """Run a worker until it is told to drain (SIGTERM): it then finishes what it holds, and exits 0."""
    settings = (
        import_module("agents.settings")
        .load(
            {
                "worker.agents": flags["agents"],
                "worker.build": flags["build"],
                "worker.compatible": flags["compatible"],
                "worker.concurrency": flags["concurrency"],
                "worker.name": flags["name"],
                "nats.url": flags["nats_url"],
                "nats.user": flags["nats_user"],
                "data.folder": flags["data"],
                "log.format": flags["log_format"],
                "log.level": LEVELS.get(verbose, "debug"),
            }
        )
        .settings
    )
    logs.configure(settings.log.format, settings.log.level)
    run_worker = import_module("agents.worker").run_worker
    return import_module("protocol.running").run_async(run_worker, settings)


def run(arguments: Sequence[str]) -> int:
    """Runs a command line and returns its exit code; errors that were foreseen are printed."""
    try:
        return int(command.main(args=list(arguments), prog_name="worker", standalone_mode=False) or Exit.OK)
    except click.ClickException as error:
        error.show()
        return Exit.USAGE
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except (SwarmError, BaseExceptionGroup) as error:
        known = first_swarm_error(error)
        if known is None:
            raise
        click.echo(_text(known, arguments), err=True)
        return exit_code(known)


def _text(error: SwarmError, arguments: Sequence[str]) -> str:
    if "--log-format=json" in arguments or ("--log-format", "json") in pairwise(arguments):
        return json.dumps(as_json(error), ensure_ascii=False)
    return f"error: {error}" + (f"\nhint: {remedy(error)}" if remedy(error) else "")


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))
