"""Bodies by digest: in chunks, checked, kept once an artifact names them."""

import hashlib

import anyio
import pytest

from blackboard.bodies import BODY_LIMIT_BYTES
from blackboard.store import Batch, BlackboardStore, PutResult
from protocol.errors import InvalidMessage, MessageTooLarge, NotFound
from tests.store.building import RUN, TTL, add, body_ref, create, events, put, write

pytestmark = pytest.mark.anyio

BODY = bytes(range(256)) * 10
DIGEST = body_ref(BODY).digest


async def chunk(store: BlackboardStore, offset: int, end: int, digest: str = DIGEST) -> PutResult:
    part = BODY[offset:end]
    return await store.put(RUN, digest, size_bytes=len(BODY), offset=offset, chunk=part, ttl_seconds=TTL)


async def whole(store: BlackboardStore, digest: str = DIGEST) -> bytes:
    data, size = await store.get(RUN, digest, offset=0, limit=1_000_000)
    assert len(data) == size
    return data


async def test_a_body_in_chunks_is_read_back_in_parts(store: BlackboardStore):
    assert await chunk(store, 0, 1000) == PutResult(1000, complete=False)
    assert await chunk(store, 1000, 2000) == PutResult(2000, complete=False)
    assert await chunk(store, 2000, 2560) == PutResult(2560, complete=True)
    assert await whole(store) == BODY
    assert await store.get(RUN, DIGEST, offset=2500, limit=1000) == (BODY[2500:], 2560)
    assert await store.get(RUN, DIGEST, offset=9999, limit=10) == (b"", 2560)


@pytest.mark.parametrize("body", [b"", b"x", b"y" * 1_500_000])
async def test_a_body_of_any_size_goes_in_one_chunk(store: BlackboardStore, body: bytes):
    digest = await put(store, body)
    assert await store.get(RUN, digest, offset=0, limit=2_000_000) == (body, len(body))


async def test_a_body_larger_than_the_read_size_is_checked_whole(store: BlackboardStore):
    body = b"z" * 1_300_000
    digest = hashlib.sha256(body).hexdigest()
    for at in range(0, len(body), 500_000):
        part = body[at : at + 500_000]
        result = await store.put(RUN, digest, size_bytes=len(body), offset=at, chunk=part, ttl_seconds=TTL)
    assert result.complete
    assert await store.get(RUN, digest, offset=1_299_999, limit=5) == (b"z", len(body))


async def test_a_chunk_again_is_the_same_chunk(store: BlackboardStore):
    await chunk(store, 0, 1000)
    assert await chunk(store, 0, 1000) == PutResult(1000, complete=False)
    await chunk(store, 1000, 2560)
    assert await chunk(store, 1000, 2560) == PutResult(2560, complete=True)
    assert await whole(store) == BODY


async def test_a_gap_is_refused_and_the_remedy_named(store: BlackboardStore):
    await chunk(store, 0, 1000)
    with pytest.raises(InvalidMessage, match="send the chunk at 1000"):
        await chunk(store, 1001, 2000)
    await chunk(store, 1000, 2560)
    assert await whole(store) == BODY


async def test_more_bytes_than_announced_are_refused(store: BlackboardStore):
    with pytest.raises(InvalidMessage, match="more than the 10 announced"):
        await store.put(RUN, DIGEST, size_bytes=10, offset=0, chunk=BODY, ttl_seconds=TTL)


async def test_a_body_that_no_store_could_hold_is_refused_at_its_first_chunk(store: BlackboardStore):
    with pytest.raises(MessageTooLarge):
        await store.put(RUN, DIGEST, size_bytes=BODY_LIMIT_BYTES + 1, offset=0, chunk=BODY, ttl_seconds=TTL)


@pytest.mark.parametrize("first", [1000, 2560])
async def test_bytes_with_another_digest_are_refused_and_forgotten(store: BlackboardStore, first: int):
    wrong = "a" * 64
    with pytest.raises(InvalidMessage, match="send the body again"):
        for offset, end in ((0, first), (first, 2560)):
            await chunk(store, offset, end, wrong)
    with pytest.raises(NotFound):
        await whole(store, wrong)
    assert await chunk(store, 0, 10, wrong) == PutResult(10, complete=False)


