"""The append on its way to Redis: the batch packed for `append.lua`, and what the script answers."""

import hashlib
from collections.abc import Sequence
from importlib.resources import files

from redis.exceptions import NoScriptError

from blackboard.encoding import FORMAT
from blackboard.redis_link import RedisLink, Reply, read_reply
from blackboard.store import ArtifactWrite, Batch, LogEntry, RowKind, RowWrite
from protocol.errors import ArtifactConflict, HeadMismatch, NotFound, StaleLeader

SCRIPT = files("blackboard").joinpath("append.lua").read_bytes()
SHA = hashlib.sha1(SCRIPT, usedforsecurity=False).hexdigest().encode()


async def append(link: RedisLink, root: str, batch: Batch, ttl_seconds: float) -> int:
    """Runs the script, loading it when the server does not know it (then nothing was done)."""
    packed = pack_append(root, batch, ttl_seconds)
    operation = f"append to run {batch.run}"
    async with link.connection(operation) as connection:
        await connection.send_packed_command(packed)
        try:
            reply = await read_reply(connection)
        except NoScriptError:
            await connection.send_command("SCRIPT", "LOAD", SCRIPT)
            await read_reply(connection)
            await connection.send_packed_command(packed)
            reply = await read_reply(connection)
    if isinstance(reply, int):
        return reply
    raise refusal(batch, reply)


def refusal(batch: Batch, reply: Reply) -> Exception:
    match reply:
        case [b"head", int(actual)]:
            return HeadMismatch(batch.run, batch.head, actual)
        case [b"conflict", bytes(artifact)]:
            return ArtifactConflict(artifact.decode())
        case [b"body", bytes(digest)]:
            return NotFound("body", digest.decode())
        case _:
            return StaleLeader(batch.run)


def pack_append(root: str, batch: Batch, ttl_seconds: float) -> bytes:
    """The whole EVALSHA in the Redis protocol; its arguments are documented in the script."""
    args: list[bytes] = [
        b"EVALSHA",
        SHA,
        b"1",
        root.encode(),
        batch.token.encode(),
        b"%d" % batch.head,
        b"%d" % len(batch.events),
        batch.digest().encode(),
        b"%d" % max(1, round(ttl_seconds * 1000)),
        b"%d" % FORMAT,
        frame(batch.events),
        b"%d" % batch.trim,
    ]
    add_rows(args, batch.rows)
    add_drops(args, batch.dropped)
    args.append(b"%d" % len(batch.artifacts))
    for artifact in batch.artifacts:
        add_artifact(args, artifact)
    args.append(b"%d" % len(batch.bodies))
    args += [body.encode() for body in batch.bodies]
    args += (b"%d" % round(batch.orphan_seconds * 1000), b"%d" % len(batch.released))
    args += [body.encode() for body in batch.released]
    return b"*%d\r\n" % len(args) + b"".join([b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in args])


def add_rows(args: list[bytes], rows: Sequence[RowWrite]) -> None:
    kinds: dict[str, list[bytes]] = {}
    for row in rows:
        fields = kinds.get(row.kind)
        if fields is None:
            fields = kinds[row.kind] = []
        fields.append(row.key.encode())
        fields.append(row.value)
    args.append(b"%d" % len(kinds))
    for kind, fields in kinds.items():
        args += (kind.encode(), b"%d" % len(fields))
        args += fields


def add_drops(args: list[bytes], dropped: Sequence[tuple[RowKind, str]]) -> None:
    kinds: dict[str, list[bytes]] = {}
    for kind, key in dropped:
        kinds.setdefault(kind, []).append(key.encode())
    args.append(b"%d" % len(kinds))
    for kind, keys in kinds.items():
        args += (kind.encode(), b"%d" % len(keys))
        args += keys


def add_artifact(args: list[bytes], artifact: ArtifactWrite) -> None:
    digest = artifact.digest.encode()
    args += (
        artifact.id.encode(),
        b"%012d" % artifact.number,
        digest,
        b"%d" % artifact.created_ms,
        b"" if artifact.body is None else artifact.body.encode(),
        b"%b\n%b" % (digest, artifact.value),
        b"%d" % len(artifact.terms),
    )
    args += [term.encode() for term in artifact.terms]


def stored_value(stored: bytes) -> bytes:
    """An artifact's value without the digest before it."""
    return stored[stored.index(b"\n") + 1 :]


def frame(events: Sequence[bytes]) -> bytes:
    """Events as one value: their lengths, a line feed, the events end to end."""
    return b",".join([b"%d" % len(event) for event in events]) + b"\n" + b"".join(events)


def unframe(last: int, framed: bytes) -> list[LogEntry]:
    """The events of the group that ends at position `last`."""
    header, _, _ = framed.partition(b"\n")
    lengths = [int(length) for length in header.split(b",")]
    position, at = last - len(lengths), len(header) + 1
    entries: list[LogEntry] = []
    for length in lengths:
        position += 1
        entries.append(LogEntry(position, framed[at : at + length]))
        at += length
    return entries
