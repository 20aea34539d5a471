"""Providers that do not answer: what is shown of them, and closing their breakers by hand."""

from pathlib import Path

from tests.verbs.commands import Shell, spec, until
from tests.verbs.test_http import Client, client

__all__ = ["client"]


def test_a_breaker_is_shown_and_closed_by_hand(shell: Shell, client: Client, tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    run = shell("submit", "--spec", "-", stdin=spec("consult", str(opened))).out.strip()
    until(lambda: shell("providers", "--json").json != [])
    (shown,) = shell("providers", "--json").json
    assert (shown["provider"], shown["status"]) == ("library", "open")
    assert shown["reason"] == "closed for lunch"
    assert client("GET", "/v1/providers") == [shown]
    assert "library" in shell("providers").out
    checks = {check["name"]: check for check in shell("doctor", "--json").json["checks"]}
    assert checks["providers"]["status"] == "warning"
    assert "library is open: closed for lunch" in checks["providers"]["detail"]
    (task,) = shell("tasks", run, "--json").json
    assert (task["status"], task["tries"]) == ("queued", 0)

    opened.touch()
    assert shell("providers", "--close", "library").err == "calls of provider library go through again\n"
    until(lambda: shell("show", run, "--json").json["status"] == "done")
    assert [one["status"] for one in client("GET", "/v1/providers")] == ["closed"]


def test_a_breaker_is_closed_over_http(shell: Shell, client: Client, tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    run = shell("submit", "--spec", "-", stdin=spec("consult", str(opened))).out.strip()
    until(lambda: [one["status"] for one in client("GET", "/v1/providers")] == ["open"])
    opened.touch()
    assert client("POST", "/v1/providers/library/close", {})["status"] == "closed"
    until(lambda: shell("show", run, "--json").json["status"] == "done")


def test_a_provider_that_never_failed_cannot_be_closed(shell: Shell, client: Client) -> None:
    assert "no provider 'nobody'" in shell("providers", "--close", "nobody", code=3).err
    assert client("POST", "/v1/providers/nobody/close", {}, status=404)["error"] == "NotFound"
