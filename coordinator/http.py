"""What a coordinator says over HTTP: `/healthz`, `/readyz`, `/metrics`.

`/healthz` fails when the event loop has not moved for LOOP_PATIENCE_SECONDS.
"""

import time
from collections.abc import Callable, Mapping

from coordinator.metrics import CONTENT_TYPE
from protocol.health import Page, json_page

LOOP_PATIENCE_SECONDS = 10.0


class Vitals:
    """What the HTTP threads may know of the service. `beat` is called by the event loop."""

    def __init__(self, exposition: Callable[[], bytes]) -> None:
        self._exposition = exposition
        self._ready = False
        self._details: dict[str, object] = {}
        self._beaten = time.monotonic()

    def beat(self, *, ready: bool, **details: object) -> None:
        self._ready, self._details, self._beaten = ready, details, time.monotonic()

    @property
    def pages(self) -> Mapping[str, Callable[[], Page]]:
        return {"/healthz": self._health, "/readyz": self._readiness, "/metrics": self._metrics}

    @property
    def _alive(self) -> bool:
        return time.monotonic() - self._beaten < LOOP_PATIENCE_SECONDS

    def _health(self) -> Page:
        alive = self._alive
        return json_page({"alive": alive}, 200 if alive else 503)

    def _readiness(self) -> Page:
        ready = self._alive and self._ready
        return json_page({"ready": ready, **self._details}, 200 if ready else 503)

    def _metrics(self) -> Page:
        return Page(200, CONTENT_TYPE, self._exposition())
