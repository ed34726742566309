"""Web pages, pictures of a terminal, Markdown: valid, complete, and without foreign markup."""

from __future__ import annotations

import base64
import re
import sys
from html.parser import HTMLParser
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from markdown_it import MarkdownIt

import rnnshapes
from rnnshapes import render
from rnnshapes.render import write_file
from rnnshapes.render.document import PAGE, Column, Drawing, Ink, Line, Row, Sheet, Span, Table
from rnnshapes.render.formats import html_page, markdown, svg
from rnnshapes.render.view import View
from rnnshapes.result import Result
from tests.helpers.results import KINDS, SIZES, result_of

#: Results that commands export; a golden file has formats of its own.
EXPORTED = [kind for kind in KINDS if kind != "golden"]
EVIL = "<script>a</script>&amp;\"'\x1b[31m\x00|b`_*[x](y) {0} -->]]>"
SVG = "{http://www.w3.org/2000/svg}"


def drawn(sheet: Sheet) -> list[list[Span]]:
    """Box characters, blocks, colours and a hostile name."""
    return [
        [Span("┌──┐"), Span("▀▄", Ink("#E69F00", "#0072B2")), Span("ok", Ink(meaning="good"))],
        [Span(f"│{EVIL}│")],
        [Span("└──┘ ```")],
    ]


DOCUMENT = (
    Line(EVIL, "strong"),
    Line(""),
    Line("# no heading; $x$ is no formula", "bad"),
    Table(
        EVIL,
        (Column(""), Column("a\nb"), Column("n", numeric=True)),
        (
            Row(("ok", f"x/{EVIL}", "1"), "good"),
            Row(("ok", "x/y", "3"), "good", ends_group=True),
            Row(("FAIL", "y\nz", "2"), "bad", ends_group=True),
        ),
    ),
    Drawing(EVIL, drawn),
    Drawing("does not fit", lambda sheet: []),
)


def text_of(result: Result, form: str, **options: Any) -> str:
    """The file as it would be written."""
    stream = TextIOWrapper(BytesIO(), encoding="utf-8", newline="\n")
    write_file.write_text(result, form, View(**options), stream)
    stream.flush()
    return stream.buffer.getvalue().decode("utf-8")


def xml(text: str) -> ET.Element:
    """An element with those in it, if it is XML."""
    return ET.fromstring(text)  # noqa: S314 - our own


