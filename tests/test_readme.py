"""What the README and the pages on the cells show is run, and compared with what they show."""

from __future__ import annotations

import contextlib
import doctest
import json
import math
import re
import runpy
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer

from rnnshapes import cli
from rnnshapes import result as display
from rnnshapes.cli import options
from rnnshapes.forward import golden as recording
from rnnshapes.render.write_file import ENDINGS, GOLDEN_ENDINGS
from tests.helpers.commands import Result
from tests.helpers.pages import CELLS, README, ROOT, consoles, page, prose, scripts, table

#: Files in .github, and the commands that make them.
PICTURES = runpy.run_path(str(ROOT / ".github" / "pictures.py"))["PICTURES"]

PAGES = {"README": README, **{cell: page(cell) for cell in CELLS}}
PATHS = {"README": ROOT / "README.md", **CELLS}
BLOCKS = [(where, *block) for where, text in PAGES.items() for block in consoles(text)]
VERSIONS = re.compile(r"Keras \d\S*( \(\w+ [^)\s]*\))?")
#: In a row of a check or a layer: the share of its bound, its bar, and the index of the worst.
JUDGED = re.compile(r"^((?:ok|FAIL) .*?) +[\d,e+]+ [%×].*$", re.MULTILINE)


def same(shown: str, found: str) -> bool:
    """Whether two words are the same, or numbers that differ by no more than rounding does."""
    if shown == found:
        return True
    try:
        return math.isclose(float(shown), float(found), rel_tol=1e-5, abs_tol=5e-7)
    except ValueError:
        return False


def words(text: str) -> list[str]:
    """The words, whatever version of Keras is installed.

    Ratios and places of the worst depend on the processor's order of summation.
    """
    return VERSIONS.sub("Keras", JUDGED.sub(r"\1", text)).split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the README's own scripts have saved a model and a port."""
    made = tmp_path_factory.mktemp("readme")
    found = scripts(README)
    with contextlib.chdir(made), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for script in found:
            exec(script, {})  # noqa: S102 - the README's own
    return made


# --- What is shown ------------------------------------------------------------------------------


def together(done: Result) -> str:
    """Both streams as a terminal shows them: what was written is said before what is next."""
    text, said, following = done.out.rpartition("Next: ")
    return text + done.err + said + following


@pytest.mark.parametrize(
    ("where", "args", "shown"), BLOCKS, ids=[f"{where} {args}" for where, args, _ in BLOCKS]
)
def test_each_command_prints_what_is_shown(where, args, shown, run, monkeypatch, folder) -> None:
    """Numbers that Keras computes may differ in their last digits."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(folder)
    done = run(*args.split())
    assert done.status == ("FAILED" in shown)
    expected, found = words(shown), words(together(done))
    assert len(expected) == len(found)
    ratio = False
    for a, b in zip(expected, found, strict=True):
        assert same(a, b) or ratio, f"{where} shows {a!r}, it is {b!r}"
        ratio = a in ("ratio", "sample", "t", "unit", "most", "agree")


def test_all_commands_and_cells_are_shown() -> None:
    assert {args.split()[0] for where, args, _ in BLOCKS if where == "README"} == {
        *("inspect", "trace", "verify")
    }
    assert {where for where, *_ in BLOCKS} == set(PAGES)
    for where, args, shown in BLOCKS:
        lines = [line for line in shown.splitlines() if not line.startswith("Next: ")]
        assert max(map(len, lines)) <= 80 or "csv" in args
        assert where == "README" or f"--cell {where}" in args


def test_python_examples_give_what_they_show() -> None:
    result = doctest.testfile(str(PATHS["README"]), module_relative=False, encoding="utf-8")
    assert result.attempted
    assert result.failed == 0


def test_setup_commands_make_an_environment() -> None:
    """``.ci/run`` runs every ``sh`` block."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    assert blocks
    assert all("venv" in block for block in blocks)


@pytest.mark.parametrize("where", PAGES)
def test_no_index_becomes_emphasis(where: str) -> None:
    """Markdown turns an underscore behind a sign into italics."""
    running = re.sub(r"`[^`]*`", "", prose(PAGES[where]))
    assert re.findall(r".{0,20}[~→←]_.{0,9}", running) == []


# --- Links and names ----------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """The headings as GitHub links to them."""
    heads = re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


LINKS = [
    (where, target)
    for where, text in PAGES.items()
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(text))
    if not target.startswith("https://")
]


@pytest.mark.parametrize(("where", "target"), LINKS, ids=[" ".join(link) for link in LINKS])
def test_each_link_leads_somewhere(where: str, target: str) -> None:
    name, _, anchor = target.partition("#")
    path = (PATHS[where].parent / name).resolve() if name else PATHS[where]
    assert path.is_file()
    assert not anchor or anchor in anchors(path.read_text("utf-8"))


def test_pages_and_pictures_are_linked() -> None:
    for cell, path in CELLS.items():
        assert ("README", path.relative_to(ROOT).as_posix()) in LINKS
        assert (cell, path.with_suffix(".svg").name) in LINKS
        assert {target for where, target in LINKS if where == cell} > {
            other.name for other in CELLS.values() if other != path
        }


