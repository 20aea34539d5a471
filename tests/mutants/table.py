"""Wrong decisions, one line each: the tests of behaviour must notice every one of them.

A mutant that no test notices shows a promise that nothing guards.
"""

from dataclasses import dataclass
from pathlib import Path

SUITE = ("tests/decisions", "tests/worker/test_claims.py", "tests/worker/test_outbox.py", "tests/swarm")
"""What notices wrong decisions, without servers."""


@dataclass(frozen=True)
class Mutant:
    """`old` stands in `file` exactly once; `new` takes its place."""

    name: str
    file: str
    old: str
    new: str
    suite: tuple[str, ...] = SUITE
    """The tests that must notice, the quickest first."""
    equivalent: str = ""
    """Why nothing can notice it, where the promises hold nevertheless."""

    def places(self, root: Path) -> int:
        """How often `old` stands in the file; 1 while the table is up to date."""
        return (root / self.file).read_text().count(self.old)

    def apply(self, root: Path) -> None:
        assert self.places(root) == 1, f"{self.name}: not one place in {self.file}"
        path = root / self.file
        path.write_text(path.read_text().replace(self.old, self.new))


CLAIMS = "coordinator/decisions/claims.py"
DIRECTIONS = "coordinator/decisions/directions.py"
DISPATCH = "coordinator/decisions/dispatch.py"
ENDING = "coordinator/decisions/ending.py"
RESULTS = "coordinator/decisions/results.py"
EVOLVE = "blackboard/evolve.py"
LIVENESS = "coordinator/liveness.py"
GROUP = "coordinator/group_commit.py"
DISPATCHER = "coordinator/dispatcher.py"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "a claim needs no token",
        CLAIMS,
        'if task.token != lease.token or task.status == "queued":',
        'if task.status == "queued":',
    ),
    Mutant(
        "a journal goes to whatever build claims it",
        CLAIMS,
        'and task.status == "dispatched" and not goes_on(',
        "and False and goes_on(",
        ("tests/decisions/test_builds.py",),
    ),
    Mutant(
        "a stranded task is dispatched in vain",
        "coordinator/builds.py",
        "        return left is None or left > 0\n",
        "        return True\n",
        ("tests/decisions/test_builds.py",),
    ),
    Mutant(
        "a dispatch that nobody may claim uses up an attempt",
        ENDING,
        'from build {needed(task, state.builds)}",\n            uses_attempt=False,\n',
        'from build {needed(task, state.builds)}",\n',
        ("tests/decisions/test_builds.py",),
    ),
    Mutant(
        "a journal is of the build that wrote its first step",
        EVOLVE,
        "    task.written_by = task.build\n",
        "    task.written_by = task.written_by or task.build\n",
        ("tests/decisions/test_builds.py",),
    ),
    Mutant(
        "the message of a claim for another build is settled",
        "agents/claims.py",
        "            if refusal.elsewhere:\n",
        "            if False:\n",
        ("tests/worker/test_claims.py",),
    ),
    Mutant(
        "a claim takes a task that another worker holds",
        CLAIMS,
        'return "" if same else "another worker holds the task"',
        'return ""',
    ),
    Mutant(
        "a restarted worker gets its old incarnation's grant",
        CLAIMS,
        "same = task.worker == command.request.worker and task.incarnation == command.request.incarnation",
        "same = task.worker == command.request.worker",
    ),
    Mutant(
        "the journal needs no token",
        CLAIMS,
        "task.status not in OPEN or task.token != request.token",
        "task.status not in OPEN",
    ),
    Mutant(
        "a step recorded with another value passes",
        CLAIMS,
        "elif recorded != step_digest(step):",
        "elif False:",
    ),
    Mutant(
        "a step recorded again is another step",
        CLAIMS,
        "recorded = known.get(key) or (step_digest(fresh[key]) if key in fresh else None)",
        "recorded = None",
    ),
    Mutant(
        "a stale result is accepted",
        RESULTS,
        "if task.token != discovery.token:",
        "if False:",
    ),
    Mutant(
        "a result counts whoever holds the task",
        RESULTS,
        "if task.worker is not None and task.worker != discovery.worker:",
        "if False:",
    ),
    Mutant(
        "a repeated result is folded again",
        RESULTS,
        'if task.status in ("dispatched", "running"):\n        _settle',
        "if task:\n        _settle",
    ),
    Mutant(
        "a refused result is receipted as settled",
        RESULTS,
        "SendRefusal(discovery.worker, refusal)",
        "SendReceipt(discovery.worker, discovery.task, discovery.token)",
    ),
    Mutant(
        "a capacity refusal uses up an attempt",
        RESULTS,
        'uses_attempt=cause == "transient"',
        "uses_attempt=True",
    ),
    Mutant(
        "a transient failure is tried once too often",
        RESULTS,
        "task.tries < state.spec.max_attempts",
        "task.tries <= state.spec.max_attempts",
    ),
    Mutant(
        "Retry-After is not honoured",
        RESULTS,
        "wait_ms = round((failure.retry_after_seconds or 0) * 1000)",
        "wait_ms = 0",
    ),
    Mutant(
        "two contents under one id: the first wins",
        RESULTS,
        "if artifacts[identity].digest != digest:",
        "if False:",
    ),
    Mutant(
        "a dead letter is not told",
        RESULTS,
        'if status == "dead":',
        "if False:",
    ),
    Mutant(
        "an exhausted direction stays open",
        RESULTS,
        "if discovery.exhausted and",
        "if False and",
    ),
    Mutant(
        "a lost task is tried once too often",
        ENDING,
        "if task.tries >= state.spec.max_attempts:",
        "if task.tries > state.spec.max_attempts:",
    ),
    Mutant(
        "a loss takes back what a newer incarnation holds",
        ENDING,
        "== (lost.worker, lost.incarnation)",
        "!= (None, None)",
    ),
    Mutant(
        "the finishing agents start while tasks are open",
        ENDING,
        "if state.open_tasks == 0 and not _more_to_visit(",
        "if not _more_to_visit(",
    ),
    Mutant(
        "tasks run on for ever after the deadline",
        ENDING,
        "env.now_ms < deadline + GRACE_AFTER_DEADLINE_MS",
        "True",
    ),
    Mutant(
        "what runs at the deadline gets no grace",
        ENDING,
        "env.now_ms < deadline + GRACE_AFTER_DEADLINE_MS",
        "False",
    ),
    Mutant(
        "cancelling forgets what is queued",
        ENDING,
        "(*state.queued, *state.dispatched",
        "(*state.dispatched",
    ),
    Mutant(
        "a run whose finishing agent failed is done",
        ENDING,
        'task.direction in last and task.status != "done"',
        "False",
    ),
    Mutant(
        "a visit's number is used twice",
        DISPATCH,
        "number = direction.numbered + 1",
        "number = direction.visits + 1",
    ),
    Mutant(
        "a requeued task does not wait",
        DISPATCH,
        "task.not_before_ms > env.now_ms or room",
        "room",
    ),
    Mutant(
        "the budget is overdrawn by one",
        DISPATCH,
        "if limit is not None and used >= limit:",
        "if limit is not None and used > limit:",
    ),
    Mutant(
        "one discovery opens the same direction twice",
        DIRECTIONS,
        "if identity in state.directions or identity in opened:",
        "if identity in state.directions:",
    ),
    Mutant(
        "hidden artifacts trigger agents",
        DIRECTIONS,
        "if artifact.type in agent.consumes and artifact.visible_to(agent.name, env.now_ms)",
        "if artifact.type in agent.consumes",
    ),
    Mutant(
        "the limit of directions is overstepped",
        DIRECTIONS,
        "if state.totals.directions + opened >= state.spec.max_directions:",
        "if state.totals.directions >= state.spec.max_directions:",
    ),
    Mutant(
        "a requeued task keeps its token",
        EVOLVE,
        '    task.token = ""\n    if not event.uses_attempt:',
        "    if not event.uses_attempt:",
    ),
    Mutant(
        "attempts are never counted",
        EVOLVE,
        "task.tries += 1",
        "task.tries += 0",
    ),
    Mutant(
        "statistics are told twice",
        EVOLVE,
        "        tell(direction, task.visit,",
        "        tell(direction, task.visit, 0)\n        tell(direction, task.visit,",
    ),
    Mutant(
        "a cancelled task tells a reward",
        EVOLVE,
        'if event.status == "cancelled":',
        "if False:",
    ),
    Mutant(
        "a dead task tells nothing",
        EVOLVE,
        'if event.status == "cancelled":',
        'if event.status in ("cancelled", "dead"):',
    ),
    Mutant(
        "what lost attempts used is not counted",
        EVOLVE,
        "tries -= 1\n    totals = _totals(state)\n    totals.usage = totals.usage.plus(event.usage)",
        "tries -= 1",
    ),
    Mutant(
        "silence is judged by the grace alone",
        LIVENESS,
        "if now - pulse.heard >= self.patience.silence_seconds:",
        "if now - pulse.heard >= self.patience.grace_seconds:",
    ),
    Mutant(
        "a new leader gives no grace",
        LIVENESS,
        "return None if graced else Loss(",
        "return Loss(",
    ),
    Mutant(
        "one beat without a lease is enough to lose it",
        LIVENESS,
        "pulse.before is not None and _unlisted(pulse.beat, task) and _unlisted(pulse.before, task)",
        "_unlisted(pulse.beat, task)",
    ),
    Mutant(
        "a beat that does not cover a grant counts against it",
        LIVENESS,
        "if beat.claims_through < task.grant:",
        "if False:",
    ),
    Mutant(
        "a restarted worker keeps what it forgot",
        LIVENESS,
        "restarted = replaced or pulse.beat.sent_ms >= task.claimed_ms",
        "restarted = False",
    ),
    Mutant(
        "a restart is judged by clocks alone",
        LIVENESS,
        "restarted = replaced or ",
        "restarted = ",
    ),
    Mutant(
        "a worker that restarts with its clock set back is not heard",
        LIVENESS,
        "            if now - known.heard < self.patience.grace_seconds:\n                return",
        "            return",
    ),
    Mutant(
        "a worker dates its beats by its clock alone",
        "agents/ledger.py",
        "max(self._dated_ms + 1, self.identity.wall_ms())",
        "self.identity.wall_ms()",
        ("tests/swarm/test_patience.py",),
    ),
    Mutant(
        "a lease outlasts the clock that it was given by",
        "blackboard/redis.py",
        "left_ms > IMPLAUSIBLE_LEASES * ttl_ms",
        "left_ms < 0",
        ("tests/store/test_redis_faults.py",),
    ),
    Mutant(
        "an overtaken beat replaces a newer one",
        LIVENESS,
        "if known is not None and beat.sent_ms < known.beat.sent_ms:",
        "if False:",
    ),
    Mutant(
        "a stored beat proves life whatever its age",
        LIVENESS,
        "if beat.worker not in self._pulses and age_seconds < self.patience.silence_seconds:",
        "if beat.worker not in self._pulses:",
    ),
    Mutant(
        "a paused run dispatches new visits",
        DISPATCH,
        "totals.cancelling or totals.paused is not None:",
        "totals.cancelling:",
    ),
    Mutant(
        "what a retried task told stays",
        EVOLVE,
        "        recount(state.directions[identity], rewards)",
        "        state.directions[identity].in_flight += 1",
    ),
    Mutant(
        "what a lost dispatch may have used is forgotten",
        "blackboard/budgets.py",
        "self.spent = plus(self.spent, reserved)",
        "self.spent = plus(self.spent, NONE)",
    ),
    Mutant(
        "a beat that does not cover the claim confirms a stop",
        LIVENESS,
        "        and beat.claims_through >= task.grant",
        "",
    ),
    Mutant(
        "effects leave before the append",
        GROUP,
        "batch, effects = self._close_group()",
        "batch, effects = self._close_group(); committed(effects); effects = []",
    ),
    Mutant(
        "a rolled-back store is taken for a success",
        GROUP,
        '            except HeadMismatch:\n                return "rolled_back"\n',
        "            except HeadMismatch:\n                pass\n",
        ("tests/swarm/test_rollback.py",),
    ),
    Mutant(
        "what the bus lost is not published again",
        DISPATCHER,
        "        if overdue:\n",
        "        if False:\n",
    ),
    Mutant(
        "the first run takes the whole fleet",
        "coordinator/allotment.py",
        "portion = max(left // len(hungry), 1)",
        "portion = left",
    ),
    Mutant(
        "a refused claim keeps its slot",
        "agents/claims.py",
        "            one.delivery.ack()\n            self._ledger.free_slot()\n",
        "            one.delivery.ack()\n",
    ),
    Mutant(
        "an unanswered claim keeps its slots",
        "agents/claims.py",
        "self._chance()))\n            self._ledger.free_slot()",
        "self._chance()))",
    ),
    Mutant(
        "a discovery without a receipt is not published again",
        "agents/outbox.py",
        "if kept.due <= now]",
        "if False]",
    ),
)
