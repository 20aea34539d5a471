"""The frontier on its own: ask for a direction, tell what came of it. For tests and other programs.

Inside a run the leader does the same from events; here the record is this object and its snapshot.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import JsonValue, TypeAdapter

from blackboard.events import MICRO, Choice
from blackboard.rewards import expire, start, tell
from blackboard.state import DirectionRow
from coordinator.frontier.policies import DEFAULT_POLICY, frontier
from protocol.errors import InvalidMessage, NotFound

_ROWS = TypeAdapter(list[DirectionRow])


@dataclass(frozen=True, slots=True)
class Ticket:
    """One visit: settled once, by `tell` or `expire`. Work that is dispatched again keeps its ticket."""

    number: int
    direction: str
    visit: int
    choice: Choice


class Agenda:
    """Directions under a named policy. Rewards lie in [0, 1]; costs are in any unit, in millionths exact.

    :raises InvalidSettings: there is no policy of that name.
    """

    def __init__(self, policy: str = DEFAULT_POLICY, seed: int = 0) -> None:
        self.policy = policy
        self.seed = seed
        self.rows: dict[str, DirectionRow] = {}
        self._asked = 0
        self._pending: dict[int, tuple[str, int]] = {}
        self._frontier = frontier(policy)

    def add(
        self,
        direction: str,
        *,
        topic: str = "",
        prior: float | None = None,
        parent: str | None = None,
        max_visits: int | None = None,
    ) -> bool:
        """Opens a direction; False if it exists. The prior is the quality of the finding that spawned it.

        :raises InvalidMessage: the prior is not in [0, 1].
        """
        if direction in self.rows:
            return False
        row = DirectionRow(
            id=direction,
            agent="",
            topic=topic,
            opened=len(self.rows) + 1,
            opened_ms=0,
            parent=parent,
            prior_micro=None if prior is None else _micro(prior, "prior"),
            max_visits=max_visits,
        )
        self.rows[direction] = row
        self._frontier.opened(row)
        return True

    def ask(self) -> Ticket | None:
        """The direction to visit next, from now on in flight, with the reasons; None if none is open."""
        choice = self._frontier.choose(self._asked, self.seed)
        if choice is None:
            return None
        row = self.rows[choice.chosen.direction]
        visit = start(row)
        self._frontier.changed(row)
        ticket = Ticket(self._asked, row.id, visit, choice)
        self._pending[ticket.number] = (row.id, visit)
        self._asked += 1
        return ticket

    def tell(self, ticket: int, reward: float, cost: float = 0.0) -> bool:
        """Settles a ticket by its number; False, and no change, if it is settled already.

        Work that failed for good tells reward 0.

        :raises NotFound: no such ticket was issued.
        :raises InvalidMessage: the reward is not in [0, 1], or the cost is negative.
        """
        reward_micro = _micro(reward, "reward")
        if not cost >= 0.0:
            raise InvalidMessage("cost", f"{cost} is not a cost", "tell a number from 0 up")
        pending = self._settled(ticket)
        if pending is None:
            return False
        row = self.rows[pending[0]]
        tell(row, pending[1], reward_micro, round(cost * MICRO))
        self._frontier.changed(row)
        return True

    def expire(self, ticket: int) -> bool:
        """Takes a ticket back without a reward; False if it is settled already.

        :raises NotFound: no such ticket was issued.
        """
        pending = self._settled(ticket)
        if pending is None:
            return False
        row = self.rows[pending[0]]
        expire(row)
        self._frontier.changed(row)
        return True

    def retire(self, direction: str, reason: str) -> bool:
        """Ends a direction for a reason; what is in flight still tells. False if it has ended already.

        :raises NotFound: there is no such direction.
        """
        row = self.rows.get(direction)
        if row is None:
            raise NotFound("direction", direction)
        if row.retired is not None:
            return False
        row.retired = reason
        self._frontier.changed(row)
        return True

    def snapshot(self) -> Mapping[str, JsonValue]:
        """All there is to know, as JSON values."""
        rows: list[Any] = [asdict(row) for row in self.rows.values()]
        pending: list[Any] = [[number, *ticket] for number, ticket in self._pending.items()]
        return {
            "policy": self.policy,
            "seed": self.seed,
            "asked": self._asked,
            "pending": pending,
            "rows": rows,
        }

    @classmethod
    def restore(cls, snapshot: Mapping[str, Any]) -> "Agenda":
        """The agenda that the snapshot was taken of; it goes on to choose as if never interrupted."""
        agenda = cls(snapshot["policy"], snapshot["seed"])
        agenda._asked = snapshot["asked"]
        agenda._pending = {number: (key, visit) for number, key, visit in snapshot["pending"]}
        agenda.rows = {row.id: row for row in _ROWS.validate_python(snapshot["rows"])}
        agenda._frontier = frontier(agenda.policy, agenda.rows.values())
        return agenda

    def _settled(self, ticket: int) -> tuple[str, int] | None:
        if not 0 <= ticket < self._asked:
            raise NotFound("ticket", str(ticket))
        return self._pending.pop(ticket, None)


def _micro(value: float, name: str) -> int:
    if not 0.0 <= value <= 1.0:
        raise InvalidMessage(name, f"{value} is not in [0, 1]", "scale it to a share of the best possible")
    return round(value * MICRO)
