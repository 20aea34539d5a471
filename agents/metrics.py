"""Prometheus metrics of a worker, made from its observations. Labels carry agents and outcomes, never ids."""

from collections.abc import Callable
from typing import Any, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Info, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.process_collector import ProcessCollector

from agents import observations as seen
from protocol.histogram import Histogram

CONTENT_TYPE = CONTENT_TYPE_LATEST

REPLY_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
RUN_SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)


class _AgentSeries:
    """The children of what every task touches, for one agent, looked up once."""

    def __init__(self, metrics: "WorkerMetrics", agent: str) -> None:
        self.running = metrics.running.labels(agent)
        self.finished = {
            outcome: metrics.finished.labels(agent, outcome) for outcome in get_args(seen.Outcome)
        }
        self.seconds = metrics.seconds.labels(agent)


class WorkerMetrics:
    """A subscriber of observations that keeps Prometheus metrics in a registry of its own."""

    def __init__(self, version: str) -> None:
        disable_created_metrics()  # a second series for every counter, which no query reads
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        Info("swarmboard_build", "Version of this worker.", registry=registry).info({"version": version})
        self.last_pulse_seconds = 0.0
        self._agents: dict[str, _AgentSeries] = {}
        self._declare_tasks(registry)
        self._declare_bus(registry)
        self._handlers: dict[type, Callable[[Any], None]] = {
            seen.Offered: self._on_offered,
            seen.Claimed: self._on_claimed,
            seen.ClaimUnanswered: lambda it: self.claims.labels("unanswered").inc(it.tasks),
            seen.TaskStarted: self._on_started,
            seen.TaskFinished: self._on_finished,
            seen.StepReplayed: self._on_replayed,
            seen.Gauged: lambda it: self.told.labels(it.agent, it.name).set(it.value),
            seen.DiscoveryPublished: lambda it: self._published[it.again].inc(),
            seen.ReceiptReceived: self._on_receipt,
            seen.LeaseLost: lambda it: self.leases_lost.labels(it.agent).inc(),
            seen.PublishPending: lambda it: self.unsettled.set(it.discoveries),
            seen.BusError: lambda _: self.bus_errors.inc(),
            seen.Pulsed: self._on_pulsed,
            seen.MessageRefused: lambda _: self.refused.inc(),
            seen.Draining: lambda _: self.draining.set(1),
        }

    def __call__(self, observation: seen.Observation) -> None:
        self._handlers[type(observation)](observation)

    def render(self) -> bytes:
        """The answer to a scrape, of CONTENT_TYPE."""
        return generate_latest(self.registry)

    def _declare_tasks(self, registry: CollectorRegistry) -> None:
        self.slots = Gauge("swarmboard_worker_capacity", "Tasks that may run at a time.", registry=registry)
        self.running = Gauge("swarmboard_worker_running", "Tasks that run now.", ["agent"], registry=registry)
        self.finished = Counter(
            "swarmboard_worker_tasks", "Agent runs that ended.", ["agent", "outcome"], registry=registry
        )
        self.seconds = Histogram(
            "swarmboard_worker_run_seconds", "Agent runs.", ["agent"], registry=registry, buckets=RUN_SECONDS
        )
        self.replayed = Counter(
            "swarmboard_worker_steps_replayed",
            "Steps answered from the journal.",
            ["agent"],
            registry=registry,
        )
        self.saved_dollars = Counter(
            "swarmboard_worker_cost_saved_by_replay_dollars",
            "Known cost of calls that the journal answered.",
            ["agent"],
            registry=registry,
        )
        self.saved_calls = Counter(
            "swarmboard_worker_calls_saved_by_replay",
            "Calls that the journal answered.",
            ["agent", "kind"],
            registry=registry,
        )
        self.saved_tokens = Counter(
            "swarmboard_worker_tokens_saved_by_replay",
            "Tokens of model calls that the journal answered.",
            ["agent"],
            registry=registry,
        )
        self.told = Gauge(
            "swarmboard_worker_agent_value", "What an agent last told.", ["agent", "name"], registry=registry
        )
        self.leases_lost = Counter(
            "swarmboard_worker_leases_lost", "Held tasks that moved on.", ["agent"], registry=registry
        )

    def _declare_bus(self, registry: CollectorRegistry) -> None:
        self.claims = Counter("swarmboard_worker_claims", "Claims of tasks.", ["answer"], registry=registry)
        self.claim_seconds = Histogram(
            "swarmboard_worker_claim_seconds", "Claim requests.", registry=registry, buckets=REPLY_SECONDS
        )
        self.published = Counter(
            "swarmboard_worker_discoveries", "Discoveries sent.", ["attempt"], registry=registry
        )
        self.receipts = Counter(
            "swarmboard_worker_receipts", "Answers to discoveries.", ["verdict"], registry=registry
        )
        self.receipt_seconds = Histogram(
            "swarmboard_worker_receipt_seconds",
            "From a discovery to its receipt.",
            registry=registry,
            buckets=REPLY_SECONDS,
        )
        self.unsettled = Gauge(
            "swarmboard_worker_unsettled_discoveries", "Discoveries without a receipt.", registry=registry
        )
        self.bus_errors = Counter(
            "swarmboard_worker_bus_errors", "Lost connections and refusals of the bus.", registry=registry
        )
        self.last_pulse = Gauge(
            "swarmboard_worker_last_pulse_timestamp_seconds",
            "When the last heartbeat left.",
            registry=registry,
        )
        self.refused = Counter(
            "swarmboard_worker_messages_refused", "Messages that cannot be accepted.", registry=registry
        )
        self.draining = Gauge("swarmboard_worker_draining", "1 while it drains.", registry=registry)
        for answer in ("granted", "refused", "unanswered"):
            self.claims.labels(answer)
        self._published = {
            again: self.published.labels("again" if again else "first") for again in (False, True)
        }
        self._receipts = {verdict: self.receipts.labels(verdict) for verdict in ("settled", "stale")}

    def _on_offered(self, it: seen.Offered) -> None:
        self.slots.set(it.slots)
        for agent in it.agents:
            self._agent(agent)
            for kind in ("model", "tool"):
                self.saved_calls.labels(agent, kind)
            for metric in (self.replayed, self.leases_lost, self.saved_dollars, self.saved_tokens):
                metric.labels(agent)

    def _on_claimed(self, it: seen.Claimed) -> None:
        self.claims.labels("granted").inc(it.granted)
        self.claims.labels("refused").inc(it.refused)
        self.claim_seconds.observe(it.seconds)

    def _agent(self, name: str) -> _AgentSeries:
        series = self._agents.get(name)
        if series is None:
            series = self._agents[name] = _AgentSeries(self, name)
        return series

    def _on_started(self, it: seen.TaskStarted) -> None:
        self._agent(it.agent).running.inc()

    def _on_replayed(self, it: seen.StepReplayed) -> None:
        self.replayed.labels(it.agent).inc()
        usage = it.usage
        self.saved_calls.labels(it.agent, "model").inc(usage.model_calls)
        self.saved_calls.labels(it.agent, "tool").inc(usage.tool_calls)
        self.saved_tokens.labels(it.agent).inc(usage.tokens_in + usage.tokens_out)
        self.saved_dollars.labels(it.agent).inc((usage.cost_microdollars or 0) / 1_000_000)

    def _on_finished(self, it: seen.TaskFinished) -> None:
        series = self._agent(it.agent)
        series.running.dec()
        series.finished[it.outcome].inc()
        series.seconds.observe(it.seconds)

    def _on_pulsed(self, it: seen.Pulsed) -> None:
        self.last_pulse_seconds = it.at_ms / 1000
        self.last_pulse.set(self.last_pulse_seconds)

    def _on_receipt(self, it: seen.ReceiptReceived) -> None:
        self._receipts[it.verdict].inc()
        self.receipt_seconds.observe(it.seconds)
