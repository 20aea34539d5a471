"""From the task message to the lease."""

import asyncio

import anyio

from agents.agent import Context, Discovery, agent
from agents.observations import Claimed, ClaimUnanswered, MessageRefused
from protocol import subjects
from protocol.messages import ClaimReply, ClaimRequest, ErrorReply, Refusal
from tests.support.virtual import VirtualLoop
from tests.worker.rig import Rig, echo, rig, virtually


@agent("slow")
async def slow(_context: Context) -> Discovery:
    await anyio.sleep(100)
    return Discovery(reward=1.0)


async def backlog(swarm: Rig, name: str = "echo") -> int:
    return await swarm.leader.transport.pending(subjects.TASKS_STREAM, subjects.task_consumer(name))


@virtually
async def test_a_task_is_claimed_run_and_its_discovery_settled() -> None:
    async with rig() as swarm:
        task = await swarm.leader.dispatch()
        discovery = await swarm.discovery()
        assert (discovery.task, discovery.token, discovery.reward) == (task.task, task.token, 0.5)
        assert (discovery.worker, discovery.incarnation, discovery.run) == ("w1", "incarnation-1", "run-1")
        await swarm.at_rest()
        assert [one.granted for one in swarm.saw(Claimed)] == [1]
        assert await backlog(swarm) == 0


@virtually
async def test_what_arrives_while_two_claims_are_under_way_goes_into_the_next_one() -> None:
    async with rig(slots=10) as swarm:
        answers = iter([None, None])
        swarm.leader.on_claim = lambda request: next(answers, swarm.leader.grant_all(request))
        for under_way in (1, 2):
            await swarm.leader.dispatch()
            await swarm.until(lambda under_way=under_way: len(swarm.leader.claims) == under_way)
        for _ in range(5):
            await swarm.leader.dispatch()
        await swarm.until(lambda: len(swarm.leader.discoveries) == 7)
        assert [len(claim.leases) for claim in swarm.leader.claims][:3] == [1, 1, 5]
        assert [claim.number for claim in swarm.leader.claims][:3] == [1, 2, 3]


@virtually
async def test_a_refused_claim_settles_the_message_and_frees_the_slot() -> None:
    async with rig(slots=1) as swarm:

        def refuse(request: ClaimRequest) -> ClaimReply:
            lease = request.leases[0]
            return ClaimReply(refusals=(Refusal(task=lease.task, token=lease.token, reason="gone"),))

        swarm.leader.on_claim = refuse
        await swarm.leader.dispatch()
        await swarm.until(lambda: [one.refused for one in swarm.saw(Claimed)] == [1])
        await swarm.at_rest()
        assert await backlog(swarm) == 0
        swarm.leader.on_claim = swarm.leader.grant_all
        await swarm.leader.dispatch()
        await swarm.discovery()


@virtually
async def test_a_grant_that_is_read_after_the_process_stood_still_begins_nothing() -> None:
    async with rig(slots=1) as swarm:
        loop, stops = asyncio.get_running_loop(), iter([20.0])
        assert isinstance(loop, VirtualLoop)

        def grant(request: ClaimRequest) -> ClaimReply:
            loop.stand_still(next(stops, 0.0))
            return swarm.leader.grant_all(request)

        swarm.leader.on_claim = grant
        await swarm.leader.dispatch()
        await swarm.until(lambda: bool(swarm.saw(ClaimUnanswered)))
        assert (swarm.held, swarm.saw(Claimed)) == ([], [])
        await swarm.discovery()
        assert [one.granted for one in swarm.saw(Claimed)] == [1]


@virtually
async def test_a_claim_without_a_reply_comes_again_and_gets_the_same_grant() -> None:
    async with rig(slots=1) as swarm:
        answers = iter([None])
        swarm.leader.on_claim = lambda request: next(answers, swarm.leader.grant_all(request))
        began = anyio.current_time()
        task = await swarm.leader.dispatch()
        await swarm.until(lambda: bool(swarm.saw(ClaimUnanswered)))
        assert swarm.worker.ledger.beat().claims_through == 1
        assert swarm.held == []
        discovery = await swarm.discovery()
        assert discovery.token == task.token
        assert 2 + 1 <= anyio.current_time() - began <= 2 + 5 + 0.1
        assert len(swarm.leader.discoveries) == 1


