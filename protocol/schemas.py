"""The published description of the protocol: JSON Schemas of all messages and an AsyncAPI 3.0 document.

Generated from the models and the subjects, committed under docs/schemas, and checked for drift:

    python -m protocol.schemas --write
    python -m protocol.schemas --check
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic.json_schema import models_json_schema

from protocol import subjects
from protocol.codec import ENVELOPES, MESSAGE_BYTES, MODELS, VERSION

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "schemas"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Channel:
    """A subject, seen from the coordinator: what it sends there or receives, and what it answers."""

    name: str
    address: str
    action: Literal["send", "receive"]
    messages: tuple[str, ...]
    description: str
    stream: str = ""
    reply: str = ""


BOARD_VERBS = {
    "claim": "Asks for the lease on dispatched tasks; grants bring all that is needed to run them.",
    "record": "Adds steps to the journal of a held task.",
    "steps": "Reads the journal of a held task on from a step.",
    "put": "Writes one chunk of a body, by digest.",
    "get": "Reads artifacts by id, or one chunk of a body by digest.",
    "query": "Finds artifacts that an agent may see, newest first.",
    "provider": "How a call of a provider went, or a request to probe it while its breaker is open.",
    "permits": "What a worker holds and wants of the limits of models.",
    "cancel": "An operator's request to end a run.",
    "pause": "An operator's request that nothing new begins in a run, or that it goes on.",
    "retry": "An operator's request to begin tasks again that ended without a result.",
    "answer": "Answers an open inquiry, so that the task that waits for it goes on.",
}

CHANNELS = (
    Channel(
        "tasks",
        subjects.tasks("{agent}"),
        "send",
        ("swarm.task",),
        "Dispatches for one of the workers that offer the agent. Acknowledge once the claim is answered.",
        subjects.TASKS_STREAM,
    ),
    Channel(
        "discoveries",
        subjects.discoveries("{worker}", "{run}"),
        "receive",
        ("swarm.discovery", "swarm.discoveries"),
        "Results of tasks, alone or several together. Published again until the receipt comes by control.",
        subjects.DISCOVERIES_STREAM,
    ),
    Channel(
        "heartbeat",
        subjects.heartbeat("{worker}"),
        "receive",
        ("swarm.heartbeat",),
        "The pulse of a worker, at least every 30 s; 90 s of silence lose its tasks.",
        subjects.HEARTBEATS_STREAM,
    ),
    Channel(
        "inquiry",
        subjects.inquiry("{target}"),
        "send",
        ("swarm.inquiry",),
        "The bell for an open inquiry: to an agent, to a person (`human`), or for a signal.",
        subjects.INQUIRIES_STREAM,
    ),
    Channel(
        "response",
        subjects.response("{asker}"),
        "receive",
        ("swarm.response",),
        "Answers to inquiries. Anybody may publish one; the leader publishes those that it has recorded.",
        subjects.INQUIRIES_STREAM,
    ),
    *(
        Channel(
            f"board_{verb}",
            subjects.board("{run}", "{worker}", verb),
            "receive",
            (f"board.{verb}",),
            description,
            reply=f"board.{verb}.reply",
        )
        for verb, description in BOARD_VERBS.items()
    ),
    Channel(
        "control",
        subjects.control("{worker}"),
        "send",
        ("swarm.control",),
        "Receipts of discoveries, leases to drop, and orders; never stored.",
    ),
    Channel(
        "dead",
        subjects.DEAD,
        "send",
        ("swarm.dead",),
        "Tasks that will not be tried again, for the operator.",
        subjects.DEAD_STREAM,
    ),
    Channel(
        "demand",
        subjects.DEMAND,
        "send",
        ("swarm.demand",),
        "What a run could use, told by its leader to the other coordinators every second.",
    ),
    Channel(
        "breakers",
        subjects.BREAKERS,
        "send",
        ("swarm.breakers",),
        "Circuit breakers of the providers, whenever one changes, and each second while one is not quiet.",
    ),
    Channel(
        "runs",
        subjects.RUNS,
        "send",
        (),
        "A bell with an empty payload: there is a new run; the store's list of runs is the truth.",
    ),
    *(
        Channel(
            f"{root.removeprefix('swarm.')}_root",
            root,
            "receive",
            (message,),
            "The bare root, for workers that know nothing else: forwarded to the subject it belongs to.",
        )
        for root, message in zip(
            subjects.ROOTS,
            ("swarm.task", "swarm.discovery", "swarm.heartbeat", "swarm.inquiry", "swarm.response"),
            strict=True,
        )
    ),
)

PARAMETERS = {
    "agent": "Name of an agent.",
    "worker": "Name of a worker.",
    "run": "Id of a run.",
    "target": "Name of an agent, `human`, or the name of a signal.",
    "asker": "Name of the agent that asked.",
}

DESCRIPTION = (
    "Subjects and messages of swarmboard, seen from the coordinator: a worker does the reverse. "
    "Delivery is at least once and in any order; every publish into a stream carries `Nats-Msg-Id`. "
    "Unknown fields are ignored and unknown major versions refused. "
    f"No message exceeds {MESSAGE_BYTES:,} bytes."
)


def json_schema() -> Json:
    """One schema that every message fits exactly one branch of, chosen by `type`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A message of swarmboard",
        "version": VERSION,
        "oneOf": [{"$ref": f"#/$defs/{_envelope(name)}"} for name in MODELS],
        "$defs": _definitions("#/$defs/{model}"),
    }


