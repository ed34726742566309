"""Inputs: every form that is taken, and one line for every one that is not."""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rnnshapes
from rnnshapes import InputError
from rnnshapes.load import inputs

RNG = np.random.default_rng(6)
THREE = RNG.standard_normal((2, 5, 3))
TWO = RNG.standard_normal((5, 3))


def csv(path: Path, text: str) -> Path:
    """A file with this text."""
    path.write_text(text, encoding="utf-8")
    return path


def npy(array: np.ndarray) -> bytes:
    """The content of a .npy file."""
    stream = BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "save", "expected"),
    [
        ("a.npy", lambda p: np.save(p, THREE), THREE),
        ("a.npy", lambda p: np.save(p, TWO), TWO[None]),
        ("a.npy", lambda p: np.save(p, np.asfortranarray(THREE)), THREE),
        ("a.NPY", lambda p: p.write_bytes(npy(TWO.astype("f2"))), TWO.astype("f2")[None]),
        (
            "a.npy",
            lambda p: np.save(p, np.arange(6).reshape(3, 2)),
            np.arange(6.0).reshape(1, 3, 2),
        ),
        ("a.npz", lambda p: np.savez(p, whatever=TWO), TWO[None]),
        ("a.npz", lambda p: np.savez_compressed(p, x=THREE, y=TWO), THREE),
        ("a.csv", lambda p: csv(p, "1,2,3\n4,5,6\n"), [[[1, 2, 3], [4, 5, 6]]]),
        ("a.csv", lambda p: csv(p, "a, b\n1,2\n\n4,5\n"), [[[1, 2], [4, 5]]]),
        ("a.csv", lambda p: csv(p, "\ufeff1.5,-2e3\n"), [[[1.5, -2000]]]),
        ("a.csv", lambda p: csv(p, "7\n8\n"), [[[7], [8]]]),
        (
            "a.csv",
            lambda p: csv(p, "sample,t,u\n1,0,7\n0,0,5\n0,1,6\n1,1,8\n"),
            [[[5], [6]], [[7], [8]]],
        ),
        ("a.csv", lambda p: csv(p, "T,u\n1,7\n0,5\n"), [[[5], [7]]]),
        ("a.csv", lambda p: csv(p, '"1","2"\n"3","4"\n'), [[[1, 2], [3, 4]]]),
        ("a.csv", lambda p: csv(p, '"sample","t","u"\n0,1,7\n0,0,5\n'), [[[5], [7]]]),
        ("a.csv", lambda p: csv(p, "\ufeffsample,t,u\n0,1,7\n0,0,5\n"), [[[5], [7]]]),
        ("a.csv", lambda p: csv(p, "# made by a program\n1,2\n"), [[[1, 2]]]),
        ("a.csv", lambda p: csv(p, "1, 2\r\n3 ,4\r\n"), [[[1, 2], [3, 4]]]),
        ("a.csv", lambda p: csv(p, "0,1\n2,3\n"), [[[0, 1], [2, 3]]]),
        ("a.csv", lambda p: csv(p, "0,1\n0.5,1\n"), [[[0, 1], [0.5, 1]]]),
    ],
)
def test_every_form_is_read(name: str, save: Any, expected: Any, tmp_path: Path) -> None:
    """(N, T, D) as it stands, (T, D) as one sample; as the float32 that predict makes of it."""
    save(tmp_path / name)
    found = inputs.full_array(inputs.read_input(tmp_path / name))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.asarray(expected, "float32"))


def test_what_trace_writes_as_csv_it_reads_as_input(run, in_folder) -> None:
    """The hidden states of one network are the input of another."""
    run("trace", "--N", 3, "--T", 4, "--no-keras", "-o", "y.csv")
    done = run("trace", "--input", "y.csv", "--no-keras")
    assert done.status == 0
    assert "N=3 T=4 D=2" in done.out


