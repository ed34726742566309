"""Hostile model files, each made from a good one, and what inspect has to do with them.

Each maker takes a good .keras file and an empty folder, and returns the path of the bad file.
"""

from __future__ import annotations

import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.helpers.files import CONFIG, WEIGHTS, layers_of, members, repacked
from tests.helpers.hostile_graphs import (
    MASKED,
    X,
    call,
    cells,
    chain,
    cyclic,
    empty_models,
    graph,
    models,
    node,
    paths,
    wide,
)

Maker = Callable[[Path, Path], Path]
#: A file that code in a model file would create if it were run.
MARKER = "marker-of-code-that-ran"
#: What inspect may use, child process included.
MOST_MIB = 200


def _config(change: Callable[[dict[str, Any]], Any]) -> Maker:
    return lambda good, folder: repacked(good, folder / "bad.keras", config=change)


def _text(text: str) -> Maker:
    return lambda good, folder: repacked(good, folder / "bad.keras", text=text)


def _sized(make: Callable[[int], dict[str, Any]], size: int) -> Maker:
    """Return a config of this size; it is made where it is needed."""
    return lambda good, folder: repacked(good, folder / "bad.keras", text=json.dumps(make(size)))


def _weights(change: Callable[[h5py.File], object]) -> Maker:
    return lambda good, folder: repacked(good, folder / "bad.keras", weights=change)


def _lstm(**options: Any) -> Maker:
    """Return the LSTM's config with other options."""
    return _config(lambda config: layers_of(config)[1]["config"].update(options))


def _appended(*layers: dict[str, Any]) -> Maker:
    """More layers after those of the good file, which return (N, 2)."""
    return _config(lambda config: layers_of(config).extend(layers))


_REPEATED = call("RepeatVector", "repeated", n=2**17)
_POOLED = call("GlobalMaxPooling1D", "pooled")

# --- Code ---------------------------------------------------------------------------------------


def _code(folder: Path) -> str:
    return f"open({str(folder / MARKER)!r}, 'w')"


def _lambda(good: Path, folder: Path) -> Path:
    import base64
    import marshal

    code = compile(f"lambda x: {_code(folder)}", "x", "eval").co_consts[0]
    packed = base64.b64encode(marshal.dumps(code)).decode()
    function = {"class_name": "__lambda__", "config": {"code": packed}}
    options = {"name": "own", "function": function, "arguments": {}}
    layer = {"module": "keras.layers", "class_name": "Lambda", "config": options}

    def add(config: dict[str, Any]) -> None:
        layers_of(config).insert(1, layer)

    return repacked(good, folder / "bad.keras", config=add)


def _function(module: str, name: str) -> Maker:
    def make(good: Path, folder: Path) -> Path:
        found = {
            "module": module,
            "class_name": "function",
            "config": name,
            "registered_name": "function",
        }

        def change(config: dict[str, Any]) -> None:
            layers_of(config)[1]["config"]["activation"] = found
            layers_of(config)[2]["config"]["kernel_initializer"] = {
                "module": "builtins",
                "class_name": "exec",
                "config": {"source": _code(folder)},
            }

        return repacked(good, folder / "bad.keras", config=change)

    return make


def _injected(good: Path, folder: Path) -> Path:
    def add(config: dict[str, Any]) -> None:
        layers_of(config).append(
            {
                "module": "subprocess",
                "class_name": "Popen",
                "config": {"args": ["touch", str(folder / MARKER)], "name": "own"},
                "registered_name": None,
            }
        )
        config["compile_config"] = {"optimizer": {"module": "os", "class_name": "system"}}

    return repacked(good, folder / "bad.keras", config=add)


# --- The zip archive ----------------------------------------------------------------------------


def _bomb(good: Path, folder: Path) -> Path:
    path = folder / "bad.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(CONFIG, b" " * (20 * 2**20))
        archive.writestr(WEIGHTS, members(good)[WEIGHTS])
    return path


def _weights_bomb(good: Path, folder: Path) -> Path:
    path = folder / "bad.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(CONFIG, members(good)[CONFIG])
        with archive.open(WEIGHTS, "w") as stream:
            stream.write(members(good)[WEIGHTS])
            for _ in range(80):
                stream.write(bytes(2**20))
    return path


