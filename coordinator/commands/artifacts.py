"""`coordinator artifacts`: what a run found."""

import json
import sys
from collections.abc import Mapping, Sequence

import click
from pydantic import ValidationError

from coordinator.commands.shared import ago, now_ms, plain, stored
from coordinator.invocation import Invocation, Verb, pass_invocation
from coordinator.output import emit_json, emit_table, message
from coordinator.records import LATEST, operator_query
from protocol.artifacts import Artifact, canonical_json
from protocol.errors import InvalidSettings
from protocol.messages import QueryRequest
from protocol.running import run_async

TEXT_WIDTH = 60


@click.command("artifacts", cls=Verb)
@click.argument("run", default=LATEST)
@click.argument("artifact", required=False)
@click.option("--type", "type_name", metavar="TYPE", help="Only artifacts of this type.")
@click.option("--tag", metavar="TAG", help="Only those with this tag.")
@click.option("--producer", metavar="AGENT", help="Only those of this agent.")
@click.option("--text", metavar="WORDS", help="Only those whose text has all of these words.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@click.option("--body", is_flag=True, help="Write the content of one ARTIFACT as it is, and nothing else.")
@pass_invocation
def command(
    invocation: Invocation, run: str, artifact: str | None, limit: int, body: bool, **filters: str | None
) -> None:
    """List a RUN's artifacts, newest first, or print one ARTIFACT with its content."""
    if artifact is None and body:
        raise InvalidSettings("--body", "is of one artifact", "name it after the run")
    if artifact is not None:
        run_async(_print, invocation, run, artifact, body)
    else:
        run_async(_list, invocation, run, _query(filters), limit)


def _query(filters: Mapping[str, str | None]) -> QueryRequest:
    try:
        return operator_query(
            type=filters["type_name"],
            tag=filters["tag"],
            producer=filters["producer"],
            text=filters["text"],
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InvalidSettings(f"--{first['loc'][0]}", str(first["msg"]), "correct it") from None


async def _list(invocation: Invocation, prefix: str, query: QueryRequest, limit: int) -> None:
    found: list[Artifact] = []
    async with stored(invocation) as records:
        run = await records.find(prefix)
        async for artifact in records.artifacts(run, query, now_ms=now_ms()):
            found.append(artifact)
            if len(found) > limit:
                break
        total = (await records.totals(run)).artifacts
    shown = found[:limit]
    if invocation.json:
        emit_json([plain(artifact) for artifact in shown])
    elif shown:
        emit_table(("id", "type", "producer", "age", "text"), [_row(artifact) for artifact in shown])
    if len(found) > limit:
        message(f"these are the newest {limit}; see more with --limit")
    elif not found and total:
        message(f"none of the {total:,} artifacts of run {run} is like that")
    elif not found:
        message(f"run {run} has no artifacts yet; follow it with: coordinator watch {run}")


def _row(artifact: Artifact) -> tuple[str, ...]:
    text = " ".join((artifact.text or canonical_json(artifact.payload).decode()).split())
    shown = text if len(text) <= TEXT_WIDTH else text[: TEXT_WIDTH - 1] + "…"
    return artifact.id, artifact.type, artifact.producer.agent, ago(artifact.created_ms), shown


async def _print(invocation: Invocation, prefix: str, identity: str, body: bool) -> None:
    async with stored(invocation) as records:
        run = await records.find(prefix)
        artifact = await records.artifact(run, identity, now_ms=now_ms())
        if body:
            sys.stdout.buffer.write(await records.body(run, artifact))
            sys.stdout.buffer.flush()
            return
        payload = await records.payload(run, artifact)
    if invocation.json:
        emit_json({**plain(artifact), "payload": payload})
        return
    for name, text in _lines(artifact):
        if text:
            click.echo(f"{name + ':':<12} {text}")
    click.echo(f"\n{json.dumps(payload, ensure_ascii=False, indent=2)}")


def _lines(artifact: Artifact) -> Sequence[tuple[str, str]]:
    producer = artifact.producer
    return (
        ("artifact", artifact.id),
        ("type", f"{artifact.type} version {artifact.version}"),
        ("producer", f"{producer.agent}, task {producer.task}, attempt {producer.attempt}"),
        ("direction", artifact.direction),
        ("created", f"{ago(artifact.created_ms)} ago, as number {artifact.number} of the run"),
        ("parents", ", ".join(artifact.parents)),
        ("tags", ", ".join(artifact.tags)),
        ("visible to", ", ".join(artifact.visibility)),
        ("correlation", artifact.correlation or ""),
        ("sha-256", artifact.digest),
    )
