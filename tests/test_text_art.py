"""Networks and their weights drawn with characters: closed frames, arrows that meet, one scale."""

from __future__ import annotations

import re
from dataclasses import replace
from io import StringIO
from itertools import cycle, pairwise
from typing import Any, NamedTuple

import pytest

import rnnshapes
from rnnshapes import render
from rnnshapes.network.graph import Network
from rnnshapes.network.summary import Gate, Inspection, WeightReport, inspect_network
from rnnshapes.render import palette
from rnnshapes.render.document import Ink, Sheet
from rnnshapes.render.flow_layout import Lane, LayerBox, layout
from rnnshapes.render.formats import terminal
from rnnshapes.render.text_art import flow, weights
from rnnshapes.render.text_art.canvas import Canvas, clean, cut, text_width
from rnnshapes.render.view import View
from rnnshapes.render.weight_blocks import side_by_side, weight_blocks, with_recurrence
from tests.helpers.cells import NAMES as CELLS
from tests.helpers.text_art import (
    DrawnStep,
    drawn_frames,
    drawn_lanes,
    goes_down,
    is_head,
    is_line,
    points,
    text_lines,
    words_in,
)

WIDTHS = (160, 100, 80, 60, 40)

WAYS: dict[str, dict[str, Any]] = {
    "forward": {},
    "sequences": {"return_sequences": True},
    "backward": {"go_backwards": True},
    "backward sequences": {"go_backwards": True, "return_sequences": True},
    "both": {"bidirectional": True},
    "both summed": {"bidirectional": True, "merge_mode": "sum", "return_sequences": True},
    "stack": {"M": [5, 4]},
    "few steps": {"T": 3, "bidirectional": True},
    "one step": {"T": 1},
}
SIZES = {"N": 2, "T": 12, "D": 3, "M": 5, "K": 4}

#: Each way with one of the cells, and the cell with two states in reverse.
NETWORKS = [*zip(cycle(CELLS), WAYS, strict=False), ("lstm", "backward")]
EACH_NETWORK = pytest.mark.parametrize(("cell", "way"), NETWORKS)
EACH_ENCODING = pytest.mark.parametrize("encoding", ["utf-8", "ascii"])


def inspected(cell: str = "simple", way: str = "forward", **sizes: Any) -> Inspection:
    """A network of different sizes."""
    return rnnshapes.inspect(cell=cell, **{**SIZES, **WAYS[way], **sizes})


def drawn(result: Inspection, sheet: Sheet) -> list[str]:
    """The data flow."""
    return text_lines(flow.draw(layout(result), sheet))


# --- Data flow ----------------------------------------------------------------------------------


@EACH_NETWORK
@EACH_ENCODING
def test_drawings_fit_on_the_sheet(cell: str, way: str, encoding: str) -> None:
    """Nothing is empty, too wide, or in characters that cannot be shown."""
    result = inspected(cell, way)
    for width in WIDTHS:
        sheet = Sheet(width, encoding)
        for drawing in (drawn(result, sheet), text_lines(weights.draw(result, sheet))):
            assert drawing
            assert max(map(text_width, drawing)) <= width
            assert all(line.isascii() for line in drawing) == (encoding == "ascii")


@EACH_NETWORK
def test_every_layer_has_a_closed_frame(cell: str, way: str) -> None:
    """All frames are of one width."""
    result = inspected(cell, way)
    for width in WIDTHS:
        lines = drawn(result, Sheet(width))
        frames = drawn_frames(lines)
        assert len({frame.right for frame in frames}) == 1
        for frame, box in zip(frames, layout(result).boxes, strict=True):
            title = f"{box.title} {box.parameters}" if width >= 80 else box.name
            assert title.rstrip() in words_in([lines[frame.top]])
            assert_texts(box, words_in(lines[frame.top : frame.bottom + 1]))
            assert any(points(c, "DOWN") for c in lines[frame.top])


