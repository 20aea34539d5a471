"""Which files a corpus holds, and which it leaves out and why. Reads folders and sizes, not contents."""

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SIZE_LIMIT_BYTES = 5 * 1024 * 1024
SKIPPED_FOLDERS = frozenset(
    {
        ".git", ".hg", ".svn", ".bzr", ".venv", "venv", "node_modules", "site-packages", "dist-packages",
        "__pycache__", ".tox", ".nox", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".cache", ".idea",
    }
)  # fmt: skip
BINARY_SUFFIXES = frozenset(
    {
        ".pyc", ".pyo", ".so", ".o", ".a", ".dll", ".dylib", ".exe", ".bin", ".class", ".jar", ".whl", ".egg",
        ".zip", ".gz", ".bz2", ".xz", ".zst", ".tar", ".7z", ".png", ".jpg", ".jpeg", ".gif", ".bmp", ".ico",
        ".webp", ".tiff", ".mp3", ".mp4", ".wav", ".ogg", ".avi", ".mov", ".woff", ".woff2", ".ttf", ".otf",
        ".sqlite", ".db", ".pickle", ".pkl", ".npy", ".npz", ".docx", ".xlsx", ".pptx", ".odt",
    }
)  # fmt: skip


class OutsideCorpus(Exception):
    """A path that leads out of its corpus root."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} leads out of the corpus")


@dataclass(frozen=True, slots=True)
class Source:
    """A file to read. `path` is relative to the root (its name, when the root is a file).

    `root_name` is the name of a root that is a folder: `tasks.py` in `asyncio` is about asyncio.
    """

    root: int
    root_name: str
    path: str
    absolute: Path
    size_bytes: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class Skipped:
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """A survey. `digest` changes with any file's path, size or modification time."""

    sources: tuple[Source, ...]
    skipped: tuple[Skipped, ...]
    digest: str


def survey(roots: Sequence[str], salt: str = "") -> Corpus:
    """Lists a corpus in a fixed order. Links are left out: what is inside is read where it lies.

    :raises FileNotFoundError: when a root does not exist.
    """
    sources: list[Source] = []
    skipped: list[Skipped] = []
    for number, root in enumerate(roots):
        for item in _walk(number, Path(root).resolve(strict=True)):
            if isinstance(item, Source):
                sources.append(item)
            else:
                skipped.append(item)
    digest = hashlib.blake2b(salt.encode(), digest_size=16)
    for root in roots:
        digest.update(f"{Path(root).resolve()}\0".encode(errors="surrogateescape"))
    for source in sources:
        line = f"{source.root}\0{source.path}\0{source.size_bytes}\0{source.modified_ns}\n"
        digest.update(line.encode(errors="surrogateescape"))
    return Corpus(tuple(sources), tuple(skipped), digest.hexdigest())


def locate(roots: Sequence[str], root: int, path: str) -> Path:
    """The file that a citation means.

    :raises OutsideCorpus: when the path, or a link in it, leads out of the root.
    """
    if not 0 <= root < len(roots):
        raise OutsideCorpus(path)
    base = Path(roots[root]).resolve()
    if base.is_file():
        if path != base.name:
            raise OutsideCorpus(path)
        return base
    target = (base / path).resolve()
    if not target.is_relative_to(base):
        raise OutsideCorpus(path)
    return target


def _walk(number: int, root: Path) -> Iterator[Source | Skipped]:
    if root.is_file():
        yield _file(number, "", root.name, root)
        return
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            entries = sorted(folder.iterdir())
        except OSError as error:
            yield Skipped(_relative(folder, root), f"unreadable: {error.strerror}")
            continue
        inner: list[Path] = []
        for entry in entries:
            path = _relative(entry, root)
            refusal = _refuse_link(entry, root)
            if refusal:
                yield Skipped(path, refusal)
            elif not entry.is_dir():
                yield _file(number, root.name, path, entry)
            elif entry.name in SKIPPED_FOLDERS or (entry / "pyvenv.cfg").is_file():
                yield Skipped(f"{path}/", "folder of a tool, of installed packages or of version control")
            else:
                inner.append(entry)
        folders.extend(reversed(inner))


def _refuse_link(entry: Path, root: Path) -> str:
    """Why a link is left out; empty for what is no link. Following none of them, no loop can arise."""
    if not entry.is_symlink():
        return ""
    try:
        target = entry.resolve(strict=True)
    except (OSError, RuntimeError):
        return "link that leads nowhere, or to itself"
    if target.is_relative_to(root):
        return "link to what is read where it lies"
    return "link that leads out of the corpus"


def _file(number: int, root_name: str, path: str, entry: Path) -> Source | Skipped:
    try:
        status = entry.stat()
    except OSError as error:
        return Skipped(path, f"unreadable: {error.strerror}")
    if not stat.S_ISREG(status.st_mode):
        return Skipped(path, "not a regular file")
    if status.st_size > SIZE_LIMIT_BYTES:
        return Skipped(path, f"larger than {SIZE_LIMIT_BYTES // 1024**2} MiB")
    if entry.suffix.lower() in BINARY_SUFFIXES:
        return Skipped(path, "binary")
    if not os.access(entry, os.R_OK):
        return Skipped(path, "unreadable: permission denied")
    return Source(number, root_name, path, entry, status.st_size, status.st_mtime_ns)


def _relative(entry: Path, root: Path) -> str:
    return entry.relative_to(root).as_posix()
