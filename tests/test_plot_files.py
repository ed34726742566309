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
from rnnshapes.result import Result
from tests.helpers.plots import RESULTS, SIZES, figure_of, saved, words


@cache
def small() -> Result:
    """A trace whose plot is drawn fast."""
    return rnnshapes.trace(T=2, M=2, show="y", keras=False)


@cache
def content(name: str, kind: str) -> bytes:
    """A file of a result."""
    return saved(small() if name == "small" else RESULTS[name](), kind)


@pytest.mark.parametrize("ending", plots.ENDINGS)
def test_every_kind_of_file_is_valid(ending: str, tmp_path: Path) -> None:
    """No day, no version and no random number is in it; a picture is on white."""
    kind = ending[1:]
    file, path = content("small", kind), tmp_path / f"x{ending}"
    assert mpl.__version__.encode() not in file
    assert b"CreationDate" not in file
    if kind == "png":
        pixels = imread(BytesIO(file))
        assert (pixels[[0, -1]][:, [0, -1], :3] == 1).all()
    elif kind == "svg":
        assert plots.svg(small()).encode() == file
    else:
        assert file.startswith(b"%PDF-")
        assert file.rstrip().endswith(b"%%EOF")
    plots.save(small(), path, kind)
    assert path.read_bytes() == file


@pytest.mark.parametrize("name", ["inspect", "trace"])
def test_the_same_result_gives_the_same_bytes(name: str) -> None:
    """No random number and no address in memory is in it."""
    assert saved(RESULTS[name](), "svg") == content(name, "svg")


@pytest.mark.parametrize("name", ["inspect", "trace"])
def test_text_in_svg_is_text(name: str) -> None:
    """It can be searched, in a font that there is, and its spaces do not collapse."""
    root = ET.fromstring(content(name, "svg"))  # noqa: S314 - our own
    texts = ["".join(one.itertext()) for one in root.iter() if one.tag.endswith("}text")]
    assert any("Input((T, D))" in text for text in texts)
    svg = content(name, "svg").decode()
    assert svg.count("sans-serif") >= len(texts)
    assert "white-space: pre" in svg


def test_settings_of_the_user_do_not_matter() -> None:
    """They do not change either."""
    theirs = {"axes.facecolor": "red", "text.parse_math": True, "savefig.dpi": 30, "font.size": 40}
    with mpl.rc_context(theirs):
        assert saved(small(), "png") == content("small", "png")
        assert {key: mpl.rcParams[key] for key in theirs} == theirs


def test_a_backend_that_is_chosen_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the environment names another."""
    monkeypatch.setitem(mpl.rcParams, "backend", "pdf")
    monkeypatch.setenv("MPLBACKEND", "svg")
    assert small().plot()
    assert mpl.rcParams["backend"] == "pdf"


def test_a_figure_shows_itself_in_a_notebook() -> None:
    """IPython knows no figure without pyplot."""
    figure = small().plot()
    assert isinstance(figure, Figure)
    assert figure._repr_png_() == content("small", "png")


def test_matplotlib_is_loaded_only_to_draw() -> None:
    """It takes a third of a second; and pyplot, which looks for a screen, is never loaded."""
    code = """
import sys
from io import BytesIO
import rnnshapes
from rnnshapes.render import plots
plots.ENDINGS
assert "matplotlib" not in sys.modules and "numpy" not in sys.modules
rnnshapes.inspect(M=2)
small = rnnshapes.trace(T=2, M=2, keras=False, show="y,h")
assert "matplotlib" not in sys.modules
rnnshapes.inspect(M=2).plot()
for ending in plots.ENDINGS:
    plots.save(small, BytesIO(), ending[1:])
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


@pytest.mark.parametrize("name", RESULTS)
def test_page_names_the_network_once(name: str) -> None:
    """A page's heading names the network, so its plots have all but this line of their title."""
    alone, embedded = figure_of(name), figure_of(name, embedded=True)
    assert any("Input((T, D)) → " in text for text in words(alone))
    assert not any("Input((T, D)) → " in text for text in words(embedded))
    lines = [
        {line for text in figure.texts for line in text.get_text().split("\n")}
        for figure in (alone, embedded)
    ]
    assert all("Input((T, D)) → " in line for line in lines[0] - lines[1])