def assert_texts(box: LayerBox, words: str) -> None:
    """All texts of a box are in these words, in their order."""
    texts = [box.rule, *box.notes]
    if box.recurrence:
        unrolled = box.recurrence.unroll(2 if box.recurrence.number != 1 else 1)
        lanes = unrolled.lanes
        texts = [lanes[0].remark]
        if len(lanes) > 1:
            texts = [text for lane in lanes for text in (lane.name, lane.remark)]
        texts += [unrolled.each_step, *box.notes]
        assert unrolled.merge in words
        assert all(equation in words for equation in unrolled.equations)
    for text in texts:
        assert text in words
        words = words[words.index(text) + len(text) :]


@EACH_NETWORK
def test_arrows_between_frames_have_their_shapes(cell: str, way: str) -> None:
    result = inspected(cell, way)
    boxes = layout(result).boxes
    for width in WIDTHS:
        lines = drawn(result, Sheet(width))
        frames = drawn_frames(lines)
        tops = [0, *(frame.bottom + 1 for frame in frames)]
        ends = [*(frame.top for frame in frames), len(lines)]
        arrows = [box.entering for box in boxes] + [boxes[-1].leaving]
        for top, end, those in zip(tops, ends, arrows, strict=True):
            assert words_in(lines[top:end]) == " ".join(f"{a.name} {a.shapes}" for a in those)


def lanes_of(result: Inspection, drawn_steps: list[list[DrawnStep]]) -> list[Lane]:
    """The lanes of all recurrences, with as many steps as are drawn."""
    most = max(len(steps) for steps in drawn_steps)
    recurrences = [box.recurrence for box in layout(result).boxes if box.recurrence]
    return [lane for recurrence in recurrences for lane in recurrence.unroll(max(most, 2)).lanes]


@EACH_NETWORK
@pytest.mark.parametrize("width", WIDTHS)
def test_steps_are_boxes_that_arrows_meet(cell: str, way: str, width: int) -> None:
    """States go from one to the next."""
    result = inspected(cell, way)
    lines = drawn(result, Sheet(width))
    found = drawn_lanes(lines)
    for steps, lane in zip(found, lanes_of(result, found), strict=True):
        assert [step.step for step in steps] == [step.step for step in lane.steps if step]
        named = [step for step in lane.steps if step]
        for drawn_step, step in zip(steps, named, strict=True):
            inside = lines[drawn_step.top + 1][drawn_step.left + 1 : drawn_step.right]
            assert inside.split("t", 1)[1].replace(" ", "") == f"={step.step}"
            assert_near(lines[drawn_step.top - 2], step.input, drawn_step)
            beside = lines[drawn_step.top - 1][drawn_step.middle :].split()
            assert beside[0] == "│"
            assert beside[1].removesuffix("│") == lane.kernel
            assert any(
                points(c, "DOWN") for c in lines[drawn_step.top][drawn_step.left : drawn_step.right]
            )
            bottom = lines[drawn_step.bottom]
            leaves = goes_down(bottom, drawn_step.left, drawn_step.right)
            assert leaves == bool(step.output)
            if step.output:
                assert_near(lines[drawn_step.bottom + 1], step.output, drawn_step)
        names = " ".join(step.output for step in named if step.output)
        below = lines[steps[0].bottom + 1].replace(lane.remark, "")
        assert re.findall(r"[ch]\d?[→←]?_\S+", below) == names.split()
        assert_states(lines, steps, lane, width)
        for left, right in pairwise(steps):
            between = lines[left.top][left.right + 1 : right.left].split()
            assert set(between) <= {lane.recurrent_kernel}
            assert between or width < 80


def assert_near(line: str, name: str, step: DrawnStep) -> None:
    """The name stands above or below the middle of the box."""
    places = [match.start() for match in re.finditer(re.escape(name), line)]
    assert any(start <= step.middle + 1 <= start + len(name) + 2 for start in places), line


