"""Checks of this machine: Python, SQLite, server programs, data folder, model."""

import platform
import shutil
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio.to_thread

from coordinator.doctor.check import Check, version_of
from coordinator.embedded.folder import LEAST_FREE_BYTES
from protocol.errors import ServerMissing
from protocol.options import Model

PYTHON_OLDEST = (3, 11)
GIB = 1024**3
MODEL_SECONDS = 5.0
OPENAI = "https://api.openai.com/v1"


def check_python() -> Check:
    version = platform.python_version()
    if version_of(version) < PYTHON_OLDEST:
        return Check("python", "failed", version, "use Python 3.11 or newer")
    return Check("python", "ok", f"{version} on {platform.system()} {platform.machine()}")


def check_full_text_search() -> Check:
    """SQLite's FTS5, with which agents search a corpus."""
    try:
        with closing(sqlite3.connect(":memory:")) as database:
            database.execute("CREATE VIRTUAL TABLE probe USING fts5(text)")
    except sqlite3.OperationalError as error:
        return Check("full-text search", "failed", str(error), "use a Python whose SQLite has FTS5")
    return Check("full-text search", "ok", f"SQLite {sqlite3.sqlite_version} with FTS5")


def check_program(name: str, find: Callable[[], Path]) -> Check:
    """A server program for the embedded servers."""
    try:
        return Check(name, "ok", str(find()))
    except ServerMissing as error:
        return Check(name, "failed", "is not installed", str(error).partition("; ")[2])


def check_disk(folder: Path) -> Check:
    """Room for the data folder, wherever its first existing parent is."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    detail = f"{free / GIB:.1f} GiB free for {folder}"
    if free < LEAST_FREE_BYTES:
        return Check("disk", "failed", detail, "free some space, or choose another folder with --data")
    if free < GIB:
        return Check("disk", "warning", detail, "a long run may need more than 1 GiB; free some space")
    return Check("disk", "ok", detail)


async def check_model(model: Model) -> Check:
    """Whether the model's server answers and takes the key: asks for its list of models, which is free."""
    if not model.name:
        return Check("model", "skipped", "none configured: agents work extractively")
    base = model.api_base or (OPENAI if model.name.startswith("openai/") else "")
    if not base:
        return Check("model", "skipped", f"{model.name}: set model.api_base to have its server checked")
    return await anyio.to_thread.run_sync(_ask_for_models, base, model)


def _ask_for_models(base: str, model: Model) -> Check:
    key = model.api_key.get_secret_value()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(f"{base.rstrip('/')}/models", headers=headers)  # noqa: S310 - http(s) by its type
    try:
        with urllib.request.urlopen(request, timeout=MODEL_SECONDS) as answer:  # noqa: S310 - likewise
            return Check("model", "ok", f"{model.name}: {base} answers {answer.status}")
    except urllib.error.HTTPError as error:
        if error.code in {401, 403}:
            return Check("model", "failed", f"{base} refuses the key ({error.code})", "correct model.api_key")
        return Check("model", "warning", f"{base} answers {error.code}", "check model.api_base")
    except (OSError, ValueError) as error:
        return Check("model", "failed", f"{base}: {error}", "check model.api_base and the network")
