"""Golden arrays as a header for C99 and C++: sizes as macros, arrays as ``static const``."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rnnshapes.forward.golden import GoldenArray
from rnnshapes.network.graph import Network
from rnnshapes.network.summary import LayerReport
from rnnshapes.ops.activations import Array
from rnnshapes.ops.dims import Dim
from rnnshapes.render.document import for_encoding, printable

#: Numbers in a line of an array, and characters in a line of a comment.
_NUMBERS_PER_LINE, _COMMENT_WIDTH = 4, 94

#: Between two signs that end a comment, begin one, or begin a trigraph.
_BETWEEN_COMMENT_SIGNS = re.compile(r"(?<=\*)(?=/)|(?<=/)(?=\*)|(?<=\?)(?=\?)")
#: Words for signs in an identifier; an underscore replaces all else that C does not allow.
_SIGN_WORDS = {"+": " plus ", "×": " times ", " - ": " minus "}


class CHeader(NamedTuple):
    """Content of a header.

    ``name`` begins all names, so that several headers fit into one program; ``about`` are the
    lines at the top; each of ``arrays`` comes with its description.
    """

    name: str
    about: tuple[str, ...]
    network: Network
    arrays: tuple[tuple[GoldenArray, str], ...]


def chunks(header: CHeader) -> Iterator[str]:
    """Yield the text of the header, piece by piece."""
    prefix = f"{header.name}_"
    guard, use_all = f"RNNSHAPES_{header.name.upper()}_H", f"{prefix}use_all"
    sizes = header.network.sizes.items()
    macros = {_macro(prefix, name): value for name, value in sizes if value is not None}
    names = _identifiers((entry.name for entry, _ in header.arrays), prefix, {use_all, *macros})
    yield _comment(*header.about)
    yield f"#ifndef {guard}\n#define {guard}\n\n"
    yield "#include <math.h> /* NAN, INFINITY */\n\n"
    for macro, value in macros.items():
        yield f"#define {macro} {value}\n"
    for (entry, description), name in zip(header.arrays, names, strict=True):
        yield "\n" + _comment(f"{entry.name}: {description}; {entry.values.dtype}")
        yield from _array(header.network, entry, prefix, name)
    yield "\n" + _comment("Names every array, so that none is called unused.")
    yield f"static inline void {use_all}(void)\n{{\n"
    yield "".join(f"    (void){name};\n" for name in names)
    yield "}\n\n#endif\n"


def about_layers(layers: Iterable[LayerReport]) -> Iterator[str]:
    """Yield each layer with its equations, for the top of a header."""
    for layer in layers:
        yield f"{layer.name}: {', '.join((layer.label, *layer.activations))}"
        yield from (f"  {equation}" for equation in layer.equations)
        yield from (f"  {note.text}" for note in layer.notes)


def _comment(*lines: str) -> str:
    """Return a comment in ASCII, which nothing in a name can end."""
    wrapped = []
    for line in lines:
        text = for_encoding(printable(line.replace("\n", " ").replace("×", "*")), "ascii")
        text = _BETWEEN_COMMENT_SIGNS.sub(" ", text)
        indent = " " * (len(text) - len(text.lstrip()))
        wrapped += textwrap.wrap(text, _COMMENT_WIDTH, subsequent_indent=indent) or [""]
    if len(wrapped) == 1:
        return f"/* {wrapped[0]} */\n"
    return "/*\n" + "".join(f" * {line}".rstrip() + "\n" for line in wrapped) + " */\n"


def name_from(path: Path) -> str:
    """Return the name of a header in C: ``golden_2`` for ``golden-2.h``."""
    words = re.sub(r"[^0-9A-Za-z]+", "_", path.stem).strip("_")
    return words if words[:1].isalpha() else f"rnn_{words}".rstrip("_")


def _array(network: Network, entry: GoldenArray, prefix: str, name: str) -> Iterator[str]:
    values = entry.values
    c_type, literal = _type_and_literal(values)
    lengths = [
        _length(dim, prefix) if network.value(dim) == length else str(length)
        for dim, length in zip(entry.dims, values.shape, strict=True)
    ]
    yield f"static const {c_type} {name}{''.join(f'[{n}]' for n in lengths)} = "
    yield from _braced(values, literal, "")
    yield ";\n"


def _type_and_literal(values: Array) -> tuple[str, Callable[[Any], str]]:
    """Return the type in C, and a function that writes a number of that type."""
    size = values.dtype.itemsize
    if values.dtype.kind == "f":
        return ("float", _single) if size <= 4 else ("double", _double)
    if values.dtype.kind == "b":
        return "unsigned char", lambda value: str(int(value))
    sign = "unsigned " if values.dtype.kind == "u" else ""
    suffix = ("u" if sign else "") + ("LL" if size == 8 else "")
    c_type = {1: "char", 2: "short", 4: "int", 8: "long long"}[size]
    c_type = "signed char" if c_type == "char" and not sign else sign + c_type
    return c_type, lambda value: f"{value}{suffix}"


def _single(value: float) -> str:
    if not math.isfinite(value):
        return _double(value)
    text = f"{value:.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def _double(value: float) -> str:
    """Return the shortest literal that C reads as the same number."""
    if math.isnan(value):
        return "NAN"
    if math.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    return repr(value)


def _braced(values: Array, literal: Callable[[Any], str], indent: str) -> Iterator[str]:
    """Yield the numbers in a pair of braces for each axis."""
    if values.ndim == 0:
        yield literal(values.item())
        return
    deeper = f"{indent}  "
    if values.ndim > 1:
        for i, row in enumerate(values):
            yield f"{',' if i else '{'}\n{deeper}"
            yield from _braced(row, literal, deeper)
        yield f"\n{indent}}}"
        return
    texts = [literal(value) for value in values.tolist()]
    starts = range(0, len(texts), _NUMBERS_PER_LINE)
    lines = [", ".join(texts[start : start + _NUMBERS_PER_LINE]) for start in starts]
    if len(lines) == 1:
        yield f"{{{lines[0]}}}"
    else:
        yield f"{{\n{deeper}" + f",\n{deeper}".join(lines) + f"\n{indent}}}"


def _identifiers(names: Iterable[str], prefix: str, reserved: Iterable[str]) -> list[str]:
    """Return a unique name in C for each array: ``golden_lstm_h_Wh`` for ``lstm.h Wh``."""
    used = set(reserved)
    identifiers = []
    for name in names:
        words = name
        for sign, word in _SIGN_WORDS.items():
            words = words.replace(sign, word)
        base = identifier = f"{prefix}{re.sub(r'[^0-9A-Za-z]+', '_', words).strip('_') or 'array'}"
        number = 2
        while identifier in used:
            identifier, number = f"{base}_{number}", number + 1
        used.add(identifier)
        identifiers.append(identifier)
    return identifiers


def _macro(prefix: str, size: str) -> str:
    """Return the macro of a size, ``GOLDEN_T``; that of a convolution's T' is ``GOLDEN_Tp``."""
    return f"{prefix.upper()}{size.replace(chr(39), 'p')}"


def _length(dim: Dim, prefix: str) -> str:
    """Return a length in macros: ``4 * GOLDEN_M``."""
    terms = []
    for names, count in dim.terms:
        factors = [str(count)] * (count != 1 or not names)
        factors += [_macro(prefix, name) for name in names]
        terms.append(" * ".join(factors))
    return " + ".join(terms)
