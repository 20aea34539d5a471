"""Our histogram says what Prometheus's own says."""

import random

import pytest
from prometheus_client import CollectorRegistry, disable_created_metrics, generate_latest
from prometheus_client import Histogram as Reference

from protocol.histogram import Histogram

BOUNDS = (0.005, 0.1, 1.0, 10.0)


def test_it_exposes_what_the_library_would_after_the_same_observations() -> None:
    disable_created_metrics()
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    one = Histogram("wait_seconds", "From here to there.", ["agent"], registry=ours, buckets=BOUNDS)
    other = Reference("wait_seconds", "From here to there.", ["agent"], registry=theirs, buckets=BOUNDS)
    chance = random.Random(1)
    for _ in range(500):
        agent, value = chance.choice("ab"), chance.choice((*BOUNDS, 0.0, chance.expovariate(0.3), 50.0))
        one.labels(agent).observe(value)
        other.labels(agent).observe(value)
    assert generate_latest(ours) == generate_latest(theirs)


def test_without_labels_it_exists_before_its_first_observation() -> None:
    registry = CollectorRegistry()
    histogram = Histogram("append_seconds", "Of a commit.", registry=registry, buckets=BOUNDS)
    assert registry.get_sample_value("append_seconds_count") == 0
    histogram.observe(2.0)
    assert registry.get_sample_value("append_seconds_bucket", {"le": "10.0"}) == 1
    assert registry.get_sample_value("append_seconds_bucket", {"le": "1.0"}) == 0


def test_two_of_one_name_in_a_registry_are_refused() -> None:
    registry = CollectorRegistry()
    Histogram("twice", "Once.", registry=registry, buckets=BOUNDS)
    with pytest.raises(ValueError, match="Duplicated"):
        Histogram("twice", "Again.", registry=registry, buckets=BOUNDS)
