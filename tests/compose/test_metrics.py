"""What coordinator and worker expose: every observation counts, and every query finds its metric."""

import re
import urllib.error
import urllib.request
from typing import get_args

import pytest

from agents import observations as at_worker
from agents.exposition import exposing
from agents.metrics import WorkerMetrics
from coordinator import observations as at_coordinator
from coordinator.metrics import CoordinatorMetrics
from protocol.messages import Usage
from tests.compose.prometheus import alert_rules, metric_names, panel_queries, promtool
from tests.compose.support import ROOT

USAGE = Usage(model_calls=2, tool_calls=1, tokens_in=10, tokens_out=5, cost_microdollars=1500)
COORDINATOR_SAW: tuple[at_coordinator.Observation, ...] = (
    at_coordinator.LeaderGained("run-1", 0.1, 3),
    at_coordinator.Appended("run-1", 4, 0.002),
    at_coordinator.StoreRetry("run-1", "append"),
    at_coordinator.BusDrift("SWARM_TASKS", "recreated"),
    at_coordinator.Republished("run-1", 2),
    at_coordinator.Dispatched("explore", False, 1),
    at_coordinator.Dispatched("explore", True, 1),
    at_coordinator.Claimed("run-1", "explore", (0.01, 0.02)),
    at_coordinator.Settled("run-1", "explore", "done", 1.5, 0.5, USAGE, priced=True),
    at_coordinator.Settled("run-1", "explore", "dead", 2, 0, Usage(), priced=False),
    at_coordinator.Spent("run-1", "explore", USAGE),
    at_coordinator.Requeued("run-1", "explore", "silent"),
    at_coordinator.Refused("result", "stale"),
    at_coordinator.WorkerSilent("run-1", "worker-1", 2),
    at_coordinator.Backlog("run-1", "explore", 5, 2, 3),
    at_coordinator.Directions("run-1", 7, 1),
    at_coordinator.WorkersSeen(alive=1, busy=2, draining=0, silent=1, slots=8, free_slots=3),
    at_coordinator.ProviderSeen("openai", closed=False),
    at_coordinator.LimitSeen("model", "openai/*", 3, 2),
    at_coordinator.OtherLimits(1),
    at_coordinator.LeaderLost("run-1", "stale"),
)
WORKER_SAW: tuple[at_worker.Observation, ...] = (
    at_worker.Offered(("explore",), 4),
    at_worker.Claimed(2, 1, 0.01),
    at_worker.ClaimUnanswered(2),
    at_worker.TaskStarted("explore"),
    at_worker.TaskFinished("explore", "done", 0.2, USAGE),
    at_worker.StepReplayed("explore", USAGE),
    at_worker.Gauged("explore", "judge_trust", 0.4),
    at_worker.Gauged("explore", "judge_trust", 0.1),
    at_worker.DiscoveryPublished(again=True),
    at_worker.ReceiptReceived("settled", 0.01),
    at_worker.LeaseLost("explore"),
    at_worker.PublishPending(1),
    at_worker.BusError(),
    at_worker.Pulsed(1_700_000_000_000),
    at_worker.MessageRefused("swarm.tasks.explore", "too large"),
    at_worker.Draining(),
)


def coordinator_metrics(saw: tuple[at_coordinator.Observation, ...] = COORDINATOR_SAW) -> CoordinatorMetrics:
    metrics = CoordinatorMetrics("1.2.3")
    for observation in saw:
        metrics(observation)
    return metrics


def worker_metrics() -> WorkerMetrics:
    metrics = WorkerMetrics("1.2.3")
    for observation in WORKER_SAW:
        metrics(observation)
    return metrics


def test_every_observation_is_counted() -> None:
    assert {type(observation) for observation in COORDINATOR_SAW} == set(get_args(at_coordinator.Observation))
    assert {type(observation) for observation in WORKER_SAW} == set(get_args(at_worker.Observation))
    coordinator_metrics()
    worker_metrics()


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("swarmboard_tasks_dispatched_total", {"agent": "explore", "attempt": "again"}, 1),
        ("swarmboard_tasks_settled_total", {"agent": "explore", "status": "dead"}, 1),
        ("swarmboard_tasks_settled_total", {"agent": "explore", "status": "cancelled"}, 0),
        ("swarmboard_task_reward_count", {"agent": "explore"}, 1),
        ("swarmboard_cost_dollars_total", {"agent": "explore"}, 0.003),
        ("swarmboard_calls_total", {"agent": "explore", "kind": "model"}, 4),
        ("swarmboard_tasks_of_unknown_cost_total", {"agent": "explore"}, 1),
        ("swarmboard_tasks_requeued_total", {"agent": "explore", "cause": "silent"}, 1),
        ("swarmboard_lost_events_total", {}, 3),
        ("swarmboard_tasks_republished_total", {}, 2),
        ("swarmboard_worker_slots", {"state": "taken"}, 5),
        ("swarmboard_workers", {"state": "silent"}, 1),
        ("swarmboard_provider_open", {"provider": "openai"}, 1),
        ("swarmboard_limit_permits", {"kind": "model", "name": "openai/*", "state": "waiting"}, 2),
        ("swarmboard_coordinators_with_other_limits", {}, 1),
        ("swarmboard_refusals_total", {"what": "result", "reason": "stale"}, 1),
    ],
)
def test_a_coordinator_counts(name: str, labels: dict[str, str], value: float) -> None:
    assert coordinator_metrics().registry.get_sample_value(name, labels) == value


