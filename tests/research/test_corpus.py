"""Which files are read, how they are cut, and how the index is shared."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from agents.research.artifacts import CorpusSummary
from agents.research.chunks import Chunk, chunks_of
from agents.research.corpus import OutsideCorpus, locate, survey
from agents.research.documents import Unreadable, read_document
from agents.research.index import open_index, summary_of
from agents.research.retrieve import search
from agents.research.sections import MAX_LINES


def write_pdf(path: Path, pages: Sequence[Sequence[str]]) -> None:
    writer = PdfWriter()
    for lines in pages:
        page = writer.add_blank_page(width=595, height=842)
        font = DictionaryObject(
            {
                NameObject("/Type"): NameObject("/Font"),
                NameObject("/Subtype"): NameObject("/Type1"),
                NameObject("/BaseFont"): NameObject("/Helvetica"),
            }
        )
        fonts = DictionaryObject({NameObject("/F1"): font})
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
        stream = DecodedStreamObject()
        shown = "".join(f"({line}) Tj 0 -16 Td " for line in lines)
        stream.set_data(f"BT /F1 12 Tf 50 780 Td {shown}ET".encode())
        page[NameObject("/Contents")] = stream
    writer.write(path)


def chunks(path: Path) -> list[Chunk]:
    return list(chunks_of(read_document(path)))


def reasons(root: Path) -> dict[str, str]:
    return {item.path: item.reason for item in survey([str(root)]).skipped}


def test_what_is_left_out_is_listed_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("words")
    (tmp_path / ".git").mkdir()
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "pyvenv.cfg").write_text("")
    (tmp_path / "image.png").write_bytes(b"png")
    (tmp_path / "huge.txt").write_bytes(b"a" * (5 * 1024 * 1024 + 1))
    os.mkfifo(tmp_path / "pipe")
    skipped = reasons(tmp_path)
    assert set(skipped) == {".git/", "env/", "image.png", "huge.txt", "pipe"}
    assert "5 MiB" in skipped["huge.txt"]
    assert [source.path for source in survey([str(tmp_path)]).sources] == ["kept.txt"]


def test_links_neither_loop_nor_lead_out(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (root / "loop").symlink_to(root)
    (root / "self").symlink_to(root / "self")
    (root / "out.txt").symlink_to(tmp_path / "secret.txt")
    skipped = reasons(root)
    assert set(skipped) == {"loop", "self", "out.txt"}
    assert "out of the corpus" in skipped["out.txt"]


@pytest.mark.parametrize("path", ["../secret.txt", "/etc/passwd", "out.txt"])
def test_a_citation_cannot_lead_out_of_its_root(path: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (root / "out.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(OutsideCorpus):
        locate([str(root)], 0, path)


def test_python_is_cut_at_definitions_with_their_decorators(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        '"""About.\n\ndef not_a_function(): a string\n"""\n\n\nclass Box:\n    size = 1\n\n'
        "    # A comment.\n    @property\n    def lid(self):\n        return 1\n\n\n"
        "async def close():\n    pass\n"
    )
    found = {chunk.heading: (chunk.start, chunk.end) for chunk in chunks(path)}
    assert found == {"": (1, 4), "Box": (7, 8), "Box.lid": (10, 13), "close": (16, 17)}


def test_a_syntax_error_does_not_keep_a_file_from_being_read(tmp_path: Path) -> None:
    path = tmp_path / "old.py"
    path.write_text("def f(:\n    print 'x'\n")
    assert [chunk.heading for chunk in chunks(path)] == ["f"]


def test_markdown_is_cut_at_headings_but_not_in_fences(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("# Top\n\ntext\n\n```\n# no heading\n```\n\n## Sub\n\nmore\n\nOther\n-----\n\nend\n")
    assert [chunk.heading for chunk in chunks(path)] == ["Top", "Top > Sub", "Top > Other"]


def test_restructured_text_is_cut_at_underlined_titles(tmp_path: Path) -> None:
    path = tmp_path / "a.rst"
    path.write_text("Top\n===\n\ntext\n\nSub\n---\n\nmore\n")
    assert [(chunk.heading, chunk.start) for chunk in chunks(path)] == [("Top", 1), ("Top > Sub", 6)]


def test_other_code_is_cut_at_its_definitions(tmp_path: Path) -> None:
    path = tmp_path / "a.rs"
    path.write_text("use std;\n\n/// Opens.\npub fn open() {\n}\n\nstruct Door {\n}\n")
    assert [(chunk.heading, chunk.start) for chunk in chunks(path)] == [("", 1), ("open", 3), ("Door", 7)]


def test_html_is_searched_without_tags_and_cited_by_its_own_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_text(
        "<html><head><script>let x = 'nothing';</script></head>\n<body><h1>Kettles</h1>\n"
        "<p>A kettle <b>boils</b>\nwater &amp; sings.</p>\n</body></html>\n"
    )
    (chunk,) = chunks(path)
    assert "A kettle boils water & sings." in chunk.text
    assert "nothing" not in chunk.text
    assert (chunk.start, chunk.end) == (2, 4)
    assert chunk.quote.splitlines()[-1] == "water &amp; sings.</p>"


def test_a_pdf_is_cited_by_page_and_line(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    write_pdf(path, [["First page"], ["A kettle boils", "water and sings"]])
    found = chunks(path)
    assert [(chunk.page, chunk.start, chunk.end) for chunk in found] == [(1, 1, 1), (2, 1, 2)]
    assert found[1].quote == "A kettle boils\nwater and sings"


@pytest.mark.parametrize("body", [b"no pdf", b"%PDF-1.7\n1 0 obj\n<<", b""])
def test_a_broken_pdf_is_unreadable_and_nothing_worse(body: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(body)
    with pytest.raises(Unreadable):
        read_document(tmp_path / "a.pdf")


def test_text_that_is_not_utf8_is_read_as_latin1_and_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"caf\xe9 au lait\n")
    document = read_document(tmp_path / "a.txt")
    assert document.encoding == "latin-1"
    assert document.pages[0].text(1, 1, document.encoding) == "café au lait"


def test_passages_are_bounded_and_leave_nothing_out(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    lines = [f"line {number}" if number % 7 else "" for number in range(1, 500)] + ["x" * 50_000]
    path.write_text("\n".join(lines))
    found = chunks(path)
    assert all(chunk.end - chunk.start < MAX_LINES and len(chunk.quote) <= 6_400 for chunk in found)
    held = {number for chunk in found for number in range(chunk.start, chunk.end + 1)}
    assert held >= {number for number, line in enumerate(lines, 1) if line}
    assert sum(chunk.quote.count("x") for chunk in found) == 50_000


def build(root: str, cache: str) -> CorpusSummary:
    with open_index([root], Path(cache), lambda: None) as index:
        return summary_of(index)


def test_processes_that_start_together_share_one_index(tmp_path: Path) -> None:
    corpus, cache = tmp_path / "corpus", tmp_path / "cache"
    corpus.mkdir()
    for number in range(50):
        (corpus / f"{number}.md").write_text(f"# Heading {number}\n\nkettle {number}\n" * 20)
    code = (
        "import sys\nfrom pathlib import Path\nfrom agents.research.index import open_index, summary_of\n"
        "with open_index([sys.argv[1]], Path(sys.argv[2]), lambda: None) as index:\n"
        "    print(summary_of(index).files)"
    )
    command = [sys.executable, "-c", code, str(corpus), str(cache)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate(timeout=30)[0].strip() for process in started] == ["50"] * 3
    assert len(list(cache.glob("*.sqlite"))) == 1
    assert list(cache.glob("*.tmp")) == []


def test_a_changed_corpus_has_another_index_and_a_damaged_one_is_built_again(tmp_path: Path) -> None:
    corpus, cache = tmp_path / "corpus", tmp_path / "cache"
    corpus.mkdir()
    (corpus / "a.txt").write_text("kettle")
    first = build(str(corpus), str(cache))
    (cache / f"{first.digest}.sqlite").write_bytes(b"damaged")
    assert build(str(corpus), str(cache)) == first
    (corpus / "b.bin2").write_bytes(b"\0\0")
    second = build(str(corpus), str(cache))
    assert second.digest != first.digest
    assert [(item.path, item.reason) for item in second.skipped] == [("b.bin2", "binary")]


def test_an_open_index_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("kettle")
    with (
        open_index([str(tmp_path)], tmp_path / "cache", lambda: None) as index,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        index.connection.execute("DELETE FROM spans")


@pytest.mark.parametrize(
    "question", ['" OR kettle', "NEAR(a b", "path: * ^ - +", "", "the of and", "🫖", "x" * 5_000]
)
def test_no_question_is_taken_for_query_syntax(question: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a kettle near a path\n")
    with open_index([str(tmp_path)], tmp_path / "cache", lambda: None) as index:
        assert all(0 <= hit.relevance <= 1 for hit in search(index, question, question, 5))


@pytest.mark.parametrize("asked", ["readHeaderLine", "read_header_line", "how are header lines read?"])
def test_identifiers_are_found_whole_and_by_their_parts(asked: str, tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("function readHeaderLine() {\n}\n")
    (tmp_path / "b.py").write_text("def read_header_line():\n    pass\n")
    (tmp_path / "c.txt").write_text("nothing of the kind\n")
    with open_index([str(tmp_path)], tmp_path / "cache", lambda: None) as index:
        assert {hit.path for hit in search(index, asked, asked, 5)} == {"a.js", "b.py"}


@pytest.mark.parametrize("suffix", [".py", ".js", ".c", ".md", ".rst", ".html", ".txt"])
@pytest.mark.parametrize(
    "body", ["a" * 10**6, "# " + " " * 10**6 + "x", "'\"" * 300_000, "<a " * 200_000, "aB" * 10**5]
)
def test_hostile_lines_cost_no_more_than_others(suffix: str, body: str, tmp_path: Path) -> None:
    (tmp_path / f"a{suffix}").write_text(body)
    started = time.process_time()
    with open_index([str(tmp_path)], tmp_path / "cache", lambda: None):
        pass
    assert time.process_time() - started < 5
