"""The append: fenced, all or nothing, and the same when it comes twice."""

import anyio
import pytest

from blackboard.store import Batch, BlackboardStore, LogEntry, RowKind, RowWrite
from protocol.errors import ArtifactConflict, HeadMismatch, NotFound, StaleLeader
from tests.store.building import RUN, TTL, add, artifact, contents, create, events, put, task_row, write

pytestmark = pytest.mark.anyio


async def test_what_was_appended_is_read_back(store: BlackboardStore):
    head = await create(store)
    batch = Batch(
        RUN,
        "leader-1",
        head,
        events("a", "b", "c"),
        [
            task_row("t1", "one"),
            task_row("t0", "ended"),
            RowWrite("live", "task:t1", b""),
            RowWrite("direction", "d1", b"\x00\xff"),
            RowWrite("step", "t1:000000", b"s"),
        ],
        [write(1), write(2)],
    )
    assert await store.append(batch, ttl_seconds=TTL) == 4
    loaded = await store.load(RUN)
    assert loaded.head == await store.head(RUN) == 4
    assert loaded.rows == {
        "run": {"spec": b"spec"},
        "task": {"t1": b"one"},
        "direction": {"d1": b"\x00\xff"},
        "inquiry": {},
    }
    assert await store.rows(RUN, "step") == {"t1:000000": b"s"}
    assert await store.rows(RUN, "task", ["t1", "t2"]) == {"t1": b"one"}
    assert await store.rows(RUN, "task", []) == {}
    assert await store.artifacts(RUN, ["art-2", "none"]) == {"art-2": write(2).value}
    assert await store.log(RUN, after=1) == [LogEntry(n + 2, e) for n, e in enumerate(batch.events)]


async def test_a_later_row_replaces_the_earlier_one_also_within_a_batch(store: BlackboardStore):
    head = await create(store)
    batch = Batch(RUN, "leader-1", head, events("a"), [task_row("t", "old"), task_row("t", "new")])
    await store.append(batch, ttl_seconds=TTL)
    assert await store.rows(RUN, "task") == {"t": b"new"}


async def test_rows_go_with_an_append_and_a_new_leader_reads_those_that_live(store: BlackboardStore):
    head = await create(store)
    marks = [RowWrite("live", f"task:t{n}", b"") for n in range(9_000)]
    rows = [task_row(f"t{n}") for n in range(9_000)]
    head = await store.append(Batch(RUN, "leader-1", head, events("a"), [*rows, *marks]), ttl_seconds=TTL)
    assert len((await store.load(RUN)).rows["task"]) == 9_000
    gone: list[tuple[RowKind, str]] = [("live", f"task:t{n}") for n in range(8_999)]
    batch = Batch(
        RUN,
        "leader-1",
        head,
        events("b"),
        [task_row("t8999", "new")],
        [write(1)],
        dropped=[*gone, ("step", "no")],
    )
    for _ in range(2):
        await store.append(batch, ttl_seconds=TTL)
        assert (await store.load(RUN)).rows["task"] == {"t8999": b"new"}
    assert len(await store.rows(RUN, "task")) == 9_000
    assert await store.artifacts(RUN, ["art-1"]) == {"art-1": write(1).value}


async def test_a_run_that_does_not_exist_is_empty(store: BlackboardStore):
    assert await store.head("nobody") == 0
    assert (await store.load("nobody")).head == 0
    assert await store.log("nobody", after=0) == []
    assert await store.leader("nobody") is None
    assert await store.rows("nobody", "task") == {}


async def test_the_same_batch_again_is_answered_and_not_applied_again(store: BlackboardStore):
    head = await create(store)
    batch = Batch(RUN, "leader-1", head, events("a", "b"), [task_row("t")], [write(1)])
    first = await store.append(batch, ttl_seconds=TTL)
    before = await contents(store)
    assert await store.append(batch, ttl_seconds=TTL) == first
    assert await contents(store) == before


async def test_the_same_batch_again_is_answered_even_when_the_lease_has_gone(store: BlackboardStore):
    head = await create(store)
    batch = Batch(RUN, "leader-1", head, events("a"))
    await store.append(batch, ttl_seconds=TTL)
    await store.release(RUN, "leader-1")
    assert await store.acquire(RUN, "leader-2", ttl_seconds=TTL)
    assert await store.append(batch, ttl_seconds=TTL) == 2
    assert await store.leader(RUN) == "leader-2"


async def test_the_same_batch_again_renews_the_lease_that_still_lasts(store: BlackboardStore):
    batch = Batch(RUN, "leader-1", await create(store), events("a"))
    await store.append(batch, ttl_seconds=0.15)
    await store.append(batch, ttl_seconds=TTL)
    await anyio.sleep(0.2)
    assert await store.leader(RUN) == "leader-1"


async def test_creating_a_run_twice_is_the_same_run(store: BlackboardStore):
    batch = Batch(RUN, "", 0, events("run_created"), [RowWrite("run", "spec", b"spec")])
    assert await store.append(batch, ttl_seconds=TTL) == 1
    assert await store.append(batch, ttl_seconds=TTL) == 1
    assert await store.runs(active=True) == [RUN]


