"""Decides from outside whether the promises held: no line of the product's is imported here.

It reads what clients saw, each record with its moment, and what the store held at the end.
Nothing else counts: not what a process believed, not what a metric said.

Records have `at` (seconds) and `op`:

| op | fields | who saw it |
|---|---|---|
| submit, cancel | run, outcome: ok, fail or unknown | whoever asked |
| begin | run, task, attempt, execution, worker | the agent, at its first line; `execution` is its own |
| pay | task, execution, step | the agent, where money would be spent |
| step | task, execution, step, value | the agent, once the step's value is recorded |
| finish | task, attempt, execution, outcome, payloads | the agent, at its last line |
| receipt | task, token, verdict, worker; `sent`, if it is known when | the worker |
| fault | kind | whoever caused it |

The final state is JSON as the store gave it: per run `spec`, `totals`, `tasks`, `directions`, `artifacts` and
`log`, a list of pairs of kind and data; None where old segments were trimmed and not archived.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]
Seen = Sequence[Row]
"""The records in the order of their moments."""
ENDS = frozenset(("done", "failed", "cancelled", "dead"))
ROLLBACKS = frozenset(("store rolled back", "store cut"))
"""Faults after which a run goes on from a prefix of its log (P10): what was seen before may be gone."""


@dataclass(frozen=True, order=True)
class Breach:
    """A promise that did not hold, and what shows it."""

    promise: str
    what: str


def check(seen: Seen, final: Mapping[str, Row]) -> list[Breach]:
    """All breaches; none when the promises held."""
    since = max(
        (one["at"] for one in seen if one["op"] == "fault" and one["kind"] in ROLLBACKS), default=-1.0
    )
    found = list(_answers(seen, final, since))
    for run, state in sorted(final.items()):
        mine = [one for one in seen if one.get("run") == run or one.get("task") in state["tasks"]]
        found += _ends(run, state)
        found += _attempts(state)
        found += _results(mine, state, since)
        found += _payments(mine, since)
        found += _statistics(state)
        if state["log"] is not None:
            found += _log(state)
    return sorted(set(found))


def _answers(seen: Seen, final: Mapping[str, Row], since: float) -> Iterator[Breach]:
    """What was said to be true is there (P1, P2); what was refused is not."""
    tasks = {task for state in final.values() for task in state["tasks"]}
    for one in seen:
        there = one.get("run") in final
        if one["op"] == "submit" and one["outcome"] == "ok" and not there and one["at"] > since:
            yield Breach("P1", f"run {one['run']} was accepted and is not there")
        if one["op"] == "submit" and one["outcome"] == "fail" and there and not _accepted(seen, one["run"]):
            yield Breach("P1", f"run {one['run']} was refused and is there")
        if one["op"] == "begin" and one["task"] not in tasks and one["at"] > since:
            yield Breach("P1", f"task {one['task']} was executed and is not there")
        if (
            one["op"] == "receipt"
            and one["verdict"] == "settled"
            and one["task"] not in tasks
            and _sent(one) > since
        ):
            yield Breach("P2", f"task {one['task']} has a receipt and is not there")
        if one["op"] == "cancel" and one["outcome"] == "ok" and there and one["at"] > since:
            going_on = final[one["run"]]["totals"].get("status") not in ("cancelled", "done", "failed")
            if going_on:
                yield Breach("P1", f"run {one['run']} was cancelled and goes on")


def _accepted(seen: Seen, run: str) -> bool:
    return any(one["op"] == "submit" and one["run"] == run and one["outcome"] != "fail" for one in seen)


def _ends(run: str, state: Row) -> Iterator[Breach]:
    """P1: every task has one end, with a reason, and so has the run."""
    if state["totals"].get("ended_ms") is None:
        yield Breach("P1", f"run {run} has not ended")
    for task in state["tasks"].values():
        if task.get("status") not in ENDS:
            yield Breach("P1", f"task {task['id']} is {task.get('status', 'queued')} for ever")
        elif task["status"] != "done" and not task.get("reason"):
            yield Breach("P9", f"task {task['id']} is {task['status']} and nobody says why")
    counts = Counter(task["status"] for task in state["tasks"].values() if task.get("status") in ENDS)
    told = {status: count for status, count in state["totals"].get("tasks", {}).items() if count}
    if told != counts:
        yield Breach("P6", f"run {run} counts its tasks as {told}, a recount says {dict(counts)}")


def _attempts(state: Row) -> Iterator[Breach]:
    """P4: up to the limit, then a dead letter."""
    limit = state["spec"].get("max_attempts", 5)
    for task in state["tasks"].values():
        if task.get("tries", 0) > limit:
            yield Breach("P4", f"task {task['id']} was tried {task['tries']} times, with {limit} allowed")
        if task.get("tries", 0) > task.get("attempt", 0):
            yield Breach("P4", f"task {task['id']} has more tries than attempts")


def _results(mine: Seen, state: Row, since: float) -> Iterator[Breach]:
    """P2 and P3: a settled result is there, byte for byte, once; and it is the one that was settled."""
    artifacts: dict[str, list[Row]] = defaultdict(list)
    for artifact in state["artifacts"].values():
        artifacts[artifact["producer"]["task"]].append(artifact)
    finished = _finished(mine)
    for task in state["tasks"].values():
        posted = artifacts.pop(task["id"], [])
        if posted and task.get("status") != "done":
            yield Breach("P3", f"task {task['id']} is {task.get('status')}, and left artifacts")
        if task.get("status") != "done":
            continue
        if len(posted) != task.get("artifacts", 0):
            yield Breach(
                "P2",
                f"task {task['id']} posted {task.get('artifacts', 0)} artifacts, {len(posted)} are there",
            )
        attempts = {artifact["producer"]["attempt"] for artifact in posted}
        if attempts - {task["attempt"]}:
            yield Breach(
                "P3",
                f"task {task['id']} ended in attempt {task['attempt']}, its artifacts come from {attempts}",
            )
        results = finished[task["id"], task["attempt"]]
        if not results:
            if any(one["op"] == "begin" and one["task"] == task["id"] for one in mine):
                yield Breach(
                    "P3", f"task {task['id']} is done in attempt {task['attempt']}, which never finished"
                )
        elif _sorted(one.get("payload") for one in posted) not in [
            _sorted(one["payloads"]) for one in results
        ]:
            yield Breach(
                "P2", f"task {task['id']} holds other artifacts than its attempt {task['attempt']} posted"
            )
    for task in artifacts:
        yield Breach("P2", f"artifacts of task {task} are there, and the task is not")
    yield from _receipts(mine, state, since)


def _sent(receipt: Row) -> float:
    """A receipt may be late, or come again, when what it was true of is gone."""
    return receipt.get("sent", receipt["at"])


def _receipts(mine: Seen, state: Row, since: float) -> Iterator[Breach]:
    """What a worker was told is so. What it finished before a rollback may have been settled before, too; and
    one that takes a claim with it leaves two workers with a token, of whom one is told that it is stale.
    """
    attempts = _attempts_by_token(state)
    finished = _finished(mine)
    for one in mine:
        if one["op"] != "receipt" or _sent(one) <= since:
            continue
        task = state["tasks"][one["task"]]
        counts = task.get("status") == "done" and task.get("token") == one["token"]
        theirs = task.get("worker") == one["worker"] or since < 0
        if one["verdict"] == "stale" and counts and theirs and not _rolled_back(state):
            yield Breach("P3", f"task {one['task']}: the result that counts was called stale")
        ended = finished[one["task"], attempts.get(one["token"], 0)]
        done = any(result["outcome"] == "done" and result["at"] > since for result in ended)
        if one["verdict"] == "settled" and done and not counts:
            yield Breach("P2", f"task {one['task']}: a result was settled, and another or none is there")


def _finished(mine: Seen) -> Mapping[tuple[str, int], list[Row]]:
    """By task and attempt; several where a rolled back store gave one attempt's number twice."""
    found: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for one in mine:
        if one["op"] == "finish":
            found[one["task"], one["attempt"]].append(one)
    return found