class Page(HTMLParser):
    """The elements of a page, which have to be closed in their order."""

    VOID = ("meta", "img", "br", "wbr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append((self.open[-1] if self.open else "", data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of each element of a kind."""
        return [attrs for name, attrs in self.elements if name == tag]

    def texts(self, tag: str) -> list[str]:
        """The texts in elements of a kind."""
        return [data for name, data in self.words if name == tag]


# --- Web pages ----------------------------------------------------------------------------------


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if matplotlib were not installed."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)


@pytest.mark.parametrize("kind", EXPORTED)
def test_page_is_complete_and_loads_nothing(kind: str, no_plots: None) -> None:
    """A language, a title, a policy against all else, and tables with headings."""
    result = result_of(kind)
    text = text_of(result, "html")
    found = Page(text)
    assert text.startswith("<!doctype html>\n")
    assert found.all("html") == [{"lang": "en"}]
    (title,), (heading,) = found.texts("title"), found.texts("h1")
    command = result.schema.split(".")[1].split("/")[0]
    assert title == f"rnnshapes {command}: {heading}"
    policies = [meta["content"] for meta in found.all("meta") if "http-equiv" in meta]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    assert not {"script", "link", "iframe", "base", "form", "a"} & {
        tag for tag, _ in found.elements
    }
    names = {name for _, attrs in found.elements for name in attrs}
    assert not {name for name in names if name.startswith("on") or name in ("src", "href")}
    assert "prefers-color-scheme: dark" in text
    assert "url(" not in text
    assert "://" not in text.replace(str(getattr(result, "port", "")), "")
    tables = [b for b in render.to_document(result, View()) if isinstance(b, Table)]
    assert found.texts("caption") == [table.title for table in tables if table.title]
    rows = sum(len(table.rows) for table in tables)
    scopes = [attrs["scope"] for attrs in found.all("th")]
    assert scopes.count("row") == rows
    headed = sum(bool(column.heading) for table in tables for column in table.columns)
    assert scopes.count("col") == headed


def test_page_escapes_names_and_keeps_structure(no_plots: None) -> None:
    text = "".join(html_page.chunks(rnnshapes.inspect(), DOCUMENT, View()))
    found = Page(text)
    plain = EVIL.replace("\x1b", "\\x1b").replace("\x00", "\\x00")
    assert found.texts("h1") == [plain]
    assert found.texts("title") == [f"rnnshapes inspect: {plain}"]
    assert found.texts("caption") == found.texts("figcaption") == [plain]
    assert "".join(found.texts("th")).count(plain) == 1
    assert "\x1b" not in text
    assert "\x00" not in text
    assert len(found.all("tbody")) == 2
    assert found.all("figure") == [{"class": "figure"}]
    assert found.all("span") == [
        {"style": "color:#E69F00;background:#0072B2"},
        {"class": "good"},
    ]
    assert "".join(found.texts("pre")).count("\n") == 3
    assert [attrs.get("class") for attrs in found.all("tr")] == [None, "good", "good", "bad"]
    boxes = [attrs for tag, attrs in found.elements if attrs.get("tabindex") == "0"]
    assert [attrs["class"] for attrs in boxes] == ["box", "picture"]


def test_page_shows_the_plot_instead_of_drawings() -> None:
    found = Page("".join(html_page.chunks(rnnshapes.inspect(), DOCUMENT, View())))
    (image,) = found.all("img")
    kind, data = image["src"].split(",")
    assert kind == "data:image/svg+xml;base64"
    assert xml(base64.b64decode(data).decode("utf-8")).tag == f"{SVG}svg"
    assert image["alt"].startswith("rnnshapes inspect as a picture: <script>")
    assert (len(found.all("table")), found.all("pre")) == (1, [])
    assert text_of(rnnshapes.inspect(), "html") == text_of(rnnshapes.inspect(), "html")
    assert Page(text_of(result_of("golden"), "html")).all("img") == []


@pytest.mark.parametrize("form", ["html", "svg"])
def test_ascii_stream_gets_the_same_text(form: str, no_plots: None) -> None:
    result = rnnshapes.inspect(bidirectional=True)
    buffer = BytesIO()
    stream = TextIOWrapper(buffer, encoding="ascii")
    write_file.write_text(result, form, View(), stream)
    stream.flush()
    ascii_only = buffer.getvalue().decode("ascii")
    whole = text_of(result, form)
    assert "→" in whole
    if form == "html":
        assert Page(ascii_only).words == Page(whole).words
    else:
        assert list(xml(ascii_only).itertext()) == list(xml(whole).itertext())


# --- Pictures of a terminal ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", EXPORTED)
def test_svg_shows_the_lines_of_a_terminal(kind: str, monkeypatch: Any) -> None:
    """The terminal in which the command runs does not matter, and the file loads nothing."""
    result = result_of(kind)
    text = text_of(result, "svg")
    for variable, value in (("COLUMNS", "40"), ("LINES", "7"), ("NO_COLOR", "1"), ("TERM", "dumb")):
        monkeypatch.setenv(variable, value)
    assert text_of(result, "svg") == text
    assert not re.search(r"url\(|@font-face|href|<image|<script|on\w+=", text)
    assert text.count("://") == text.count('xmlns="http://www.w3.org/2000/svg"') == 1
    lines: dict[str, str] = {}
    for part in xml(text).iter(f"{SVG}text"):
        words = "".join(part.itertext()).replace("\xa0", " ")
        start = round(float(part.get("x")) / 12.64)
        line = lines.get(part.get("y"), "").ljust(start)
        assert len(line) == start, "two texts overlap"
        lines[part.get("y")] = line + words
    monkeypatch.setattr(render, "get_terminal_size", Size)
    shown = [line for line in repr(result).splitlines() if line]
    assert [line.rstrip() for line in lines.values()] == shown


class Size:
    """A terminal as wide as the picture."""

    columns = PAGE


def test_svg_is_xml_whatever_it_shows() -> None:
    """Hostile names, blocks and colours; its box holds all lines."""
    root = xml(svg.picture(DOCUMENT))
    assert root.find(f"{SVG}title").text == EVIL.replace("\x1b", "\\x1b").replace("\x00", "\\x00")
    words = "".join(root.itertext()).replace("\xa0", " ")
    assert words.count("<script>a</script>&amp;") == 6  # with the title
    texts = list(root.iter(f"{SVG}text"))
    _, top, _, height = map(float, root.get("viewBox").split())
    assert max(float(part.get("y")) for part in texts) + 5 < top + height
    grounds = [part.get("fill") for part in root.iter(f"{SVG}rect")]
    assert "#0072b2" in grounds
    assert all(part.get("lengthAdjust") == "spacingAndGlyphs" for part in texts)


def test_svg_omits_the_middle_and_html_does_not(no_plots: None) -> None:
    result = rnnshapes.trace(T=200, keras=False)
    lines = "".join(xml(text_of(result, "svg")).itertext()).replace("\xa0", " ")
    assert "190 steps" in lines
    found = Page(text_of(result, "html"))
    assert len(found.all("tr")) == 201


# --- Markdown -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EXPORTED)
def test_markdown_parses_to_titles_and_cells(kind: str) -> None:
    result = result_of(kind)
    blocks = render.to_document(result, View())
    tables = [block for block in blocks if isinstance(block, Table)]
    cells = [one_line(cell) for table in tables for row in table.rows for cell in row.cells]
    tokens = (
        MarkdownIt("commonmark")
        .enable(["table", "strikethrough"])
        .parse(text_of(result, "markdown"))
    )
    found = [plain(tokens[at + 1]) for at, token in enumerate(tokens) if token.type == "td_open"]
    assert found == cells
    heads = [plain(tokens[at + 1]) for at, t in enumerate(tokens) if t.type == "heading_open"]
    titles = [b.title for b in blocks if not isinstance(b, Line) and b.title]
    assert heads == [one_line(title) for title in titles]


def test_markdown_drawings_are_ascii_on_ascii_streams() -> None:
    result = rnnshapes.trace(cell="lstm", keras=False, show="y,h", **SIZES)
    parts = frozenset({"flow", "weights"})
    for shown in (result, rnnshapes.inspect(cell="lstm", **SIZES)):
        stream = TextIOWrapper(BytesIO(), encoding="ascii", newline="\n")
        write_file.write_text(shown, "markdown", View(parts=parts), stream)
        stream.seek(0)
        code = stream.read().split("```")[1::2]
        assert len(code) == 2
        assert not any("\\u" in drawing for drawing in code)


def test_markdown_escapes_all_markup() -> None:
    text = "".join(markdown.chunks(DOCUMENT))
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    kinds = [token.type for token in tokens]
    inner = {child.type for token in tokens for child in token.children or ()}
    assert inner <= {"text", "text_special", "strong_open", "strong_close", "softbreak"}
    assert kinds.count("heading_open") == 2
    assert kinds.count("fence") == 1
    assert "html_block" not in kinds
    clean = EVIL.replace("\x1b", "\\x1b").replace("\x00", "\\x00")
    texts = [plain(token) for token in tokens if token.type == "inline"]
    assert texts[:2] == [clean, "# no heading; $x$ is no formula"]
    assert f"x/{clean}" in texts
    (fence,) = [token for token in tokens if token.type == "fence"]
    assert fence.info == "text"
    assert fence.content.count("\n") == 3
    assert "$" not in re.sub(r"\\\$", "", text)


def plain(token: Any) -> str:
    """The text of a heading, a cell or a paragraph."""
    return "".join(child.content for child in token.children or ())


@pytest.mark.parametrize("kind", [*KINDS, "quantized"])
def test_columns_of_numbers_are_aligned(kind: str) -> None:
    """Each column in which all cells are numbers, and no other that has words alone."""
    result: Any = result_of(kind)
    for block in render.to_document(result, View(parts=frozenset({"all"}))):
        for number, column in enumerate(block.columns if isinstance(block, Table) else ()):
            cells = [row.cells[number] for row in block.rows if row.cells[number].strip()]
            if cells and all(NUMBER.fullmatch(cell) for cell in cells):
                assert column.numeric or column.heading in ("sample", "t"), column
            if not any(re.search(r"\d", cell) for cell in cells):
                assert not (cells and column.numeric), column


#: A number in a table, perhaps with a unit behind it.
NUMBER = re.compile(r"-?[\d,]+(\.\d+)?(e[-+]\d+)?%?")


def one_line(text: str) -> str:
    """As Markdown has it, which knows no lines in a cell."""
    return " ".join(text.replace("-\n", "-").split("\n")).strip()


# --- All formats --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["inspect", "trace", "step"])
def test_all_formats_contain_the_same_parts(kind: str, no_plots: None) -> None:
    """Each line, each title, and the first cell of each row."""
    result: Any = result_of("trace" if kind == "step" else kind)
    result = result.step(2) if kind == "step" else result
    parts = frozenset({"all"})
    wanted: list[str] = []
    for block in render.to_document(result, View(parts=parts)):
        if isinstance(block, Table):
            wanted += [row.cells[0] for row in block.rows]
        elif isinstance(block, Drawing):
            wanted += ["".join(span.text for span in block.draw(Sheet())[0])]
        wanted += [block.text if isinstance(block, Line) else block.title]
    page = text_of(result, "html", parts=parts)
    picture = text_of(result, "svg", parts=parts)
    for text in (
        text_of(result, "markdown", parts=parts),
        "".join(words for _, words in Page(page).words),
        "".join(xml(picture).itertext()),
    ):
        squeezed = squeeze(text)
        assert [words for words in wanted if squeeze(words) not in squeezed] == []


def squeeze(text: str) -> str:
    """Return a text without spaces, marks of Markdown, and rules."""
    return re.sub(r"[\s\\*]", "", text)


@pytest.mark.parametrize("kind", ["trace", "step"])
def test_plot_on_page_does_not_replace_a_step(kind: str) -> None:
    result: Any = result_of("trace")
    found = Page(text_of(result if kind == "trace" else result.step(1), "html"))
    assert "x_1" in "".join(found.texts("pre"))


# --- The command --------------------------------------------------------------------------------

CHOSEN = [
    (["inspect", "--no-keras", "-o", "a.html"], "<!doctype html>"),
    (["inspect", "--no-keras", "-o", "a.HTM"], "<!doctype html>"),
    (["inspect", "--no-keras", "-o", "a.svg"], "<svg "),
    (["trace", "--no-keras", "-o", "a.svg"], "<svg "),
]


@pytest.mark.parametrize(("args", "start"), CHOSEN, ids=lambda v: " ".join(v)[-20:])
def test_ending_decides_the_format(args, start, run, in_folder) -> None:
    assert run(*args).status == 0
    written = Path(args[-1]).read_text("utf-8")
    assert written.startswith(start)
    form = write_file.ENDINGS[Path(args[-1]).suffix.lower()]
    assert run(*args[:2], "--format", form).out == written


@pytest.mark.parametrize("command", ["inspect", "trace", "verify"])
def test_c_header_ending_exits_2(command, run, in_folder) -> None:
    done = run(command, "-o", "a.h")
    assert done.status == 2
    assert "a.h" in done.err
    assert run(command, "--format", "c").status == 2
