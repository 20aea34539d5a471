"""What the swarm knows of the providers that its agents call: one circuit breaker each, shared by all.

A breaker is `closed` while calls go through, `open` while none does, and `half_open` while one call, the
probe, finds out whether the provider is back (Nygard, Release It!, 2007).
"""

from typing import Annotated, Literal

from pydantic import FailFast, Field, StringConstraints

from protocol.messages import Count, ProviderName, Record

Told = Literal["ok", "failed", "limited", "unknown", "due"]
"""How a call went. `ok`: the provider answered, be it with a refusal. `failed`: it did not, or with an error
of its own. `limited`: it asked for patience. `unknown`: the call was given up before it said anything.
`due`: it has not begun yet, and would be the probe."""


class Breaker(Record):
    """The circuit breaker of one provider. Times are of the coordinators' wall clock."""

    provider: ProviderName
    status: Literal["closed", "open", "half_open"] = "closed"
    failed_ms: Annotated[tuple[Count, ...], FailFast(), Field(max_length=1000)] = ()
    """When calls failed, with none that went well since."""
    changed_ms: Count = 0
    """When the status last changed."""
    until_ms: Count = 0
    """Open: when a probe may be made. Half open: when the probe counts as lost."""
    openings: Count = 0
    """How often it has opened since it was last closed."""
    opened: Count = 0
    """How often it has opened from closed, ever."""
    probe: str = ""
    """Half open: the token of the probe that is under way."""
    reason: Annotated[str, StringConstraints(max_length=500)] = ""
    """What opened it, in the words of the call that failed."""

    @property
    def quiet(self) -> bool:
        """Whether there is nothing to tell workers of."""
        return self.status == "closed" and not self.failed_ms


class Breakers(Record):
    """All breakers that are known, as one record; `number` counts its versions."""

    number: Count = 0
    breakers: Annotated[tuple[Breaker, ...], FailFast(), Field(max_length=1000)] = ()
    now_ms: Count = 0
    """When this was sent, by the clock that the times are of."""

    def of(self, provider: str) -> Breaker:
        return next((one for one in self.breakers if one.provider == provider), Breaker(provider=provider))


class ProviderReport(Record):
    """How a call went, from a worker. Those that go well while the breaker is quiet are not reported."""

    provider: ProviderName
    told: Told
    probe: Annotated[str, StringConstraints(max_length=64)] = ""
    """Its token, where the call was the probe."""
    retry_after_seconds: Annotated[float, Field(ge=0, le=86_400)] | None = None
    reason: Annotated[str, StringConstraints(max_length=500)] = ""


class ProviderReply(Record):
    """All breakers after a report; `probe` is the token of the probe that was granted."""

    breakers: Breakers
    probe: str = ""
