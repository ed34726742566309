"""``example.ipynb``: a notebook in which results display themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import CapturedIO, capture_output
from traitlets.config import Config

from rnnshapes.render.document import Drawing, Span
from rnnshapes.render.formats import notebook

NOTEBOOK = Path(__file__).with_name("example.ipynb")
#: Last lines of the cells that display a result.
DISPLAYED = ("rnnshapes.inspect(model)", "traced", "verified", "compared")


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    """A shell of IPython in this process, with nobody's settings."""
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.chdir(tmp_path)
    config = Config(HistoryManager={"enabled": False})
    yield InteractiveShell.instance(config=config, user_module=ModuleType("notebook"))
    InteractiveShell.clear_instance()


def executed(shell: InteractiveShell, source: str) -> CapturedIO:
    """Return what a cell prints and displays; raise its error."""
    with shell.display_trap, capture_output() as captured:
        done = shell.run_cell(source)
    done.raise_error()
    return captured


def test_stored_notebook_is_valid_and_without_outputs() -> None:
    stored = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(stored)
    for cell in stored.cells:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None


def test_notebook_runs_and_displays_its_results(shell: InteractiveShell) -> None:
    """No cell fails or warns; results come as HTML and as text."""
    stored = nbformat.read(NOTEBOOK, as_version=4)
    sources = [cell.source for cell in stored.cells if cell.cell_type == "code"]
    outputs = [executed(shell, source) for source in sources]
    assert [output.stderr for output in outputs] == [""] * len(outputs)
    for end in DISPLAYED:
        (number,) = [n for n, source in enumerate(sources) if source.splitlines()[-1] == end]
        (shown,) = outputs[number].outputs
        assert set(shown.data) == {"text/html", "text/plain"}
        assert "<table>" in shown.data["text/html"]
        assert "SimpleRNN" in shown.data["text/plain"]
    assert "57 parameters" in outputs[1].outputs[0].data["text/plain"]
    assert "transposed" in outputs[-2].outputs[0].data["text/plain"]
    assert outputs[-1].outputs[0].data["text/html"].count("<tr") >= 3


def test_drawings_look_alike_on_any_page() -> None:
    """The page around an output may have its own fonts and wrap lines."""
    drawing = Drawing("Data flow", lambda sheet: [[Span("┌───┐  x")], [Span("└───┘")]])
    html = "".join(notebook.chunks((drawing,)))
    style = html.partition("<pre style=")[2].partition(">")[0]
    for rule in ("white-space:pre;", "overflow-x:auto", "monospace", "line-height"):
        assert rule in style
    assert "┌───┐  x\n└───┘" in html