def assert_states(lines: list[str], steps: list[DrawnStep], lane: Lane, width: int) -> None:
    """Each state comes in at the end where the lane begins, and goes on to the next step."""
    rows = range(steps[0].top + 1, steps[0].bottom)
    omits = [a is None for a in lane.steps[1:]]
    for row, state in zip(rows, lane.states, strict=True):
        line = lines[row]
        outside = line[steps[-1].right + 1 :] if lane.reverse else line[: steps[0].left]
        assert_arrow(outside, state.initial, reverse=lane.reverse)
        labels = list(state.labels)
        pairs = list(pairwise(steps))
        for number, (left, right) in enumerate(pairs):
            between = line[left.right + 1 : right.left]
            pieces = [between]
            if omits[number]:
                dots = between.index("…")
                pieces = [between[:dots], between[dots + 1 :]]
            for piece in pieces:
                label = labels.pop(0)
                text = assert_arrow(piece, "", reverse=lane.reverse)
                assert text in ("", label)
                assert text or width < 80
        assert not labels


def assert_arrow(piece: str, label: str, *, reverse: bool) -> str:
    """It is one arrow, whose head is at its end; returns its label, which contains ``label``."""
    arrow = piece.strip()
    heads = [place for place, character in enumerate(arrow) if is_head(character)]
    assert len(heads) == 1
    assert points(arrow[heads[0]], "LEFT" if reverse else "RIGHT")
    words = words_in([piece])
    if label:
        assert label in words
    else:
        assert heads == [0 if reverse else len(arrow) - 1]
        assert is_line(arrow[-1 if reverse else 0])
    return words


def test_more_steps_are_drawn_where_there_is_room() -> None:
    """A wider sheet never shows fewer."""
    for cell in CELLS:
        counts = [
            sum(map(len, drawn_lanes(drawn(inspected(cell, T=10), Sheet(width)))[:1]))
            for width in (24, 30, *reversed(WIDTHS), 200)
        ]
        assert counts == sorted(counts)
        assert counts[-1] == 10


@EACH_NETWORK
def test_steps_are_drawn_on_narrow_sheets(cell: str, way: str) -> None:
    """Where there is a little more room, states have their names."""
    result = inspected(cell, way)
    narrow, wider = (drawn(result, Sheet(width)) for width in (32, 50))
    for lines in (narrow, wider):
        found = drawn_lanes(lines)
        assert {len(steps) > 1 for steps in found} == {way != "one step"}
        for steps, lane in zip(found, lanes_of(result, found), strict=True):
            for left, right in pairwise(steps):
                between = lines[left.top][left.right + 1 : right.left].split()
                assert set(between) <= {lane.recurrent_kernel}
    for steps, lane in zip(found := drawn_lanes(wider), lanes_of(result, found), strict=True):
        for row, state in enumerate(lane.states, steps[0].top + 1):
            labels = state.labels[:1]
            pieces = [wider[row][a.right + 1 : b.left] for a, b in pairwise(steps)]
            assert all(any(label in piece for piece in pieces) for label in labels)


@pytest.mark.parametrize(("cell", "way"), [("lstm", "forward"), ("gru", "both")])
def test_more_is_drawn_as_soon_as_it_fits(cell: str, way: str) -> None:
    """Steps, the space in their texts, and texts that need fewer lines."""
    flow_of = layout(inspected(cell, way, T=12))
    seen: set[tuple[int, bool, int]] = set()
    for width in range(30, 146):
        lines = ["".join(span.text for span in spans) for spans in flow.draw(flow_of, Sheet(width))]
        widest = max(map(len, lines), default=0)
        assert widest <= width
        if lines:
            steps = next(line for line in lines if re.search(r"t ?= ?\d", line))
            key = len(re.findall(r"t ?= ?\d", steps)), "t=" in steps, len(lines)
            if key not in seen and seen:
                assert widest == width
            seen.add(key)
    assert {count for count, *_ in seen} >= set(range(2, 8))


