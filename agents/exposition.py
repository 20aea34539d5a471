"""A worker's metrics and health over HTTP: `/metrics` and `/healthz`.

A thread serves them from the standard library, so that an agent that blocks the loop does not hide them.
"""

import json
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from agents.metrics import CONTENT_TYPE, WorkerMetrics
from protocol.errors import InvalidSettings


@contextmanager
def exposing(
    metrics: WorkerMetrics, host: str, port: int, *, pulse_patience_seconds: float
) -> Generator[int]:
    """Serves for the length of the context; yields the port. `/healthz` fails once the pulse is overdue.

    :raises InvalidSettings: when the address cannot be used.
    """
    begun = time.time()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "swarmboard"
        sys_version = ""
        timeout = 10

        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/metrics":
                    self.answer(200, CONTENT_TYPE, metrics.render())
                case "/healthz":
                    silent = time.time() - max(metrics.last_pulse_seconds, begun)
                    alive = silent < pulse_patience_seconds
                    body = json.dumps({"alive": alive, "seconds_since_pulse": round(silent, 1)})
                    self.answer(200 if alive else 503, "application/json", body.encode())
                case _:
                    self.answer(404, "text/plain", b"there are /metrics and /healthz\n")

        def answer(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Requests are not logged: probes come every few seconds."""

    try:
        server = ThreadingHTTPServer((host, port), Handler)
    except OSError as error:
        raise InvalidSettings(
            "worker.metrics_port", f"{host}:{port} cannot be used: {error.strerror}", "choose another port"
        ) from error
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
