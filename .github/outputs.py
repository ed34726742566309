"""Outputs of the commands that the README and the pages in ``docs/`` show.

A ``console`` block holds one command and what it prints on a terminal of 80 columns. A line ``…``
stands for lines that are left out. A ``python`` block that begins with ``import`` is a script. It
runs before the commands of its page, in the same folder, and may write files that they read.

Run this file where rnnshapes is installed, to rewrite the outputs that are out of date. The tests
find them with the same functions.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from rnnshapes import cli

HERE = Path(__file__).parent
#: All pages by name, such as ``README`` and ``docs/cells/lstm``.
PAGES = {"README": HERE.parent / "README.md"} | {
    path.relative_to(HERE).with_suffix("").as_posix(): path
    for path in sorted((HERE / "docs").rglob("*.md"))
}
CUT = "…"

_SCRIPT = re.compile(r"```python\n(import .*?)```", re.DOTALL)
_BLOCK = re.compile(
    r"(```console\n\$ rnnshapes ([^\n]*)\n)(.*?)(?=^```$)", re.DOTALL | re.MULTILINE
)
_KERAS = re.compile(r"Keras \d[\w.]*( \(\w+ [\w.]+\))?")
_NUMBER = re.compile(r"[-+]?[\d,]*\.?\d+(e[-+]?\d+)?")
#: A share of a bound or a ratio, with its bar and the index of the largest one. They depend on the
#: order in which a processor adds up. A bar is left out where the index is long.
_SHARE = re.compile(r"[\d,.e+-]+ +([%×]( +([━╸╌>]|[\w ]+, sample).*)?|[━╸╌>]+.*)")


def scripts(text: str) -> list[str]:
    """Return the scripts of a page, in order."""
    return _SCRIPT.findall(text)


def commands(text: str) -> list[tuple[str, str]]:
    """Return the commands of a page, without ``rnnshapes``, each with what the page shows."""
    return [(command, shown) for _, command, shown in _BLOCK.findall(text)]


@contextlib.contextmanager
def prepared(text: str) -> Iterator[None]:
    """Work in a new folder with the files that the scripts of a page write, at 80 columns."""
    columns = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "80"
    try:
        folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        with folder as path, contextlib.chdir(path):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if "keras" in sys.modules:  # layers get the numbers of a fresh interpreter
                    sys.modules["keras"].utils.clear_session()
                for script in scripts(text):
                    exec(script, {})  # noqa: S102 - it stands on our own page
            yield
    finally:
        del os.environ["COLUMNS"]
        if columns is not None:
            os.environ["COLUMNS"] = columns


def run(command: str) -> tuple[int, str]:
    """Run a command in this process; return its exit status, and both streams as one text."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="\n", write_through=True)
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
        status = cli.main(command.split())
    stream.seek(0)
    return status, stream.read()


def abridge(printed: str, shown: str) -> str:
    """Return a text, cut as the one that a page shows.

    The first part and the last one have as many lines as before. A part between two cuts begins
    with the same line as before.

    Raises:
        ValueError: The first line of a part between two cuts is not in ``printed``.
    """
    first, *others = _parts(shown)
    if not others:
        return printed
    lines = printed.splitlines()
    chosen = lines[: len(first)]
    *middle, last = others
    for part in middle:
        start = next((i for i, line in enumerate(lines) if same_line(part[0], line)), None)
        if start is None:
            raise ValueError(f"the command does not print {part[0]!r}")
        chosen += [CUT, *lines[start : start + len(part)]]
    return "\n".join([*chosen, CUT, *lines[len(lines) - len(last) :], ""])


def _parts(shown: str) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for line in shown.splitlines():
        if line == CUT:
            parts.append([])
        else:
            parts[-1].append(line)
    return parts


def difference(printed: str, shown: str) -> str | None:
    """Describe the first line of a page that is out of date, or return None.

    Versions of Keras and shares of a bound are not compared. Numbers may differ as much as those
    of two processors.
    """
    try:
        now = abridge(printed, shown)
    except ValueError as error:
        return str(error)
    for before, after in zip_longest(shown.splitlines(), now.splitlines(), fillvalue=""):
        if not same_line(before, after):
            return f"shown: {before!r}, printed: {after!r}"
    return None


def same_line(shown: str, printed: str) -> bool:
    """Return whether two lines have the same words, and numbers that differ only by rounding."""
    if (
        set(shown) == set(printed) == {"─"} and shown
    ):  # a rule is as long as the numbers above it are wide
        return True
    before, after = (
        [word.strip("():,") for word in _SHARE.sub("share", _KERAS.sub("Keras", line)).split()]
        for line in (shown, printed)
    )
    return len(before) == len(after) and all(map(_same_word, before, after))


def _same_word(shown: str, printed: str) -> bool:
    if shown == printed:
        return True
    if not (_NUMBER.fullmatch(shown) and _NUMBER.fullmatch(printed)):
        return False
    mantissa, has_exponent, _ = shown.partition("e")
    decimals = len(mantissa.partition(".")[2])
    if not decimals and not has_exponent:
        return False
    last_digit = 0.0 if has_exponent else 1.01 * 10.0**-decimals
    a, b = (float(word.replace(",", "")) for word in (shown, printed))
    return math.isclose(a, b, rel_tol=1e-5, abs_tol=max(5e-7, last_digit))


def refresh(text: str) -> str:
    """Return the text of a page with outputs that are up to date."""

    def replace(block: re.Match[str]) -> str:
        head, command, shown = block.groups()
        printed = run(command)[1]
        return head + (abridge(printed, shown) if difference(printed, shown) else shown)

    with prepared(text):
        return _BLOCK.sub(replace, text)


def main(names: list[str]) -> int:
    """Refresh the pages with these names, or all of them, and name those that change."""
    for name in names or PAGES:
        before = PAGES[name].read_text("utf-8")
        after = refresh(before)
        if after != before:
            PAGES[name].write_text(after, "utf-8")
            print(f"{name}: rewritten")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
