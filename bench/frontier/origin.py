"""What played: the interpreter, and the code that a game's result depends on."""

import hashlib
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLAYING = (
    "bench/frontier/play.py",
    "bench/frontier/settings.py",
    "bench/frontier/stopping.py",
    "bench/frontier/worlds.py",
    "blackboard/rewards.py",
    "coordinator/frontier/*.py",
)
WORDS = "coordinator/frontier/explain.py"
"""Says in words what was chosen, which no game depends on."""


@dataclass(frozen=True, slots=True)
class Origin:
    """`code` is a digest of the files that play: unlike a commit it is the same after a rebase."""

    code: str
    interpreter: str

    @property
    def commit(self) -> str:
        """The last commit that changed these files, if Git knows them as they are."""
        files = (*PLAYING, f":(exclude){WORDS}")
        if _git("status", "--porcelain", "--", *files):
            return "not committed"
        return _git("log", "-1", "--format=%h", "--abbrev=10", "--", *files) or "unknown"


def origin() -> Origin:
    digest = hashlib.sha256()
    for path in _files():
        digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    interpreter = f"{platform.python_implementation()} {platform.python_version()}"
    return Origin(digest.hexdigest()[:16], interpreter)


def _files() -> Iterator[Path]:
    for pattern in PLAYING:
        yield from (path for path in sorted(ROOT.glob(pattern)) if path != ROOT / WORDS)


def _git(*words: str) -> str:
    found = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return found.stdout.strip()
