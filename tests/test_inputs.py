"""Reading x: every form that is read, and one line for every one that is not."""

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
from rnnshapes.load.check_shape import match_input
from rnnshapes.network.assemble import LayerCall, LayerGraph, assemble
from rnnshapes.network.graph import Tap

RNG = np.random.default_rng(6)
ZEROS = np.zeros((2, 500, 300))
THREE = RNG.standard_normal((2, 5, 3))
TWO = RNG.standard_normal((5, 3))


def csv(path: Path, text: str) -> Path:
    """Write a file with this text."""
    path.write_text(text, encoding="utf-8")
    return path


def npy(array: np.ndarray) -> bytes:
    """Return the content of a .npy file."""
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
        ("a.npz", lambda p: np.savez_compressed(p, x=ZEROS), ZEROS),  # to a share of 1/800
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
    """(N, T, D), or (T, D) as one sample, in the float32 that predict rounds to."""
    save(tmp_path / name)
    found = inputs.full_array(inputs.sequences(inputs.read_input(tmp_path / name)))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.asarray(expected, "float32"))


def test_csv_of_a_trace_is_an_input(run, in_folder) -> None:
    """The outputs of one network are the input of another."""
    run("trace", "--N", 3, "--T", 4, "--no-keras", "-o", "y.csv")
    done = run("trace", "--input", "y.csv", "--no-keras")
    assert done.status == 0
    assert "N=3 T=4 D=2" in done.out


#: Files that hold no x, and what the message has to mention.
BROKEN: list[tuple[str, bytes | Any, tuple[str, ...]]] = [
    ("a.npy", lambda p: np.save(p, np.zeros(5)), ("(5,)",)),
    ("a.npy", lambda p: np.save(p, np.zeros((1, 2, 3, 4))), ("(1, 2, 3, 4)",)),
    ("a.npy", lambda p: np.save(p, np.zeros(())), ("()",)),
    ("a.npy", lambda p: np.save(p, np.zeros((0, 3))), ("empty", "(0, 3)")),
    ("a.npy", lambda p: np.save(p, np.zeros((2, 0, 3))), ("empty", "(2, 0, 3)")),
    ("a.npy", lambda p: np.save(p, np.zeros((3, 2), complex)), ("complex",)),
    ("a.npy", lambda p: np.save(p, np.array([["a", "b"]])), ("text",)),
    ("a.npy", lambda p: np.save(p, np.array([[1, None]], object)), ("pickle",)),
    ("a.npy", lambda p: np.save(p, np.zeros((2, 2), "M8[s]")), ("real numbers", "datetime64")),
    ("a.npy", lambda p: np.save(p, np.zeros((2, 2), [("a", "f4")])), ("real numbers",)),
    ("a.npy", b"", ("numpy.save",)),
    ("a.npy", b"hello", ("numpy.save",)),
    ("a.npy", pickle.dumps([1, 2]), ("numpy.save",)),
    ("a.npz", b"hello", ("numpy.savez",)),
    ("a.npz", lambda p: np.savez(p, a=TWO, b=TWO), ("no array 'x'", "'a', 'b'")),
    ("a.npz", np.savez, ("nothing",)),
    ("a.npz", lambda p: np.savez(p, x=np.array([None])), ("pickle",)),
    ("a.csv", b"", ("number",)),
    ("a.csv", b"\n\n", ("number",)),
    ("a.csv", b"a,b,c\n", ("number",)),
    ("a.csv", b"1,2,3\n4,x,6\n", ("line 2", "column 2", "'x'")),
    ("a.csv", b"a,b\n1,2\n\n3,\n", ("line 4", "column 2", "nan")),
    ("a.csv", b"1,2\n,4\n", ("line 2", "column 1")),
    ("a.csv", b"1,2,3\n4,5\n", ("line 2", "2 numbers", "3")),
    ("a.csv", b"1,2\n\n3\n", ("line 3", "1 number", "2")),
    ("a.csv", b"1;2;3\n4;5;6\n", ("line 1", "semicolons", "commas")),
    ("a.csv", b"a;b\n1;2\n", ("line 2", "semicolons")),
    ("a.csv", b"1,5;2\n", ("line 1", "semicolons", "decimal commas")),
    ("a.csv", b"1\t2\n4\t5\n", ("line 1", "tabs")),
    ("a.csv", b"  1  2\n", ("line 1", "spaces")),
    ("a.csv", b'1,"2,5"\n', ("line 1", "column 2", "'2,5'", "decimal comma", "2.5")),
    ("a.csv", b"1,2,\n3,4,\n", ("line 1", "ends with a comma")),
    ("a.csv", b"a,b\n1,2,\n", ("line 2", "ends with a comma")),
    ("a.csv", b"a,b,\n1,2,\n", ("line 1", "ends with a comma")),
    ("a.csv", b"a,,b\n1,2,3\n", ("line 1", "column 2", "heading")),
    ("a.csv", b",a,b\n0,1,2\n", ("column 1", "heading", "index")),
    ("a.csv", b",0,1\n0,1.5,2.5\n", ("column 1", "heading", "index")),
    ("a.csv", b"0,1\n1.5,2.5\n", ("line 1", "header=False")),
    ("a.csv", b"sample,t\n0,0,1.5\n", ("line 1", "2 headings", "3 columns")),
    ("a.csv", b"a,b\nc,d\n1,2\n", ("line 2", "column 1", "'c'")),
    ("a.csv", b"1_000,2\n", ("line 1", "column 1", "'1_000'")),
    ("a.csv", b"\xff\xfe\x00\x01\n", ("UTF-8",)),
    ("a.csv", b"sample,t,u\n0,0,1\n0,1,2\n1,0,3\n", ("sample 1", "t = 0 to 1")),
    ("a.csv", b"sample,t,u\n0,0,1\n0,0,2\n", ("sample 0", "t = 0 to 1")),
    ("a.csv", b"sample,t,u\n0,nan,1\n", ("sample 0", "t = 0 to 0")),
    ("a.csv", b"sample,t\n0,0\n", ("no features",)),
    ("a.txt", b"1,2\n", (".npy, .npz or .csv",)),
]


