"""Seeds of the simulation, each in a process that may use so much time: one without an end has failed.

python -m tests.mutants.seeds N
"""

import json
import logging
import os
import resource
import sys

from tests.sim.simulate import simulate

SECONDS = 40
"""Of computing: half a second is usual, and a run that does not end is judged after ten."""


def fails(seed: int) -> bool:
    """Whether anything is wrong with a seed."""
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        try:
            os._exit(bool(simulate(seed).problems))
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1] != 0


def main() -> None:
    logging.disable()  # what goes wrong goes wrong on purpose
    print(json.dumps([seed for seed in range(int(sys.argv[1])) if fails(seed)]))


if __name__ == "__main__":
    main()
