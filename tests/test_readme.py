"""What the README shows is run, and compared with what it shows."""

from __future__ import annotations

import contextlib
import doctest
import math
import re
import warnings
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
TEXT = README.read_text("utf-8")
BLOCKS = re.findall(r"```console\n\$ rnnshapes ([^\n]*)\n(.*?)```", TEXT, re.DOTALL)
VERSIONS = re.compile(r"Keras \d\S*( \(\w+ [^)\s]*\))?")
#: What is to be typed in a script of one's own.
SCRIPTS = re.findall(r"```python\n(import .*?)```", TEXT, re.DOTALL)


def same(shown: str, found: str) -> bool:
    """Whether two words are the same, or numbers that differ by no more than rounding does."""
    if shown == found:
        return True
    try:
        return math.isclose(float(shown), float(found), rel_tol=1e-5, abs_tol=5e-7)
    except ValueError:
        return False


def words(text: str) -> list[str]:
    """The words, whatever version of Keras is installed."""
    return VERSIONS.sub("Keras", text).split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the README's own scripts have saved a model and a port."""
    made = tmp_path_factory.mktemp("readme")
    assert len(SCRIPTS) == 2
    with contextlib.chdir(made), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for script in SCRIPTS:
            exec(script, {})  # noqa: S102 - the README's own
    return made


@pytest.mark.parametrize(("args", "shown"), BLOCKS, ids=[args for args, _ in BLOCKS])
def test_each_command_prints_what_the_readme_shows(args, shown, run, monkeypatch, folder) -> None:
    """Every word; numbers that Keras computes may differ in their last digits."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(folder)
    done = run(*args.split())
    assert done.status == ("FAILED" in shown)
    expected, found = words(shown), words(done.out + done.err)
    assert len(expected) == len(found)
    ratio = False
    for a, b in zip(expected, found, strict=True):
        # Ratios and places of the worst depend on the processor's order of summation.
        assert same(a, b) or ratio, f"the README shows {a!r}, it is {b!r}"
        ratio = a in ("ratio", "sample", "t", "unit", "most", "all:")


def test_the_readme_shows_all_three_commands() -> None:
    """So that the test above cannot pass on nothing."""
    assert {args.split()[0] for args, _ in BLOCKS} == {"inspect", "trace", "verify"}
    assert all(len(shown.splitlines()) > 5 for _, shown in BLOCKS)


def test_python_examples_give_what_they_show() -> None:
    """Each ``>>>`` in the README."""
    result = doctest.testfile(str(README), module_relative=False, encoding="utf-8")
    assert result.attempted > 5
    assert result.failed == 0


def test_each_file_that_the_readme_names_is_there() -> None:
    """Links and paths."""
    for name in re.findall(r"tests/benchmarks/\w+\.py|\.github/\w+\.md", TEXT):
        assert (README.parent / name).exists(), name
