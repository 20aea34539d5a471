"""Simulates a seed, judges it by the history checker, and cuts its failure down.

python -m tests.sim.simulate --seed N
"""

import argparse
import json
import logging
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import anyio

from blackboard.memory import MemoryStore
from coordinator.settings import Settings
from coordinator.submit import submit
from coordinator.verification.verify import verify
from protocol import subjects
from protocol.codec import encode
from protocol.errors import StoreUnavailable, SwarmError
from protocol.messages import CancelRequest
from protocol.transport.memory import MemoryTransport
from tests.history.checker import Breach, check
from tests.history.final import final_state
from tests.sim.job import agents, spec
from tests.sim.loop import SeededLoop, memory_at_rest, run_seeded
from tests.sim.machine import SETTINGS, TRACE_KEPT, Machine, leaves
from tests.sim.plan import RAGE_SECONDS, Fault, faults_at_points, random_faults

CALM_SECONDS = 1_200.0
RUNS = ("run-1", "run-2")
"""The second is cancelled half way."""
CANCEL_SECONDS = 4.0
Client = Callable[[Machine], Awaitable[None]]
LATE_SECONDS = 12.0
"""What is waited for after the end: whatever still comes must change nothing."""


@dataclass
class Outcome:
    """How a simulation went."""

    seed: int
    plan: Sequence[Fault]
    trace: str
    steps: int
    virtual_seconds: float
    faults: Counter = field(default_factory=Counter)
    calls: Counter = field(default_factory=Counter)
    problems: Sequence[str] = ()
    lines: Sequence[str] = ()
    seen: Sequence[dict] = ()
    final: Mapping[str, dict] = field(default_factory=dict)


def faults_of(seed: int) -> Sequence[Fault]:
    """Every other seed has its faults at points of the code."""
    return random_faults(seed) if seed % 2 else faults_at_points(seed)


def simulate(
    seed: int,
    plan: Sequence[Fault] | None = None,
    settings: Settings = SETTINGS,
    client: Client | None = None,
    runs: Sequence[str] = RUNS,
) -> Outcome:
    """One seed from its first task to the checker's word. The client makes the runs."""
    faults = faults_of(seed) if plan is None else plan
    machines: list[Machine] = []
    problems: list[str] = []

    async def main(loop: SeededLoop) -> None:
        try:
            async with anyio.create_task_group() as tasks:
                machine = Machine(loop, seed, faults, tasks, settings=settings)
                machines.append(machine)
                try:
                    problems.extend(await _play(machine, client or ask_for_runs, runs))
                finally:
                    machine.wake_all()
                tasks.cancel_scope.cancel()
        except* Exception as errors:  # noqa: BLE001 - whatever goes wrong is this seed's result
            problems.extend(repr(error) for error in leaves(errors))

    try:
        with memory_at_rest():
            run_seeded(main, None if seed % 4 == 0 else seed)
    except (AssertionError, RuntimeError) as error:
        problems.append(f"{type(error).__name__}: {error}")
    machine = machines[0]
    return Outcome(
        seed, faults, machine.trace.hexdigest(), machine.loop.steps, machine.loop.time() - 1000,
        machine.done, machine.calls, tuple(problems), machine.trace.lines[-TRACE_KEPT:],
        machine.seen, machine.ended,
    )  # fmt: skip


async def _play(machine: Machine, client: Client, runs: Sequence[str]) -> list[str]:
    machine.agents = agents(machine)
    machine.tasks.start_soon(machine.bus.run, name="bus")
    machine.start_all()
    machine.tasks.start_soon(client, machine, name="client")
    await machine.rage(RAGE_SECONDS)
    patience = CALM_SECONDS + machine.set_back_seconds
    with anyio.move_on_after(patience) as calm:
        while not all([await _ended(machine, run) for run in runs]):
            await anyio.sleep(1)
    await anyio.sleep(LATE_SECONDS)
    machine.ended = await final_state(machine.store, runs)
    breaches = _judged(machine)
    unsound = [problem for run in runs for problem in await _unsound(machine.store, run)]
    late = [f"the runs have not ended {patience:,.0f} s after the faults stopped"] * calm.cancelled_caught
    return late + [f"{one.promise}: {one.what}" for one in breaches] + unsound