async def test_another_creation_of_an_existing_run_is_refused(store: BlackboardStore):
    await create(store)
    with pytest.raises(HeadMismatch):
        await store.append(Batch(RUN, "", 0, events("something_else")), ttl_seconds=TTL)


async def test_only_a_creation_may_come_without_a_token(store: BlackboardStore):
    head = await create(store)
    with pytest.raises(StaleLeader):
        await store.append(Batch(RUN, "", head, events("a")), ttl_seconds=TTL)


@pytest.mark.parametrize("expected", [0, 2])
async def test_a_head_that_is_not_where_the_writer_left_it_is_refused(store: BlackboardStore, expected: int):
    await create(store)
    before = await contents(store)
    with pytest.raises(HeadMismatch) as caught:
        await store.append(Batch(RUN, "leader-1", expected, events("a"), [task_row("t")]), ttl_seconds=TTL)
    assert (caught.value.expected, caught.value.actual) == (expected, 1)
    assert await contents(store) == before


async def test_a_stale_leader_is_refused_and_writes_nothing(store: BlackboardStore):
    head = await create(store)
    before = await contents(store)
    with pytest.raises(StaleLeader):
        batch = Batch(RUN, "leader-0", head, events("a"), [task_row("t")], [write(1)])
        await store.append(batch, ttl_seconds=TTL)
    assert await contents(store) == before


async def test_the_same_artifact_with_another_content_is_a_conflict_and_nothing_is_written(
    store: BlackboardStore,
):
    head = await add(store, await create(store), write(1))
    before = await contents(store)
    with pytest.raises(ArtifactConflict, match="art-1 exists"):
        batch = Batch(
            RUN, "leader-1", head, events("a"), [task_row("t")], [write(2), write(3, id="art-1"), write(4)]
        )
        await store.append(batch, ttl_seconds=TTL)
    assert await contents(store) == before
    assert await store.artifacts(RUN, ["art-2", "art-4"]) == {}


async def test_two_contents_of_one_artifact_in_a_batch_are_a_conflict(store: BlackboardStore):
    head = await create(store)
    with pytest.raises(ArtifactConflict):
        await add(store, head, write(1), write(2, id="art-1"))
    assert await store.head(RUN) == head


async def test_the_same_artifact_again_changes_nothing(store: BlackboardStore):
    head = await add(store, await create(store), write(1, tags=["first"]))
    same = write(7, id="art-1", digest=artifact(1).digest, tags=["second"])
    assert await add(store, head, same, same) == head + 1
    assert await store.artifacts(RUN, ["art-1"]) == {"art-1": write(1, tags=["first"]).value}


async def test_an_artifact_that_names_an_absent_body_is_refused_and_nothing_is_written(
    store: BlackboardStore,
):
    head = await create(store)
    there = await put(store, b"there")
    absent = "0" * 64
    before = await contents(store)
    with pytest.raises(NotFound, match=absent):
        await add(
            store,
            head,
            write(1, body={"digest": there, "size_bytes": 5}),
            write(2, body={"digest": absent, "size_bytes": 5}),
        )
    assert await contents(store) == before


async def test_an_empty_append_confirms_the_token_and_renews_the_lease(store: BlackboardStore):
    head = await create(store)
    assert await store.append(Batch(RUN, "leader-1", head), ttl_seconds=0.15) == head
    assert await store.append(Batch(RUN, "leader-1", head), ttl_seconds=TTL) == head
    await anyio.sleep(0.2)
    assert await store.leader(RUN) == "leader-1"
    with pytest.raises(StaleLeader):
        await store.append(Batch(RUN, "leader-2", head), ttl_seconds=TTL)
    with pytest.raises(HeadMismatch):
        await store.append(Batch(RUN, "leader-1", head + 1), ttl_seconds=TTL)


async def test_a_batch_of_many_rows_events_and_terms_is_applied_whole(store: BlackboardStore):
    head = await create(store)
    rows = [task_row(f"t{n}", str(n)) for n in range(12_000)]
    many_tags = [f"tag{n}" for n in range(5_000)]
    batch = Batch(RUN, "leader-1", head, events(*["e"] * 9_000), rows, [write(1, tags=many_tags)])
    assert await store.append(batch, ttl_seconds=TTL) == head + 9_000
    assert await store.rows(RUN, "task") == {row.key: row.value for row in rows}
    assert len(await store.log(RUN, after=head, limit=10_000)) == 9_000


async def test_a_batch_that_arrives_again_after_its_successor_is_refused(store: BlackboardStore):
    head = await create(store)
    first = Batch(RUN, "leader-1", head, events("a"), [task_row("t", "old")])
    await store.append(first, ttl_seconds=TTL)
    await store.append(Batch(RUN, "leader-1", 2, events("b"), [task_row("t", "new")]), ttl_seconds=TTL)
    before = await contents(store)
    with pytest.raises(HeadMismatch):
        await store.append(first, ttl_seconds=TTL)
    assert await contents(store) == before
