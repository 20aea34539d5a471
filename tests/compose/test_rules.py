"""Scrape configuration and alerts, checked and tested by promtool."""

import yaml

from tests.compose.prometheus import FILES, alert_rules, promtool


def test_the_configuration_is_valid() -> None:
    promtool("check", "config", "prometheus.yml")
    promtool("check", "rules", "--lint-fatal", "alerts.yml")


def test_alerts_fire_when_they_should_and_only_then() -> None:
    promtool("test", "rules", "alerts_test.yml")


def test_every_alert_is_tested_and_says_what_to_do() -> None:
    tested = (FILES / "alerts_test.yml").read_text()
    for rule in alert_rules():
        assert rule["alert"] in tested
        assert {"summary", "remedy"} == set(rule["annotations"])
        assert rule["labels"]["severity"] in {"warning", "critical"}
    assert yaml.safe_load(tested)["rule_files"] == ["alerts.yml"]
