"""When a provider's breaker opens and closes, and which tasks wait meanwhile."""

from dataclasses import dataclass, field

from blackboard.spec import AgentSpec, Budget
from coordinator.breaker import probed, told
from coordinator.decision import Redispatch
from coordinator.decisions.dispatch import wanted
from coordinator.gates import Gates, Trials, held_back
from protocol.options import Breaking
from protocol.providers import Breaker, Breakers, ProviderReport, Told
from tests.support.table import Table, spec

RULES = Breaking(failures=3, window_seconds=60, open_seconds=30, longest_seconds=100, probe_seconds=20)
HERE = frozenset({"here"})
REFUSED = {
    "outcome": "failed",
    "failure": {"kind": "capacity", "message": "down", "retry_after_seconds": 1, "provider": "here"},
}


@dataclass
class Bench:
    now_ms: int = 1_000_000
    breaker: Breaker = field(default_factory=lambda: Breaker(provider="here"))

    def tell(self, told_: Told, *, probe: str = "", retry_after: float | None = None) -> str:
        report = ProviderReport(
            provider="here", told=told_, probe=probe, retry_after_seconds=retry_after, reason=told_
        )
        self.breaker = told(self.breaker, report, RULES, self.now_ms)
        return self.breaker.status

    def probe(self, token: str) -> bool:
        self.breaker = probed(self.breaker, token, RULES, self.now_ms)
        return self.breaker.probe == token

    def opened(self) -> "Bench":
        assert [self.tell("failed") for _ in range(3)] == ["closed", "closed", "open"]
        return self


def test_it_opens_after_failures_in_a_row():
    assert Bench().opened().breaker.reason == "failed"


def test_a_call_that_goes_well_ends_the_row():
    bench = Bench()
    assert [bench.tell(one) for one in ("failed", "failed", "ok", "failed", "failed")] == ["closed"] * 5
    assert bench.tell("failed") == "open"


def test_failures_outside_of_the_window_do_not_count():
    bench = Bench()
    bench.tell("failed")
    bench.tell("failed")
    bench.now_ms += 60_001
    assert bench.tell("failed") == "closed"


def test_a_call_that_was_given_up_says_nothing():
    bench = Bench()
    assert [bench.tell("unknown") for _ in range(9)] == ["closed"] * 9


def test_a_plea_for_patience_opens_it_at_once_until_then():
    bench = Bench()
    assert bench.tell("limited", retry_after=7) == "open"
    assert bench.breaker.until_ms == bench.now_ms + 7_000


def test_a_plea_for_patience_without_a_time_is_a_failure():
    bench = Bench()
    assert [bench.tell("limited") for _ in range(3)] == ["closed", "closed", "open"]


def test_one_probe_at_a_time_and_none_too_early():
    bench = Bench().opened()
    bench.now_ms += 29_999
    assert not bench.probe("one")
    bench.now_ms += 1
    assert bench.probe("one")
    assert not bench.probe("two")


def test_a_probe_that_goes_well_closes_it():
    bench = Bench().opened()
    bench.now_ms += 30_000
    bench.probe("one")
    assert bench.tell("ok", probe="one") == "closed"
    assert bench.breaker.quiet


def test_each_probe_that_fails_doubles_the_time_to_the_next_up_to_a_limit():
    bench = Bench().opened()
    pauses = []
    for token in "abcd":
        bench.now_ms = bench.breaker.until_ms
        assert bench.probe(token)
        assert bench.tell("failed", probe=token) == "open"
        pauses.append((bench.breaker.until_ms - bench.now_ms) / 1000)
    assert pauses == [60, 100, 100, 100]


def test_what_other_calls_say_while_it_is_not_closed_changes_nothing_but_for_a_longer_plea():
    bench = Bench().opened()
    assert [bench.tell("ok"), bench.tell("failed")] == ["open", "open"]
    bench.now_ms += 30_000
    bench.probe("one")
    assert [bench.tell("ok"), bench.tell("failed"), bench.tell("ok", probe="two")] == ["half_open"] * 3
    assert bench.tell("limited", retry_after=500) == "open"
    assert bench.breaker.until_ms == bench.now_ms + 500_000


def test_a_probe_that_was_given_up_leaves_the_next_to_another():
    bench = Bench().opened()
    bench.now_ms += 30_000
    bench.probe("one")
    assert bench.tell("unknown", probe="one") == "open"
    assert bench.probe("two")


def test_a_probe_whose_worker_died_is_lost_in_time():
    bench = Bench().opened()
    bench.now_ms += 30_000
    bench.probe("one")
    bench.now_ms += 20_000
    assert bench.probe("two")
    assert bench.tell("failed", probe="one") == "half_open"


def paused(tasks: int = 2) -> Table:
    """A run whose tasks were refused because a provider is down."""
    table = Table(spec(agents=[AgentSpec(name="explore"), AgentSpec(name="free")], budget=Budget()))
    for task in [table.held() for _ in range(tasks)]:
        table.commit(task, **REFUSED)
    table.now_ms += 1_000
    return table


def test_tasks_that_need_a_provider_wait_while_it_is_down_and_use_up_no_attempt():
    table = paused()
    assert table.do(Redispatch({"explore": 9}, 9, HERE)).events == []
    assert {task.tries for task in table.state.tasks.values()} == {0}
    assert len(table.do(Redispatch({"explore": 9}, 9)).events) == 2
    table.check()


def test_one_task_is_let_out_to_probe():
    table = paused(3)
    assert len(table.do(Redispatch({"explore": 9}, 9, HERE, HERE)).events) == 1


def test_an_agent_whose_task_waits_for_a_provider_begins_nothing_new_and_wants_one_slot():
    table = paused()
    assert held_back(table.state, HERE) == {"explore"}
    assert held_back(table.state, frozenset({"elsewhere"})) == frozenset()
    assert wanted(table.state, table.now_ms, HERE)["explore"] == 1
    assert wanted(table.state, table.now_ms)["explore"] > 1


def test_what_is_due_for_a_probe_is_known_from_the_record():
    gates = Gates()
    gates.learn(Breakers(number=1, breakers=(Breaker(provider="here", status="open", until_ms=5_000),)))
    assert gates.shut == HERE
    assert (gates.due(4_999), gates.due(5_000)) == (frozenset(), HERE)
    gates.learn(Breakers(number=2, breakers=(Breaker(provider="here"),)))
    assert not gates.shut
    assert not gates.unquiet


def test_trials_of_a_run_keep_a_distance():
    trials = Trials()
    assert trials.allowed(HERE, 10.0) == HERE
    trials.made(HERE, 10.0)
    assert trials.allowed(HERE, 11.9) == frozenset()
    assert trials.allowed(HERE, 12.0) == HERE
