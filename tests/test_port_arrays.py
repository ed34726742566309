"""``verify --against``: no array of a file that may be wrong is dropped in silence."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import rnnshapes
from rnnshapes.errors import InputError
from rnnshapes.port.arrays import read_port
from tests.helpers.handmade import Arrays

SIZES: dict[str, Any] = {"cell": "simple", "N": 2, "T": 3, "D": 4, "M": 5, "K": 2}


@pytest.fixture(scope="module")
def right() -> Arrays:
    """h and y_hat in float32."""
    golden = rnnshapes.golden(**SIZES).arrays
    return {"h": golden["simple_rnn.h"].astype("f4"), "y_hat": golden["y_hat"].astype("f4")}


def in_c(values: np.ndarray) -> str:
    return json.dumps(values.tolist()).replace("[", "{").replace("]", "}")


def header(y_hat: str, comment: str = "") -> Callable[[Arrays], str]:
    """h as ``trace --golden`` writes it, then y_hat, which is wrong."""
    return lambda right: (
        f"/* h: mine, float */\nstatic const float a_h[2][3][5] = {in_c(right['h'])};\n{comment}\n"
        + y_hat.format(in_c(right["y_hat"] * 0 + 7))
    )


def twice(right: Arrays) -> str:
    return header("")({"h": right["h"] * 3, "y_hat": right["y_hat"]}) + header("")(right)


def in_json(y_hat: str, name: str = "y_hat") -> Callable[[Arrays], str]:
    return lambda right: f'{{"h": {json.dumps(right["h"].tolist())}, "{name}": {y_hat}}}'


def in_csv(right: Arrays) -> str:
    """A row with half of y_hat."""
    headings = [f"h[{i}]" for i in range(5)] + ["y_hat[0]", "y_hat[1]"]
    rows = [[*h, 7, ""] for sample in right["h"] for h in sample]
    keys = [(n, t) for n in range(2) for t in range(3)]
    lines = [["sample", "t", *headings], *([*k, *r] for k, r in zip(keys, rows, strict=True))]
    return "\n".join(",".join(map(str, line)) for line in lines)


def in_npz(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Arrays], Arrays]:
    return lambda right: {"h": right["h"], "y_hat": change(right["y_hat"])}


WRONG = {
    "uncommented.h": header("static const float y_hat[2][3][2] = {0};"),
    "not_static.h": header("const float y_hat[2][3][2] = {0};", "/* y_hat: mine, float32 */"),
    "line_comment.h": header("float y_hat [2][3][2]= {0} ;", "// y_hat: mine, float32"),
    "text.npz": in_npz(lambda y: y.astype("U9")),
    "complex.npz": in_npz(lambda y: y.astype("c8")),
    "bool.npz": in_npz(lambda y: y > 5),
    "object.json": in_json('{"data": [[[7, 7]]]}'),
    "number.json": in_json("7.0"),
    "true.json": in_json("[[true]]"),
    "objects.json": in_json('[{"t": 0}]'),
    "null.json": in_json("null"),
    "layers.json": in_json("[[[7, 7]]]", "layers"),
    "words.json": in_json('"seven"'),
    "half.csv": in_csv,
    "twice.h": twice,
    "twice.json": in_json("[[[7, 7]]]", "h"),
}


def passes(path: Path, *ignored: str) -> bool:
    """Whether a port is read and passes."""
    try:
        return rnnshapes.verify(**SIZES, against=path, ignore=ignored).passed
    except InputError:
        return False


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_array_never_passes(name: str, right: Arrays, tmp_path: Path) -> None:
    """h alone is right."""
    content, path = WRONG[name](right), tmp_path / name
    if isinstance(content, str):
        path.write_text(content)
    else:
        np.savez(path, **content)
    assert not passes(path)
    assert "twice" in name or passes(path, "y_hat", "layers")


def test_members_of_one_name_are_refused(right: Arrays, tmp_path: Path) -> None:
    """A .npz may hold them."""
    np.save(tmp_path / "h.npy", right["h"])
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name in ("h", "h.npy"):
            archive.write(tmp_path / "h.npy", name)
    with pytest.raises(InputError, match=r"a\.npz: "):
        read_port(tmp_path / "a.npz")


def test_a_header_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    """Wherever it is, but for the last line break."""
    golden = rnnshapes.golden(cell="simple", N=1, T=1, D=1, M=1, K=1, only="h,y_hat")
    path = tmp_path / "a.h"
    golden.save(path)
    text = path.read_text().rstrip()
    start = text.index("#endif") - 1000
    for end in (100, *range(start, len(text), 7)):
        path.write_text(text[:end])
        with pytest.raises(InputError, match=r"a\.h: "):
            read_port(path)
    path.write_text(text)
    assert {array.name for array in read_port(path).arrays} == {"simple_rnn.h", "y_hat"}


def test_ignored_arrays_are_left_out(right: Arrays) -> None:
    """Also those of known names: they are not compared, and the report says so."""
    port = {**right, "h": right["h"] * 3}
    assert not rnnshapes.verify(**SIZES, against=port).passed
    result = rnnshapes.verify(**SIZES, against=port, ignore=["h"])
    assert result.passed
    assert [check.quantity for check in result.checks] == ["y_hat at every step"]
    assert result.unknown_arrays == ("h",)
    with pytest.raises(InputError):
        rnnshapes.verify(**SIZES, against=port, ignore=["h", "y_hat"])


def test_bfloat16_is_read_from_npz(tmp_path: Path) -> None:
    """NumPy writes it as bytes without a type."""
    np.savez(tmp_path / "a.npz", h=np.array([1.5, -2.0], ml_dtypes.bfloat16))
    (array,) = read_port(tmp_path / "a.npz").arrays
    assert array.dtype == "bfloat16"
    assert array.values.tolist() == [1.5, -2.0]


@pytest.mark.parametrize("name", ["x", "simple_rnn/kernel", "dense/bias", "simple_rnn/W"])
def test_other_weights_in_a_port_are_refused(name: str) -> None:
    """x and weights, as a golden file has them, are those of the network."""
    golden = rnnshapes.golden(**SIZES, layout="onnx" if name.endswith("W") else "keras")
    port = {key: golden.arrays[key].copy() for key in ("y_hat", name)}
    assert rnnshapes.verify(**SIZES, against=port).passed
    port[name].flat[-1] += 1e-4
    with pytest.raises(InputError, match=name):
        rnnshapes.verify(**SIZES, against=port)
    assert rnnshapes.verify(**SIZES, against=port, ignore=[name]).passed


def test_port_without_the_probe_is_told_so(right: Arrays) -> None:
    """It would have to be run again: no option makes it fit."""
    sizes = {name: size for name, size in SIZES.items() if name != "N"}
    with pytest.raises(InputError, match="trace --probe") as error:
        rnnshapes.verify(**sizes, against=right["h"], probe=True)
    assert "--N" not in str(error.value)
    with pytest.raises(InputError, match="--N 2"):
        rnnshapes.verify(**sizes, N=4, against=right["h"])
    with pytest.raises(InputError, match="run the port on"):
        rnnshapes.verify(**sizes, x=np.zeros((4, 3, 4), "f"), against=right["h"])
