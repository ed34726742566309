"""Pictures: valid files, the same bytes each time, and the numbers of the result in them."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.layout_engine import ConstrainedLayoutEngine

import rnnshapes
from rnnshapes import errors
from rnnshapes.render import plots
from tests.helpers.plots import MADE, SIZES, saved, traced

pytestmark = pytest.mark.usefixtures("eager")

# --- Files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MADE)
def test_every_kind_of_file_is_valid_and_always_the_same(name: str) -> None:
    """No day, no version, no random number is in it."""
    for kind in ("png", "svg", "pdf"):
        first = saved(MADE[name](), kind)
        assert saved(MADE[name](), kind) == first
        assert mpl.__version__.encode() not in first
        assert b"CreationDate" not in first
        if kind == "png":
            pixels = imread(BytesIO(first))
            assert pixels.shape[1] == 1500
            assert (pixels[[0, -1]][:, [0, -1], :3] == 1).all()  # on white
        elif kind == "svg":
            assert ET.fromstring(first).tag.endswith("svg")  # noqa: S314 - our own
        else:
            assert first.startswith(b"%PDF-")
            assert first.rstrip().endswith(b"%%EOF")


def test_the_last_digits_of_a_layout_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which differ from run to run, and names in an SVG file with them."""
    before = saved(traced(), "svg")
    real = ConstrainedLayoutEngine.execute

    def moved(engine: ConstrainedLayoutEngine, figure: Figure) -> None:
        real(engine, figure)
        for axes in figure.axes:
            bounds = np.array(axes.get_position(original=True).bounds)
            axes.set_position((bounds * (1 + 1e-13)).tolist())

    monkeypatch.setattr(ConstrainedLayoutEngine, "execute", moved)
    assert saved(traced(), "svg") == before


def test_an_svg_is_text_and_a_path_is_written_to(tmp_path: Path) -> None:
    """As a page and a command want it."""
    result = MADE["inspect"]()
    assert plots.svg(result).encode() == saved(result, "svg")
    for ending in plots.FORMATS:
        plots.save(result, tmp_path / f"x{ending}", ending[1:])
        assert (tmp_path / f"x{ending}").read_bytes() == saved(result, ending[1:])


def test_the_users_settings_neither_matter_nor_change() -> None:
    """Whatever they are when it is drawn and when it is written."""
    before = saved(traced(), "png")
    theirs = {"axes.facecolor": "red", "text.parse_math": True, "savefig.dpi": 30, "font.size": 40}
    with mpl.rc_context(theirs):
        assert saved(traced(), "png") == before
        assert mpl.rcParams["axes.facecolor"] == "red"
        assert mpl.rcParams["font.size"] == 40


def test_pyplot_is_never_imported_and_matplotlib_only_when_something_is_drawn() -> None:
    """pyplot looks for a screen and keeps figures; matplotlib takes a third of a second."""
    code = """
import sys
from io import BytesIO
import rnnshapes
from rnnshapes.render import plots
plots.FORMATS
assert "matplotlib" not in sys.modules and "numpy" not in sys.modules
results = [rnnshapes.inspect(), rnnshapes.trace(keras=False, show="y,h")]
assert "matplotlib" not in sys.modules
for result in results:
    result.plot()
    for ending in plots.FORMATS:
        plots.save(result, BytesIO(), ending[1:])
assert "matplotlib.figure" in sys.modules
assert "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_matplotlib_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the work, if it is asked."""
    monkeypatch.delitem(sys.modules, "matplotlib.figure")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(errors.CannotRunError, match=r"not installed: pip install .*\[plot\]"):
        plots.require_matplotlib()
    with pytest.raises(errors.CannotRunError):
        rnnshapes.inspect().plot()


def test_what_is_no_picture_says_so() -> None:
    """A golden file is for programs."""
    golden = rnnshapes.golden(**SIZES)
    with pytest.raises(errors.InputError, match="no picture of a Golden"):
        golden.plot()


def test_a_figure_shows_itself_in_a_notebook() -> None:
    """Without pyplot, IPython knows no figure: this one has a picture of its own."""
    figure = traced().plot()
    assert isinstance(figure, Figure)
    assert figure._repr_png_() == saved(traced(), "png")