def _lying(add: int, *, member: str, field: int) -> Maker:
    """Change a size in the central directory: field 20 is compressed, 24 uncompressed."""

    def make(good: Path, folder: Path) -> Path:
        path = repacked(good, folder / "bad.keras", method=zipfile.ZIP_DEFLATED)
        data = bytearray(path.read_bytes())
        place = data.rfind(member.encode()) - 46 + field
        size = struct.unpack_from("<I", data, place)[0]
        struct.pack_into("<I", data, place, max(0, size + add))
        path.write_bytes(data)
        return path

    return make


def _duplicate(good: Path, folder: Path) -> Path:
    import warnings

    path = repacked(good, folder / "bad.keras")
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr(CONFIG, b"{}")
    return path


def _overlapping(good: Path, folder: Path) -> Path:
    path = repacked(good, folder / "bad.keras")
    data = bytearray(path.read_bytes())
    place = data.rfind(WEIGHTS.encode()) - 46 + 42
    struct.pack_into("<I", data, place, struct.unpack_from("<I", data, place)[0] - 40)
    path.write_bytes(data)
    return path


def _encrypted(good: Path, folder: Path) -> Path:
    path = repacked(good, folder / "bad.keras")
    data = bytearray(path.read_bytes())
    data[data.rfind(CONFIG.encode()) - 46 + 8] |= 1
    path.write_bytes(data)
    return path


def _linked(good: Path, folder: Path) -> Path:
    path = folder / "bad.keras"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo(CONFIG)
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr(WEIGHTS, members(good)[WEIGHTS])
    return path


def _many_members(good: Path, folder: Path) -> Path:
    path = repacked(good, folder / "bad.keras")
    with zipfile.ZipFile(path, "a") as archive:
        for number in range(20_000):
            archive.writestr(f"{number}", b"")
    return path


def _cut(good: Path, folder: Path) -> Path:
    path = folder / "bad.keras"
    path.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    return path


# --- The graph ----------------------------------------------------------------------------------


def _graph(layers: list[dict[str, Any]], output: str, **more: Any) -> Maker:
    return _text(json.dumps(graph(layers, output, **more)))


# --- HDF5 ---------------------------------------------------------------------------------------

KERNEL = "layers/lstm/cell/vars/0"


def _instead(make: Callable[[h5py.File, str], object]) -> Maker:
    """Something else where the kernel of the LSTM was."""

    def change(file: h5py.File) -> None:
        del file[KERNEL]
        make(file, KERNEL)

    return _weights(change)


def _external_numbers(good: Path, folder: Path) -> Path:
    secret = folder / "secret"
    secret.write_bytes(np.full(60, 7.0, "float32").tobytes())
    return _instead(
        lambda file, place: file.create_dataset(
            place, (3, 20), "float32", external=[(str(secret), 0, 240)]
        )
    )(good, folder)


def _external_link(good: Path, folder: Path) -> Path:
    with h5py.File(folder / "other.h5", "w") as other:
        other["secret"] = np.full((3, 20), 7.0, "float32")

    def link(file: h5py.File, place: str) -> None:
        file[place] = h5py.ExternalLink(str(folder / "other.h5"), "secret")

    return _instead(link)(good, folder)


def _virtual(good: Path, folder: Path) -> Path:
    with h5py.File(folder / "other.h5", "w") as other:
        other["secret"] = np.full((3, 20), 7.0, "float32")

    def make(file: h5py.File, place: str) -> None:
        layout = h5py.VirtualLayout((3, 20), "float32")
        layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "secret", (3, 20))
        file.create_virtual_dataset(place, layout)

    return _instead(make)(good, folder)


def _soft(file: h5py.File, place: str) -> None:
    file[place] = h5py.SoftLink("/layers/dense/vars/0")


def _held_by_itself(file: h5py.File) -> None:
    file["layers/lstm/again"] = file["layers"]


def _deep(file: h5py.File) -> None:
    group = file["layers"]
    for _ in range(200):
        group = group.create_group("g")


def _wide(file: h5py.File) -> None:
    for number in range(400):
        file["layers"].create_group(f"0/{number}")
    for number in range(1, 255):  # a copy of 400 groups is faster than 400 groups
        file.copy("layers/0", f"layers/{number}")


def _huge(file: h5py.File, place: str) -> None:
    file.create_dataset(place, (10**9, 10**9), "float32", chunks=(1, 1000))


def _plugin(file: h5py.File, place: str) -> None:
    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_chunk((3, 20))
    made.set_filter(32013, h5py.h5z.FLAG_OPTIONAL, ())
    space = h5py.h5s.create_simple((3, 20))
    h5py.h5d.create(file.id, place.encode(), h5py.h5t.NATIVE_FLOAT, space, made)


