"""The job of the simulated swarm. Its agents tell the history what they begin, pay and finish."""

import itertools
import random
from collections.abc import Mapping
from contextlib import suppress

import anyio
from pydantic import BaseModel

from agents.agent import Agent, AgentFailure, Context, Discovery, InquiryFailed, WaitTimedOut, agent
from blackboard.spec import AgentSpec, Budget, RunSpec
from protocol.artifacts import artifact
from protocol.messages import FollowUp
from tests.sim.loop import PROCESS
from tests.sim.machine import Machine


@artifact("sim-find")
class Find(BaseModel, frozen=True):
    text: str


def spec(run: str, seed: int, tasks: int = 6) -> RunSpec:
    return RunSpec(
        run=run,
        goal="dig",
        agents=(
            AgentSpec(name="dig", publishes=("sim-find",)),
            AgentSpec(name="check", trigger="artifacts", consumes=("sim-find",)),
            AgentSpec(name="know", publishes=("sim-find",)),
            AgentSpec(name="tally", trigger="finish"),
        ),
        roots=(FollowUp(agent="dig", topic="one"), FollowUp(agent="dig", topic="two")),
        budget=Budget(tasks=tasks),
        max_attempts=20,
        seed=seed,
    )


class Execution:
    """One time that an agent runs, as it tells the history."""

    def __init__(self, machine: Machine, context: Context, number: int) -> None:
        self.where = {"task": context.task, "execution": number}
        self.chance = random.Random(f"{machine.seed} {context.task}")
        self._machine = machine
        self._context = context

    async def step(self, name: str) -> None:
        """A step that costs something; its value shows which attempt paid."""

        async def pay() -> str:
            self._machine.record("pay", step=name, **self.where)
            await anyio.sleep(0.2)
            return f"{name} of {self.where['execution']}"

        value = await self._context.step(name, self._context.topic, pay)
        self._machine.record("step", step=name, value=value, **self.where)

    def finish(self, found: list[Find], **fields: object) -> Discovery:
        self._machine.record(
            "finish", attempt=self._context.attempt, outcome="done",
            payloads=[one.model_dump() for one in found], **self.where,
        )  # fmt: skip
        return Discovery(found, **fields)


def agents(machine: Machine) -> Mapping[str, Agent]:
    """What a task does follows from the seed and its id, so that each attempt does the same."""
    executions = itertools.count(1)

    def begin(context: Context) -> Execution:
        execution = Execution(machine, context, next(executions))
        machine.record(
            "begin", run=context.run, worker=PROCESS.get(), attempt=context.attempt, **execution.where
        )
        return execution

    @agent("dig", publishes=[Find])
    async def dig(context: Context) -> Discovery:
        execution = begin(context)
        chance = execution.chance
        await execution.step("first")
        await anyio.sleep(chance.choice((0.0, 0.1, 1.0, 4.0)))
        if chance.random() < 0.25:
            with suppress(InquiryFailed, WaitTimedOut):
                await (context.sleep(2) if chance.random() < 0.5 else context.ask("know", context.topic))
        await execution.step("second")
        draw = chance.random()
        if draw < 0.08:
            raise ValueError("poison")
        if draw < 0.2 and context.attempt == 1:
            raise AgentFailure("transient", "a hiccup")
        follow = (FollowUp(agent="dig", topic=f"{context.topic} {context.visit}"),) if draw < 0.5 else ()
        found = [Find(text=f"{context.task} {n} of {execution.where['execution']}") for n in range(2)]
        return execution.finish(found, reward=round(draw, 3), follow_ups=follow)

    @agent("check", consumes=[Find], publishes=[Find])
    async def check(context: Context) -> Discovery:
        execution = begin(context)
        await anyio.sleep(execution.chance.choice((0.0, 0.5)))
        return execution.finish([], reward=1.0)

    @agent("know", publishes=[Find])
    async def know(context: Context) -> Discovery:
        return begin(context).finish([Find(text=context.topic)], reward=0.1)

    @agent("tally", consumes=[Find])
    async def tally(context: Context) -> Discovery:
        return begin(context).finish([], reward=float(len(await context.board.all(Find)) > 0))

    return {"dig": dig, "check": check, "know": know, "tally": tally}
