"""What games came to, kept in a file if one is given: a long measurement that was broken off goes on.

The file knows nothing of the code: after a change of a policy or a world, begin another.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from bench.frontier.play import Play
from bench.frontier.settings import Setting
from coordinator.frontier.policies import POLICIES


@dataclass(frozen=True, slots=True)
class Result:
    """Mean latent reward of the visits made, and regret."""

    mean: float
    regret: float


class Record:
    """Games by setting, policy and seed; each is played once."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._results: dict[str, Result] = {}
        if path is not None and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                game, mean, regret = json.loads(line)
                self._results[game] = Result(mean, regret)

    def result(self, setting: Setting, policy: str, seed: int) -> Result:
        game = f"{setting.name}, W={setting.workers}, lost={setting.lost}, {policy}, {seed}"
        if game not in self._results:
            score = Play(setting.world, POLICIES[policy], setting.workers, seed, setting.lost).run()
            self._results[game] = Result(score.mean, score.regret)
            if self._path is not None:
                with self._path.open("a", encoding="utf-8") as kept:
                    kept.write(json.dumps([game, score.mean, score.regret]) + "\n")
        return self._results[game]
