"""Weight files of PyTorch: inspected and computed without PyTorch, refused if hostile."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import pickletools
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

import rnnshapes
from rnnshapes import InputError, UnsupportedError, memory
from rnnshapes.load.foreign import (
    byte_source,
    network,
    safetensors,
    tensors,
    torch_file,
    torch_pickle,
    zip_directory,
)
from rnnshapes.load.regular_file import require_regular
from rnnshapes.render import schemas
from rnnshapes.session import open_session
from tests.helpers import foreign
from tests.helpers.blocks import lines_of, tables_of
from tests.helpers.commands import mentioning
from tests.helpers.foreign import pickled_dict, pickled_tensor, state_dict, written

VALIDATOR = jsonschema.Draft202012Validator(schemas.schema("inspect"))
WAYS = ("", "_reverse")
WRITERS = {".safetensors": foreign.safetensors, ".pt": foreign.torch_file}
ORDERS = {"simple": [], "lstm": ["i", "f", "c", "o"], "gru": ["r", "z", "h"]}


def record(path: Path) -> dict[str, Any]:
    """Return what ``inspect`` writes as JSON, which its schema describes."""
    result = json.loads(json.dumps(rnnshapes.inspect(path).to_dict()))
    VALIDATOR.validate(result)
    return result


def test_keras_plays_no_part_in_other_files(tmp_path: Path) -> None:
    """Also where it is asked for."""
    path = written(tmp_path / "m.pt", foreign.torch_file(state_dict("lstm")))
    with open_session(path, N=2, T=4) as session:
        trace, (traced, _) = session.trace(keras=True), session.trace_with_golden(keras=True)
        (recurrence,) = session.steps(1, keras=True)
    assert (trace.keras, traced.keras, recurrence.count) == (None, None, 4)


@pytest.mark.parametrize("ending", WRITERS)
@pytest.mark.parametrize("cell", ORDERS)
def test_cell_is_shown_in_its_own_layout(cell: str, ending: str, tmp_path: Path) -> None:
    path = written(tmp_path / f"m{ending}", WRITERS[ending](state_dict(cell, prefix="enc.")))
    found = record(path)
    (layer,) = found["layers"]
    count = foreign.GATES[cell]
    assert (layer["name"], layer["params"]) == ("enc", count * 5 * (3 + 5 + 2))
    assert layer["formula"] == f"{count if count > 1 else ''}M(D+M+2)"
    assert found["file"]["framework"] == "PyTorch"
    assert found["file"]["agrees"]
    kernel, recurrent, *biases = layer["weights"]
    assert [w["name"] for w in layer["weights"]] == [
        f"enc/{name}_l0" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]
    assert kernel["shape"] == [5 * count, 3]
    assert kernel["dims"][-1] == "D"
    assert recurrent["dims"] == [kernel["dims"][0], "M"]
    for weight in (kernel, recurrent, *biases):
        assert [gate["name"] for gate in weight["gates"]] == ORDERS[cell]
        ranges = [gate["range"] for gate in weight["gates"]]
        assert ranges == [[5 * i, 5 * i + 5] for i in range(len(ORDERS[cell]))]
        assert {gate["axis"] for gate in weight["gates"]} <= {0}


OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"layers": 2, "both": True},
    {"layers": 3, "bias": False},
    {"proj_size": 2, "layers": 2, "both": True},
    {"dtype": "float16", "both": True},
)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("cell", ORDERS)
def test_trace_is_what_pytorch_documents(
    cell: str, options: dict[str, Any], tmp_path: Path
) -> None:
    if "proj_size" in options and cell != "lstm":
        pytest.skip("only an LSTM has a projection")
    arrays = state_dict(cell, 4, 6, seed=7, **options)
    path = written(tmp_path / "m.pt", foreign.torch_file(arrays))
    x = np.random.default_rng(1).standard_normal((2, 5, 4)).astype("float32")
    trace = rnnshapes.trace(path, x=x, show="all")
    assert trace.keras is None
    assert trace.y_hat is not None
    expected = foreign.torch_output(cell, x, arrays)
    np.testing.assert_allclose(trace.y_hat, expected, rtol=1e-10, atol=1e-12)
    assert rnnshapes.inspect(path).params == sum(a.size for a in arrays.values())


def test_both_containers_hold_the_same(tmp_path: Path) -> None:
    arrays = state_dict("lstm", layers=2, both=True, prefix="a.b.")
    arrays["head.weight"] = np.ones((2, 10), "float32")
    found = []
    for ending, write in WRITERS.items():
        result = record(written(tmp_path / f"m{ending}", write(arrays)))
        del result["file"]
        found.append(result)
    assert found[0] == found[1]
    assert [layer["name"] for layer in found[0]["layers"]] == ["a.b.l0", "a.b.l1", "head"]


def test_list_of_large_archives_is_read(tmp_path: Path, monkeypatch) -> None:
    """Archives of more than 4 GiB have sizes and positions of 64 bits."""
    plain = written(tmp_path / "m.pt", foreign.torch_file(state_dict("gru")))
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 16)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(tmp_path / "large.pt", "w") as new:
        for member in old.namelist():
            new.writestr(member, old.read(member))
    large = bytearray((tmp_path / "large.pt").read_bytes())
    large[-12:-2] = b"\xff" * 10  # how many members, and the size and the start of their list
    written(tmp_path / "large.pt", bytes(large))
    found = [rnnshapes.trace(path, T=4, show="h") for path in (plain, tmp_path / "large.pt")]
    np.testing.assert_array_equal(*(trace.layers[0].states["h"] for trace in found))


def test_state_dict_is_found_in_a_checkpoint(tmp_path: Path) -> None:
    arrays = state_dict("gru")
    path = written(tmp_path / "m.pth", foreign.torch_file(arrays, nested="model"))
    assert rnnshapes.inspect(path).params == sum(a.size for a in arrays.values())


def test_vectors_alone_are_no_state_dict(tmp_path: Path) -> None:
    """Such as the statistics of x beside a model."""
    array, mean = np.ones((2, 3), "float32"), np.ones(3, "float32")
    model = pickled_dict({"fc.weight": pickled_tensor("0", array)})
    x = pickled_dict({"mean": pickled_tensor("1", mean), "std": pickled_tensor("2", mean)})
    arrays = {"0": array.tobytes(), "1": mean.tobytes(), "2": mean.tobytes()}
    data = foreign.torch_zip(pickled_dict({"model": model, "x": x}), arrays)
    assert rnnshapes.inspect(written(tmp_path / "m.pt", data)).params >= 6


def test_several_state_dicts_are_refused(tmp_path: Path) -> None:
    array = np.ones((2, 3), "float32")
    part = pickled_dict({"fc.weight": pickled_tensor("0", array)})
    data = foreign.torch_zip(pickled_dict({"a": part, "ema": part}), {"0": array.tobytes()})
    with pytest.raises(InputError, match="a, ema"):
        rnnshapes.inspect(written(tmp_path / "m.pt", data))


def test_joined_keys_do_not_hide_state_dicts(tmp_path: Path) -> None:
    array = np.ones((2, 3), "float32")
    first, second = (pickled_dict({name: pickled_tensor("0", array)}) for name in "vw")
    for nested in (
        {"a": pickled_dict({"b": first}), "a.b": second},
        {"a": first, "": pickled_dict({"a": second})},
    ):
        data = foreign.torch_zip(pickled_dict(nested), {"0": array.tobytes()})
        with pytest.raises(InputError, match="a"):
            rnnshapes.inspect(written(tmp_path / "m.pt", data))


def test_layer_chooses_one_of_several_modules(tmp_path: Path, run) -> None:
    encoder = state_dict("lstm", 3, 5, layers=2, prefix="enc.")
    decoder = state_dict("gru", 7, 4, prefix="dec.")
    path = written(tmp_path / "m.safetensors", foreign.safetensors({**encoder, **decoder}))
    x = np.random.default_rng(3).standard_normal((1, 4, 7)).astype("float32")
    trace = rnnshapes.trace(path, x=x, layer="dec")
    own = {name.removeprefix("dec."): a for name, a in decoder.items()}
    np.testing.assert_allclose(trace.y_hat, foreign.torch_output("gru", x, own), rtol=1e-10)
    whole = rnnshapes.trace(path, T=3, show="h", layer="enc")
    assert [layer.name for layer in whole.layers] == ["enc.l0", "enc.l1"]
    assert run("trace", path, "--T", "3", "--layer", "other").status == 2


def test_layer_is_chosen_by_its_shown_name(tmp_path: Path) -> None:
    """A module of which the name has another meaning, and two of which layers have one name."""
    first, second = state_dict("lstm", 3, 5, layers=2), state_dict("gru", 7, 4)
    arrays = {f"a.{name}": array for name, array in first.items()}
    arrays |= {f"{path}.{name}": a for path in ("a.l0", "output") for name, a in second.items()}
    path = written(tmp_path / "m.safetensors", foreign.safetensors(arrays))
    names = [layer.name for layer in rnnshapes.inspect(path).layers]
    assert names == ["a.l0", "a.l1", "a.l0:2", "output:2"]
    for name in names:
        (*_, layer) = rnnshapes.trace(path, T=2, layer=name, show="h").layers
        assert layer.states["h"].shape[-1] == (4 if name.endswith(":2") else 5)


@pytest.mark.parametrize(("features", "names"), [(3, ("D", "D")), (7, ("D1", "D2"))])
def test_modules_of_one_input_size_share_its_name(
    features: int, names: tuple[str, str], tmp_path: Path
) -> None:
    first = state_dict("lstm", 3, 5, layers=2, prefix="a.")
    second = state_dict("gru", features, 4, layers=2, prefix="b.")
    path = written(tmp_path / "m.safetensors", foreign.safetensors({**first, **second}))
    layers = {layer.name: layer for layer in rnnshapes.inspect(path).layers}
    assert tuple(layers[f"{name}.l0"].weights[0].dims[1] for name in "ab") == names


def test_transposed_view_is_read_by_its_strides(tmp_path: Path) -> None:
    """A tensor that was saved as a view is not contiguous."""
    arrays = state_dict("simple", 3, 4)
    turned = {name: np.asfortranarray(a) for name, a in arrays.items()}
    items = {name: pickled_tensor(str(i), a) for i, (name, a) in enumerate(turned.items())}
    storages = {str(i): a.tobytes("A") for i, a in enumerate(turned.values())}
    path = written(tmp_path / "m.pt", foreign.torch_zip(pickled_dict(items), storages))
    x = np.ones((1, 3, 3), "float32")
    expected = foreign.torch_output("simple", x, arrays)
    np.testing.assert_allclose(rnnshapes.trace(path, x=x).y_hat, expected, rtol=1e-10)


def test_only_the_numbers_of_a_tensor_are_read(tmp_path: Path, monkeypatch) -> None:
    """All arrays are parts of one storage, with columns of which every second one is read."""
    arrays = state_dict("lstm", 3, 4)
    wide = {name: np.repeat(a, 2, axis=-1) for name, a in arrays.items()}
    parts = [np.zeros(10**5, "float32"), *(a.reshape(-1) for a in wide.values())]
    items, length = {}, sum(map(len, parts))
    for (name, array), start in zip(
        arrays.items(), itertools.accumulate(map(len, parts[:-1])), strict=True
    ):
        steps = (2 * array.shape[-1], 2)[-array.ndim :]
        items[name] = pickled_tensor("0", array, offset=start, strides=steps, length=length)
    data = foreign.torch_zip(pickled_dict(items), {"0": np.concatenate(parts).tobytes()})
    path, x = written(tmp_path / "m.pt", data), np.ones((1, 3, 3), "float32")
    sizes, read = [], byte_source.ByteSource.read

    def counted(self: byte_source.ByteSource, start: int, count: int) -> bytes:
        sizes.append(count)
        return read(self, start, count)

    monkeypatch.setattr(byte_source.ByteSource, "read", counted)
    expected = foreign.torch_output("lstm", x, arrays)
    np.testing.assert_allclose(rnnshapes.trace(path, x=x).y_hat, expected, rtol=1e-10)
    assert sum(sizes) < 10**5


def test_span_beyond_memory_is_refused(tmp_path: Path, monkeypatch, run) -> None:
    arrays = state_dict("simple", 2, 3)
    items = {
        name: pickled_tensor("0", a, strides=(1,) * a.ndim, length=10**6)
        for name, a in arrays.items()
    }
    items["weight_ih_l0"] = pickled_tensor(
        "0", arrays["weight_ih_l0"], strides=(400_000, 1), length=10**6
    )
    data = foreign.torch_zip(pickled_dict(items), {"0": bytes(4 * 10**6)})
    path = written(tmp_path / "m.pt", data)
    assert run("trace", path, "--T", "2").status == 0
    monkeypatch.setattr(memory, "available", lambda: 5 * 10**6)
    assert run("trace", path, "--T", "2").status == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"bias_ih_l0": (19,)},
        {"bias_hh_l0": None},
        {"weight_hh_l0": (21, 5)},
        {"weight_hh_l0": (20,)},
        {"weight_hh_l0": (20, 0)},
        {"weight_hh_l0": None},
        {"weight_ih_l1": (20, 6)},
        {"weight_hh_l0_reverse": None},
        {"weight_ih_l0_reverse": (20, 4)},
        {"weight_hr_l1": (4, 5)},
        {
            **{f"{kind}_l1{way}": None for kind in ("weight_ih", "weight_hh") for way in WAYS},
            **{f"{kind}_l1{way}": None for kind in ("bias_ih", "bias_hh") for way in WAYS},
            "weight_ih_l2": (20, 10),
            "weight_hh_l2": (20, 5),
        },
        {
            **{f"weight_ih_l1{way}": (15, 10) for way in WAYS},
            **{f"weight_hh_l1{way}": (15, 5) for way in WAYS},
            **{f"{kind}_l1{way}": (15,) for kind in ("bias_ih", "bias_hh") for way in WAYS},
        },
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_arrays_that_do_not_fit_contradict(changes: Any, tmp_path: Path, run) -> None:
    arrays = state_dict("lstm", layers=2, both=True)
    for name, shape in changes.items():
        arrays.pop(name, None)
        if shape is not None:
            arrays[name] = np.ones(shape, "float32")
    path = written(tmp_path / "m.safetensors", foreign.safetensors(arrays))
    assert run("inspect", path).status == 1
    assert run("trace", path, "--T", "2").status == 2


def test_weights_of_integers_contradict(tmp_path: Path, run) -> None:
    arrays = state_dict("lstm")
    arrays["weight_hh_l0"] = np.ones((20, 5), "int64")
    path = written(tmp_path / "m.safetensors", foreign.safetensors(arrays))
    assert run("inspect", path).status == 1
    assert run("trace", path, "--T", "2").status == 2


def test_screen_shows_gates_and_equations_of_modules(tmp_path: Path) -> None:
    """Gates lie in the rows of matrices and vectors; other directions and layers are named."""
    arrays = state_dict("lstm", 4, 6, layers=2, both=True, prefix="enc.")
    arrays |= state_dict("gru", 4, 7, prefix="dec.")
    arrays["head.weight"] = np.ones((2, 11), "float32")
    result = rnnshapes.inspect(written(tmp_path / "m.pt", foreign.torch_file(arrays)))
    text = "\n".join(lines_of(result, width=200))
    (line,) = [line for line in text.split("\n") if "bias_hh" in line]
    assert "in the rows of weight_ih, weight_hh, bias_ih and bias_hh" in line
    assert ("c~ is PyTorch's g" in line, "h~ is PyTorch's n" in line) == (True, True)
    order = [("enc.l0, enc.l1: i ", " 6:12 ", " 18:24"), ("dec: r ", " 7:14 ", " 14:21")]
    for words in order:
        assert any(all(word in line for word in words) for line in text.split("\n"))
    reverse, repeated = "Wx1← Wh1← bx1← bh1←", "as enc.l0, with Wx2 Wh2 bx2 bh2"
    for symbols in (reverse, repeated, "h2_t = concatenate(h2→_t, h2←_t)"):
        assert symbols in text
    rows = [row.cells for row in tables_of(result, width=200)[0].rows]
    both = ("enc.l0", "Bidirectional(LSTM), tanh, sigmoid, tanh", "(1, ?, 4) → (1, ?, 12)")
    assert rows[:5] == [
        (*both, "8M1(D+M1+2)", "576"),
        ("  weight_ih_l0", "Wx1ᵀ→ Wx1ᵀ←", "(4M1, D) = (24, 4)", "4D·M1", "2 × 96"),
        ("  weight_hh_l0", "Wh1ᵀ→ Wh1ᵀ←", "(4M1, M1) = (24, 6)", "4M1·M1", "2 × 144"),
        ("  bias_ih_l0", "bx1→ bx1←", "(4M1,) = (24,)", "4M1", "2 × 24"),
        ("  bias_hh_l0", "bh1→ bh1←", "(4M1,) = (24,)", "4M1", "2 × 24"),
    ]
    assert [row[0] for row in rows[5:]] == [
        *("enc.l1", "  weight_ih_l1", "  weight_hh_l1", "  bias_ih_l1", "  bias_hh_l1"),
        *("dec", "  weight_ih_l0", "  weight_hh_l0", "  bias_ih_l0", "  bias_hh_l0"),
        *("? head", "  weight"),
    ]
    assert rows[-2:] == [
        ("? head", "Linear", "?", "not supported", "22"),
        ("  weight", "", "(2, 11)", "", "22"),
    ]


def test_keras_has_no_such_layers(tmp_path: Path) -> None:
    path = written(tmp_path / "m.pt", foreign.torch_file(state_dict("lstm")))
    with pytest.raises(UnsupportedError):
        rnnshapes.verify(path)  # not that T is unknown, which is no remedy
    with pytest.raises(UnsupportedError):
        rnnshapes.verify(path, T=3, against=np.zeros((1, 3, 5)))


#: A path that is not that of a regular file, and words of the reason.
PATHS: dict[str, tuple[str, list[str]]] = {
    "another spelling": ("modle.keras", ["no such file", "did you mean", "model.keras"]),
    "another folder": ("none/model.keras", ["no such file"]),
    "another name": ("xyz.h5", ["no such file"]),
    "address": ("https://a.b/model.keras", ["no such file", "fetched"]),
    "windows drive": ("c:/model.keras", ["no such file"]),
    "broken link": ("broken.keras", ["link"]),
    "loop of links": ("loop.keras", ["opened"]),
    "folder": ("saved", ["folder", "SavedModel"]),
    "pipe": ("pipe.keras", ["regular"]),
    "file as a folder": ("model.keras/a", ["opened"]),
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", PATHS)
def test_path_of_no_file_has_its_reason(name: str, in_folder: Path) -> None:
    """A similar name is shown where there is one, and no other remedy."""
    Path("model.keras").touch()
    Path("saved").mkdir()
    Path("broken.keras").symlink_to("nowhere")
    Path("loop.keras").symlink_to("loop.keras")
    os.mkfifo("pipe.keras")
    require_regular(Path("model.keras"))
    path, words = PATHS[name]
    with pytest.raises(InputError) as caught:
        require_regular(Path(path))
    text = str(caught.value)
    assert text.startswith(f"{Path(path)}: ")
    assert [word for word in words if word not in text] == []
    for hint in ("did you mean", "fetched"):
        assert (hint in text) == any(hint in word for word in words)


# --- Hostile files ------------------------------------------------------------------------------


class _Evil:
    """Runs code when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return (open, (str(self.marker), "w"))


