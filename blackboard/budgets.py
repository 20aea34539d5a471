"""What budgets limit, and what has been used of it: reserved at dispatch, settled when a dispatch ends.

Where nobody knows what a dispatch has used (its worker was lost, or cancelled at work), what was reserved
for it is kept as used. So the true use never exceeds `spent` plus what is reserved, as far as no task
uses more than was reserved for it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from blackboard.spec import Amounts, Budget
from protocol.messages import Usage

RESOURCES = ("model calls", "tool calls", "tokens", "micro-dollars")
"""What `Amounts` count, in this order."""
NONE: Amounts = (0, 0, 0, 0)


@dataclass(slots=True)
class Account:
    """What the tasks of one agent have used, as far as the run has a budget for it."""

    begun: int = 0
    """Visits begun."""
    known: int = 0
    """Tasks that have ended well, and so said what they used."""
    spent: Amounts = NONE
    """Used, or taken to be used."""
    doubtful: Amounts = NONE
    """That part of `spent` which nobody knows: what was reserved for dispatches that never said."""
    reserved: Amounts = NONE
    """For what is under way."""

    @property
    def expected(self) -> Amounts:
        """What a task of this agent uses on average, rounded up; nothing before the first has said."""
        if not self.known:
            return NONE
        calls, tools, tokens, cost = (
            -(-(spent - doubtful) // self.known)
            for spent, doubtful in zip(self.spent, self.doubtful, strict=True)
        )
        return calls, tools, tokens, cost

    def reserve(self, amounts: Amounts) -> None:
        self.reserved = plus(self.reserved, amounts)

    def draw(self, reserved: Amounts, used: Amounts) -> Amounts:
        """Something was used before its dispatch has ended; returns what is reserved for the rest of it."""
        left = drawn(reserved, used)
        self.reserved = minus(self.reserved, minus(reserved, left))
        self.spent = plus(self.spent, used)
        return left

    def settle(self, reserved: Amounts, used: Amounts, *, whole: bool) -> None:
        """A dispatch has said what else it used; `whole` where that is all that its task uses."""
        self.known += whole
        self.reserved = minus(self.reserved, reserved)
        self.spent = plus(self.spent, used)

    def keep(self, reserved: Amounts) -> None:
        """A dispatch has ended without a word."""
        self.reserved = minus(self.reserved, reserved)
        self.spent = plus(self.spent, reserved)
        self.doubtful = plus(self.doubtful, reserved)

    def release(self, reserved: Amounts) -> None:
        """A dispatch was taken back before anybody had claimed it."""
        self.reserved = minus(self.reserved, reserved)


def plus(one: Amounts, other: Amounts) -> Amounts:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3]


def minus(one: Amounts, other: Amounts) -> Amounts:
    return one[0] - other[0], one[1] - other[1], one[2] - other[2], one[3] - other[3]


def drawn(one: Amounts, other: Amounts) -> Amounts:
    """What is left of one, and nothing less."""
    left = minus(one, other)
    return max(0, left[0]), max(0, left[1]), max(0, left[2]), max(0, left[3])


def amounts_of(usage: Usage, *, unknown_cost: int = 0) -> Amounts:
    cost = usage.cost_microdollars
    tokens = usage.tokens_in + usage.tokens_out
    return usage.model_calls, usage.tool_calls, tokens, unknown_cost if cost is None else cost


def limits_of(budget: Budget) -> tuple[int | None, ...]:
    """Limits in the order of RESOURCES."""
    return budget.model_calls, budget.tool_calls, budget.tokens, budget.cost_microdollars


def meters(budget: Budget) -> bool:
    """Whether a budget limits anything besides the visits of a run."""
    return budget.wall_seconds is not None or any(limit is not None for limit in limits_of(budget))


def overdrawn(budget: Budget, accounts: Iterable[Account], wanted: Amounts) -> str:
    """The limit that does not allow so much more, in words; empty when all do.

    A limit that is used up to the last unit allows nothing more, whatever is wanted.
    """
    total = NONE
    for account in accounts:
        total = plus(total, plus(account.spent, account.reserved))
    for what, used, more, limit in zip(RESOURCES, total, wanted, limits_of(budget), strict=True):
        if limit is not None and used >= limit:
            return f"the budget of {limit:,} {what} is spent"
        if limit is not None and used + more > limit:
            return f"of the budget of {limit:,} {what} less is left than the {more:,} to reserve"
    return ""
