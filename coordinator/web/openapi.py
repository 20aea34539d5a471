"""The published description of the HTTP API: an OpenAPI 3.1 document, made from the table of endpoints.

Committed as docs/schemas/openapi.json, and checked for drift:

    python -m coordinator.web.openapi --write
    python -m coordinator.web.openapi --check
"""

import json
import re
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from coordinator.web.endpoints import ENDPOINTS, Endpoint
from protocol.schemas import FOLDER

FILE = FOLDER / "openapi.json"
ERRORS = {
    400: "The request is wrong; the message names the field.",
    401: "The token is missing or wrong.",
    403: "Nobody may ask this here.",
    404: "There is no such run, task, inquiry or artifact.",
    409: "It cannot be done as things stand.",
    413: "The body is too large.",
    429: "Too much at once; `Retry-After` says when to come back.",
    503: "Store or bus is down, or nobody leads the run.",
}
ERROR = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("error", "message", "remedy")},
    "required": ["error", "message", "remedy"],
}

Json = dict[str, Any]


def document() -> Json:
    """The whole API."""
    bodies = [(endpoint.body, "validation") for endpoint in ENDPOINTS if endpoint.body is not None]
    template = "#/components/schemas/{model}"
    _, schema = models_json_schema(bodies, ref_template=template)  # pyright: ignore[reportArgumentType]
    paths: dict[str, Json] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "swarmboard",
            "version": version("swarmboard"),
            "description": "Runs over HTTP, on the port of every coordinator. A run is named by its id, the"
            " beginning of it, or `latest`. Answers are what the verb of the same name prints with `--json`.",
        },
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {**schema["$defs"], "Error": ERROR},
        },
    }


def _operation(endpoint: Endpoint) -> Json:
    names = re.findall(r"\{(\w+)\}", endpoint.path)
    parameters: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
    ]
    if endpoint.query is not None:
        fields = endpoint.query.model_json_schema()["properties"]
        parameters += [{"name": name, "in": "query", "schema": field} for name, field in fields.items()]
    streams = endpoint.path.endswith("/events")
    content: Json = {"text/event-stream" if streams else "application/json": {}}
    wrong = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    made: Json = {
        "operationId": f"{endpoint.answer.__module__.rpartition('.')[2]}_{endpoint.answer.__name__}",
        "summary": endpoint.summary,
        "parameters": parameters,
        "responses": {
            "200": {"description": "As asked.", "content": content},
            **{str(status): {"description": why, "content": wrong} for status, why in ERRORS.items()},
        },
    }
    if endpoint.body is not None:
        ref = {"$ref": f"#/components/schemas/{endpoint.body.__name__}"}
        made["requestBody"] = {"content": {"application/json": {"schema": ref}}}
    return made


def text() -> str:
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str], file: Path = FILE) -> int:
    if "--write" in arguments:
        file.write_text(text(), encoding="utf-8")
        return 0
    if file.exists() and file.read_text(encoding="utf-8") == text():
        return 0
    sys.stderr.write(f"docs/schemas/{file.name} is stale: run python -m coordinator.web.openapi --write\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
