"""Files as lines: what the bytes of a file are, and what text a PDF shows. Cuts nothing into passages."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pypdf import PdfReader
from pypdf.errors import PyPdfError

from agents.research.corpus import SIZE_LIMIT_BYTES
from agents.research.vocabulary import words

Kind = Literal["python", "markdown", "rst", "html", "pdf", "code", "text"]
Encoding = Literal["utf-8", "latin-1"]

_KINDS: dict[str, Kind] = {
    ".py": "python", ".pyi": "python", ".pyw": "python", ".md": "markdown", ".markdown": "markdown",
    ".rst": "rst", ".html": "html", ".htm": "html", ".xhtml": "html", ".pdf": "pdf",
}  # fmt: skip
_CODE_SUFFIXES = frozenset(
    words(
        ".c .h .cc .cpp .hpp .cs .go .rs .java .kt .scala .js .jsx .mjs .ts .tsx .rb .php .swift .m .lua .pl "
        ".r .jl .sh .bash .zsh .sql .ex .exs .erl .hs .ml .clj .el .vim .css .scss .proto .cmake .zig"
    )
)
_PDF_ERRORS = (
    PyPdfError, OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, ArithmeticError,
    AssertionError, NotImplementedError, RecursionError,
)  # fmt: skip
"""pypdf meets malformed files with nearly any of these; none of them says more than "not readable"."""


class Unreadable(Exception):
    """A file that cannot be read as text; the message says why."""


@dataclass(frozen=True, slots=True)
class Page:
    """Lines with their ends. `number` is 0 for a file that has no pages."""

    number: int
    lines: tuple[bytes, ...]

    def text(self, start: int, end: int, encoding: Encoding) -> str:
        """Lines `start` to `end` (from 1, inclusive) byte for byte, without the last one's line end."""
        return b"".join(self.lines[start - 1 : end]).rstrip(b"\r\n").decode(encoding)


@dataclass(frozen=True, slots=True)
class Document:
    kind: Kind
    encoding: Encoding
    pages: tuple[Page, ...]

    def page(self, number: int) -> Page | None:
        return next((page for page in self.pages if page.number == number), None)


def kind_of(path: str) -> Kind:
    suffix = Path(path).suffix.lower()
    return _KINDS.get(suffix, "code" if suffix in _CODE_SUFFIXES else "text")


def read_document(path: Path, *, only_page: int = 0) -> Document:
    """Reads a file. Text that is not UTF-8 is read as Latin-1, which `encoding` then says.

    A PDF becomes the text that pypdf extracts, page by page (`only_page`: just that one).
    :raises Unreadable:
    """
    try:
        with path.open("rb") as file:
            body = file.read(SIZE_LIMIT_BYTES + 1)
    except OSError as error:
        raise Unreadable(f"unreadable: {error.strerror}") from error
    if len(body) > SIZE_LIMIT_BYTES:
        raise Unreadable(f"larger than {SIZE_LIMIT_BYTES // 1024**2} MiB")
    kind = kind_of(path.name)
    if kind == "pdf":
        return Document("pdf", "utf-8", _pdf_pages(body, only_page))
    if b"\0" in body:
        raise Unreadable("binary")
    encoding: Encoding = "utf-8"
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        encoding = "latin-1"
    return Document(kind, encoding, (Page(0, tuple(body.splitlines(keepends=True))),))


def _pdf_pages(body: bytes, only_page: int) -> tuple[Page, ...]:
    try:
        reader = PdfReader(io.BytesIO(body))
        numbers = [only_page] if only_page else range(1, len(reader.pages) + 1)
        texts = [(number, reader.pages[number - 1].extract_text()) for number in numbers]
    except _PDF_ERRORS as error:
        raise Unreadable(f"PDF that cannot be read: {type(error).__name__}: {error}") from error
    return tuple(Page(number, _lines(text)) for number, text in texts)


def _lines(text: str) -> tuple[bytes, ...]:
    """What pypdf extracts may hold lone surrogates; they become question marks, each time alike."""
    return tuple(text.encode("utf-8", "replace").splitlines(keepends=True))
