"""Rules of the small world that need no memory: what a worker makes of a message, what the store admits."""

from collections.abc import Callable, Hashable, Mapping

from blackboard.memory import MemoryStore, _Run
from blackboard.state import TaskRow
from blackboard.store import Batch
from protocol.errors import SwarmError
from tests.model.parts import Message, Worker
from tests.model.runs import Violation


class Once(dict):
    """Computes the value of a key when it is first asked for."""

    def __init__(self, compute: Callable[..., object]) -> None:
        super().__init__()
        self._compute = compute

    def __missing__(self, key: Hashable) -> object:
        value = self[key] = self._compute(*key) if isinstance(key, tuple) else self._compute(key)
        return value


def heard(name: str, worker: Worker, one: Message) -> Worker | None:
    """The worker after a message; None for what is not for it, or has to wait."""
    if one.kind == "task":
        return (
            worker._replace(doing="claims", task=one.task, token=one.token)
            if worker.doing == "idle"
            else None
        )
    if one.worker != name or one.kind in ("claim", "result"):
        return None
    claims = worker.doing == "claims"
    if one.token != worker.token or claims != (one.kind in ("grant", "refusal")):
        return worker
    if one.kind == "grant":
        return worker._replace(doing="runs") if one.incarnation == worker.incarnation else worker
    return Worker(worker.incarnation)


def check_true(one: Message, tasks: Mapping[str, TaskRow]) -> None:
    """What leaves a leader is true in the store, now or before.

    :raises Violation:
    """
    task = tasks.get(one.task)
    if one.kind not in ("task", "grant", "settled"):
        return
    if task is None or task.attempt < int(one.token.rpartition("-")[2]):
        raise Violation(f"the {one} leaves, and the store knows nothing of that dispatch")
    if task.token != one.token or task.status not in ("dispatched", "running"):
        return
    if one.kind == "settled":
        raise Violation(f"the {one} leaves, and in the store the task is {task.status}")
    if one.kind == "grant" and (task.worker, task.incarnation) != (one.worker, str(one.incarnation)):
        raise Violation(f"the {one} leaves, and in the store {task.worker or 'nobody'} holds the task")


def left_after(faults: int, bus: int) -> tuple[int, int, int]:
    """Of `crashes * bus + bus_faults`, what no fault, one of the bus, and a death leave; below 0: too few."""
    return faults, faults - 1 if faults % bus else -1, faults - bus


def admits(owns: bool, current: bool) -> bool:
    """Whether the in-memory store takes an append by its leader's token and on its head."""
    run = _Run(head=1 if current else 2, token="mine" if owns else "another", token_expires=1.0)
    store = MemoryStore(lambda: 0.0)
    batch = Batch("run", "mine", 1, [b"event"], [])
    try:
        store._check(run, batch, store._token(run) == batch.token)
    except SwarmError:
        return False
    return True