async def test_half_a_body_cannot_be_read_or_named(store: BlackboardStore):
    head = await create(store)
    await chunk(store, 0, 1000)
    with pytest.raises(NotFound):
        await whole(store)
    with pytest.raises(NotFound):
        await add(store, head, write(1, body=body_ref(BODY)))


async def test_a_body_that_nobody_names_expires_and_a_named_one_stays(store: BlackboardStore):
    head = await create(store)
    orphan = await put(store, b"orphan", ttl_seconds=0.15)
    named = await put(store, b"named", ttl_seconds=0.15)
    await add(store, head, write(1, body=body_ref(b"named")))
    with anyio.fail_after(5), pytest.raises(NotFound):
        while True:
            await whole(store, orphan)
            await anyio.sleep(0.02)
    assert await whole(store, named) == b"named"


async def test_a_body_that_is_kept_stays_and_one_that_is_not_there_cannot_be(store: BlackboardStore):
    await create(store)
    kept = await put(store, b"kept", ttl_seconds=0.1)
    await store.keep(RUN, [kept])
    await anyio.sleep(0.15)
    assert await whole(store, kept) == b"kept"
    with pytest.raises(NotFound):
        await store.keep(RUN, [kept, "0" * 64])


async def append(store: BlackboardStore, head: int, *, bodies=(), released=(), seconds: float = 0.1) -> int:
    batch = Batch(
        RUN, "leader-1", head, events("x"), bodies=bodies, released=released, orphan_seconds=seconds
    )
    assert await store.append(batch, ttl_seconds=TTL) == head + 1
    return await store.append(batch, ttl_seconds=TTL)  # the same again counts once


async def gone(store: BlackboardStore, digest: str) -> None:
    with anyio.fail_after(5), pytest.raises(NotFound):
        while True:
            await whole(store, digest)
            await anyio.sleep(0.02)


async def test_a_body_stays_as_long_as_anything_names_it_and_expires_when_the_last_has_gone(
    store: BlackboardStore,
):
    head = await create(store)
    body, twice = await put(store, b"in a step and an artifact"), await put(store, b"in two steps")
    head = await add(store, head, write(1, body=body_ref(b"in a step and an artifact")))
    head = await append(store, head, bodies=[body, twice, twice])
    head = await append(store, head, released=[body, twice])
    await anyio.sleep(0.2)
    assert (await whole(store, body), await whole(store, twice)) == (
        b"in a step and an artifact",
        b"in two steps",
    )
    await append(store, head, released=[twice])
    await gone(store, twice)
    assert await whole(store, body) == b"in a step and an artifact"


async def test_a_released_body_that_is_named_again_in_time_stays(store: BlackboardStore):
    head = await create(store)
    kept, named = await put(store, b"kept"), await put(store, b"named")
    head = await append(store, head, bodies=[kept, named])
    head = await append(store, head, released=[kept, named], seconds=0.5)
    await store.keep(RUN, [kept])
    await append(store, head, bodies=[named])
    await anyio.sleep(0.6)
    assert (await whole(store, kept), await whole(store, named)) == (b"kept", b"named")


async def test_the_end_of_a_run_does_not_keep_a_released_body_longer(store: BlackboardStore):
    head = await create(store)
    body = await put(store, b"body")
    head = await append(store, head, bodies=[body])
    head = await append(store, head, released=[body], seconds=0.1)
    assert await store.finish(RUN, head, keep_seconds=60)
    await gone(store, body)


async def test_putting_a_named_body_again_does_not_let_it_expire(store: BlackboardStore):
    head = await create(store)
    named = await put(store, b"named")
    await add(store, head, write(1, body=body_ref(b"named")))
    await put(store, b"named", ttl_seconds=0.05)
    await anyio.sleep(0.1)
    assert await whole(store, named) == b"named"


async def test_putting_an_orphan_again_gives_it_more_time(store: BlackboardStore):
    orphan = await put(store, b"orphan", ttl_seconds=0.1)
    await put(store, b"orphan", ttl_seconds=TTL)
    await anyio.sleep(0.15)
    assert await whole(store, orphan) == b"orphan"


async def test_writers_of_the_same_body_do_not_disturb_each_other(store: BlackboardStore):
    async def send() -> None:
        for at in range(0, len(BODY), 512):
            await chunk(store, at, at + 512)

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(send)
    assert await whole(store) == BODY
