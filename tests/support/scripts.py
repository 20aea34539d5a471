"""The installed console scripts, each in an interpreter of its own: for what a fork would measure wrongly."""

import subprocess
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.forked import Streams
from tests.support.servers import _die_with_parent

SCRIPTS = Path(sysconfig.get_path("scripts"))


def start(
    command: Sequence[str], *, folder: Path, environment: Mapping[str, str], streams: Streams
) -> subprocess.Popen[bytes]:
    """Starts `coordinator …` or `worker …`, with no other environment."""
    with (
        streams.stdin.open("rb") as stdin,
        streams.stdout.open("ab") as stdout,
        streams.stderr.open("ab") as stderr,
    ):
        return subprocess.Popen(
            [str(SCRIPTS / command[0]), *command[1:]],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=folder,
            env=environment,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - one foreign call, which takes no Python lock
        )
