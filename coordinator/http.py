"""Health checks and metrics over HTTP: `/healthz`, `/readyz`, `/metrics`.

A thread serves them from the standard library, so that a busy event loop cannot make the process look dead;
`/healthz` fails when that loop has not moved for LOOP_PATIENCE_SECONDS.
"""

import json
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from coordinator.metrics import CONTENT_TYPE
from protocol.errors import InvalidSettings

LOOP_PATIENCE_SECONDS = 10.0


class Vitals:
    """What the HTTP thread may know of the service. `beat` is called by the event loop."""

    def __init__(self, exposition: Callable[[], bytes]) -> None:
        self.exposition = exposition
        self.ready = False
        self.details: dict[str, object] = {}
        self._beaten = time.monotonic()

    def beat(self, *, ready: bool, **details: object) -> None:
        self.ready, self.details, self._beaten = ready, details, time.monotonic()

    @property
    def alive(self) -> bool:
        return time.monotonic() - self._beaten < LOOP_PATIENCE_SECONDS


class _Handler(BaseHTTPRequestHandler):
    vitals: ClassVar[Vitals]
    protocol_version = "HTTP/1.1"
    server_version = "swarmboard"
    sys_version = ""
    timeout = 10

    def do_GET(self) -> None:
        vitals = self.vitals
        match self.path.partition("?")[0]:
            case "/metrics":
                self._send(200, CONTENT_TYPE, vitals.exposition())
            case "/healthz":
                self._send_json(200 if vitals.alive else 503, {"alive": vitals.alive})
            case "/readyz":
                ready = vitals.alive and vitals.ready
                self._send_json(200 if ready else 503, {"ready": ready, **vitals.details})
            case _:
                self._send_json(404, {"error": "not found", "paths": ["/healthz", "/readyz", "/metrics"]})

    def _send_json(self, status: int, value: object) -> None:
        self._send(status, "application/json", json.dumps(value).encode() + b"\n")

    def _send(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not logged: probes come every few seconds."""


@contextmanager
def serving(host: str, port: int, vitals: Vitals) -> Generator[int]:
    """Serves for the length of the context; yields the port.

    :raises InvalidSettings: when the address cannot be used.
    """
    handler = type("Handler", (_Handler,), {"vitals": vitals})
    try:
        server = ThreadingHTTPServer((host, port), handler)
    except OSError as error:
        raise InvalidSettings(
            "http.port", f"{host}:{port} cannot be used: {error.strerror}", "choose another, or 0 for any"
        ) from error
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="http", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
