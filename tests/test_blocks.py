"""Lines, tables and drawings on a terminal, in Markdown and in HTML."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterable
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rnnshapes.render import palette
from rnnshapes.render.document import (
    COLUMN_GAP,
    PAGE,
    STRONG,
    Column,
    Document,
    Drawing,
    Ink,
    Line,
    Row,
    Sheet,
    Span,
    Table,
    for_encoding,
)
from rnnshapes.render.formats import html_elements, html_page, markdown, notebook, terminal
from rnnshapes.render.view import View
from tests.helpers.results import result_of

TABLE = Table("a title", (Column("n", numeric=True), Column("text")), (Row(("1", "one")),))
DRAWING = Drawing("", lambda sheet: [[Span("drawn")]])
NOTHING = Drawing("never", lambda sheet: [])
BLOCKS = {"line": Line("text"), "gap": Line(""), "table": TABLE, "drawing": DRAWING, "no": NOTHING}


def on_terminal(document: Document, width: int = 80) -> str:
    """Return what a terminal of this width shows, without colours."""
    stream = StringIO()
    terminal.draw(document, terminal.plain(stream, width))
    return stream.getvalue()


@pytest.mark.parametrize("first", BLOCKS)
def test_one_empty_line_is_around_tables_and_drawings(first: str) -> None:
    """None stands between lines of text, and a drawing without lines leaves no trace."""
    for names in itertools.product([first], BLOCKS, BLOCKS):
        blocks = [name for name in names if name != "no"]
        text = on_terminal(tuple(BLOCKS[name] for name in names))
        expected: list[str] = []
        for before, name in zip([None, *blocks], blocks, strict=False):
            is_block = "table" in (before, name) or "drawing" in (before, name)
            if before and is_block and "gap" not in (before, name):
                expected.append("gap")
            expected.append(name)
        if names[0] == "no" and blocks and blocks[0] in ("table", "drawing"):
            expected.insert(0, "gap")
        shown = {
            "line": "text\n",
            "gap": "\n",
            "table": on_terminal((TABLE,)),
            "drawing": "drawn\n",
        }
        assert text == "".join(shown[name] for name in expected), names


def test_columns_of_high_rank_give_way() -> None:
    """Those of one rank together; what is left out is named."""
    ranks = {"zero": 0, "second": 2, "first": 1, "other": 1, "third\nlong": 3, "": 4}
    columns = tuple(Column(name, rank=rank) for name, rank in ranks.items())
    widths = [max(map(len, name.split("\n"))) for name in ranks]
    widths[-1] = 9
    table = Table("", columns, (Row(("a", "b", "c", "d", "e", "f" * 9)),), elsewhere="csv")
    seen = set()
    for width in range(4, 50):
        lines = on_terminal((table,), width).splitlines()
        kept = {0}
        for rank in range(1, 5):
            together = [
                n for n, each in zip(widths, ranks.values(), strict=True) if each in (*kept, rank)
            ]
            if sum(together) + COLUMN_GAP * (len(together) - 1) <= width:
                kept.add(rank)
        cells = [cell for cell, rank in zip("abcde", ranks.values(), strict=False) if rank in kept]
        row = next(line for line in lines if line.startswith("a"))
        assert row.replace("f", "").split() == cells
        assert ("f" in row) == (4 in kept)
        hidden = [name.split("\n")[0] for name, rank in ranks.items() if name and rank not in kept]
        rest = "".join("".join(lines[lines.index(row) + 1 :]).split())
        assert [name for name in hidden if name not in rest] == []
        assert ("csv" in rest) == bool(hidden)
        seen.add(frozenset(kept))
    assert {0} in seen
    assert {0, 1, 2, 3, 4} in seen


def test_many_hidden_columns_are_counted() -> None:
    columns = (Column("t"), *(Column(f"h[{i}]\nNumPy", rank=1) for i in range(5)))
    table = Table("", columns, (Row(("0", *["0.12345678"] * 5)),))
    left_out = " ".join(on_terminal((table,), 40).split())
    left_out = left_out.rpartition(" 0 ")[2]
    assert re.findall(r"h\[\d\]", left_out) == ["h[0]", "h[4]"]
    assert " 5 " in left_out
    few = Table("", columns[:5], (Row(("0", *["0.12345678"] * 4)),))
    assert re.findall(r"h\[\d\]", on_terminal((few,), 40)) == [f"h[{i}]" for i in range(4)]
    assert "h[" not in on_terminal((few,), 80).partition("0.1")[2]


def test_numbers_are_aligned_to_the_right() -> None:
    rows = tuple(Row(cells) for cells in (("1", "a"), ("1,000", "abc")))
    lines = on_terminal((Table("", (Column("n", numeric=True), Column("text")), rows),))
    assert lines.splitlines()[-2:] == ["    1  a", "1,000  abc"]
    text = "".join(markdown.chunks((Table("", (Column("n", numeric=True), Column("t")), rows),)))
    assert re.search(r"\n\| ---: \| --- \|\n", text)


def test_groups_of_rows_are_apart() -> None:
    rows = (Row(("a",), ends_group=True), Row(("b",)), Row(("c",), ends_group=True))
    table = Table("", (Column("name"),), rows)
    lines = on_terminal((table,)).splitlines()
    assert len(lines) == len(on_terminal((Table("", table.columns, rows[1:]),)).splitlines()) + 2
    html = "".join(notebook.chunks((table,)))
    bodies = re.findall(r"<tbody>(.*?)</tbody>", html, re.DOTALL)
    assert [re.findall(r"<tr.*?>.*?([abc])<", body) for body in bodies] == [["a"], ["b", "c"]]


#: What COLUMNS says, and how wide the screen is; None if it is as wide as the output allows.
SCREENS = {
    **dict.fromkeys(["", "0", "000", "-80", "80.0", "wide", "100000"]),
    "80": 80,
    "1": 1,
    "00120": 120,
    "99999": 99_999,
}


@pytest.mark.parametrize("columns", SCREENS, ids=lambda text: text[:9])
def test_screen_is_as_wide_as_columns_says(columns: str, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    width = terminal.screen(StringIO()).width
    assert width == (SCREENS[columns] or terminal.UNLIMITED)
    sheet = terminal.sheet(terminal.plain(StringIO(), width))
    assert sheet.width == (SCREENS[columns] or PAGE)


def test_files_have_no_colours_or_trailing_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """FORCE_COLOR does not change that."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    table = TABLE._replace(rows=(Row(("1", "one"), "bad"), Row(("2", "longer"))))
    drawing = Drawing("", lambda sheet: [[Span("drawn  ", STRONG)]])
    text = on_terminal((Line("text", "bad"), table, drawing))
    first, _, title, headings, rule, *rest = text.split("\n")
    assert (first, title, headings, len({*rule})) == ("text", "a title", "n  text", 1)
    assert rest == ["1  one", "2  longer", "", "drawn", ""]


