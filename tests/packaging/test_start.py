"""Help is instant: it costs little and imports nothing heavy."""

import resource
import statistics
import subprocess
import sys

import pytest

from tests.packaging.conftest import Installed

HELP_SECONDS = 0.5
ROUNDS = 5
RETRIES = 3
HEAVY = ("nats", "redis", "dspy", "litellm", "rich", "pypdf", "prometheus_client", "uvloop")


def cpu_seconds_of_help(installed: Installed, program: str) -> float:
    """User and system time of one call: what it would take on a machine that does nothing else."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    installed.run(program, "--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


@pytest.mark.parametrize("program", ["coordinator", "worker"])
def test_help_comes_in_under_half_a_second(installed: Installed, program: str) -> None:
    medians: list[float] = []
    for _ in range(RETRIES):
        medians.append(statistics.median(cpu_seconds_of_help(installed, program) for _ in range(ROUNDS)))
        if medians[-1] < HELP_SECONDS:
            return
    pytest.fail(f"{program} --help took {medians} s, each a median of {ROUNDS}")


@pytest.mark.parametrize("module", ["coordinator.cli", "agents.cli"])
def test_the_commands_import_nothing_heavy(module: str) -> None:
    script = f"import sys, {module}; print(*({set(HEAVY)!r} & sys.modules.keys()))"
    said = subprocess.check_output([sys.executable, "-c", script], text=True)
    assert not said.split()
