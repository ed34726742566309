"""The README and the pages of the documentation: their commands, examples, links and tables."""

from __future__ import annotations

import doctest
import json
import re
import runpy
from collections.abc import Callable, Iterator
from typing import Any, get_args

import pytest

from rnnshapes import cli, errors
from rnnshapes import result as display
from rnnshapes.cli import options
from rnnshapes.forward import golden as recording
from rnnshapes.render import view
from rnnshapes.render.write_file import ENDINGS, GOLDEN_ENDINGS
from tests.helpers.pages import CELLS, OUTPUTS, PAGES, PATHS, ROOT, prose, table

#: Files in .github, and the commands that make them.
PICTURES = runpy.run_path(str(ROOT / ".github" / "pictures.py"))["PICTURES"]
README = PAGES["README"]
COMMANDS_OF = {page: OUTPUTS.commands(text) for page, text in PAGES.items()}


# --- Commands and examples ------------------------------------------------------------------------


@pytest.mark.parametrize("page", [page for page, commands in COMMANDS_OF.items() if commands])
def test_commands_print_what_is_shown(page: str) -> None:
    """Run ``python .github/outputs.py`` to rewrite what is out of date."""
    with OUTPUTS.prepared(PAGES[page]):
        for command, shown in COMMANDS_OF[page]:
            status, printed = OUTPUTS.run(command)
            assert status == shown.startswith("FAILED"), command
            assert OUTPUTS.difference(printed, shown) is None, command


def test_readme_shows_every_command() -> None:
    shown = {command.split()[0] for command, _ in COMMANDS_OF["README"]}
    assert shown == {"inspect", "trace", "verify"}


def test_cell_pages_show_their_cell() -> None:
    for cell, page in CELLS.items():
        assert all(f"--cell {cell}" in command for command, _ in COMMANDS_OF[page])
        assert COMMANDS_OF[page]


def test_shown_lines_have_at_most_80_columns() -> None:
    for commands in COMMANDS_OF.values():
        for command, shown in commands:
            lines = [line for line in shown.splitlines() if not line.startswith("Next: ")]
            assert max(map(len, lines)) <= 80 or "csv" in command


@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if ">>> " in text])
def test_python_examples_return_what_is_shown(page: str) -> None:
    result = doctest.testfile(str(PATHS[page]), module_relative=False, encoding="utf-8")
    assert result.attempted
    assert result.failed == 0


def test_stale_output_is_found() -> None:
    printed = "N=1\nworst  35 %  ━━━╌  t 3\ny 0.12345678\nKeras 3.15.1 agrees\nend\n"
    current = [
        printed,
        "N=1\nworst   9 %  ━╌╌╌  t 0\ny 0.12345699\nKeras 4.0 agrees\nend\n",
        "N=1\n…\nend\n",
        "N=1\n…\ny 0.12345678\n…\n",
    ]
    stale = [
        printed.replace("N=1", "N=2"),
        printed.replace("y 0.1234", "y 0.1334"),
        printed.replace("end\n", ""),
        printed + "more\n",
        "N=1\n…\ny 0.5\n…\n",
        "N=1\n…\nfin\n",
    ]
    assert [OUTPUTS.difference(printed, shown) for shown in current] == [None] * len(current)
    assert None not in [OUTPUTS.difference(printed, shown) for shown in stale]


def test_stale_output_is_rewritten() -> None:
    before = "```console\n$ rnnshapes --version\n…\n```\n"
    assert OUTPUTS.refresh(before) == before
    stale = before.replace("…", "rnnshapes 0")
    assert OUTPUTS.difference(OUTPUTS.run("--version")[1], "rnnshapes 0\n")
    assert OUTPUTS.commands(OUTPUTS.refresh(stale)) == [("--version", OUTPUTS.run("--version")[1])]


def test_setup_commands_make_an_environment() -> None:
    """``.ci/run`` runs every ``sh`` block."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 2
    assert all("venv" in block for block in blocks)


def test_readme_is_short() -> None:
    assert len(README.encode()) <= 12_000


@pytest.mark.parametrize("page", PAGES)
def test_no_index_becomes_emphasis(page: str) -> None:
    """Markdown turns an underscore behind a sign into italics."""
    running = re.sub(r"`[^`]*`", "", prose(PAGES[page]))
    assert re.findall(r".{0,20}[~→←]_.{0,9}", running) == []


# --- Links and names ----------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """Return the headings as GitHub links to them."""
    headings = re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(text: str) -> list[str]:
    """Return the targets in this repository."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(text))
    return [target for target in targets if not target.startswith("https://")]


