"""A program in any language as an agent: JSON of its context on stdin, JSON of its discovery on stdout.

Stdin is one object:

    {"run", "task", "attempt", "visit", "agent", "direction", "goal", "topic", "deadline_ms",
     "settings": {...}, "inputs": [{"id", "type", "version", "payload", "tags", "parents", ...}]}

Stdout is one object; all of it may be left out:

    {"artifacts": [{"type": "note", "version": 1, "payload": {...}, "key": "...", "tags": ["..."],
                    "parents": ["..."], "text": "..."}],
     "reward": 0.5, "follow_ups": [{"agent": "explore", "topic": "...", "prior": 0.5}],
     "exhausted": false, "usage": {"model_calls": 1, "tokens_in": 10, "tokens_out": 20}}

An artifact's type must be among those that the agent publishes, and registered in the worker.
Exit code 0 is success, 75 (EX_TEMPFAIL) asks to be tried again, 64 and 65 (EX_USAGE, EX_DATAERR) say
that the input is wrong; any other is a bug. The end of stderr becomes the failure's message.
"""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal

import anyio
from anyio.abc import Process
from pydantic import BaseModel, Field, JsonValue, ValidationError
from pydantic_core import to_json

from agents.agent import Agent, AgentFailure, Context, Discovery, Posting, agent
from protocol.artifacts import ArtifactRegistry
from protocol.errors import UnknownArtifactType
from protocol.messages import ArtifactDraft, FollowUp, Record, Unit, Usage

OUTPUT_LIMIT_BYTES = 8 * 1024 * 1024
_STDERR_KEPT_BYTES = 3_000
_KINDS: Mapping[int, Literal["user", "transient"]] = {64: "user", 65: "user", 75: "transient"}


class CommandDiscovery(Record):
    """What a command prints."""

    artifacts: Annotated[tuple[ArtifactDraft, ...], Field(max_length=10_000)] = ()
    reward: Unit = 0.0
    follow_ups: Annotated[tuple[FollowUp, ...], Field(max_length=10_000)] = ()
    exhausted: bool = False
    usage: Usage = Usage()


@dataclass(slots=True)
class _Output:
    stdout: bytes = b""
    stderr: bytes = b""
    too_much: bool = False


def command_agent(
    name: str,
    argv: Sequence[str],
    *,
    consumes: Sequence[type[BaseModel]] = (),
    publishes: Sequence[type[BaseModel]] = (),
    timeout: timedelta = timedelta(minutes=10),
    environment: Mapping[str, str] | None = None,
) -> Agent:
    """Declares a command an agent. No shell is involved; `environment` None hands on the worker's own.

    The command runs in a process group of its own, all of which is killed at the timeout (a transient
    failure) and when the task is cancelled.
    :raises InvalidAgent: for a name that cannot be a subject's token, or an empty command.
    :raises UnknownArtifactType: for a payload model that was not registered with `@artifact`.
    """
    command = tuple(argv)
    allowed = {ArtifactRegistry.shared.name_of(model)[0] for model in publishes}

    async def run(context: Context) -> Discovery:
        output = _Output()
        try:
            with anyio.fail_after(timeout.total_seconds()):
                code = await _run(command, environment, _stdin(context), output)
        except TimeoutError as error:
            raise AgentFailure("transient", f"{name}: not done in {timeout}") from error
        except OSError as error:
            raise AgentFailure("bug", f"{name}: {command[0]} cannot be started: {error.strerror}") from error
        if output.too_much:
            raise AgentFailure("bug", f"{name}: printed more than {OUTPUT_LIMIT_BYTES:,} bytes")
        if code != 0:
            ending = output.stderr.decode(errors="replace").strip()
            raise AgentFailure(_KINDS.get(code, "bug"), f"{name}: exit code {code}: {ending}"[:4_000])
        return _discovery(name, output.stdout, allowed)

    return agent(name, consumes=consumes, publishes=publishes)(run)


def _stdin(context: Context) -> bytes:
    return to_json(
        {
            "run": context.run,
            "task": context.task,
            "attempt": context.attempt,
            "visit": context.visit,
            "agent": context.agent,
            "direction": context.direction,
            "goal": context.goal,
            "topic": context.topic,
            "deadline_ms": context.deadline_ms,
            "settings": dict(context.settings),
            "inputs": [artifact.model_dump(mode="json") for artifact in context.inputs],
        }
    )


async def _run(
    argv: Sequence[str], environment: Mapping[str, str] | None, stdin: bytes, output: _Output
) -> int:
    process = await anyio.open_process(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_feed, process, stdin, name="command-stdin")
            tasks.start_soon(_drain_stderr, process, output, name="command-stderr")
            tasks.start_soon(_take_stdout, process, output, name="command-stdout")
        return await process.wait()
    finally:
        _kill_group(process)
        with anyio.CancelScope(shield=True):
            await process.aclose()


async def _feed(process: Process, stdin: bytes) -> None:
    """A command need not read its input."""
    if process.stdin is not None:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, BrokenPipeError, ConnectionError):
            await process.stdin.send(stdin)
        with suppress(BrokenPipeError, ConnectionError):
            await process.stdin.aclose()


async def _take_stdout(process: Process, output: _Output) -> None:
    """Kills the command when it prints more than the limit."""
    chunks: list[bytes] = []
    size = 0
    if process.stdout is None:
        return
    async for chunk in process.stdout:
        size += len(chunk)
        if size > OUTPUT_LIMIT_BYTES:
            output.too_much = True
            _kill_group(process)
            return
        chunks.append(chunk)
    output.stdout = b"".join(chunks)


async def _drain_stderr(process: Process, output: _Output) -> None:
    if process.stderr is not None:
        async for chunk in process.stderr:
            output.stderr = (output.stderr + chunk)[-_STDERR_KEPT_BYTES:]


def _kill_group(process: Process) -> None:
    """The group outlives its leader while any member runs, so this also ends what the command left behind."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _discovery(name: str, stdout: bytes, allowed: set[str]) -> Discovery:
    try:
        found = CommandDiscovery.model_validate_json(stdout or b"{}")
    except ValidationError as error:
        raise AgentFailure("bug", f"{name}: what it printed is no discovery: {error}"[:4_000]) from error
    return Discovery(
        artifacts=[_posting(name, draft, allowed) for draft in found.artifacts],
        reward=found.reward,
        follow_ups=found.follow_ups,
        exhausted=found.exhausted,
        usage=found.usage,
    )


def _posting(name: str, draft: ArtifactDraft, allowed: set[str]) -> Posting:
    if draft.type not in allowed:
        raise AgentFailure("bug", f"{name}: does not publish artifacts of type {draft.type!r}")
    payload: JsonValue = draft.payload
    try:
        typed = ArtifactRegistry.shared.load(draft.type, draft.version, payload)
    except (UnknownArtifactType, ValidationError) as error:
        raise AgentFailure("bug", f"{name}: {draft.type}: {error}"[:4_000]) from error
    return Posting(
        typed,
        key=draft.key,
        tags=draft.tags,
        visibility=draft.visibility,
        parents=draft.parents,
        correlation=draft.correlation,
        text=draft.text,
        expires_ms=draft.expires_ms,
    )