@pytest.mark.parametrize("where", PAGES)
def test_each_named_file_exists(where: str) -> None:
    for name in re.findall(r"(?:tests|\.github|\.ci)/[\w/.]*\w", prose(PAGES[where])):
        assert (ROOT / name).exists(), name


GROUP = typer.main.get_command(cli.app)
COMMANDS: dict[str, Any] = GROUP.commands  # type: ignore[attr-defined]


def named(command: Any) -> set[str]:
    """All its options."""
    return {name for param in command.params for name in (*param.opts, *param.secondary_opts)}


#: Options that give the sizes, the first in the table of options.
OPTIONS = "`--N`, `--T`, `--D`, `--K` (or `-N`, `-T`, `-D`, `-K`)"
OPTION = re.compile(r"(?<![\w-])--?[A-Za-z](?:[\w-]*\w)?")
SHOWN = {where: re.findall(r"`([^`]+)`", prose(text)) for where, text in PAGES.items()}


@pytest.mark.parametrize("where", PAGES)
def test_each_named_option_exists(where: str) -> None:
    everything = set.union(named(GROUP), *map(named, COMMANDS.values()))
    lines = [*SHOWN[where], *(f"rnnshapes {args}" for args, _ in consoles(PAGES[where]))]
    seen = set()
    for line in lines:
        first, *rest = line.split()
        if first == "rnnshapes" and rest and not rest[0].startswith("-"):
            assert rest[0] in COMMANDS, line
        if first in ("inspect", "trace", "verify") or (first == "rnnshapes" and rest[:1]):
            own = COMMANDS.get(first) or COMMANDS.get(rest[0], GROUP)
            assert set(OPTION.findall(line)) <= named(own), line
        elif first.startswith("--"):
            seen.add(first)
            assert set(OPTION.findall(line)) <= everything, line
    assert seen


def test_each_option_is_documented() -> None:
    written = set(OPTION.findall("\n".join(SHOWN["README"])))
    for name, command in COMMANDS.items():
        for param in command.params:
            if "--help" not in param.opts and param.param_type_name == "option":
                assert written & set(param.opts), (name, param.name)
                assert set(param.secondary_opts) <= written, (name, param.name)
            assert param.help or param.param_type_name == "argument", (name, param.name)


# --- Tables -------------------------------------------------------------------------------------


def record(run: Callable[..., Any], *args: str) -> dict[str, Any]:
    """What ``inspect`` answers, for programs."""
    made: dict[str, Any] = json.loads(run("inspect", *args, "--no-keras", "--format", "json").out)
    return made


def shape(numbers: list[Any]) -> str:
    """``(3, 5)``, ``(5,)``."""
    return f"({', '.join(map(str, numbers))}{',' if len(numbers) == 1 else ''})"


def test_notation_is_that_of_the_default_network(run) -> None:
    found = record(run)
    *rows, total = table(README, "`simple_rnn/kernel`")
    assert rows == [
        [
            f"`{w['name']}`",
            w["symbol"],
            shape(w["dims"]),
            f"{shape(w['shape'])} → {w['params']}",
        ]
        for layer in found["layers"]
        for w in layer["weights"]
    ]
    assert found["total"]["formula"] in total
    assert total[-1].endswith(f"= {found['total']['params']}")


def test_table_of_cells_is_correct(run) -> None:
    rows = table(README, "[SimpleRNN](.github/cells/simple_rnn.md)")
    assert [row[1] for row in rows] == [f"`{cell}`" for cell in CELLS]
    for cell, (link, _, gates, counts) in zip(CELLS, rows, strict=True):
        layer = record(run, "--cell", cell)["layers"][0]
        names = [gate["name"] for gate in layer["weights"][0]["gates"]]
        assert gates == (", ".join(names) or "none")
        assert layer["type"] in link
        assert re.split(r"[, ]", counts)[0] == layer["formula"]
        if "--no-reset-after" in counts:
            other = record(run, "--cell", cell, "--no-reset-after")["layers"][0]
            assert other["formula"] in counts


def test_table_of_options_is_complete() -> None:
    written = set(OPTION.findall(" ".join(row[0] for row in table(README, OPTIONS))))
    for name in ("inspect", "trace", "verify"):
        for param in COMMANDS[name].params:
            if param.param_type_name == "argument":
                continue
            own = {*param.opts, *param.secondary_opts}
            network = param.rich_help_panel == "Network"  # type: ignore[attr-defined]
            assert own & written == (own if network else set()), (name, own)


def test_table_of_formats_is_correct() -> None:
    endings = {**GOLDEN_ENDINGS, **ENDINGS}
    rows = table(README, "`table`")
    assert {row[0].strip("`") for row in rows} == set(get_args(options.TraceFormat))
    for name, ending, _ in rows:
        assert endings[ending.strip("`")] == name.strip("`")


def test_documented_methods_exist() -> None:
    for method, gives in table(README, "`to_dict()`"):
        kind = recording.Golden if "golden" in gives else display.Result
        assert callable(getattr(kind, method.strip("`").partition("(")[0]))