def _attempts_by_token(state: Row) -> Mapping[str, int]:
    return {data["token"]: data["attempt"] for kind, data in state["log"] or () if kind == "task_dispatched"}


def _rolled_back(state: Row) -> bool:
    return state["totals"].get("lost_events", 0) > 0


def _sorted(payloads: Iterable[object]) -> list[str]:
    return sorted(json.dumps(payload, sort_keys=True) for payload in payloads)


def _payments(mine: Seen, since: float) -> Iterator[Breach]:
    """P5: what begins after a step was recorded does not pay for it again, and gets the same value."""
    begun = {one["execution"]: one["at"] for one in mine if one["op"] == "begin"}
    recorded: dict[tuple[str, str], tuple[float, object]] = {}
    for one in mine:
        if one["op"] not in ("pay", "step") or begun[one["execution"]] <= since:
            continue
        at, value = recorded.get((one["task"], one["step"]), (None, None))
        later = at is not None and begun[one["execution"]] > at
        if one["op"] == "pay" and later:
            yield Breach("P5", f"task {one['task']} paid again for {one['step']!r}, which was recorded")
        if one["op"] == "step":
            if later and value != one["value"]:
                yield Breach(
                    "P5", f"task {one['task']} got {one['value']!r} for {one['step']!r}, not {value!r}"
                )
            recorded.setdefault((one["task"], one["step"]), (one["at"], one["value"]))


def _statistics(state: Row) -> Iterator[Breach]:
    """P6: what directions say of their visits is what the tasks say."""
    visits: dict[str, list[Row]] = defaultdict(list)
    for task in state["tasks"].values():
        visits[task["direction"]].append(task)
    for identity in visits.keys() - state["directions"].keys():
        yield Breach("P6", f"direction {identity} has visits and no statistics")
    for identity, row in state["directions"].items():
        tasks = visits.get(identity, [])
        told = [task for task in tasks if task.get("status") in ("done", "failed", "dead")]
        rewards = [task.get("reward_micro", 0) for task in told]
        recount = {
            "numbered": len(tasks),
            "in_flight": sum(task.get("status") not in ENDS for task in tasks),
            "visits": len(told),
            "expired": sum(task.get("status") == "cancelled" for task in tasks),
            "reward_sum_micro": sum(rewards),
            "reward_squares": sum(reward * reward for reward in rewards),
            "reward_best_micro": max([0, *rewards]),
        }
        for name, count in recount.items():
            if row.get(name, 0) != count:
                yield Breach(
                    "P6", f"direction {identity} has {name} {row.get(name, 0)}, a recount says {count}"
                )
        if len({task["visit"] for task in tasks}) != len(tasks):
            yield Breach("P6", f"direction {identity} has two visits of one number")
    yield from _budget(state)


