"""``example.ipynb``: a notebook in which results display themselves."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import nbformat
import pytest

import rnnshapes
from rnnshapes.render.document import Drawing, Span
from rnnshapes.render.formats import notebook

NOTEBOOK = Path(__file__).with_name("example.ipynb")
#: Last lines of the cells that display a result.
DISPLAYED = ("rnnshapes.inspect(model)", "traced", "verified", "compared")


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a kernel that is this Python, with this package, and nobody's settings."""
    folder = tmp_path / "kernels" / "this"
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": command, "display_name": "this", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    above = str(Path(rnnshapes.__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([above, os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    return folder.name


def test_stored_notebook_is_valid_and_without_outputs() -> None:
    stored = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(stored)
    for cell in stored.cells:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None


@pytest.mark.filterwarnings("ignore")  # those of Jupyter's event loops
def test_notebook_runs_and_displays_its_results(kernel: str, tmp_path: Path) -> None:
    """No cell fails or warns; results come as HTML and as text."""
    from nbclient import NotebookClient

    stored = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(stored, timeout=300, kernel_name=kernel, resources=resources).execute()
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    outputs = [out for cell in code for out in cell.outputs]
    assert [out.text for out in outputs if out.get("name") == "stderr"] == []
    for end in DISPLAYED:
        (cell,) = [cell for cell in code if cell.source.splitlines()[-1] == end]
        (data,) = [out.data for out in cell.outputs]
        assert set(data) == {"text/html", "text/plain"}
        assert "<table>" in data["text/html"]
        assert "SimpleRNN" in data["text/plain"]
    assert "57 parameters" in code[1].outputs[0].data["text/plain"]
    assert "transposed" in code[-2].outputs[0].data["text/plain"]
    assert code[-1].outputs[0].data["text/html"].count("<tr") >= 3


def test_drawings_look_alike_on_any_page() -> None:
    """The page around an output may have its own fonts and wrap lines."""
    drawing = Drawing("Data flow", lambda sheet: [[Span("┌───┐  x")], [Span("└───┘")]])
    html = "".join(notebook.chunks((drawing,)))
    style = html.partition("<pre style=")[2].partition(">")[0]
    for rule in ("white-space:pre;", "overflow-x:auto", "monospace", "line-height"):
        assert rule in style
    assert "┌───┐  x\n└───┘" in html
