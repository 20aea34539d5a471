"""A run of many iterations stays small: its log, what its leader knows, what the next leader reads."""

from collections.abc import Sequence

import anyio

from agents.agent import Context, Discovery, agent
from blackboard.spec import AgentSpec, Budget, RunSpec
from coordinator.records import Records
from coordinator.settings import Retention, Settings
from protocol.codec import decode_as, encode
from protocol.messages import (
    AnswerReply,
    AnswerRequest,
    CancelReply,
    CancelRequest,
    Control,
    FollowUp,
    RetryReply,
    RetryRequest,
    SwarmDiscovery,
)
from protocol.transport.memory import MemoryTransport
from tests.support.swarm import Swarm, swarm
from tests.support.virtual import run_virtually

LOG_EVENTS, SEGMENT = 200, 50
BOUNDED = Settings(retention=Retention(log_events=LOG_EVENTS, segment_events=SEGMENT))
ITERATIONS = 600
EVENTS_AT_ONCE = 10
"""More than one append has where one task is under way."""
FRAGILE = ("a valve", "a pump")


@agent("monitor")
async def monitor(context: Context) -> Discovery:
    await anyio.sleep(1)
    if context.topic in FRAGILE and (context.visit, context.attempt) == (3, 1):
        raise ValueError("a bug at the first attempt of the third visit")
    return Discovery(reward=0.5)


@agent("curious")
async def curious(context: Context) -> Discovery:
    answer = await context.ask_human("how much?")
    await anyio.sleep(1)
    return Discovery(reward=float(answer))


def iterations(tasks: int, name: str = "monitor", topics: Sequence[str] = ("the pressure",)) -> RunSpec:
    """The same visited again and again, one visit at a time."""
    return RunSpec(
        run="run-1",
        goal="look again",
        agents=(AgentSpec(name=name, max_running=1),),
        roots=tuple(FollowUp(agent=name, topic=topic) for topic in topics),
        budget=Budget(tasks=tasks),
    )


async def ask(hive: Swarm, verb: str, request, reply):
    now_ms = hive.clock.now_ms()
    data = encode(request, source="operator", message_id=f"{verb}-{now_ms}", time_ms=now_ms)
    subject = f"swarm.board.run-1.operator.{verb}"
    answer = await MemoryTransport(hive.bus).request(subject, data, timeout_seconds=5)
    return decode_as(answer, reply)


async def settled(hive: Swarm, count: int) -> None:
    with anyio.fail_after(600):
        while sum((await hive.totals("run-1")).tasks.values()) < count:
            await anyio.sleep(0.05)


async def sizes(hive: Swarm, coordinator: str) -> tuple[int, int, int]:
    """Events in the log, tasks that the leader knows, rows that the next one would read."""
    leader = hive.coordinators[coordinator].leaders["run-1"]
    loaded = await hive.store.load("run-1")
    rows = sum(len(rows) for rows in loaded.rows.values())
    return len(await hive.events("run-1")), len(leader.run.state.tasks), rows


