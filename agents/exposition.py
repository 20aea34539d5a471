"""What a worker says over HTTP: `/metrics` and `/healthz`."""

import time
from contextlib import AbstractContextManager

from agents.metrics import CONTENT_TYPE, WorkerMetrics
from protocol.health import Page, json_page, serving


def exposing(
    metrics: WorkerMetrics, host: str, port: int, *, pulse_patience_seconds: float
) -> AbstractContextManager[int]:
    """Serves for the length of the context; yields the port. `/healthz` fails once the pulse is overdue.

    :raises InvalidSettings: when the address cannot be used.
    """
    begun = time.time()

    def health() -> Page:
        silent = time.time() - max(metrics.last_pulse_seconds, begun)
        alive = silent < pulse_patience_seconds
        return json_page({"alive": alive, "seconds_since_pulse": round(silent, 1)}, 200 if alive else 503)

    def exposition() -> Page:
        return Page(200, CONTENT_TYPE, metrics.render())

    pages = {"/metrics": exposition, "/healthz": health}
    return serving(host, port, pages, setting="worker.metrics_port")
