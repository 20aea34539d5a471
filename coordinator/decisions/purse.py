"""Whether a budget allows another task, and how much is reserved for it."""

from blackboard.budgets import NONE, Account, overdrawn, plus
from blackboard.spec import AgentSpec, Amounts
from blackboard.state import RunState


class Purse:
    """The budgets of a run and of its agents at one moment; what one decision takes counts at once.

    Finishing agents are never refused: what is estimated for those that have not run yet is left for them.
    """

    def __init__(self, state: RunState, now_ms: int) -> None:
        self.state = state
        self.now_ms = now_ms
        self._taken: dict[str, Account] = {}

    def take(self, agent: str) -> Amounts | None:
        """Reserves what a task of the agent is expected to use; None where nothing has a limit."""
        if not self.state.metered:
            return None
        amounts = self._expected(agent)
        taken = self._taken.setdefault(agent, Account())
        taken.reserve(amounts)
        taken.begun += 1
        return amounts

    def refusal(self, agent: str) -> str:
        """The limit that allows no further task of the agent now, in words; empty when all do."""
        state = self.state
        spec = state.agents.get(agent)
        if spec is None or spec.trigger == "finish" or not state.metered:
            return ""
        run, own = state.spec.budget, spec.budget
        late = self._late(run.wall_seconds, "the run") or (
            self._late(own.wall_seconds, f"agent {agent}") if own is not None else ""
        )
        if late:
            return late
        wanted = self._expected(agent)
        everybody = {*state.totals.accounts, *self._taken}
        accounts = [account for name in everybody for account in self._of(name)]
        return overdrawn(run, accounts, plus(wanted, self._kept_for_the_end())) or self._overdrawn(
            spec, wanted
        )

    def exploration_is_over(self) -> str:
        """The limit that ends exploration for good, in words: nothing under way could give anything back."""
        state = self.state
        run = state.spec.budget
        late = self._late(run.wall_seconds, "the run")
        if late or any(any(one.reserved) for one in state.totals.accounts.values()):
            return late
        refusals = [self.refusal(spec.name) for spec in state.spec.agents if spec.trigger == "explore"]
        return refusals[0] if refusals and all(refusals) else ""

    def _overdrawn(self, spec: AgentSpec, wanted: Amounts) -> str:
        if spec.budget is None:
            return ""
        own = list(self._of(spec.name))
        limit = spec.budget.tasks
        if limit is not None and sum(account.begun for account in own) >= limit:
            return f"agent {spec.name}: the budget of {limit:,} tasks is spent"
        over = overdrawn(spec.budget, own, wanted)
        return over and f"agent {spec.name}: {over}"

    def _of(self, agent: str) -> tuple[Account, ...]:
        both = self.state.totals.accounts.get(agent), self._taken.get(agent)
        return tuple(account for account in both if account is not None)

    def _expected(self, agent: str) -> Amounts:
        spec = self.state.agents.get(agent)
        if spec is not None and spec.estimate is not None:
            return spec.estimate.amounts
        account = self.state.totals.accounts.get(agent)
        return NONE if account is None else account.expected

    def _kept_for_the_end(self) -> Amounts:
        kept = NONE
        for spec in self.state.spec.agents:
            account = self.state.totals.accounts.get(spec.name)
            if spec.trigger == "finish" and (account is None or not account.begun):
                kept = plus(kept, self._expected(spec.name))
        return kept

    def _late(self, wall_seconds: float | None, whose: str) -> str:
        if wall_seconds is None or self.now_ms < self.state.totals.created_ms + wall_seconds * 1000:
            return ""
        return f"{whose} has had its {wall_seconds:g} s"
