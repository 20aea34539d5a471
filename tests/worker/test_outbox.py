"""A discovery is kept and published again until the leader has spoken."""

import hashlib
import itertools
import json

import anyio
from pydantic import BaseModel, ConfigDict

from agents.agent import Context, Discovery, agent
from agents.observations import DiscoveryPublished, ReceiptReceived
from protocol.artifacts import artifact, canonical_json
from protocol.messages import Control, FollowUp, PutReply, Refusal
from tests.worker.rig import rig, virtually


@artifact("worker_blob")
class Blob(BaseModel):
    model_config = ConfigDict(frozen=True)
    text: str


@virtually
async def test_without_a_receipt_it_is_published_again_with_growing_pauses() -> None:
    times: list[float] = []
    async with rig(slots=1) as swarm:

        def silent(_discovery: object) -> None:
            times.append(anyio.current_time())

        swarm.leader.on_discovery = silent
        task = await swarm.leader.dispatch()
        await swarm.until(lambda: len(times) == 6, 300)
        beat = swarm.worker.ledger.beat()
        assert [(one.token, one.state) for one in beat.held] == [(task.token, "finished")]
        assert swarm.worker.ledger.free_slots == 1
        swarm.leader.on_discovery = swarm.leader.settle
        await swarm.at_rest()
        pauses = [round(after - before) for before, after in itertools.pairwise(times)]
        assert pauses[0] in {5, 6}
        assert pauses == sorted(pauses)
        assert max(pauses) <= 31
        assert len({one.model_dump_json() for one in swarm.leader.discoveries}) == 1
        assert [one.again for one in swarm.saw(DiscoveryPublished)] == [False] + [True] * 6
        assert [one.verdict for one in swarm.saw(ReceiptReceived)] == ["settled"]


@virtually
async def test_a_stale_receipt_discards_the_discovery() -> None:
    async with rig() as swarm:
        swarm.leader.on_discovery = lambda found: Control(
            stale=(Refusal(task=found.task, token=found.token, reason="moved on"),)
        )
        await swarm.leader.dispatch()
        await swarm.at_rest()
        await anyio.sleep(100)
        assert len(swarm.leader.discoveries) == 1
        assert [one.verdict for one in swarm.saw(ReceiptReceived)] == ["stale"]


@virtually
async def test_a_finished_task_that_is_dropped_is_not_published_again() -> None:
    async with rig() as swarm:
        swarm.leader.on_discovery = lambda _: None
        task = await swarm.leader.dispatch()
        await swarm.discovery()
        swarm.leader.control("w1", drop=[{"task": task.task, "token": task.token}])
        await swarm.until(lambda: not swarm.held)
        await anyio.sleep(100)
        assert len(swarm.leader.discoveries) == 1


@virtually
async def test_what_is_ready_at_the_same_time_travels_in_one_message() -> None:
    gate = anyio.Event()

    @agent("together")
    async def together(_context: Context) -> Discovery:
        await gate.wait()
        return Discovery(reward=0.25)

    async with rig(together, slots=3) as swarm:
        for _ in range(3):
            await swarm.leader.dispatch("together")
        await swarm.until(lambda: len(swarm.held) == 3)
        gate.set()
        await swarm.at_rest()
        assert swarm.leader.messages == 1
        assert len({one.task for one in swarm.leader.discoveries}) == 3
        assert [one.verdict for one in swarm.saw(ReceiptReceived)] == ["settled"] * 3


@virtually
async def test_no_message_of_several_discoveries_is_larger_than_one_may_be_alone() -> None:
    gate = anyio.Event()

    @agent("bulky", publishes=[Blob])
    async def bulky(_context: Context) -> Discovery:
        await gate.wait()
        return Discovery([Blob(text="x" * 30_000)])

    async with rig(bulky, slots=5) as swarm:
        for _ in range(5):
            await swarm.leader.dispatch("bulky")
        await swarm.until(lambda: len(swarm.held) == 5)
        gate.set()
        await swarm.at_rest()
        assert swarm.leader.messages == 3
        assert len({one.task for one in swarm.leader.discoveries}) == 5


@virtually
async def test_too_many_kept_discoveries_stop_the_pulling_until_receipts_come() -> None:
    async with rig(slots=1, max_buffered_bytes=1_000) as swarm:
        swarm.leader.on_discovery = lambda _: None
        for _ in range(20):
            await swarm.leader.dispatch()
        await swarm.until(lambda: swarm.worker.ledger.choked)
        await anyio.sleep(3)
        assert len(swarm.held) < 10
        assert swarm.leader.beats[-1].status == "error"
        swarm.leader.on_discovery = swarm.leader.settle
        await swarm.until(lambda: len(swarm.leader.settled) == 20, 300)
        await swarm.until(lambda: swarm.leader.beats[-1].status == "alive")


@virtually
async def test_a_large_artifact_is_put_first_and_named_by_digest() -> None:
    @agent("large", publishes=[Blob])
    async def large(_context: Context) -> Discovery:
        return Discovery([Blob(text="small"), Blob(text="é" * 600_000)])

    async with rig(large) as swarm:
        replies = iter([PutReply(complete=False, received_bytes=0)])
        swarm.leader.on_put = lambda request: next(replies, None) or swarm.leader.store_chunk(request)
        await swarm.leader.dispatch("large")
        small, big = (await swarm.discovery()).artifacts
        raw = canonical_json({"text": "é" * 600_000})
        assert small.payload == {"text": "small"}
        assert big.payload is None
        assert big.body is not None
        assert (big.body.digest, big.body.size_bytes) == (hashlib.sha256(raw).hexdigest(), len(raw))
        assert swarm.leader.bodies[big.body.digest] == raw


@virtually
async def test_a_large_discovery_moves_its_artifacts_and_follow_ups_into_a_body() -> None:
    @agent("many", publishes=[Blob])
    async def many(_context: Context) -> Discovery:
        return Discovery(
            [Blob(text="x" * 1000) for _ in range(100)], reward=0.75, follow_ups=[FollowUp(agent="many")]
        )

    async with rig(many) as swarm:
        await swarm.leader.dispatch("many")
        found = await swarm.discovery()
        assert (found.artifacts, found.follow_ups, found.reward) == ((), (), 0.75)
        assert found.body is not None
        content = json.loads(swarm.leader.bodies[found.body.digest])
        assert [one["payload"]["text"] for one in content["artifacts"]] == ["x" * 1000] * 100
        assert [one["agent"] for one in content["follow_ups"]] == ["many"]
        await swarm.at_rest()
