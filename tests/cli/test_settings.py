"""Where settings come from, which source wins, and how wrong ones are refused."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from agents import settings as worker_settings
from coordinator import settings
from coordinator.embedded.folder import DataFolder
from coordinator.embedded.servers import embedded_servers
from protocol.errors import InvalidSettings
from protocol.settings import GROUPS, Loaded, Row, mask_url
from tests.cli.support import coordinator


@pytest.fixture
def load(tmp_path: Path):
    """Loads from a folder and a home of the test's own."""
    home = tmp_path / "home"
    (home / ".config" / "swarmboard").mkdir(parents=True)

    def load(
        flags: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None
    ) -> Loaded[settings.Settings]:
        known = {"HOME": str(home), **(environ or {})}
        return settings.load(flags or {}, environ=known, folder=tmp_path)

    return load


def row(loaded: Loaded, name: str) -> Row:
    return next(row for row in loaded.describe() if row.name == name)


def write(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


LAYERS = ("user", "pyproject", "swarmboard", "environment", "flag")


@pytest.mark.parametrize("strongest", range(len(LAYERS)))
def test_each_source_wins_over_the_weaker_ones_and_is_named(tmp_path: Path, load, strongest: int) -> None:
    sources = {
        "user": tmp_path / "home" / ".config" / "swarmboard" / "config.toml",
        "pyproject": tmp_path / "pyproject.toml",
        "swarmboard": tmp_path / "swarmboard.toml",
    }
    for number, layer in enumerate(LAYERS[: strongest + 1], start=101):
        if layer in sources:
            table = "tool.swarmboard.liveness" if layer == "pyproject" else "liveness"
            sources[layer].write_text(f"[{table}]\nsilence_seconds = {number}\n")
    given = LAYERS[: strongest + 1]
    loaded = load(
        {"liveness.silence_seconds": 105} if "flag" in given else {},
        {"SWARMBOARD_LIVENESS_SILENCE_SECONDS": "104"} if "environment" in given else {},
    )
    assert loaded.settings.liveness.silence_seconds == 101 + strongest
    found = row(loaded, "liveness.silence_seconds")
    assert found.source == str(sources.get(LAYERS[strongest], LAYERS[strongest]))
    assert found.value == f"{101 + strongest}.0"
    assert row(loaded, "liveness.heartbeat_seconds").source == "default"


def test_flags_that_were_not_given_do_not_count(load) -> None:
    assert row(load({"nats.url": None}), "nats.url").source == "default"


def test_an_empty_variable_counts_as_unset(load) -> None:
    assert row(load(environ={"SWARMBOARD_NATS_URL": ""}), "nats.url").source == "default"


def test_every_option_says_what_it_means(load) -> None:
    assert [found.name for found in load().describe() if not found.meaning] == []


def test_defaults_are_those_of_the_design(load) -> None:
    liveness = load().settings.liveness
    assert (liveness.heartbeat_seconds, liveness.silence_seconds) == (10, 90)
    assert (liveness.sweep_seconds, liveness.lease_seconds, liveness.grace_seconds) == (1, 10, 15)


def test_one_file_serves_both_commands(tmp_path: Path, load) -> None:
    write(tmp_path, "swarmboard.toml", "[worker]\nconcurrency = 7\n[http]\nport = 1\n[nats]\nuser = 'x'\n")
    assert load().settings.http.port == 1
    worker = worker_settings.load({}, environ={"HOME": str(tmp_path)}, folder=tmp_path).settings
    assert (worker.worker.concurrency, worker.nats.user) == (7, "x")


def test_one_environment_serves_both_commands(tmp_path: Path, load) -> None:
    environ = {"HOME": str(tmp_path), "SWARMBOARD_HTTP_PORT": "1", "SWARMBOARD_WORKER_AGENTS": "a, b:c"}
    assert load(environ=environ).settings.http.port == 1
    assert worker_settings.load({}, environ=environ, folder=tmp_path).settings.worker.agents == ("a", "b:c")


def test_the_list_of_groups_is_that_of_both_commands() -> None:
    fields = set(settings.Settings.model_fields) | set(worker_settings.WorkerSettings.model_fields)
    assert fields == set(GROUPS)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("liveness.heartbeat_seconds", "31", "less than or equal to 30"),
        ("liveness.heartbeat_seconds", "0", "greater than 0"),
        ("liveness.heartbeat_seconds", "nan", "finite"),
        ("liveness.heartbeat_seconds", "ten", "valid number"),
        ("liveness.silence_seconds", "29", "at least three heartbeats"),
        ("http.port", "70000", "less than or equal to 65535"),
        ("nats.url", "http://host", "match pattern"),
        ("redis.url", "host:6379", "match pattern"),
        ("log.format", "xml", "'text' or 'json'"),
        ("embedded.durable", "perhaps", "valid boolean"),
    ],
)
def test_a_bad_value_is_refused_by_name_source_and_remedy(load, name: str, value: str, problem: str) -> None:
    variable = f"SWARMBOARD_{name.replace('.', '_').upper()}"
    with pytest.raises(InvalidSettings) as refused:
        load(environ={variable: value})
    text = str(refused.value)
    assert name in text
    assert variable in text
    assert problem in text
    assert "or remove it for the default of" in text


