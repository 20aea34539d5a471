"""The verbs that hold runs and mend tasks, over a swarm that runs."""

from tests.verbs.commands import Shell, spec, until


def tasks(shell: Shell, run: str) -> dict:
    return shell("show", run, "--json").json["tasks"]


def test_a_paused_run_begins_nothing_and_goes_on_when_it_is_resumed(shell: Shell) -> None:
    run = shell(
        "submit", "--spec", "-", stdin=spec("nap", roots=[{"agent": "nap", "topic": "a"}])
    ).out.strip()
    until(lambda: tasks(shell, run) == {"running": 1})
    answer = shell("pause", run, "--reason", "lunch", "--json").json
    assert answer == {"run": run, "paused": True, "verdict": "paused"}
    assert shell("show", run, "--json").json["paused"] == "lunch"
    assert "paused" in shell("runs").out
    assert "paused already" in shell("pause", run).err
    assert "goes on" in shell("resume", run).err
    assert shell("resume", run, "--json").json["verdict"] == "unchanged"
    shell("cancel", run)
    assert "has ended" in shell("pause", run).err


def test_pausing_needs_a_run_and_a_reason_that_says_something(shell: Shell) -> None:
    assert "--reason" in shell("pause", "latest", "--reason", "", code=2).err
    assert "no run 'nothing'" in shell("pause", "nothing", code=3).err
