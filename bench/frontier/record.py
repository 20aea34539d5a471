"""What games came to, kept in a file if one is given: a long measurement that was broken off goes on.

Each line is a game with its numbers. The first says what played: other code or another interpreter is
refused, so that one page is never made of two.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path

from bench.frontier.origin import Origin, origin
from bench.frontier.play import Play
from bench.frontier.settings import Setting
from coordinator.frontier.policies import POLICIES
from protocol.errors import InvalidSettings

POINTS = 50
"""Places of a curve, at equal distances; fewer where a game has fewer visits."""


@dataclass(frozen=True, slots=True)
class Result:
    """Mean latent reward of the visits made, regret, and the best latent mean at the outset."""

    mean: float
    regret: float
    best: float
    sums: Sequence[float]
    """Of latent rewards, after each of the `POINTS`."""


class Record:
    """Games by setting, policy and seed; each is played once.

    :raises InvalidSettings: the games in the file were played by something else.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.origin = origin()
        self._path = path
        self._games: dict[str, list[float]] = {}
        if path is None:
            return
        if not path.exists():
            path.write_text(json.dumps(asdict(self.origin)) + "\n", encoding="utf-8")
        first, *games = path.read_text(encoding="utf-8").splitlines()
        played_by = Origin(**json.loads(first))
        if played_by != self.origin:
            raise InvalidSettings(
                "--record", f"{path} was played by {played_by}, this is {self.origin}", "begin another"
            )
        self._games = dict(map(json.loads, games))

    def result(self, setting: Setting, policy: str, seed: int) -> Result:
        game = f"{setting.name}, W={setting.workers}, lost={setting.lost}, {policy}, {seed}"
        mean, regret, best, *sums = self.kept(game, lambda: _played(setting, policy, seed))
        return Result(mean, regret, best, sums)

    def kept(self, game: str, play: Callable[[], list[float]]) -> list[float]:
        """The numbers of a game; it is played if there are none."""
        if game not in self._games:
            numbers = self._games[game] = play()
            if self._path is not None:
                with self._path.open("a", encoding="utf-8") as kept:
                    kept.write(json.dumps([game, numbers]) + "\n")
        return self._games[game]


def every(visits: int) -> int:
    """Visits from one point of a curve to the next."""
    return max(visits // POINTS, 1)


def _played(setting: Setting, policy: str, seed: int) -> list[float]:
    play = Play(setting.world, POLICIES[policy], setting.workers, seed, setting.lost)
    score, step = play.run(), every(setting.world.visits)
    sums = list(accumulate(play.chosen))[step - 1 :: step]
    return [score.mean, score.regret, play.best, *(round(one, 6) for one in sums)]