def _objects(file: h5py.File, place: str) -> None:
    file.create_dataset(place, data=["a"] * 60, dtype=h5py.string_dtype())


def _complex(file: h5py.File, place: str) -> None:
    file.create_dataset(place, (3, 20), "complex64")


def _chunked(file: h5py.File, place: str) -> None:
    data, options = np.full((3, 20), 0.5, "float32"), {"compression": "gzip"}
    file.create_dataset(place, data=data, maxshape=(3, None), chunks=(3, 2**20), **options)


def _gzip_bomb(good: Path, folder: Path) -> Path:
    units = 20_000

    def weights(file: h5py.File) -> None:
        for number, shape in enumerate([(3, 4 * units), (units, 4 * units), (4 * units,)]):
            del file[f"layers/lstm/cell/vars/{number}"]
            file.create_dataset(
                f"layers/lstm/cell/vars/{number}",
                shape,
                "float32",
                chunks=tuple(min(n, 1000) for n in shape),
                compression="gzip",
                fillvalue=0.5,
            )
        del file["layers/dense/vars/0"]
        file["layers/dense/vars/0"] = np.zeros((units, 2), "float32")

    def config(made: dict[str, Any]) -> None:
        layers_of(made)[1]["config"]["units"] = units

    repacked(good, folder / "one.keras", config=config)
    return repacked(folder / "one.keras", folder / "bad.keras", weights=weights)


# --- What is no file ----------------------------------------------------------------------------


def _fifo(good: Path, folder: Path) -> Path:
    os.mkfifo(folder / "fifo.keras")
    return folder / "fifo.keras"


def _written(data: bytes) -> Maker:
    def make(good: Path, folder: Path) -> Path:
        (folder / "bad.keras").write_bytes(data)
        return folder / "bad.keras"

    return make


ESCAPES = "\x1b[31mred\x1b]0;title\x07\u202eright\u2028[/][bold]\x9b\ud800"


def _named(config: dict[str, Any]) -> None:
    config["config"]["name"] = ESCAPES
    for number, layer in enumerate(layers_of(config)):
        layer["config"]["name"] = f"{ESCAPES}{number}"
    layers_of(config).insert(
        2, {"module": ESCAPES, "class_name": ESCAPES, "config": {"name": f"own{ESCAPES}"}}
    )