def _judged(machine: Machine) -> Sequence[Breach]:
    """The checker's word on all but forks, whose tasks are those of their source: the proof judges these."""
    own = {run: one for run, one in machine.ended.items() if one["spec"].get("origin") is None}
    begun = [one for one in machine.seen if one["op"] == "begin"]
    foreign = {one["execution"] for one in begun if one["run"] not in own}
    seen = [one for one in machine.seen if one.get("execution") not in foreign]
    return check(seen, own)


async def _unsound(store: MemoryStore, run: str) -> list[str]:
    """Where what a run's store holds is not what its events have made."""
    found = await verify(store, run)
    unproven = [] if found.proven else [f"{run} cannot be proven: {found.unproven}"]
    return unproven + [f"{run}: {one.what} {one.id} {one.problem}" for one in found.differences]


async def ask_for_runs(machine: Machine) -> None:
    """A client of its own: submits two runs, and cancels the second."""
    transport = MemoryTransport(machine.bus)
    for name in RUNS:
        await repeat(machine, "submit", name, partial(_submit, machine, transport, name))
    await anyio.sleep(CANCEL_SECONDS)
    await repeat(machine, "cancel", RUNS[1], partial(_cancel, machine, transport))


async def repeat(machine: Machine, op: str, run: str, do) -> None:
    """Asks until the answer is definite."""
    while True:
        try:
            await do()
        except SwarmError:
            machine.record(op, run=run, outcome="unknown")
            if op == "cancel" and await _ended(machine, run):
                return
            await anyio.sleep(1)
        else:
            machine.record(op, run=run, outcome="ok")
            return


async def _submit(machine: Machine, transport: MemoryTransport, name: str) -> None:
    act = machine.judge("client", "store.append")
    if act in ("fail", "kill"):
        raise StoreUnavailable("append", "a fault")
    now_ms = 1_700_000_000_000
    await submit(machine.store, transport, spec(name, machine.seed), now_ms=now_ms, max_active=10)
    if act:
        raise StoreUnavailable("append", "a fault, after it was done")


async def _cancel(machine: Machine, transport: MemoryTransport) -> None:
    data = encode(
        CancelRequest(reason="enough"), source="client", message_id="cancel", time_ms=1_700_000_000_000
    )
    reply = await transport.request(subjects.board(RUNS[1], "client", "cancel"), data, timeout_seconds=5)
    if b"cancel.reply" not in reply:
        raise StoreUnavailable("cancel", "no cancel reply")


async def _ended(machine: Machine, run: str) -> bool:
    row = (await machine.store.rows(run, "run", ["totals"])).get("totals")
    return row is not None and "ended_ms" in json.loads(row)


def minimised(seed: int, plan: Sequence[Fault]) -> Outcome:
    """Leaves out whatever is not needed to fail: halves first, then single faults."""
    kept, size = list(plan), max(1, len(plan) // 2)
    best = simulate(seed, kept)
    while size:
        at = 0
        while at < len(kept):
            fewer = kept[:at] + kept[at + size :]
            tried = simulate(seed, fewer)
            if tried.problems:
                kept, best = fewer, tried
            else:
                at += size
        size //= 2
    return best


def described(outcome: Outcome) -> str:
    """What is needed to see a failure again."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    small = minimised(outcome.seed, outcome.plan)
    return "\n".join(
        [
            f"seed {outcome.seed} at commit {commit.stdout.strip() or 'unknown'}:",
            *(f"  {problem}" for problem in outcome.problems),
            f"again: python -m tests.sim.simulate --seed {outcome.seed}",
            f"{len(small.plan)} of {len(outcome.plan)} faults suffice for {'; '.join(small.problems[:2])}",
            *(f"  {fault}" for fault in small.plan),
            "the last that happened:",
            *(f"  {line}" for line in small.lines[-60:]),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, required=True)
    seed = parser.parse_args().seed
    logging.disable()  # what goes wrong goes wrong on purpose
    outcome = simulate(seed)
    if outcome.problems:
        print(described(outcome), file=sys.stderr)
        return 1
    print(f"seed {seed}: no breach in {outcome.steps:,} steps; trace {outcome.trace}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
