"""Wrong shells: what carries decisions about, and keeps them true. Each names the tests that must notice."""

from tests.mutants.table import Mutant

APPEND = "blackboard/append.lua"
STORE = ("tests/store/test_append.py", "tests/store/test_leases.py", "tests/store/test_redis_faults.py")
SWARM = ("tests/swarm", "tests/sim")
LONG = ("tests/decisions/test_segments.py", "tests/swarm/test_long_runs.py")
CONDENSING = ("tests/swarm/test_condensing.py",)
REPUBLISHING = ("tests/swarm/test_republishing.py",)
VERIFIED = ("tests/swarm/test_verification.py",)

SHELL: tuple[Mutant, ...] = (
    Mutant(
        "a look at the bus that began before a run's end leaves it a queue",
        "coordinator/leader.py",
        "if self._over:",
        "if False:",
        ("tests/swarm/test_leaks.py",),
    ),
    Mutant(
        "a segment leaves the log before it is due",
        "coordinator/segments.py",
        "return max(0, head - kept) // length * length",
        "return head // length * length",
        LONG,
    ),
    Mutant(
        "a result of a forgotten task is judged without its row",
        "coordinator/inbox.py",
        "if self._recall.lacks(discovery.task):",
        "if False:",
        LONG,
    ),
    Mutant(
        "what has ended is read at a take-over for ever",
        "blackboard/encoding.py",
        "dropped = [mark for mark, there in marks.items() if not there]",
        "dropped = []",
        LONG,
    ),
    Mutant(
        "a retry counts only the visits that the leader remembers",
        "coordinator/recall.py",
        "return request, await self.tasks(visits), asked",
        "return request, named, asked",
        LONG,
    ),
    Mutant(
        "a segment leaves the log and nothing names its body",
        "coordinator/archiving.py",
        "[segment.row() for segment in segments],",
        "[],",
        VERIFIED,
    ),
    Mutant(
        "a body of the archive expires",
        "coordinator/group_commit.py",
        "bodies=[*written.bodies, *leaving.bodies],",
        "bodies=written.bodies,",
        VERIFIED,
    ),
    Mutant(
        "the first journal that is condensed takes a body from all who name it",
        "blackboard/memory.py",
        "body.names = max(0, body.names - 1)",
        "body.names = 0",
        CONDENSING,
    ),
    Mutant(
        "a condensed journal goes on naming what it had put apart",
        "blackboard/evolve.py",
        "state.unnamed += one.bodies",
        "",
        CONDENSING,
    ),
    Mutant(
        "the archive goes on one event too late",
        "coordinator/archiving.py",
        "last, chain = segment.last, segment.chain",
        "last, chain = segment.last + 1, segment.chain",
        VERIFIED,
    ),
    Mutant(
        "a segment is believed without its chain",
        "coordinator/archive.py",
        "if _chained(chain, lines) != segment.chain or entries[-1].position != segment.last:",
        "if False:",
        VERIFIED,
    ),
    Mutant(
        "rows that a run touches meanwhile count as altered",
        "coordinator/verification/verify.py",
        "found = [(place, problem) for place, problem in found if place not in again]",
        "found = list(found)",
        VERIFIED,
    ),
    Mutant(
        "a journal is condensed whose task may be retried",
        "blackboard/evolve.py",
        'if task.steps and event.status == "done":',
        'if task.steps and event.status != "cancelled":',
        CONDENSING,
    ),
    Mutant(
        "the newest journals are condensed, the oldest stay",
        "coordinator/condensing.py",
        "await self._condense(names[:gone])",
        "await self._condense(names[-gone:])",
        CONDENSING,
    ),
    Mutant(
        "a journal is condensed for its age before its time",
        "coordinator/condensing.py",
        "if ms + self._age_ms > now_ms",
        "if ms > now_ms",
        CONDENSING,
    ),
    Mutant(
        "what was done outside is condensed too",
        "blackboard/condensing.py",
        'if step.kind not in ("pure", "model") or step.condensed:',
        "if step.condensed:",
        CONDENSING,
    ),
    Mutant(
        "a condensed journal is replayed as far as it goes",
        "coordinator/forking.py",
        "        _check_whole(source, read)\n",
        "",
        CONDENSING,
    ),
    Mutant(
        "an append needs no leader's token",
        APPEND,
        "if not holds and not creates then",
        "if false then",
        STORE,
    ),
    Mutant("an append needs no head", APPEND, "if head ~= expected then", "if false then", STORE),
    Mutant(
        "a batch that was applied before is not known again",
        APPEND,
        "if events > 0 and head == expected + events and meta[2] == digest then",
        "if false then",
        STORE,
    ),
    Mutant(
        "an artifact is overwritten",
        APPEND,
        "if known and known ~= artifact_digest then",
        "if false then",
        STORE,
    ),
    Mutant(
        "an artifact may name a body that is not there",
        APPEND,
        "if body ~= '' and redis.call('EXISTS', root .. ':body:' .. body) == 0 then",
        "if false then",
        STORE,
    ),
    Mutant(
        "a result is acknowledged before its append",
        "coordinator/inbox.py",
        "    def _commit(self, discovery: SwarmDiscovery, source: Delivery | Shared) -> None:\n",
        "    def _commit(self, discovery: SwarmDiscovery, source: Delivery | Shared) -> None:\n"
        "        source.ack()\n",
        SWARM,
    ),
    Mutant(
        "the lease may run out while rows are read",
        "coordinator/leader.py",
        '            tasks.start_soon(self._hold_on, name=f"hold {self._id}")\n',
        "",
        SWARM,
    ),
    Mutant(
        "a beat is judged before the rows are there",
        "coordinator/leader.py",
        "        if not self._leading:\n",
        "        if False:\n",
        SWARM,
    ),
    Mutant(
        "a rollback is not noticed",
        "coordinator/heads.py",
        "return max(0, self._known.get(run, 0) - head)",
        "return 0",
        SWARM,
    ),
    Mutant(
        "a dispatch counts as sent without a confirmation",
        "coordinator/outbox.py",
        "lost = not entry.confirmed or task.agent in empty",
        "lost = task.agent in empty",
        REPUBLISHING,
    ),
    Mutant(
        "an empty queue is no sign of loss",
        "coordinator/outbox.py",
        "lost = not entry.confirmed or task.agent in empty",
        "lost = not entry.confirmed",
        REPUBLISHING,
    ),
    Mutant(
        "a recorded step is made again",
        "agents/steps.py",
        "            if place.entry is not None:\n",
        "            if False:\n",
        ("tests/worker/test_journal.py", *SWARM),
    ),
    Mutant(
        "a step's value is used before it is recorded",
        "agents/steps.py",
        "        await self._journal.record(draft)\n        return draft.value\n",
        "        return draft.value\n",
        ("tests/worker/test_journal.py", *SWARM),
    ),
    Mutant(
        "a worker forgets a result once it is published",
        "agents/outbox.py",
        "        self._bytes += size\n        self._posted",
        "        self._bytes += size\n        del self._kept[message.token]\n        self._posted",
        ("tests/worker/test_outbox.py", *SWARM),
    ),
    Mutant(
        "a lost lease goes on running",
        "agents/runner.py",
        '        running.stop("lost")\n',
        "",
        ("tests/worker/test_running.py", *SWARM),
    ),
)
