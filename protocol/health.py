"""Health and metrics of a process over HTTP, from a thread: a busy event loop must not make it look dead."""

import json
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from protocol.errors import InvalidSettings

REQUEST_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Page:
    """What a path answers with."""

    status: int
    content_type: str
    body: bytes


def json_page(value: object, status: int = 200) -> Page:
    return Page(status, "application/json", json.dumps(value).encode() + b"\n")


class _Handler(BaseHTTPRequestHandler):
    pages: ClassVar[Mapping[str, Callable[[], Page]]]
    protocol_version = "HTTP/1.1"
    server_version = "swarmboard"
    sys_version = ""
    timeout = REQUEST_SECONDS

    def do_GET(self) -> None:
        find = self.pages.get(self.path.partition("?")[0])
        page = json_page({"error": "not found", "paths": list(self.pages)}, 404) if find is None else find()
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        self.end_headers()
        self.wfile.write(page.body)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not logged: probes come every few seconds."""


@contextmanager
def serving(host: str, port: int, pages: Mapping[str, Callable[[], Page]], *, setting: str) -> Generator[int]:
    """Serves pages by path for the length of the context; yields the port.

    Pages are made in threads of their own. `setting` is the name of the option that gave the port.

    :raises InvalidSettings: when the address cannot be used.
    """
    handler = type("Handler", (_Handler,), {"pages": pages})
    try:
        server = ThreadingHTTPServer((host, port), handler)
    except OSError as error:
        problem = f"{host}:{port} cannot be used: {error.strerror}"
        raise InvalidSettings(setting, problem, "choose another, or 0 for any") from error
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
