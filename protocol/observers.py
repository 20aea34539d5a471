"""How the core tells what it notices without knowing who listens."""

from collections.abc import Callable
from typing import Generic, TypeVar

Observation = TypeVar("Observation")


class Fanout(Generic[Observation]):
    """Hands each observation to every subscriber, in the order of subscription.

    Subscribers return at once and raise nothing.
    """

    def __init__(self) -> None:
        self._subscribers: list[Callable[[Observation], None]] = []

    def subscribe(self, subscriber: Callable[[Observation], None]) -> None:
        self._subscribers.append(subscriber)

    def notify(self, observation: Observation) -> None:
        for subscriber in self._subscribers:
            subscriber(observation)
