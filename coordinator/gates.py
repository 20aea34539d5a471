"""Which tasks must wait because the provider that they need does not answer. Pure."""

from collections.abc import Collection
from dataclasses import dataclass, field

from blackboard.state import RunState
from protocol.messages import Failure
from protocol.providers import Breakers

TRIAL_SECONDS = 2.0
"""Between two tasks of a run that are let out so that one of them probes a provider."""


@dataclass(slots=True)
class Gates:
    """The breakers as this coordinator last heard of them."""

    record: Breakers = field(default_factory=Breakers)
    unquiet: bool = False
    """Whether workers must be told of any."""
    shut: frozenset[str] = frozenset()
    """Providers whose breakers are not closed; empty nearly always."""

    def learn(self, record: Breakers) -> None:
        self.record = record
        self.unquiet = any(not one.quiet for one in record.breakers)
        self.shut = frozenset(one.provider for one in record.breakers if one.status != "closed")

    def due(self, now_ms: int) -> frozenset[str]:
        """Those of them that may be probed now."""
        if not self.shut:
            return self.shut
        return frozenset(
            one.provider for one in self.record.breakers if one.status != "closed" and now_ms >= one.until_ms
        )


@dataclass(slots=True)
class Trials:
    """When a run last let a task out to probe a provider. `now` is monotonic, in seconds."""

    _last: dict[str, float] = field(default_factory=dict[str, float])

    def allowed(self, due: Collection[str], now: float) -> frozenset[str]:
        """Providers for which a task may be let out."""
        return frozenset(name for name in due if now - self._last.get(name, -TRIAL_SECONDS) >= TRIAL_SECONDS)

    def made(self, providers: Collection[str], now: float) -> None:
        self._last = {name: at for name, at in self._last.items() if now - at < TRIAL_SECONDS}
        self._last.update(dict.fromkeys(providers, now))


def held_back(state: RunState, shut: Collection[str]) -> frozenset[str]:
    """Agents one of whose tasks waits for a provider: nothing new of theirs begins meanwhile."""
    tasks = (state.tasks[identity] for identity in state.queued)
    return frozenset(task.agent for task in tasks if needs(task.failure, shut))


def needs(failure: Failure | None, shut: Collection[str]) -> bool:
    """Whether a task's last failure says that it needs one of these providers."""
    return failure is not None and failure.provider in shut
