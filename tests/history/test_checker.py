"""The checker is itself checked: spoiled histories are caught, each for what is wrong with it."""

import copy
from collections.abc import Callable
from functools import cache

import pytest

from tests.history.checker import check
from tests.sim.simulate import simulate

Run = dict
RUN = "run-1"


@cache
def _simulated() -> tuple[list, dict]:
    """What clients saw of two runs without a fault, and how they ended."""
    outcome = simulate(0, [])
    assert not outcome.problems
    return list(outcome.seen), dict(outcome.final)


class History:
    """A copy to be spoiled."""

    def __init__(self) -> None:
        self.seen, self.final = copy.deepcopy(_simulated())
        self.run: Run = self.final[RUN]
        self.rows = self.run["tasks"]
        self.log = self.run["log"]
        self.done = next(
            row
            for row in self.rows.values()
            if row["status"] == "done" and row["agent"] == "dig" and row["artifacts"]
        )

    def events(self, kind: str) -> list[dict]:
        """Those of the task that ended well."""
        task = self.done["id"]
        return [
            data
            for name, data in self.log
            if name == kind and (data.get("task") == task or task in data.get("tasks", ()))
        ]

    def records(self, op: str) -> list[dict]:
        return [one for one in self.seen if one["op"] == op and one.get("task") == self.done["id"]]

    def artifact(self) -> str:
        return next(
            key for key, one in self.run["artifacts"].items() if one["producer"]["task"] == self.done["id"]
        )


def _again(history: History) -> dict:
    """A later execution of the task."""
    begun = {**history.records("begin")[-1], "at": history.seen[-1]["at"] + 1, "execution": 999}
    history.seen.append(begun)
    return begun


def a_task_runs_for_ever(history: History) -> None:
    history.done["status"] = "running"


def a_run_does_not_end(history: History) -> None:
    del history.run["totals"]["ended_ms"]


def nobody_says_why_a_task_died(history: History) -> None:
    history.done.update(status="dead", reason="")


def an_artifact_is_gone(history: History) -> None:
    del history.run["artifacts"][history.artifact()]


def an_artifact_is_another(history: History) -> None:
    history.run["artifacts"][history.artifact()]["payload"]["text"] += "!"


def an_artifact_was_posted_twice(history: History) -> None:
    history.log.append(next(event for event in history.log if event[0] == "artifact_posted"))


def a_dead_task_left_artifacts(history: History) -> None:
    history.done.update(status="dead", reason="it died")


def a_task_ended_twice(history: History) -> None:
    history.log.append(["task_settled", history.events("task_settled")[0]])


def a_token_was_given_twice(history: History) -> None:
    another = next(
        data for kind, data in history.log if kind == "task_dispatched" and data["task"] != history.done["id"]
    )
    another["token"] = history.done["token"]


def two_workers_held_one_task(history: History) -> None:
    claim = history.events("tasks_claimed")[-1]
    at = history.log.index(["tasks_claimed", claim])
    history.log.insert(at + 1, ["tasks_claimed", {**claim, "worker": "another"}])


def a_step_was_recorded_under_an_old_token(history: History) -> None:
    history.events("steps_recorded")[-1]["token"] = "old"


def a_result_counts_that_nobody_finished(history: History) -> None:
    history.seen = [one for one in history.seen if one not in history.records("finish")]


def a_settled_result_is_not_there(history: History) -> None:
    history.done["token"] = "another"


def the_result_that_counts_was_called_stale(history: History) -> None:
    history.records("receipt")[-1]["verdict"] = "stale"


def an_attempt_was_left_out(history: History) -> None:
    history.events("task_dispatched")[0]["attempt"] = 2


def a_recorded_step_was_paid_again(history: History) -> None:
    begun = _again(history)
    history.seen.append({**history.records("pay")[0], "at": begun["at"] + 1, "execution": 999})


def a_replayed_step_had_another_value(history: History) -> None:
    begun = _again(history)
    history.seen.append(
        {**history.records("step")[0], "at": begun["at"] + 1, "execution": 999, "value": "other"}
    )


def a_task_was_tried_too_often(history: History) -> None:
    history.done.update(tries=21, attempt=21)


def a_reward_was_counted_wrongly(history: History) -> None:
    history.run["directions"][history.done["direction"]]["reward_sum_micro"] += 1


