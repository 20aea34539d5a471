"""Wrong forks, and proofs that believe too much."""

from tests.mutants.table import Mutant

FORKING = "coordinator/forking.py"
HISTORY = "coordinator/history.py"
CONTENT = "coordinator/verification/content.py"
FORKS = ("tests/decisions/test_histories.py", "tests/swarm/test_forks.py")
VERIFIED = ("tests/swarm/test_verification.py",)

PARTING: tuple[Mutant, ...] = (
    Mutant(
        "a fork shares what ended after it parts",
        HISTORY,
        "if task is not target and 0 < task.ended < until:",
        "if task is not target and task.ended:",
        FORKS,
    ),
    Mutant(
        "what a fork shares is paid for twice",
        HISTORY,
        "usage=_less(task.usage, usage_of(steps)),",
        "usage=task.usage,",
        FORKS,
    ),
    Mutant(
        "a fork parts between an effect and its outcome",
        FORKING,
        "    if whole < step:\n",
        "    if False:\n",
        FORKS,
    ),
    Mutant(
        "a replay takes along an intent whose outcome is unknown",
        FORKING,
        "steps[: whole_prefix(steps)] for task",
        "steps for task",
        FORKS,
    ),
    Mutant(
        "a fork goes by the source's bodies",
        FORKING,
        "            await self._copy(source, run, digest)\n",
        "            pass\n",
        FORKS,
    ),
    Mutant(
        "an id that is taken is a fork already",
        FORKING,
        "if spec.origin is None or not spec.origin.is_like(origin):",
        "if False:",
        FORKS,
    ),
    Mutant(
        "a fork ends at its source's deadline",
        FORKING,
        "return now_ms + spec.deadline_ms - decode_totals(totals).created_ms",
        "return spec.deadline_ms if totals else None",
        FORKS,
    ),
    Mutant(
        "an artifact that is not what was posted passes the proof",
        CONTENT,
        "elif digest(stored[identity]) != self._expected.artifacts[identity]:",
        "elif False:",
        VERIFIED,
    ),
    Mutant(
        "a body passes the proof whatever its bytes are",
        CONTENT,
        "if read.hexdigest() != body.digest:",
        "if False:",
        VERIFIED,
    ),
    Mutant(
        "an artifact that no event has posted passes the proof",
        CONTENT,
        "if artifact.number <= self._expected.state.totals.artifacts:",
        "if False:",
        VERIFIED,
    ),
    Mutant(
        "a log that is longer than its head says passes the proof",
        "coordinator/verification/verify.py",
        "if head < expected.position:",
        "if False:",
        VERIFIED,
    ),
    Mutant(
        "statistics of a trimmed run are not counted again",
        CONTENT,
        '                self._found.differs("statistics", identity, problem)\n',
        "                pass\n",
        VERIFIED,
    ),
)
