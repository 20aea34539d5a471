"""The commands as a whole: help at once, errors that say what to do, exit codes that are promised."""

import json
import subprocess
import sys
from importlib import import_module
from importlib.metadata import distributions
from pathlib import Path

import click
import pytest

from coordinator import cli, commands
from coordinator.invocation import Verb
from protocol.errors import (
    ArtifactConflict,
    InvalidMessage,
    InvalidSettings,
    NotFound,
    Overloaded,
    ServerMissing,
    StaleLeader,
    StoreUnavailable,
    SwarmError,
)
from protocol.exits import Exit, exit_code
from tests.cli.support import ROOT, coordinator, environment, worker

HEAVY = ("nats", "redis", "dspy", "pydantic", "rich", "anyio._backends._asyncio")


def python(script: str, *, home: Path) -> str:
    """What a script prints that must end well."""
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(home), capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize("module", ["coordinator.cli", "agents.cli"])
def test_a_command_imports_nothing_heavy_before_it_is_needed(tmp_path: Path, module: str) -> None:
    script = f"import sys, {module}; print(*sorted(sys.modules))"
    out = python(script, home=tmp_path).split()
    assert [name for name in HEAVY if name in out] == []


def test_the_bus_is_imported_without_aiohttp_which_others_may_import_afterwards(tmp_path: Path) -> None:
    script = "import sys, protocol.transport.jetstream; print('aiohttp' in sys.modules); import aiohttp"
    assert python(script, home=tmp_path) == "False\n"


def test_help_lists_every_verb_with_one_line(tmp_path: Path) -> None:
    answer = coordinator("--help", home=tmp_path)
    for verb, line in cli.VERBS.items():
        assert verb in answer.out
        assert line.split(",")[0].split()[0] in answer.out


@pytest.mark.parametrize("verb", [path.stem for path in Path(commands.__file__).parent.glob("[a-z]*.py")])
def test_every_module_of_a_verb_is_listed_and_takes_the_common_options(verb: str) -> None:
    command = getattr(import_module(f"coordinator.commands.{verb}"), "command", None)
    if command is None:
        assert verb not in cli.VERBS
        return
    assert isinstance(command, Verb)
    assert command.name == verb
    assert verb in cli.VERBS
    assert command.help


def test_common_options_may_stand_before_the_verb_or_after_it(tmp_path: Path) -> None:
    before = coordinator("--json", "--nats-url", "nats://host:1", "config", home=tmp_path)
    after = coordinator("config", "--json", "--nats-url", "nats://host:1", home=tmp_path)
    assert before.json == after.json
    assert before.json["nats.url"]["value"] == "nats://host:1"


def test_an_option_after_the_verb_wins(tmp_path: Path) -> None:
    answer = coordinator("--data", "/one", "config", "--json", "--data", "/two", home=tmp_path)
    assert answer.json["data.folder"]["value"] == "/two"


@pytest.mark.parametrize("arguments", [["nope"], ["config", "--nope"], ["schema", "one", "two"]])
def test_a_wrong_command_line_ends_with_2_and_says_why(tmp_path: Path, arguments: list[str]) -> None:
    answer = coordinator(*arguments, home=tmp_path)
    assert answer.code == 2
    assert answer.out == ""
    assert "Usage" in answer.err
    as_json = coordinator("--json", *arguments, home=tmp_path)
    assert as_json.code == 2
    assert json.loads(as_json.err)["exit"] == 2


