"""Wrong words to whoever waits, and wrong judges of what a visit was worth."""

from tests.mutants.table import Mutant

ANSWERS = "coordinator/decisions/waiting.py"
INBOX = "coordinator/inbox.py"
WAITS = ("tests/decisions/test_waiting.py", "tests/swarm/test_waiting.py")
EFFECTS = ("tests/swarm/test_unsafe_effects.py",)

WAITING: tuple[Mutant, ...] = (
    Mutant(
        "a second answer is told that it counts",
        ANSWERS,
        'return "" if given == row.answer else _ended(row)',
        'return ""',
        WAITS,
    ),
    Mutant(
        "an approval is good for whatever is asked",
        ANSWERS,
        "if wait.approves is not None and request.approves != wait.approves:",
        "if False:",
        (*WAITS, *EFFECTS),
    ),
    Mutant(
        "a task that has ended is still asking",
        ANSWERS,
        'decision.events += withdraw(state, task, env, "the task that asked has ended")',
        "pass",
        WAITS,
    ),
    Mutant(
        "an agent that cannot be asked is waited for",
        ANSWERS,
        "        if refusal:\n            failure",
        "        if False:\n            failure",
        WAITS,
    ),
    Mutant(
        "an unsafe effect happens though no disk can know of it",
        INBOX,
        "can_sync = not on_disk or await store.can_sync()",
        "can_sync = True",
        EFFECTS,
    ),
    Mutant(
        "an unsafe effect does not wait for the disk",
        INBOX,
        "RecordSteps(request, message, on_disk=on_disk)",
        "RecordSteps(request, message)",
        EFFECTS,
    ),
    Mutant(
        "an agent's rate is no limit",
        "coordinator/decisions/limits.py",
        "if spec.per_minute is not None:",
        "if False:",
        ("tests/decisions/test_limits.py",),
    ),
    Mutant(
        "coordinators overwrite each other's breakers",
        "coordinator/breakers.py",
        "            if await self.write(record):\n",
        "            if await self.write(record) or True:\n",
        ("tests/store/test_shared.py",),
    ),
    Mutant(
        "a direction is retired by its mean alone",
        "coordinator/frontier/stopping.py",
        "if highest >= rule.least_reward:",
        "if mean >= rule.least_reward:",
        ("tests/frontier/test_stopping.py",),
    ),
    Mutant(
        "nobody judges a direction by what it earns",
        INBOX,
        "if agent is not None and agent.least_reward is not None:",
        "if False:",
        ("tests/swarm/test_retiring.py",),
    ),
    Mutant(
        "a judge is believed before anything was verified",
        "agents/judging.py",
        "        if judged < ENOUGH:\n            return 0.0\n",
        "        if not judged:\n            return MOST_TRUST\n",
        ("tests/research/test_judging.py",),
    ),
)