def _nested(levels: int) -> bytes:
    """Return the opcodes of a tuple that holds itself twice on each level."""
    return b")" + b"q\1h\1\x86" * levels


def _tensor_of(shape: bytes, strides: bytes = b"K\1\x85") -> bytes:
    """Return the opcodes of a tensor, with opcodes for its shape and its strides."""
    storage = b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0" + b"0X\0\0\0\0K\6tQ"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\0" + shape + strides + b"tR"


def bad_pickles(marker: Path) -> dict[str, bytes]:
    """Return opcodes that no state_dict has."""
    array = np.ones((2, 3), "float32")
    tensor = {"fc.weight": pickled_tensor("0", array)}
    bad: dict[str, bytes] = {
        f"code, protocol {protocol}": pickle.dumps(_Evil(marker), protocol)[2:-1]
        for protocol in (0, 2, 4)
    }
    bad |= {
        "code in a dict": pickled_dict({**tensor, "x": bad["code, protocol 2"]}),
        "getattr": pickled_dict({"x": b"cbuiltins\ngetattr\n(ctorch\nSize\nX\1\0\0\0atR"}),
        "call of a result": pickled_dict({"x": b"ccollections\nOrderedDict\n)R)R"}),
        "state of a class": pickled_dict({"x": b"ctorch\nSize\n}b"}),
        "call without arguments": b"ctorch._utils\n_rebuild_tensor_v2\n)R",
        "size of a number": b"ctorch\nSize\nK\1\x85R",
        "pairs of numbers": b"ccollections\nOrderedDict\nK\1\x85R",
        "missing memo": b"h\7",
        "empty stack": b"u",
        "a mark": b"(",
        "recursive dict": b"}q\0X\1\0\0\0ah\0s",
        "recursive tuple": b"]q\0(h\0h\0ta",
        "shape of doubling tuples": pickled_dict({"w": _tensor_of(_nested(60) + b"K\1\x86")}),
        "strides of doubling tuples": pickled_dict({"w": _tensor_of(b"K\1\x85", _nested(60))}),
        "size of doubling tuples": b"ctorch\nSize\n" + _nested(60) + b"\x85R",
        "deep tuple": pickled_dict({"w": _tensor_of(b")" + b"\x85" * 50_000)}),
        "dict of pairs": pickled_dict({"x": b"ccollections\nOrderedDict\n]\x85R"}),
        "many sizes": b"ctorch\nSize\n(" + b"K\1" * 33 + b"t\x85R",
        "beyond its storage": pickled_dict({"w": pickled_tensor("0", array, length=5)}),
        "offset beyond it": pickled_dict({"w": pickled_tensor("0", array, offset=1)}),
        "negative stride": pickled_dict({"w": pickled_tensor("0", array, strides=(3, -1))}),
        "repeated numbers": pickled_dict(
            {"w": pickled_tensor("0", array, shape=(9, 9), strides=(0, 0))}
        ),
        "more than stored": pickled_dict({"w": pickled_tensor("0", array, length=7)}),
        "no such storage": pickled_dict({"w": pickled_tensor("1", array)}),
        "negative size": pickled_dict({"w": pickled_tensor("0", array, shape=(-2, -3))}),
        "huge size": pickled_dict({"w": pickled_tensor("0", array, shape=(2**31 - 1,) * 2)}),
        "axes": pickled_dict({"w": pickled_tensor("0", array, shape=(2, 3, 1))}),
        "long number": b"\x8b\xff\xff\xff\x7f",
        "text without end": b"X\xff\xff\xff\x7f",
    }
    return bad


