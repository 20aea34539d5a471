"""Programs as agents."""

import json
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import BaseModel, ConfigDict

from agents.agent import Agent, AgentFailure
from agents.command import command_agent
from protocol.artifacts import artifact
from tests.support.agent_context import FakeContext, discover, run_agent


@artifact("test-note")
class Note(BaseModel):
    model_config = ConfigDict(frozen=True)
    text: str


def program(code: str, **options: Any) -> Agent:
    return command_agent("shout", [sys.executable, "-c", code], publishes=[Note], **options)


def context(**options: Any) -> FakeContext:
    return FakeContext("shout", "the goal", {"volume": 11}, "the topic", **options)


@pytest.mark.anyio
async def test_a_command_reads_its_context_and_prints_its_discovery() -> None:
    shout = program(
        "import json, sys\nc = json.load(sys.stdin)\n"
        "text = f\"{c['goal']} {c['topic']} {c['settings']['volume']} {c['inputs'][0]['payload']['text']}\"\n"
        "print(json.dumps({'artifacts': [{'type': 'test-note', 'payload': {'text': text}, 'key': 'k'}],"
        " 'reward': 0.5, 'follow_ups': [{'agent': 'shout', 'topic': 'more'}], 'usage': {'tool_calls': 2}}))"
    )
    given = context()
    given.inputs = given.board.add("other", "d", "t", [Note(text="input")])
    discovery = await run_agent(shout, given)
    assert given.board.of(Note)[0].payload.text == "the goal the topic 11 input"
    assert (discovery.reward, discovery.follow_ups[0].topic, discovery.usage.tool_calls) == (0.5, "more", 2)


@pytest.mark.anyio
async def test_a_command_that_prints_and_reads_nothing_found_nothing() -> None:
    given = context()
    given.inputs = given.board.add("other", "d", "t", [Note(text="x" * 1_000_000)])
    assert (await discover(program("pass"), given)).artifacts == []


@pytest.mark.anyio
@pytest.mark.parametrize(("code", "kind"), [(75, "transient"), (64, "user"), (65, "user"), (1, "bug")])
async def test_the_exit_code_says_who_must_act(code: int, kind: str) -> None:
    with pytest.raises(AgentFailure, match="the reason") as raised:
        await discover(
            program(f"import sys; print('the reason', file=sys.stderr); sys.exit({code})"), context()
        )
    assert raised.value.kind == kind


@pytest.mark.anyio
@pytest.mark.parametrize(
    "printed",
    [
        "no json",
        "[]",
        '{"reward": 7}',
        '{"artifacts": [{"type": "secret", "payload": {}}]}',
        '{"artifacts": [{"type": "test-note", "payload": {"text": 1}}]}',
    ],
)
async def test_what_is_no_discovery_is_a_bug(printed: str) -> None:
    with pytest.raises(AgentFailure) as raised:
        await discover(program(f"print({json.dumps(printed)!s})"), context())
    assert raised.value.kind == "bug"


@pytest.mark.anyio
async def test_a_command_that_is_missing_is_a_bug() -> None:
    with pytest.raises(AgentFailure, match="cannot be started") as raised:
        await discover(command_agent("absent", ["/absent/program"]), context())
    assert raised.value.kind == "bug"


@pytest.mark.anyio
async def test_endless_output_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.command.OUTPUT_LIMIT_BYTES", 100_000)
    with anyio.fail_after(10), pytest.raises(AgentFailure, match=r"more than 100,000 bytes"):
        await discover(program("while True: print('x' * 1000)"), context())


FAMILY = """
import os, pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
path = pathlib.Path(sys.argv[1])
path.with_suffix(".tmp").write_text(f"{os.getpid()} {child.pid}")
path.with_suffix(".tmp").rename(path)
time.sleep(60)
"""


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z"


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not condition():
            await anyio.sleep(0.01)


def pids_in(path: Path) -> list[int]:
    return [int(pid) for pid in path.read_text().split()]


@pytest.mark.anyio
async def test_a_cancelled_command_dies_with_its_children(tmp_path: Path) -> None:
    family = command_agent("family", [sys.executable, "-c", FAMILY, str(tmp_path / "pids")])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(discover, family, context())
        await until((tmp_path / "pids").exists)
        pids = pids_in(tmp_path / "pids")
        tasks.cancel_scope.cancel()
    await until(lambda: all(map(gone, pids)))


@pytest.mark.anyio
async def test_a_command_that_takes_too_long_dies_and_is_tried_again(tmp_path: Path) -> None:
    family = command_agent(
        "family", [sys.executable, "-c", FAMILY, str(tmp_path / "pids")], timeout=timedelta(seconds=1)
    )
    with pytest.raises(AgentFailure, match="not done in") as raised:
        await discover(family, context())
    assert raised.value.kind == "transient"
    await until(lambda: all(map(gone, pids_in(tmp_path / "pids"))))