def test_table_of_schemas_is_correct() -> None:
    from rnnshapes.render import schemas

    rows = table(README, "`inspect`")
    names = [row[0].strip("`") for row in rows]
    assert list(dict.fromkeys(names)) == list(schemas.NAMES)
    for name, row in zip(names, rows, strict=True):
        known = set(keys(schemas.schema(name)))
        for key in re.findall(r"`([^`]+)`", row[-1]):
            assert key.startswith("--") or any(re.search(k, key) for k in known), (name, key)


def keys(schema: Any) -> Iterator[str]:
    """Patterns of all keys that a schema knows."""
    if isinstance(schema, list):
        for part in schema:
            yield from keys(part)
    elif isinstance(schema, dict):
        for name, part in schema.items():
            if name == "properties":
                yield from (f"^{re.escape(key)}$" for key in part)
            elif name == "patternProperties":
                yield from part
            yield from keys(part)


# --- The pages ----------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", CELLS)
def test_weights_of_each_page_are_correct(cell: str, run) -> None:
    layer = record(run, "--cell", cell)["layers"][0]
    *rows, total = table(page(cell), "`kernel`")
    assert rows == [
        [
            f"`{w['name'].split('/')[-1]}`",
            w["symbol"],
            shape(w["dims"]),
            shape(w["shape"]),
            str(w["params"]),
        ]
        for w in layer["weights"]
    ]
    assert (total[2], total[-1]) == (layer["formula"], str(layer["params"]))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_columns_of_gates_are_correct(cell: str, run) -> None:
    layer = record(run, "--cell", cell)["layers"][0]
    rows = table(page(cell), layer["weights"][0]["gates"][0]["name"])
    found = [{"name": row[0], "columns": [*map(int, row[-1].split(":"))]} for row in rows]
    for weight in layer["weights"]:
        assert weight["gates"] == found
    for (_, _, columns, _), gate in zip(rows, found, strict=True):
        assert [number(part) for part in columns.split(" : ")] == gate["columns"]


def number(term: str) -> int:
    """``2M`` for M = 5."""
    count, unit = term.removesuffix("M"), term.endswith("M")
    return int(count or 1) * (5 if unit else 1)


EQUATIONS = [
    ("simple", 0, ()),
    ("lstm", 0, ()),
    ("gru", 0, ()),
    ("gru", 1, ("--no-reset-after",)),
]


@pytest.mark.parametrize(("cell", "place", "more"), EQUATIONS)
def test_equations_of_each_page_are_correct(cell, place, more, run) -> None:
    blocks = re.findall(r"```text\n(.*?)```", page(cell), re.DOTALL)
    assert len(blocks) == sum(1 for name, *_ in EQUATIONS if name == cell)
    layer = record(run, "--cell", cell, *more)["layers"][0]
    assert blocks[place].splitlines() == layer["equations"]


@pytest.mark.parametrize("cell", CELLS)
def test_variants_have_the_documented_counts(cell: str, run) -> None:
    first = "`reset_after=False`" if cell == "gru" else "`use_bias=False`"
    for option, typed, _, count in table(page(cell), first):
        args = typed.strip("`").split()
        layer = record(run, *args)["layers"][0]
        assert count == f"{layer['formula']} = {layer['params']}"
        assert layer != record(run, "--cell", cell)["layers"][0]
        name, value = option.strip("`").split("=")
        name = name.removeprefix("use_").replace("_", "-")
        expected = [f"--no-{name}"] if value == "False" else [f"--{name}", value.strip('"')]
        assert args == ["--cell", cell, *expected]


def test_both_forms_of_gru_are_correct(run) -> None:
    rows = {name: forms for name, *forms in table(page("gru"), "on the command line")}
    for form, typed in enumerate(rows["on the command line"]):
        layer = record(run, *typed.strip("`").split())["layers"][0]
        assert rows["candidate"][form].strip("`") in layer["equations"]
        assert rows["bias"][form].startswith(shape(layer["weights"][2]["dims"]))
        assert rows["parameters"][form] == f"{layer['formula']} = {layer['params']}"


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_pages_and_readme_agree_on_gate_order(kind: str) -> None:
    of_all = {name: orders for name, *orders in table(README, "layer")}
    (of_page,) = [row[1:] for row in table(page(kind.lower()), "order of gates")[:1]]
    assert [order.replace(",", "") for order in of_page] == of_all[f"{kind}, order of gates"]


def drawn_text(svg: str) -> list[str]:
    """What is written in a picture, whatever it looks like."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


@pytest.mark.parametrize("name", [name for name in PICTURES if name.endswith(".svg")])
def test_each_picture_is_up_to_date(name, run, tmp_path, monkeypatch) -> None:
    """CI makes the pictures with .github/pictures.py."""
    monkeypatch.setenv("COLUMNS", "80")
    assert run(*PICTURES[name].split(), tmp_path / "made.svg").status == 0
    made = drawn_text((tmp_path / "made.svg").read_text("utf-8"))
    assert len(made) > 20
    assert made == drawn_text((ROOT / ".github" / name).read_text("utf-8"))