def test_an_error_is_one_json_object_where_json_is_wanted(tmp_path: Path) -> None:
    answer = coordinator("schema", "nope", "--json", home=tmp_path)
    assert answer.code == 3
    assert answer.out == ""
    assert json.loads(answer.err) == {
        "error": "NotFound",
        "message": "no schema 'nope'",
        "remedy": "`coordinator schema --help` says which there are; without a name it prints all messages",
        "exit": 3,
    }


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidSettings("x", "bad", "better"), 2),
        (InvalidMessage("x", "bad", "better"), 2),
        (NotFound("run", "x"), 3),
        (StoreUnavailable("get", "refused"), 4),
        (ServerMissing("nats-server", "install it"), 4),
        (Overloaded("runs", 1, 1), 1),
        (StaleLeader("x"), 1),
        (ArtifactConflict("x"), 1),
    ],
)
def test_every_error_has_its_exit_code(error: SwarmError, code: int) -> None:
    assert exit_code(error) == code


@pytest.mark.parametrize("wrap", [False, True])
def test_an_error_of_a_verb_is_printed_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrap: bool
) -> None:
    def fail() -> None:
        error = StoreUnavailable("get", "refused")
        raise ExceptionGroup("tasks", [ExceptionGroup("more", [error])]) if wrap else error

    _verb_is(monkeypatch, fail)
    assert cli.run(["runs"]) == Exit.UNREACHABLE
    err = capsys.readouterr().err
    assert err.startswith("error: Redis: get failed: refused\nhint: ")
    assert "doctor" in err


@pytest.mark.parametrize("code", [Exit.OK, Exit.TIMED_OUT, Exit.RUN_FAILED])
def test_a_verb_may_end_with_a_code_of_its_own(monkeypatch: pytest.MonkeyPatch, code: Exit) -> None:
    _verb_is(monkeypatch, lambda: code)
    assert cli.run(["runs"]) == code


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    _verb_is(monkeypatch, interrupted)
    assert cli.run(["runs"]) == 130


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    _verb_is(monkeypatch, broken)
    with pytest.raises(ZeroDivisionError):
        cli.run(["runs"])


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -c 'from coordinator.cli import main; main()' schema asyncapi | head -1",
        shell=True,
        cwd=ROOT,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "{\n"
    assert done.stderr == ""


def test_schema_prints_the_messages_the_asyncapi_document_and_single_messages(tmp_path: Path) -> None:
    assert "SwarmTaskEnvelope" in coordinator("schema", home=tmp_path).json["$defs"]
    assert coordinator("schema", "asyncapi", home=tmp_path).json["asyncapi"] == "3.0.0"
    assert "token" in coordinator("schema", "swarm.task", home=tmp_path).json["properties"]


def test_the_workers_bad_settings_end_with_2(tmp_path: Path) -> None:
    answer = worker(home=tmp_path, env={"SWARMBOARD_WORKER_NAME": "not a name"})
    assert answer.code == 2
    assert "worker.name (from SWARMBOARD_WORKER_NAME)" in answer.err


def test_the_workers_errors_are_json_where_its_log_is(tmp_path: Path) -> None:
    answer = worker("--log-format", "json", "--name", "not a name", home=tmp_path)
    assert json.loads(answer.err)["error"] == "InvalidSettings"


def test_a_worker_without_its_bus_ends_with_4_and_a_hint(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from agents.agent import Discovery, agent\n"
        "@agent('echo')\n"
        "async def echo(context): return Discovery()\n"
    )
    env = {"SWARMBOARD_NATS_CONNECT_TIMEOUT_SECONDS": "0.5", "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    answer = worker("--agents", "mine", "--nats-url", "nats://127.0.0.1:1", home=tmp_path, env=env)
    assert answer.code == 4
    assert "error: NATS: connecting to nats://127.0.0.1:1 failed" in answer.err
    assert "hint: `coordinator doctor`" in answer.err


@pytest.mark.skipif(not list(distributions(name="swarmboard")), reason="swarmboard is not installed")
def test_the_command_knows_its_version(tmp_path: Path) -> None:
    assert coordinator("--version", home=tmp_path).out.startswith("coordinator, version")


def _verb_is(monkeypatch: pytest.MonkeyPatch, function) -> None:
    verb = click.command("runs", cls=Verb)(function)
    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda *_: verb)
