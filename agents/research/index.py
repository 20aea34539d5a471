"""The search index of a corpus: one SQLite FTS5 file per corpus digest, built once, then only read.

Worker processes share the file: a lock lets one build while the others wait, and a rename makes it
appear whole. A file that SQLite cannot read is built again.
"""

import fcntl
import os
import re
import sqlite3
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from agents.research.artifacts import CorpusSummary, SkippedFile
from agents.research.chunks import chunks_of
from agents.research.corpus import Corpus, Skipped, Source, survey
from agents.research.documents import Document, Unreadable, read_document

FORMAT = "2"
"""Part of the digest: an index of another format is another file."""
KEPT_INDEXES = 8
_LISTED_SKIPS = 200

_SCHEMA = """
CREATE VIRTUAL TABLE chunks USING fts5(
    path, heading, body, parts, tokenize = "porter unicode61 remove_diacritics 2");
CREATE TABLE spans(
    id INTEGER PRIMARY KEY, source INTEGER, page INTEGER, start INTEGER, end INTEGER, kind TEXT, quote TEXT);
CREATE TABLE sources(id INTEGER PRIMARY KEY, root INTEGER, path TEXT, encoding TEXT, size INTEGER);
CREATE TABLE skipped(path TEXT, reason TEXT);
CREATE INDEX spans_by_source ON spans(source, id);
"""
_UNJOURNALED = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
"""A build that dies leaves a file that nobody looks at."""
_CAMEL = re.compile(r"\b(?:[A-Z]+[a-z0-9]+|[a-z][a-z0-9]*)(?:[A-Z][a-z0-9]*)+\b")
_HUMP = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Index:
    """An open index, read-only. To be used in the thread that opened it."""

    connection: sqlite3.Connection
    digest: str


@contextmanager
def open_index(roots: Sequence[str], cache: Path, progress: Callable[[], None]) -> Generator[Index]:
    """The index, open for reading, of the corpus as it is now, which is built if need be.

    `progress` is called now and then while building.
    :raises FileNotFoundError: when a root does not exist.
    """
    corpus = survey(roots, FORMAT)
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = cache / f"{corpus.digest}.sqlite"
    if not _readable(target):
        with _locked(target.with_suffix(".lock")):
            if not _readable(target):
                _build(corpus, target, progress)
                _prune(cache, target)
    with closing(_connect(target)) as connection:
        yield Index(connection, corpus.digest)


def summary_of(index: Index) -> CorpusSummary:
    """What the index holds and what was left out."""
    connection = index.connection
    files, size, latin1 = connection.execute(
        "SELECT count(*), coalesce(sum(size), 0), coalesce(sum(encoding = 'latin-1'), 0) FROM sources"
    ).fetchone()
    (chunks,) = connection.execute("SELECT count(*) FROM spans").fetchone()
    (skipped_total,) = connection.execute("SELECT count(*) FROM skipped").fetchone()
    rows = connection.execute("SELECT path, reason FROM skipped ORDER BY path LIMIT ?", (_LISTED_SKIPS,))
    return CorpusSummary(
        files=files,
        chunks=chunks,
        size_bytes=size,
        digest=index.digest,
        latin1_files=latin1,
        skipped=tuple(SkippedFile(path=path, reason=reason) for path, reason in rows),
        skipped_total=skipped_total,
    )


def _connect(target: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{target.resolve().as_uri()}?mode=ro&immutable=1", uri=True)


def _readable(target: Path) -> bool:
    if not target.exists():
        return False
    try:
        with closing(_connect(target)) as connection:
            connection.execute("SELECT rowid FROM chunks LIMIT 1").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
        os.utime(target)
    except (sqlite3.DatabaseError, OSError):
        return False
    return bool(version)


@contextmanager
def _locked(path: Path) -> Generator[None]:
    """Holds a lock on a file; the system frees it when the process dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(corpus: Corpus, target: Path, progress: Callable[[], None]) -> None:
    handle, name = tempfile.mkstemp(dir=target.parent, prefix="building-", suffix=".tmp")
    os.close(handle)
    try:
        with closing(sqlite3.connect(name, isolation_level=None)) as connection:
            connection.executescript(f"{_UNJOURNALED}{_SCHEMA} BEGIN;")
            _add_skipped(connection, corpus.skipped)
            for number, source in enumerate(corpus.sources, 1):
                _add_source(connection, number, source)
                progress()
            connection.execute("COMMIT")
            connection.execute("PRAGMA user_version = 1")
        Path(name).replace(target)
    finally:
        Path(name).unlink(missing_ok=True)


def _add_source(connection: sqlite3.Connection, number: int, source: Source) -> None:
    try:
        document = read_document(source.absolute)
    except Unreadable as error:
        _add_skipped(connection, [Skipped(source.path, str(error))])
        return
    _add_document(connection, number, source, document)


def _add_document(connection: sqlite3.Connection, number: int, source: Source, document: Document) -> None:
    path = _storable(source.path)
    connection.execute(
        "INSERT INTO sources VALUES (?, ?, ?, ?, ?)",
        (number, source.root, path, document.encoding, source.size_bytes),
    )
    place = source.root_name + "/" + path.rsplit(".", 1)[0]
    words = " ".join(re.split(r"[/._-]+", place))
    for chunk in chunks_of(document):
        row = connection.execute(
            "INSERT INTO chunks(path, heading, body, parts) VALUES (?, ?, ?, ?)",
            (words, f"{chunk.heading} {camel_parts(chunk.heading)}", chunk.text, camel_parts(chunk.text)),
        ).lastrowid
        own_quote = None if chunk.quote == chunk.text else chunk.quote
        connection.execute(
            "INSERT INTO spans VALUES (?, ?, ?, ?, ?, ?, ?)",
            (row, number, chunk.page, chunk.start, chunk.end, f"{chunk.kind}:{chunk.heading}", own_quote),
        )


def _add_skipped(connection: sqlite3.Connection, skipped: Sequence[Skipped]) -> None:
    connection.executemany(
        "INSERT INTO skipped VALUES (?, ?)", [(_storable(item.path), item.reason) for item in skipped]
    )


def camel_parts(text: str) -> str:
    """The words in camelCase identifiers; snake_case is taken apart by the tokenizer."""
    return " ".join(dict.fromkeys(part for name in _CAMEL.findall(text) for part in _HUMP.findall(name)))


def _storable(path: str) -> str:
    """File names need not be text; undecodable bytes are shown as escapes."""
    return path.encode("utf-8", "backslashreplace").decode()


def _prune(cache: Path, newest: Path) -> None:
    """Removes the indexes that were not used for longest. Whoever has one open keeps it."""
    with suppress(FileNotFoundError):
        others = [path for path in cache.glob("*.sqlite") if path != newest]
        for path in sorted(others, key=lambda path: path.stat().st_mtime)[: -KEPT_INDEXES + 1]:
            path.unlink()
