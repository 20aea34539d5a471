"""Traps of systems of this kind: silent limits, lost payloads, failures that are final, leaked secrets."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import anyio
from pydantic import BaseModel

from agents.agent import Agent, AgentFailure, Context, Discovery, Posting, agent
from blackboard import events as ev
from blackboard.spec import AgentSpec, Budget, RunSpec
from blackboard.state import RunState
from protocol.artifacts import artifact
from protocol.messages import FollowUp
from tests.support.swarm import swarm
from tests.support.virtual import run_virtually


@artifact("traps-moment")
class Moment(BaseModel, frozen=True):
    at: datetime
    day: date
    took: timedelta
    price: Decimal


@artifact("traps-secret")
class Secret(BaseModel, frozen=True):
    text: str


MOMENT = Moment(
    at=datetime(2026, 1, 2, 3, 4, 5, 678901, UTC),
    day=date(2026, 1, 2),
    took=timedelta(milliseconds=1500),
    price=Decimal("0.1"),
)


def played(
    agents: Mapping[str, Agent], *specs: AgentSpec, roots: int = 1, slots: int = 4, **changes
) -> RunState:
    """The state at the end of a run of these agents."""
    names = specs or (AgentSpec(name=next(iter(agents))),)
    spec = RunSpec(
        run="run-1",
        goal="avoid traps",
        agents=names,
        roots=tuple(FollowUp(agent=names[0].name, topic=f"root {n}", max_visits=1) for n in range(roots)),
        budget=Budget(tasks=roots),
        **changes,
    )
    states: list[RunState] = []

    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator()
            hive.start_worker("w1", agents, slots=slots)
            await hive.submit(spec)
            await hive.ended("run-1")
            states.append(await hive.check("run-1"))

    run_virtually(main)
    return states[0]


def test_five_thousand_inputs_all_finish() -> None:
    @agent("count")
    async def count(_context: Context) -> Discovery:
        return Discovery(reward=0.5)

    assert played({"count": count}, roots=5_000, slots=256).totals.tasks == {"done": 5_000}


def test_a_payload_with_dates_and_decimals_comes_back_as_it_was() -> None:
    read: list[Moment] = []

    @agent("write", publishes=[Moment])
    async def write(_context: Context) -> Discovery:
        return Discovery([MOMENT], reward=1.0)

    @agent("read", consumes=[Moment])
    async def read_back(context: Context) -> Discovery:
        read.extend(context.load(one, Moment) for one in context.inputs)
        return Discovery(reward=1.0)

    state = played(
        {"write": write, "read": read_back},
        AgentSpec(name="write", publishes=("traps-moment",)),
        AgentSpec(name="read", trigger="artifacts", consumes=("traps-moment",)),
    )
    assert state.totals.tasks == {"done": 2}
    assert read == [MOMENT]


def test_an_engine_that_fails_is_called_again_and_a_hung_one_is_stopped() -> None:
    attempts: list[int] = []

    @agent("engine", timeout=timedelta(seconds=5))
    async def engine(context: Context) -> Discovery:
        attempts.append(context.attempt)
        if context.attempt == 1:
            raise AgentFailure("transient", "refused")
        if context.attempt == 2:
            await anyio.sleep_forever()
        return Discovery(reward=1.0)

    assert played({"engine": engine}).totals.tasks == {"done": 1}
    assert attempts == [1, 2, 3]


def test_work_that_must_wait_is_taken_up_when_its_time_has_come() -> None:
    times: list[float] = []

    @agent("limited")
    async def limited(context: Context) -> Discovery:
        times.append(anyio.current_time())
        if context.attempt < 8:
            raise AgentFailure("capacity", "429", retry_after=timedelta(seconds=40))
        return Discovery(reward=1.0)

    assert played({"limited": limited}, max_attempts=2).totals.tasks == {"done": 1}
    waits = [after - before for before, after in pairwise(times)]
    assert len(waits) == 7
    assert all(40 <= wait < 45 for wait in waits)


def test_the_same_artifact_with_another_content_is_a_conflict_and_overwrites_nothing() -> None:
    @agent("twice", publishes=[Secret])
    async def twice(_context: Context) -> Discovery:
        return Discovery([Posting(Secret(text=text), key="one") for text in ("first", "second")], reward=1.0)

    state = played({"twice": twice}, AgentSpec(name="twice", publishes=("traps-secret",)))
    (task,) = state.tasks.values()
    assert task.status == "dead"
    assert "immutable" in task.reason
    assert state.totals.artifacts == 0


def test_a_private_payload_reaches_only_those_who_may_see_it() -> None:
    seen: dict[str, list[str]] = {}

    @agent("tell", publishes=[Secret])
    async def tell(_context: Context) -> Discovery:
        return Discovery([Posting(Secret(text="psst"), visibility=("friend",), text="psst")], reward=1.0)

    def reader(name: str) -> Agent:
        @agent(name, consumes=[Secret])
        async def read(context: Context) -> Discovery:
            found = await context.board.all(Secret)
            listed, _ = await context.board.query(text="psst")
            by_id = await context.board.get([one.id for one in listed])
            seen[name] = [one.payload.text for one in found] + [one.id for one in (*listed, *by_id)]
            return Discovery(reward=1.0)

        return read

    state = played(
        {"tell": tell, "friend": reader("friend"), "stranger": reader("stranger"), "late": reader("late")},
        AgentSpec(name="tell", publishes=("traps-secret",)),
        AgentSpec(name="friend", trigger="artifacts", consumes=("traps-secret",)),
        AgentSpec(name="stranger", trigger="artifacts", consumes=("traps-secret",)),
        AgentSpec(name="late", trigger="finish"),
    )
    assert len(seen["friend"]) == 3
    assert "stranger" not in seen
    assert seen["late"] == []
    assert state.totals.tasks == {"done": 3}


def test_a_failing_sample_does_not_fail_the_others() -> None:
    @agent("sample")
    async def sample(context: Context) -> Discovery:
        if context.topic == "root 3":
            raise RuntimeError("the unlucky one")
        return Discovery(reward=1.0)

    state = played({"sample": sample}, roots=10)
    assert state.totals.tasks == {"done": 9, "dead": 1}
    assert state.totals.status == "done"


def test_every_end_has_a_reason_and_every_refusal_a_record() -> None:
    @agent("ramble")
    async def ramble(_context: Context) -> Discovery:
        return Discovery(
            reward=0.1, follow_ups=[FollowUp(agent="nobody", topic="x"), FollowUp(agent="ramble", topic=" ")]
        )

    records: list[ev.Event] = []

    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator()
            hive.start_worker("w1", {"ramble": ramble})
            spec = RunSpec(
                run="run-1",
                goal="x",
                agents=(AgentSpec(name="ramble"),),
                roots=(FollowUp(agent="ramble", topic="a", max_visits=1),),
            )
            await hive.submit(spec)
            assert (await hive.ended("run-1")).reason
            records.extend(await hive.events("run-1"))

    run_virtually(main)
    refused = [event.reason for event in records if isinstance(event, ev.FollowUpRefused)]
    assert refused == ["the run has no agent 'nobody'", "neither topic nor inputs"]