@pytest.mark.parametrize(("name", "content", "facts"), BROKEN)
def test_unusable_input_exits_2_with_one_line(
    name: str, content: Any, facts: tuple[str, ...], run, in_folder
) -> None:
    """The line names the file; nothing is on standard output, and nothing is written."""
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
    for fact in facts:
        assert fact in done.err
    assert sorted(in_folder.iterdir()) == before


def test_npy_header_with_false_size_allocates_nothing(run, in_folder) -> None:
    """It states 10**11 rows, and 48 bytes follow."""
    np.save("a.npy", np.zeros((3, 2)))
    content = Path("a.npy").read_bytes()
    lie = content.replace(b"(3, 2), }" + b" " * 10, b"(99999999999, 2), }")
    assert lie != content
    Path("a.npy").write_bytes(lie)
    done = run("trace", "--input", "a.npy", "--no-keras")
    assert done.status == 2
    assert "a.npy" in done.err
    assert len(done.err.splitlines()) == 1


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_input_is_read_or_refused(data, tmp_path: Path) -> None:
    """Cut anywhere, with any byte changed: numbers (N, T, D), or an InputError."""
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
        found = inputs.sequences(inputs.read_input(path))
        assert found.array.ndim == 3
        assert found.array.size > 0


def test_missing_file_and_folder_differ(run, in_folder) -> None:
    """Each exits with 2, in words of its own."""
    Path("dir.npy").mkdir()
    missing, folder = (run("trace", "--input", name) for name in ("no.npy", "dir.npy"))
    assert missing.status == folder.status == 2
    assert missing.err.replace("no.npy", "dir.npy") != folder.err


def test_file_name_too_long_exits_2(run, in_folder) -> None:
    """The operating system refuses to look for it."""
    for command, option in (("trace", "--input"), ("verify", "--against")):
        done = run(command, option, f"{'a' * 400}.npy")
        assert done.status == 2
        assert done.err.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="needs a user's rights")
def test_unreadable_input_exits_2(run, in_folder) -> None:
    """Permission denied."""
    np.save("a.npy", TWO)
    Path("a.npy").chmod(0)
    done = run("trace", "--input", "a.npy", "--no-keras")
    assert done.status == 2
    assert "Permission denied" in done.err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_named_pipe_is_refused(run, in_folder) -> None:
    """Nobody will ever write to it, so it is not opened."""
    os.mkfifo("a.npy")
    assert run("trace", "--input", "a.npy").status == 2


@pytest.mark.parametrize(
    ("option", "value", "found"), [("--N", 3, "2"), ("--T", 6, "5"), ("--D", 4, "3")]
)
def test_size_that_contradicts_data_exits_2(
    option: str, value: int, found: str, run, in_folder
) -> None:
    """The message has the size from the command line and that of the data."""
    np.save("x.npy", THREE)
    done = run("verify", "--input", "x.npy", option, value)
    assert done.status == 2
    assert "x.npy" in done.err
    assert "(2, 5, 3)" in done.err
    assert f"is {found}" in done.err
    assert f"{option} {value}" in done.err


