"""Queries over the indexes in Redis, at a bounded cost per page."""

from collections.abc import Sequence

from blackboard.encoding import decode_artifact
from blackboard.queries import matches, query_terms
from blackboard.redis_append import stored_value
from blackboard.redis_keys import Keys
from blackboard.redis_link import Command, RedisLink
from blackboard.store import Page
from protocol.messages import QueryRequest

SCAN_LIMIT = 1_000
"""Index entries that one page may cost. A page that reaches it ends early, and its cursor pages on."""
MAX_TERMS = 12
"""Terms looked up in the index; the rest of a long text is checked on the artifacts themselves."""
NO_NUMBER = 2**53


async def query(link: RedisLink, keys: Keys, query: QueryRequest, now_ms: int) -> Page:
    """Reads the shortest index of the query newest first, sieves by the others, then by the artifacts."""
    lowest, below = await _numbers(link, keys, query)
    driver, others = await _plan(link, keys, query_terms(query)[:MAX_TERMS])
    found: list[bytes] = []
    scanned = 0
    while lowest < below and scanned < SCAN_LIMIT:
        step = min(max(query.limit + 1, scanned), SCAN_LIMIT - scanned)
        entries = await _entries(link, driver, lowest, below, step)
        scanned += len(entries)
        for number, value in await _values(link, keys, others, entries):
            if not matches(decode_artifact(value), query, now_ms):
                continue
            found.append(value)
            if len(found) == query.limit:
                is_last = len(entries) < step and number == entries[-1][1]
                return Page(found, None if is_last else number)
        if len(entries) < step:
            return Page(found, None)
        below = entries[-1][1]
    return Page(found, below if lowest < below else None)


async def _numbers(link: RedisLink, keys: Keys, query: QueryRequest) -> tuple[int, int]:
    """Bounds of the artifact numbers that can answer: from the first, up to but without the second.

    The times in the index never fall, so they order artifacts as numbers do. A creation time is at
    most `skew` less than the time in the index.
    """
    lowest, below = 1, NO_NUMBER if query.cursor is None else query.cursor
    if query.since_ms is None and query.until_ms is None:
        return lowest, below
    until: str | int = "+inf"
    if query.until_ms is not None:
        skew = await link.call("query", "HGET", keys.meta, "skew")
        until = query.until_ms + int(skew or 0)
    first, last = await link.many(
        "query",
        [
            ("ZRANGE", keys.time, query.since_ms or 0, "+inf", "BYSCORE", "LIMIT", 0, 1),
            ("ZRANGE", keys.time, until, "-inf", "BYSCORE", "REV", "LIMIT", 0, 1),
        ],
    )
    if not first or not last:
        return 1, 0
    return int(first[0]), min(below, int(last[0]) + 1)


async def _plan(link: RedisLink, keys: Keys, terms: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The key of the shortest index, and those of the others."""
    if len(terms) == 1:
        return keys.index(terms[0]), ()
    indexes = [keys.index(term) for term in terms]
    sizes = await link.many("query", [("ZCARD", index) for index in indexes])
    shortest = indexes[sizes.index(min(sizes))]
    return shortest, [index for index in indexes if index != shortest]


async def _entries(
    link: RedisLink, index: str, lowest: int, below: int, step: int
) -> list[tuple[bytes, int]]:
    """The next ids with their numbers, newest first."""
    reply = await link.call(
        "query", "ZRANGE", index, f"({below}", lowest, "BYSCORE", "REV", "LIMIT", 0, step, "WITHSCORES"
    )
    return [(identity, int(score)) for identity, score in zip(reply[::2], reply[1::2], strict=True)]


async def _values(
    link: RedisLink, keys: Keys, others: Sequence[str], entries: Sequence[tuple[bytes, int]]
) -> list[tuple[int, bytes]]:
    """Values of the artifacts that the other indexes hold too."""
    if others and entries:
        ids = [identity for identity, _ in entries]
        lookups: list[Command] = [("ZMSCORE", index, *ids) for index in others]
        scores = await link.many("query", lookups)
        entries = [entry for entry, *held in zip(entries, *scores, strict=True) if None not in held]
    if not entries:
        return []
    stored = await link.call("query", "HMGET", keys.artifacts, *(identity for identity, _ in entries))
    return [
        (number, stored_value(value))
        for (_, number), value in zip(entries, stored, strict=True)
        if value is not None
    ]
