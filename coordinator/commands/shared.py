"""What verbs do first, and what several of them say."""

import sys
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from coordinator import stores
from coordinator.invocation import Invocation
from coordinator.output import live_line, message
from coordinator.progress import Progress
from coordinator.records import Records, Trimmed
from coordinator.settings import Settings, load
from protocol import logs
from protocol.errors import InvalidSettings, StoreUnavailable
from protocol.settings import Loaded

FILE_BYTES = 4 * 1024 * 1024


def prepare(invocation: Invocation) -> Loaded[Settings]:
    """Loads the settings and sets up logging.

    :raises InvalidSettings: naming the option and where its value came from.
    """
    loaded = load(invocation.flags)
    logs.configure(loaded.settings.log.format, loaded.settings.log.level)
    return loaded


@asynccontextmanager
async def stored(invocation: Invocation) -> AsyncGenerator[Records]:
    """The runs that the settings lead to.

    :raises StoreUnavailable: when the store does not answer.
    """
    async with stores.store(prepare(invocation).settings) as store:
        yield Records(store)


async def show_progress(records: Records, run: str) -> None:
    """Follows a run to its end on standard error: a live status on a terminal, a plain log elsewhere."""
    record = await records.run(run)
    message(f"run {run}: {record.spec.goal}")
    progress = Progress(budget_tasks=record.spec.budget.tasks)
    with live_line() as live:

        def say_away(error: StoreUnavailable) -> None:
            live.line(f"{error}; asking again")

        async for logged in records.follow(run, away=say_away):
            if isinstance(logged, Trimmed):
                live.line(str(logged))
                continue
            for line in progress.follow(logged.event):
                live.line(line)
            live.status(progress.summary())


def read_file(option: str, source: str) -> bytes:
    """A file that an option names, `-` for standard input; as large as a request over HTTP may be.

    :raises InvalidSettings: when it cannot be read, or is larger.
    """
    try:
        data = sys.stdin.buffer.read(FILE_BYTES + 1) if source == "-" else Path(source).read_bytes()
    except OSError as error:
        problem = f"{source} cannot be read: {error.strerror}"
        raise InvalidSettings(option, problem, "name a JSON file") from error
    if len(data) > FILE_BYTES:
        raise InvalidSettings(option, f"is over {FILE_BYTES:,} bytes", "name files instead of holding them")
    return data


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def plain(value: object) -> Any:  # noqa: ANN401 - whatever JSON the value has
    """A dataclass or model as JSON values."""
    return TypeAdapter(type(value)).dump_python(value, mode="json")


def counted(counts: Mapping[str, int]) -> str:
    """`3 done, 1 failed`."""
    return ", ".join(f"{count:,} {what}" for what, count in sorted(counts.items())) or "none"


def ago(then_ms: int) -> str:
    """How long ago something was, in one unit."""
    return lasting((now_ms() - then_ms) / 1000)


def lasting(seconds: float) -> str:
    """A length of time in one unit, such as `12 s` or `3 h`."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
