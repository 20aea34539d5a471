"""Wrong rules of what the whole swarm shares: limits, circuit breakers, prices."""

from tests.mutants.table import Mutant

PERMITS = "coordinator/permits.py"
TOKENS = "coordinator/token_rate.py"
BREAKER = "coordinator/breaker.py"
PRICES = "protocol/prices.py"
LIMITS = ("tests/decisions/test_permits.py", "tests/swarm/test_limits.py")
BREAKERS = ("tests/decisions/test_breaker.py",)
COSTS = ("tests/protocol/test_prices.py", "tests/dspy/test_replay.py")

SHARING: tuple[Mutant, ...] = (
    Mutant(
        "what others hold of a limit is free",
        PERMITS,
        "else limit.concurrent - self._held.total()",
        "else limit.concurrent",
        LIMITS,
    ),
    Mutant(
        "a permit that its holder does not know of yet is granted again",
        PERMITS,
        "max(0, portion.wants - (granted - portion.granted))",
        "portion.wants",
        LIMITS,
    ),
    Mutant(
        "an overtaken message takes permits back",
        PERMITS,
        "granted = max(portion.granted, same.granted, ended)",
        "granted = max(portion.granted, ended)",
        LIMITS,
    ),
    Mutant(
        "a worker that was replaced has a say in limits",
        PERMITS,
        "if known is not None and portion.since_ms < known.since_ms:",
        "if False:",
        LIMITS,
    ),
    Mutant(
        "a rate is forgotten",
        PERMITS,
        "begun = max(self.taken_until_ms, float(self._now_ms))",
        "begun = float(self._now_ms)",
        LIMITS,
    ),
    Mutant(
        "a run keeps its permits for its next tasks",
        PERMITS,
        "self.ended += max(0, self._busy - busy)",
        "self.ended += 0",
        LIMITS,
    ),
    Mutant(
        "runs have no equal shares of a limit",
        PERMITS,
        "return held, max(self.turns.get(run, 0), self.turn), run",
        "return 0, 0, run",
        LIMITS,
    ),
    Mutant(
        "tokens that were reserved stay charged when their call has ended",
        TOKENS,
        "quota.tokens_owed + took - released",
        "quota.tokens_owed + took",
        LIMITS,
    ),
    Mutant(
        "a call is charged when it has ended, and not before",
        TOKENS,
        "        self._charge(tokens)\n        return tokens",
        "        return 0.0",
        LIMITS,
    ),
    Mutant(
        "tokens may be saved up while nothing is called",
        TOKENS,
        "if tokens > 0 else self._until_ms",
        "if tokens < 0 else self._until_ms",
        LIMITS,
    ),
    Mutant(
        "a dead worker keeps its share of a model",
        "coordinator/limiter.py",
        "return unheard_ms > self._office.settings.limits.permit_seconds * 1000",
        "return False",
        LIMITS,
    ),
    Mutant(
        "a coordinator that knows of no runs yet takes what they hold for anybody's",
        "coordinator/limiter.py",
        "known = self._elections.answered",
        "known = True",
        ("tests/swarm/test_limits.py",),
    ),
    Mutant(
        "what the record of the limits has lost stays lost",
        "coordinator/limiter.py",
        "bool(portion.wants) or forgotten or",
        "bool(portion.wants) or",
        ("tests/swarm/test_limits.py",),
    ),
    Mutant(
        "a call is made without waiting for a permit",
        "agents/permits.py",
        "                await turn.come.wait()\n",
        "                turn.come.set()\n",
        ("tests/worker/test_permits.py",),
    ),
    Mutant(
        "a breaker opens one failure late",
        BREAKER,
        "len(failed_ms) >= rules.failures",
        "len(failed_ms) > rules.failures",
        BREAKERS,
    ),
    Mutant(
        "an open breaker is probed before its time",
        BREAKER,
        'if breaker.status == "closed" or now_ms < breaker.until_ms:',
        'if breaker.status == "closed":',
        BREAKERS,
    ),
    Mutant(
        "a failed probe does not lengthen the pause",
        BREAKER,
        "openings = breaker.openings + 1",
        "openings = breaker.openings",
        BREAKERS,
    ),
    Mutant(
        "whoever calls closes a breaker, and not its probe alone",
        BREAKER,
        'if breaker.status == "half_open" and report.probe == breaker.probe:',
        'if breaker.status == "half_open":',
        BREAKERS,
    ),
    Mutant(
        "cached tokens cost what others do",
        PRICES,
        "cached = self.input if self.cached is None else self.cached",
        "cached = self.input",
        COSTS,
    ),
    Mutant(
        "shipped prices win over one's own",
        PRICES,
        "(*_longest_first(mine), *_longest_first(SHIPPED))",
        "(*_longest_first(SHIPPED), *_longest_first(mine))",
        COSTS,
    ),
    Mutant(
        "a table's price loses against DSPy's estimate",
        "agents/dspy_lm.py",
        "if row is not None:",
        "if row is not None and cost is None:",
        COSTS,
    ),
)