@pytest.mark.parametrize(
    ("terminals", "kind", "width"),
    [
        ({2: 73, 0: 61}, "pipe", 73),
        ({0: 61}, "pipe", 61),
        ({2: 0, 0: 61}, "pipe", None),
        ({}, "pipe", None),
        ({2: 73, 0: 61}, "file", None),
        ({2: 73, 0: 61}, "memory", None),
    ],
)
def test_pipes_are_as_wide_as_the_terminal(
    terminals: dict[int, int], kind: str, width: int | None, tmp_path: Path, monkeypatch: Any
) -> None:
    """Standard error tells the width, or else standard input; files have no width."""

    def size_of(descriptor: int) -> os.terminal_size:
        if descriptor not in terminals:
            raise OSError
        return os.terminal_size((terminals[descriptor], 24))

    monkeypatch.setattr(os, "get_terminal_size", size_of)
    if kind == "memory":
        assert terminal.screen(StringIO()).width == terminal.UNLIMITED
        return
    read, write = os.pipe()
    with os.fdopen(write, "w") as pipe, (tmp_path / "file").open("w") as file:
        stream = pipe if kind == "pipe" else file
        assert terminal.screen(stream).width == (width or terminal.UNLIMITED)
    os.close(read)


def test_wrapped_lines_are_indented() -> None:
    line = Line("first " + "word " * 30, indent=8)
    for width, indent in ((80, 8), (60, 8), (59, 2)):
        first, *others = on_terminal((line,), width).splitlines()
        assert first.startswith("first")
        assert others
        assert all(re.match(rf" {{{indent}}}\w", other) for other in others)
        assert all(len(each) <= width for each in (first, *others))
    started = on_terminal((Line("  " + "word " * 30, indent=4),), 70).splitlines()
    assert all(re.match(r"    \w", each) for each in started)
    assert on_terminal((Line("  short", indent=4),), 70) == "  short\n"