def test_lanes_stand_exactly_below_each_other() -> None:
    """The steps of all recurrences are at the same columns."""
    lanes = drawn_lanes(drawn(inspected("gru", "both", M=[5, 4]), Sheet(100)))
    assert len(lanes) == 4
    assert len({tuple((step.left, step.right) for step in steps) for steps in lanes}) == 1


def test_too_narrow_a_sheet_stays_empty() -> None:
    """The drawing is left out, with its title; no line is ever cut off."""
    result = inspected("lstm", "both")
    assert flow.draw(layout(result), Sheet(23)) == weights.draw(result, Sheet(20)) == ()
    stream = StringIO()
    document = render.to_document(result, View(parts=frozenset({"flow"})))
    terminal.draw(document, terminal.plain(stream, 20))
    assert not any(is_line(character) for character in stream.getvalue())
    assert result.formula.split("+")[0].strip() in stream.getvalue()


HOSTILE = {
    "controls": "\x1b[31m" + "a" * 500,
    "markup": "[red]x[/red]\r\nb",
    "wide": "層" * 60,
    "marks": "é\u0301" * 50,
    "html": "`|<b>" * 30,
}


def renamed(cell: str, name: str) -> Network:
    """A network whose recurrent layer has another name."""
    network = inspected(cell).network
    nodes = list(network.nodes)
    layer: Any = nodes[1].layer
    layer = replace(layer, name=name, direction=replace(layer.direction, name=name))
    nodes[1] = replace(nodes[1], name=name, layer=layer)
    return replace(network, nodes=tuple(nodes))


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
@EACH_ENCODING
def test_names_from_files_are_harmless(name: str, encoding: str) -> None:
    """No control characters, no markup, no line too wide; what the layer is can be read."""
    result = inspect_network(renamed("lstm", name))
    for width in WIDTHS:
        sheet = Sheet(width, encoding)
        lines = drawn(result, sheet)
        for line in lines + text_lines(weights.draw(result, sheet)):
            assert line.isprintable()
            assert text_width(line) <= width
        for label in ("LSTM(M)", "Dense(K)"):
            assert any(label in line for line in lines)


def test_text_is_cut_where_it_has_to_be() -> None:
    """Wide characters count twice, marks not at all; dots show what is cut."""
    for sheet in (Sheet(), Sheet(encoding="ascii")):
        dots = clean("…", sheet)
        assert cut("abcdef", 6, sheet) == "abcdef"
        assert cut("abcdefg", 6, sheet) == "abcdef"[: 6 - len(dots)] + dots
        assert cut("abc", 0, sheet) == ""
    assert text_width(cut("層層層層", 6, Sheet())) <= 6
    assert cut("層層層層", 6, Sheet()).startswith("層層")
    accented = "e\u0301" * 9
    assert cut(accented, 6, Sheet()) == accented[:10] + "…"
    assert text_width("層e\u0301") == 3
    assert clean("a\nb\x1b", Sheet()) == "a b\\x1b"


def test_a_canvas_keeps_texts_on_it() -> None:
    """A wide character is there whole or not at all, and what comes later is on top."""
    canvas = Canvas(Sheet(7))
    canvas.text(0, 0, "層層層層")
    canvas.text(1, 0, "abcdefghij", Ink("#FF0000"))
    canvas.text(1, 2, "XY")
    canvas.text(2, 9, "lost")
    canvas.text(3, 0, "abcdefg")
    canvas.text(3, 1, "層e\u0301")
    assert text_lines(canvas.lines()) == ["層層層", "abXYefg", "", "a層e\u0301efg"]
    assert [span.ink.colour for span in canvas.lines()[1]] == ["#FF0000", "", "#FF0000"]


# --- Weights as rectangles ----------------------------------------------------------------------