@virtually
async def test_an_open_claim_is_not_covered_by_a_beat() -> None:
    async with rig() as swarm:
        swarm.leader.on_claim = lambda _: None
        await swarm.leader.dispatch()
        await swarm.until(lambda: len(swarm.leader.claims) == 1)
        assert swarm.worker.ledger.beat().claims_through == 0


@virtually
async def test_an_error_or_an_answer_without_the_lease_gives_the_task_back() -> None:
    async with rig() as swarm:
        answers = iter([ErrorReply(error="operator", message="no store"), ClaimReply()])
        swarm.leader.on_claim = lambda request: next(answers, swarm.leader.grant_all(request))
        await swarm.leader.dispatch()
        await swarm.discovery()
        assert len(swarm.leader.claims) == 3
        await swarm.at_rest()


@virtually
async def test_a_task_whose_run_nobody_leads_leaves_the_slot_to_other_runs() -> None:
    async with rig(slots=1) as swarm:
        orphan = (await swarm.leader.dispatch()).model_copy(
            update={"run": "run-without-leader", "token": "t9"}
        )
        await swarm.discovery()
        await swarm.leader.send(orphan)
        await swarm.until(lambda: bool(swarm.saw(ClaimUnanswered)))
        await swarm.leader.dispatch()
        await swarm.until(lambda: len(swarm.leader.discoveries) == 2)
        assert await backlog(swarm) == 1


@virtually
async def test_a_full_worker_takes_no_more_than_it_has_slots() -> None:
    async with rig(slow, slots=2) as swarm:
        for _ in range(5):
            await swarm.leader.dispatch("slow")
        await swarm.until(lambda: len(swarm.held) == 2)
        await anyio.sleep(10)
        assert len(swarm.held) == 2
        assert await backlog(swarm, "slow") == 3
        assert swarm.leader.beats[-1].status == "busy"
        await swarm.until(lambda: len(swarm.leader.discoveries) == 5, 400)


@virtually
async def test_slots_are_shared_by_all_agents_that_a_worker_offers() -> None:
    async with rig(slow, echo, slots=2) as swarm:
        for name in ("slow", "slow", "slow", "echo", "echo"):
            await swarm.leader.dispatch(name)
        await swarm.until(lambda: len(swarm.held) == 2)
        await anyio.sleep(50)
        assert swarm.worker.ledger.taken == 2
        await swarm.until(lambda: len(swarm.leader.discoveries) == 5, 500)
        await swarm.at_rest()


@virtually
async def test_a_message_that_cannot_be_read_is_refused_for_good_and_reported() -> None:
    async with rig() as swarm:
        await swarm.leader.transport.publish("swarm.tasks.echo", b'{"id": 1e999}', message_id="m1")
        await swarm.until(lambda: bool(swarm.saw(MessageRefused)))
        assert swarm.saw(MessageRefused)[0].subject == "swarm.tasks.echo"
        assert await backlog(swarm) == 0
        await swarm.leader.dispatch()
        await swarm.discovery()


@virtually
async def test_a_task_message_that_comes_twice_is_run_once() -> None:
    async with rig(slow, slots=3) as swarm:
        task = await swarm.leader.dispatch("slow")
        await swarm.leader.send(task)
        await swarm.until(lambda: swarm.held == [task.token])
        await swarm.leader.send(task)
        await anyio.sleep(20)
        assert swarm.worker.ledger.taken == 1
        assert await backlog(swarm, "slow") == 0
        await swarm.until(lambda: bool(swarm.leader.discoveries), 200)
        await swarm.at_rest()
        assert len(swarm.leader.discoveries) == 1


@virtually
async def test_a_claim_that_is_for_somebody_else_gives_its_message_back_and_frees_the_slot() -> None:
    async with rig(slots=1) as swarm:
        asked: list[ClaimRequest] = []

        def refuse_once(request: ClaimRequest) -> ClaimReply:
            asked.append(request)
            if len(asked) > 1:
                return swarm.leader.grant_all(request)
            (lease,) = request.leases
            refusal = Refusal(task=lease.task, token=lease.token, reason="another build", elsewhere=True)
            return ClaimReply(refusals=(refusal,))

        swarm.leader.on_claim = refuse_once
        task = await swarm.leader.dispatch()
        assert (await swarm.discovery()).token == task.token
        assert len(asked) == 2
        await swarm.at_rest()
        assert await backlog(swarm) == 0
