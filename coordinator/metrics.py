"""Prometheus metrics of a coordinator, made from its observations.

Labels carry agents, end states and reasons, never ids. Every series of an agent exists from its first mention
on, with each value that the other labels can take, so that no rate misses the first event.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Info, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.process_collector import ProcessCollector

from coordinator import observations as seen
from protocol.histogram import Histogram
from protocol.messages import Usage

CONTENT_TYPE = CONTENT_TYPE_LATEST

APPEND_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
GROUP_EVENTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
LOAD_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
WAIT_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
TASK_SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
REWARDS = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)


class _PerRun:
    """A gauge of the sum over the runs led from here; a run that is led no longer takes its part along."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._parts: dict[str, dict[tuple[str, ...], int]] = defaultdict(dict)

    def set(self, run: str, values: Mapping[tuple[str, ...], int]) -> None:
        parts = self._parts[run]
        for labels, value in values.items():
            self._gauge.labels(*labels).inc(value - parts.get(labels, 0))
            parts[labels] = value

    def drop(self, run: str) -> None:
        for labels, value in self._parts.pop(run, {}).items():
            self._gauge.labels(*labels).dec(value)


class _AgentSeries:
    """The children of every per-agent metric for one agent, looked up once."""

    def __init__(self, metrics: "CoordinatorMetrics", agent: str) -> None:
        self.first = metrics.dispatched.labels(agent, "first")
        self.again = metrics.dispatched.labels(agent, "again")
        self.wait = metrics.claim_wait.labels(agent)
        self.seconds = metrics.task_seconds.labels(agent)
        self.reward = metrics.reward.labels(agent)
        self.settled = {status: metrics.settled.labels(agent, status) for status in get_args(seen.EndState)}
        self.requeued = {
            cause: metrics.requeued.labels(agent, cause) for cause in get_args(seen.RequeueCause)
        }
        self.model_calls = metrics.calls.labels(agent, "model")
        self.tool_calls = metrics.calls.labels(agent, "tool")
        self.tokens_in = metrics.tokens.labels(agent, "in")
        self.tokens_out = metrics.tokens.labels(agent, "out")
        self.dollars = metrics.dollars.labels(agent)
        self.unpriced = metrics.unpriced.labels(agent)