def test_a_worker_counts_what_replays_have_saved() -> None:
    registry = worker_metrics().registry
    saved = "swarmboard_worker_cost_saved_by_replay_dollars_total"
    assert registry.get_sample_value(saved, {"agent": "explore"}) == 0.0015
    calls = "swarmboard_worker_calls_saved_by_replay_total"
    assert registry.get_sample_value(calls, {"agent": "explore", "kind": "model"}) == 2
    assert (
        registry.get_sample_value("swarmboard_worker_tokens_saved_by_replay_total", {"agent": "explore"})
        == 15
    )


def test_a_worker_shows_what_an_agent_told_last() -> None:
    told = {"agent": "explore", "name": "judge_trust"}
    assert worker_metrics().registry.get_sample_value("swarmboard_worker_agent_value", told) == 0.1


def test_gauges_sum_over_the_runs_led_and_forget_those_that_are_not() -> None:
    metrics = coordinator_metrics(
        (
            at_coordinator.LeaderGained("run-1", 0.1),
            at_coordinator.LeaderGained("run-2", 0.1),
            at_coordinator.Backlog("run-1", "explore", 5, 2, 3),
            at_coordinator.Backlog("run-2", "explore", 1, 0, 0, stranded=1),
            at_coordinator.Backlog("run-1", "explore", 4, 2, 3, stranded=0),
            at_coordinator.Directions("run-1", 7, 1),
        )
    )
    queued = {"agent": "explore", "state": "queued"}
    assert metrics.registry.get_sample_value("swarmboard_backlog_tasks", queued) == 5
    assert metrics.registry.get_sample_value("swarmboard_stranded_tasks", {"agent": "explore"}) == 1
    metrics(at_coordinator.LeaderLost("run-1", "released"))
    assert metrics.registry.get_sample_value("swarmboard_backlog_tasks", queued) == 1
    assert metrics.registry.get_sample_value("swarmboard_directions", {"state": "open"}) == 0
    assert metrics.registry.get_sample_value("swarmboard_runs_led", {}) == 1


def test_labels_carry_no_ids() -> None:
    text = (coordinator_metrics().render() + worker_metrics().render()).decode()
    assert not re.search(r"run-1|worker-1|swarm\.tasks", text)


def test_promtool_accepts_what_is_exposed() -> None:
    promtool("check", "metrics", feed=coordinator_metrics().render())
    promtool("check", "metrics", feed=worker_metrics().render())


def exposed_names() -> set[str]:
    text = (coordinator_metrics().render() + worker_metrics().render()).decode()
    return set(re.findall(r"^([a-z_]+)", text, re.MULTILINE))


def test_dashboard_and_alerts_ask_for_metrics_that_exist() -> None:
    queries = [expression for _, expression in panel_queries()] + [rule["expr"] for rule in alert_rules()]
    for expression in queries:
        assert metric_names(expression), expression
        assert metric_names(expression) <= exposed_names(), expression


def test_the_table_of_metrics_is_complete() -> None:
    table = set(re.findall(r"^\| `([a-z_]+)", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE))
    helps = set(
        re.findall(
            r"^# HELP (swarmboard\w+)",
            (coordinator_metrics().render() + worker_metrics().render()).decode(),
            re.MULTILINE,
        )
    )
    assert table == helps


def status(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def test_a_worker_whose_pulse_stands_still_is_not_healthy() -> None:
    metrics = worker_metrics()
    with exposing(metrics, "127.0.0.1", 0, pulse_patience_seconds=30) as port:
        assert status(port, "/metrics") == 200
        assert status(port, "/healthz") == 200
        assert status(port, "/elsewhere") == 404
    with exposing(metrics, "127.0.0.1", 0, pulse_patience_seconds=0) as port:
        assert status(port, "/healthz") == 503
