"""Worlds to explore: seeded arms and trees that say what a visit is worth, and what it spawns."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple, Protocol


@dataclass(slots=True)
class Visit:
    """What came of one visit: its reward, its latent mean, the latent means of what it spawned, its prior."""

    reward: float
    latent: float
    children: list[float] = field(default_factory=list[float])


class Root(NamedTuple):
    """A direction that is there at the outset: its latent mean, and the prior it comes with, if any."""

    mean: float
    prior: float | None = None


class World(Protocol):
    visits: int

    def roots(self, rng: Random) -> list[Root]: ...

    def visit(self, mean: float, earlier: int, rng: Random) -> Visit:
        """A visit of a direction with this latent mean after `earlier` visits were started."""
        ...


def unchanged(mean: float, earlier: int) -> float:
    del earlier
    return mean


@dataclass(frozen=True, slots=True)
class Flat:
    """K arms with means uniform in [0, 1]; `drift` says what a mean has become after some visits."""

    arms: int
    graded: bool
    visits: int = 5_000
    drift: Callable[[float, int], float] = unchanged
    means: tuple[float, float] = (0.0, 1.0)
    concentration: float = 8.0

    def roots(self, rng: Random) -> list[Root]:
        return [Root(rng.uniform(*self.means)) for _ in range(self.arms)]

    def visit(self, mean: float, earlier: int, rng: Random) -> Visit:
        latent = self.drift(mean, earlier)
        if self.graded:
            return Visit(beta(latent, self.concentration, rng), latent)
        return Visit(float(rng.random() < latent), latent)


@dataclass(frozen=True, slots=True)
class Guess:
    """A plan's guess of what its directions are worth, from `least` to `most`.

    `truth` is the share of the guess that follows from the latent mean, the rest is chance; below 0 it
    follows from the opposite.
    """

    truth: float
    least: float = 0.5
    most: float = 0.95

    def of(self, mean: float, means: tuple[float, float], rng: Random) -> float:
        low, high = means
        place = (mean - low) / (high - low)
        told = place if self.truth >= 0.0 else 1.0 - place
        share = abs(self.truth) * told + (1.0 - abs(self.truth)) * rng.random()
        return self.least + (self.most - self.least) * share


@dataclass(frozen=True, slots=True)
class Tree:
    """Directions that spawn directions, as good as the findings that spawned them, less a drift."""

    ratio: float = 1.0
    drift: float = 0.05
    spread: float = 0.08
    visits: int = 1_000
    roots_in: tuple[float, float] = (0.15, 0.35)
    root_count: int = 5
    litter: int = 3
    fertility: tuple[float, float] = (0.15, 0.35)
    concentration: float = 8.0
    binary: bool = False
    guess: Guess | None = None

    def roots(self, rng: Random) -> list[Root]:
        means = [rng.uniform(*self.roots_in) for _ in range(self.root_count)]
        if self.guess is None:
            return [Root(mean) for mean in means]
        return [Root(mean, self.guess.of(mean, self.roots_in, rng)) for mean in means]

    def visit(self, mean: float, earlier: int, rng: Random) -> Visit:
        latent = min(max(mean * self.ratio**earlier, 0.005), 0.995)
        quality = beta(latent, self.concentration, rng)
        base, slope = self.fertility
        born = sum(rng.random() < base + slope * quality for _ in range(self.litter))
        children = [
            min(max(quality - self.drift + self.spread * rng.gauss(0.0, 1.0), 0.01), 0.97)
            for _ in range(born)
        ]
        reward = float(rng.random() < quality) if self.binary else quality
        return Visit(reward, latent, children)


def beta(mean: float, concentration: float, rng: Random) -> float:
    """A Beta-distributed value with this mean; the variance is mean (1 - mean) / (concentration + 1)."""
    mean = min(max(mean, 0.001), 0.999)
    return rng.betavariate(concentration * mean, concentration * (1.0 - mean))


def abrupt(mean: float, earlier: int) -> float:
    """A vein that is worked out: after a number of visits that depends on the mean, little is left."""
    limit = 60 + int(mean * 9_973) % 240
    return mean if earlier < limit else 0.1 * mean


def gradual(mean: float, earlier: int) -> float:
    return mean * math.exp(-earlier / 150.0)


TREES = {
    "T1": Tree(),
    "T2": Tree(ratio=0.85),
    "T3": Tree(ratio=0.9, drift=0.12, spread=0.25),
    "T4": Tree(drift=0.18, spread=0.1),
    "T5": Tree(ratio=0.9, drift=0.18, spread=0.1),
}
