"""``verify --against``: no array of a file that may be wrong is dropped in silence."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import rnnshapes
from rnnshapes.errors import InputError
from rnnshapes.port.arrays import Port, PortArray, read_port
from rnnshapes.port.golden_arrays import check_golden_arrays
from rnnshapes.session import open_session
from tests.helpers.handmade import Arrays
from tests.helpers.models import model_of

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


@pytest.mark.parametrize(
    "text", ["[[1, 2, 3], 123]", "[[1, 2], null]", "[[1], [2, 3]]", "[[[1]], [2]]"]
)
def test_rows_of_a_list_have_one_length(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=r"a\.json: "):
        read_port(tmp_path / "a.json")


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


def difference(name: str, change: Any, dtype: str = "float32", rounding: float = 0.0) -> str:
    """Return what is said of an array of a golden file after a change; nothing if it is right."""
    values = np.array(rnnshapes.golden(**SIZES).arrays[name], np.float64)
    values = change(values) if callable(change) else values + change
    array = PortArray(name, values, np.full(values.shape, rounding), dtype)
    other = PortArray("h", np.zeros((2, 3, 5)), np.zeros((2, 3, 5)), dtype)
    with open_session(**SIZES) as session:
        network, weights, sources = session.network, session.weights(), session.sources
    try:
        check_golden_arrays(network, weights, sources, Port("port", (other, array)), {name})
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", ["x", "simple_rnn/kernel", "simple_rnn.h Wh"])
@pytest.mark.parametrize(
    ("share", "dtype", "is_right"),
    [
        (1.9 * 2**-24, "float32", True),
        (2.1 * 2**-24, "float32", False),
        (1.9 * 2**-24, "int32", True),
        (2.1 * 2**-24, "int32", False),
        (1e-12, "float64", False),
        (1.9 * 2**-11, "float16", True),
        (2.1 * 2**-11, "float16", False),
    ],
)
def test_a_repeated_array_has_two_roundings(
    name: str, share: float, dtype: str, is_right: bool
) -> None:
    texts = [difference(name, partial(np.multiply, 1 + s), dtype) for s in (share, -share)]
    assert all((name in text) != is_right for text in texts)


def test_decimals_of_a_repeated_array_are_rounded() -> None:
    assert difference("dense/bias", 4.9e-4, rounding=5e-4) == ""
    assert difference("dense/bias", 5.1e-4, rounding=5e-4) != ""


def test_first_wrong_number_of_an_array_is_shown() -> None:
    """With as many digits as tell both numbers, and the names of what to do."""

    def change(values: np.ndarray) -> np.ndarray:
        values[1, 2, 0] = values[1, 1, 3] = 0.5
        return values

    expected = rnnshapes.golden(**SIZES).arrays["x"]
    shown = difference("x", change)
    assert f"[1, 1, 3] is 0.5, expected {expected[1, 1, 3]:.6g};" in shown
    assert "--ignore 'x'" in shown
    assert "(6, 4), expected (2, 3, 4)" in difference("x", lambda x: x.reshape(6, 4))
    for share, dtype in ((2e-7, "float32"), (1e-12, "float64")):
        text = difference("x", partial(np.multiply, 1 + share), dtype)
        found = re.search(r"is (\S+), expected (\S+);", text)
        assert found is not None
        given, wanted = map(float, found.groups())
        assert given / wanted - 1 == pytest.approx(share, rel=0.1)


@pytest.mark.parametrize(
    ("name", "stepwise"), [("simple_rnn.h Wh", True), ("x", False), ("dense/kernel", False)]
)
def test_a_wrong_intermediate_needs_states(name: str, stepwise: bool) -> None:
    assert ("every step" in difference(name, 1.0)) == stepwise


@pytest.mark.parametrize("number", [np.inf, np.nan])
def test_no_finite_number_equals_an_infinite_one(number: float) -> None:
    """An intermediate may be infinite, or NaN where a step is masked."""
    right = rnnshapes.golden(**SIZES).arrays["x"].astype("f4")
    x = np.where(right > 1, np.float32(number), right)
    with open_session(**SIZES, x=x) as session:
        network, weights, sources = session.network, session.weights(), session.sources

    def check(given: np.ndarray) -> None:
        port = Port("port", (PortArray("x", given, np.zeros(x.shape), "float32"),))
        check_golden_arrays(network, weights, sources, port, ["x"])

    check(x)
    for wrong in (right, np.where(right > 1, -np.inf, right)):
        with pytest.raises(InputError, match="'x'"):
            check(wrong)


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


# --- How arrays are handed over -----------------------------------------------------------------


def quantities_of(port: Arrays, **sizes: Any) -> list[str]:
    """Return what is compared, and check that every number is, and agrees."""
    result = rnnshapes.verify(**{**SIZES, **sizes}, against=port)
    assert result.passed
    assert [check.compared for check in result.checks] == [array.size for array in port.values()]
    return [check.quantity for check in result.checks]


@pytest.mark.parametrize("return_sequences", [False, True])
def test_output_may_be_that_of_every_step(return_sequences: bool) -> None:
    """It is compared as y_hat is, and need not be equal to the last bit."""
    golden = rnnshapes.golden(**SIZES, return_sequences=return_sequences).arrays
    output = (golden["y_hat"] * (1 + 5 * 2**-24)).astype("f4")
    port = {"h": golden["simple_rnn.h"].astype("f4"), "output": output}
    found = quantities_of(port, return_sequences=return_sequences)
    assert found == ["simple_rnn: h at every step", "y_hat at every step"]


@pytest.mark.parametrize(
    ("names", "units"), [(["output"], 2), (["h_n", "output"], 2), (["h_n", "output"], 5)]
)
@pytest.mark.parametrize("batch_first", [False, True])
def test_output_of_pytorch_is_h(names: list[str], units: int, batch_first: bool) -> None:
    """It may have the shape of y_hat where h_n is beside it."""
    h = rnnshapes.golden(**{**SIZES, "K": units}).arrays["simple_rnn.h"].astype("f4")
    arrays = {"h_n": h[None, :, -1], "output": h if batch_first else h.swapaxes(0, 1)}
    found = quantities_of({name: arrays[name] for name in names}, K=units)
    assert found[-1] == "simple_rnn: h at every step"


def test_both_directions_with_time_first_are_swapped() -> None:
    sizes = {**SIZES, "bidirectional": True}
    golden = rnnshapes.golden(**sizes).arrays
    names = [f"bidirectional/{way}_simple_rnn.h" for way in ("forward", "backward")]
    h = np.concatenate([golden[name] for name in names], axis=-1).astype("f4")
    for port in ({"h": h.swapaxes(0, 1)}, h.swapaxes(0, 1)):
        result = rnnshapes.verify(**sizes, against=port)
        assert [e.id for e in result.diagnosis.explanations] == ["axes.output_swapped"]


def test_output_of_model_beside_hn_is_y_hat() -> None:
    """h_n is not its last step, though it has the same shape."""
    sizes = {**SIZES, "K": SIZES["M"], "return_sequences": True}
    golden = rnnshapes.golden(**sizes).arrays
    h, y_hat = (golden[name].astype("f4") for name in ("simple_rnn.h", "y_hat"))
    port = {"h_n": h[None, :, -1], "output": y_hat}
    assert rnnshapes.verify(**sizes, against=port).passed
    assert not rnnshapes.verify(**sizes, against={**port, "output": y_hat + 0.01}).passed


def test_output_that_ends_in_h_n_is_h() -> None:
    """The last digit may differ."""
    options = {"K": SIZES["M"], "return_sequences": True}
    h = rnnshapes.golden(**{**SIZES, **options}).arrays["simple_rnn.h"].astype("f4")
    port = {"h_n": np.nextafter(h[None, :, -1], np.float32(2)), "output": h}
    assert quantities_of(port, **options)[-1] == "simple_rnn: h at every step"


def test_two_arrays_of_one_quantity_are_an_error(right: Arrays) -> None:
    port = {"simple_rnn/h": right["h"], "simple_rnn_h": right["h"]}
    with pytest.raises(InputError, match=r"simple_rnn/h.*simple_rnn_h"):
        rnnshapes.verify(**SIZES, against=port)


def test_unnamed_output_of_onnx_is_h(right: Arrays, tmp_path: Path) -> None:
    """Y is (T, dirs, N, M)."""
    np.save(tmp_path / "Y.npy", right["h"].swapaxes(0, 1)[:, None])
    result = rnnshapes.verify(**SIZES, against=tmp_path / "Y.npy")
    assert result.passed
    assert len(result.notes) == 1


@pytest.mark.parametrize("separator", "/_.")
def test_a_layer_in_a_name_is_never_ignored(separator: str) -> None:
    """It is that of the lower layer, and the report says what is not compared."""
    sizes = {**SIZES, "M": [5, 5]}
    h = rnnshapes.golden(**sizes).arrays["simple_rnn.h"].astype("f4")
    result = rnnshapes.verify(**sizes, against={f"simple_rnn{separator}h": h})
    assert result.passed
    assert result.uncompared_layers == ("simple_rnn_1", "dense")
    assert "simple_rnn_1, dense" in str(result)
    for name in ("simple_rnn_2/h", "x"):
        with pytest.raises(InputError, match=name):
            rnnshapes.verify(**sizes, against={name: h})


def test_a_free_name_is_reported(right: Arrays) -> None:
    result = rnnshapes.verify(**SIZES, against={"probabilities": right["y_hat"]})
    assert result.passed
    assert "'probabilities'" in result.notes[0]
    assert rnnshapes.verify(**SIZES, against={"y_hat": right["y_hat"]}).notes == ()


def test_one_direction_alone_leaves_the_other() -> None:
    sizes = {**SIZES, "bidirectional": True, "T": 2}
    names = [f"bidirectional/{way}_simple_rnn" for way in ("forward", "backward")]
    h = rnnshapes.golden(**sizes).arrays[f"{names[0]}.h"].astype("f4")
    result = rnnshapes.verify(**sizes, against={f"{names[0]}.h": h})
    assert result.passed
    assert result.uncompared_layers == (names[1], "dense")


STACK = {**SIZES, "M": [5, 6]}
WAYS = [f"bidirectional/{way}_simple_rnn" for way in ("forward", "backward")]
#: A network, arrays of it, and the layers of which these show nothing.
UNSEEN: list[tuple[Any, str, list[str]]] = [
    (STACK, "y_hat", []),
    (STACK, "output", []),
    (STACK, "simple_rnn.h", ["simple_rnn_1", "dense"]),
    (STACK, "simple_rnn_1.h", ["dense"]),
    (STACK, "simple_rnn.h y_hat", []),
    ({**SIZES, "bidirectional": True}, f"{WAYS[1]}.h", [WAYS[0], "dense"]),
    ({**SIZES, "bidirectional": True}, f"{WAYS[1]}.h {WAYS[0]}.h", ["dense"]),
    ("two outputs", "y_hat", ["dense"]),
    ("two outputs", "lstm.h", ["dense_1", "dense"]),
    ("encoder, decoder", "y_hat", []),
]


@pytest.mark.parametrize(("spec", "names", "unseen"), UNSEEN)
def test_layers_that_no_array_shows_are_listed(spec: Any, names: str, unseen: list[str]) -> None:
    """y_hat shows those before it; states show their own recurrence."""
    options = {"model": model_of(spec), "N": 2} if isinstance(spec, str) else spec
    golden = rnnshapes.golden(**options, keras=False).arrays
    result = rnnshapes.verify(**options, against={name: golden[name] for name in names.split()})
    assert result.passed
    assert list(result.uncompared_layers) == unseen


def test_few_digits_are_reported(right: Arrays, tmp_path: Path) -> None:
    """Such numbers agree within what was cut off."""
    for digits in (2, 9):
        rows = (
            ",".join([str(n), str(t), *(f"{y:.{digits}f}" for y in right["y_hat"][n, t])])
            for n, t in np.ndindex(2, 3)
        )
        (tmp_path / "a.csv").write_text("\n".join(["sample,t,y_hat[0],y_hat[1]", *rows]))
        result = rnnshapes.verify(**SIZES, against=tmp_path / "a.csv")
        assert result.passed
        assert [("0.005" in note) for note in result.notes] == [True] * (digits == 2)


REFUSED: list[tuple[str, dict[str, Any], Callable[[Arrays], Any], str]] = [
    ("a.csv", {}, lambda right: right["h"].reshape(6, 5), "columns sample and t"),
    ("a.json", {}, lambda right: [{"h": right["h"][0].tolist()}], '{"h": '),
    ("a.npy", {"N": 1}, lambda right: right["y_hat"][:, -1], "--input"),
    ("a.npy", {"N": 1, "T": 4}, lambda right: right["h"], "--input"),
    ("a.npy", {}, lambda right: right["h"].swapaxes(1, 2), "transpose"),
    ("a.npy", {}, lambda right: right["h"].transpose(2, 1, 0)[None], "transpose"),
    ("a.npy", {}, lambda right: right["h"][:, :, None, None], "axes of length 1"),
    ("a.npy", {}, lambda right: right["h"].reshape(6, 5), "sample 0"),
]


@pytest.mark.parametrize(("file", "sizes", "content", "remedy"), REFUSED)
def test_another_shape_has_a_remedy(
    file: str, sizes: Any, content: Any, remedy: str, right: Arrays, tmp_path: Path
) -> None:
    path, values = tmp_path / file, content(right)
    if file.endswith("npy"):
        np.save(path, values)
    elif file.endswith("csv"):
        np.savetxt(path, values, delimiter=",")
    else:
        path.write_text(json.dumps(values))
    with pytest.raises(InputError, match=re.escape(remedy)):
        rnnshapes.verify(**{**SIZES, **sizes}, against=path)


def test_h_n_tells_samples_from_steps() -> None:
    """With as many samples as steps, both orders of PyTorch's output have one shape."""
    sizes = {"cell": "lstm", "N": 4, "T": 4, "D": 3, "M": 5, "K": 2}
    h = rnnshapes.golden(**sizes).arrays["lstm.h"]
    for output in (h, h.swapaxes(0, 1)):
        port = {"output": output, "h_n": h[None, :, -1]}
        assert rnnshapes.verify(**sizes, against=port).passed
        wrong = {**port, "output": output * 1.01}
        assert not rnnshapes.verify(**sizes, against=wrong).passed
    y_hat = rnnshapes.golden(**sizes).arrays["y_hat"]
    assert rnnshapes.verify(**sizes, against={"output": y_hat, "h_n": h[None, :, -1]}).passed
    with pytest.raises(InputError):
        rnnshapes.verify(**sizes, against={"output": h, "h_n": np.ones(3)})


def test_axes_of_length_1_are_to_be_added() -> None:
    sizes = {"cell": "lstm", "N": 2, "T": 6, "D": 3, "M": 4, "K": 1}
    golden = rnnshapes.golden(**sizes).arrays
    port = {"y_hat": golden["y_hat"][..., 0], "h": golden["lstm.h"]}
    with pytest.raises(InputError, match=r"add axes.*\(2, 6, 1\)"):
        rnnshapes.verify(**sizes, against=port)