class Rectangle(NamedTuple):
    """A weight as it is drawn: its characters with their inks, line by line, and its heading."""

    heading: str
    numbers: str
    lines: list[list[tuple[str, Ink]]]
    beside: list[str]
    below: str

    @property
    def width(self) -> int:
        """How many characters it is wide."""
        (width,) = {len(line) for line in self.lines}
        return width

    def text(self, start: int, stop: int) -> str:
        """What stands between two characters of each line."""
        return "".join(character for line in self.lines for character, _ in line[start:stop])

    def grounds(self, start: int, stop: int) -> set[str]:
        """The colours between two characters of each line."""
        return {ink.ground for line in self.lines for _, ink in line[start:stop]}


def rectangle(result: Inspection, weight: WeightReport, sheet: Sheet) -> Rectangle:
    """The rectangle of a weight, found below its heading by its colours."""
    drawing = [
        [(character, span.ink) for span in spans for character in span.text]
        for spans in weights.draw(result, sheet)
    ]
    lines = ["".join(character for character, _ in cells) for cells in drawing]
    heading = f"{weight.name.partition('/')[2]} {clean(weight.symbol, sheet)}"
    top = next(row for row, line in enumerate(lines) if heading in line)
    left = lines[top].index(heading)
    first = next(
        r for r in range(top, len(lines)) if drawing[r][left:] and is_cell(drawing[r][left])
    )
    inside, beside, below = [], [], ""
    for row in drawing[first:]:
        end = next((c for c in range(left, len(row)) if not is_cell(row[c])), len(row))
        if end <= left:
            below = "".join(character for character, _ in row[left:])
            break
        inside.append(row[left:end])
        beside.append("".join(character for character, _ in row[end : end + 20]).strip())
    return Rectangle(lines[top + 1][left:], lines[first - 1][left:], inside, beside, below)


def is_cell(cell: tuple[str, Ink]) -> bool:
    """Whether a character has a colour behind it."""
    return bool(cell[1].ground)


def gate_columns(weight: WeightReport) -> list[tuple[str, int, int]]:
    """Each gate with its columns, or all of them under no name."""
    gates = [(gate.name, *gate.range) for gate in weight.gates]
    return gates or [("", 0, weight.shape[-1] or 0)]


@pytest.mark.parametrize(
    ("cell", "way", "encoding"),
    [*((cell, "both", "utf-8") for cell in CELLS), ("lstm", "stack", "ascii")],
)
def test_rectangles_are_as_large_as_shapes_say(cell: str, way: str, encoding: str) -> None:
    """One line for a row, as many characters for each column; gates end where they end."""
    result, sheet = inspected(cell, way), Sheet(100, encoding)
    for layer in result.layers:
        for weight in layer.weights:
            found = rectangle(result, weight, sheet)
            *rows, columns = weight.shape
            assert len(found.lines) == (rows[0] if rows else 1)
            assert found.width == 2 * columns
            cuts = [0, *(stop for _, _, stop in gate_columns(weight))]
            assert [int(number) for number in found.numbers.split()[: len(cuts)]] == cuts
            for column in cuts:
                assert found.numbers[2 * column :].startswith(str(column))
            assert_gates(weight, found, per_column=2)
            shape = ", ".join(map(str, weight.shape))
            assert f"({shape}" in found.heading


def assert_gates(weight: WeightReport, found: Rectangle, per_column: int) -> None:
    """Each has its colour and its letter, and without colours another fill than the next."""
    fills = []
    for number, (name, start, stop) in enumerate(gate_columns(weight)):
        place = per_column * start, per_column * stop
        text = found.text(*place)
        assert text.count(name) == 1 or not name
        fills.append(set(text) - set(name))
        (ground,) = found.grounds(*place)
        assert ground == palette.category(number) or not name
    assert all(len(fill) == 1 for fill in fills)
    assert all(fill != after for fill, after in pairwise(fills))