def assert_refused_in_one_line(path: Path) -> None:
    with pytest.raises(InputError) as caught:
        rnnshapes.inspect(path)
    assert str(caught.value).isprintable()


def test_pickles_are_never_run(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    storages = {"0": np.ones((2, 3), "float32").tobytes()}
    for name, opcodes in bad_pickles(marker).items():
        for data in (foreign.torch_zip(opcodes, storages), b"\x80\2" + opcodes + b"."):
            assert_refused_in_one_line(written(tmp_path / "bad.pt", data))
            assert not marker.exists(), name


def test_many_tensors_of_one_storage_are_refused(tmp_path: Path) -> None:
    array = np.ones((128, 64), "float32")
    for count, is_read in ((8, True), (99, False)):
        tensors = {f"l{n}.weight": pickled_tensor("0", array) for n in range(count)}
        data = foreign.torch_zip(pickled_dict(tensors), {"0": array.tobytes()})
        path = written(tmp_path / "shared.pt", data)
        if is_read:
            assert rnnshapes.inspect(path).file.agrees
        else:
            assert_refused_in_one_line(path)


def test_keys_of_equal_hashes_are_left_out() -> None:
    keys = [k * (2**61 - 1) for k in range(1, 4)] + [7]
    longs = [b"\x8a\x0a" + key.to_bytes(10, "little") + b"N" for key in keys]
    assert torch_pickle.read_pickle(b"}(" + b"".join(longs) + b"u.") == {7: None}


def test_programs_and_old_files_are_refused(tmp_path: Path) -> None:
    good = pickled_dict({})
    files = {
        "TorchScript": foreign.torch_zip(good, {}, **{"constants.pkl": b"", "code/a.py": b""}),
        "pt2": foreign.torch_zip(good, {}, archive_format=b"pt2"),
        "1.6": b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
        "0.4": bytes(257) + b"ustar" + bytes(300),
        "state_dict": foreign.torch_zip(good, {}),
    }
    for word, data in files.items():
        with pytest.raises(InputError, match=word):
            rnnshapes.inspect(written(tmp_path / "m.pt", data))


def test_safetensors_may_list_arrays_in_any_order(tmp_path: Path) -> None:
    arrays = {"fc.weight": np.ones((2, 3), "float32"), "other.weight": np.ones((5, 4), "float32")}
    data = foreign.safetensors(arrays)
    end = 8 + struct.unpack("<Q", data[:8])[0]
    header = dict(reversed(json.loads(data[8:end]).items()))
    text = json.dumps(header).encode()
    shown = [
        rnnshapes.inspect(written(tmp_path / "m.safetensors", each)).to_dict()
        for each in (data, struct.pack("<Q", len(text)) + text + data[end:])
    ]
    assert shown[0] == shown[1]


def test_broken_safetensors_are_refused(tmp_path: Path) -> None:
    array = np.ones((2, 3), "float32")
    good = foreign.safetensors({"fc.weight": array})
    entry = '"dtype":"F32","shape":[2,3],"data_offsets":[0,24]'
    headers = (
        f'{{"a":{{{entry}}},"a":{{{entry}}}}}',
        '{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,20]}}',
        '{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[24,48]}}',
        '{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0]}}',
        '{"a":{"dtype":"F32","shape":[-2,-3],"data_offsets":[0,24]}}',
        '{"a":{"dtype":"F32","shape":[2,true],"data_offsets":[0,24]}}',
        '{"a":{"dtype":"F8","shape":[24],"data_offsets":[0,24]}}',
        '{"a":{"dtype":["F32"],"shape":[2,3],"data_offsets":[0,24]}}',
        '{"a":[1]}',
        '{"a":' + "[" * 5000 + "]" * 5000 + "}",
        f'{{"\\u001b[31m.weight":{{{entry}}},"__metadata__":1}}',
        "{",
    )
    broken = [struct.pack("<Q", len(text)) + text.encode() + bytes(24) for text in headers]
    broken += [
        good[:-1],
        good + b"0",
        good[:20],
        struct.pack("<Q", 2**24 + 8) + b"{" + bytes(2**24),
    ]
    for data in broken:
        assert_refused_in_one_line(written(tmp_path / "m.safetensors", data))


# --- Limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "shown"), [("-3", "-3"), ("[[4, 5], 6]", "list")])
def test_impossible_size_is_shown(size: str, shown: str, tmp_path: Path) -> None:
    """That of a list may be long, so that its kind is shown."""
    entry = f'"dtype":"F32","shape":[2,{size}],"data_offsets":[0,24]'
    header = f'{{"a":{{{entry}}}}}'.encode()
    data = struct.pack("<Q", len(header)) + header + bytes(24)
    with pytest.raises(InputError, match=mentioning("a", shown)):
        rnnshapes.inspect(written(tmp_path / "m.safetensors", data))


def test_cut_safetensors_say_so(tmp_path: Path) -> None:
    data = foreign.safetensors({"fc.weight": np.ones((2, 3), "float32")})[:20]
    with pytest.raises(InputError, match="cut off"):
        rnnshapes.inspect(written(tmp_path / "m.safetensors", data))


def test_sizes_are_limited(tmp_path: Path, monkeypatch) -> None:
    """Each limit is tested from both sides."""
    arrays = state_dict("gru", layers=2)
    safe = written(tmp_path / "m.safetensors", foreign.safetensors(arrays))
    zipped = written(tmp_path / "m.pt", foreign.torch_file(arrays, nested="model"))
    header = int.from_bytes(safe.read_bytes()[:8], "little")
    with zipfile.ZipFile(zipped) as archive:
        members, data = archive.infolist(), archive.read("archive/data.pkl")
    start = archive.start_dir
    opcodes = sum(1 for _ in pickletools.genops(data))
    for module, name, most, path in (
        (safetensors, "MOST_HEADER", header, safe),
        (zip_directory, "MOST_ENTRIES", len(members), zipped),
        (zip_directory, "MOST_LIST", zipped.stat().st_size - 22 - start, zipped),
        (torch_pickle, "MOST_OPCODES", opcodes - 1, zipped),
        (torch_file, "MOST_PICKLE", len(data), zipped),
        (torch_file, "MOST_DEPTH", 2, zipped),
        (torch_file, "MOST_VALUES", 3 + len(arrays) + 2, zipped),
        (tensors, "MOST_AXES", 2, zipped),
        (network, "MOST_LAYERS", 2, safe),
    ):
        monkeypatch.setattr(module, name, most)
        assert rnnshapes.inspect(path).layers, name
        with monkeypatch.context() as patch:
            patch.setattr(module, name, most - 1)
            with pytest.raises(InputError):
                rnnshapes.inspect(path)


def test_many_other_arrays_are_counted(tmp_path: Path) -> None:
    """A file of many modules is shown at once, with all of its parameters."""
    arrays = state_dict("lstm", prefix="rnn.")
    more = {
        f"a.block{n}.{name}": np.ones((2, n % 3 + 1), "f4") for n in range(700) for name in "vw"
    }
    path = written(tmp_path / "m.safetensors", foreign.safetensors({**arrays, **more}))
    result = rnnshapes.inspect(path)
    assert [layer.name for layer in result.layers] == ["rnn", "a"]
    assert result.params == sum(array.size for array in (*arrays.values(), *more.values()))
    few = {name: more[name] for name in list(more)[:300]}
    path = written(tmp_path / "m.safetensors", foreign.safetensors({**arrays, **few}))
    assert len(rnnshapes.inspect(path).layers) == 151


def test_long_names_of_many_modules_are_split_once(tmp_path: Path) -> None:
    array, start = np.ones((2, 1), "f4"), time.process_time()
    arrays = {f"a{number}.v": array for number in range(201)} | {"a." * 200_000 + "v": array}
    result = rnnshapes.inspect(written(tmp_path / "m.safetensors", foreign.safetensors(arrays)))
    assert result.params == 404
    assert time.process_time() - start < 5


def test_inspect_loads_neither_numpy_nor_keras(tmp_path: Path) -> None:
    path = written(tmp_path / "m.pt", foreign.torch_file(state_dict("lstm")))
    script = (
        "import sys, rnnshapes\n"
        f"print(rnnshapes.inspect({str(path)!r}).params)\n"
        "print(sorted({'numpy', 'keras', 'h5py', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert done.stdout.split("\n")[:2] == ["200", "[]"]


def test_unknown_opcode_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "bad.pt", foreign.torch_zip(b"(ios\nsystem\n", {}))
    with pytest.raises(InputError, match="INST"):
        rnnshapes.inspect(path)