def test_size_that_fits_data_is_allowed(run, in_folder) -> None:
    """M and K are free."""
    np.save("x.npy", THREE)
    sizes = ("--N", 2, "--T", 5, "--D", 3, "--M", 4, "--K", 1)
    done = run("trace", "--input", "x.npy", "--no-keras", *sizes)
    assert done.status == 0
    assert "N=2 T=5 D=3 M=4 K=1" in done.out


def test_python_accepts_arrays_and_nested_lists() -> None:
    """What is no array of numbers is an InputError, which is a ValueError."""
    assert rnnshapes.trace(x=THREE, keras=False).y_hat.shape == (2, 5, 2)
    assert rnnshapes.trace(x=[[1, 2], [3, 4]], keras=False).y_hat.shape == (1, 2, 2)
    for bad in ([[1], [2, 3]], [["a"]], 3, np.zeros((0, 2)), [None]):
        with pytest.raises(ValueError, match="x"):
            rnnshapes.trace(x=bad, keras=False)


# --- Sources of x ---------------------------------------------------------------------------------


def read_in_blocks(source: Any, steps: int, *samples: slice) -> np.ndarray:
    """Return x from its blocks of so many time steps."""
    blocks = list(source.blocks(steps, *samples))
    assert all(block.shape[1] <= steps for block in blocks)
    return np.concatenate(blocks, axis=1)


@pytest.mark.parametrize("more", [{}, {"words": 9}, {"padding": 0.5}, {"words": 9, "padding": 0}])
def test_random_numbers_do_not_depend_on_blocks(more: dict[str, Any]) -> None:
    shape = (4, 7) if "words" in more else (4, 7, 3)
    source = inputs.RandomInput(shape, 5, **more)
    x = inputs.full_array(source)
    assert x.shape == shape
    for steps in (1, 2, 3, 7, 8):
        np.testing.assert_array_equal(read_in_blocks(source, steps), x)
    np.testing.assert_array_equal(read_in_blocks(source, 3, slice(1, 3)), x[1:3])
    assert x.dtype == (np.int64 if "words" in more else np.float32)
    for other in ({"seed": 6}, {"index": 1}):
        changed = inputs.RandomInput(**{"shape": shape, "seed": 5, **more, **other})
        assert not np.array_equal(inputs.full_array(changed), x)


def test_random_words_are_those_of_a_table() -> None:
    x = inputs.full_array(inputs.RandomInput((50, 20), 0, words=4))
    assert set(x.ravel()) == {1, 2, 3}
    assert set(inputs.full_array(inputs.RandomInput((50,), 0, words=4))) == {1, 2, 3}
    assert set(inputs.full_array(inputs.RandomInput((5, 20), 0, words=1)).ravel()) == {0}
    assert set(inputs.full_array(inputs.RandomInput((5, 20), 0, words=2)).ravel()) == {1}


TABLE = {"input_dim": 9, "output_dim": 4}


@pytest.mark.parametrize(
    ("shape", "kind", "config", "words", "padding"),
    [
        ((6, 3), "GRU", {"units": 4}, None, None),
        ((6, 3), "Masking", {"mask_value": 0.5}, None, 0.5),
        (
            (6, 3),
            "TimeDistributed",
            {"layer": {"class_name": "Dense", "config": {"units": 2}}},
            None,
            None,
        ),
        ((6,), "Embedding", TABLE, 9, None),
        ((6,), "Embedding", {**TABLE, "mask_zero": True}, 9, 0),
        (
            (6, 5),
            "TimeDistributed",
            {"layer": {"class_name": "Embedding", "config": TABLE}},
            9,
            None,
        ),
        ((6,), "Flatten", {}, 2, None),
    ],
)
def test_random_input_is_what_its_layers_take(
    shape: Any, kind: str, config: Any, words: int | None, padding: float | None
) -> None:
    """Of two inputs, the second one is taken by other layers, too."""
    integers = words is not None
    calls = [
        LayerCall("other", "InputLayer", {"batch_shape": (None, 7, 2)}),
        LayerCall("x", "InputLayer", {"batch_shape": (None, *shape), "integers": integers}),
        LayerCall("layer", kind, config, (Tap(1),)),
        LayerCall("flat", "Flatten", {}, (Tap(1),)),
        LayerCall("masking", "Masking", {"mask_value": 2.0}, (Tap(0),)),
    ]
    network = assemble(LayerGraph(tuple(calls), (Tap(2),))).with_sizes(N=5)
    first, second = inputs.random_inputs(network, 8)
    assert first == inputs.RandomInput((5, 7, 2), 8, 0, None, 2.0)
    assert second == inputs.RandomInput((5, *shape), 8, 1, words, padding)


