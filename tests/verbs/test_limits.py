"""`coordinator limits`, the same over HTTP, and what a wrong setting is answered with."""

import json
from pathlib import Path

import pytest

from tests.cli.support import coordinator
from tests.support.servers import free_port
from tests.verbs.commands import ROOT, Shell, line_with, spec, stop, until
from tests.verbs.test_http import Client

LIMITS = """
[limits.models]
"house/*" = { concurrent = 1, per_minute = 600, tokens_per_minute = 90_000 }

[limits.agents]
nap = { concurrent = 2 }
"""


def test_what_is_in_use_and_what_waits_is_shown(tmp_path: Path) -> None:
    (tmp_path / "swarmboard.toml").write_text(LIMITS, encoding="utf-8")
    port = free_port()
    environ = {"PYTHONPATH": str(ROOT), "SWARMBOARD_HTTP_PORT": str(port)}
    shell = Shell(tmp_path, tmp_path / "data", environ)
    up = shell.start("up", "--workers", "1", "--agents", "tests.verbs.agents_for_tests")
    line_with(up, "up: data in")
    roots = [{"agent": "nap", "topic": f"{n}"} for n in range(4)]
    run = shell("submit", "--spec", "-", stdin=spec("nap", tasks=4, roots=roots)).out.strip()

    def shown() -> dict[str, object]:
        agent, _ = shell("limits", "--json").json
        return agent

    until(lambda: shown()["in_use"] == 2)
    assert (shown()["kind"], shown()["name"], shown()["concurrent"]) == ("agent", "nap", 2)
    (holder,) = shown()["holders"]
    assert holder == {"run": run, "agent": "nap", "worker": None, "in_use": 2, "waiting": holder["waiting"]}
    agent, model = Client(port)("GET", "/v1/limits")
    assert (agent["in_use"], model["per_minute"], model["in_use"]) == (2, 600.0, 0)
    assert (agent["tokens_per_minute"], model["tokens_per_minute"]) == (None, 90_000)
    assert "90,000" in shell("limits").out
    assert f"{run}: 2" in shell("limits").out
    shell("cancel", run)
    until(lambda: shown()["in_use"] == 0)
    assert stop(up).code == 0


@pytest.mark.parametrize(
    ("models", "problem"),
    [
        ({"a": {"concurent": 1}}, "a.concurent: Extra inputs are not permitted"),
        ({"a": {}}, "a: limits nothing: name `concurrent`, `per_minute` or `tokens_per_minute`"),
        ({"a": {"tokens_per_minute": 0}}, "a.tokens_per_minute: should be greater than 0"),
        ({"a": {"concurrent": 0}}, "a.concurrent: should be greater than or equal to 1"),
        ({"a": {"per_minute": "many"}}, "a.per_minute: should be a valid number"),
    ],
)
def test_a_wrong_limit_is_refused_with_its_place(
    models: dict[str, object], problem: str, tmp_path: Path
) -> None:
    answer = coordinator("limits", home=tmp_path, env={"SWARMBOARD_LIMITS_MODELS": json.dumps(models)})
    assert answer.code == 2
    assert problem in answer.err


def test_tokens_of_an_agent_are_not_limited_and_it_is_said_where_they_are(tmp_path: Path) -> None:
    limits = {"SWARMBOARD_LIMITS_AGENTS": '{"nap": {"tokens_per_minute": 5}}'}
    answer = coordinator("limits", home=tmp_path, env=limits)
    assert answer.code == 2
    assert "nap.tokens_per_minute: tokens are limited under limits.models" in answer.err
