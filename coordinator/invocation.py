"""What every verb shares: the common options, and how a verb takes them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import click


@dataclass(frozen=True, slots=True)
class Invocation:
    """The common options, as given before the verb or after it."""

    json: bool = False
    verbosity: int = 0
    flags: Mapping[str, object] = field(default_factory=dict[str, object])
    """Options by dotted name, for `coordinator.settings.load`; None where a flag was not given."""

    def merged(self, later: "Invocation") -> "Invocation":
        """What was given after the verb wins."""
        given = {name: value for name, value in later.flags.items() if value is not None}
        return Invocation(self.json or later.json, self.verbosity + later.verbosity, {**self.flags, **given})


pass_invocation = click.make_pass_decorator(Invocation)


def common_options() -> list[click.Parameter]:
    """Fresh option objects: the same for the group and for every verb."""
    return [
        click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON object, errors included."),
        click.Option(["--data"], metavar="FOLDER", help="Data folder of the embedded servers."),
        click.Option(["--nats-url"], metavar="URL", help="Use this NATS server."),
        click.Option(["--redis-url"], metavar="URL", help="Use this Redis server."),
        click.Option(["--log-format"], type=click.Choice(["text", "json"]), help="Form of messages."),
        click.Option(["-v", "--verbose"], count=True, help="Say more; twice for everything."),
    ]


def take_common(values: dict[str, Any]) -> Invocation:
    """Takes the common options out of a command's parameters."""
    verbosity: int = values.pop("verbose")
    flags = {
        "data.folder": values.pop("data"),
        "nats.url": values.pop("nats_url"),
        "redis.url": values.pop("redis_url"),
        "log.format": values.pop("log_format"),
        "log.level": {0: None, 1: "info"}.get(verbosity, "debug"),
    }
    return Invocation(values.pop("as_json"), verbosity, flags)


class Verb(click.Command):
    """A subcommand: it takes the common options too, and finds them in its Invocation.

    Its function returns an `Exit`, or None for success.
    """

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - click's own signature
        super().__init__(*args, **options)
        self.params.extend(common_options())

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        ctx.obj = (ctx.obj or Invocation()).merged(take_common(ctx.params))
        return super().invoke(ctx)