def test_over_600_iterations_and_fail_overs_the_log_and_what_a_leader_knows_and_reads_stay_as_they_were():
    async def main() -> None:
        async with swarm(settings=BOUNDED) as hive:
            hive.start_worker("w1", {"monitor": monitor})
            hive.start_coordinator("c0")
            run = await hive.submit(iterations(ITERATIONS))
            for number in range(1, 6):
                await settled(hive, number * ITERATIONS // 6)
                events, known, read = await sizes(hive, f"c{number - 1}")
                assert LOG_EVENTS <= events < LOG_EVENTS + SEGMENT + EVENTS_AT_ONCE
                assert known <= 2  # the task under way, and one whose end is not committed yet
                assert read <= 4  # the specification, totals, the direction, the task under way
                hive.kill(f"c{number - 1}")
                hive.start_coordinator(f"c{number}")
            totals = await hive.ended(run)
            assert totals.tasks == {"done": ITERATIONS}
            assert totals.takeovers == 6
            rows = await Records(hive.store).tasks(run)
            assert [task.visit for task in rows] == list(range(1, ITERATIONS + 1))
            (direction,) = (await hive.directions(run)).values()
            assert direction.visits == ITERATIONS
            assert direction.reward_sum_micro == sum(task.reward_micro for task in rows)

    run_virtually(main)


def test_a_result_that_comes_again_after_its_task_is_forgotten_is_still_settled_and_another_stale():
    async def main() -> None:
        async with swarm() as hive:
            hive.start_worker("w1", {"monitor": monitor})
            hive.start_coordinator()
            await hive.submit(iterations(10))
            await settled(hive, 2)
            first = (await Records(hive.store).tasks("run-1"))[0]
            leader = hive.coordinators["c1"].leaders["run-1"]
            assert first.id not in leader.run.state.tasks
            said: dict[str, str] = {}
            bus = MemoryTransport(hive.bus)
            async with bus.subscribe("swarm.control.w1", lambda one: said.update(receipts(one.data))):
                for token in (first.token, "old"):
                    late = SwarmDiscovery(
                        run="run-1", task=first.id, token=token, worker="w1", incarnation="1", attempt=1
                    )
                    data = encode(late, source="w1", message_id=token, time_ms=hive.clock.now_ms())
                    await bus.publish("swarm.discoveries.w1.run-1", data, message_id=token)
                while not said.keys() >= {first.token, "old"}:
                    await anyio.sleep(0.05)
            assert (said[first.token], said["old"]) == ("settled", "stale")
            assert (await hive.ended("run-1")).refused == 1
            await hive.check("run-1")

    run_virtually(main)


def receipts(data: bytes) -> dict[str, str]:
    control = decode_as(data, Control)
    settled = {token: "settled" for _, token in control.settled}
    return settled | {refusal.token: "stale" for refusal in control.stale}


def test_forgotten_tasks_can_be_cancelled_in_vain_and_retried_and_the_statistics_are_counted_again():
    async def main() -> None:
        async with swarm() as hive:
            hive.start_worker("w1", {"monitor": monitor})
            hive.start_coordinator()
            await hive.submit(iterations(40, topics=(*FRAGILE, "the pressure")))
            await settled(hive, 20)
            tasks = await Records(hive.store).tasks("run-1")
            dead = [task.id for task in tasks if task.status == "dead"]
            assert len(dead) == 2
            cancelled = await ask(hive, "cancel", CancelRequest(tasks=(dead[0], "nowhere")), CancelReply)
            assert (cancelled.already_ended, cancelled.cancelled) == (True, 0)
            assert cancelled.missing == ("nowhere",)
            one = await ask(hive, "retry", RetryRequest(tasks=(dead[0], tasks[0].id)), RetryReply)
            assert one.retried == 1
            assert [refused.reason for refused in one.refused] == ["it ended well"]
            await settled(hive, 22)
            assert (await ask(hive, "retry", RetryRequest(), RetryReply)).retried == 1
            await settled(hive, 25)
            assert (await ask(hive, "retry", RetryRequest(), RetryReply)).retried == 0
            assert (await hive.ended("run-1")).tasks == {"done": 40, "dead": 0}
            state = await hive.check("run-1")
            for direction in state.directions.values():
                assert direction.reward_sum_micro == direction.visits * 500_000
            assert sum(direction.visits for direction in state.directions.values()) == 40

    run_virtually(main)


def test_an_answer_that_comes_again_after_its_task_is_forgotten_is_fine_and_another_is_refused():
    async def main() -> None:
        async with swarm() as hive:
            hive.start_worker("w1", {"curious": curious})
            hive.start_coordinator()
            await hive.submit(iterations(2, "curious"))
            records = Records(hive.store)
            while not (asked := await records.inquiries("run-1")):
                await anyio.sleep(0.05)
            request = AnswerRequest(inquiry=asked[0].id, answerer="ann", answer=0.5)
            assert (await ask(hive, "answer", request, AnswerReply)).verdict == "answered"
            await settled(hive, 1)
            while len(await records.inquiries("run-1")) < 2:
                await anyio.sleep(0.05)
            state = hive.coordinators["c1"].leaders["run-1"].run.state
            assert asked[0].id not in state.inquiries
            assert len(state.inquiries) == len(state.questions) == 1
            assert (await ask(hive, "answer", request, AnswerReply)).verdict == "answered"
            other = request.model_copy(update={"answer": 0.7})
            assert (await ask(hive, "answer", other, AnswerReply)).verdict == "refused"
            assert (
                await ask(hive, "answer", request.model_copy(update={"inquiry": "no"}), AnswerReply)
            ).reason
            assert len(state.inquiries) == len(state.questions) == 1
            second = next(row for row in await records.inquiries("run-1") if row.open)
            await ask(hive, "answer", request.model_copy(update={"inquiry": second.id}), AnswerReply)
            assert (await hive.ended("run-1")).tasks == {"done": 2}
            await hive.check("run-1")

    run_virtually(main)