@pytest.mark.parametrize("page", PAGES)
def test_each_link_leads_somewhere(page: str) -> None:
    for target in links(PAGES[page]):
        name, _, anchor = target.partition("#")
        path = (PATHS[page].parent / name).resolve() if name else PATHS[page]
        assert path.is_file(), target
        assert not anchor or anchor in anchors(path.read_text("utf-8")), target


def test_readme_links_every_page() -> None:
    linked = {target.partition("#")[0] for target in links(README)}
    pages = {path.relative_to(ROOT).as_posix() for page, path in PATHS.items() if page != "README"}
    assert pages - linked == set()


def test_every_picture_is_shown() -> None:
    shown = {
        (PATHS[page].parent / target).resolve()
        for page, text in PAGES.items()
        for target in links(text)
    }
    assert {(ROOT / ".github" / name).resolve() for name in PICTURES} <= shown


def test_cell_pages_link_each_other() -> None:
    for page in CELLS.values():
        others = {PATHS[other].name for other in CELLS.values() if other != page}
        assert others <= set(links(PAGES[page]))


@pytest.mark.parametrize("page", PAGES)
def test_each_named_file_exists(page: str) -> None:
    for name in re.findall(r"(?:tests|\.github|\.ci)/[\w/.-]*\w", prose(PAGES[page])):
        assert (PATHS[page].parent / name).exists() or (ROOT / name).exists(), name


GROUP = cli.command()
COMMANDS: dict[str, Any] = GROUP.commands  # type: ignore[attr-defined]
OPTION = re.compile(r"(?<![\w-])--?[A-Za-z](?:[\w-]*\w)?")


def options_of(command: Any) -> set[str]:
    """Return all names of its options."""
    own = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    return {"--help", "-h", *own}


@pytest.mark.parametrize("page", PAGES)
def test_each_named_option_exists(page: str) -> None:
    known = set.union(options_of(GROUP), *map(options_of, COMMANDS.values()))
    lines = re.findall(r"`([^`]+)`", prose(PAGES[page]))
    for line in [*lines, *(f"rnnshapes {command}" for command, _ in COMMANDS_OF[page])]:
        first, *rest = line.split()
        if first == "rnnshapes" and rest and rest[0].isalpha():
            assert rest[0] in COMMANDS, line
        if first in COMMANDS or (first == "rnnshapes" and rest):
            command = COMMANDS.get(first) or COMMANDS.get(rest[0])
            named = set(OPTION.findall(line))
            assert named <= (known if command is None else options_of(command)), line
        elif first.startswith("--"):
            assert set(OPTION.findall(line)) <= known, line


def test_each_option_has_help() -> None:
    """It is the reference of options."""
    for name, command in COMMANDS.items():
        for param in command.params:
            assert param.help or param.param_type_name == "argument", (name, param.name)


# --- Tables -------------------------------------------------------------------------------------


def record(run: Callable[..., Any], *args: str) -> dict[str, Any]:
    """Return the JSON of ``inspect``."""
    result: dict[str, Any] = json.loads(run("inspect", *args, "--no-keras", "--format", "json").out)
    return result


def shape(numbers: list[Any]) -> str:
    """Return ``(3, 5)``, ``(5,)``."""
    return f"({', '.join(map(str, numbers))}{',' if len(numbers) == 1 else ''})"


def test_notation_is_that_of_the_default_network(run) -> None:
    found = record(run)
    *rows, total = table("docs/inspect", "`simple_rnn/kernel`")
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
    rows = table("README", "[SimpleRNN](.github/docs/cells/simple_rnn.md)")
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


def test_table_of_views_is_complete() -> None:
    names = [row[0].strip("`") for row in table("docs/inspect", "`summary`")]
    assert names == list(view.INSPECT_PARTS)


def test_table_of_exit_statuses_is_complete() -> None:
    statuses = {int(row[0]) for row in table("docs/formats", "0")}
    raised = {kind.exit_status for kind in vars(errors).values() if hasattr(kind, "exit_status")}
    assert statuses == {0, 1, 130} | raised


