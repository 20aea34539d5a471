"""The log: read from anywhere, trimmed by whole groups."""

import pytest

from blackboard.store import Batch, BlackboardStore
from protocol.errors import HeadMismatch, StaleLeader
from tests.store.building import RUN, TTL, create, events

pytestmark = pytest.mark.anyio


async def positions(store: BlackboardStore, *, after: int, limit: int = 1000) -> list[int]:
    return [entry.position for entry in await store.log(RUN, after=after, limit=limit)]


async def in_groups(store: BlackboardStore, *sizes: int) -> int:
    """Appends groups of these sizes after the first event; returns the head."""
    head = await create(store)
    for size in sizes:
        names = [f"e{head + n + 1}" for n in range(size)]
        head = await store.append(Batch(RUN, "leader-1", head, events(*names)), ttl_seconds=TTL)
    return head


async def test_reading_begins_inside_a_group(store: BlackboardStore):
    await in_groups(store, 3, 1, 4)
    assert await positions(store, after=2) == [3, 4, 5, 6, 7, 8, 9]
    assert (await store.log(RUN, after=6))[0].event == b'["e7",{}]'


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 200])
async def test_pages_join_without_gap_or_repetition(store: BlackboardStore, limit: int):
    head = await in_groups(store, 3, 1, 4, *[1] * 120)
    seen: list[int] = []
    while page := await positions(store, after=seen[-1] if seen else 0, limit=limit):
        assert len(page) <= limit
        seen += page
    assert seen == list(range(1, head + 1))


async def test_nothing_lies_after_the_head(store: BlackboardStore):
    head = await in_groups(store, 2)
    assert await positions(store, after=head) == []
    assert await positions(store, after=head + 10) == []


@pytest.mark.parametrize(
    ("before", "first_left"), [(1, 1), (2, 2), (3, 2), (4, 2), (5, 5), (6, 6), (99, None)]
)
async def test_trimming_drops_only_groups_that_end_before_the_position(
    store: BlackboardStore, before: int, first_left: int | None
):
    head = await in_groups(store, 3, 1, 4)
    await store.append(Batch(RUN, "leader-1", head, trim=before), ttl_seconds=TTL)
    left = [] if first_left is None else list(range(first_left, head + 1))
    assert await positions(store, after=0) == left
    assert await store.head(RUN) == head


async def test_appending_goes_on_after_everything_was_trimmed(store: BlackboardStore):
    head = await in_groups(store, 3)
    await store.append(Batch(RUN, "leader-1", head, trim=head + 1), ttl_seconds=TTL)
    assert await store.append(Batch(RUN, "leader-1", head, events("next")), ttl_seconds=TTL) == head + 1
    assert await positions(store, after=0) == [head + 1]


async def test_an_append_trims_before_its_own_events_and_repeated_it_trims_once(store: BlackboardStore):
    head = await in_groups(store, 3, 1, 4)
    batch = Batch(RUN, "leader-1", head, events("a", "b"), trim=6)
    for _ in range(2):
        assert await store.append(batch, ttl_seconds=TTL) == head + 2
        assert await positions(store, after=0) == list(range(6, head + 3))


async def test_who_does_not_lead_trims_nothing(store: BlackboardStore):
    head = await in_groups(store, 3, 1, 4)
    for batch in (Batch(RUN, "leader-2", head, trim=9), Batch(RUN, "leader-1", head - 1, trim=9)):
        with pytest.raises((StaleLeader, HeadMismatch)):
            await store.append(batch, ttl_seconds=TTL)
    assert await positions(store, after=0) == list(range(1, head + 1))


async def test_events_may_hold_any_bytes(store: BlackboardStore):
    head = await create(store)
    odd = [b"", b"\n", b",1\n2", bytes(range(256)), b"x" * 100_000]
    await store.append(Batch(RUN, "leader-1", head, odd), ttl_seconds=TTL)
    assert [entry.event for entry in await store.log(RUN, after=head)] == odd