def colourful(colours: str, width: int = 60) -> Console:
    """Return a terminal of so many colours, as Rich calls them."""
    return Console(
        file=StringIO(),
        width=width,
        height=20,
        force_terminal=True,
        color_system=colours,
        highlight=False,
        markup=False,
        emoji=False,
    )


def without_codes(text: str) -> list[str]:
    """Return the lines of what a terminal gets, without its codes."""
    return [line.rstrip() for line in re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()]


def test_colours_of_a_terminal_change_no_text() -> None:
    document = (Line("a"), Line("b", "bad"), Line(""), TABLE, DRAWING, Line("c", "good"))
    screen = colourful("truecolor")
    terminal.draw(document, screen)
    shown = screen.file.getvalue()
    assert without_codes(shown) == on_terminal(document, 60).splitlines()
    coloured = [line for line in shown.splitlines() if "\x1b" in line]
    assert [word for word in ("b", "a title", "c") if not any(word in ln for ln in coloured)] == []
    assert not any(re.search(r"^a\b", line) and "\x1b" in line for line in shown.splitlines())
    assert terminal.sheet(screen) == Sheet(60, screen.encoding, 20)
    assert terminal.sheet(terminal.plain(StringIO(), 60)).height is None


@pytest.mark.parametrize(
    ("colours", "codes"),
    [("truecolor", ("38;2;0;114;178", "48;2;230;159;0")), ("standard", ("34", "43")), (None, ())],
)
def test_drawings_have_the_colours_of_their_ink(colours: Any, codes: Any) -> None:
    """On a terminal of 16 colours, those that stand for them."""
    blue, yellow = palette.CATEGORIES[:2]
    lines = [[Span("both", Ink(blue, yellow)), Span(" plain")], [], [Span("strong", STRONG)]]
    screen = colourful(colours)
    terminal.draw((Drawing("", lambda sheet: lines),), screen)
    encoded = terminal.encode_lines(lines, colourful(colours))
    for found in (screen.file.getvalue().splitlines(), encoded):
        assert without_codes("\n".join(found)) == ["both plain", "", "strong"]
        assert [code for code in codes if code not in found[0].split("both")[0]] == []
        assert ("\x1b[1m" in found[2]) == (colours is not None)
        assert "\x1b" not in found[0].partition(" plain")[2].replace("\x1b[0m", "")


