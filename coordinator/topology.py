"""The streams and consumers of DESIGN §4, as they must be."""

from protocol import subjects
from protocol.transport.contract import ConsumerSpec, StreamSpec

DAY_SECONDS = 86_400.0
GIB = 1024**3


def streams(silence_seconds: float) -> tuple[StreamSpec, ...]:
    return (
        StreamSpec(subjects.TASKS_STREAM, ("swarm.tasks", "swarm.tasks.*"), retention="workqueue"),
        StreamSpec(
            subjects.DISCOVERIES_STREAM,
            ("swarm.discoveries", "swarm.discoveries.*.*"),
            max_age_seconds=7 * DAY_SECONDS,
            max_bytes=4 * GIB,
        ),
        StreamSpec(
            subjects.HEARTBEATS_STREAM,
            ("swarm.heartbeat.*",),
            storage="memory",
            max_age_seconds=silence_seconds,
            max_msgs_per_subject=1,
            duplicate_window_seconds=min(120, silence_seconds),
        ),
        StreamSpec(
            subjects.INQUIRIES_STREAM,
            ("swarm.inquiry", "swarm.inquiry.*", "swarm.response", "swarm.response.*"),
            max_age_seconds=DAY_SECONDS,
            max_bytes=GIB,
        ),
        StreamSpec(subjects.DEAD_STREAM, (subjects.DEAD,), max_age_seconds=7 * DAY_SECONDS, max_bytes=GIB),
    )


def task_consumer(agent: str) -> ConsumerSpec:
    return ConsumerSpec(subjects.TASKS_STREAM, subjects.task_consumer(agent), subjects.tasks(agent))


def discovery_consumer(run: str) -> ConsumerSpec:
    return ConsumerSpec(
        subjects.DISCOVERIES_STREAM, subjects.discovery_consumer(run), subjects.discoveries("*", run)
    )


def bare_task_consumer() -> ConsumerSpec:
    return ConsumerSpec(subjects.TASKS_STREAM, "bare-tasks", "swarm.tasks")


def bare_discovery_consumer() -> ConsumerSpec:
    return ConsumerSpec(subjects.DISCOVERIES_STREAM, "bare-discoveries", "swarm.discoveries")


def bare_inquiry_consumer() -> ConsumerSpec:
    return ConsumerSpec(subjects.INQUIRIES_STREAM, "bare-inquiries", "swarm.inquiry")


def response_consumers() -> tuple[ConsumerSpec, ...]:
    """Responses, whoever published them; shared by all coordinators."""
    return (
        ConsumerSpec(subjects.INQUIRIES_STREAM, "responses", subjects.response("*")),
        ConsumerSpec(subjects.INQUIRIES_STREAM, "bare-responses", "swarm.response"),
    )