BROKEN: list[tuple[str, bytes | Any, str]] = [
    ("a.npy", lambda p: np.save(p, np.zeros(5)), "of this array is (5,)"),
    ("a.npy", lambda p: np.save(p, np.zeros((1, 2, 3, 4))), "(1, 2, 3, 4)"),
    ("a.npy", lambda p: np.save(p, np.zeros(())), "is ()"),
    ("a.npy", lambda p: np.save(p, np.zeros((0, 3))), "empty"),
    ("a.npy", lambda p: np.save(p, np.zeros((2, 0, 3))), "empty"),
    ("a.npy", lambda p: np.save(p, np.zeros((3, 2), complex)), "complex"),
    ("a.npy", lambda p: np.save(p, np.array([["a", "b"]])), "text"),
    ("a.npy", lambda p: np.save(p, np.array([[1, None]], object)), "never loaded"),
    ("a.npy", lambda p: np.save(p, np.zeros((2, 2), "M8[s]")), "real numbers"),
    ("a.npy", lambda p: np.save(p, np.zeros((2, 2), [("a", "f4")])), "real numbers"),
    ("a.npy", b"", "not a .npy file"),
    ("a.npy", b"hello", "not a .npy file"),
    ("a.npy", pickle.dumps([1, 2]), "not a .npy file"),
    ("a.npz", b"hello", "not a .npz file"),
    ("a.npz", lambda p: np.savez(p, a=TWO, b=TWO), "which array is x? It holds 'a', 'b'"),
    ("a.npz", np.savez, "It holds nothing"),
    ("a.npz", lambda p: np.savez(p, x=np.array([None])), "never loaded"),
    ("a.csv", b"", "not a single number"),
    ("a.csv", b"\n\n", "not a single number"),
    ("a.csv", b"a,b,c\n", "not a single number"),
    ("a.csv", b"1,2,3\n4,x,6\n", "line 2, column 2: 'x' is not a number"),
    ("a.csv", b"a,b\n1,2\n\n3,\n", "line 4, column 2: there is no number; write nan for one"),
    ("a.csv", b"1,2\n,4\n", "line 2, column 1: there is no number"),
    ("a.csv", b"1,2,3\n4,5\n", "line 2 has 2 numbers, and the line before it 3"),
    ("a.csv", b"1,2\n\n3\n", "line 3 has 1 number, and the line before it 2"),
    ("a.csv", b"1;2;3\n4;5;6\n", "line 1 has semicolons between its numbers; write commas"),
    ("a.csv", b"a;b\n1;2\n", "line 2 has semicolons between its numbers"),
    ("a.csv", b"1,5;2\n", "semicolons between its numbers and decimal commas; write commas"),
    ("a.csv", b"1\t2\n4\t5\n", "line 1 has tabs between its numbers"),
    ("a.csv", b"  1  2\n", "line 1 has spaces between its numbers"),
    ("a.csv", b'1,"2,5"\n', "line 1, column 2: '2,5' has a decimal comma; write 2.5"),
    ("a.csv", b"1,2,\n3,4,\n", "line 1 ends with a comma: remove it"),
    ("a.csv", b"a,b\n1,2,\n", "line 2 ends with a comma: remove it"),
    ("a.csv", b"a,b,\n1,2,\n", "line 1 ends with a comma: remove it"),
    ("a.csv", b"a,,b\n1,2,3\n", "line 1, column 2 has no heading"),
    ("a.csv", b",a,b\n0,1,2\n", "column 1 has no heading: is it an index?"),
    ("a.csv", b",0,1\n0,1.5,2.5\n", "column 1 has no heading: is it an index?"),
    ("a.csv", b"0,1\n1.5,2.5\n", "line 1 numbers the columns from 0 on"),
    ("a.csv", b"sample,t\n0,0,1.5\n", "line 1 has 2 headings for 3 columns"),
    ("a.csv", b"a,b\nc,d\n1,2\n", "line 2, column 1: 'c' is not a number"),
    ("a.csv", b"1_000,2\n", "line 1, column 1: '1_000' is not a number"),
    ("a.csv", b"\xff\xfe\x00\x01\n", "not text in UTF-8: save it as that"),
    ("a.csv", b"sample,t,u\n0,0,1\n0,1,2\n1,0,3\n", "sample 1 has not each of t = 0 to 1"),
    ("a.csv", b"sample,t,u\n0,0,1\n0,0,2\n", "sample 0 has not each of t = 0 to 1"),
    ("a.csv", b"sample,t,u\n0,nan,1\n", "sample 0 has not each of t = 0 to 0"),
    ("a.csv", b"sample,t\n0,0\n", "no features"),
    ("a.txt", b"1,2\n", ".npy, .npz or .csv"),
]


