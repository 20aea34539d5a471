"""Every subject of DESIGN §4, in one place."""

TASKS_STREAM = "SWARM_TASKS"
DISCOVERIES_STREAM = "SWARM_DISCOVERIES"
HEARTBEATS_STREAM = "SWARM_HEARTBEATS"
INQUIRIES_STREAM = "SWARM_INQUIRIES"
DEAD_STREAM = "SWARM_DEAD"

ROOTS = ("swarm.tasks", "swarm.discoveries", "swarm.heartbeat", "swarm.inquiry", "swarm.response")
"""The bare roots: accepted from workers that know nothing else, and forwarded."""

DEAD = "swarm.dead"
DEMAND = "swarm.demand"
"""Leaders tell each other what their runs could use."""
BREAKERS = "swarm.breakers"
"""Coordinators tell everybody which providers do not answer; the record in the store is the truth."""
RUNS = "swarm.runs"
"""The bell for a new run; the store's list of runs is the truth."""


def tasks(agent: str) -> str:
    return f"swarm.tasks.{agent}"


def discoveries(worker: str, run: str) -> str:
    return f"swarm.discoveries.{worker}.{run}"


def heartbeat(worker: str) -> str:
    return f"swarm.heartbeat.{worker}"


def inquiry(target: str) -> str:
    return f"swarm.inquiry.{target}"


def response(asker: str) -> str:
    return f"swarm.response.{asker}"


def board(run: str, worker: str, verb: str) -> str:
    return f"swarm.board.{run}.{worker}.{verb}"


def control(worker: str) -> str:
    return f"swarm.control.{worker}"


def task_consumer(agent: str) -> str:
    """Durable of an agent's task queue, shared by all workers that offer it."""
    return f"tasks-{agent}"


def discovery_consumer(run: str) -> str:
    """Durable of a run's discoveries, read by whoever leads the run."""
    return f"discoveries-{run}"
