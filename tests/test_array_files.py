"""Readers of array files: what each returns of a small file, and what it refuses."""

from __future__ import annotations

import io
import re
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnshapes import memory
from rnnshapes.errors import InputError, TooLargeError
from rnnshapes.load import array_files
from rnnshapes.load.csv_mistakes import has_headings, is_number, line_mistake, split_cells
from tests.helpers.foreign import written

NAN, INF = float("nan"), float("inf")
READERS = {
    ".npy": array_files.read_npy,
    ".csv": array_files.read_number_table,
    ".json": array_files.read_json,
}


def text_file(tmp_path: Path, text: str, name: str = "a.csv") -> Path:
    return written(tmp_path / name, text.encode())


# --- CSV ------------------------------------------------------------------------------------------

TABLES: dict[str, tuple[str, list[str], list[list[float]]]] = {
    "numbers": ("1,2.5\n-3e2,4\n", [], [[1, 2.5], [-300, 4]]),
    "one number": ("7", [], [[7]]),
    "headings": ("a, b\n1,2\n3,4\n", ["a", "b"], [[1, 2], [3, 4]]),
    "headings in quotes": ('"a,b","c"\n1,2\n', ["a,b", "c"], [[1, 2]]),
    "numbers in quotes": ('"1","2"\n"3","4"\n', [], [[1, 2], [3, 4]]),
    "blank lines": ("\n\na,b\n\n1,2\n\n3,4\n\n", ["a", "b"], [[1, 2], [3, 4]]),
    "ends of Windows": ("1,2\r\n3,4\r\n", [], [[1, 2], [3, 4]]),
    "a mark of order": ("\ufeff1,2\n", [], [[1, 2]]),
    "not finite": ("nan,inf\n-inf,1\n", [], [[NAN, INF], [-INF, 1]]),
    "a comment": ("# x, 3 columns\n1,2,3\n", ["# x", "3 columns"], [[1, 2, 3]]),
    "numbered columns": ("0,1\n2,3\n", [], [[0, 1], [2, 3]]),
    "numbers below a name": ("t,1\n2,3\n", ["t", "1"], [[2, 3]]),
    "numbers in the first line": ("0,2\n0.5,0.25\n", [], [[0, 2], [0.5, 0.25]]),
    "a first number of its own": ("0\n0.5\n", [], [[0], [0.5]]),
    "an index of integers": ("0,1\n-2,0.5\n", [], [[0, 1], [-2, 0.5]]),
    "too large": ("1e999,1\n", [], [[INF, 1]]),
}
#: What a message says of a text that is no table: the line, and the column.
NO_TABLES: dict[str, tuple[str, str]] = {
    "empty": ("", "not a single"),
    "blank": (" \n\n", "not a single"),
    "headings alone": ("a,b\n", "not a single"),
    "a word": ("1,2\n3,x\n", "line 2, column 2"),
    "two words": ("1,2\n3,a b\n", "line 2, column 2"),
    "a word behind headings": ("a,b\n1,2\n\n3,4\nx,6\n", "line 5, column 1"),
    "short": ("1,2\n3\n", "line 2 has 1 number.* 2;"),
    "long": ("1,2\n3,4\n5,6,7\n", "line 3 has 3 numbers.* 2;"),
    "long behind headings": ("a,b\n1,2,3\n4,5\n", "line 2 has 3 numbers.* 2;"),
    "more headings": ("a,b,c\n1,2\n", "line 1 has 3 .* 2 columns"),
    "fewer headings": ("\na,b\n1,2,3\n", "line 2 has 2 .* 3 columns"),
    "a gap": ("1,,2\n", "line 1, column 2"),
    "semicolons": ("1;2\n3;4\n", "line 1 has semicolons"),
    "semicolons, decimal commas": ("1,5;2,5\n", "line 1 has semicolons.*decimal commas"),
    "tabs": ("1\t2\n", "line 1 has tabs"),
    "spaces": ("1 2  3\n", "line 1 has spaces"),
    "decimal commas": ('"1,5","2"\n', "line 1, column 1.*1.5"),
    "a comma at the end": ("1,2,\n3,4,\n", "line 1 ends with a comma"),
    "a comma behind headings": ("a,b,\n1,2,\n", "line 1 ends with a comma"),
    "a heading is missing": ("a,,b\n1,2,3\n", "line 1, column 2 has no heading"),
    "columns are numbered": ("0,1,2\n0.5,0.25,1.5\n", "line 1 numbers the columns"),
    "an index": (",0,1\n0,0.5,0.25\n", "line 1, column 1 has no heading.*index=False"),
    "an index of names": (",a,b\n0,0.5,0.25\n", "line 1, column 1 has no heading.*index=False"),
    "an underscore": ("1,2\n1_000,3\n", "line 2, column 1"),
    "hexadecimal": ("1,2\n0x10,3\n", "line 2, column 1"),
}


