"""The `coordinator` command. A verb's module is imported when the verb is used, so that help is instant."""

import json
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from coordinator.invocation import common_options, take_common
from coordinator.output import message
from protocol.errors import SwarmError
from protocol.exits import Exit, as_json, exit_code, first_swarm_error, remedy

VERBS = {
    "run": "Ask a question of your files, and get a cited report.",
    "up": "Start servers, a coordinator and workers on this machine.",
    "serve": "Run a coordinator against given servers.",
    "submit": "Hand in a run, without waiting for it.",
    "runs": "List the runs.",
    "show": "Show a run: its state, budget, and result.",
    "watch": "Follow a run's events as they happen.",
    "cancel": "End a run or some of its tasks; what is under way is dropped.",
    "pause": "Let nothing new begin in a run; what runs may finish.",
    "resume": "Let a paused run go on.",
    "dead": "List a run's dead letters, with reason and traceback.",
    "retry": "Begin tasks again that ended without a result.",
    "fork": "Begin a run that shares another's history up to a point, with something changed.",
    "replay": "Run a run once more against its journals, with something changed.",
    "compare": "Set the outcomes of two runs side by side.",
    "verify": "Prove that a run's rows and artifacts are what its events have made.",
    "inquiries": "List what a run's tasks wait for.",
    "answer": "Answer a question of a run's task.",
    "signal": "Send a signal to the tasks that wait for it.",
    "artifacts": "List or print a run's artifacts.",
    "tasks": "List a run's tasks, and how they ended.",
    "unknowns": "List effects whose outcome was lost, or say what became of one.",
    "workers": "List the workers, and what they hold.",
    "providers": "List the providers that fail, or let calls of one through again.",
    "limits": "Show what is in use of the limits of agents and models.",
    "prices": "Show what models cost, and where each price comes from.",
    "frontier": "Show a run's directions, and why one was chosen.",
    "config": "Show every setting, and where its value came from.",
    "doctor": "Check servers, permissions, disk and model, with a fix for each failure.",
    "schema": "Print the JSON Schemas of the messages, or the AsyncAPI or OpenAPI document.",
}


class LazyGroup(click.Group):
    """Knows its verbs by name and one line; the module `coordinator.commands.<verb>` has the rest."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's own signature
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - likewise
        if cmd_name not in VERBS:
            return None
        return import_module(f"coordinator.commands.{cmd_name}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        ctx.obj = take_common(ctx.params)
        return super().invoke(ctx)


def _group() -> None:
    """Run a blackboard swarm: agents explore, a coordinator decides, nothing acknowledged is lost."""


group = LazyGroup(
    "coordinator", params=common_options(), callback=_group, help=_group.__doc__, no_args_is_help=True
)
click.version_option(package_name="swarmboard")(group)


def run(arguments: Sequence[str]) -> int:
    """Runs a command line and returns its exit code; errors that were foreseen are printed."""
    wants_json = "--json" in arguments
    try:
        result = group.main(args=list(arguments), prog_name="coordinator", standalone_mode=False)
        return int(result or Exit.OK)
    except click.ClickException as error:
        _print_click_error(error, wants_json)
        return Exit.USAGE
    except (click.Abort, KeyboardInterrupt):
        message("interrupted")
        return Exit.INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except (SwarmError, BaseExceptionGroup) as error:
        known = first_swarm_error(error)
        if known is None:
            raise
        print_error(known, wants_json)
        return exit_code(known)


def print_error(error: SwarmError, wants_json: bool) -> None:
    """On standard error: what is wrong and what to do about it."""
    if wants_json:
        message(json.dumps(as_json(error), ensure_ascii=False))
        return
    message(f"error: {error}")
    if hint := remedy(error):
        message(f"hint: {hint}")


def _print_click_error(error: click.ClickException, wants_json: bool) -> None:
    if wants_json:
        problem = {"error": "Usage", "message": error.format_message(), "remedy": "", "exit": int(Exit.USAGE)}
        message(json.dumps(problem, ensure_ascii=False))
    else:
        error.show()


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))
