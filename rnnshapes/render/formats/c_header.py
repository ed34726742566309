"""Arrays as a C header, for C99 and C++: sizes as macros, arrays as ``static const``."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from rnnshapes.forward.golden import Entry
from rnnshapes.network.graph import Network
from rnnshapes.network.summary import LayerReport
from rnnshapes.ops.activations import Array
from rnnshapes.ops.dims import Dim
from rnnshapes.render.document import for_encoding, printable

#: How many numbers stand in a line, and how wide a comment is.
_IN_A_LINE, _WIDTH = 4, 94

#: Between signs that end a comment, begin one, or stand for another character.
_SPECIAL = re.compile(r"(?<=\*)(?=/)|(?<=/)(?=\*)|(?<=\?)(?=\?)")
#: What a sign is called in an identifier; all else that C does not allow is a space there.
_SIGNS = {"+": " plus ", "×": " times ", " - ": " minus "}


class Header(NamedTuple):
    """What is to stand in a header.

    ``name`` is part of the guard, ``prefix`` begins the name of each array, ``about`` are the
    lines at the top; each of ``arrays`` comes with what is said of it.
    """

    name: str
    prefix: str
    about: tuple[str, ...]
    network: Network
    arrays: tuple[tuple[Entry, str], ...]


def chunks(found: Header) -> Iterator[str]:
    """The text of the header, piece by piece."""
    guard, use_all = f"RNNSHAPES_{found.name}_H", f"{found.prefix}use_all"
    names = _identifiers((entry.name for entry, _ in found.arrays), found.prefix, use_all)
    yield _comment(*found.about)
    yield f"#ifndef {guard}\n#define {guard}\n\n"
    yield "#include <math.h> /* NAN, INFINITY */\n\n"
    for name, value in found.network.sizes.items():
        yield f"#define {_macro(name)} {value}\n"
    for (entry, said), name in zip(found.arrays, names, strict=True):
        yield "\n" + _comment(f"{entry.name}: {said}; {entry.values.dtype}")
        yield from _array(found.network, entry, name)
    yield "\n" + _comment("Names every array, so that none is called unused.")
    yield f"static inline void {use_all}(void)\n{{\n"
    yield "".join(f"    (void){name};\n" for name in names)
    yield "}\n\n#endif\n"


def about_layers(layers: Iterable[LayerReport]) -> Iterator[str]:
    """Each layer with its equations, for the top of a header."""
    for layer in layers:
        yield f"{layer.name}: {', '.join((layer.label, *layer.activations))}"
        yield from (f"  {name} = {text}" for name, text in layer.equations)
        yield from (f"  {note}" for note in layer.notes)


def _comment(*lines: str) -> str:
    """A comment in ASCII, which nothing in a name can end."""
    found = []
    for line in lines:
        text = for_encoding(printable(line.replace("\n", " ").replace("×", "*")), "ascii")
        text = _SPECIAL.sub(" ", text)
        indent = " " * (len(text) - len(text.lstrip()))
        found += textwrap.wrap(text, _WIDTH, subsequent_indent=indent) or [""]
    if len(found) == 1:
        return f"/* {found[0]} */\n"
    return "/*\n" + "".join(f" * {line}".rstrip() + "\n" for line in found) + " */\n"


def _array(network: Network, entry: Entry, name: str) -> Iterator[str]:
    values = entry.values
    kind, number = _kind(values)
    lengths = [
        _length(dim) if network.value(dim) == there else str(there)
        for dim, there in zip(entry.dims, values.shape, strict=True)
    ]
    yield f"static const {kind} {name}{''.join(f'[{n}]' for n in lengths)} = "
    yield from _braced(values, number, "")
    yield ";\n"


def _kind(values: Array) -> tuple[str, Callable[[Any], str]]:
    """The type in C, and how a number of it is written."""
    size = values.dtype.itemsize
    if values.dtype.kind == "f":
        return ("float", _single) if size <= 4 else ("double", _double)
    if values.dtype.kind == "b":
        return "unsigned char", lambda value: str(int(value))
    sign = "unsigned " if values.dtype.kind == "u" else ""
    suffix = ("u" if sign else "") + ("LL" if size == 8 else "")
    kind = {1: "char", 2: "short", 4: "int", 8: "long long"}[size]
    kind = "signed char" if kind == "char" and not sign else sign + kind
    return kind, lambda value: f"{value}{suffix}"


def _single(value: float) -> str:
    if not math.isfinite(value):
        return _double(value)
    text = f"{value:.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def _double(value: float) -> str:
    """The shortest text that gives the same number when it is read."""
    if math.isnan(value):
        return "NAN"
    if math.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    return repr(value)


def _braced(values: Array, number: Callable[[Any], str], indent: str) -> Iterator[str]:
    """Numbers in a brace for each axis."""
    if values.ndim == 0:
        yield number(values.item())
        return
    deeper = f"{indent}  "
    if values.ndim > 1:
        for position, part in enumerate(values):
            yield f"{',' if position else '{'}\n{deeper}"
            yield from _braced(part, number, deeper)
        yield f"\n{indent}}}"
        return
    texts = [number(value) for value in values.tolist()]
    lines = [", ".join(texts[at : at + _IN_A_LINE]) for at in range(0, len(texts), _IN_A_LINE)]
    if len(lines) == 1:
        yield f"{{{lines[0]}}}"
    else:
        yield f"{{\n{deeper}" + f",\n{deeper}".join(lines) + f"\n{indent}}}"


def _identifiers(names: Iterable[str], prefix: str, reserved: str) -> list[str]:
    """A name in C for each array: ``lstm.h Wh`` is ``rnn_lstm_h_Wh``."""
    taken = {reserved}
    found = []
    for name in names:
        for sign, word in _SIGNS.items():
            name = name.replace(sign, word)  # noqa: PLW2901 - the same name, step by step
        base = made = f"{prefix}{re.sub(r'[^0-9A-Za-z]+', '_', name).strip('_') or 'array'}"
        number = 2
        while made in taken:
            made, number = f"{base}_{number}", number + 1
        taken.add(made)
        found.append(made)
    return found


def _macro(size: str) -> str:
    """``RNN_T``; the T' of a convolution is ``RNN_Tp``."""
    return f"RNN_{size.replace(chr(39), 'p')}"


def _length(dim: Dim) -> str:
    """``4 * RNN_M``."""
    terms = []
    for names, count in dim.terms:
        factors = [str(count)] * (count != 1 or not names) + [_macro(name) for name in names]
        terms.append(" * ".join(factors))
    return " + ".join(terms)
