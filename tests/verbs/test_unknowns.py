"""Effects whose outcome was lost, and divergences, from the command line over a swarm that runs."""

from typing import Any

from tests.verbs.commands import Shell, spec, until


def unknowns(shell: Shell, run: str) -> list[Any]:
    return shell("unknowns", run, "--json").json


def sending(shell: Shell) -> tuple[str, Any]:
    """A run that waits for a person's word on its effect."""
    run = shell("submit", "--spec", "-", stdin=spec("send", "a letter")).out.strip()
    until(lambda: any(one["fate"] == "waits for you" for one in unknowns(shell, run)))
    (one,) = unknowns(shell, run)
    return run, one


def test_what_is_unknown_is_listed_and_settled(shell: Shell) -> None:
    run, one = sending(shell)
    assert (one["effect"], one["agent"], one["path"], one["ordinal"]) == ("unsafe", "send", "mail", 0)
    assert one["request"] == '"a letter"'
    listed = shell("unknowns", run).out
    assert one["key"] in listed
    assert "waits for you" in listed
    assert "unknown:" in shell("show", run).out
    assert "the outcome of 1 effects" in shell("tasks", run, one["task"]).out
    assert "say one of the three" in shell("unknowns", run, one["key"], code=2).err
    assert "EFFECT" in shell("unknowns", run, "--not-happened", code=2).err
    assert "--give-up: is not 1 to" in shell("unknowns", run, one["key"], "--give-up", "", code=2).err
    assert "no effect" in shell("unknowns", run, "effect-none", "--not-happened", code=3).err
    settled = shell("unknowns", run, one["key"][:12], "--happened", '{"by": "post"}', "--json")
    assert settled.json == {"run": run, "effect": one["key"], "settled": True}
    until(lambda: shell("show", run, "--json").json["status"] == "done")
    (receipt,) = shell("artifacts", run, "--type", "receipt", "--json").json
    assert receipt["payload"] == {"value": {"by": "post"}}
    assert "the outcome of every effect is known" in shell("unknowns", run).err


def test_what_did_not_happen_is_done_now(shell: Shell) -> None:
    run, one = sending(shell)
    shell("unknowns", run, one["key"], "--not-happened")
    until(lambda: shell("show", run, "--json").json["status"] == "done")
    (receipt,) = shell("artifacts", run, "--type", "receipt", "--json").json
    assert receipt["payload"] == {"value": f"sent {one['key']}"}


def test_what_nobody_knows_fails_the_task(shell: Shell) -> None:
    run, one = sending(shell)
    shell("unknowns", run, one["key"], "--give-up", "the books are lost")
    until(lambda: shell("show", run, "--json").json["status"] in {"done", "failed"})
    (task,) = shell("tasks", run, "--json").json
    assert task["status"] == "failed"
    assert "the books are lost" in task["reason"]
    assert [left["fate"] for left in unknowns(shell, run)] == ["is left"]


def test_a_divergence_is_shown_with_both_requests(shell: Shell) -> None:
    run = shell("submit", "--spec", "-", "--wait", stdin=spec("waver", "kettles")).out.strip()
    (task,) = shell("tasks", run, "--json").json
    shown = shell("tasks", run, task["id"]).out
    assert "divergence ask" in shown
    assert 'recorded: {"about":"kettles","attempt":1}' in shown
    assert 'asked:    {"about":"kettles","attempt":2}' in shown
    assert "set aside: 0" in shown
    journal = shell("tasks", run, task["id"], "--json").json["journal"]
    assert [step["kind"] for step in journal] == ["pure", "divergence", "pure"]
    assert journal[2]["request_text"] == '{"about":"kettles","attempt":2}'
    assert shell("show", run, "--json").json["divergences"] == 1
