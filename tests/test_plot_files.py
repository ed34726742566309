"""Files of plots: valid, the same bytes each time, and independent of the user's Matplotlib."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree as ET

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

import rnnshapes
from rnnshapes import errors
from rnnshapes.render import plots
from rnnshapes.render.view import View
from rnnshapes.result import Result
from tests.helpers.plots import RESULTS, SIZES, saved


def small() -> Result:
    """A trace whose plot is drawn fast."""
    return rnnshapes.trace(T=2, M=2, show="y", keras=False)


@cache
def content(name: str, kind: str) -> bytes:
    """A file of a result."""
    return saved(RESULTS[name](), kind)


@pytest.mark.parametrize("name", RESULTS)
def test_every_kind_of_file_is_valid(name: str) -> None:
    """No day and no version is in it; a picture is on white."""
    png, svg, pdf = (content(name, kind) for kind in ("png", "svg", "pdf"))
    for file in (png, svg, pdf):
        assert mpl.__version__.encode() not in file
        assert b"CreationDate" not in file
    pixels = imread(BytesIO(png))
    assert (pixels[[0, -1]][:, [0, -1], :3] == 1).all()
    assert ET.fromstring(svg).tag.endswith("svg")  # noqa: S314 - our own
    assert pdf.startswith(b"%PDF-")
    assert pdf.rstrip().endswith(b"%%EOF")


@pytest.mark.parametrize("name", RESULTS)
def test_the_same_result_gives_the_same_bytes(name: str) -> None:
    """No random number and no address in memory is in it."""
    kinds = ("svg", "png", "pdf") if name == "inspect" else ("svg",)
    for kind in kinds:
        assert saved(RESULTS[name](), kind) == content(name, kind)


@pytest.mark.parametrize("name", RESULTS)
def test_text_in_svg_is_text(name: str) -> None:
    """It can be searched, in a font that there is, and its spaces do not collapse."""
    root = ET.fromstring(content(name, "svg"))  # noqa: S314 - our own
    texts = ["".join(one.itertext()) for one in root.iter() if one.tag.endswith("}text")]
    assert any("Input((T, D))" in text for text in texts)
    svg = content(name, "svg").decode()
    assert svg.count("sans-serif") >= len(texts)
    assert "white-space: pre" in svg


def test_plots_go_to_paths_streams_and_text(tmp_path: Path) -> None:
    result = small()
    assert plots.svg(result).encode() == saved(result, "svg")
    for ending in plots.ENDINGS:
        plots.save(result, tmp_path / f"x{ending}", ending[1:])
        assert (tmp_path / f"x{ending}").read_bytes() == saved(result, ending[1:])


def test_settings_of_the_user_do_not_matter() -> None:
    """They do not change either."""
    result = small()
    before = saved(result, "png")
    theirs = {"axes.facecolor": "red", "text.parse_math": True, "savefig.dpi": 30, "font.size": 40}
    with mpl.rc_context(theirs):
        assert saved(result, "png") == before
        assert {key: mpl.rcParams[key] for key in theirs} == theirs


def test_a_figure_shows_itself_in_a_notebook() -> None:
    """IPython knows no figure without pyplot."""
    result = small()
    figure = result.plot()
    assert isinstance(figure, Figure)
    assert figure._repr_png_() == saved(result, "png")


def test_matplotlib_is_loaded_only_to_draw() -> None:
    """It takes a third of a second; and pyplot, which looks for a screen, is never loaded."""
    code = """
import sys
from functools import cache
from io import BytesIO
import rnnshapes
from rnnshapes.render import plots
plots.ENDINGS
assert "matplotlib" not in sys.modules and "numpy" not in sys.modules
results = [rnnshapes.inspect(), rnnshapes.trace(T=2, keras=False, show="y,h")]
assert "matplotlib" not in sys.modules
for result in results:
    result.plot()
for ending in plots.ENDINGS:
    plots.save(results[0], BytesIO(), ending[1:])
assert "matplotlib.figure" in sys.modules
assert "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_matplotlib_an_error_tells_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes before the work."""
    monkeypatch.delitem(sys.modules, "matplotlib.figure")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(errors.CannotRunError, match=r"^.*pip install .*\[plot\].*$"):
        plots.require_matplotlib()
    with pytest.raises(errors.CannotRunError):
        small().plot()


def test_a_golden_file_has_no_plot() -> None:
    """It is for programs; every other result has one."""
    with pytest.raises(errors.InputError, match="Golden"):
        rnnshapes.golden(**SIZES).plot()


@pytest.mark.parametrize("name", ["inspect", "trace", "verify"])
def test_page_names_the_network_once(name: str) -> None:
    """Its heading has it: there, a plot that is not titled does not."""
    untitled = plots.svg(RESULTS[name](), View(titled=False))
    assert "Input((T, D)) → " in content(name, "svg").decode()
    assert "Input((T, D)) → " not in untitled