@pytest.mark.parametrize("name", TABLES)
def test_table_of_numbers_is_read(name: str, tmp_path: Path) -> None:
    text, headings, numbers = TABLES[name]
    table = array_files.read_file(text_file(tmp_path, text), {".csv": READERS[".csv"]})
    assert table.headings == headings
    assert table.numbers.dtype == np.float64
    np.testing.assert_array_equal(table.numbers, numbers)


@pytest.mark.parametrize("name", NO_TABLES)
def test_line_of_no_numbers_is_named(name: str, tmp_path: Path) -> None:
    text, said = NO_TABLES[name]
    with pytest.raises(InputError, match=f"^{re.escape(str(tmp_path))}.*{said}") as error:
        array_files.read_number_table(text_file(tmp_path, text))
    assert ("decimal comma" in str(error.value)) is ("1,5" in text)


def test_text_table_keeps_numbers_as_written(tmp_path: Path) -> None:
    sparse = re.compile(r"[a-z]\[\d\]")
    cases = [
        ("1,2.50\n0.10,-3e2\n", ([], [["1", "2.50"], ["0.10", "-3e2"]])),
        ("a , b\n 1, 2\n , , \n3,4\n", (["a", "b"], [["1", "2"], ["3", "4"]])),
        ('t,h[0]\n0,\n"1",2\n', (["t", "h[0]"], [["0", ""], ["1", "2"]])),
    ]
    for text, expected in cases:
        assert array_files.read_text_table(text_file(tmp_path, text), sparse) == expected
    for text, said in [
        ("t,h\n0,\n1,2\n", "line 2"),
        ("a,b\n1,2\n3\n", "line 3"),
        ("1,2\n3,4,5\n", "line 2"),
        ("1,2\n3,x\n", "line 2, column 2"),
    ]:
        with pytest.raises(InputError, match=said):
            array_files.read_text_table(text_file(tmp_path, text), sparse)


def test_cells_are_split_at_commas() -> None:
    assert split_cells(' 1, "a, b" ,\n') == ["1", "a, b", ""]
    assert split_cells("") == []
    numbers = {"1": True, "-2.5e-3": True, "nan": True, "": False, "1_0": False, "1,5": False}
    assert {text: is_number(text) for text in numbers} == numbers
    lines = {"a,b": True, "1,b": False, "nan,1": False, "inf": False, "1,2": False, "x": True}
    assert {line: has_headings(line) for line in lines} == lines


@pytest.mark.parametrize(
    ("line", "width", "gaps", "wrong"),
    [
        ("1,2", None, False, False),
        ("1,2", 2, False, False),
        ("1,2", 3, False, True),
        ("1,", None, False, True),
        ("1,", None, True, True),
        ("1,", 2, True, False),
        ("1,", 2, False, True),
        ("1,,3", 3, True, False),
        ("1,,3", 3, False, True),
        ("1;2", 2, True, True),
    ],
)
def test_lines_of_wrong_width_are_refused(
    line: str, width: int | None, gaps: bool, wrong: bool
) -> None:
    assert bool(line_mistake(line, width, gaps=gaps)) is wrong


