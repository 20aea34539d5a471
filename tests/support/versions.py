"""The product's code at another commit, for processes of two versions side by side."""

import compileall
import io
import re
import subprocess
import tarfile
from pathlib import Path

from blackboard.encoding import FORMAT

ROOT = Path(__file__).parents[2]
PRODUCT = ("protocol", "blackboard", "coordinator", "agents")


def before_the_last_change() -> str | None:
    """The commit before the newest that changed the product; None where the history does not reach so far."""
    changed = _git("log", "-1", "--format=%H", "--", *PRODUCT)
    before = _git("rev-parse", "--verify", f"{changed.decode().strip()}^") if changed else None
    return before.decode().strip() if before else None


def code_of(commit: str, folder: Path) -> Path:
    """Puts the product's packages as they were into a folder of their own.

    :raises ValueError: when they are not to be had, or can't share a store with the code that is here.
    """
    packed = _git("archive", "--format=tar", commit, "--", *PRODUCT)
    if packed is None:
        raise ValueError(f"commit {commit} is not in the history that is here: name another with --other")
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    encoding = (folder / "blackboard" / "encoding.py").read_text()
    if re.search(rf"^FORMAT = {FORMAT}$", encoding, re.MULTILINE) is None:
        raise ValueError(f"commit {commit} has another format than {FORMAT}: name a newer one with --other")
    compileall.compile_dir(folder, quiet=1)  # once, not in each process
    return folder


def _git(*arguments: str) -> bytes | None:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 and done.stdout else None
