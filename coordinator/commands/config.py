"""`coordinator config`: every setting, its value, and where the value came from."""

import click

from coordinator.invocation import Invocation, Verb, pass_invocation
from coordinator.output import emit_json, emit_table
from coordinator.settings import load
from protocol.settings import environment_name


@click.command("config", cls=Verb)
@pass_invocation
def command(invocation: Invocation) -> None:
    """Show every setting, its value, and where the value came from (with -v also what it means).

    Flags win over SWARMBOARD_* variables, then come swarmboard.toml or [tool.swarmboard] in
    pyproject.toml of this folder, the user's swarmboard/config.toml, the running embedded servers,
    and the defaults. Secrets are shown as ***.
    """
    rows = load(invocation.flags).describe()
    if invocation.json:
        emit_json(
            {
                row.name: {
                    "value": row.value,
                    "source": row.source,
                    "environment": environment_name(row.name),
                    "meaning": row.meaning,
                }
                for row in rows
            }
        )
    elif invocation.verbosity:
        emit_table(
            ("setting", "value", "source", "meaning"),
            [(row.name, row.value, row.source, row.meaning) for row in rows],
        )
    else:
        emit_table(("setting", "value", "source"), [(row.name, row.value, row.source) for row in rows])