def _budget(state: Row) -> Iterator[Breach]:
    budget = (state["spec"].get("budget") or {}).get("tasks")
    explorers = {one["name"] for one in state["spec"]["agents"] if one.get("trigger", "explore") == "explore"}
    asked = {identity for identity, row in state["directions"].items() if row.get("inquiry")}
    made = sum(
        task["agent"] in explorers and task["direction"] not in asked for task in state["tasks"].values()
    )
    if budget is not None and made > budget:
        yield Breach("P6", f"{made} visits were made, with a budget of {budget}")


def _log(state: Row) -> Iterator[Breach]:
    """The log tells a life of every task that the rules allow, and it ends as the row says."""
    lives: dict[str, _Life] = {}
    tokens: Counter[str] = Counter()
    posted: Counter[str] = Counter()
    asked: dict[str, str] = {}
    for kind, data in state["log"]:
        if kind == "inquiry_asked":
            asked[data["inquiry"]] = data["task"]
        if kind == "inquiry_answered":
            lives[asked[data["inquiry"]]].answered()
        if kind == "artifact_posted":
            posted[data["artifact"]["id"]] += 1
        if kind == "task_dispatched":
            tokens[data["token"]] += 1
            lives.setdefault(data["task"], _Life())
        for task, one in _of_tasks(kind, data):
            life = lives.get(task)
            problem = life.take(kind, one) if life is not None else None
            if problem:
                yield Breach("P3" if "token" in problem else "P1", f"task {task}: {problem}")
    yield from (
        Breach("P3", f"token {token} was given {count} times") for token, count in tokens.items() if count > 1
    )
    yield from (
        Breach("P2", f"artifact {one} was posted {count} times") for one, count in posted.items() if count > 1
    )
    if set(posted) != set(state["artifacts"]):
        yield Breach("P2", "the artifacts are not those that the log posted")
    for identity in lives.keys() ^ state["tasks"].keys():
        yield Breach("P1", f"task {identity} is in the log or among the rows, not in both")
    for identity, life in lives.items():
        row = state["tasks"].get(identity)
        if row is not None and (life.status, life.attempt) != (
            row.get("status", "queued"),
            row.get("attempt", 0),
        ):
            yield Breach(
                "P1", f"task {identity} is {row.get('status')} in its row and {life.status} in the log"
            )


def _of_tasks(kind: str, data: Row) -> Iterator[tuple[str, Row]]:
    """An event, once for each task that it is about."""
    if kind == "tasks_claimed":
        for task, token in data["tasks"].items():
            yield task, {**data, "token": token}
    elif "task" in data:
        yield data["task"], data


class _Life:
    """One task, as its events tell it."""

    def __init__(self) -> None:
        self.status = "queued"
        self.attempt = 0
        self.token = ""
        self.holder: tuple[str, str] | None = None

    def take(self, kind: str, data: Row) -> str | None:
        """What is wrong with the next event; None if nothing is."""
        if kind == "task_dispatched":
            problem = None
            if self.status != "queued":
                problem = f"dispatched again while {self.status}"
            elif data["attempt"] != self.attempt + 1:
                problem = f"attempt {data['attempt']} follows {self.attempt}"
            self.status, self.attempt, self.token, self.holder = (
                "dispatched",
                data["attempt"],
                data["token"],
                None,
            )
            return problem
        if kind == "tasks_claimed":
            holder = (data["worker"], data["incarnation"])
            free = self.status == "dispatched" or (self.status == "running" and self.holder == holder)
            problem = None if free else f"granted to {holder[0]} while {self.status}"
            self.status, self.holder = "running", holder
            return problem or self._fence(data)
        if kind in ("task_requeued", "task_suspended"):
            problem = None if self.status in ("dispatched", "running") else f"taken back while {self.status}"
            fenced = self._fence(data)
            self.status, self.token = ("queued" if kind == "task_requeued" else "waiting"), ""
            return problem or fenced
        if kind == "task_settled":
            problem = (
                f"ended {data['status']} after it had ended {self.status}" if self.status in ENDS else None
            )
            fenced = self._fence(data)
            self.status = data["status"]
            return problem or fenced
        if kind == "steps_recorded":
            return self._fence(data) or (
                None if self.status not in ENDS else f"a step after it was {self.status}"
            )
        return None

    def answered(self) -> None:
        """One of its questions has ended: it waits no more."""
        if self.status == "waiting":
            self.status = "queued"

    def _fence(self, data: Row) -> str | None:
        return None if data["token"] == self.token else f"{data['token']} is not its token"
