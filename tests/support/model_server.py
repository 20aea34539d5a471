"""A language model's server that says what it is told to: OpenAI's chat protocol over real HTTP."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    """One scripted reply. `hang_seconds` passes before it; `drop` closes the connection instead."""

    content: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    hang_seconds: float = 0.0
    drop: bool = False


def fields(**values: Any) -> str:
    """A completion as DSPy's chat adapter reads it."""
    parts = [f"[[ ## {name} ## ]]\n{_text(value)}" for name, value in values.items()]
    return "\n\n".join([*parts, "[[ ## completed ## ]]"])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@dataclass
class ModelServer:
    """Answers with `script`, one reply for each request, then with `otherwise`; keeps what it was asked."""

    otherwise: Callable[[str], Reply] = lambda prompt: Reply(status=500)
    script: list[Reply] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    url: str = ""
    under_way: Counter[str] = field(default_factory=Counter)
    """Requests that have come and are not answered yet, by model."""
    most: Counter[str] = field(default_factory=Counter)
    """The most of them at once."""
    times: list[tuple[float, str]] = field(default_factory=list)
    """When each came (monotonic), and of which model."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, request: dict[str, Any], key: str) -> Reply:
        with self._lock:
            self.requests.append(request)
            self.keys.append(key)
            model = request.get("model", "")
            self.times.append((time.monotonic(), model))
            self.under_way[model] += 1
            self.most[model] = max(self.most[model], self.under_way[model])
            if self.script:
                return self.script.pop(0)
        return self.otherwise(request["messages"][-1]["content"])

    def answered(self, request: dict[str, Any]) -> None:
        with self._lock:
            self.under_way[request.get("model", "")] -= 1


@contextmanager
def running(server: ModelServer) -> Iterator[ModelServer]:
    """Serves on a free port of the loopback interface until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            request = json.loads(body)
            reply = server.take(request, self.headers.get("authorization", ""))
            time.sleep(reply.hang_seconds)
            server.answered(request)
            if reply.drop:
                self.close_connection = True
                self.connection.close()
                return
            if request.get("stream") and reply.status == 200:
                streamed = replace(reply, headers={"content-type": "text/event-stream", **reply.headers})
                self._send(streamed, _stream(reply))
                return
            self._send(reply, reply.raw if reply.raw is not None else _completion(reply))

        def _send(self, reply: Reply, body: bytes) -> None:
            try:
                self.send_response(reply.status)
                for name, value in {"content-type": "application/json", **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{http.server_port}/v1"
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()


USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 7,
    "total_tokens": 18,
    "prompt_tokens_details": {"cached_tokens": 5},
}


def _stream(reply: Reply) -> bytes:
    """The completion as server-sent events, a few characters each."""
    parts = [reply.content[at : at + 6] for at in range(0, len(reply.content), 6)]
    deltas = [{"delta": {"content": part}, "finish_reason": None, "index": 0} for part in parts]
    chunks = [[choice] for choice in (*deltas, {"delta": {}, "finish_reason": "stop", "index": 0})]
    bodies = [{"choices": choices} for choices in chunks] + [{"choices": [], "usage": USAGE}]
    head = {"id": "completion", "object": "chat.completion.chunk", "created": 0, "model": "scripted"}
    lines = [f"data: {json.dumps(head | body)}\n\n" for body in bodies]
    return ("".join(lines) + "data: [DONE]\n\n").encode()


def _completion(reply: Reply) -> bytes:
    if reply.status != 200:
        return json.dumps({"error": {"message": reply.content or "scripted", "type": "scripted"}}).encode()
    return json.dumps(
        {
            "id": "completion",
            "object": "chat.completion",
            "created": 0,
            "model": "scripted",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": reply.content},
                    "finish_reason": "stop",
                }
            ],
            "usage": USAGE,
        }
    ).encode()
