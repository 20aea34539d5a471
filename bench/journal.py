"""What a journal costs: bytes per model call as a conversation grows, and microseconds on worker and leader.

python -m bench.journal [--calls 10,100,1000] [--rounds 300] [--json]

The conversation's prompts hold all that was said before, as chats and ReAct's trajectories do. Times are of
the CPU: on the worker, `context.step` around a call that takes no time, less that call, with a leader in the
same process that answers at once; on the leader, the decision, the state and the bytes of the append.
"""

import argparse
import json
import secrets
import time
from collections.abc import Sequence

import anyio

from agents.agent import Context, Discovery, Priced, agent
from blackboard.encoding import encode_changes, encode_event
from blackboard.events import RunCreated, TaskDispatched
from blackboard.evolve import begin
from blackboard.spec import AgentSpec, RunSpec
from coordinator.decide import decide
from coordinator.decision import Claim, Env, Lead, RecordSteps, Visit
from coordinator.run import Run
from protocol.messages import ClaimRequest, FollowUp, Lease, RecordRequest, Step, Usage
from tests.worker.rig import rig

SAID = 400
"""Characters that each turn adds to the conversation."""
USAGE = Usage(model_calls=1, tokens_in=100, tokens_out=50, cost_microdollars=7)


def said(number: int) -> str:
    """Text that compresses no better than a model's would."""
    return f"{number}: " + secrets.token_hex(SAID // 2)


async def conversation(calls: int, *, recorded: bool = True) -> tuple[list[Step], int, float]:
    """The steps of a conversation, the bytes of all its prompts, and the CPU seconds that its calls took."""
    prompts = 0
    seconds = 0.0

    @agent("talk")
    async def talk(context: Context) -> Discovery:
        nonlocal prompts, seconds
        messages = [{"role": "system", "content": "You are a model. " * 20}]
        for number in range(calls):
            messages.append({"role": "user", "content": said(number)})
            request = {"model": "scripted", "temperature": 0.0, "messages": list(messages)}

            async def call(number: int = number) -> Priced:
                return Priced({"outputs": [said(number)]}, USAGE)

            began = time.process_time()
            value = await context.step("model", request, call) if recorded else (await call()).value
            seconds += time.process_time() - began
            messages.append({"role": "assistant", "content": value["outputs"][0]})
            prompts += len(json.dumps(request))
        return Discovery()

    async with rig(talk) as swarm:
        await swarm.leader.dispatch("talk")
        await swarm.discovery(seconds=600)
        steps = [step for record in swarm.leader.records for step in record.steps]
    return steps, prompts, seconds


def leader_seconds(steps: Sequence[Step]) -> float:
    """What the leader does with each step in turn: decide, evolve, encode the event and the rows."""
    spec = RunSpec(
        run="r", goal="g", agents=(AgentSpec(name="talk"),), roots=(FollowUp(agent="talk", topic="t"),)
    )
    run = Run.of(begin(RunCreated(at_ms=0, spec=spec)))
    env = Env(1, lambda: "token", lambda: 0.5)

    def do(command: object) -> list[object]:
        decision = decide(run, command, env)
        for event in decision.events:
            run.apply(event)
        return decision.events

    do(Lead("c1"))
    (dispatched,) = [event for event in do(Visit("talk")) if isinstance(event, TaskDispatched)]
    lease = Lease(task=dispatched.task, token=dispatched.token)
    do(Claim(ClaimRequest(worker="w", incarnation="i", number=1, leases=(lease,)), None))
    run.state.take_changes()
    began = time.process_time()
    for step in steps:
        request = RecordRequest(
            task=lease.task, token=lease.token, worker="w", incarnation="i", steps=(step,)
        )
        for event in do(RecordSteps(request, None)):
            encode_event(event)
        encode_changes(run.state)
    return time.process_time() - began


async def measure(sizes: Sequence[int], rounds: int) -> dict[str, object]:
    found: list[dict[str, float]] = []
    for calls in sizes:
        steps, prompts, _ = await conversation(calls)
        kept = [len(step.model_dump_json(exclude_defaults=True)) for step in steps]
        bodies = sum(step.asked.body.size_bytes for step in steps if step.asked and step.asked.body)
        tail = kept[-max(1, calls // 10) :]
        found.append(
            {
                "calls": calls,
                "bytes_per_call": (sum(kept) + bodies) / calls,
                "bytes_of_the_last_tenth_per_call": sum(tail) / len(tail),
                "bytes_of_whole_prompts_per_call": prompts / calls,
            }
        )
    steps, _, with_journal = await conversation(rounds)
    _, _, without = await conversation(rounds, recorded=False)
    return {
        "space": found,
        "worker_microseconds_per_call": (with_journal - without) / rounds * 1e6,
        "leader_microseconds_per_call": leader_seconds(steps) / rounds * 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", default="10,100,1000")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = anyio.run(measure, [int(size) for size in options.calls.split(",")], options.rounds)
    if options.json:
        print(json.dumps(found))
        return
    print("calls  bytes per call  of the last tenth  of whole prompts")
    for row in found["space"]:
        numbers = [row["bytes_per_call"], row["bytes_of_the_last_tenth_per_call"]]
        print(f"{row['calls']:>5}  {numbers[0]:>14,.0f}  {numbers[1]:>17,.0f}", end="  ")
        print(f"{row['bytes_of_whole_prompts_per_call']:>16,.0f}")
    print(
        f"worker: {found['worker_microseconds_per_call']:,.0f} microseconds per call, the leader's part aside"
    )
    print(f"leader: {found['leader_microseconds_per_call']:,.0f} microseconds per call, the store aside")


if __name__ == "__main__":
    main()