def test_table_of_formats_is_correct() -> None:
    endings = {**GOLDEN_ENDINGS, **ENDINGS}
    rows = table("docs/formats", "`table`")
    assert {row[0].strip("`") for row in rows} == set(get_args(options.TraceFormat))
    for name, ending, _ in rows:
        assert endings[ending.strip("`")] == name.strip("`")


def test_documented_methods_exist() -> None:
    for method, gives in table("docs/python", "`to_dict()`"):
        kind = recording.Golden if "golden" in gives else display.Result
        assert callable(getattr(kind, method.strip("`").partition("(")[0]))


def test_table_of_schemas_is_correct() -> None:
    from rnnshapes.render import schemas

    rows = table("docs/formats", "`inspect`")
    names = [row[0].strip("`") for row in rows]
    assert list(dict.fromkeys(names)) == list(schemas.NAMES)
    for name, row in zip(names, rows, strict=True):
        known = set(keys(schemas.schema(name)))
        for key in re.findall(r"`([^`]+)`", row[-1]):
            assert key.startswith("--") or any(re.search(k, key) for k in known), (name, key)


def keys(schema: Any) -> Iterator[str]:
    """Yield patterns of all keys in a schema."""
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
    *rows, total = table(CELLS[cell], "`kernel`")
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
    rows = table(CELLS[cell], layer["weights"][0]["gates"][0]["name"])
    found = [(row[0], [*map(int, row[-1].split(":"))]) for row in rows]
    for weight in layer["weights"]:
        assert [(gate["name"], gate["columns"]) for gate in weight["gates"]] == found
    for (_, _, columns, _), (_, gate_columns) in zip(rows, found, strict=True):
        assert [number(part) for part in columns.split(" : ")] == gate_columns


def number(term: str) -> int:
    """Evaluate ``2M`` for M = 5."""
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
    blocks = re.findall(r"```text\n(.*?)```", PAGES[CELLS[cell]], re.DOTALL)
    assert len(blocks) == sum(1 for name, *_ in EQUATIONS if name == cell)
    layer = record(run, "--cell", cell, *more)["layers"][0]
    assert blocks[place].splitlines() == layer["equations"]


@pytest.mark.parametrize("cell", CELLS)
def test_variants_have_the_documented_counts(cell: str, run) -> None:
    first = "`reset_after=False`" if cell == "gru" else "`use_bias=False`"
    for option, typed, _, count in table(CELLS[cell], first):
        args = typed.strip("`").split()
        layer = record(run, *args)["layers"][0]
        assert count == f"{layer['formula']} = {layer['params']}"
        assert layer != record(run, "--cell", cell)["layers"][0]
        name, value = option.strip("`").split("=")
        name = name.removeprefix("use_").replace("_", "-")
        expected = [f"--no-{name}"] if value == "False" else [f"--{name}", value.strip('"')]
        assert args == ["--cell", cell, *expected]


def test_both_forms_of_gru_are_correct(run) -> None:
    rows = {name: forms for name, *forms in table(CELLS["gru"], "command line")}
    for form, typed in enumerate(rows["command line"]):
        layer = record(run, *typed.strip("`").split())["layers"][0]
        assert rows["candidate"][form].strip("`") in layer["equations"]
        assert rows["bias"][form].startswith(shape(layer["weights"][2]["dims"]))
        assert rows["parameters"][form] == f"{layer['formula']} = {layer['params']}"


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_pages_agree_on_gate_order(kind: str) -> None:
    of_all = {name: orders for name, *orders in table("docs/layouts", "layer")}
    (of_page,) = [row[1:] for row in table(CELLS[kind.lower()], "order of gates")[:1]]
    assert [order.replace(",", "") for order in of_page] == of_all[f"{kind}, order of gates"]


def drawn_text(svg: str) -> list[str]:
    """Return the texts of a picture."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


@pytest.mark.parametrize("name", [name for name in PICTURES if name.endswith(".svg")])
def test_each_picture_is_up_to_date(name, run, tmp_path, monkeypatch) -> None:
    """CI makes the pictures with .github/pictures.py."""
    monkeypatch.setenv("COLUMNS", "80")
    assert run(*PICTURES[name].split(), tmp_path / "made.svg").status == 0
    made = drawn_text((tmp_path / "made.svg").read_text("utf-8"))
    assert len(made) > 20
    assert made == drawn_text((ROOT / ".github" / name).read_text("utf-8"))
