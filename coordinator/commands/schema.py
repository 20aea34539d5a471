"""`coordinator schema`: the published description of the protocol."""

import json
from importlib import import_module

import click

from coordinator.invocation import Invocation, Verb, pass_invocation
from protocol.codec import MODELS
from protocol.errors import NotFound
from protocol.schemas import asyncapi, json_schema


@click.command("schema", cls=Verb)
@click.argument("name", default="messages")
@pass_invocation
def command(invocation: Invocation, name: str) -> None:
    """Print the JSON Schema of all messages, or what NAME says: `asyncapi` for the AsyncAPI 3 document,
    `openapi` for that of the HTTP API, or a message such as `swarm.task` for the schema of its body.
    """
    if name == "messages":
        document = json_schema()
    elif name == "asyncapi":
        document = asyncapi()
    elif name == "openapi":
        document = import_module("coordinator.web.openapi").document()
    elif name in MODELS:
        document = MODELS[name].model_json_schema()
    else:
        raise NotFound("schema", name)
    click.echo(json.dumps(document, ensure_ascii=False, indent=None if invocation.json else 2))