@pytest.mark.parametrize(("name", "content", "message"), BROKEN)
def test_what_cannot_be_used_is_one_line_that_names_the_file(
    name: str, content: Any, message: str, run, in_folder
) -> None:
    """Exit status 2, nothing on standard output, nothing written."""
    path = in_folder / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content(path)
    before = sorted(in_folder.iterdir())
    done = run("trace", "--input", name, "--no-keras", "-o", "out.json")
    assert done.status == 2
    assert done.out == ""
    assert done.err.count("\n") == 1
    assert done.err.startswith(f"rnnshapes: error: {name}: ")
    assert message in done.err
    assert sorted(in_folder.iterdir()) == before


def test_a_header_that_lies_about_the_size_allocates_nothing(run, in_folder) -> None:
    """10**11 rows announced, 48 bytes there."""
    np.save("a.npy", np.zeros((3, 2)))
    content = Path("a.npy").read_bytes()
    lie = content.replace(b"(3, 2), }" + b" " * 10, b"(99999999999, 2), }")
    assert lie != content
    Path("a.npy").write_bytes(lie)
    done = run("trace", "--input", "a.npy", "--no-keras")
    assert done.status == 2
    assert "ends before the numbers" in done.err


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_and_nothing_else(data, tmp_path: Path) -> None:
    """Cut anywhere, any byte changed: numbers of shape (N, T, D), or an InputError."""
    suffix = data.draw(st.sampled_from([".npy", ".npz", ".csv"]))
    path = tmp_path / f"a{suffix}"
    if suffix == ".npy":
        np.save(path, THREE)
    elif suffix == ".npz":
        np.savez_compressed(path, x=np.round(np.tile(THREE, (1, 9, 1)), 1))
    else:
        np.savetxt(path, TWO, delimiter=",")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(InputError):
        found = inputs.read_input(path)
        assert found.array.ndim == 3
        assert found.array.size > 0


def test_a_missing_file_and_a_folder_are_told_apart(run, in_folder) -> None:
    """Both are one line."""
    Path("dir.npy").mkdir()
    assert "there is no such file" in run("trace", "--input", "no.npy").err
    assert "this is not a file" in run("trace", "--input", "dir.npy").err


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="needs a user's rights")
def test_an_unreadable_file_is_one_line(run, in_folder) -> None:
    """Permission denied, exit status 2."""
    np.save("a.npy", TWO)
    Path("a.npy").chmod(0)
    done = run("trace", "--input", "a.npy", "--no-keras")
    assert done.status == 2
    assert "cannot be read: Permission denied" in done.err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_refused_and_not_waited_for(run, in_folder) -> None:
    """Nobody will ever write to it."""
    os.mkfifo("a.npy")
    assert "this is not a file" in run("trace", "--input", "a.npy").err


@pytest.mark.parametrize(
    ("option", "value", "found"), [("--N", 3, "2"), ("--T", 6, "5"), ("--D", 4, "3")]
)
def test_a_contradiction_names_both(option: str, value: int, found: str, run, in_folder) -> None:
    """The size that was given, and the one of the data."""
    np.save("x.npy", THREE)
    done = run("verify", "--input", "x.npy", option, value)
    assert done.status == 2
    assert "x.npy" in done.err
    assert "(2, 5, 3)" in done.err
    assert f"is {found}" in done.err
    assert f"{option} {value}" in done.err


def test_sizes_that_agree_with_the_data_may_be_given(run, in_folder) -> None:
    """They come from the data otherwise; M and K are free."""
    np.save("x.npy", THREE)
    sizes = ("--N", 2, "--T", 5, "--D", 3, "--M", 4, "--K", 1)
    done = run("trace", "--input", "x.npy", "--no-keras", *sizes)
    assert done.status == 0
    assert "N=2 T=5 D=3 M=4 K=1" in done.out


def test_from_python_an_array_is_taken_as_it_is() -> None:
    """A list will do, too; what is no array of numbers is an InputError, which is a ValueError."""
    assert rnnshapes.trace(x=THREE, keras=False).y_hat.shape == (2, 5, 2)
    assert rnnshapes.trace(x=[[1, 2], [3, 4]], keras=False).y_hat.shape == (1, 2, 2)
    for bad in ([[1], [2, 3]], [["a"]], 3, np.zeros((0, 2)), [None]):
        with pytest.raises(ValueError, match="x"):
            rnnshapes.trace(x=bad, keras=False)
