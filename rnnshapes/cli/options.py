"""The options of the commands, as Typer reads them: each with its type and its help."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, get_args

import typer

from rnnshapes.cells.registry import BY_NAME
from rnnshapes.errors import InputError
from rnnshapes.network.layers.rnn import MERGE_MODES
from rnnshapes.network.sizes import DEFAULT_SIZES, SIZE_MEANINGS, check_size
from rnnshapes.ops.interface import ACTIVATIONS

_PANEL, _DATA, _SHOWN, _OUTPUT = "Network", "Data", "What to show", "Output"


def _size(name: str) -> Callable[[str], int]:
    def parse(text: str | int) -> int:
        try:
            return check_size(name, _integer(text))
        except InputError as error:
            raise typer.BadParameter(str(error)) from None

    return parse


def _integer(text: str | int) -> object:
    try:
        return int(text)
    except ValueError:
        return text


def _size_option(name: str, more: str = "") -> object:
    return typer.Option(
        f"--{name}",
        parser=_size(name),
        metavar="SIZE",
        help=f"{SIZE_MEANINGS[name].capitalize()}{more}; {DEFAULT_SIZES[name]} if left out.",
        rich_help_panel=_PANEL,
    )


Model = Annotated[
    Path | None,
    typer.Argument(
        metavar="[MODEL]",
        readable=False,
        show_default=False,
        help="A saved model (.keras, .h5, .hdf5, .weights.h5): it gives the sizes, and is not run.",
    ),
]
Samples = Annotated[int | None, _size_option("N")]
Steps = Annotated[int | None, _size_option("T")]
Features = Annotated[int | None, _size_option("D")]
Hidden = Annotated[list[int] | None, _size_option("M", ", again for each further recurrent layer")]
Outputs = Annotated[int | None, _size_option("K")]
TextFormat = Literal["table", "json", "csv", "markdown", "html", "svg"]
TraceFormat = Literal["table", "json", "csv", "markdown", "html", "svg", "npz"]


def _format_option(formats: object) -> object:
    names = ", ".join(get_args(formats))
    text = f"{names}; if left out, that of FILE's ending, or table."
    return typer.Option("--format", metavar="FORMAT", help=text, rich_help_panel=_OUTPUT)


Format = Annotated[TextFormat | None, _format_option(TextFormat)]
AnyFormat = Annotated[TraceFormat | None, _format_option(TraceFormat)]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        readable=False,
        help="Write to FILE, whole or not at all.",
        rich_help_panel=_OUTPUT,
    ),
]
Plot = Annotated[
    Path | None,
    typer.Option(
        "--plot",
        metavar="FILE",
        readable=False,
        help="Draw a picture into FILE, a .png, .svg or .pdf (needs the extra plot).",
        rich_help_panel=_OUTPUT,
    ),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        help="Do not say what to try next, nor what was written.",
        rich_help_panel=_OUTPUT,
    ),
]
Parts = Annotated[
    Literal["all", "flow", "tables"],
    typer.Option(
        "--view",
        metavar="VIEW",
        help="all; flow, the network and its weights as pictures; tables, without pictures.",
        rich_help_panel=_SHOWN,
    ),
]
Input = Annotated[
    Path | None,
    typer.Option(
        "--input",
        metavar="X",
        readable=False,
        help="x, (N, T, D) or (T, D), from a .npy, .npz or .csv file; random if left out.",
        rich_help_panel=_DATA,
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        "--seed",
        metavar="SEED",
        min=0,
        help="Seed of the random weights and input.",
        rich_help_panel=_DATA,
    ),
]
Against = Annotated[
    Path | None,
    typer.Option(
        "--against",
        metavar="PORT",
        readable=False,
        help="Judge what your own implementation has computed (y_hat or h: .npy, .npz, .csv, "
        ".json, .h), and explain what does not match.",
        rich_help_panel=_DATA,
    ),
]
PortFormat = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        metavar="DTYPE",
        help="What the port computes in: float32, float64, float16, bfloat16; that of its "
        "arrays if left out.",
        rich_help_panel=_DATA,
    ),
]
CellName = Annotated[
    Literal["simple", "lstm", "gru"] | None,
    typer.Option(
        "--cell",
        metavar="CELL",
        case_sensitive=False,
        help=f"{', '.join(BY_NAME)}; simple if left out.",
        rich_help_panel=_PANEL,
    ),
]
_ACTIVATION_HELP = f"{', '.join(ACTIVATIONS)}; Keras's default if left out."
Activation = Annotated[
    str | None,
    typer.Option("--activation", metavar="NAME", help=_ACTIVATION_HELP, rich_help_panel=_PANEL),
]
RecurrentActivation = Annotated[
    str | None,
    typer.Option(
        "--recurrent-activation",
        metavar="NAME",
        help="The same for the gates of lstm and gru.",
        rich_help_panel=_PANEL,
    ),
]
Bias = Annotated[
    bool | None,
    typer.Option(
        "--bias/--no-bias", help="A bias of the recurrent layer, or none.", rich_help_panel=_PANEL
    ),
]
ResetAfter = Annotated[
    bool | None,
    typer.Option(
        "--reset-after/--no-reset-after",
        help="gru: reset h_{t-1} after its product with Wh, or before.",
        rich_help_panel=_PANEL,
    ),
]
Bidirectional = Annotated[
    bool | None,
    typer.Option(
        "--bidirectional/--one-direction",
        help="Read in both directions, or in one.",
        rich_help_panel=_PANEL,
    ),
]
MergeMode = Annotated[
    str | None,
    typer.Option(
        "--merge-mode",
        metavar="MODE",
        help=f"Join the directions by {', '.join(MERGE_MODES)}.",
        rich_help_panel=_PANEL,
    ),
]
GoBackwards = Annotated[
    bool | None,
    typer.Option(
        "--go-backwards/--forwards",
        help="Start at the last step, or at the first.",
        rich_help_panel=_PANEL,
    ),
]
ReturnSequences = Annotated[
    bool | None,
    typer.Option(
        "--return-sequences/--last-only",
        help="Answer at each step, or at the last.",
        rich_help_panel=_PANEL,
    ),
]
Golden = Annotated[
    Path | None,
    typer.Option(
        "--golden",
        metavar="FILE",
        readable=False,
        help="Write what a port has to reproduce to a .npz, .json or .h (C) file: weights, input, "
        "every intermediate at every step.",
        rich_help_panel=_OUTPUT,
    ),
]
SchemaName = Annotated[
    str,
    typer.Argument(metavar="NAME", show_default=False, help="inspect, trace, verify or golden."),
]
NoKeras = Annotated[bool, typer.Option("--no-keras", help="Leave Keras out.")]
Sample = Annotated[
    int,
    typer.Option(
        "--sample", metavar="SAMPLE", help="Which sample to show.", rich_help_panel=_SHOWN
    ),
]
TimeSteps = Annotated[
    str | None,
    typer.Option(
        "--steps",
        metavar="A:B",
        help="Which time steps to show, as in Python.",
        rich_help_panel=_SHOWN,
    ),
]
Show = Annotated[
    str | None,
    typer.Option(
        "--show",
        metavar="y,h,c,gates",
        help="Show states and gates, too: y,h; or all of them; y if left out.",
        rich_help_panel=_SHOWN,
    ),
]
LayerName = Annotated[
    str | None,
    typer.Option(
        "--layer", metavar="NAME", help="Show those of this layer alone.", rich_help_panel=_SHOWN
    ),
]
Follow = Annotated[
    bool,
    typer.Option(
        "--follow",
        help="Show one step after the other on this terminal, by keys.",
        rich_help_panel=_SHOWN,
    ),
]
Delay = Annotated[
    float | None,
    typer.Option(
        "--delay",
        metavar="SECONDS",
        help="With --follow: go on by itself, so often.",
        rich_help_panel=_SHOWN,
    ),
]
