"""Small records of the whole swarm: each version has one writer."""

import pytest

from blackboard.store import BlackboardStore
from coordinator.breakers import BreakerRecord
from protocol.errors import NotFound
from protocol.providers import Breaker

pytestmark = pytest.mark.anyio


async def test_a_record_is_absent_before_its_first_version(store: BlackboardStore):
    assert await store.shared("things") == (0, b"")


async def test_the_newest_version_is_read(store: BlackboardStore):
    assert await store.share("things", 1, b"one")
    assert await store.share("things", 2, b"two")
    assert await store.shared("things") == (2, b"two")
    assert await store.shared("others") == (0, b"")


async def test_who_comes_second_writes_nothing(store: BlackboardStore):
    assert await store.share("things", 1, b"mine")
    assert not await store.share("things", 1, b"yours")
    assert await store.share("things", 2, b"mine again")
    assert not await store.share("things", 1, b"yours, late")
    assert await store.shared("things") == (2, b"mine again")


def failed(at_ms: int):
    return lambda breaker: breaker.model_copy(update={"failed_ms": (*breaker.failed_ms, at_ms)})


async def test_no_change_of_two_coordinators_is_lost(store: BlackboardStore):
    ours, theirs = BreakerRecord(store), BreakerRecord(store)
    known = await ours.change("a", failed(1))
    await theirs.change("a", failed(2))
    record = await ours.change("a", failed(3), known)
    assert record.of("a").failed_ms == (1, 2, 3)
    assert await theirs.read() == record


async def test_a_change_that_changes_nothing_is_not_written(store: BlackboardStore):
    record = await BreakerRecord(store).change("a", lambda breaker: breaker)
    assert (record.number, record.breakers) == (0, ())


async def test_a_breaker_is_closed_by_hand_and_an_unknown_one_is_not(store: BlackboardStore):
    record = BreakerRecord(store)
    await record.change("a", lambda breaker: breaker.model_copy(update={"status": "open", "until_ms": 9}))
    assert (await record.close("a", 5)).of("a") == Breaker(provider="a", changed_ms=5)
    with pytest.raises(NotFound, match="'b'"):
        await record.close("b", 5)


async def test_closed_breakers_are_forgotten_in_the_end(store: BlackboardStore):
    record = BreakerRecord(store)
    for number in range(105):
        await record.change(f"p{number}", lambda one: one.model_copy(update={"changed_ms": 1}))
    assert len((await record.read()).breakers) == 100