#: Bad files, and what inspect does with each: ``read`` or ``broken`` (exit status 0 or 1), or what
#: the one line of its error has to mention.
BAD: dict[str, tuple[Maker, str]] = {
    "Lambda": (_lambda, "read"),
    "function of os": (_function("os", "system"), "read"),
    "function of keras": (_function("keras.utils", "get_file"), "read"),
    "layer of subprocess": (_injected, "read"),
    "bomb": (_bomb, CONFIG),
    "weights bomb": (_weights_bomb, WEIGHTS),
    "config longer": (_lying(500, member=CONFIG, field=24), CONFIG),
    "config shorter": (_lying(-500, member=CONFIG, field=24), CONFIG),
    "packed longer": (_lying(10**6, member=CONFIG, field=20), "overlaps"),
    "weights shorter": (_lying(-500, member=WEIGHTS, field=24), WEIGHTS),
    "duplicate": (_duplicate, CONFIG),
    "overlapping": (_overlapping, "overlaps"),
    "encrypted": (_encrypted, "encrypted"),
    "symbolic link": (_linked, "symbolic link"),
    "many members": (_many_members, "20,003"),
    "cut": (_cut, "zip"),
    "deep JSON": (_text("[" * 100_000), "64"),
    "rather deep JSON": (_text('{"a":' * 80 + "1" + "}" * 80), "64"),
    "NaN": (_text('{"class_name": NaN}'), "NaN"),
    "Infinity": (_text('{"class_name": -Infinity}'), "Infinity"),
    "long integer": (_text('{"class_name": 1' + "0" * 100_000 + "}"), "JSON"),
    "many parts": (_text("[" + "0," * 600_000 + "0]"), "500,000"),
    "no object": (_text('"text"'), "JSON object"),
    "no JSON": (_text("{,}"), "JSON"),
    "surrogate": (_text('{"class_name": "\\ud800", "config": {"layers": [1]}}'), "int"),
    "no layers": (_text('{"class_name": "Sequential", "config": {"layers": []}}'), "no layers"),
    "float units": (_lstm(units=5.5), "broken"),
    "true units": (_lstm(units=True), "broken"),
    "negative units": (_lstm(units=-5), "broken"),
    "huge units": (_lstm(units=2**70), "broken"),
    "units of a string": (_lstm(units="5"), "broken"),
    "odd options": (_lstm(use_bias=[], go_backwards={}, unroll=3, dropout="x"), "broken"),
    "loop": (_graph(cyclic(), "b"), "loop"),
    "loop of one": (_graph([X, call("LSTM", "b", node("b"), units=3)], "b"), "loop"),
    "missing layer": (_graph([X, call("LSTM", "b", node("c"), units=3)], "b"), "not there"),
    "missing output": (_graph([X], "y"), "not there"),
    "odd tensor": (_graph([X], "y", output_layers=["y", "0", None]), "names a tensor"),
    "Dense of nothing": (_graph([X, call("Dense", "b", {}, units=3)], "b"), "read"),
    "add of one": (_graph([X, call("Add", "b", node("x"))], "b"), "read"),
    "two layers of a name": (_graph([X, X], "x"), "'x'"),
    "many paths": (_sized(paths, 60), "read"),
    "many models": (_sized(models, 13), "1,500"),
    "long chain": (_sized(paths, 1600), "1,500"),
    "many empty models": (_sized(empty_models, 14), "1,500"),
    "many joined": (_sized(wide, 100), "broken"),
    "many inputs": (_sized(wide, 2000), "1,500"),
    "long stack": (_sized(chain, 120), "broken"),
    "longer stack": (_sized(chain, 300), "2,401"),
    "many cells": (_sized(cells, 20_000), "read"),
    "long name": (_sized(lambda size: {"class_name": "\x80" * size}, 2_000_000), "read"),
    "huge mask value": (_text(json.dumps(MASKED)), "read"),
    "many axes": (
        _appended(call("Reshape", "flat", target_shape=[1] * 100_000), _POOLED),
        "read",
    ),
    "steps beyond any array": (
        _appended(call("RepeatVector", "repeated", n=2**62), _POOLED),
        "read",
    ),
    "steps beyond memory": (
        _appended(_REPEATED, call("UpSampling1D", "more", size=2**31), _POOLED),
        "read",
    ),
    "windows beyond memory": (
        _appended(_REPEATED, call("MaxPooling1D", "windows", pool_size=2**16, strides=1), _POOLED),
        "read",
    ),
    "numbers elsewhere": (_external_numbers, KERNEL),
    "external link": (_external_link, KERNEL),
    "soft link": (_instead(_soft), KERNEL),
    "virtual": (_virtual, KERNEL),
    "group in itself": (_weights(_held_by_itself), "layers/lstm/again"),
    "deep groups": (_weights(_deep), "groups"),
    "many groups": (_weights(_wide), ""),
    "huge claim": (_instead(_huge), "broken"),
    "plugin": (_instead(_plugin), "read"),
    "objects": (_instead(_objects), "broken"),
    "huge chunks": (_instead(_chunked), "read"),
    "complex numbers": (_instead(_complex), "broken"),
    "layers no list": (_config(lambda config: config["config"].update(layers=3)), "broken"),
    "no class": (_config(lambda config: layers_of(config)[1].pop("class_name") and None), "broken"),
    "gzip bomb": (_gzip_bomb, "read"),
    "names": (_config(_named), "read"),
    "FIFO": (_fifo, "regular file"),
    "device": (lambda good, folder: Path("/dev/zero"), "regular file"),
    "folder": (lambda good, folder: folder, "folder"),
    "URL": (lambda good, folder: Path("http://host/model.keras"), "local file"),
    "nothing": (_written(b""), "empty"),
    "text": (_written(b"hello"), "HDF5"),
    "magic alone": (_written(b"\x89HDF\r\n\x1a\n" + bytes(100)), "damaged"),
    "PK alone": (_written(b"PK\x03\x04" + bytes(100)), "zip"),
}

#: Those of them that might take much memory or time, or never end.
LARGE = frozenset(
    {
        *("bomb", "weights bomb", "config longer", "packed longer", "overlapping", "many members"),
        *("deep JSON", "long integer", "many parts", "huge units", "loop", "many paths"),
        *("many models", "long chain", "many empty models", "many joined", "many inputs"),
        *("long stack", "longer stack", "many cells", "long name", "many axes"),
        *(name for name in BAD if "beyond" in name),
        *("numbers elsewhere", "virtual", "group in itself", "deep groups", "many groups"),
        *("huge claim", "plugin", "gzip bomb", "FIFO", "device"),
    }
)
