"""Budgets: reserved at dispatch, settled at commit, kept when in doubt."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blackboard import events as ev
from blackboard.spec import AgentSpec, Budget, Estimate
from coordinator.decision import Cancel, Loss, Lost, Pause, Sweep
from protocol.messages import CancelRequest, Lease, PauseRequest, Usage
from tests.support.table import Table, spec

CALLS = 3
"""What a task of the tests uses at most."""
ESTIMATE = Estimate(model_calls=CALLS)


def table(limit: int = 10, *, estimate: Estimate | None = ESTIMATE, **changes: object) -> Table:
    agents = (
        AgentSpec(name="explore", estimate=estimate),
        AgentSpec(name="report", trigger="finish", estimate=Estimate(model_calls=1)),
    )
    return Table(spec(agents=agents, budget=Budget(model_calls=limit), **changes))


def used(calls: int) -> dict[str, object]:
    return {"usage": Usage(model_calls=calls), "reward": 0.5}


def lose(one: Table, lease: Lease) -> None:
    one.do(Sweep([Lost("w1", "i1", {lease.task: Loss("silent", "silent")})]))


def test_a_dispatch_reserves_its_estimate_and_none_is_made_that_the_rest_does_not_cover():
    one = table(10)
    leases = [one.held() for _ in range(3)]
    assert one.state.totals.accounts["explore"].reserved == (9, 0, 0, 0)
    assert one.dispatch() is None, "one call is left, and that is for the report"
    one.commit(leases[0], **used(0))
    assert one.dispatch() is not None, "what was not used is there for others"
    one.check()


def test_what_a_lost_worker_may_have_used_is_kept():
    one = table(7)
    lease = one.held()
    lose(one, lease)
    account = one.state.totals.accounts["explore"]
    assert (account.spent, account.doubtful, account.reserved) == ((3, 0, 0, 0), (3, 0, 0, 0), (0, 0, 0, 0))
    again = one.held()
    assert again.task == lease.task
    one.commit(again, **used(2))
    assert account.spent == (5, 0, 0, 0)
    one.check()


def test_a_failure_that_does_not_say_what_it_used_is_kept_too_and_one_that_says_so_is_settled():
    one = table(100)
    failure = {"outcome": "failed", "failure": {"kind": "transient", "message": "no"}}
    one.commit(one.held(), **failure)
    one.now_ms += 60_000
    one.commit(one.held(), usage=Usage(model_calls=1), **failure)
    account = one.state.totals.accounts["explore"]
    assert (account.spent[0], account.doubtful[0]) == (CALLS + 1, CALLS)


def test_a_dispatch_that_nobody_claimed_gives_back_what_was_reserved():
    one = table(10)
    one.dispatch()
    one.do(Pause(PauseRequest(), "source"))
    assert one.state.totals.accounts["explore"].reserved == (0, 0, 0, 0)
    assert one.state.totals.accounts["explore"].spent == (0, 0, 0, 0)


def test_a_cost_that_is_unknown_counts_as_it_was_reserved():
    estimate = Estimate(cost_microdollars=50)
    agents = (AgentSpec(name="explore", estimate=estimate),)
    one = Table(spec(agents=agents, budget=Budget(cost_microdollars=100)))
    one.commit(one.held(), reward=0.5, usage=Usage(tokens_in=9, cost_microdollars=None))
    assert one.state.totals.accounts["explore"].spent == (0, 0, 9, 50)


def test_when_a_budget_is_spent_the_run_ends_well_with_what_it_has():
    one = table(4)
    one.commit(one.held(), **used(3))
    assert one.dispatch() is None
    stopped, _, opened = one.conclude()
    assert isinstance(stopped, ev.ExplorationStopped)
    assert "less is left" in stopped.reason or "is spent" in stopped.reason
    assert isinstance(opened, ev.DirectionOpened)
    one.commit(one.held("report"), usage=Usage(model_calls=1), reward=1.0)
    (ended,) = one.conclude()
    assert ended.status == "done"
    assert one.state.totals.usage.model_calls == 4
    one.check()


def test_a_task_that_no_budget_allows_again_is_cancelled_once_nothing_under_way_could_give_back():
    one = table(7)
    first, second = one.held(), one.held()
    one.commit(
        first, outcome="failed", usage=Usage(model_calls=3), failure={"kind": "capacity", "message": "no"}
    )
    one.now_ms += 120_000
    assert one.dispatch() is None
    one.conclude()
    assert one.task(first).status == "queued", "the second may give something back"
    one.commit(second, **used(3))
    one.conclude()
    assert one.task(first).status == "cancelled"
    assert "budget" in one.task(first).reason
    one.conclude()
    assert one.held("report")
    one.check()


def test_a_run_that_no_budget_lets_begin_says_so_at_its_end():
    own = (AgentSpec(name="explore", budget=Budget(tool_calls=0)),)
    for changes in ({"budget": Budget(model_calls=0)}, {"agents": own}):
        one = Table(spec(**{"agents": (AgentSpec(name="explore"),), "budget": Budget()} | changes))
        ended = one.conclude()[-1]
        assert (ended.status, "the budget of 0 " in ended.reason) == ("failed", True), ended.reason
        one.check()


def test_an_agents_own_budget_stops_that_agent_alone():
    agents = (
        AgentSpec(name="explore", budget=Budget(tasks=1)),
        AgentSpec(name="other", budget=Budget(tokens=10)),
    )
    roots = [{"agent": name, "topic": topic} for name in ("explore", "other") for topic in ("a", "b")]
    one = Table(spec(agents=agents, roots=roots))
    lease = one.held("explore")
    assert one.dispatch("explore") is None
    one.commit(lease, reward=0.5)
    one.commit(one.held("other"), reward=0.5, usage=Usage(tokens_out=10))
    assert one.dispatch("other") is None
    ended = one.conclude()[-1]
    assert (ended.status, ended.reason) == ("done", "agent explore: the budget of 1 tasks is spent")
    one.check()


def test_without_an_estimate_the_average_of_finished_tasks_is_reserved():
    one = table(100, estimate=None)
    first, second = one.held(), one.held()
    one.commit(first, **used(2))
    one.commit(second, **used(5))
    one.held()
    assert one.state.totals.accounts["explore"].reserved == (4, 0, 0, 0)


@pytest.mark.parametrize("whose", ["run", "agent"])
def test_nothing_new_begins_after_the_wall_time_and_finishing_agents_still_run(whose):
    limit = Budget(wall_seconds=60)
    agents = (
        AgentSpec(name="explore", budget=limit if whose == "agent" else None),
        AgentSpec(name="report", trigger="finish"),
    )
    one = Table(spec(agents=agents, budget=limit if whose == "run" else Budget()))
    lease = one.held()
    one.now_ms += 60_000
    assert one.dispatch() is None
    one.commit(lease, reward=1.0)
    one.conclude()
    one.commit(one.held("report"), reward=1.0)
    assert one.conclude()[-1].status == "done"


class Spender:
    """Random moves. `truth` is what every run of a task has really used, whoever has heard of it."""

    def __init__(self, seed: int, one: Table) -> None:
        self.random = random.Random(seed)
        self.table = one
        self.claimed: dict[str, Lease] = {}
        self.use: dict[str, int] = {}
        self.most_under_way = 0

    @property
    def truth(self) -> int:
        return sum(self.use.values())

    def play(self, move: str) -> None:
        one = self.table
        match move:
            case "dispatch":
                lease = one.dispatch()
                if lease is not None and self.random.random() < 0.9:
                    one.claim(lease)
                    self.claimed[lease.token] = lease
                    self.use[lease.token] = self.random.randrange(CALLS + 1)
            case "commit" if self.claimed:
                lease = self.random.choice(list(self.claimed.values()))
                for _ in range(self.random.choice((1, 1, 2))):
                    one.commit(lease, **used(self.use[lease.token]))
            case "fail" if self.claimed:
                lease = self.random.choice(list(self.claimed.values()))
                kind = self.random.choice(("transient", "capacity", "bug"))
                said = Usage(model_calls=self.use[lease.token] * self.random.randrange(2))
                if said.model_calls == self.use[lease.token] or not said.model_calls:
                    failure = {"kind": kind, "message": "no"}
                    one.commit(lease, outcome="failed", usage=said, failure=failure)
            case "lose":
                for task in [task for held in one.state.held.values() for task in held]:
                    lose(one, Lease(task=task, token=one.state.tasks[task].token))
            case "cancel" if self.claimed:
                task = self.random.choice(list(self.claimed.values())).task
                one.do(Cancel(CancelRequest(tasks=(task,)), "source"))
            case "conclude":
                one.conclude()
            case "wait":
                one.now_ms += 30_000
                one.do(Sweep())
        self.most_under_way = max(self.most_under_way, one.state.busy.total())


PLAYS = st.lists(
    st.sampled_from(("dispatch", "dispatch", "commit", "fail", "lose", "cancel", "conclude", "wait")),
    max_size=80,
)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), PLAYS, st.integers(1, 40))
def test_a_budget_is_never_exceeded_when_tasks_keep_to_their_estimate(seed, moves, limit):
    spender = Spender(seed, table(limit, max_attempts=100))
    for move in moves:
        spender.play(move)
        assert spender.truth <= limit
        account = spender.table.state.totals.accounts.get("explore")
        if account is not None:
            assert spender.truth <= account.spent[0] + account.reserved[0] <= limit
    spender.table.check()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), PLAYS, st.integers(1, 40))
def test_without_estimates_it_is_exceeded_by_no_more_than_what_was_under_way_or_never_said(
    seed, moves, limit
):
    spender = Spender(seed, table(limit, estimate=None, max_attempts=100))
    for move in moves:
        spender.play(move)
        unsaid = sum(spender.use.values()) - spender.table.state.totals.usage.model_calls
        assert spender.truth - limit <= CALLS * spender.most_under_way + unsaid
    spender.table.check()
