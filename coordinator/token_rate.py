"""How many calls of a model may begin, where the tokens of a minute are limited. Pure.

What a call takes is known when it was answered. So a permit is charged with what calls take on average, and
with the difference when its call has ended. What is charged takes its share of a minute, as in the generic
cell rate algorithm (ITU-T I.371): a call may begin once those before it have taken theirs, less a second.
"""

import math

from coordinator.decisions.limits import NO_LIMIT
from protocol.limits import Limit, Portion, Quota

BURST_MS = 1_000.0
MEMORY = 0.8
"""Of the average, what the calls before have in it after one more."""


def charged(quota: Quota, before: Portion, after: Portion) -> tuple[Quota, Portion]:
    """Both, once a holder has said what its calls took: `before` is the portion as it was known."""
    ended, calls = after.ended - before.ended, after.calls - before.calls
    share = min(1.0, ended / before.in_use) if before.in_use else 0.0
    released, took = before.reserved * share, after.tokens - before.tokens
    if calls > before.in_use:  # the record had forgotten the holder: what it took before was charged then
        calls, took = before.in_use, took * before.in_use // calls
    after = after.model_copy(update={"reserved": before.reserved - released})
    update: dict[str, float] = {"tokens_owed": quota.tokens_owed + took - released}
    if calls > 0:
        known = took / calls if quota.tokens_per_call is None else quota.tokens_per_call
        old = MEMORY**calls
        update["tokens_per_call"] = known * old + took / calls * (1 - old)
    return quota.model_copy(update=update), after


class TokenRate:
    """The tokens of one limit while permits are given out."""

    def __init__(self, quota: Quota, limit: Limit, now_ms: int) -> None:
        self._limit = limit.tokens_per_minute
        self._now_ms = now_ms
        self._average = quota.tokens_per_call
        self._until_ms = quota.tokens_until_ms
        self._charge(quota.tokens_owed)

    def room(self, in_use: int) -> int:
        """Calls that may begin now. Before the first was answered it is one at a time."""
        if self._limit is None:
            return NO_LIMIT
        ahead_ms = BURST_MS - max(0.0, self._until_ms - self._now_ms)
        if ahead_ms <= 0:
            return 0
        if self._average is None:
            return 0 if in_use else 1
        cost_ms = self._average * 60_000 / self._limit
        return NO_LIMIT if cost_ms * NO_LIMIT <= ahead_ms else math.ceil(ahead_ms / cost_ms)

    def reserve(self) -> float:
        """Charges one more call; the tokens that this is taken to be."""
        tokens = self._average or 0.0
        self._charge(tokens)
        return tokens

    def _charge(self, tokens: float) -> None:
        if self._limit is None:
            return
        begun = max(self._until_ms, float(self._now_ms)) if tokens > 0 else self._until_ms
        self._until_ms = begun + tokens * 60_000 / self._limit

    def state(self) -> dict[str, float | None]:
        """What a quota keeps of it."""
        if self._limit is None:
            return {}
        return {
            "tokens_per_minute": self._limit,
            "tokens_per_call": self._average,
            "tokens_until_ms": self._until_ms,
        }


def due_ms(quota: Quota, now_ms: int) -> int:
    """How long it takes until the tokens allow another call; 0 where they do, or only an answer can tell."""
    ahead_ms = quota.tokens_until_ms - now_ms - BURST_MS
    return 0 if quota.tokens_per_minute is None or ahead_ms < 0 else math.floor(ahead_ms) + 1