@pytest.mark.parametrize("make", [terminal.plain, terminal.screen])
def test_text_is_no_markup_on_a_terminal(make: Any, monkeypatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = StringIO()
    hostile = "[bold]x[/bold] :smile: 3.14 'a' None"
    terminal.draw((Line(hostile), Table("", (Column("x"),), (Row((hostile,)),))), make(stream))
    assert stream.getvalue().count(hostile) == 2


def test_narrow_tables_break_names_where_a_reader_would() -> None:
    table = Table("", (Column("layer"),), (Row(("first/second/third",)), Row(("(2, 3) → (2, 4)",))))
    lines = on_terminal((table,), 12).splitlines()
    assert [line.strip() for line in lines[-5:]] == [
        "first/",
        "second/",
        "third",
        "(2, 3)",
        "→ (2, 4)",
    ]
    assert on_terminal((table,), 18).splitlines()[-2:] == ["first/second/third", "(2, 3) → (2, 4)"]


def test_tables_are_ascii_where_they_have_to_be() -> None:
    for encoding, rule in (("utf-8", "─"), ("ascii", "-")):
        stream = TextIOWrapper(BytesIO(), encoding=encoding)
        terminal.draw((TABLE._replace(title="a → b"),), terminal.plain(stream))
        stream.flush()
        text = stream.buffer.getvalue().decode(encoding)
        assert set(text.splitlines()[2]) == {rule}
        assert text.startswith("a → b\n" if encoding == "utf-8" else "a -> b\n")
    assert not on_terminal((TABLE._replace(title=""),)).startswith("\n")


def test_titles_of_drawings_stand_above_them() -> None:
    titled = DRAWING._replace(title="its title")
    assert on_terminal((Line("a"), titled)) == "a\n\nits title\ndrawn\n"


def test_hints_and_names_with_hyphens_stay_whole() -> None:
    """A terminal wraps a hint, so that it is copied as one line."""
    stream = StringIO()
    terminal.draw_hint("rnnshapes trace " + "--T 10 " * 20, terminal.plain(stream, 40))
    assert stream.getvalue().rstrip("\n").count("\n") == 0
    lines = on_terminal((Line("a " * 17 + "recurrent-kernel", indent=2),), 40).splitlines()
    assert lines[-1].strip() == "recurrent-kernel"


def marked(document: Document) -> str:
    """Return HTML in which each element names its roles."""
    return "".join(html_elements.elements(document, lambda roles: f" [{roles}]"))


def test_html_lines_are_paragraphs_with_their_meaning() -> None:
    """Without text there is none, but space above the next one."""
    document = (Line("a"), Line(""), Line("b", "bad"), Line("c"))
    text = marked(document)
    assert re.findall(r"<p \[(.*?)\]>(.*?)</p>", text) == [
        ("line plain", "a"),
        ("line bad apart", "b"),
        ("line plain", "c"),
    ]
    assert text.count("<") == 6


def test_html_tables_have_headings_of_rows_and_columns() -> None:
    """The first column with a heading names the rows."""
    columns = (Column(""), Column("layer\nname"), Column("n", numeric=True))
    table = Table("<t>", columns, (Row(("ok", "a/b", "1"), "strong"), Row(("", "c\nd", "2"))))
    text = marked((table,))
    head, first, second = re.findall(r"<tr.*?</tr>", text)
    cell = r"<(t[hd])(?: scope=\"(\w+)\")? \[(.*?)\]>(.*?)</(t[hd])>"
    assert [
        (tag, scope, roles, content) for tag, scope, roles, content, _ in re.findall(cell, head)
    ] == [
        ("td", "", "text", ""),
        ("th", "col", "heading text", "layer<br>name"),
        ("th", "col", "number", "n"),
    ]
    assert [each[:4] for each in re.findall(cell, first)] == [
        ("td", "", "text", "ok"),
        ("th", "row", "name text", "a/<wbr>b"),
        ("td", "", "number", "1"),
    ]
    assert [each[3] for each in re.findall(cell, second)] == ["", "c<br>d", "2"]
    assert all(opened == closed for opened, *_, closed in re.findall(cell, text))
    assert (first.startswith("<tr [strong]>"), second.startswith("<tr [plain]>")) == (True, True)
    assert re.search(r"<caption \[title\]>&lt;t&gt;</caption>", text)
    assert "<caption" not in marked((table._replace(title=""),))


#: Inks, with the style or the role of what is drawn with them.
INKS: list[tuple[Ink, str]] = [
    (Ink("#123456", "", "plain"), 'style="color:#123456"'),
    (Ink("", "#654321", "plain"), 'style="background:#654321"'),
    (Ink("#123456", "#654321", "strong"), "color:#123456;background:#654321;font-weight:bold"),
    (Ink("#123456", "", "bad"), "font-weight:bold"),
    (Ink("", "", "dim"), "[dim]"),
    (Ink("", "", "bad"), "[bad]"),
]


@pytest.mark.parametrize(("ink", "look"), INKS)
def test_html_drawings_have_their_colours(ink: Ink, look: str) -> None:
    drawing = Drawing("<d>", lambda sheet: [[Span("a<b", ink), Span(" plain")], [Span("end")]])
    text = marked((drawing, NOTHING))
    assert re.search(rf"<span [^>]*{re.escape(look)}[^>]*>a&lt;b</span> plain\nend\n", text)
    assert text.count("font-weight") == ("font-weight" in look)
    assert "<figcaption [title]>&lt;d&gt;</figcaption>" in text
    assert text.count("<figure") == text.count("</figure>") == 1
    assert "<figcaption" not in marked((DRAWING,))


def page(document: Document) -> str:
    """Return a page without a plot."""
    heading = Line("heading")
    return "".join(html_page.chunks(result_of("golden"), (heading, *document), View()))


@pytest.mark.parametrize("make", [notebook.chunks, page], ids=["notebook", "page"])
def test_html_looks_differ_by_meaning(make: Callable[[Document], Iterable[str]]) -> None:
    """Text in plain needs no look of its own."""
    lines = ["".join(make((Line("text", each),))) for each in ("plain", "bad", "good", "dim")]
    assert len(set(lines)) == 4
    rows = [
        "".join(make((Table("", (Column("a"),), (Row(("b",), each),)),)))
        for each in ("plain", "bad")
    ]
    assert len(set(rows)) == 2


MARKDOWN = [
    (Line("# no heading"), r"\# no heading"),
    (Line("- no item"), r"\- no item"),
    (Line("12. no number"), r"12\. no number"),
    (Line("3 + 4"), "3 + 4"),
    (Line("a_b*c|d", "strong"), r"**a\_b\*c\|d**"),
    (Line("  indented", "dim"), "indented"),
]


@pytest.mark.parametrize(("line", "text"), MARKDOWN)
def test_markdown_lines_stay_text(line: Line, text: str) -> None:
    assert "".join(markdown.chunks((line,))) == f"{text}\n"
    assert "".join(markdown.chunks((Line(""), line, Line("")))).strip("\n") == text


def test_markdown_blocks_are_apart() -> None:
    drawing = Drawing("d*", lambda sheet: [[Span("a`b"), Span("c  ")], [Span("*")]])
    rows = (Row(("a\nb", "1"), "strong"), Row(("", "2")))
    table = Table("t*", (Column("x-\ny"), Column("n", numeric=True)), rows)
    text = "".join(
        markdown.chunks((Line("one"), Line("two"), table, drawing, NOTHING, Line("end")))
    )
    assert text == "\n".join(
        [
            *("one", "", "two", "", r"### t\*", ""),
            *("| x-y | n |", "| --- | ---: |", "| **a b** | **1** |", "|  | 2 |"),
            *("", r"### d\*", "", "```text", "a'bc", "*", "```", "", "end", ""),
        ]
    )
    untitled = "".join(markdown.chunks((Line("a"), DRAWING, TABLE._replace(title=""))))
    assert "#" not in untitled
    assert "a\n\n```text\ndrawn\n```\n\n| n |" in untitled


def test_ascii_replaces_what_an_encoding_lacks() -> None:
    text = "a·b → c × 2 … Wᵀ é"
    for encoding in ("utf-8", "UTF-16"):
        assert for_encoding(text, encoding) == text
        assert not Sheet(encoding=encoding).ascii_only
    for encoding in ("ascii", "latin-1", None):
        assert for_encoding(text, encoding) == r"a*b -> c x 2 ... W^T \xe9"
        assert Sheet(encoding=encoding).ascii_only
