"""What a coordinator says of itself: whether its loop moves, and whether it sees its servers."""

import json

import pytest

from coordinator import http
from coordinator.http import Vitals


def said(vitals: Vitals, path: str) -> tuple[int, dict[str, object]]:
    page = vitals.pages[path]()
    return page.status, json.loads(page.body)


def test_a_coordinator_is_ready_only_while_it_sees_its_servers():
    vitals = Vitals(lambda: b"")
    assert said(vitals, "/readyz") == (503, {"ready": False})
    vitals.beat(ready=True, leads=2)
    assert said(vitals, "/readyz") == (200, {"ready": True, "leads": 2})
    vitals.beat(ready=False, leads=0)
    assert said(vitals, "/readyz")[0] == 503
    assert said(vitals, "/healthz") == (200, {"alive": True})


def test_a_loop_that_stands_still_is_neither_alive_nor_ready(monkeypatch: pytest.MonkeyPatch):
    vitals = Vitals(lambda: b"")
    vitals.beat(ready=True)
    monkeypatch.setattr(http, "LOOP_PATIENCE_SECONDS", 0.0)
    assert said(vitals, "/healthz") == (503, {"alive": False})
    assert said(vitals, "/readyz") == (503, {"ready": False})
