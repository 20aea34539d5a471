"""Any order and any repetition of messages leads to one end per task (P1, P3, P6), by property."""

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from blackboard import events as ev
from blackboard.events import MICRO
from coordinator.decision import AnswerInquiry, Cancel, Loss, Lost, Pause, Retry, Sweep
from protocol.messages import AnswerRequest, CancelRequest, Lease, PauseRequest, RetryRequest, Wait
from tests.support.table import Table, spec

MOVES = (
    *("dispatch", "claim", "commit", "repeat", "lose", "verify", "conclude", "wait", "release", "fail"),
    *("suspend", "answer", "pause", "cancel", "retry"),
)
WAITS = (
    Wait(kind="human", target="human", path="human", question="a?", timeout_ms=30_000),
    Wait(kind="human", target="human", path="human", request="b", question="b?", timeout_ms=10_000),
    Wait(kind="agent", target="verify", path="ask/verify", question="so?"),
    Wait(kind="agent", target="nobody", path="ask/nobody", question="so?"),
    Wait(kind="time", target="clock", path="sleep", timeout_ms=20_000),
)


class Storm:
    """Plays random moves, keeps every message ever sent, and repeats old ones at will."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.table = Table(spec(max_attempts=3), seed=seed)
        self.leases: list[Lease] = []
        self.sent: list[tuple[Lease, str, dict]] = []

    def play(self, move: str) -> None:
        match move:
            case "dispatch" | "verify":
                lease = self.table.dispatch("explore" if move == "dispatch" else "verify")
                if lease is not None:
                    self.leases.append(lease)
            case "claim" if self.leases:
                worker = self.random.choice(("w1", "w2", "w3"))
                self.table.claim(self.random.choice(self.leases), worker=worker, incarnation=f"{worker}-i")
            case "commit" | "release" | "fail" | "suspend" if self.leases:
                self._send(self.random.choice(self.leases), move)
            case "repeat" if self.sent:
                lease, worker, fields = self.random.choice(self.sent)
                self.table.commit(lease, worker=worker, **fields)
            case "lose":
                self._lose()
            case "conclude":
                self.table.conclude()
            case "cancel" if self.leases:
                tasks = (self.random.choice(self.leases).task,)
                self.table.do(Cancel(CancelRequest(tasks=tasks), "source"))
            case "retry":
                tasks = tuple(
                    self.random.sample(list(self.table.state.tasks), min(2, len(self.table.state.tasks)))
                )
                self.table.do(Retry(RetryRequest(tasks=tasks), "source"))
            case "pause":
                self._pause(self.random.random() < 0.5)
            case "answer" if self.table.state.inquiries:
                self._answer(self.random.choice(list(self.table.state.inquiries)))
            case "wait":
                self.table.now_ms += 5_000
            case _:
                pass

    def _send(self, lease: Lease, move: str) -> None:
        fields: dict = {"reward": self.random.randrange(MICRO) / MICRO}
        if move == "release":
            fields = {"outcome": "released"}
        elif move == "fail":
            kind = self.random.choice(("user", "capacity", "transient", "bug"))
            fields = {"outcome": "failed", "failure": {"kind": kind, "message": "no"}}
        elif move == "suspend":
            fields = {"outcome": "waiting", "waits": self.random.sample(WAITS, self.random.randrange(1, 4))}
        else:
            topic = f"topic {self.random.randrange(4)}"
            fields["follow_ups"] = [{"agent": "explore", "topic": topic}]
            fields["artifacts"] = [{"type": "passage", "payload": {"n": self.random.randrange(5)}}]
        worker = self.random.choice(("w1", "w2", "w3"))
        self.sent.append((lease, worker, fields))
        self.table.commit(lease, worker=worker, **fields)

    def _answer(self, inquiry: str) -> None:
        request = AnswerRequest(inquiry=inquiry, answerer="ada", answer=self.random.randrange(2))
        self.table.do(AnswerInquiry(request, "source"))

    def _pause(self, paused: bool) -> None:
        self.table.do(Pause(PauseRequest(paused=paused), "source"))

    def _lose(self) -> None:
        lost = [
            Lost(worker, self.table.state.tasks[task].incarnation or "", {task: Loss("silent", "silent")})
            for worker, tasks in self.table.state.held.items()
            for task in tasks
        ]
        self.table.do(Sweep(lost))

    def finish(self) -> None:
        """Faults stop: everything that is open is dispatched, claimed and committed to the end."""
        self._pause(False)
        for _ in range(10_000):
            if self.table.state.totals.ended:
                return
            self.table.now_ms += 61_000
            self.table.do(Sweep())
            for agent in ("verify", "explore", "report"):
                lease = self.table.dispatch(agent)
                if lease is not None:
                    self.leases.append(lease)
            for task in (
                *self.table.state.dispatched,
                *[t for h in self.table.state.held.values() for t in h],
            ):
                row = self.table.state.tasks[task]
                lease, holder = Lease(task=task, token=row.token), row.worker or "w1"
                self.table.commit(lease, worker=holder, reward=0.5, exhausted=True)
            self.table.conclude()
        raise AssertionError("the run did not end")


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.sampled_from(MOVES), max_size=120))
def test_any_order_and_repetition_ends_every_task_once_and_keeps_the_statistics_exact(seed, moves):
    storm = Storm(seed)
    for move in moves:
        storm.play(move)
    storm.table.check()
    storm.finish()
    storm.table.check()
    ended = Counter(event.task for event in storm.table.log if isinstance(event, ev.TaskSettled))
    for event in storm.table.log:
        if isinstance(event, ev.TasksRetried):
            ended.subtract(event.tasks)
    assert ended == dict.fromkeys(storm.table.state.tasks, 1)
    assert not any(row.open for row in storm.table.state.inquiries.values()), "a question is open for ever"


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False))
def test_shuffled_and_repeated_results_lead_to_the_same_rows(shuffle):
    def play(order: list[int]) -> dict:
        table = Table(spec(budget={"tasks": 8}))
        leases = [table.held() for _ in range(8)]
        for at in order:
            table.commit(leases[at], reward=at / 8, artifacts=[{"type": "note", "payload": at}])
        table.check()
        return {
            "tasks": {
                row.id: (row.status, row.reward_micro, row.artifacts) for row in table.state.tasks.values()
            },
            "directions": {
                row.id: (row.visits, row.reward_sum_micro, row.reward_squares, row.yields)
                for row in table.state.directions.values()
            },
        }

    order = [*range(8), *range(8)]
    shuffle.shuffle(order)
    assert play(order) == play(list(range(8)))