class CoordinatorMetrics:
    """A subscriber of observations that keeps Prometheus metrics in a registry of its own."""

    def __init__(self, version: str) -> None:
        disable_created_metrics()  # a second series for every counter, which no query reads
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        Info("swarmboard_build", "Version of this coordinator.", registry=registry).info({"version": version})
        self._declare_tasks(registry)
        self._declare_fleet(registry)
        self._declare_log(registry)
        self._agents: dict[str, _AgentSeries] = {}
        self._handlers: dict[type, Callable[[Any], None]] = {
            seen.Dispatched: self._on_dispatched,
            seen.Claimed: self._on_claimed,
            seen.Settled: self._on_settled,
            seen.Spent: lambda it: self._count(self._agent(it.agent), it.usage),
            seen.Requeued: lambda it: self._agent(it.agent).requeued[it.cause].inc(),
            seen.Appended: self._on_appended,
            seen.Backlog: self._on_backlog,
            seen.Directions: self._on_directions,
            seen.WorkersSeen: self._on_workers,
            seen.WorkerSilent: lambda _: self.workers_lost.inc(),
            seen.LeaderGained: self._on_leader_gained,
            seen.LeaderLost: self._on_leader_lost,
            seen.StoreRetry: lambda _: self.store_retries.inc(),
            seen.BusDrift: lambda it: self.bus_repairs.labels(it.remedy).inc(),
            seen.Republished: lambda it: self.republished.inc(it.tasks),
            seen.ProviderSeen: lambda it: self.provider_open.labels(it.provider).set(not it.closed),
            seen.LimitSeen: self._on_limit,
            seen.OtherLimits: lambda it: self.other_limits.set(it.coordinators),
            seen.Refused: lambda it: self.refusals.labels(it.what, it.reason).inc(),
        }

    def __call__(self, observation: seen.Observation) -> None:
        self._handlers[type(observation)](observation)

    def render(self) -> bytes:
        """The answer to a scrape, of CONTENT_TYPE."""
        return generate_latest(self.registry)

    def _declare_tasks(self, registry: CollectorRegistry) -> None:
        self.dispatched = Counter(
            "swarmboard_tasks_dispatched", "Tasks sent out.", ["agent", "attempt"], registry=registry
        )
        self.claim_wait = Histogram(
            "swarmboard_claim_wait_seconds",
            "From dispatch to claim.",
            ["agent"],
            registry=registry,
            buckets=WAIT_SECONDS,
        )
        self.settled = Counter(
            "swarmboard_tasks_settled", "Tasks that ended.", ["agent", "status"], registry=registry
        )
        self.task_seconds = Histogram(
            "swarmboard_task_seconds",
            "From claim to settlement.",
            ["agent"],
            registry=registry,
            buckets=TASK_SECONDS,
        )
        self.reward = Histogram(
            "swarmboard_task_reward", "Rewards of done tasks.", ["agent"], registry=registry, buckets=REWARDS
        )
        self.requeued = Counter(
            "swarmboard_tasks_requeued",
            "Dispatches that came to nothing.",
            ["agent", "cause"],
            registry=registry,
        )
        self.calls = Counter(
            "swarmboard_calls",
            "Model and tool calls.",
            ["agent", "kind"],
            registry=registry,
        )
        self.tokens = Counter(
            "swarmboard_model_tokens",
            "Tokens of model calls.",
            ["agent", "direction"],
            registry=registry,
        )
        self.dollars = Counter(
            "swarmboard_cost_dollars",
            "Known cost.",
            ["agent"],
            registry=registry,
        )
        self.unpriced = Counter(
            "swarmboard_tasks_of_unknown_cost",
            "Settled tasks whose cost is unknown.",
            ["agent"],
            registry=registry,
        )

    def _declare_fleet(self, registry: CollectorRegistry) -> None:
        self.backlog = _PerRun(
            Gauge(
                "swarmboard_backlog_tasks",
                "Tasks that have not ended.",
                ["agent", "state"],
                registry=registry,
            )
        )
        self.stranded = _PerRun(
            Gauge(
                "swarmboard_stranded_tasks",
                "Tasks whose journal no living worker goes on from.",
                ["agent"],
                registry=registry,
            )
        )
        self.directions = _PerRun(
            Gauge(
                "swarmboard_directions", "Directions of the runs led from here.", ["state"], registry=registry
            )
        )
        self.workers = Gauge("swarmboard_workers", "Workers as seen from here.", ["state"], registry=registry)
        self.slots = Gauge(
            "swarmboard_worker_slots", "Slots as seen from here.", ["state"], registry=registry
        )
        self.workers_lost = Counter(
            "swarmboard_workers_lost", "Workers that runs gave up.", registry=registry
        )
        self.refusals = Counter(
            "swarmboard_refusals", "What was turned away.", ["what", "reason"], registry=registry
        )
        self.provider_open = Gauge(
            "swarmboard_provider_open",
            "1 while calls of a provider are held back.",
            ["provider"],
            registry=registry,
        )
        self.permits = Gauge(
            "swarmboard_limit_permits",
            "Permits of an agent's or a model's limit in the whole swarm.",
            ["kind", "name", "state"],
            registry=registry,
        )
        self.other_limits = Gauge(
            "swarmboard_coordinators_with_other_limits",
            "Coordinators that were started with other limits than this one.",
            registry=registry,
        )
        for what in get_args(seen.RefusedThing):
            _create(self.refusals, [(what, reason) for reason in get_args(seen.RefusalReason)])
        _create(self.workers, [(state,) for state in ("alive", "busy", "draining", "silent")])
        _create(self.slots, [("taken",), ("free",)])

    def _declare_log(self, registry: CollectorRegistry) -> None:
        self.runs_led = Gauge("swarmboard_runs_led", "Runs led from here.", registry=registry)
        self.leads_gained = Counter("swarmboard_leads_gained", "Runs taken over.", registry=registry)
        self.leads_lost = Counter(
            "swarmboard_leads_lost", "Runs given up or lost.", ["reason"], registry=registry
        )
        self.load_seconds = Histogram(
            "swarmboard_load_seconds", "Reading a run at take-over.", registry=registry, buckets=LOAD_SECONDS
        )
        self.lost_events = Counter(
            "swarmboard_lost_events", "Events that a store which came back older had lost.", registry=registry
        )
        self.append_seconds = Histogram(
            "swarmboard_append_seconds",
            "Duration of a group commit.",
            registry=registry,
            buckets=APPEND_SECONDS,
        )
        self.append_events = Histogram(
            "swarmboard_append_events", "Events of a group commit.", registry=registry, buckets=GROUP_EVENTS
        )
        self.last_append = Gauge(
            "swarmboard_last_append_timestamp_seconds",
            "When the last group commit was confirmed.",
            registry=registry,
        )
        self.store_retries = Counter("swarmboard_store_retries", "Repeated store calls.", registry=registry)
        self.bus_repairs = Counter(
            "swarmboard_bus_repairs", "Repairs of the bus.", ["remedy"], registry=registry
        )
        self.republished = Counter(
            "swarmboard_tasks_republished", "Open tasks published again.", registry=registry
        )
        _create(self.leads_lost, [(reason,) for reason in get_args(seen.LeadEnd)])
        _create(self.bus_repairs, [("created",), ("updated",), ("recreated",)])

    def _agent(self, name: str) -> _AgentSeries:
        series = self._agents.get(name)
        if series is None:
            series = self._agents[name] = _AgentSeries(self, name)
        return series

    def _on_dispatched(self, it: seen.Dispatched) -> None:
        series = self._agent(it.agent)
        (series.again if it.again else series.first).inc(it.tasks)

    def _on_claimed(self, it: seen.Claimed) -> None:
        wait = self._agent(it.agent).wait
        for seconds in it.wait_seconds:
            wait.observe(seconds)

    def _on_settled(self, it: seen.Settled) -> None:
        series = self._agent(it.agent)
        series.settled[it.status].inc()
        series.seconds.observe(it.seconds)
        if it.status == "done":
            series.reward.observe(it.reward)
        if not it.priced:
            series.unpriced.inc()
        self._count(series, it.usage)

    @staticmethod
    def _count(series: _AgentSeries, usage: Usage) -> None:
        if usage.cost_microdollars:
            series.dollars.inc(usage.cost_microdollars / 1_000_000)
        if usage.model_calls or usage.tool_calls:
            series.model_calls.inc(usage.model_calls)
            series.tool_calls.inc(usage.tool_calls)
            series.tokens_in.inc(usage.tokens_in)
            series.tokens_out.inc(usage.tokens_out)

    def _on_appended(self, it: seen.Appended) -> None:
        self.append_seconds.observe(it.seconds)
        self.append_events.observe(it.events)
        self.last_append.set_to_current_time()

    def _on_backlog(self, it: seen.Backlog) -> None:
        self._agent(it.agent)
        states = {
            "queued": it.queued,
            "dispatched": it.dispatched,
            "running": it.running,
            "waiting": it.waiting,
        }
        self.backlog.set(it.run, {(it.agent, state): count for state, count in states.items()})
        self.stranded.set(it.run, {(it.agent,): it.stranded})

    def _on_directions(self, it: seen.Directions) -> None:
        self.directions.set(it.run, {("open",): it.open, ("retired",): it.retired})

    def _on_limit(self, it: seen.LimitSeen) -> None:
        self.permits.labels(it.kind, it.name, "in_use").set(it.in_use)
        self.permits.labels(it.kind, it.name, "waiting").set(it.waiting)

    def _on_workers(self, it: seen.WorkersSeen) -> None:
        workers = {"alive": it.alive, "busy": it.busy, "draining": it.draining, "silent": it.silent}
        for state, count in workers.items():
            self.workers.labels(state).set(count)
        self.slots.labels("free").set(it.free_slots)
        self.slots.labels("taken").set(it.slots - it.free_slots)

    def _on_leader_gained(self, it: seen.LeaderGained) -> None:
        self.runs_led.inc()
        self.leads_gained.inc()
        self.load_seconds.observe(it.seconds)
        self.lost_events.inc(it.lost_events)

    def _on_leader_lost(self, it: seen.LeaderLost) -> None:
        self.runs_led.dec()
        self.leads_lost.labels(it.reason).inc()
        self.backlog.drop(it.run)
        self.stranded.drop(it.run)
        self.directions.drop(it.run)


def _create(metric: Counter | Gauge, labels: Iterable[tuple[str, ...]]) -> None:
    for values in labels:
        metric.labels(*values)
