"""A real Prometheus on compose's configuration, and the queries of the dashboard."""

import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.compose.support import COMPOSE
from tests.support.servers import Server

FILES = COMPOSE / "prometheus"
DASHBOARD = COMPOSE / "grafana/dashboards/swarmboard.json"


def program(name: str) -> Path:
    """Skips the test where Debian's package `prometheus`, or its like, is not installed."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: apt-get install prometheus brings it")
    return Path(found)


def panel_queries() -> Iterator[tuple[str, str]]:
    """Title and expression of every query of the dashboard."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def alert_rules() -> Sequence[dict[str, Any]]:
    return yaml.safe_load((FILES / "alerts.yml").read_text())["groups"][0]["rules"]


def metric_names(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:swarmboard|process)_[a-z_]+", expression))


class Prometheus(Server):
    """Scrapes `targets` by job: compose's configuration, but for how it finds them and how often."""

    def __init__(self, folder: Path, targets: Mapping[str, Sequence[str]]) -> None:
        super().__init__(folder, program("prometheus"))
        config = yaml.safe_load((FILES / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "500ms", "evaluation_interval": "1s"}
        for job in config["scrape_configs"]:
            del job["dns_sd_configs"]
            job["static_configs"] = [{"targets": list(targets[job["job_name"]])}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        shutil.copy(FILES / "alerts.yml", folder)

    def query(self, expression: str) -> list[dict[str, Any]]:
        return self.ask("query", query=expression)["result"]

    def ask(self, path: str, **parameters: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as response:
            return json.load(response)["data"]

    def _command(self) -> list[str]:
        listen = f"--web.listen-address=127.0.0.1:{self.port}"
        files = [f"--config.file={self.folder}/prometheus.yml", f"--storage.tsdb.path={self.folder}/tsdb"]
        return [str(self.program), listen, *files]

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=1) as response:
                return response.status == 200
        except OSError:
            return False


def promtool(*arguments: str, feed: bytes = b"") -> None:
    done = subprocess.run(
        [program("promtool"), *arguments], cwd=FILES, input=feed, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
