"""The house: imports point downwards, Keras stands behind one door, the top level is the user's."""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import rnnshapes

PACKAGE = Path(rnnshapes.__file__).parent
ROOT = PACKAGE.parent

FILES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    """``render/view.py`` is ``render.view``, ``render/__init__.py`` is ``render``."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    if len(parts) > 1 and parts[-1] == "__init__":
        parts = parts[:-1]
    return ".".join(parts)


@functools.cache
def parsed(path: Path) -> ast.Module:
    """The statements of a file."""
    return ast.parse(path.read_text("utf-8"))


@functools.cache
def imports(path: Path) -> tuple[tuple[str, bool], ...]:
    """Every module that a file imports anywhere, and whether it does so when it is loaded."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[tuple[str, bool]]:
    for node, at_load in _statements(parsed(path).body):
        if isinstance(node, ast.Import):
            yield from ((alias.name, at_load) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            module = node.module or ""
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                is_module = (ROOT / Path(*inner.split("."))).with_suffix(".py").exists()
                is_module = is_module or (ROOT / Path(*inner.split(".")) / "__init__.py").exists()
                yield inner if module.startswith("rnnshapes") and is_module else module, at_load


def _statements(body: list[ast.stmt], at_load: bool = True) -> Iterator[tuple[ast.stmt, bool]]:
    """Every statement, and whether it runs whenever the file is loaded."""
    for node in body:
        yield node, at_load
        runs = at_load and not isinstance(node, ast.FunctionDef | ast.If)
        for part in ("body", "orelse", "finalbody"):
            yield from _statements(getattr(node, part, []), runs)
        for inner in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
            yield from _statements(inner.body, runs)


def test_only_reference_imports_keras() -> None:
    """It does so inside functions."""
    heavy = {"keras", "tensorflow", "torch", "jax"}
    found = {
        (name_of(path), module, at_load)
        for path in FILES
        for module, at_load in imports(path)
        if module in heavy
    }
    assert found == {("reference", "keras", False)}


def test_only_plots_import_matplotlib() -> None:
    """Two modules name the type of a figure, for type checkers alone."""
    users = {
        name_of(path)
        for path in FILES
        for module, _ in imports(path)
        if module.split(".")[0] == "matplotlib"
    }
    others = {user for user in users if not user.startswith("render.plots")}
    assert others == {"render", "result"} < users


KERAS_PRIVATE = "load.live.keras_private"


def private_names(path: Path) -> set[str]:
    """Private names that a file uses as attributes of anything, or as texts (``getattr``)."""
    names = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)
    return {name for name in names if re.fullmatch(r"_[a-z]\w*", name)}


def test_one_module_uses_private_keras_attributes() -> None:
    users = {name_of(path): private_names(path) for path in FILES}
    of_keras = users.pop(KERAS_PRIVATE)
    assert {"_keras_mask", "_keras_history", "_inbound_nodes"} <= of_keras
    assert {name for name, names in users.items() if names & of_keras} == set()


#: Dataclasses that collect something while it is read or computed.
MUTABLE = {
    *("StdoutState", "_Chain", "_Activations", "OnnxModel", "_Walk", "Namer", "StoredValues"),
    *("OnnxNode", "Recording", "_Lines"),
}


def test_dataclasses_are_frozen_except_collectors() -> None:
    """As are all other dataclasses."""
    found = set()
    for path in FILES:
        classes = (node for node in ast.walk(parsed(path)) if isinstance(node, ast.ClassDef))
        for node in classes:
            made = [ast.unparse(d) for d in node.decorator_list if "dataclass" in ast.unparse(d)]
            if made and "frozen=True" not in made[0]:
                found.add(node.name)
    assert found == MUTABLE


def test_no_module_shadows_the_standard_library() -> None:
    """``inspect.py`` or ``trace.py`` in a working folder breaks other people's imports."""
    names = {name_of(path).split(".")[-1] for path in FILES} - {"__init__", "__main__"}
    assert not names & sys.stdlib_module_names


@pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="not in a checkout")
def test_top_level_is_the_users() -> None:
    import subprocess

    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files"], check=False, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("not in a git checkout")
    top = {line.split("/")[0] for line in listed.stdout.splitlines()}
    expected = {"pyproject.toml", "README.md", "rnnshapes", "tests", ".github", ".ci", ".gitignore"}
    assert top <= expected


def test_test_files_do_not_import_each_other() -> None:
    """What they share is in ``tests/helpers/``."""
    tests = Path(__file__).parent
    for path in tests.rglob("*.py"):
        modules = {module for module, _ in imports(path) if module.startswith("tests")}
        assert all(module.startswith("tests.helpers") for module in modules), path