@pytest.mark.parametrize("steps", [1, 2, 5, 8])
def test_padding_is_at_the_end_of_samples(steps: int) -> None:
    source = inputs.RandomInput((40, steps, 2), 3, padding=-1.0)
    is_padded = (inputs.full_array(source) == -1).all(axis=-1)
    lengths = steps - is_padded.sum(axis=1)
    assert all(not row[:length].any() for row, length in zip(is_padded, lengths, strict=True))
    assert set(lengths) == set(range((steps + 1) // 2, max(steps, 2)))
    assert "masked" in source.description
    assert "masked" not in inputs.RandomInput((40, steps, 2), 3).description


def test_random_numbers_without_time_are_one_block() -> None:
    source = inputs.RandomInput((40, 3), 2)
    (x,) = source.blocks(1)
    assert (x.shape, x.dtype) == ((40, 3), np.float32)
    assert abs(x.mean()) < 0.5 < x.std()
    np.testing.assert_array_equal(next(source.blocks(1, slice(2, 4))), x[2:4])


def test_array_is_rounded_in_blocks() -> None:
    array = RNG.standard_normal((4, 7, 3)) * 1e40
    array[:, 1:] *= 1e-40
    source = inputs.ArrayInput(array, "x")
    with np.errstate(over="ignore"):
        expected = array.astype("float32")
    np.testing.assert_array_equal(read_in_blocks(source, 3), expected)
    np.testing.assert_array_equal(read_in_blocks(source, 7, slice(1, 2)), expected[1:2])
    assert inputs.full_array(inputs.ArrayInput(array, "x", "float64")).dtype == np.float64
    (row,) = inputs.ArrayInput(array[0, 0], "x").blocks(2, slice(1, 3))
    np.testing.assert_array_equal(row, array[0, 0, 1:3])


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((2, 5, 3), (2, 5, 3)),
        ((5, 3), (1, 5, 3)),
        ((5,), None),
        ((2, 5, 3, 4), None),
        ((2, 0, 3), None),
        ((0,), None),
    ],
)
def test_single_sample_gets_its_axis(shape: Any, expected: Any) -> None:
    if expected is None:
        with pytest.raises(InputError, match=r"^name: "):
            inputs.sequences(inputs.array_input(np.zeros(shape), "name"))
    else:
        found = inputs.sequences(inputs.array_input(np.zeros(shape), "name"))
        assert (found.array.shape, found.description) == (expected, "name")


def test_archive_array_is_chosen_by_input_name(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    for names, wanted, expected in [
        ({"q": 1}, "x", 1),
        ({"x": 1, "q": 2}, "x", 1),
        ({"p": 1, "q": 2}, "q", 2),
        ({"q": 1}, "p", None),
        ({"p": 1, "q": 2}, "x", None),
    ]:
        np.savez(path, **{name: np.full((2, 3), value) for name, value in names.items()})
        if expected is None:
            with pytest.raises(InputError, match=f"'{wanted}'"):
                inputs.read_input(path, wanted)
        else:
            assert inputs.read_input(path, wanted).array[0, 0] == expected


def test_several_arrays_have_names_or_an_order() -> None:
    calls = [LayerCall(name, "InputLayer", {"batch_shape": (None, 6, 3)}) for name in "cab"]
    network = assemble(LayerGraph(tuple(calls), (Tap(0),)))
    one, two, three = (np.full((2, 6, 3), number) for number in (1.0, 2.0, 3.0))
    for x, expected in (
        ({"b": three, "c": one, "a": two}, [1, 2, 3]),
        ([three, one, two], [3, 1, 2]),
    ):
        _, found = match_input(network, x, {})
        assert [source.array[0, 0, 0] for source in found] == expected
    others = {"q": two, "p": one, "r": three}, {"a": one, "b": two, "q": three}
    for wrong in ([one, two], {"a": one, "b": two}, [one] * 4, {}, *others):
        with pytest.raises(InputError, match="c, a, b"):
            match_input(network, wrong, {})


def test_sources_are_described_once_where_they_are_alike() -> None:
    calls = [LayerCall(name, "InputLayer", {"batch_shape": (None, 6, 3)}) for name in "abc"]
    network = assemble(LayerGraph(tuple(calls), (Tap(0),)))
    sources = [inputs.ArrayInput(THREE, name) for name in ("p", "q", "p")]
    assert inputs.describe_inputs(tuple(sources), network) == "p (a, c); q (b)"
    assert inputs.describe_inputs((sources[0],) * 3, network) == "p"
    made = inputs.random_inputs(network.with_sizes(N=2), 7)
    assert [source.index for source in made] == [0, 1, 2]  # type: ignore[attr-defined]
    assert inputs.describe_inputs(made, network) == "random, seed 7"
