"""The numbers of a port: every type of file, decimals that were cut, and what cannot be used."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import rnnshapes
from rnnshapes.errors import InputError
from rnnshapes.port import arrays as ports

SIZES: dict[str, Any] = {"N": 3, "T": 6, "D": 4, "M": 5, "K": 2, "cell": "lstm"}
ARGUMENTS = [part for name, size in SIZES.items() for part in (f"--{name}", size)]


@pytest.fixture(scope="module")
def golden() -> rnnshapes.Golden:
    """Weights, x and all that an LSTM computes."""
    return rnnshapes.golden(**SIZES)


def arrays(path: Any) -> dict[str, np.ndarray]:
    """Each array of a port, by name."""
    return {array.name: array.values for array in ports.read_port(path).arrays}


# --- Types of files -----------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["npz", "json", "h"])
def test_golden_files_are_read_exactly(ending: str, golden, in_folder) -> None:
    """All states and the output by their names."""
    golden.save(f"g.{ending}")
    found = arrays(f"g.{ending}")
    for name in ("lstm.h", "lstm.c", "lstm.gate_f", "y_hat", "output"):
        np.testing.assert_array_equal(found[name], golden.arrays[name])


@pytest.mark.parametrize("ending", ["npz", "json", "h"])
def test_what_golden_writes_agrees(ending: str, run, in_folder) -> None:
    """The command takes its own file for a port, and each state is judged step by step."""
    run("trace", *ARGUMENTS, "--no-keras", "--golden", f"g.{ending}")
    done = run("verify", *ARGUMENTS, "--against", f"g.{ending}", "--format", "json")
    record = json.loads(done.out)
    assert done.status == 0
    assert record["dtype"] == "float64"
    outputs, lines = record["checks"][:4], record["checks"][4:]
    assert [check["proven"] for check in outputs] == [True, True, False, False]
    assert [check["compared"] for check in outputs] == [90, 90, 36, 6]
    assert {check["compared"] for check in lines} == {90, 360}
    assert all(check["proven"] for check in lines)


@pytest.mark.parametrize("ending", ["npz", "json", "csv"])
@pytest.mark.parametrize("show", ["y", "y,h,c,gates"])
def test_what_trace_writes_agrees(show: str, ending: str, run, in_folder) -> None:
    """Its own answer, in every format that holds numbers."""
    run("trace", *ARGUMENTS, "--no-keras", "--show", show, "-o", f"t.{ending}")
    done = run("verify", *ARGUMENTS, "--against", f"t.{ending}", "--format", "json")
    assert done.status == 0
    names = [check["name"] for check in json.loads(done.out)["checks"]]
    keys = (
        ["h", "c", *(f"gate_{gate}" for gate in "ifco" if ending != "json")] if "h" in show else []
    )
    states = [f"lstm: {key} at every step" for key in keys]
    output = ["output"] if ending == "json" else []
    assert sorted(names) == sorted([*states, *output, "y_hat at every step"])


NAMES = [
    ({"y_hat": "y_hat"}, ["y_hat at every step"]),
    ({"h": "lstm.h"}, ["lstm: h at every step"]),
    ({"lstm.h": "lstm.h", "lstm.c": "lstm.c"}, ["lstm: h at every step", "lstm: c at every step"]),
    (
        {"h": "lstm.h", "c": "lstm.c", "more": "x"},
        ["lstm: h at every step", "lstm: c at every step"],
    ),
    ({"anything": "y_hat"}, ["y_hat at every step"]),
    ({"": "lstm.h"}, ["lstm: h at every step"]),
    ({"output": "output"}, ["output"]),
    ({"": "output"}, ["y_hat at the last step"]),
    ({"y_hat": "y_hat", "output": "output"}, ["y_hat at every step", "output"]),
]


@pytest.mark.parametrize("ending", ["npz", "json"])
@pytest.mark.parametrize(("given", "checks"), NAMES, ids=" ".join)
def test_arrays_are_known_by_name_or_by_shape(given, checks, ending, golden, in_folder) -> None:
    """y_hat, output, h, c, ``lstm.h``; a single one may have any name; others are ignored."""
    named = {name or "arr_0": golden.arrays[source] for name, source in given.items()}
    path = Path(f"port.{ending}")
    if ending == "npz":
        np.savez(path, **named)
    else:
        path.write_text(json.dumps({name: values.tolist() for name, values in named.items()}))
    for port in (path, str(path), {name: golden.arrays[s] for name, s in given.items()}):
        result = rnnshapes.verify(**SIZES, against=port, ignore=["more"])
        assert result.passed
        assert [check.quantity for check in result.checks] == checks


@pytest.mark.parametrize("shape", [(1, 6, 2), (6, 2), (1, 2), (2,), (6, 1, 2)])
def test_one_sample_may_be_given_without_its_axis(shape: tuple[int, ...]) -> None:
    """(T, K) for (1, T, K); but (T, 1, K) has its axes exchanged, and says so."""
    sizes = {**SIZES, "N": 1}
    y_hat = rnnshapes.golden(**sizes).arrays["y_hat"]
    y_hat = (y_hat if 6 in shape else y_hat[:, -1]).reshape(shape)
    assert rnnshapes.verify(**sizes, against=y_hat).passed == (shape != (6, 1, 2))


def test_values_of_float32_are_taken_for_float32(golden) -> None:
    """They may come as float64 or as lists of lists."""
    y_hat = golden.arrays["y_hat"].astype("float32")
    for port in (y_hat, y_hat.tolist(), y_hat.astype("float64")):
        result = rnnshapes.verify(**SIZES, against=port)
        assert result.passed
        assert result.dtype == "float32"
    assert rnnshapes.verify(**SIZES, against=golden.arrays["y_hat"]).dtype == "float64"
    assert not rnnshapes.verify(**SIZES, against=y_hat, dtype="float64").passed


@pytest.mark.parametrize(
    "text",
    [
        "{rows}",
        "u0,u1\n{rows}",
        "y_hat[0],y_hat[1]\n{rows}",
        "\ufeffy_hat[0],y_hat[1]\n{rows}\n\n",
    ],
)
def test_a_csv_of_one_sample_needs_no_headings(text: str, in_folder) -> None:
    """Each line is a step."""
    sizes = {**SIZES, "N": 1}
    y_hat = rnnshapes.golden(**sizes).arrays["y_hat"][0]
    rows = "\n".join(", ".join(map(repr, row)) for row in y_hat.tolist())
    Path("y.csv").write_text(text.format(rows=rows), encoding="utf-8")
    assert rnnshapes.verify(**sizes, against="y.csv").passed


@pytest.mark.parametrize("heading", ["y_hat", "y_hat[0]"])
def test_a_single_unit_needs_no_index(heading: str, in_folder) -> None:
    Path("y.csv").write_text(f"t,{heading}\n1,0.5\n0,0.25\n", encoding="utf-8")
    np.testing.assert_array_equal(arrays("y.csv")["y_hat"].ravel(), [0.25, 0.5])


def test_a_csv_orders_lines_by_its_columns(golden, in_folder) -> None:
    """The columns sample and t order the lines, numbers in the headings the units."""
    y_hat = golden.arrays["y_hat"]
    lines = [
        f"{t},{n},{y_hat[n, t, 1]},{y_hat[n, t, 0]}" for t in (3, 0, 5, 1, 4, 2) for n in (2, 0, 1)
    ]
    Path("y.csv").write_text("\n".join(["t,sample,y_hat[1],y_hat[0]", *lines]), encoding="utf-8")
    np.testing.assert_array_equal(arrays("y.csv")["y_hat"], y_hat)


# --- Decimals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "what"),
    [
        *((form, "y_hat") for form in ("%.3f", "%.6f", "%.6g", "%.9g", "%.6e", "%.4g")),
        *(("%.6f", "simple_rnn.h"), ("%.4g", "simple_rnn.h")),
    ],
)
def test_short_decimals_agree_but_mistakes_do_not(form: str, what: str, in_folder) -> None:
    """A number is known to half a unit of its last digit, no better and no worse."""
    sizes = {**SIZES, "cell": "simple"}
    values = rnnshapes.golden(**sizes).arrays[what]
    for wrong in (False, True):
        texts = [[[form % v for v in row] for row in sample] for sample in values.tolist()]
        if wrong:
            texts[1][4][1] = form % (values[1, 4, 1] + 3e-3)
        nested = json.dumps(texts).replace('"', "")
        Path("p.json").write_text(f'{{"{what}": {nested}}}')
        result = rnnshapes.verify(**sizes, against="p.json")
        assert result.passed != wrong
    first = result.checks[0].first
    assert (first.sample, first.t, first.unit) == (1, 4, 1)


SMALL = hnp.arrays(
    st.sampled_from(["float32", "float64"]),
    st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3)),
    elements={"allow_nan": False, "allow_infinity": False, "allow_subnormal": False},
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(values=SMALL)
def test_numbers_in_full_precision_come_back(values: np.ndarray, tmp_path: Path) -> None:
    """Through JSON and CSV; and how far they may be off is less than their last bit."""
    n, t, _ = values.shape
    (tmp_path / "a.json").write_text(json.dumps(values.tolist()))
    heads = ["sample", "t", *(f"h[{unit}]" for unit in range(values.shape[2]))]
    rows = [[i, j, *values[i, j].tolist()] for i in range(n) for j in range(t)]
    lines = [",".join(map(str, row)) for row in [heads, *rows]]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    for ending in ("json", "csv"):
        (found,) = ports.read_port(tmp_path / f"a.{ending}").arrays
        np.testing.assert_array_equal(found.values, values.astype("float64"))
        assert found.rounding.shape == values.shape


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused(data, golden, tmp_path: Path) -> None:
    """Cut anywhere, any byte changed: arrays, or an InputError."""
    ending = data.draw(st.sampled_from(["npz", "json", "h", "npy", "csv"]))
    path = tmp_path / f"a.{ending}"
    if ending in ("npz", "json", "h"):
        original = tmp_path / f"g.{ending}"
        if not original.exists():
            golden.save(original)
        shutil.copy(original, path)
    elif ending == "npy":
        np.save(path, golden.arrays["y_hat"])
    else:
        path.write_text("sample,t,y_hat[0]\n0,0,1.5\n0,1,2.5\n")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        found = ports.read_port(path)
    except InputError:
        return
    assert all(array.values.shape == array.rounding.shape for array in found.arrays)


# --- What cannot be used ------------------------------------------------------------------------


def saved(*args: Any, **named: Any) -> Callable[[Path], None]:
    """Writes an array, or several with names."""
    return lambda path: np.savez(path, **named) if named else np.save(path, *args)


#: A file, what is in it, and what the error mentions.
BAD: list[tuple[str, Any, str]] = [
    ("a.npy", b"", ".npy … numpy.save"),
    ("a.npy", b"\x93NUMPY\x01\x00", "write it again"),
    ("a.npy", saved(np.array([None])), "Python objects"),
    ("a.npy", saved(np.ones((3, 6, 2)) * 1j), "complex128"),
    ("a.npy", saved(np.array(["1"])), "<U1"),
    ("a.npy", saved(np.ones((3, 6, 2), bool)), "bool"),
    ("a.npy", saved(np.zeros((0, 6, 2))), "empty, (0, 6, 2)"),
    ("a.npy", saved(np.full((3, 6, 2), np.nan)), "36 … sample 0, t 0, unit 0"),
    ("a.npy", saved(np.full((3, 2), np.inf)), "NaN … 6"),
    ("a.npy", saved(np.float32(1)), "is () … y_hat (N, T, K)"),
    ("a.npy", saved(np.zeros((3, 6, 4))), "h (N, T, M) = (3, 6, 5) … last … (N, M)"),
    ("a.npy", saved(np.zeros((3, 2, 6))), "axes … transpose"),
    ("a.npy", saved(np.zeros(36)), "(3, 6, 2) … reshape"),
    ("a.npy", saved(np.zeros((7, 6, 2))), "7 samples … 3 … --input … --N 7"),
    ("a.npy", saved(np.zeros((3, 8, 2))), "8 steps … 6 … --input … --T"),
    ("a.npz", b"hello", ".npz … numpy.savez"),
    ("a.npz", np.savez, "array"),
    ("a.npz", saved(a=np.zeros(3), b=np.zeros(4)), "'a', 'b' … y_hat"),
    ("a.npz", saved(y_hat=np.zeros((3, 6, 5))), "'y_hat' … (3, 6, 5) … y_hat (N, T, K)"),
    ("a.npz", saved(h=np.zeros((3, 6, 2)), c=np.zeros((3, 6, 5))), "'h' … (3, 6, 2)"),
    ("a.npz", saved(h=np.full((3, 5), np.nan), c=np.zeros((3, 5))), "h at the last step … NaN"),
    ("a.json", b"", "cannot be read"),
    ("a.json", b"{", "cannot be read"),
    ("a.json", b"3", "list … object"),
    ("a.json", b"[]", "empty, (0,)"),
    ("a.json", b"[[], []]", "empty, (2, 0)"),
    ("a.json", b'{"y_hat": []}', "'y_hat' … empty, (0,)"),
    ("a.json", b"[[1, 2], [3]]", "length"),
    ("a.json", b'["a"]', "'a'"),
    ("a.json", b"[true]", "'True'"),
    ("a.json", b'{"y_hat": [[1, true]]}', "'y_hat' … 'True'"),
    ("a.json", b'{"a": 1}', "array"),
    ("a.json", b'{"arrays": {"y_hat": 3}, "layers": 4}', "array"),
    ("a.json", b"[" * 100_000, "cannot be read"),
    ("a.json", json.dumps([[[None] * 2] * 6] * 3).encode(), "NaN … 36"),
    ("a.json", json.dumps([[1e999, 1]] * 3).encode(), "NaN … 3"),
    ("a.csv", b"", "number"),
    ("a.csv", b"y_hat[0],y_hat[1]\n", "number"),
    ("a.csv", b"1,2\n3\n", "line 2 … 1 number"),
    ("a.csv", b"1,2\n\n3,x\n", "line 3, column 2 … 'x'"),
    ("a.csv", b"1;2\n3;4\n", "line 1 … semicolons … commas"),
    ("a.csv", b"1,5\t2\n", "line 1 … tabs … decimal commas"),
    ("a.csv", b'"1,5","2"\n', "line 1, column 1 … '1,5' … 1.5"),
    ("a.csv", b"1,2,\n3,4,\n", "line 1 … comma"),
    ("a.csv", b"a,b,\n3,4,\n", "line 1 … comma"),
    ("a.csv", b"a,b\n1,2\n3,\n", "line 3, column 2"),
    ("a.csv", b",0,1\n0,1.5,2.5\n", "column 1 … index"),
    ("a.csv", b"0,1\n1.5,2.5\n", "line 1 … columns"),
    ("a.csv", b"\xff\xfe\x00", "UTF-8"),
    ("a.csv", b"sample,t,h[0]\n0,0,1\n0,0,2\n", "sample 0"),
    ("a.csv", b"sample,t,h[0]\n0,x,1\n", "line 2, column 2 … 'x'"),
    ("a.csv", b"sample,t,h[0]\n0,0,1\n2,0,2\n", "samples … from 0"),
    ("a.csv", b"sample,t,h[0]\n1,0,1\n2,0,2\n", "numbered from 0"),
    ("a.csv", b"y_hat[0],y_hat[2]\n1,2\n", "y_hat[0], y_hat[2] … units"),
    ("a.csv", b"y_hat[1],y_hat[1]\n1,2\n", "y_hat[1], y_hat[1] … units"),
    ("a.csv", b"sample,t\n0,0\n", "array"),
    ("a.h", b"int x;", "array"),
    ("a.h", b"/* y: z; float */\nstatic const float y[1] = {x};", "cannot be read"),
    ("a.txt", b"1", ".npy, .npz, .csv, .json or .h"),
    ("missing/a.npy", None, "there is no such file"),
    ("dir.npy", Path.mkdir, "this is not a file"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD, ids=[b[2][:40] for b in BAD])
def test_a_bad_port_is_one_line(name: str, content: Any, message: str, run, in_folder) -> None:
    """Exit status 2, nothing on standard output; it names what is expected and what to do."""
    path = Path(name)
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        content(path)
    done = run("verify", *ARGUMENTS, "--against", name)
    assert done.status == 2
    assert done.out == ""
    assert done.err.count("\n") == 1
    assert done.err.startswith(f"rnnshapes: error: {name}: ")
    assert all(part in done.err for part in message.split(" … "))


class Unreadable:
    """As a tensor that still has a gradient."""

    def __array__(self, *args: Any, **options: Any) -> np.ndarray:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")


@pytest.mark.parametrize("port", [[[1], [2, 3]], ["a"], [None], {}, Unreadable(), {"h": {}}])
def test_what_is_no_array_is_an_input_error(port: Any) -> None:
    with pytest.raises(InputError, match="port: "):
        rnnshapes.verify(**SIZES, against=port)


@pytest.mark.parametrize(
    ("texts", "rounding"),
    [
        (["0.25", "0.5"], [5e-3, 5e-3]),
        (["1.5", "-0.2"], [0, 0]),
        (["12", "7"], [0, 0]),
        (["123", "-7"], [0.5, 5e-3]),
        (["1234", "0"], [0.5, 0]),
        (["0.123", "-0.1"], [5e-4, 5e-4]),
        (["1.23e-3", "4.5E2"], [5e-6, 0.5]),
        (["1.2e-3", "4e2"], [0, 0]),
        (["0.000", "1.234"], [5e-4, 5e-4]),
        (["0.01", "0.001234"], [5e-6, 5e-7]),
        (["100000.25", "3.5"], [5e-3, 5e-3]),
        (["1234.5", "0.5"], [0.05, 5e-6]),
        (["1.234567", "1e-3"], [5e-7, 5e-10]),
    ],
)
@pytest.mark.parametrize("ending", ["json", "csv"])
def test_decimals_are_off_by_half_a_unit(
    texts: list[str], rounding: list[float], ending: str, tmp_path: Path
) -> None:
    """Of the last decimal, or of the last digit; few digits are exact."""
    path = tmp_path / f"a.{ending}"
    path.write_text(f"[{','.join(texts)}]" if ending == "json" else "\n".join(texts))
    (array,) = ports.read_port(path).arrays
    assert array.values.ravel().tolist() == [float(text) for text in texts]
    assert array.rounding.ravel().tolist() == pytest.approx(rounding)
    assert array.dtype == "float32"


#: What a JSON file holds, and each array with its dtype.
RECORDS: list[tuple[dict[str, Any], dict[str, tuple[list[Any], str]]]] = [
    ({"schema": "own", "h": [1]}, {}),  # refused: a text is no array
    ({"arrays": [1.5], "layers": [2]}, {"arrays": ([1.5], "float32"), "layers": ([2], "float32")}),
    (
        {
            "schema": "rnnshapes.golden/1",
            "arrays": {
                "x": {"dtype": "float64", "data": [[1, 2.5]]},
                "h": {"data": [3]},
                "c": [4],
                "mask": {"dtype": "bool", "data": [[True]]},
                "my_mask": {"dtype": "bool", "data": [[True]]},
                "mask_": {"dtype": "int8", "data": [[1]]},
                "a_mask": {"dtype": "float32", "data": [[1]]},
            },
        },
        {
            "x": ([[1, 2.5]], "float64"),
            "h": ([3], "float32"),
            "c": ([4], "float32"),
            "mask_": ([[1]], "int8"),
            "a_mask": ([[1]], "float32"),
        },
    ),
    (
        {
            "schema": "rnnshapes.trace/1",
            "T": 2,
            "layers": [
                {"name": "a", "type": "LSTM", "h": [[1, 2]], "h_keras": [[1, 3]], "notes": []},
                {"name": "b", "h": [[None, 2]], "gates": ["i", "f"], "c": [[]], "n": [{"t": 1}]},
                {"h": [9]},
                7,
            ],
            "y_hat": {"numpy": [[5]], "keras": [[6]]},
            "output": {"keras": [[7]]},
        },
        {
            "a.h": ([[1, 2]], "float64"),
            "b.h": ([[np.nan, 2]], "float64"),
            "b.c": ([[]], "float64"),
            "y_hat": ([[5]], "float64"),
        },
    ),
]


@pytest.mark.parametrize(("record", "expected"), RECORDS)
def test_arrays_of_a_json_record_have_names(
    record: Any, expected: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "a.json").write_text(json.dumps(record))
    if not expected:
        with pytest.raises(InputError, match="schema"):
            ports.read_port(tmp_path / "a.json")
        return
    found = ports.read_port(tmp_path / "a.json").arrays
    assert [array.name for array in found] == list(expected)
    for array, (values, dtype) in zip(found, expected.values(), strict=True):
        np.testing.assert_array_equal(array.values, np.array(values, float))
        assert array.dtype == dtype


#: The text of a CSV file, and its arrays by name; None where it is refused.
TABLES: list[tuple[str, dict[str, Any] | None]] = [
    ("u,v\n1,2\n3,4\n", {"": [[1, 2], [3, 4]]}),
    ("t,u,v\n1,1,2\n0,3,4\n", {"": [[3, 4], [1, 2]]}),
    ("t,h[1],y_hat,h[0]\n1,1,2,3\n0,4,5,6\n", {"h": [[6, 4], [3, 1]], "y_hat": [[5], [2]]}),
    ("t,h,y_hat\n1,1,2\n0,3,\n2,4,\n", None),
    ("t,h,y_hat\n0,3,2\n1,1,\n", {"h": [[3], [1]], "y_hat": [[2]]}),
    ("t,h,y_hat\n0,3,\n1,1,\n", {"h": [[3], [1]]}),
    ("t,h[0],h[1]\n0,3,\n1,1,2\n", None),
    ("t,h\n,3\n1,1\n", None),
    ("sample,t,a.h[0]\n1,0,1\n0,0,2\n0,1,3\n1,1,4\n", {"a.h": [[[2], [3]], [[1], [4]]]}),
    ("sample,t,h\n0,0,1\n,1,2\n", None),
    ("h[0],h[1]\n1,2\n3,4\n", {"h": [[1, 2], [3, 4]]}),
    ("h[1],h[2]\n1,2\n3,4\n", None),
    ("a[2],a[0],a[1],b\n1,2,3,4\n", {"a": [[2, 3, 1]], "b": [[4]]}),
]


@pytest.mark.parametrize(("text", "expected"), TABLES)
def test_columns_of_a_table_are_arrays(
    text: str, expected: dict[str, Any] | None, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text(text)
    if expected is None:
        with pytest.raises(InputError):
            ports.read_port(tmp_path / "a.csv")
    else:
        assert {n: a.tolist() for n, a in arrays(tmp_path / "a.csv").items()} == expected