def a_visit_is_in_flight_for_ever(history: History) -> None:
    history.run["directions"][history.done["direction"]]["in_flight"] = 1


def the_totals_count_a_task_twice(history: History) -> None:
    history.run["totals"]["tasks"]["done"] += 1


def the_budget_was_passed(history: History) -> None:
    history.run["spec"]["budget"]["tasks"] = 1


def an_accepted_run_is_gone(history: History) -> None:
    del history.final[RUN]


def a_refused_run_is_there(history: History) -> None:
    for one in history.seen:
        if one["op"] == "submit" and one["run"] == RUN:
            one["outcome"] = "fail"


def an_executed_task_is_gone(history: History) -> None:
    history.seen.append({**history.records("begin")[0], "task": "task-unknown", "execution": 999})


def a_cancelled_run_goes_on(history: History) -> None:
    history.final["run-2"]["totals"].pop("status")


def a_row_is_not_what_the_log_says(history: History) -> None:
    history.events("task_settled")[0]["status"] = "dead"


SPOILED: dict[Callable[[History], None], str] = {
    a_task_runs_for_ever: "P1",
    a_run_does_not_end: "P1",
    nobody_says_why_a_task_died: "P9",
    an_artifact_is_gone: "P2",
    an_artifact_is_another: "P2",
    an_artifact_was_posted_twice: "P2",
    a_dead_task_left_artifacts: "P3",
    a_task_ended_twice: "P1",
    a_token_was_given_twice: "P3",
    two_workers_held_one_task: "P1",
    a_step_was_recorded_under_an_old_token: "P3",
    a_result_counts_that_nobody_finished: "P3",
    a_settled_result_is_not_there: "P2",
    the_result_that_counts_was_called_stale: "P3",
    an_attempt_was_left_out: "P1",
    a_recorded_step_was_paid_again: "P5",
    a_replayed_step_had_another_value: "P5",
    a_task_was_tried_too_often: "P4",
    a_reward_was_counted_wrongly: "P6",
    a_visit_is_in_flight_for_ever: "P6",
    the_totals_count_a_task_twice: "P6",
    the_budget_was_passed: "P6",
    an_accepted_run_is_gone: "P1",
    a_refused_run_is_there: "P1",
    an_executed_task_is_gone: "P1",
    a_cancelled_run_goes_on: "P1",
    a_row_is_not_what_the_log_says: "P1",
}


def test_a_history_that_keeps_the_promises_passes() -> None:
    assert check(*_simulated()) == []


@pytest.mark.parametrize("spoil", SPOILED, ids=lambda spoil: spoil.__name__)
def test_a_spoiled_history_is_caught(spoil: Callable[[History], None]) -> None:
    history = History()
    spoil(history)
    assert SPOILED[spoil] in {one.promise for one in check(history.seen, history.final)}


def test_what_was_seen_before_the_store_was_rolled_back_may_be_gone() -> None:
    history = History()
    history.seen.append({"at": history.seen[-1]["at"] + 1, "op": "fault", "kind": "store rolled back"})
    del history.final[RUN]
    assert check(history.seen, history.final) == []


def test_of_two_workers_that_a_rollback_left_with_a_token_one_may_be_told_that_it_is_stale() -> None:
    history = History()
    receipt, end = history.records("receipt")[-1], history.seen[-1]["at"]
    history.seen.append({"at": end + 1, "op": "fault", "kind": "store rolled back"})
    stale = {**receipt, "at": end + 2, "sent": end + 2, "verdict": "stale"}
    assert check([*history.seen, {**stale, "worker": "another"}], history.final) == []
    mistaken = check([*history.seen, stale], history.final)
    assert any(one.promise == "P3" and "was called stale" in one.what for one in mistaken)


def test_a_receipt_says_nothing_that_was_sent_before_the_store_was_rolled_back() -> None:
    history = History()
    receipt = next(one for one in history.records("receipt") if one["verdict"] == "settled")
    end = history.seen[-1]["at"]
    history.seen.append({"at": end + 1, "op": "fault", "kind": "store rolled back"})
    history.seen.append({**history.records("finish")[-1], "at": end + 2})
    history.done["token"] = "another"
    late = {**receipt, "at": end + 3}
    assert check([*history.seen, late], history.final) == []
    told_again = check([*history.seen, {**late, "sent": end + 3}], history.final)
    assert any(one.promise == "P2" and "was settled" in one.what for one in told_again)