def test_a_bad_value_in_a_file_names_the_file(tmp_path: Path, load) -> None:
    path = write(tmp_path, "swarmboard.toml", "[liveness]\nheartbeat_seconds = 31\n")
    with pytest.raises(InvalidSettings, match=f"from {path}"):
        load()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[livenes]\nsilence_seconds = 90", "did you mean liveness"),
        ("[liveness]\nsilence_second = 90", "did you mean liveness.silence_seconds"),
        ("liveness = 3", "is not a table"),
        ("[liveness", "is not TOML"),
    ],
)
def test_a_misspelt_settings_file_is_refused(tmp_path: Path, load, text: str, problem: str) -> None:
    write(tmp_path, "swarmboard.toml", text)
    with pytest.raises(InvalidSettings, match=problem):
        load()


def test_a_misspelt_variable_is_refused(load) -> None:
    with pytest.raises(InvalidSettings, match="did you mean SWARMBOARD_LIVENESS_SILENCE_SECONDS"):
        load(environ={"SWARMBOARD_LIVENESS_SILENCE_SECOND": "90"})
    with pytest.raises(InvalidSettings, match="no such setting"):
        load(environ={"SWARMBOARD_NONSENSE": "1"})


def test_a_pyproject_without_our_table_is_fine(tmp_path: Path, load) -> None:
    write(tmp_path, "pyproject.toml", "[tool.other]\nx = 1\n")
    assert load().settings.http.port == 8642


def test_secrets_are_never_shown(load) -> None:
    loaded = load(
        {"redis.url": "redis://me:hunter2@host:1/0", "nats.url": "nats://me:hunter2@host"},
        {"SWARMBOARD_NATS_PASSWORD": "hunter2", "SWARMBOARD_MODEL_API_KEY": "hunter2"},
    )
    assert "hunter2" not in repr(loaded.describe())
    assert row(loaded, "nats.password").value == "***"
    assert row(loaded, "redis.url").value == "redis://me:***@host:1/0"
    assert loaded.settings.nats.password.get_secret_value() == "hunter2"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://a:hunter2@h1:1,nats://b:hunter2@h2:2", "nats://a:***@h1:1,nats://b:***@h2:2"),
        ("redis://:hunter2@host/0", "redis://:***@host/0"),
        ("redis://me:hunt@er2@host/0", "redis://me:***@host/0"),
        ("nats://hunter2@host", "nats://***@host"),
        ("nats://host:4222", "nats://host:4222"),
        ("https://host/a@b", "https://host/a@b"),
    ],
)
def test_urls_are_shown_without_passwords_and_tokens(url: str, shown: str) -> None:
    assert mask_url(url) == shown


def test_a_secret_may_come_from_a_mounted_file(tmp_path: Path, load) -> None:
    path = write(tmp_path, "secret", "hunter2\n")
    loaded = load(environ={"SWARMBOARD_REDIS_PASSWORD_FILE": str(path)})
    assert loaded.settings.redis.password.get_secret_value() == "hunter2"
    with pytest.raises(InvalidSettings, match="there is no file"):
        load(environ={"SWARMBOARD_REDIS_PASSWORD_FILE": str(tmp_path / "other")})
    with pytest.raises(InvalidSettings, match="no such setting"):
        load(environ={"SWARMBOARD_REDIS_URL_FILE": str(path)})