def test_rows_are_sorted_by_sample_and_step(tmp_path: Path) -> None:
    samples = np.array([7.0, 2.0, 7.0, 2.0, 2.0, 7.0])
    steps = np.array([1.0, 0.0, 0.0, 2.0, 1.0, 2.0])
    order, labels, count = array_files.sort_rows(tmp_path, samples, steps)
    np.testing.assert_array_equal(order, [1, 4, 3, 2, 0, 5])
    np.testing.assert_array_equal(labels, [2, 7])
    assert count == 3
    for changed in ([1, 0, 0, 2, 1, 1], [1, 1, 0, 3, 2, 2], [1, 0, 0, 2, 1, 3]):
        sample = "2" if changed[1] else "7"
        with pytest.raises(InputError, match=f"sample {sample} .*0 to 2"):
            array_files.sort_rows(tmp_path, samples, np.array(changed, float))
    with pytest.raises(InputError, match=r"sample 7 .*0 to 2"):
        array_files.sort_rows(tmp_path, samples[:5], steps[:5])


# --- NumPy ----------------------------------------------------------------------------------------


def npy(array: np.ndarray, version: tuple[int, int] = (1, 0)) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version)
    return stream.getvalue()


ARRAYS = [
    np.arange(24, dtype="float32").reshape(2, 3, 4),
    np.asfortranarray(np.arange(6, dtype=">f8").reshape(2, 3)),
    np.array(3, "int16"),
    np.zeros((0, 3)),
    np.array([True, False]),
]


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: str(a.dtype))
def test_numpy_file_is_read(array: np.ndarray, version: tuple[int, int], tmp_path: Path) -> None:
    data = npy(array, version)
    found = array_files.read_npy(written(tmp_path / "a.npy", data))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", data)
        archive.writestr("y.npy", npy(ARRAYS[0]))
    with array_files.open_npz(tmp_path / "a.npz") as arrays:
        assert list(arrays) == ["x", "y"]
        assert len(arrays) == 2
        each = [found, arrays["x"]]
        np.testing.assert_array_equal(arrays["y"], ARRAYS[0])
    for one in each:
        assert (one.shape, one.dtype) == (array.shape, array.dtype)
        np.testing.assert_array_equal(one, array)


def with_header(text: str, data: bytes = b"") -> bytes:
    header = text.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def header(shape: str, descr: str = "'<f4'") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"


GOOD = npy(ARRAYS[0])
BROKEN = {
    "empty": b"",
    "text": b"1,2,3\n4,5,6\n",
    "another mark": b"\x92" + GOOD[1:],
    "another version": GOOD[:6] + b"\x03" + GOOD[7:],
    "a later version": GOOD[:7] + b"\x01" + GOOD[8:],
    "cut off": GOOD[:-1],
    "header alone": GOOD[:60],
    "negative axis": with_header(header("(-1, -1)"), bytes(4)),
    "objects": with_header(header("(1,)", "'|O'"), bytes(8)),
    "a pickle": b"\x80\x04]\x94.",
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_numpy_file_is_refused(name: str, tmp_path: Path) -> None:
    path = written(tmp_path / "a.npy", BROKEN[name])
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}: "):
        array_files.read_file(path, READERS)
    packed = tmp_path / "a.npz"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("x.npy", BROKEN[name])

    def read(path: Path) -> Any:
        with array_files.open_npz(path) as arrays:
            return arrays["x"]

    with pytest.raises(InputError, match=f"^{re.escape(str(packed))}: "):
        array_files.read_file(packed, {".npz": read})


def test_file_of_python_2_is_read(tmp_path: Path) -> None:
    """NumPy would warn of its header."""
    path = written(
        tmp_path / "a.npy", with_header(header("(2L, 3L)"), ARRAYS[0][0, :2, :3].tobytes())
    )
    np.testing.assert_array_equal(array_files.read_file(path, READERS), ARRAYS[0][0, :2, :3])


def test_long_header_is_not_unpacked(tmp_path: Path) -> None:
    """A member of a few bytes may have one of many megabytes."""
    size = 2**23
    data = b"\x93NUMPY\x02\x00" + struct.pack("<I", size) + b" " * size
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", data)
    with array_files.open_npz(tmp_path / "a.npz") as arrays:
        tracemalloc.start()
        try:
            with pytest.raises(InputError, match="'x'"):
                arrays["x"]
            assert tracemalloc.get_traced_memory()[1] < size / 4
        finally:
            tracemalloc.stop()


