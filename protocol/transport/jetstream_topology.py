"""Streams and consumers as they must be: created, read back, compared, mended.

Talks to the JetStream API directly, so that a field which an old server ignores is noticed.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from protocol.errors import TransportUnavailable
from protocol.transport.contract import ConsumerSpec, Drift, StreamSpec

Json = dict[str, Any]
Request = Callable[[str, bytes], Awaitable[bytes]]

NOT_FOUND = 404
MAX_WAITING_PULLS = 16_384
"""Pulls that may wait on one durable: a few for each slot-keeping worker of a large fleet."""


class Topology:
    """The JetStream API, as far as it concerns streams and durables."""

    def __init__(self, request: Request) -> None:
        self._request = request

    async def ensure_stream(self, spec: StreamSpec) -> Drift | None:
        wanted = _stream_config(spec)
        info = await self.call(f"STREAM.INFO.{spec.name}", missing_ok=True)
        if info is None:
            created = await self._stream("CREATE", wanted)
            _check_applied(spec.name, wanted, created)
            return Drift(spec.name, "missing", "created")
        found = _difference(wanted, info["config"])
        if not found:
            return None
        remedy = "updated"
        try:
            applied = await self._stream("UPDATE", info["config"] | wanted)
        except TransportUnavailable:
            remedy = "recreated"
            await self.call(f"STREAM.DELETE.{spec.name}", missing_ok=True)
            applied = await self._stream("CREATE", wanted)
        _check_applied(spec.name, wanted, applied)
        return Drift(spec.name, found, remedy)

    async def ensure_consumer(self, spec: ConsumerSpec) -> Drift | None:
        wanted = _consumer_config(spec)
        name = f"{spec.stream}/{spec.durable}"
        # The consumer is read before the stream, so that messages which come in between can't make it
        # look as if it were ahead.
        info = await self.call(f"CONSUMER.INFO.{spec.stream}.{spec.durable}", missing_ok=True)
        if info is None:
            await self._create_consumer(spec, wanted)
            return Drift(name, "missing", "created")
        stream = await self._call_found(f"STREAM.INFO.{spec.stream}")
        delivered, last = info["delivered"]["stream_seq"], stream["state"]["last_seq"]
        if delivered > last:
            await self._recreate_consumer(spec, wanted)
            return Drift(name, f"ahead of its stream: {delivered} > {last}", "recreated")
        found = _difference(wanted, info["config"])
        if not found:
            return None
        try:
            await self._create_consumer(spec, wanted)
        except TransportUnavailable:
            await self._recreate_consumer(spec, wanted)
            return Drift(name, found, "recreated")
        return Drift(name, found, "updated")

    async def delete_consumer(self, stream: str, durable: str) -> None:
        await self.call(f"CONSUMER.DELETE.{stream}.{durable}", missing_ok=True)

    async def pending(self, stream: str, durable: str) -> int:
        info = await self._call_found(f"CONSUMER.INFO.{stream}.{durable}")
        return info["num_pending"] + info["num_ack_pending"]

    async def subjects(self, stream: str) -> Sequence[str]:
        """The subjects that hold a message, in order of their names."""
        found: list[str] = []
        while True:
            page = await self._call_found(
                f"STREAM.INFO.{stream}", {"subjects_filter": ">", "offset": len(found)}
            )
            names: Json = page["state"].get("subjects") or {}
            found += names
            if not names or len(found) >= page.get("total", 0):
                return sorted(found)

    async def call(self, method: str, body: Json | None = None, *, missing_ok: bool = False) -> Json | None:
        """:raises TransportUnavailable: with the server's own words when it refuses.

        Answers None for what does not exist, where that is `missing_ok`.
        """
        reply: Json = json.loads(
            await self._request(f"$JS.API.{method}", json.dumps(body).encode() if body is not None else b"")
        )
        error: Json | None = reply.get("error")
        if error is None:
            return reply
        if missing_ok and error.get("code") == NOT_FOUND:
            return None
        raise TransportUnavailable(method, str(error.get("description", error)))

    async def _call_found(self, method: str, body: Json | None = None) -> Json:
        reply = await self.call(method, body)
        if reply is None:
            raise TransportUnavailable(method, "not found")
        return reply

    async def _stream(self, verb: str, config: Json) -> Json:
        return (await self._call_found(f"STREAM.{verb}.{config['name']}", config))["config"]

    async def _create_consumer(self, spec: ConsumerSpec, wanted: Json) -> None:
        created = await self._call_found(
            f"CONSUMER.DURABLE.CREATE.{spec.stream}.{spec.durable}",
            {"stream_name": spec.stream, "config": wanted},
        )
        _check_applied(f"{spec.stream}/{spec.durable}", wanted, created["config"])

    async def _recreate_consumer(self, spec: ConsumerSpec, wanted: Json) -> None:
        await self.delete_consumer(spec.stream, spec.durable)
        await self._create_consumer(spec, wanted)


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)


def _stream_config(spec: StreamSpec) -> Json:
    window = spec.duplicate_window_seconds
    if spec.max_age_seconds:
        window = min(window, spec.max_age_seconds)
    return {
        "name": spec.name,
        "subjects": list(spec.subjects),
        "retention": spec.retention,
        "storage": spec.storage,
        "max_age": _nanoseconds(spec.max_age_seconds),
        "max_bytes": spec.max_bytes,
        "max_msgs_per_subject": spec.max_msgs_per_subject,
        "duplicate_window": _nanoseconds(window),
        "discard": "old",
        "allow_direct": True,
    }


def _consumer_config(spec: ConsumerSpec) -> Json:
    return {
        "durable_name": spec.durable,
        "filter_subject": spec.filter_subject,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": _nanoseconds(spec.ack_wait_seconds),
        "max_deliver": -1,
        "max_ack_pending": -1,
        "max_waiting": MAX_WAITING_PULLS,
    }


def _difference(wanted: Json, actual: Json) -> str:
    return ", ".join(
        f"{field}={actual.get(field)!r} instead of {value!r}"
        for field, value in wanted.items()
        if actual.get(field) != value
    )


def _check_applied(name: str, wanted: Json, actual: Json) -> None:
    """:raises TransportUnavailable: when the server took a setting and did not keep it."""
    ignored = _difference(wanted, actual)
    if ignored:
        raise TransportUnavailable(f"setting up {name}", f"the server keeps {ignored}; a newer one is needed")