def test_a_refused_secret_is_not_shown_either(load) -> None:
    with pytest.raises(InvalidSettings) as refused:
        load(environ={"SWARMBOARD_REDIS_URL": "hunter2:6379"})
    assert "hunter2" not in str(refused.value)


def test_the_data_folder_follows_xdg(tmp_path: Path, load) -> None:
    assert load().settings.data_folder == tmp_path / "home/.local/share/swarmboard"
    assert load(environ={"XDG_DATA_HOME": "/xdg"}).settings.data_folder == Path("/xdg/swarmboard")
    assert load({"data.folder": "/flag"}).settings.data_folder == Path("/flag")


@pytest.mark.anyio
async def test_running_embedded_servers_are_found_by_coordinator_and_worker(tmp_path: Path, load) -> None:
    data = str(tmp_path / "data")
    async with embedded_servers(tmp_path / "data") as instance:
        loaded = load({"data.folder": data})
        worker = worker_settings.load({"data.folder": data}, environ={}, folder=tmp_path)
    known = instance.connection
    found = loaded.settings
    assert (found.nats.url, found.redis.url) == (known.nats.url, known.redis.url)
    assert found.redis.password.get_secret_value() == known.redis.password
    assert row(loaded, "nats.url").source == "embedded servers"
    assert settings.wants_embedded(loaded)
    assert worker.settings.nats.user == "worker"
    assert worker.settings.nats.inbox_prefix == known.worker.nats.inbox_prefix


@pytest.mark.anyio
async def test_credentials_of_embedded_servers_are_not_sent_to_others(tmp_path: Path, load) -> None:
    flags = {"data.folder": str(tmp_path / "data"), "nats.url": "nats://other", "redis.url": "redis://other"}
    async with embedded_servers(tmp_path / "data"):
        loaded = load(flags)
    assert loaded.settings.nats.user == ""
    assert loaded.settings.nats.password.get_secret_value() == ""
    assert loaded.settings.redis.password.get_secret_value() == ""
    assert not settings.wants_embedded(loaded)


def test_naming_one_server_alone_is_refused(load) -> None:
    with pytest.raises(InvalidSettings, match=r"redis\.url"):
        settings.wants_embedded(load({"nats.url": "nats://other"}))


def test_a_damaged_connection_file_of_a_living_owner_is_named(tmp_path: Path, load) -> None:
    folder = DataFolder(tmp_path)
    assert folder.try_lock("owner.lock") is not None
    folder.instance_file.write_text("{")
    with pytest.raises(InvalidSettings, match=r"instance\.json"):
        load({"data.folder": str(tmp_path)})


def test_a_workers_name_is_its_hosts_and_its_own(tmp_path: Path) -> None:
    assert worker_settings.default_name("node_7.example.org", 42) == "node-7-42"
    assert worker_settings.default_name("", 42) == "host-42"
    loaded = worker_settings.load({"worker.agents": ()}, environ={"HOME": str(tmp_path)}, folder=tmp_path)
    assert loaded.sources["worker.name"] == "default"


def test_config_prints_every_setting_with_its_source(tmp_path: Path) -> None:
    env = {"SWARMBOARD_NATS_PASSWORD": "hunter2"}
    answer = coordinator("config", "--data", "/some/where", home=tmp_path, env=env)
    lines = [line.split() for line in answer.out.splitlines()]
    assert lines[0] == ["SETTING", "VALUE", "SOURCE"]
    assert ["data.folder", "/some/where", "flag"] in lines
    assert ["nats.password", "***", "environment"] in lines
    assert ["liveness.silence_seconds", "90", "default"] in lines
    as_object = json.loads(coordinator("config", "--json", home=tmp_path).out)
    assert as_object["http.port"] == {
        "value": "8642",
        "source": "default",
        "environment": "SWARMBOARD_HTTP_PORT",
        "meaning": "Port to listen on; 0 for any free one.",
    }


def test_a_bad_value_ends_the_command_with_2(tmp_path: Path) -> None:
    answer = coordinator("config", home=tmp_path, env={"SWARMBOARD_LIVENESS_HEARTBEAT_SECONDS": "31"})
    assert answer.code == 2
    assert answer.err.startswith("error: liveness.heartbeat_seconds (from SWARMBOARD_LIVENESS_HEARTBEAT")
