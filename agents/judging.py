"""How a visit's reward is put together, and how far a model's judgement may be believed.

    reward = novelty * relevance * verification * (1 - trust + trust * judgement) * (1 - cost)

All factors lie in [0, 1]. What can be checked rules: a finding that is not new, not to the point or
not verified earns nothing, whatever a judge says. A judgement is calibrated against verified outcomes
and clipped, and its trust is what it has earned, at most one half: so a judge that is poisoned,
constant or out of its depth can at worst halve a reward, loses that power as outcomes come in, and is
reported by `JudgeRecord.warnings`.
"""

import math
from dataclasses import dataclass, field

BINS = 10
MOST_TRUST = 0.5
CLIP = (0.05, 0.95)
ENOUGH = 30
"""Judgements with a verified outcome before a judge is trusted, or warned of."""


@dataclass(frozen=True, slots=True)
class Factors:
    """What is known of the result of a visit; `cost` is its share of the most a visit may cost."""

    novelty: float
    relevance: float
    verification: float
    judgement: float | None = None
    cost: float = 0.0


@dataclass(slots=True)
class JudgeRecord:
    """Judgements of one judge beside the outcomes that were verified later; sums do not depend on order."""

    counts: list[int] = field(default_factory=lambda: [0] * BINS)
    outcomes: list[float] = field(default_factory=lambda: [0.0] * BINS)
    squares: float = 0.0
    comparable: bool = True
    """Whether judgements and outcomes are on one scale, so that their averages should agree."""

    def add(self, judgement: float, outcome: float) -> None:
        """One judgement, and the share of what it judged that was verified."""
        place = min(int(_clipped(judgement) * BINS), BINS - 1)
        self.counts[place] += 1
        self.outcomes[place] += outcome
        self.squares += outcome * outcome

    def calibrated(self, judgement: float) -> float:
        """The verified outcome that such judgements had, rising with the judgement.

        Isotonic regression over ten bins by pooling adjacent violators (Zadrozny and Elkan, 2002), each
        bin with two outcomes at its own middle imagined.
        """
        blocks: list[tuple[float, float, int]] = []
        for place, (count, total) in enumerate(zip(self.counts, self.outcomes, strict=True)):
            block = (total + 2.0 * (place + 0.5) / BINS, count + 2.0, 1)
            while blocks and blocks[-1][0] / blocks[-1][1] >= block[0] / block[1]:
                last = blocks.pop()
                block = (last[0] + block[0], last[1] + block[1], last[2] + block[2])
            blocks.append(block)
        place = min(int(_clipped(judgement) * BINS), BINS - 1)
        for total, count, width in blocks:
            if place < width:
                return total / count
            place -= width
        return _clipped(judgement)

    def correlation(self) -> float:
        """Of judgements (by bin) and outcomes; 0 where either never varies."""
        judged = sum(self.counts)
        if not judged:
            return 0.0
        mean_bin = sum(place * count for place, count in enumerate(self.counts)) / judged
        mean_outcome = sum(self.outcomes) / judged
        spread = sum(count * (place - mean_bin) ** 2 for place, count in enumerate(self.counts))
        scatter = self.squares - judged * mean_outcome**2
        if spread < 1e-9 or scatter < 1e-9:
            return 0.0
        together = sum(total * (place - mean_bin) for place, total in enumerate(self.outcomes))
        return together / math.sqrt(spread * scatter)

    def trust(self) -> float:
        """How much of a reward the judge may decide: one half of its correlation, less its error."""
        judged = sum(self.counts)
        if judged < ENOUGH:
            return 0.0
        return MOST_TRUST * max(0.0, self.correlation() - 1.0 / math.sqrt(judged))

    def warnings(self) -> list[str]:
        """What is wrong with the judge, in words."""
        judged = sum(self.counts)
        if judged < ENOUGH:
            return []
        found: list[str] = []
        if max(self.counts) > 0.95 * judged:
            found.append(f"{max(self.counts)} of {judged} judgements are the same: they tell nothing apart")
        correlation, error = self.correlation(), 1.0 / math.sqrt(judged)
        if correlation < -2.0 * error:
            found.append(f"judgements run against what was verified (correlation {correlation:.2f})")
        elif correlation < 2.0 * error and max(self.counts) <= 0.95 * judged:
            found.append(
                f"judgements have nothing to do with what was verified (correlation {correlation:.2f})"
            )
        given = sum((place + 0.5) / BINS * count for place, count in enumerate(self.counts)) / judged
        verified = sum(self.outcomes) / judged
        if self.comparable and abs(given - verified) > 0.25:
            found.append(f"judgements are {given:.2f} on average where {verified:.2f} was verified")
        return found


def combined(factors: Factors, judge: JudgeRecord | None = None) -> float:
    """The reward, in [0, 1]; without a judge, or with one not trusted yet, what can be checked alone."""
    reward = _unit(factors.novelty) * _unit(factors.relevance) * _unit(factors.verification)
    if judge is not None and factors.judgement is not None:
        trust = judge.trust()
        reward *= 1.0 - trust + trust * judge.calibrated(factors.judgement)
    return reward * (1.0 - _unit(factors.cost))


def _unit(value: float) -> float:
    return min(max(value, 0.0), 1.0) if not math.isnan(value) else 0.0


def _clipped(value: float) -> float:
    return min(max(_unit(value), CLIP[0]), CLIP[1])