def test_only_npy_files_may_have_trailing_bytes(tmp_path: Path) -> None:
    path = written(tmp_path / "a.npy", GOOD + b"more")
    np.testing.assert_array_equal(array_files.read_npy(path), ARRAYS[0])
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", GOOD + b"more")
    with array_files.open_npz(tmp_path / "a.npz") as arrays, pytest.raises(InputError, match="'x'"):
        arrays["x"]


def test_names_in_an_archive_are_different(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", GOOD)
        archive.writestr("x", GOOD)
    with pytest.raises(InputError), array_files.open_npz(tmp_path / "a.npz"):
        pass
    with (
        pytest.raises(InputError, match="savez"),
        array_files.open_npz(written(tmp_path / "b.npz", GOOD)),
    ):
        pass


@pytest.mark.parametrize(
    ("values", "kinds", "allowed"),
    [
        ([[1, 2], [3, 4]], "fiub", True),
        ([True, False], "fiub", True),
        ([True, False], "fiu", False),
        (np.ones(2, "uint8"), "fiu", True),
        (np.ones(2, "uint8"), "f", False),
        (2.5, "fiub", True),
        ([1j], "fiub", False),
        (["a"], "fiub", False),
        ([b"a"], "fiub", False),
        ([None], "fiub", False),
        ([[1, 2], [3]], "fiub", False),
        ({"a": 1}, "fiub", False),
    ],
)
def test_array_holds_real_numbers(values: Any, kinds: str, allowed: bool) -> None:
    if allowed:
        np.testing.assert_array_equal(array_files.real_array(values, "x", kinds), values)
    else:
        with pytest.raises(InputError, match=r"^x: "):
            array_files.real_array(values, "x", kinds)


@pytest.mark.parametrize("kind", [TypeError, ValueError, RuntimeError])
def test_object_may_refuse_to_be_an_array(kind: type[Exception]) -> None:
    """As tensors on a GPU do, or those whose gradients are recorded."""

    class Refusing:
        def __array__(self, *args: Any, **options: Any) -> Any:
            raise kind("on a GPU")

    with pytest.raises(InputError, match=r"^x: .*\(on a GPU\)"):
        array_files.real_array(Refusing(), "x")


# --- Any file -------------------------------------------------------------------------------------


def test_file_is_read_by_its_extension(tmp_path: Path) -> None:
    upper = text_file(tmp_path, "[1, 2.50, NaN]", "a.JSON")
    assert array_files.read_file(upper, READERS) == ["1", "2.50", "NaN"]
    (tmp_path / "b.csv").mkdir()
    for path, said in [
        (tmp_path / "a.txt", r"\.npy, \.csv or \.json"),
        (tmp_path / "none.csv", "no such file.*"),
        (tmp_path / "b.csv", "not a file"),
        (written(tmp_path / "c.csv", b"1,\xff\n"), "UTF-8"),
        (text_file(tmp_path, "[1,", "d.json"), ""),
        (text_file(tmp_path, "[" * 10**5, "e.json"), ""),
    ]:
        with pytest.raises(InputError, match=f"^{re.escape(str(path))}: .*{said}"):
            array_files.read_file(path, READERS)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("1", array_files.read_number_table),
        ("1", lambda path: array_files.read_text_table(path, re.compile("x"))),
        ("1", array_files.read_json),
        ("// 1", lambda path: list(array_files.read_c_header(path))),
    ],
    ids=["numbers", "text", "json", "c"],
)
def test_text_takes_many_times_its_size(
    text: str, read: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = text_file(tmp_path, text + " " * 10**4)
    monkeypatch.setattr(memory, "available", lambda: 3 * 10**4)
    with pytest.raises(TooLargeError, match=re.escape(str(path))):
        read(path)
    monkeypatch.setattr(memory, "available", lambda: 10**6)
    read(path)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "memory"),
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (OSError("disk"), "disk"),
        (ValueError("No data left in file"), "ends"),
        (EOFError("EOF in the middle"), "ends"),
        (ValueError("cannot load when allow_pickle=False"), "pickle"),
        (KeyError(), "KeyError"),
        (InputError("as it is"), "^as it is$"),
    ],
)
def test_error_of_a_reader_is_one_line(error: Exception, said: str, tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        raise error

    with pytest.raises(InputError, match=said):
        array_files.read_file(text_file(tmp_path, "1"), {".csv": fail})


def test_json_keeps_numbers_as_written(tmp_path: Path) -> None:
    path = text_file(tmp_path, '\ufeff{"a": [1, 0.10, -Infinity, null, true], "b": {"a": 1}}', "a")
    a = ["1", "0.10", "-Infinity", None, True]
    assert array_files.read_json(path) == {"a": a, "b": {"a": "1"}}
    for text in ('{"a": 1, "b": 2, "b": 3}', '{"c": {"b": 2, "a": 1, "b": 2}}'):
        with pytest.raises(InputError, match="'b'"):
            array_files.read_json(text_file(tmp_path, text, "b"))


C_ARRAYS: dict[str, tuple[str, list[tuple[str, str, Any]]]] = {
    "plain": ("float a[2] = {1, 2.5f};", [("a", "float32", ["1", "2.5"])]),
    "double at the start": ("double a[1] = {1};", [("a", "float64", ["1"])]),
    "double": ("static const double a[] = {1.0};", [("a", "float64", ["1.0"])]),
    "two axes": (
        "const float a[2] [2] = {\n {1.0f, 2e-3f},\n {-3, 4}\n};",
        [("a", "float32", [["1.0", "2e-3"], ["-3", "4"]])],
    ),
    "no digit beside a point": (
        "float a[] = {1., 2.f, .5, -.25f, 3.e-2f, 1.5};",
        [("a", "float32", ["1.0", "2.0", "0.5", "-0.25", "3.0e-2", "1.5"])],
    ),
    "not finite": ("float a[3] = {NAN, -INFINITY, INFINITY};", [("a", "float32", [None] * 3)]),
    "described": (
        "/* y_hat / Wx: (2,), float64 */\nfloat a[2] = {1, 2};",
        [("y_hat / Wx", "float64", ["1", "2"])],
    ),
    "described with a type": (
        "/* h: float16 */\nstatic const float\n a[1] = {1};",
        [("h", "float16", ["1"])],
    ),
    "a comment of something else": ("/* weights */\nfloat a[1] = {1};", [("a", "float32", ["1"])]),
    "a comment further up": (
        "/* h: float64 */\n#define N 1\nfloat a[1] = {1};",
        [("a", "float32", ["1"])],
    ),
    "a comment for the first": (
        "/* h: float64 */\nfloat a[1] = {1};\nfloat b[1] = {2};",
        [("h", "float64", ["1"]), ("b", "float32", ["2"])],
    ),
    "arrays in comments": (
        "/* float a[1] = {1}; */\n// float c[1] = {1};\nfloat b[1] = {2};",
        [("b", "float32", ["2"])],
    ),
    "conditions": ("#if X\nfloat a[1] = {1};\n#endif\n", [("a", "float32", ["1"])]),
    "several lines": (
        "/*\n * h[t]: at each step,\n * float32 */\nfloat a[1] = {1};",
        [("h[t]", "float32", ["1"])],
    ),
    "none": ("#define N 3\n", []),
}
C_CUT_OFF = {
    "in a comment": "float a[1] = {1};\n/* h: ",
    "in an array": "float a[2] = {1, ",
    "before its end": "float a[2] = {1, 2}",
    "in a declaration": "float a[1] = {1};\nfloat b[2",
    "behind a declaration": "float a[1] = {1};\nfloat b[2] =",
    "in a condition": "#ifdef X\nfloat a[1] = {1};\n",
}


@pytest.mark.parametrize("name", C_ARRAYS)
def test_arrays_of_a_header_are_read(name: str, tmp_path: Path) -> None:
    text, arrays = C_ARRAYS[name]
    assert list(array_files.read_c_header(text_file(tmp_path, text, "a.h"))) == arrays


@pytest.mark.parametrize("name", C_CUT_OFF)
def test_header_that_is_cut_off_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        list(array_files.read_c_header(text_file(tmp_path, C_CUT_OFF[name], "a.h")))
