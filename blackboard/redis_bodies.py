"""Bodies in Redis: written in chunks beside their final place, moved there once their digest was checked."""

import hashlib
from collections.abc import Sequence

from redis.asyncio.connection import AbstractConnection

from blackboard.bodies import check_body, check_chunk, wrong_digest
from blackboard.redis_keys import Keys
from blackboard.redis_link import RedisLink, exchange, execute
from blackboard.store import PutResult
from protocol.errors import NotFound
from protocol.messages import CHUNK_BYTES

CHECK_ATTEMPTS = 5
"""How often a body is read again because another writer touched it meanwhile."""


async def put(
    link: RedisLink, keys: Keys, digest: str, *, size_bytes: int, offset: int, chunk: bytes, ttl_ms: int
) -> PutResult:
    """Writes a chunk; the same chunk again changes nothing."""
    body, part = keys.body(digest), keys.part(digest)
    # GT never touches a persistent key, so that a named body stays.
    there, _, received = await link.many(
        "put", [("EXISTS", body), ("PEXPIRE", body, ttl_ms, "GT"), ("STRLEN", part)]
    )
    if there:
        return PutResult(size_bytes, complete=True)
    check_chunk(size_bytes=size_bytes, offset=offset, length=len(chunk), received_bytes=received)
    if len(chunk) == size_bytes:
        check_body(digest, chunk)
        await link.transaction("put", [("SET", body, chunk, "PX", ttl_ms, "NX"), ("DEL", part)])
        return PutResult(size_bytes, complete=True)
    received, _ = await link.transaction(
        "put", [("SETRANGE", part, offset, chunk), ("PEXPIRE", part, ttl_ms)]
    )
    if received < size_bytes:
        return PutResult(received, complete=False)
    await _complete(link, body, part, digest)
    return PutResult(size_bytes, complete=True)


async def _complete(link: RedisLink, body: str, part: str, digest: str) -> None:
    """Moves a body to its place, if it has its digest; another writer's move will do as well."""
    for _ in range(CHECK_ATTEMPTS):
        async with link.connection("put") as connection:
            _, there = await exchange(connection, [("WATCH", part, body), ("EXISTS", body)])
            actual = digest if there else await _digest(connection, part)
            keep = actual == digest and not there
            if await execute(connection, [("RENAME", part, body) if keep else ("DEL", part)]):
                if actual == digest:
                    return
                raise wrong_digest(digest, actual)
    raise wrong_digest(digest, "other bytes with every try")


async def _digest(connection: AbstractConnection, key: str) -> str:
    digest = hashlib.sha256()
    at = 0
    while True:
        (piece,) = await exchange(connection, [("GETRANGE", key, at, at + CHUNK_BYTES - 1)])
        digest.update(piece)
        at += len(piece)
        if len(piece) < CHUNK_BYTES:
            return digest.hexdigest()


async def keep(link: RedisLink, keys: Keys, digests: Sequence[str]) -> None:
    """:raises NotFound: when there is no whole body under one of the digests."""
    for digest in digests:
        body = keys.body(digest)
        there, _, _ = await link.transaction(
            "keep", [("EXISTS", body), ("PERSIST", body), ("HSETNX", keys.bodies, digest, 0)]
        )
        if not there:
            raise NotFound("body", digest)


async def get(link: RedisLink, keys: Keys, digest: str, *, offset: int, limit: int) -> tuple[bytes, int]:
    """:raises NotFound: when there is no whole body under the digest."""
    body = keys.body(digest)
    there, size, data = await link.transaction(
        "get", [("EXISTS", body), ("STRLEN", body), ("GETRANGE", body, offset, offset + limit - 1)]
    )
    if not there:
        raise NotFound("body", digest)
    return data, size
