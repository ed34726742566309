"""The house: imports point downwards, Keras stands behind one door, the top level is the user's."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import rnnshapes

PACKAGE = Path(rnnshapes.__file__).parent
ROOT = PACKAGE.parent

#: From top to bottom: a module may import only what stands on a line further down.
FLOORS = """\
__main__
cli
options
__init__
render.follow.player
render.outlet
render.hints render.progress
render.commands render.streams
render.delivery
render
render.results.traced render.forms.page
render.plots
render.plots.inspection render.plots.tracing render.plots.verification render.plots.port
render.plots.sweeping
render.plots.ratios
render.plots.lines render.plots.heat render.plots.flow render.plots.weights
render.plots.paper
render.plots.canvas
render.plots.thinning
render.results.inspection render.results.tracing render.results.verification
render.results.port render.results.recording render.results.sweeping
render.results.remarks
render.results
render.follow.following
render.drawings.flow render.drawings.kernels
render.drawings.spacing
render.drawings.unrolled
render.drawings.canvas
render.forms.header
render.shared render.drawings.strips
render.forms.vector
render.drawings.timeline render.drawings
render.forms.terminal render.forms.markdown render.forms.notebook
render.forms.data render.forms.frames render.forms
render.follow.keys render.follow
render.forms.markup
render.document render.view render.figures render.palette
api
sweeping
verification against
wiring
proof diagnosis recording moments
agreement conventions heads
judging sequences scenes
readings
claims
inspection tracing
formula
archive.saved
archive.plans archive.bare
archive.masks
archive.graphs
archive.arrays
archive.layers archive.parts archive.converted
archive.legacy archive.nodes archive.store archive.naming
archive.texts archive.reading archive.child archive
grid
live comparison sizes
reference
stepping
watching building
recurrence fitting
inputs ports
tables
weights keras_graph answers
assembly
network
readers
readers.recurrent readers.others
readers.entry
layers.plain layers.recurrent layers.shaping layers.stepwise
layers.layer layers
cells.registry cells.stacked
cells.simple_rnn cells.lstm cells.gru
cells.cell cells
algebra.bounded algebra.recorded algebra.followed
algebra.arrays algebra.shapes
algebra.windows
algebra.precision
algebra.activations
algebra.dims algebra
memory schemas
display errors""".splitlines()
FLOOR = {name: height for height, line in enumerate(reversed(FLOORS)) for name in line.split()}
FILES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    """``render/view.py`` is ``render.view``, ``render/__init__.py`` is ``render``."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    if len(parts) > 1 and parts[-1] == "__init__":
        parts = parts[:-1]
    return ".".join(parts)


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every module that a file imports anywhere, and whether it does so when it is loaded."""
    tree = ast.parse(path.read_text("utf-8"))
    guarded = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.If)]
    inside = {id(inner) for node in guarded for inner in ast.walk(node)}
    for node in ast.walk(tree):
        at_load = id(node) not in inside
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


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_downwards(path: Path) -> None:
    """Also those inside functions and those for type checkers."""
    own = name_of(path)
    for module, _ in imports(path):
        if module.split(".")[0] == "rnnshapes":
            other = module.removeprefix("rnnshapes").removeprefix(".") or "__init__"
            assert FLOOR[other] < FLOOR[own], f"{own} imports {other}, which does not stand below"


def test_the_floors_name_every_module_and_no_other() -> None:
    """A new file has to be given its place."""
    assert set(FLOOR) == {name_of(path) for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_keras_and_its_backends_stand_behind_one_door(path: Path) -> None:
    """Only ``reference`` imports Keras, and only inside a function."""
    heavy = {"keras", "tensorflow", "torch", "jax"}
    found = [(module, at_load) for module, at_load in imports(path) if module in heavy]
    assert found == ([("keras", False)] if name_of(path) == "reference" else [])


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_name_is_one_of_the_standard_library(path: Path) -> None:
    """``inspect.py`` or ``trace.py`` in a working folder breaks other people's imports."""
    own = name_of(path).split(".")[-1]
    assert own in ("__init__", "__main__") or own not in sys.stdlib_module_names


@pytest.mark.parametrize("path", [*FILES, *sorted((ROOT / "tests").rglob("*.py"))], ids=str)
def test_files_and_functions_stay_small(path: Path) -> None:
    """One subject in a file, one thought in a function."""
    text = path.read_text("utf-8")
    assert text.count("\n") <= 500
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 60, node.name


@pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="not in a checkout")
def test_the_top_level_is_the_users() -> None:
    """pyproject.toml, README.md, rnnshapes, tests and .github, and two that CI needs."""
    import subprocess

    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files"], check=False, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("not in a git checkout")
    top = {line.split("/")[0] for line in listed.stdout.splitlines()}
    expected = {"pyproject.toml", "README.md", "rnnshapes", "tests", ".github", ".ci", ".gitignore"}
    assert top <= expected