@pytest.mark.parametrize("units", [16, 40, 64, 1_000, 10**9])
def test_large_weights_are_drawn_to_one_scale(units: int) -> None:
    """The largest at which all fit; a billion units are no more work than five."""
    result, sheet = inspected("lstm", M=units, K=units), Sheet(100)
    found = {
        weight.name: (weight, rectangle(result, weight, sheet))
        for layer in result.layers
        for weight in layer.weights
    }
    assert max(one.width for _, one in found.values()) <= 100
    recurrent = found["lstm/recurrent_kernel"][1]
    scale = next(
        s
        for n in range(12)
        for s in (10**n, 2 * 10**n, 4 * 10**n)
        if -(-units // s) <= len(recurrent.lines)
    )
    for weight, one in found.values():
        *rows, columns = weight.shape
        assert len(one.lines) == max(1, -(-(rows[0] if rows else 1) // scale))
        gates = len(gate_columns(weight))
        assert one.width == gates * max(1, 2 * (columns // gates) // scale)
    assert len(recurrent.lines) > 4 or recurrent.width > 40
    words = words_in(text_lines(weights.draw(result, sheet))[:3])
    assert f"{scale:,} rows" in words


#: Sizes, how many lines each weight takes, and which weights are cut.
CUT: list[tuple[dict[str, Any], list[int], list[bool]]] = [
    ({"K": 1000}, [3, 5, 1, 5, 1], [False] * 3 + [True] * 2),
    ({"D": 20, "K": 1000}, [10, 3, 1, 3, 1], [False] * 3 + [True] * 2),
    ({"M": 20, "K": 100}, [1, 5, 1, 5, 1], [False] * 5),
]


@pytest.mark.parametrize(("sizes", "lines", "cuts"), CUT)
def test_small_weights_do_not_hide_the_recurrence(sizes: Any, lines: Any, cuts: Any) -> None:
    """A thousand outputs do not make a point of the recurrent kernel: they are cut."""
    result = inspected("simple", **sizes)
    found = [rectangle(result, w, Sheet()) for layer in result.layers for w in layer.weights]
    assert [len(one.lines) for one in found] == lines
    assert ["cut" in one.heading for one in found] == cuts
    for one, is_cut in zip(found, cuts, strict=True):
        assert one.width < Sheet().width or is_cut


def test_weights_that_are_too_high_are_cut() -> None:
    """Many inputs of a layer without recurrence: dots are in the last line."""
    result = rnnshapes.inspect(M=3, D=5000)
    kernel, recurrent = (rectangle(result, w, Sheet()) for w in result.layers[0].weights[:2])
    assert len(recurrent.lines) == 3
    assert "cut" in kernel.heading
    assert len(kernel.lines) < 5000
    assert len(set(kernel.below[: kernel.width])) == 1
    assert not kernel.below[:1].isspace()
    assert not recurrent.below[: recurrent.width].strip(kernel.below[0])


def test_rows_of_a_bias_have_names() -> None:
    """Input and recurrent, beside the lines."""
    result = inspected("gru")
    weight = next(w for w in result.layers[0].weights if w.rows)
    assert rectangle(result, weight, Sheet()).beside == list(weight.rows) != []


def test_weights_that_are_not_drawn_are_counted() -> None:
    result = inspected(M=[3, 4, 5, 6, 7, 8])
    lines = text_lines(weights.draw(result, Sheet()))
    total = sum(len(layer.weights) for layer in result.layers)
    shown = sum(len(re.findall(r"kernel|bias", line)) for line in lines)
    assert shown < total
    assert f" {total - shown} more" in lines[-1]
    assert "more" not in text_lines(weights.draw(inspected(), Sheet()))[-1]


def weight(name: str, shape: Any, gates: tuple[Any, ...] = ()) -> WeightReport:
    """A weight of a report, of which only a drawing's part matters."""
    dims = tuple(map(str, "ABC"[: len(shape)]))
    return WeightReport(name, "W", dims, shape, "", 1, "float32", 4, gates, ())


def test_blocks_are_weights_as_rectangles() -> None:
    """Axes before the last are rows; weights of open shape, and those beyond the most, count."""
    layers = [
        replace(report, weights=weights)
        for report, weights in zip(
            inspected(way="stack").layers,
            [
                (
                    weight("a/f/kernel", (3, 8), (Gate("i", (0, 4), 1), Gate("o", (4, 8), 1))),
                    weight("a/f/recurrent_kernel", (4, 8), (Gate("i", (0, 2), 0),)),
                    weight("a/b/bias", (8,)),
                    weight("a/scale", ()),
                ),
                (weight("c/kernel", (5, 3, 2)), weight("c/open", (None, 2))),
                (weight("d/bias", (7,)), weight("d/more", (6, 1))),
            ],
            strict=True,
        )
    ]
    result = replace(inspected(), layers=tuple(layers))
    blocks, omitted = weight_blocks(result, 6, by_direction=True)
    assert omitted == 2
    assert [(b.group, b.rows, b.columns) for b in blocks] == [
        *(("a/f", 3, 8), ("a/f", 4, 8), ("a/b", 1, 8), ("a", 1, 1), ("c", 15, 2), ("d", 1, 7))
    ]
    assert [b.title for b in blocks] == [
        *("kernel W", "recurrent_kernel W", "bias W", "scale W", "kernel W", "bias W")
    ]
    assert [tuple(map(tuple, b.gates)) for b in blocks[:3]] == [
        *((("i", 0, 4), ("o", 4, 8)), (("", 0, 8),), (("", 0, 8),))
    ]
    assert [b.shapes.count("15") for b in blocks] == [0, 0, 0, 0, 1, 0]
    assert with_recurrence(blocks) == list(blocks[:2])
    merged, rest = weight_blocks(result, 9, by_direction=False)
    assert ([b.group for b in merged], rest) == (["a"] * 4 + ["c"] + ["d"] * 2, 1)
    assert with_recurrence(merged) == list(merged[:4])

    def in_rows(room: float, gap: float) -> list[list[str]]:
        rows = side_by_side(merged, lambda block: float(block.columns), room, gap)
        return [[block.weight.name.rpartition("/")[2] for block in row] for row in rows]

    first, last = ["kernel", "recurrent_kernel", "bias", "scale"], [["kernel"], ["bias", "more"]]
    assert in_rows(31.0, 2.0) == [first, *last]
    assert in_rows(30.5, 2.0) == [first[:3], first[3:], *last]
    assert in_rows(18.0, 2.0) == [first[:2], first[2:], *last]
    assert in_rows(1.0, 2.0) == [[name] for name in (*first, "kernel", "bias", "more")]
    assert list(side_by_side([], lambda block: 1.0, 1.0, 1.0)) == []


def test_weights_of_a_cell_fit_with_their_numbers() -> None:
    """Where each gate begins, and how many columns there are."""
    result = inspected("lstm")
    per_column = []
    for width in range(30, 80):
        lines = text_lines(weights.draw(result, Sheet(width)))
        assert max(map(len, lines)) <= width
        scale = re.findall(r"\d+", " ".join(lines[: lines.index("")]))
        assert scale in ([], ["2"])  # rows of a line; a line is as high as two columns are wide
        per_column.append(1 if scale else 2)
        numbers = [line for line in lines if line.startswith("0")]
        starts = {n: per_column[-1] * n for n in (0, 5, 10, 15, 20)}
        of_gates = [line for line in numbers if len(line.split()) == 5]
        assert len(of_gates) == 3
        for line in of_gates:
            assert {int(m[0]): m.start() for m in re.finditer(r"\d+", line)} == starts
        assert not any(line.endswith(", cut") for line in lines)
    assert per_column == sorted(per_column)
    assert {*per_column} == {1, 2}