def asyncapi() -> Json:
    """An AsyncAPI 3.0 document with every subject as a channel."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "swarmboard",
            "version": f"{VERSION}.0",
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {channel.name: _channel(channel) for channel in CHANNELS} | {"replies": _replies()},
        "operations": {f"{channel.action}_{channel.name}": _operation(channel) for channel in CHANNELS},
        "components": {
            "messages": {name: _message(name) for name in MODELS} | {"bell": _bell()},
            "schemas": _definitions("#/components/schemas/{model}"),
        },
    }


def _definitions(template: str) -> Json:
    wanted = [(envelope, "validation") for envelope in map(ENVELOPES.__getitem__, MODELS)]
    _, schema = models_json_schema(wanted, ref_template=template)  # pyright: ignore[reportArgumentType]
    definitions: Json = json.loads(
        re.sub(r"\bEnvelope_(\w+?)_\b", r"\1Envelope", json.dumps(schema["$defs"]))
    )
    for name in MODELS:
        definition = definitions[_envelope(name)]
        definition["title"] = _envelope(name)
        definition["description"] = f"The envelope of {name}."
        definition["properties"]["type"] = {"const": name, "title": "Type", "type": "string"}
    return definitions


def _envelope(name: str) -> str:
    return f"{MODELS[name].__name__}Envelope"


def _channel(channel: Channel) -> Json:
    names = re.findall(r"\{(\w+)\}", channel.address)
    carried = f" Carried by the stream {channel.stream}." if channel.stream else ""
    document: Json = {
        "address": channel.address,
        "description": channel.description + carried,
        "messages": {
            name: {"$ref": f"#/components/messages/{name}"} for name in channel.messages or ("bell",)
        },
    }
    if names:
        document["parameters"] = {name: {"description": PARAMETERS[name]} for name in names}
    return document


def _replies() -> Json:
    names = [*(channel.reply for channel in CHANNELS if channel.reply), "error"]
    return {
        "address": None,
        "description": "The reply subject that a request names.",
        "messages": _references(names),
    }


def _references(names: Sequence[str]) -> Json:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in names}


def _operation(channel: Channel) -> Json:
    document: Json = {
        "action": channel.action,
        "channel": {"$ref": f"#/channels/{channel.name}"},
        "summary": channel.description,
        "messages": [
            {"$ref": f"#/channels/{channel.name}/messages/{name}"} for name in channel.messages or ("bell",)
        ],
    }
    if channel.reply:
        document["reply"] = {
            "channel": {"$ref": "#/channels/replies"},
            "messages": [
                {"$ref": f"#/channels/replies/messages/{name}"} for name in (channel.reply, "error")
            ],
        }
    return document


def _message(name: str) -> Json:
    return {
        "name": name,
        "title": MODELS[name].__name__,
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{_envelope(name)}"},
    }


def _bell() -> Json:
    return {"name": "bell", "title": "Bell", "payload": {"type": "null"}}


def documents() -> Iterator[tuple[Path, str]]:
    """Every published file with the text that it must have."""
    for name, document in (("swarmboard.schema.json", json_schema()), ("asyncapi.json", asyncapi())):
        yield FOLDER / name, json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m protocol.schemas", description=__doc__)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true", help="write the files")
    action.add_argument("--check", action="store_true", help="fail if a file is not what it must be")
    if parser.parse_args(arguments).write:
        FOLDER.mkdir(parents=True, exist_ok=True)
        for path, text in documents():
            path.write_text(text, encoding="utf-8")
        return 0
    stale = [
        path for path, text in documents() if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        sys.stderr.write(f"docs/schemas/{path.name} is stale: run python -m protocol.schemas --write\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
