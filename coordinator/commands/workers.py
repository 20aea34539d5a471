"""`coordinator workers`: who works, by the last heartbeat of each."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from coordinator import connections
from coordinator.commands.shared import lasting, now_ms, plain, prepare
from coordinator.invocation import Invocation, Verb, pass_invocation
from coordinator.output import emit_json, emit_table, message
from coordinator.settings import Settings
from protocol import subjects
from protocol.codec import decode_as
from protocol.errors import InvalidMessage
from protocol.messages import SwarmHeartbeat
from protocol.running import run_async
from protocol.transport.contract import Message


@click.command("workers", cls=Verb)
@pass_invocation
def command(invocation: Invocation) -> None:
    """List the workers by their last heartbeats, which are kept as long as the silence limit."""
    run_async(_list, invocation, prepare(invocation).settings)


async def _list(invocation: Invocation, settings: Settings) -> None:
    async with connections.transport(settings, name="operator") as transport:
        messages = await transport.last_per_subject(subjects.HEARTBEATS_STREAM)
    beats = [beat for beat in map(_beat, messages) if beat is not None]
    now = now_ms()
    limit = settings.liveness.silence_seconds
    shown = [_as_json(beat, (now - beat.sent_ms) / 1000, limit) for beat in beats]
    if invocation.json:
        emit_json(shown)
    elif not shown:
        message("there are no workers; start one with: worker --agents agents.research")
    else:
        columns = (
            "worker",
            "status",
            "agents",
            "slots",
            "held",
            "beat",
            "completed",
            "failed",
            "version",
            "builds",
        )
        emit_table(columns, [_row(worker) for worker in shown])


def _beat(stored: Message) -> SwarmHeartbeat | None:
    try:
        return decode_as(stored.data, SwarmHeartbeat)
    except InvalidMessage as error:
        message(f"warning: the heartbeat on {stored.subject} cannot be read: {error}")
        return None


def _as_json(beat: SwarmHeartbeat, age: float, limit: float) -> Mapping[str, Any]:
    status = "silent" if age >= limit else beat.status
    return {**plain(beat), "status": status, "age_seconds": round(max(0.0, age), 3)}


def _row(worker: Mapping[str, Any]) -> Sequence[object]:
    running = sum(lease["state"] == "running" for lease in worker["held"])
    waiting = len(worker["held"]) - running
    return (
        worker["worker"],
        worker["status"],
        ", ".join(worker["agents"]),
        worker["slots"],
        f"{running}, and {waiting} finished" if waiting else running,
        f"{lasting(worker['age_seconds'])} ago",
        worker["completed"],
        worker["failed"],
        worker["version"],
        ", ".join(dict.fromkeys(told[0] for told in worker["builds"].values())),
    )
