"""Workers and coordinators that are forked from a warm process, and may be told at which point to die."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import agents.dspy_lm
from blackboard.redis import RedisStore
from blackboard.store import Batch
from protocol.transport.jetstream import JetStreamTransport
from protocol.transport.jetstream_messages import CoreMessage, StreamDelivery
from tests.crash.labels import around, around_sync
from tests.support import forked

ROOT = Path(__file__).parents[2]


def start(command: Sequence[str], environ: Mapping[str, str], log: Path) -> forked.Forked:
    """A process of its own, as the console script would be."""
    environment = {**os.environ, **environ, "PYTHONPATH": str(ROOT)}
    streams = forked.Streams(log, log)
    return forked.start(
        command, folder=log.parent, environment=environment, streams=streams, first=_make_points
    )


def _make_points() -> None:
    """Every call of the store and of the bus that belongs to a run; beats and elections come as they like."""
    around(JetStreamTransport, "request", lambda _, subject, *__, **___: f"request.{_verb(subject)}")
    around(JetStreamTransport, "publish", lambda _, subject, *__, **___: f"publish.{_kind(subject)}")
    around_sync(JetStreamTransport, "publish_all", lambda *_, **__: "publish.tasks")
    around_sync(JetStreamTransport, "emit", _emitted)
    around_sync(CoreMessage, "reply", lambda message, *_: f"reply.{_verb(message.subject)}")
    around_sync(StreamDelivery, "ack", lambda delivery: f"ack.{_kind(delivery.subject)}")
    around(RedisStore, "append", _appended)
    for method in ("load", "rows", "put", "keep", "can_sync", "sync", "artifacts"):
        around(RedisStore, method, lambda *_, what=method, **__: f"store.{what}")
    around(agents.dspy_lm, "aexecute", lambda *_: "model")


def _kind(subject: str) -> str:
    return subject.split(".")[1]


def _verb(subject: str) -> str:
    return subject.rsplit(".", 1)[-1]


def _emitted(_: Any, subject: str, data: bytes, *__: Any) -> str | None:
    if _kind(subject) == "discoveries":
        return "emit.discoveries"
    return "emit.receipts" if _kind(subject) == "control" and b'"settled"' in data else None


def _appended(_: Any, batch: Batch, **__: Any) -> str | None:
    return "store.append" if batch.events else None
