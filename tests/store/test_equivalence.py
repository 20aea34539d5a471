"""Any sequence of operations has the same answers in both stores."""

import secrets
from collections.abc import Iterator

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blackboard.memory import MemoryStore
from blackboard.redis import RedisStore
from blackboard.redis_link import RedisSettings
from blackboard.store import Batch, BlackboardStore, RowWrite
from protocol.errors import SwarmError
from tests.store.building import RUN, TTL, ask, body_ref, contents, events, write
from tests.store.conftest import orphaned_keys
from tests.support.servers import RedisServer

TOKENS = st.sampled_from(["", "one", "two"])
BODIES = st.sampled_from([b"", b"hello", b"world" * 10])
ARTIFACTS = st.builds(
    lambda number, variant, tags, text, time, body: write(
        number,
        digest=f"digest-{variant}",
        tags=tags,
        text=text,
        created_ms=time,
        body=None if body is None else body_ref(body),
    ),
    st.integers(1, 6),
    st.integers(1, 2),
    st.lists(st.sampled_from(["a", "b"]), max_size=2),
    st.sampled_from(["", "alpha", "alpha beta"]),
    st.integers(1, 5),
    st.none() | BODIES,
)
ROWS = st.builds(
    RowWrite,
    st.sampled_from(["task", "step", "live"]),
    st.sampled_from(["k1", "k2", "task:k1"]),
    st.binary(max_size=3),
)
DROPS = st.tuples(st.sampled_from(["task", "step", "live"]), st.sampled_from(["k1", "k2", "task:k1"]))
APPENDS = st.tuples(
    st.just("append"),
    TOKENS,
    st.sampled_from([0, 0, 0, -1, 1]),
    st.lists(st.sampled_from(["x", "y"]), min_size=1, max_size=3),
    st.lists(ROWS, max_size=2),
    st.lists(ARTIFACTS, max_size=2),
    st.lists(DROPS, max_size=2),
    st.lists(BODIES, max_size=2),
)
OPERATIONS = st.one_of(
    APPENDS,
    APPENDS,
    st.tuples(st.just("repeat")),
    st.tuples(st.just("acquire"), TOKENS.filter(bool)),
    st.tuples(st.just("release"), TOKENS.filter(bool)),
    st.tuples(st.just("confirm"), TOKENS.filter(bool)),
    st.tuples(st.just("put"), BODIES, st.integers(0, 60), st.integers(0, 60)),
    st.tuples(st.just("get"), BODIES),
    st.tuples(st.just("trim"), TOKENS, st.integers(1, 8)),
    st.tuples(st.just("release bodies"), TOKENS, BODIES),
    st.tuples(st.just("log"), st.integers(0, 8), st.integers(1, 4)),
    st.tuples(st.just("ask"), st.sampled_from(["a", "b", None]), st.sampled_from(["alpha", "beta", None])),
    st.tuples(st.just("ask_time"), st.integers(1, 5), st.integers(1, 5)),
    st.tuples(st.just("finish")),
)


async def answer(store: BlackboardStore, operation: tuple, last: list[Batch]) -> object:
    match operation:
        case ("append", token, shift, names, rows, artifacts, dropped, named):
            head = max(0, await store.head(RUN) + shift)
            bodies = [body_ref(body).digest for body in named]
            last[:] = [
                Batch(RUN, token, head, events(*names), rows, artifacts, dropped=dropped, bodies=bodies)
            ]
            return await store.append(last[0], ttl_seconds=TTL)
        case ("repeat",):
            return [await store.append(batch, ttl_seconds=TTL) for batch in last]
        case ("acquire", token):
            return await store.acquire(RUN, token, ttl_seconds=TTL), await store.leader(RUN)
        case ("release", token):
            return await store.release(RUN, token), await store.leader(RUN)
        case ("confirm", token):
            return await store.append(Batch(RUN, token, await store.head(RUN)), ttl_seconds=TTL)
        case ("put", body, start, end):
            ref = body_ref(body)
            return await store.put(
                RUN, ref.digest, size_bytes=len(body), offset=start, chunk=body[start:end], ttl_seconds=TTL
            )
        case ("get", body):
            return await store.get(RUN, body_ref(body).digest, offset=1, limit=3)
        case ("trim", token, before):
            head = await store.head(RUN)
            return await store.append(Batch(RUN, token, head, trim=before), ttl_seconds=TTL)
        case ("release bodies", token, body):
            batch = Batch(
                RUN, token, await store.head(RUN), released=[body_ref(body).digest], orphan_seconds=60
            )
            return await store.append(batch, ttl_seconds=TTL)
        case ("log", after, limit):
            return await store.log(RUN, after=after, limit=limit)
        case ("ask", tag, text):
            return await ask(store, tag=tag, text=text, limit=1)
        case ("ask_time", since, until):
            return await ask(store, since_ms=since, until_ms=until, limit=2)
        case _:
            return await store.finish(RUN, await store.head(RUN), keep_seconds=60), await store.runs(
                active=True
            )


async def answers(store: BlackboardStore, operations: list[tuple]) -> list[object]:
    """Every answer with the state after it; a refusal is an answer too."""
    found: list[object] = []
    last: list[Batch] = []
    for operation in operations:
        try:
            found.append((operation, await answer(store, operation, last)))
        except SwarmError as error:
            found.append((operation, type(error), str(error)))
    return [*found, await contents(store), await store.runs(active=False)]


@pytest.fixture(scope="module")
def server(redis_server: RedisServer) -> Iterator[RedisServer]:
    yield redis_server


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=st.lists(OPERATIONS, max_size=25))
def test_both_stores_give_the_same_answers(server: RedisServer, operations: list[tuple]):
    async def compare() -> None:
        prefix = f"test-{secrets.token_hex(6)}"
        async with RedisStore(server.url, RedisSettings(prefix=prefix)) as redis:
            setup = [("append", "", 0, ["created"], [], [], [], []), ("acquire", "one")]
            assert await answers(redis, setup + operations) == await answers(
                MemoryStore(), setup + operations
            )
        assert await orphaned_keys(server.url, prefix) == []

    anyio.run(compare)
