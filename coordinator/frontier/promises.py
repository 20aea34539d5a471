"""What priors are worth: learned from what first visits told.

Priors come from two sources, which are judged apart: *planned* directions bring the guess of a plan, or
none; *spawned* ones the quality of a finding that another direction of the same frontier made.
"""

from typing import NamedTuple

from blackboard.events import MICRO
from blackboard.state import DirectionRow

ROOT_PRIOR_MICRO = MICRO // 2
"""The prior of a direction that comes with none."""
PRIOR_WEIGHT = 2
"""Coin flips that a prior is worth at least."""
KNOTS = 9
"""Priors, from 0 to 1 at equal distances, at which it is learned what they are worth."""
_SETTLING = 4
"""Directions that are imagined to have kept what their prior promised, before any has told."""
_NEXT = 0.5
"""What is told at one knot counts so much at the next."""
_IMAGINED_FLIPS = 1.0
"""Variance of coin flips of which half is imagined to have been left around the forecasts."""


class Promise(NamedTuple):
    """The prior of a visited direction and what its first visit told, in micro-units."""

    promised: int
    kept: int


def prior_of(row: DirectionRow) -> int:
    """In micro-units."""
    return ROOT_PRIOR_MICRO if row.prior_micro is None else row.prior_micro


class Outlook(NamedTuple):
    """What may be expected of the priors of one source."""

    forecasts: tuple[float, ...] = tuple(knot / (KNOTS - 1) for knot in range(KNOTS))
    """The first reward at each knot; never falling."""
    surprise: float = 0.0
    """What first visits told, less what priors promised, on average."""
    worth: float = PRIOR_WEIGHT
    """Coin flips that tell as much as a prior: their variance over that of first rewards around forecasts."""

    def forecast(self, prior: float) -> float:
        """The first reward of a direction with this prior: between two knots on a straight line."""
        place = prior * (KNOTS - 1)
        knot = min(int(place), KNOTS - 2)
        low, high = self.forecasts[knot], self.forecasts[knot + 1]
        return min(low + (place - knot) * (high - low), high)


class Promises:
    """Sums over the visited directions of one source, by the knot next to the prior."""

    __slots__ = ("_kept", "_outlook", "_promised", "_squares", "_told")

    def __init__(self) -> None:
        self._told = [0] * KNOTS
        self._promised = [0] * KNOTS
        self._kept = [0] * KNOTS
        self._squares = 0
        self._outlook: Outlook | None = Outlook()

    def replace(self, old: Promise | None, new: Promise | None) -> None:
        if old is not None:
            self._count(old, -1)
        if new is not None:
            self._count(new, 1)

    def _count(self, one: Promise, sign: int) -> None:
        knot = (one.promised * (KNOTS - 1) + MICRO // 2) // MICRO
        self._told[knot] += sign
        self._promised[knot] += sign * one.promised
        self._kept[knot] += sign * one.kept
        self._squares += sign * one.kept * one.kept
        self._outlook = None

    @property
    def outlook(self) -> Outlook:
        if self._outlook is None:
            self._outlook = self._learned()
        return self._outlook

    def _learned(self) -> Outlook:
        ahead = [(kept - held) / MICRO for kept, held in zip(self._kept, self._promised, strict=True)]
        forecasts = _rising(
            [
                knot / (KNOTS - 1) + surprise / (told + _SETTLING)
                for knot, (surprise, told) in enumerate(zip(_spread(ahead), _spread(self._told), strict=True))
            ]
        )
        return Outlook(forecasts, sum(ahead) / (sum(self._told) + _SETTLING), self._worth(forecasts))

    def _worth(self, forecasts: tuple[float, ...]) -> float:
        flips, left = 0.0, self._squares / (MICRO * MICRO)
        for forecast, told, kept in zip(forecasts, self._told, self._kept, strict=True):
            flips += told * forecast * (1.0 - forecast)
            left += forecast * (told * forecast - 2.0 * kept / MICRO)
        worth = (flips + _IMAGINED_FLIPS) / (max(left, 0.0) + _IMAGINED_FLIPS / PRIOR_WEIGHT)
        return max(worth, PRIOR_WEIGHT)


def _spread(values: list[float] | list[int]) -> list[float]:
    """Each value, and those of other knots by their distance."""
    spread = [float(value) for value in values]
    carried = 0.0
    for knot, value in enumerate(values):
        spread[knot] += carried
        carried = (carried + value) * _NEXT
    carried = 0.0
    for knot in range(KNOTS - 1, -1, -1):
        spread[knot] += carried
        carried = (carried + values[knot]) * _NEXT
    return spread


def _rising(values: list[float]) -> tuple[float, ...]:
    """Isotonic regression by pooling adjacent violators, in [0, 1]."""
    blocks: list[tuple[float, int]] = []
    for value in values:
        total, length = value, 1
        while blocks and blocks[-1][0] * length >= total * blocks[-1][1]:
            before, more = blocks.pop()
            total, length = total + before, length + more
        blocks.append((total, length))
    rising: list[float] = []
    for total, length in blocks:
        rising += [min(max(total / length, 0.0), 1.0)] * length
    return tuple(rising)
